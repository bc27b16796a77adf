//! Arming instructions by the kernel's kprobes (`glue/kprobe.c`).

use crate::errno::Errno;
use crate::glue;
use crate::page_tables::KernelTables;
use core::ffi::c_void;
use core::ptr::NonNull;
use trapline_engine::PageTables;
use trapline_engine::code::{Breakpoints, CodeProbe, Point};

/// Sites taken down at once: `GLUE_SITES`. On the stack, since taking down must not need memory.
const BATCH: usize = 32;

/// The Linux kernel's kprobes.
pub(crate) struct Kprobes;

/// A probed instruction: `struct glue_site`.
pub(crate) struct Site(NonNull<c_void>);

// SAFETY: a kernel object that any task may use, under the code lock.
unsafe impl Send for Site {}

/// `KPROBE_FLAG_OPTIMIZED`: by a jump.
const OPTIMIZED: u32 = 1;
/// `KPROBE_FLAG_FTRACE`: by ftrace.
const FTRACE: u32 = 2;
/// `KPROBE_FLAG_GONE`: its module is gone.
const GONE: u32 = 4;

/// The flags of [`trapline_abi`] for those of `glue/kprobe.c`.
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

impl Site {
    /// `LIST_*`.
    pub(crate) fn flags(&self) -> u32 {
        // SAFETY: alive until it is disarmed.
        list_flags(unsafe { glue::glue_kprobe_flags(self.0.as_ptr()) })
    }
}

impl Breakpoints for Kprobes {
    type Site = Site;
    type Error = Errno;

    unsafe fn arm(&mut self, point: NonNull<Point>) -> Result<Site, Errno> {
        let mut error = 0;
        // SAFETY: the point is alive until it was disarmed, as the caller vouches.
        let site = unsafe {
            glue::glue_register_kprobe(point.as_ref().address(), point.as_ptr().cast(), &mut error)
        };
        NonNull::new(site).map(Site).ok_or(Errno::from_status(error))
    }

    fn set_post(&mut self, site: &mut Site, wanted: bool) -> Result<(), Errno> {
        // SAFETY: alive until it is disarmed.
        match unsafe { glue::glue_kprobe_set_post(site.0.as_ptr(), wanted) } {
            0 => Ok(()),
            error => Err(Errno::from_status(error)),
        }
    }

    fn disarm<'a>(&mut self, sites: impl Iterator<Item = &'a mut Site>) {
        in_batches(sites.map(|site| site.0), |batch, count| {
            // SAFETY: armed, and not used again.
            unsafe { glue::glue_unregister_kprobes(batch, count) }
        });
    }

    fn is_gone(&self, site: &Site) -> bool {
        site.flags() & trapline_abi::LIST_GONE != 0
    }

    fn missed(&self, site: &Site) -> u64 {
        // SAFETY: alive until it is disarmed.
        unsafe { glue::glue_kprobe_missed(site.0.as_ptr()) }
    }

    fn synchronize(&self) {
        KernelTables.synchronize();
    }
}

/// A probed function: `struct glue_return`.
pub(crate) struct ReturnSite(NonNull<c_void>);

// SAFETY: as for `Site`.
unsafe impl Send for ReturnSite {}

impl ReturnSite {
    /// Has each call of the function at `address` come to `probe`, with `carried` bytes from its entry to its return; at most `active` calls at once, 0 for the
    /// kernel's own choice.
    ///
    /// # Safety
    /// `probe` stays where it is and alive until [`ReturnSite::remove`] has returned.
    pub(crate) unsafe fn arm(
        address: u64,
        probe: NonNull<CodeProbe>,
        carried: usize,
        active: u32,
    ) -> Result<Self, Errno> {
        let mut error = 0;
        // SAFETY: as the caller vouches.
        let site = unsafe {
            glue::glue_register_kretprobe(address, probe.as_ptr().cast(), carried, active, &mut error)
        };
        NonNull::new(site).map(Self).ok_or(Errno::from_status(error))
    }

    /// Takes probes away; when it returns, none of their handlers is running.
    pub(crate) fn remove<'a>(sites: impl Iterator<Item = &'a mut Self>) {
        in_batches(sites.map(|site| site.0), |batch, count| {
            // SAFETY: armed, and not used again.
            unsafe { glue::glue_unregister_kretprobes(batch, count) }
        });
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

fn in_batches(
    sites: impl Iterator<Item = NonNull<c_void>>,
    mut take_down: impl FnMut(*mut *mut c_void, usize),
) {
    let mut batch = [core::ptr::null_mut(); BATCH];
    let mut count = 0;
    for site in sites {
        if let Some(slot) = batch.get_mut(count) {
            *slot = site.as_ptr();
            count += 1;
        }
        if count == BATCH {
            take_down(batch.as_mut_ptr(), count);
            count = 0;
        }
    }
    if count > 0 {
        take_down(batch.as_mut_ptr(), count);
    }
}
