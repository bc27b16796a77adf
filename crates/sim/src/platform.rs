//! The seam: what the engine asks of its platform, answered by the simulated machine.

use crate::allocation::Side;
use crate::hardware::is_alias;
use crate::model::{Bytes, recognise};
use crate::world::World;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use trapline_engine::{
    Alias, Code, Fault, Lane, Linear, Look, Mapped, NotArmed, Page, PageError, PageTables, Platform, Rights,
    Task,
};
use trapline_insn::{Memory, Redirect, Registers, Segment};

/// The machine as its own engine sees it.
#[derive(Clone)]
pub(crate) struct Link(pub(crate) Weak<World>);

impl Link {
    fn world(&self) -> Arc<World> {
        self.0.upgrade().expect("the engine is part of its world")
    }

    /// For the trap path: the world, after others had a chance to run; and the note that the
    /// engine's own code is left.
    fn enter(&self) -> (Arc<World>, usize, Side) {
        let side = Side::platform();
        let world = self.world();
        world.point();
        let cpu = world.cpu().expect("traps happen on cores");
        (world, cpu, side)
    }
}

fn read(world: &World, cpu: usize, alias: Linear, bytes: &mut [u8]) {
    assert!(is_alias(alias), "a load of {alias:x?}, which is no alias");
    let who = world.who(cpu, true);
    world.hardware().read(who, alias, bytes).expect("an alias is always mapped");
}

fn write(world: &World, cpu: usize, alias: Linear, bytes: &[u8]) {
    assert!(is_alias(alias), "a store to {alias:x?}, which is no alias");
    let who = world.who(cpu, true);
    world.hardware().write(who, alias, bytes).expect("an alias is always mapped");
}

impl Platform for Link {
    fn lane(&self) -> Lane {
        let _side = Side::platform();
        Lane::new(self.world().cpu().expect("traps happen on cores"))
    }

    fn look(&self, fault: &Fault) -> Look {
        let _side = Side::platform();
        self.world().options.arming.look(fault.error_code)
    }

    fn now(&self) -> u64 {
        let (world, _, _side) = self.enter();
        world.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn wait(&self, microseconds: u32) {
        let (world, _, _side) = self.enter();
        world.clock.fetch_add(u64::from(microseconds) * 1000, Ordering::Relaxed);
    }

    fn task(&self) -> Task {
        let (world, cpu, _side) = self.enter();
        let interrupt = world.cores[cpu].nested.load(Ordering::Relaxed) > 0;
        let thread = 100 + cpu as u32;
        Task { name: [u64::from_le_bytes(*b"program\0"), cpu as u64], thread, process: thread, interrupt }
    }

    fn fetch(&self, ip: u64) -> Code {
        let (world, _, _side) = self.enter();
        let (bytes, length) = world.hardware().code(Linear(ip));
        Code { bytes: u128::from_le_bytes(bytes), length }
    }

    fn segment_base(&self, segment: Segment) -> u64 {
        let (world, cpu, _side) = self.enter();
        world.segment_base(cpu, segment)
    }

    fn write_protects(&self) -> bool {
        let (world, _, _side) = self.enter();
        world.hardware().rules.write_protect
    }

    fn is_present(&self, address: Linear) -> bool {
        let (world, _, _side) = self.enter();
        world.hardware().is_present(address)
    }

    unsafe fn load(&self, alias: Alias, width: u8) -> u64 {
        let (world, cpu, _side) = self.enter();
        let mut bytes = [0; 8];
        read(&world, cpu, alias.linear(), &mut bytes[..width.into()]);
        u64::from_le_bytes(bytes)
    }

    unsafe fn store(&self, alias: Alias, width: u8, value: u64) {
        let (world, cpu, _side) = self.enter();
        write(&world, cpu, alias.linear(), &value.to_le_bytes()[..width.into()]);
    }

    unsafe fn load_wide(&self, alias: Alias, bytes: &mut [u8]) {
        let (world, cpu, _side) = self.enter();
        read(&world, cpu, alias.linear(), bytes);
    }

    unsafe fn store_wide(&self, alias: Alias, bytes: &[u8]) {
        let (world, cpu, _side) = self.enter();
        write(&world, cpu, alias.linear(), bytes);
    }

    unsafe fn compare_exchange(&self, alias: Alias, width: u8, lock: bool, current: u128, new: u128) -> u128 {
        let (world, cpu, _side) = self.enter();
        let (alias, who) = (alias.linear(), world.who(cpu, true));
        let width = usize::from(width);
        let mut bytes = [0; 16];
        let mut hardware = world.hardware();
        hardware.read(who, alias, &mut bytes[..width]).expect("an alias is always mapped");
        let found = u128::from_le_bytes(bytes);
        if !lock {
            // Other cores may come in between, but nothing on this one.
            drop(hardware);
            world.scheduler.pause();
            hardware = world.hardware();
        }
        if found == current {
            hardware.write(who, alias, &new.to_le_bytes()[..width]).expect("an alias is always mapped");
        }
        found
    }

    fn read_other(&self, address: Linear, width: u8) -> Result<u64, Fault> {
        let (world, cpu, _side) = self.enter();
        Memory::read(&mut crate::cpu::Native { world: &world, cpu }, address.0, width)
    }

    fn write_other(&self, address: Linear, width: u8, value: u64) -> Result<(), Fault> {
        let (world, cpu, _side) = self.enter();
        Memory::write(&mut crate::cpu::Native { world: &world, cpu }, address.0, width, value)
    }

    fn can_push(&self) -> bool {
        true
    }

    fn can_run_copy(&self, nesting: usize, copy: &Redirect) -> bool {
        let (world, _, _side) = self.enter();
        nesting < world.options.copy_levels && recognise(&copy.code[..copy.length.into()]).is_some()
    }

    unsafe fn run_copy(
        &self,
        _nesting: usize,
        copy: &Redirect,
        registers: &mut Registers,
        operand: u64,
    ) -> bool {
        let (world, cpu, _side) = self.enter();
        let model = recognise(&copy.code[..copy.length.into()]).expect("`can_run_copy` was asked");
        let mut vectors = world.hardware().vectors[cpu];
        let mut changed = *registers;
        let mut memory = Operand { world: &world, cpu };
        let ran = model.run(copy.length, operand, &mut changed, &mut vectors, &mut memory).is_ok();
        world.hardware().vectors[cpu] = vectors;
        *registers = Registers { rip: registers.rip, ..changed };
        ran
    }

    fn set_present(&self, page: Page, entry: u64, present: bool) {
        let (world, cpu, _side) = self.enter();
        let mut hardware = world.hardware();
        if present {
            hardware.set_entry(page, entry);
            hardware.opened(page);
            if hardware.held_closed == Some(page.address) {
                hardware.close(page);
            }
        } else {
            hardware.close(page);
        }
        hardware.forget(cpu, page);
    }

    fn request_repair(&self) {
        let (world, _, _side) = self.enter();
        world.repair_wanted.store(true, Ordering::Relaxed);
    }
}

/// Where a copy's operand may lie: on an alias, or in the engine's own buffer.
struct Operand<'a> {
    world: &'a World,
    cpu: usize,
}

impl Bytes for Operand<'_> {
    fn check(&mut self, _: u64, _: usize, _: bool) -> Result<(), Fault> {
        Ok(())
    }

    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        if is_alias(Linear(address)) {
            read(self.world, self.cpu, Linear(address), bytes);
        } else {
            let buffer = address as *const u8;
            // SAFETY: no alias, so the engine's own buffer by the contract of `run_copy`, and
            // copies stay inside of their operand.
            unsafe { buffer.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
        }
        Ok(())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        if is_alias(Linear(address)) {
            write(self.world, self.cpu, Linear(address), bytes);
        } else {
            let buffer = address as *mut u8;
            // SAFETY: as above.
            unsafe { buffer.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        }
        Ok(())
    }
}

impl PageTables for Link {
    fn page_at(&self, address: Linear) -> Result<(Mapped, Rights), PageError> {
        self.world().hardware().page_at(address)
    }

    fn arm(&self, pages: &[Mapped]) -> Result<(), NotArmed> {
        let world = self.world();
        for (armed, mapped) in pages.iter().enumerate() {
            world.scheduler.pause();
            world.hardware().arm(mapped).map_err(|error| NotArmed { armed, error })?;
        }
        Ok(())
    }

    fn disarm(&self, mapped: Mapped) -> Result<(), PageError> {
        let world = self.world();
        world.scheduler.pause();
        world.hardware().disarm(&mapped)
    }

    fn shoot_down(&self) {
        let world = self.world();
        world.scheduler.pause();
        let closing = world.hardware().closing();
        for (cpu, core) in world.cores.iter().enumerate() {
            if core.running.load(Ordering::Relaxed) {
                core.flush.store(true, Ordering::Relaxed);
            } else {
                world.hardware().tlbs[cpu].clear();
            }
        }
        let pending = || world.cores.iter().any(|core| core.flush.load(Ordering::Relaxed));
        if pending() {
            world.scheduler.wait_until(|| !pending());
        }
        world.hardware().closed(&closing);
    }

    fn synchronize(&self) {
        let world = self.world();
        world.scheduler.pause();
        let epochs: Vec<u64> = world.cores.iter().map(|core| core.epoch.load(Ordering::Relaxed)).collect();
        let inside = || {
            world.cores.iter().zip(&epochs).any(|(core, epoch)| {
                core.busy.load(Ordering::Relaxed) && core.epoch.load(Ordering::Relaxed) == *epoch
            })
        };
        if inside() {
            world.scheduler.wait_until(|| !inside());
        }
    }
}
