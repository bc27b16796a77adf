//! Whether memory may be armed, and if not, why: one place, asked before any mapping is adopted,
//! for commands and for modules alike.
//!
//! A page that is armed faults at each access, in whatever context that is. So what is used on the
//! way from the fault to its end must not be armed, nor what the CPU itself accesses: the fault
//! would not end. What lies outside of the vmalloc area is refused as a whole: the kernel's text
//! and modules, the direct map (with it page tables, descriptor tables, the kernel's own per-CPU
//! areas and all that `kmalloc()` gives), the entry areas of the CPUs (with the tables and stacks
//! of exceptions), and the memory that ftrace and kprobes write code to. Inside of it each kind
//! that matters is known by what it is, not by who owns it.

use crate::errno::Errno;
use crate::glue;
use crate::mappings::{Candidate, PAGE};
use crate::page_tables::{NO_EXECUTE, leaf_at};
use crate::walk::{physical, size};
use trapline_abi::WatchError;
use trapline_engine::Linear;

/// A mapping that may be armed.
///
/// # Invariants
/// Was made by [`check`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Armable(Candidate);

impl Armable {
    pub(crate) fn mapping(&self) -> &Candidate {
        &self.0
    }
}

/// Why memory may not be armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Neither from `ioremap` nor from `vmalloc`.
    Elsewhere,
    /// Nothing is mapped there, or only part of it.
    NotMapped,
    /// A page larger than 2 MiB.
    HugePage,
    /// Code runs from it: a fetch is no access that can be performed elsewhere.
    Executable,
    /// Trapline's own: the trap path itself uses it.
    Ours,
    /// A task's stack, onto which the CPU pushes the exception's frame.
    Stack,
    /// RAM that no allocator gave out: stacks of interrupts, descriptor tables, per-CPU areas.
    BootMemory,
    /// From `alloc_percpu()`: tracers and the fault path's own counts lie there.
    PerCpu,
    /// RAM that is mapped as a device's memory.
    Ram,
}

impl Refusal {
    /// As a module is told.
    pub(crate) fn errno(self) -> Errno {
        match self {
            Self::Elsewhere | Self::NotMapped => Errno::FAULT,
            Self::HugePage => Errno::NOT_SUPPORTED,
            Self::Executable | Self::Ours | Self::Stack | Self::BootMemory | Self::PerCpu | Self::Ram => {
                Errno::PERM
            }
        }
    }

    /// As a command is told.
    pub(crate) fn watch_error(self) -> WatchError {
        match self {
            Self::Elsewhere | Self::NotMapped => WatchError::Alias,
            Self::HugePage => WatchError::HugePage,
            Self::Executable | Self::Ours | Self::Stack | Self::BootMemory | Self::PerCpu | Self::Ram => {
                WatchError::Ram
            }
        }
    }

    /// As the kernel log says it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Elsewhere => "no access probe there: neither from ioremap() nor from vmalloc()",
            Self::NotMapped => "no access probe there: nothing is mapped there, or not all of it",
            Self::HugePage => "no access probe there: a page larger than 2 MiB",
            Self::Executable => "no access probe there: code runs from it",
            Self::Ours => "no access probe there: it is Trapline's own",
            Self::Stack => "no access probe there: a task's stack",
            Self::BootMemory => "no access probe there: the kernel's since boot, as stacks of interrupts are",
            Self::PerCpu => "no access probe there: per-CPU memory",
            Self::Ram => "no access probe there: RAM that is mapped as a device's memory",
        }
    }
}

/// Whether `first..=last` lies where memory may be armed at all, and something is there. Before the
/// mapping around it is looked for.
pub(crate) fn is_in_reach(first: Linear, last: Linear) -> Result<(), Refusal> {
    if first < glue::glue_vmalloc_start() || last > glue::glue_vmalloc_end() {
        return Err(Refusal::Elsewhere);
    }
    leaf_at(first).map(|_| ()).ok_or(Refusal::NotMapped)
}

/// Whether a whole mapping may be armed.
pub(crate) fn check(candidate: Candidate) -> Result<Armable, Refusal> {
    let Candidate { start, length, physical: device, .. } = candidate;
    let last = start.plus(length - 1);
    is_in_reach(start, last)?;
    if glue::glue_is_ours(start, last) {
        return Err(Refusal::Ours);
    }
    if let Some(device) = device
        && glue::glue_is_ram(device, length)
    {
        return Err(Refusal::Ram);
    }
    let mut address = start;
    while address <= last {
        address = check_page(address, device.is_none())?;
    }
    // SAFETY: all of it is mapped, as was checked above, so its first word can be read.
    if device.is_none() && unsafe { glue::glue_is_task_stack(start, length) } {
        return Err(Refusal::Stack);
    }
    if device.is_none() && glue::glue_is_percpu(start) {
        return Err(Refusal::PerCpu);
    }
    // INVARIANT: checked.
    Ok(Armable(candidate))
}

/// Whether the page that holds `address` may be armed; returns the address after it.
fn check_page(address: Linear, is_ram: bool) -> Result<Linear, Refusal> {
    let leaf = leaf_at(address).ok_or(Refusal::NotMapped)?;
    if leaf.level > glue::LEVEL_2M {
        return Err(Refusal::HugePage);
    }
    if leaf.entry & NO_EXECUTE == 0 {
        return Err(Refusal::Executable);
    }
    let frame = physical(leaf).aligned_down(PAGE);
    if is_ram && glue::glue_is_boot_memory(frame) {
        return Err(Refusal::BootMemory);
    }
    Ok(address.aligned_down(size(leaf.level)).plus(size(leaf.level)))
}
