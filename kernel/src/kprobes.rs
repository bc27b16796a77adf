//! Arming instructions by the kernel's kprobes: which of them a site needs, what may not be probed,
//! and how a return probe goes. `glue/kprobe.c` says how they work together and holds what a trap
//! needs of them.

use crate::errno::Errno;
use crate::glue;
use crate::page_tables::KernelTables;
use core::ffi::{CStr, c_void};
use core::ptr::{NonNull, null_mut};
use trapline_engine::PageTables;
use trapline_engine::code::{Breakpoints, CodeProbe, Point};

/// Sites taken down at once, with one wait for all. On the stack, since taking down must not need
/// memory.
const BATCH: usize = 32;

/// How long calls under way get to return before their return probe goes, in nanoseconds: a tenth
/// of a second.
const DRAIN: u64 = 100_000_000;

/// What recovery hangs on: a tracer there would be called inside of every handler's fault.
const VITAL: [&CStr; 2] = [c"fixup_exception", c"page_fault_oops"];

/// The Linux kernel's kprobes.
pub(crate) struct Kprobes;

/// A probed instruction.
pub(crate) struct Site {
    /// `struct glue_site`.
    raw: NonNull<c_void>,
    /// Whether the kernel probes it by ftrace: then nothing has to be stepped over, and whoever
    /// wants to be called afterwards is called at once.
    by_ftrace: bool,
    /// Whether its second kprobe is registered, which calls after the instruction.
    posts: bool,
}

// SAFETY: a kernel object that any task may use, under the patching lock.
unsafe impl Send for Site {}

/// `KPROBE_FLAG_GONE` (include/linux/kprobes.h): its module is gone.
const GONE: u32 = 1;
/// `KPROBE_FLAG_OPTIMIZED`: by a jump.
const OPTIMIZED: u32 = 4;
/// `KPROBE_FLAG_FTRACE`: by ftrace.
const FTRACE: u32 = 8;

/// The flags of [`trapline_abi`] for those of a kprobe.
fn list_flags(flags: u32) -> u32 {
    [
        (OPTIMIZED, trapline_abi::LIST_OPTIMIZED),
        (FTRACE, trapline_abi::LIST_FTRACE),
        (GONE, trapline_abi::LIST_GONE),
    ]
    .into_iter()
    .filter(|(bit, _)| flags & bit != 0)
    .fold(0, |all, (_, flag)| all | flag)
}

/// Refuses what is ours or vital to us.
fn probeable(address: u64) -> Result<(), Errno> {
    // SAFETY: a zero-terminated text.
    let is_in = |function: &CStr| unsafe { glue::glue_is_in_function(address, function.as_ptr()) };
    if glue::glue_within_module(address) || VITAL.into_iter().any(is_in) {
        return Err(Errno::PERM);
    }
    Ok(())
}

impl Site {
    /// `KPROBE_FLAG_*`.
    fn kprobe_flags(&self) -> u32 {
        // SAFETY: alive until it is disarmed.
        unsafe { glue::glue_kprobe_flags(self.raw.as_ptr()) }
    }

    /// `LIST_*`.
    pub(crate) fn flags(&self) -> u32 {
        list_flags(self.kprobe_flags())
    }
}

impl Breakpoints for Kprobes {
    type Site = Site;
    type Error = Errno;

    unsafe fn arm(&mut self, point: NonNull<Point>) -> Result<Site, Errno> {
        let mut error = 0;
        // SAFETY: the point is alive until it was disarmed: `Breakpoints::arm` asks for that.
        let address = unsafe { point.as_ref() }.address();
        probeable(address)?;
        // SAFETY: as above.
        let raw = unsafe { glue::glue_register_kprobe(address, point.as_ptr().cast(), &mut error) };
        let raw = NonNull::new(raw).ok_or(Errno::from_status(error))?;
        let mut site = Site { raw, by_ftrace: false, posts: false };
        site.by_ftrace = site.kprobe_flags() & FTRACE != 0;
        Ok(site)
    }

    fn set_post(&mut self, site: &mut Site, wanted: bool) -> Result<(), Errno> {
        let raw = site.raw.as_ptr();
        if site.by_ftrace {
            // SAFETY: alive until it is disarmed, and probed by ftrace.
            unsafe { glue::glue_set_posts_at_entry(raw, wanted) };
        } else if wanted {
            // SAFETY: alive until it is disarmed, and its second kprobe is not registered: the
            // engine asks for a change only.
            let status = unsafe { glue::glue_register_post_kprobe(raw) };
            if status != 0 {
                return Err(Errno::from_status(status));
            }
            site.posts = true;
        } else {
            site.posts = false;
            // SAFETY: alive until it is disarmed; a list of one kprobe, which is registered.
            unsafe { glue::glue_unregister_kprobes(&mut glue::glue_post_kprobe(raw), 1) };
        }
        Ok(())
    }

    fn disarm<'a>(&mut self, sites: impl Iterator<Item = &'a mut Site>) {
        in_batches(sites, disarm_batch);
    }

    fn is_gone(&self, site: &Site) -> bool {
        site.flags() & trapline_abi::LIST_GONE != 0
    }

    fn missed(&self, site: &Site) -> u64 {
        // SAFETY: alive until it is disarmed.
        unsafe { glue::glue_kprobe_missed(site.raw.as_ptr()) }
    }

    fn synchronize(&self) {
        KernelTables.synchronize();
    }
}

// A function apart, so that its lists are not on the stack of whoever calls its caller.
#[inline(never)]
fn disarm_batch(batch: &[Option<&mut Site>]) {
    let mut kprobes = [null_mut(); 2 * BATCH];
    let mut count = 0;
    let mut slots = kprobes.iter_mut();
    for site in batch.iter().flatten() {
        // SAFETY: alive until it is freed below.
        let main = unsafe { glue::glue_main_kprobe(site.raw.as_ptr()) };
        // SAFETY: as above.
        let post = site.posts.then(|| unsafe { glue::glue_post_kprobe(site.raw.as_ptr()) });
        for (kprobe, slot) in [Some(main), post].into_iter().flatten().zip(&mut slots) {
            *slot = kprobe;
            count += 1;
        }
    }
    // SAFETY: so many kprobes, all registered.
    unsafe { glue::glue_unregister_kprobes(kprobes.as_mut_ptr(), count) };
    for site in batch.iter().flatten() {
        // SAFETY: no hit of it is under way any more, and it is not used again:
        // `Breakpoints::disarm` asks for that.
        unsafe { glue::glue_free_site(site.raw.as_ptr()) };
    }
}

/// A probed function: `struct glue_return`.
pub(crate) struct ReturnSite(NonNull<c_void>);

// SAFETY: as for `Site`.
unsafe impl Send for ReturnSite {}

impl ReturnSite {
    /// Has each call of the function at `address` come to `probe`, with `carried` bytes from its
    /// entry to its return; at most `active` calls at once, 0 for the kernel's own choice.
    ///
    /// # Safety
    /// `probe` stays where it is and alive until [`ReturnSite::remove`] has returned.
    pub(crate) unsafe fn arm(
        address: u64,
        probe: NonNull<CodeProbe>,
        carried: usize,
        active: u32,
    ) -> Result<Self, Errno> {
        probeable(address)?;
        let mut error = 0;
        // SAFETY: `probe` stays where it is until the site was removed: `arm` asks for that.
        let site = unsafe {
            glue::glue_register_kretprobe(address, probe.as_ptr().cast(), carried, active, &mut error)
        };
        NonNull::new(site).map(Self).ok_or(Errno::from_status(error))
    }

    /// Takes probes away; when it returns, none of their handlers is running.
    pub(crate) fn remove<'a>(sites: impl Iterator<Item = &'a mut Self>) {
        in_batches(sites, remove_batch);
    }

    /// `LIST_*`.
    pub(crate) fn flags(&self) -> u32 {
        // SAFETY: alive until it is removed.
        list_flags(unsafe { glue::glue_kretprobe_flags(self.0.as_ptr()) })
    }

    /// Calls that it did not see.
    pub(crate) fn missed(&self) -> u64 {
        // SAFETY: alive until it is removed.
        unsafe { glue::glue_kretprobe_missed(self.0.as_ptr()) }
    }
}

// As `disarm_batch`.
#[inline(never)]
fn remove_batch(batch: &[Option<&mut ReturnSite>]) {
    drain(batch);
    let mut kretprobes = [null_mut(); BATCH];
    let mut count = 0;
    for (site, slot) in batch.iter().flatten().zip(&mut kretprobes) {
        // SAFETY: alive until it is freed below.
        *slot = unsafe { glue::glue_kretprobe(site.0.as_ptr()) };
        count += 1;
    }
    // SAFETY: so many, all registered.
    unsafe { glue::glue_unregister_kretprobes(kretprobes.as_mut_ptr(), count) };
    for site in batch.iter().flatten() {
        // SAFETY: none of its handlers is running any more, and the owner gives it up.
        unsafe { glue::glue_free_return(site.0.as_ptr()) };
    }
}

/// Lets calls return before their probe goes.
///
/// Up to 6.7 the kernel reads the handler that unregistering takes away twice, to see whether it is
/// there and to call it (`rethook_trampoline_handler()`), and a return between the two jumps to
/// NULL. So no call begins any more, and those that don't sleep get the time to end; one that
/// returns later still has those few instructions, as with every kretprobe.
fn drain(sites: &[Option<&mut ReturnSite>]) {
    for site in sites.iter().flatten() {
        // SAFETY: alive and registered.
        unsafe { glue::glue_disable_kretprobe(site.0.as_ptr()) };
    }
    // Entries that have begun have counted after this.
    glue::glue_synchronize_rcu();
    // From when no call begins any more, however long the wait for that was. The clocks of two CPUs
    // differ by far less than this.
    let deadline = glue::glue_local_clock() + DRAIN;
    for site in sites.iter().flatten() {
        // SAFETY: alive until it is freed, after this.
        while unsafe { glue::glue_calls_under_way(site.0.as_ptr()) } > 0
            && glue::glue_local_clock() < deadline
        {
            glue::glue_msleep(1);
        }
    }
    // The last that were counted off are out of the kernel's handler as well.
    glue::glue_synchronize_rcu();
}

/// Calls `take_down` with all of `sites`, at most [`BATCH`] at a time.
fn in_batches<'a, S: 'a>(
    sites: impl Iterator<Item = &'a mut S>,
    mut take_down: impl FnMut(&[Option<&'a mut S>]),
) {
    let mut sites = sites.fuse();
    loop {
        let batch: [Option<&mut S>; BATCH] = core::array::from_fn(|_| sites.next());
        if batch.first().is_none_or(Option::is_none) {
            return;
        }
        take_down(&batch);
    }
}
