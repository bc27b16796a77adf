//! The return probes on the kernel's functions that access configuration space, and what they
//! record.
//!
//! All four have the same arguments: domain, bus, device and function, offset, bytes, and the value
//! or where it is put. An access is recorded when its function returns, since only then is known
//! what was read and whether it went well.

use super::super::returns::{Returns, address_of};
use super::Watch;
use crate::code::Registry;
use crate::errno::Errno;
use crate::glue;
use crate::locks::PatchingLock;
use crate::state::ENGINE;
use core::ffi::CStr;
use core::ptr::NonNull;
use trapline_abi::{
    CONFIG_FUNCTIONS, ConfigPayload, ConfigWay, Flags, Kind, MAX_CONFIG_FRAMES, PciFunction, Record,
};
use trapline_engine::{Owned, Platform, Trap};
use trapline_insn::Registers;

/// Calls of each that may be under way at once. They wait for nothing, so there is one for each CPU
/// and each task that another has taken the CPU from meanwhile. More are counted as missed.
const ACTIVE: u32 = 512;

/// How many functions there are.
pub(super) const COUNT: usize = CONFIG_FUNCTIONS.len();

/// Bytes that the kernel keeps for the calls that may be under way, but for its own part of each.
pub(super) const MEMORY: usize = COUNT * ACTIVE as usize * size_of::<Carried>();

/// One of the functions.
#[derive(Clone, Copy)]
struct Function {
    name: &'static CStr,
    is_write: bool,
    way: ConfigWay,
}

/// In the order of [`CONFIG_FUNCTIONS`].
const FUNCTIONS: [Function; COUNT] = [
    Function { name: c"pci_conf1_read", is_write: false, way: ConfigWay::Ports },
    Function { name: c"pci_conf1_write", is_write: true, way: ConfigWay::Ports },
    Function { name: c"pci_mmcfg_read", is_write: false, way: ConfigWay::Memory },
    Function { name: c"pci_mmcfg_write", is_write: true, way: ConfigWay::Memory },
];

/// What the probes are called in lists.
pub(super) const NAME: &[u8] = b"configuration space";

/// Words of a record that holds return addresses.
const PART: usize = 4;
const _: () = assert!(MAX_CONFIG_FRAMES.is_multiple_of(PART));

/// What is carried from a call to its return.
#[repr(C)]
struct Carried {
    /// Whether the device is one of the watch.
    is_watched: bool,
    device: PciFunction,
    offset: u32,
    width: u32,
    /// What is written, or where is put what was read.
    value: u64,
    began: u64,
    /// Return addresses, and zeros.
    frames: [u64; MAX_CONFIG_FRAMES],
}

/// What a probe's handlers are given. One for each, since a registry tells an owner's probes apart
/// by what they are given.
struct Given {
    watch: NonNull<Watch>,
    function: Function,
}

/// The probes, until [`Probes::end`].
///
/// # Invariants
/// `given` is dropped only after the probes were removed.
pub(super) struct Probes {
    ids: [u64; COUNT],
    followed: u32,
    given: Owned<[Given; COUNT]>,
}

impl Probes {
    /// Records accesses from now on for `watch`; `ids` are the probes' numbers, `owner` the process
    /// that asked. Functions that the kernel does not have are left out.
    ///
    /// # Safety
    /// `watch` stays until after [`Probes::end`].
    pub(super) unsafe fn begin(
        patching: &mut PatchingLock<'_>,
        watch: &Watch,
        ids: [u64; COUNT],
        owner: u32,
    ) -> Result<Self, Errno> {
        let watch = NonNull::from(watch);
        let given = FUNCTIONS.map(|function| Given { watch, function });
        let given = Owned::new(given).map_err(|_| Errno::NO_MEMORY)?;
        // INVARIANT: `end` removes the probes, and whoever has this calls it.
        let mut probes = Self { ids, followed: 0, given };
        for (number, (id, given)) in ids.into_iter().zip(&*probes.given).enumerate() {
            // SAFETY: `begin` asks for the watch to stay; what is given stays where it is, on the
            // heap, until `end` has removed the probe.
            match unsafe { add(patching, given, id, owner) } {
                Ok(()) => probes.followed |= 1 << number,
                Err(Errno::NO_MEMORY) => {
                    probes.end(patching);
                    return Err(Errno::NO_MEMORY);
                }
                Err(_) => {}
            }
        }
        if probes.followed == 0 {
            probes.end(patching);
            return Err(Errno::NO_FUNCTION);
        }
        Ok(probes)
    }

    /// A bit for each function that is followed.
    pub(super) fn followed(&self) -> u32 {
        self.followed
    }

    /// How many functions that read are followed.
    pub(super) fn reading(&self) -> u32 {
        let reads = FUNCTIONS.iter().enumerate().filter(|(_, function)| !function.is_write);
        reads.map(|(number, _)| self.followed >> number & 1).sum()
    }

    /// The probes' numbers.
    pub(super) fn ids(&self) -> [u64; COUNT] {
        self.ids
    }

    /// No access is recorded any more when this returns.
    pub(super) fn end(self, patching: &mut PatchingLock<'_>) {
        Registry::of(patching).remove(|id| self.ids.contains(&id));
    }
}

/// What the probes have in common.
const RETURNS: Returns =
    Returns { name: NAME, called, returned, carried: size_of::<Carried>(), active: ACTIVE };

/// Follows one.
///
/// # Safety
/// `given`, and its watch, stay until the probe was removed.
unsafe fn add(patching: &mut PatchingLock<'_>, given: &Given, id: u64, owner: u32) -> Result<(), Errno> {
    let address = address_of(patching, given.function.name)?;
    // SAFETY: the handlers get what they expect, which stays: `add` asks for that. They do not
    // fault: they read registers, what is carried, and where the function that returned has put a
    // value itself.
    unsafe { RETURNS.add(patching, address, given, id, owner) }
}

/// `int pci_conf1_read(seg, bus, devfn, reg, len, value)`, or another of them, was called.
///
/// # Safety
/// `given` is a [`Given`] whose watch stays; `carried` is room for a [`Carried`]; `registers` are
/// those of the call.
unsafe fn called(given: *mut (), _trap: &Trap, registers: &Registers, carried: *mut ()) {
    let carried = carried.cast::<Carried>();
    // The kernel's functions refuse a number that has more bits.
    let (bus, function) = (registers.rsi as u8, registers.rdx as u8);
    let device =
        PciFunction(u64::from(registers.rdi as u32) << 16 | u64::from(bus) << 8 | u64::from(function));
    // SAFETY: a `Given` whose watch stays, and room for a `Carried`, which the kernel aligns as
    // pointers are: `called` asks for that.
    unsafe {
        let is_watched = (*given.cast::<Given>()).watch.as_ref().sees(device);
        (&raw mut (*carried).is_watched).write(is_watched);
        if !is_watched {
            return;
        }
        let mut frames = [0; MAX_CONFIG_FRAMES];
        // What is not written stays 0. In a trap, on the CPU whose registers these are.
        glue::glue_unwind(registers, frames.as_mut_ptr(), MAX_CONFIG_FRAMES as u32);
        carried.write(Carried {
            is_watched,
            device,
            offset: registers.rcx as u32,
            width: registers.r8 as u32,
            value: registers.r9,
            began: glue::glue_local_clock(),
            frames,
        });
    }
}

/// It has returned.
///
/// # Safety
/// `given` is a [`Given`] whose watch stays; `carried` is what [`called`] left.
unsafe fn returned(given: *mut (), trap: &Trap, registers: &Registers, carried: *mut ()) {
    let Some(engine) = ENGINE.get() else { return };
    // SAFETY: what `called` left, which has begun with whether it is watched; a `Given`, whose
    // watch stays: `returned` asks for that.
    let (carried, Given { watch, function }) = unsafe {
        let carried = carried.cast::<Carried>();
        if !(*carried).is_watched {
            return;
        }
        (&*carried, &*given.cast::<Given>())
    };
    let value = if function.is_write {
        // Only these bits are written, whatever else the caller's register held.
        carried.value as u32 & u32::MAX >> (32 - 8 * carried.width.clamp(1, 4))
    } else {
        // SAFETY: where the function has put what was read, or all ones if it failed; its caller,
        // to which it returns, has room there for an `unsigned int`.
        unsafe { (carried.value as *const u32).read_volatile() }
    };
    let platform = engine.platform();
    let payload = ConfigPayload {
        device: carried.device,
        value,
        result: registers.rax as i32,
        offset: carried.offset,
        way: function.way as u8,
        took: platform.now().wrapping_sub(carried.began),
    };
    let record = Record {
        kind: Kind::Config as u8,
        flags: if function.is_write { Flags::WRITE } else { 0 },
        width: carried.width as u8,
        payload: payload.to_words(),
        ..Record::EMPTY
    };
    let mut parts = [Record::EMPTY; MAX_CONFIG_FRAMES / PART];
    let mut used = 0;
    for (part, frames) in parts.iter_mut().zip(carried.frames.as_chunks::<PART>().0) {
        part.payload = *frames;
        used += usize::from(frames[0] != 0);
    }
    // SAFETY: the watch stays, and its sink: `returned` asks for that.
    let sink = unsafe { watch.as_ref().sink.as_ref() };
    sink.push(trap, platform, record, parts.get(..used).unwrap_or(&[]));
}
