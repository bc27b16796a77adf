//! What arms the instructions and functions of a machine.

use super::cores::World;
use super::text::HookKind;
use crate::world::lock;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use trapline_engine::code::{Breakpoints, CodeProbe, Delivery, Point};

/// Turns for which calls under way are waited for before their return probe goes.
const DRAIN: u64 = 60;

pub(super) struct Patcher(pub(super) Arc<World>);

/// An armed instruction: `struct glue_site`.
pub(super) struct Site {
    address: u64,
    point: u64,
    hook: u64,
    step: Option<u64>,
}

/// A probed function: `struct glue_return`.
pub(super) struct ReturnSite {
    address: u64,
    hook: u64,
}

impl Patcher {
    fn insert(&self, address: u64, kind: HookKind) -> u64 {
        let world = &self.0;
        world.scheduler.pause();
        // Whether the kernel made a list of it at once depends on whether the instruction can be
        // replaced by a jump.
        let is_list = world.scheduler.draw(2) == 0;
        let hook = lock(&world.text).insert(address, kind, is_list);
        if let HookKind::Entry(_) = kind {
            lock(&world.under_way).insert(hook, 0);
        }
        world.scheduler.pause();
        hook
    }

    /// Whether the platform grants a hook.
    fn is_granted(&self) -> bool {
        let mut refuse_after = lock(&self.0.refuse_after);
        let refuses = *refuse_after == Some(0);
        *refuse_after = refuse_after.and_then(|left| left.checked_sub(1));
        !refuses
    }

    fn remove(&self, address: u64, hook: u64) {
        self.0.scheduler.pause();
        lock(&self.0.text).remove(address, hook);
    }

    /// Has each call of the function at `address` come to `probe`, which is alive until
    /// [`Patcher::disarm_return`] has returned.
    pub(super) fn arm_return(&mut self, address: u64, probe: NonNull<CodeProbe>) -> ReturnSite {
        let hook = self.insert(address, HookKind::Entry(probe.as_ptr() as u64));
        ReturnSite { address, hook }
    }

    /// `glue_unregister_kretprobes()`.
    pub(super) fn disarm_return(&mut self, site: &ReturnSite) {
        let world = &self.0;
        world.scheduler.pause();
        lock(&world.text).disable(site.address, site.hook);
        self.synchronize();
        for _ in 0..world.scheduler.draw(DRAIN) {
            if lock(&world.under_way).get(&site.hook) == Some(&0) {
                break;
            }
            world.scheduler.pause();
        }
        self.synchronize();
        self.remove(site.address, site.hook);
        world.scheduler.pause();
        // The handler is taken away: what returns from now on is told to nobody.
        lock(&world.under_way).remove(&site.hook);
        self.synchronize();
    }

    /// Calls of the function that were not delivered.
    pub(super) fn missed_returns(&self, site: &ReturnSite) -> u64 {
        lock(&self.0.text).hook(site.address, site.hook).map_or(0, |hook| hook.missed)
    }
}

impl Breakpoints for Patcher {
    type Site = Site;
    type Error = ();

    unsafe fn arm(&mut self, point: NonNull<Point>) -> Result<Site, ()> {
        // SAFETY: alive until it is disarmed: `Breakpoints::arm` asks for that.
        let address = unsafe { point.as_ref() }.address();
        let point = point.as_ptr() as u64;
        if !self.is_granted() {
            return Err(());
        }
        let hook = self.insert(address, HookKind::Hit(point));
        Ok(Site { address, point, hook, step: None })
    }

    /// `glue_kprobe_set_post()`.
    fn set_post(&mut self, site: &mut Site, wanted: bool) -> Result<(), ()> {
        self.0.scheduler.pause();
        let by_ftrace = lock(&self.0.text).is_by_ftrace(site.address);
        if self.0.delivery == Delivery::Each {
            // The end of every step is told.
        } else if by_ftrace {
            lock(&self.0.text).set_wants_step(site.hook, wanted);
        } else if wanted && !self.is_granted() {
            return Err(());
        } else if wanted {
            site.step = Some(self.insert(site.address, HookKind::Step(site.point)));
        } else if let Some(step) = site.step.take() {
            self.remove(site.address, step);
            self.synchronize();
        }
        Ok(())
    }

    /// `glue_unregister_kprobes()`.
    fn disarm<'a>(&mut self, sites: impl Iterator<Item = &'a mut Site>) {
        let mut any = false;
        for site in sites {
            any = true;
            self.remove(site.address, site.hook);
            if let Some(step) = site.step.take() {
                self.remove(site.address, step);
            }
        }
        if any {
            self.synchronize();
        }
    }

    fn is_gone(&self, site: &Site) -> bool {
        lock(&self.0.text).hook(site.address, site.hook).is_some_and(|hook| hook.gone)
    }

    fn missed(&self, site: &Site) -> u64 {
        lock(&self.0.text).hook(site.address, site.hook).map_or(0, |hook| hook.missed)
    }

    fn synchronize(&self) {
        let world = &self.0;
        world.scheduler.pause();
        let traps: Vec<u64> = world.cores.iter().map(|core| core.traps.load(Ordering::Relaxed)).collect();
        let inside = || {
            world.cores.iter().zip(&traps).any(|(core, traps)| {
                core.busy.load(Ordering::Relaxed) > 0 && core.traps.load(Ordering::Relaxed) == *traps
            })
        };
        if inside() {
            world.scheduler.wait_until(|| !inside());
        }
    }
}
