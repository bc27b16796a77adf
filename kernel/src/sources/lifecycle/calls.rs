//! Calls of the functions that do something with a device as a whole, and what is recorded of them:
//! that one has begun, and that it has ended.

use super::super::functions;
use super::functions::{Argument, Form};
use super::{Lifecycle, Watch};
use crate::glue;
use crate::state::ENGINE;
use core::ptr::NonNull;
use trapline_abi::{
    Kind, LifecycleOp, LifecyclePayload, MAX_LIFECYCLE_FRAMES, MAX_LIFECYCLE_NAME, NO_POWER, PciFunction,
    Record,
};
use trapline_engine::{Platform, Trap};
use trapline_insn::Registers;

/// What the handlers are given.
type Given = functions::Given<Lifecycle>;

/// Words of a record that follows another.
const PART: usize = 4;
/// Records behind the first: return addresses, and a name.
const PARTS: usize = 1 + MAX_LIFECYCLE_NAME / (8 * PART);
const _: () = assert!(MAX_LIFECYCLE_FRAMES == PART && MAX_LIFECYCLE_NAME.is_multiple_of(8 * PART));

/// No device's number: those have 48 bits.
const NO_DEVICE: u64 = u64::MAX;

/// What a call was made with.
#[repr(C)]
pub(super) struct Carried {
    /// The PCI device's number; [`NO_DEVICE`] if it is not recorded: then nothing else is there.
    number: u64,
    /// The kernel's device.
    device: u64,
    /// When it began.
    began: u64,
    /// The power state that is asked for, [`NO_POWER`] if none is.
    wanted: u64,
    /// Bytes of the name.
    length: u64,
    /// Return addresses, and zeros.
    frames: [u64; MAX_LIFECYCLE_FRAMES],
    /// The driver's, or the firmware's.
    name: [u64; MAX_LIFECYCLE_NAME / 8],
}

/// A function was called, for a device of the watch; `None` if for another.
fn call_of(watch: &Watch, form: Form, registers: &Registers) -> Option<Carried> {
    let device = match form.argument {
        Argument::Device => registers.rdi,
        Argument::Pci | Argument::Power => glue::glue_device_of_pci(registers.rdi),
        Argument::Firmware => registers.rdx,
    };
    let number = glue::glue_pci_number(device);
    if !watch.devices.has(PciFunction(number)) {
        return None;
    }
    let (wanted, name_at) = match form.argument {
        Argument::Device | Argument::Pci => (NO_POWER.into(), glue::glue_driver_name(device)),
        // An `int`; a state's number is small, and what is none is told as none.
        Argument::Power => {
            (u64::from(registers.rsi as u32).min(NO_POWER.into()), glue::glue_driver_name(device))
        }
        Argument::Firmware => (NO_POWER.into(), registers.rsi),
    };
    let mut frames = [0; MAX_LIFECYCLE_FRAMES];
    // What is not written stays 0.
    // SAFETY: room for as many; in a trap, on the CPU whose registers these are.
    unsafe { glue::glue_unwind(registers, frames.as_mut_ptr(), MAX_LIFECYCLE_FRAMES as u32) };
    let (name, length) = text(name_at);
    Some(Carried { number, device, began: glue::glue_local_clock(), wanted, length, frames, name })
}

/// The text at an address, as much of it as there is room for and can be read, and its length.
/// Bounded by the room.
fn text(at: u64) -> ([u64; MAX_LIFECYCLE_NAME / 8], u64) {
    let (mut name, mut length) = ([0; MAX_LIFECYCLE_NAME / 8], 0u64);
    for word in &mut name {
        let mut bytes = [0; 8];
        for byte in &mut bytes {
            // SAFETY: room for the value; whatever the address is, it is read with care.
            let is_read =
                at != 0 && unsafe { glue::glue_get_kernel_byte_nofault(at.wrapping_add(length), byte) };
            if !is_read || *byte == 0 {
                *byte = 0;
                *word = u64::from_le_bytes(bytes);
                return (name, length);
            }
            length += 1;
        }
        *word = u64::from_le_bytes(bytes);
    }
    (name, length)
}

/// One of the functions was called.
///
/// # Safety
/// `given` is a [`Given`] whose watch stays; `registers` are those of the call; `carried` is room
/// for a [`Carried`].
pub(super) unsafe fn called(given: *mut (), trap: &Trap, registers: &Registers, carried: *mut ()) {
    let carried = carried.cast::<Carried>();
    // SAFETY: `called` asks for that.
    let Given { watch, form, .. } = unsafe { &*given.cast::<Given>() };
    // SAFETY: as above.
    let watch: &Watch = unsafe { NonNull::as_ref(watch) };
    match call_of(watch, *form, registers) {
        Some(call) => {
            record(watch, trap, *form, &call, None);
            // SAFETY: room for a `Carried`, which the kernel aligns as pointers are: `called` asks
            // for that.
            unsafe { carried.write(call) };
        }
        // SAFETY: as above.
        None => unsafe { (&raw mut (*carried).number).write(NO_DEVICE) },
    }
}

/// It has ended.
///
/// # Safety
/// `given` is a [`Given`] whose watch stays; `carried` is what [`called`] left.
pub(super) unsafe fn returned(given: *mut (), trap: &Trap, registers: &Registers, carried: *mut ()) {
    // SAFETY: what `called` left, which has begun with whether it is recorded; a `Given`, whose
    // watch stays: `returned` asks for that.
    let (call, Given { watch, form, .. }) = unsafe {
        let carried = carried.cast::<Carried>();
        if (*carried).number == NO_DEVICE {
            return;
        }
        (&*carried, &*given.cast::<Given>())
    };
    // SAFETY: as above.
    let watch: &Watch = unsafe { NonNull::as_ref(watch) };
    record(watch, trap, *form, call, Some(registers.rax));
}

/// Whether the function returns a value.
const fn returns_value(op: LifecycleOp) -> bool {
    use LifecycleOp as Op;
    !matches!(op, Op::Unbind | Op::Shutdown | Op::Complete)
}

/// Records that the call has begun, or that it has ended with what it left in RAX.
fn record(watch: &Watch, trap: &Trap, form: Form, call: &Carried, ended: Option<u64>) {
    let Some(engine) = ENGINE.get() else { return };
    let payload = LifecyclePayload {
        device: PciFunction(call.number),
        op: form.op as u8,
        ended: ended.is_some(),
        power: glue::glue_pci_power(call.device) as u8,
        wanted: call.wanted as u8,
        result: ended.filter(|_| returns_value(form.op)).map_or(0, |rax| rax as u32 as i32),
        took: ended.map_or(0, |_| engine.platform().now().saturating_sub(call.began)),
    };
    let mut parts = [Record::EMPTY; PARTS];
    if let Some((frames, rest)) = parts.split_first_mut() {
        frames.payload = call.frames;
        let words = rest.iter_mut().flat_map(|part| part.payload.iter_mut());
        for (to, from) in words.zip(call.name) {
            *to = from;
        }
    }
    let used = 1 + (call.length as usize).div_ceil(8 * PART);
    let record = Record {
        kind: Kind::Lifecycle as u8,
        width: call.length as u8,
        payload: payload.to_words(),
        ..Record::EMPTY
    };
    // SAFETY: the session's sink, which outlives the watch, by its invariant.
    let sink = unsafe { watch.sink.as_ref() };
    sink.push(trap, engine.platform(), record, parts.get(..used).unwrap_or(&[]));
}
