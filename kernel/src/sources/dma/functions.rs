//! The kernel's functions that drivers call to have memory accessed by a device, and which of them
//! are followed.

use super::super::returns::{Returns, address_of};
use super::super::text::walk;
use super::Watch;
use super::calls::{Carried, begins, called, returned};
use crate::code::{At, Registration, Registry};
use crate::errno::Errno;
use crate::glue;
use crate::locks::PatchingLock;
use crate::names::text;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::ptr::NonNull;
use trapline_abi::{DMA_FUNCTIONS, DmaOp};
use trapline_engine::code::CodeHandlers;
use trapline_insn::branch;

/// What the probes are called in lists.
const NAME: &[u8] = b"DMA";

/// Calls of each that may be under way at once. Allocating may wait for memory, so that many tasks
/// may be there. More are counted as missed.
const ACTIVE: u32 = 512;

/// How many functions there are.
pub(super) const COUNT: usize = DMA_FUNCTIONS.len();

/// Bytes that the kernel keeps for the calls that may be under way, but for its own part of each.
pub(super) const MEMORY: usize = RETURNING * ACTIVE as usize * size_of::<Carried>();

/// What a function is called with, behind the device.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Page, offset, size, direction; returns the device's address.
    MapPage,
    /// Physical address, size, direction; returns the device's address.
    MapPhysical,
    /// Scatter list, entries, direction; returns how many are mapped.
    MapList,
    /// Table of a scatter list, direction; returns 0 or a negative error number.
    MapTable,
    /// The device's address, size, direction.
    Single(DmaOp),
    /// Scatter list, entries, direction.
    List(DmaOp),
    /// Size, where the device's address is put; returns the kernel's address.
    Alloc,
    /// Size, the kernel's address, the device's.
    Free,
    /// Size, where the device's address is put, direction; returns the first page.
    AllocPages,
    /// Size, the first page, the device's address, direction.
    FreePages,
    /// Size, direction; returns the table of a scatter list.
    AllocTable,
    /// Size, table, direction.
    FreeTable,
}

impl Form {
    /// Whether a call is recorded when it has ended: it gives memory to the device.
    pub(super) const fn is_at_return(self) -> bool {
        match self {
            Self::MapPage
            | Self::MapPhysical
            | Self::MapList
            | Self::MapTable
            | Self::Alloc
            | Self::AllocPages
            | Self::AllocTable => true,
            Self::Single(op) | Self::List(op) => matches!(op, DmaOp::SyncForDevice),
            Self::Free | Self::FreePages | Self::FreeTable => false,
        }
    }
}

/// One of the functions.
#[derive(Clone, Copy)]
struct Function {
    name: &'static CStr,
    form: Form,
    /// The function that does its work on newer kernels, by its place in the list. If it calls
    /// that, its calls are that one's, which is followed instead.
    inner: Option<usize>,
}

const fn plain(name: &'static CStr, form: Form) -> Function {
    Function { name, form, inner: None }
}

const fn outer(name: &'static CStr, form: Form, inner: usize) -> Function {
    Function { name, form, inner: Some(inner) }
}

/// Places in the list.
const MAP_PHYS: usize = 1;
const UNMAP_PHYS: usize = 4;

/// In the order of [`DMA_FUNCTIONS`].
static FUNCTIONS: [Function; COUNT] = [
    outer(c"dma_map_page_attrs", Form::MapPage, MAP_PHYS),
    plain(c"dma_map_phys", Form::MapPhysical),
    outer(c"dma_map_resource", Form::MapPhysical, MAP_PHYS),
    outer(c"dma_unmap_page_attrs", Form::Single(DmaOp::Unmap), UNMAP_PHYS),
    plain(c"dma_unmap_phys", Form::Single(DmaOp::Unmap)),
    outer(c"dma_unmap_resource", Form::Single(DmaOp::Unmap), UNMAP_PHYS),
    plain(c"dma_map_sg_attrs", Form::MapList),
    plain(c"dma_map_sgtable", Form::MapTable),
    plain(c"dma_unmap_sg_attrs", Form::List(DmaOp::Unmap)),
    // From 6.10 on these are inline; should there be a copy of one, it has the other do its work.
    outer(c"dma_sync_single_for_cpu", Form::Single(DmaOp::SyncForCpu), 10),
    plain(c"__dma_sync_single_for_cpu", Form::Single(DmaOp::SyncForCpu)),
    outer(c"dma_sync_single_for_device", Form::Single(DmaOp::SyncForDevice), 12),
    plain(c"__dma_sync_single_for_device", Form::Single(DmaOp::SyncForDevice)),
    outer(c"dma_sync_sg_for_cpu", Form::List(DmaOp::SyncForCpu), 14),
    plain(c"__dma_sync_sg_for_cpu", Form::List(DmaOp::SyncForCpu)),
    outer(c"dma_sync_sg_for_device", Form::List(DmaOp::SyncForDevice), 16),
    plain(c"__dma_sync_sg_for_device", Form::List(DmaOp::SyncForDevice)),
    plain(c"dma_alloc_attrs", Form::Alloc),
    plain(c"dma_free_attrs", Form::Free),
    plain(c"dma_alloc_pages", Form::AllocPages),
    plain(c"dma_free_pages", Form::FreePages),
    plain(c"dma_alloc_noncontiguous", Form::AllocTable),
    plain(c"dma_free_noncontiguous", Form::FreeTable),
];

/// How many of them are recorded at their return.
const RETURNING: usize = {
    let (mut count, mut at) = (0, 0);
    while at < COUNT {
        count += FUNCTIONS[at].form.is_at_return() as usize;
        at += 1;
    }
    count
};

const _: () = {
    let mut at = 0;
    while at < COUNT {
        let (ours, told) = (FUNCTIONS[at].name.to_bytes(), DMA_FUNCTIONS[at].as_bytes());
        assert!(ours.len() == told.len());
        let mut byte = 0;
        while byte < ours.len() {
            assert!(ours[byte] == told[byte]);
            byte += 1;
        }
        at += 1;
    }
};

/// What a probe's handlers are given. One for each, since a registry tells an owner's probes apart
/// by what they are given.
pub(super) struct Given {
    pub watch: NonNull<Watch>,
    pub form: Form,
    id: u64,
    /// Where the function is probed; 0 if the kernel does not have it.
    address: u64,
}

// SAFETY: the watch is shared by the traps of all CPUs.
unsafe impl Send for Given {}

/// The probes, until [`Probes::end`].
///
/// # Invariants
/// `given` is in the order of [`DMA_FUNCTIONS`], and is not changed and dropped only after the
/// probes were removed.
pub(super) struct Probes {
    /// A bit for each function that is followed.
    pub followed: u32,
    /// A bit for each that is there and can't be.
    pub refused: u32,
    given: Vec<Given>,
}

impl Probes {
    /// Records calls from now on for `watch`; `ids` are the probes' numbers, [`COUNT`] of them,
    /// `owner` the process that asked. Functions that the kernel does not have are left out.
    ///
    /// # Safety
    /// `watch` stays until after [`Probes::end`].
    pub(super) unsafe fn begin(
        patching: &mut PatchingLock<'_>,
        watch: &Watch,
        ids: &[u64],
        owner: u32,
    ) -> Result<Self, Errno> {
        let watch = NonNull::from(watch);
        let mut given = Vec::new();
        given.try_reserve_exact(COUNT).map_err(|_| Errno::NO_MEMORY)?;
        for (function, id) in FUNCTIONS.iter().zip(ids) {
            let address = address_of(patching, function.name).unwrap_or(0);
            given.push(Given { watch, form: function.form, id: *id, address });
        }
        // INVARIANT: `end` removes the probes, and whoever has this calls it.
        let mut probes = Self { followed: 0, refused: 0, given };
        // Those that others call first: only what is followed can be told by them.
        for has_inner in [false, true] {
            for (number, function) in FUNCTIONS.iter().enumerate() {
                if function.inner.is_some() != has_inner {
                    continue;
                }
                // SAFETY: `begin` asks for the watch to stay.
                if let Err(errno) = unsafe { probes.follow(patching, number, function, owner) } {
                    probes.end(patching);
                    return Err(errno);
                }
            }
        }
        if probes.followed == 0 {
            probes.end(patching);
            return Err(Errno::NO_FUNCTION);
        }
        Ok(probes)
    }

    /// Follows one of the functions, if it is there and its calls are not told by another. Fails
    /// only for want of memory.
    ///
    /// # Safety
    /// As for [`Probes::begin`].
    // A function of its own: what it has on the stack is not there once for each function.
    #[inline(never)]
    unsafe fn follow(
        &mut self,
        patching: &mut PatchingLock<'_>,
        number: usize,
        function: &Function,
        owner: u32,
    ) -> Result<(), Errno> {
        let Some(given) = self.given.get(number).filter(|given| given.address != 0) else { return Ok(()) };
        let inner = function.inner.filter(|inner| self.followed >> inner & 1 != 0);
        if let Some(inner) = inner.and_then(|inner| self.given.get(inner))
            && calls(patching, given.address, inner.address)
        {
            return Ok(());
        }
        // SAFETY: the watch stays: `follow` asks for that. What is given stays where it is, on the
        // heap, until `end` has removed the probe, by the invariant.
        match unsafe { add(patching, given, owner) } {
            Ok(()) => self.followed |= 1 << number,
            Err(Errno::NO_MEMORY) => return Err(Errno::NO_MEMORY),
            Err(_) => self.refused |= 1 << number,
        }
        Ok(())
    }

    fn has(&self, id: u64) -> bool {
        self.given.iter().any(|given| given.id == id)
    }

    /// Calls that the kernel could not deliver so far.
    pub(super) fn missed(&self, patching: &mut PatchingLock<'_>) -> u64 {
        Registry::of(patching).missed(|id| self.has(id))
    }

    /// No call is recorded any more when this returns.
    pub(super) fn end(self, patching: &mut PatchingLock<'_>) {
        Registry::of(patching).remove(|id| self.has(id));
    }
}

/// Bytes before a function that a call of it may lead to (`CONFIG_FUNCTION_PADDING_BYTES`).
const PADDING: u64 = 16;

/// Whether a function branches to another one: by a call, or by a jump as its last deed. Both are
/// told by an address inside: where a probe stands, which is behind an ENDBR.
fn calls(patching: &mut PatchingLock<'_>, function: u64, other: u64) -> bool {
    let extent = |inside| (glue::glue_function_end(inside), glue::glue_function_size(inside));
    let (end, size) = extent(function);
    let (other_end, other_size) = extent(other);
    let other = other_end.wrapping_sub(other_size);
    // A kernel that tracks the depth of calls has them lead to code before the function.
    let entry = other.saturating_sub(PADDING)..=other;
    let mut found = false;
    walk(patching, end.wrapping_sub(size), size, |at, bytes| {
        let (length, target) = branch(bytes, at).ok()?;
        found |= target.is_some_and(|target| entry.contains(&target));
        Some(length)
    });
    found
}

/// What the probes that wait for the return have in common.
const RETURNS: Returns =
    Returns { name: NAME, called, returned, carried: size_of::<Carried>(), active: ACTIVE };

/// Follows one.
///
/// # Safety
/// `given`, and its watch, stay until the probe was removed.
unsafe fn add(patching: &mut PatchingLock<'_>, given: &Given, owner: u32) -> Result<(), Errno> {
    let &Given { id, address, .. } = given;
    if given.form.is_at_return() {
        // SAFETY: the handlers get what they expect, which stays: `add` asks for that. They do not
        // fault: they read registers and what is carried, and all else with care.
        return unsafe { RETURNS.add(patching, address, given, id, owner) };
    }
    let registration = Registration {
        id,
        address,
        at: At::Instruction,
        handlers: CodeHandlers::Trusted { pre: Some(begins), post: None },
        data: core::ptr::from_ref(given).cast_mut().cast(),
        limit: 0,
        owner,
        name: text(NAME),
        flags: 0,
    };
    // SAFETY: as above.
    unsafe { Registry::of(patching).add(&registration) }.map_err(|refused| refused.errno)
}
