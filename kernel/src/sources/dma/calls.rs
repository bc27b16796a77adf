//! Calls of the kernel's DMA interface, and what is recorded of them.
//!
//! A call that takes memory away from the device is recorded as it begins: as soon as it has done
//! its work another CPU may be given the same address. One that gives memory to the device is
//! recorded when it has ended, since only then the address is known. The data that change hands are
//! there at the same moments.

use super::super::functions;
use super::functions::Form;
use super::{DmaCalls, Watch};
use crate::glue::{self, DmaPiece};
use crate::platform::Kernel;
use crate::state::ENGINE;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use trapline_abi::{
    DMA_FAILED, DmaDirection, DmaOp, DmaPayload, Kind, MAX_DMA_DATA, MAX_DMA_FRAMES, MAX_DMA_PIECES,
    PciFunction, Record,
};
use trapline_engine::{Engine, Trap};
use trapline_insn::Registers;

/// What the handlers are given.
type Given = functions::Given<DmaCalls>;

/// Words of a record that follows another.
const PART: usize = 4;
/// Records behind the first: return addresses, and data.
const PARTS: usize = 1 + MAX_DMA_DATA / (8 * PART);
const _: () = assert!(MAX_DMA_FRAMES == PART && MAX_DMA_DATA.is_multiple_of(8 * PART));

/// What a call was made with.
#[repr(C)]
pub(super) struct Carried {
    /// The PCI device's number; [`NO_DEVICE`] if it is not recorded: then nothing else is there.
    number: u64,
    /// The kernel's device.
    device: u64,
    /// What follows it: RSI, RDX, RCX, R8 and R9.
    arguments: [u64; 5],
    /// Return addresses, and zeros.
    frames: [u64; MAX_DMA_FRAMES],
}

/// Entries of a scatter list that are looked at, to see how many are mapped.
const MOST_ENTRIES: u64 = 4096;

/// No device's number: those have 48 bits.
const NO_DEVICE: u64 = u64::MAX;

/// One of the functions was called, for a device of the watch; `None` if for another.
fn call_of(watch: &Watch, registers: &Registers) -> Option<Carried> {
    let device = registers.rdi;
    let number = glue::glue_pci_number(device);
    if !watch.devices.has(PciFunction(number)) {
        return None;
    }
    let mut frames = [0; MAX_DMA_FRAMES];
    // What is not written stays 0.
    // SAFETY: room for as many; in a trap, on the CPU whose registers these are.
    unsafe { glue::glue_unwind(registers, frames.as_mut_ptr(), MAX_DMA_FRAMES as u32) };
    let arguments = [registers.rsi, registers.rdx, registers.rcx, registers.r8, registers.r9];
    Some(Carried { number, device, arguments, frames })
}

/// One of the functions that are recorded as they begin was called.
///
/// # Safety
/// `given` is a [`Given`] whose watch stays; `registers` are those of the call.
pub(super) unsafe fn begins(given: *mut (), trap: &Trap, registers: &Registers, _carried: *mut ()) {
    let Some(engine) = ENGINE.get() else { return };
    // SAFETY: `begins` asks for that.
    let Given { watch, form, .. } = unsafe { &*given.cast::<Given>() };
    // SAFETY: as above.
    let watch = unsafe { watch.as_ref() };
    if let Some(call) = call_of(watch, registers) {
        Telling { watch, trap, engine, call: &call, form: *form }.begun();
    }
}

/// One of the functions that are recorded when they have ended was called.
///
/// # Safety
/// As for [`begins`]; `carried` is room for a [`Carried`].
pub(super) unsafe fn called(given: *mut (), _trap: &Trap, registers: &Registers, carried: *mut ()) {
    let carried = carried.cast::<Carried>();
    // SAFETY: a `Given` whose watch stays, and room for a `Carried`, which the kernel aligns as
    // pointers are: `called` asks for that.
    unsafe {
        match call_of((*given.cast::<Given>()).watch.as_ref(), registers) {
            Some(call) => carried.write(call),
            None => (&raw mut (*carried).number).write(NO_DEVICE),
        }
    }
}

/// It has ended.
///
/// # Safety
/// `given` is a [`Given`] whose watch stays; `carried` is what [`called`] left.
pub(super) unsafe fn returned(given: *mut (), trap: &Trap, registers: &Registers, carried: *mut ()) {
    let Some(engine) = ENGINE.get() else { return };
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
    Telling { watch, trap, engine, call, form: *form }.ended(registers.rax);
}

/// Memory of a call.
#[derive(Clone, Copy)]
struct Buffer {
    op: DmaOp,
    direction: u64,
    dma: u64,
    cpu: u64,
    size: u64,
    piece: u64,
    pieces: u64,
}

/// A call that is recorded.
struct Telling<'a> {
    watch: &'a Watch,
    trap: &'a Trap,
    engine: &'a Engine<Kernel>,
    call: &'a Carried,
    form: Form,
}

/// `DMA_ATTR_NO_KERNEL_MAPPING`: what stands for the kernel's address is none
/// (include/linux/dma-mapping.h).
const NO_ADDRESS: u64 = 1 << 4;
/// `DMA_ATTR_SKIP_CPU_SYNC`: no data change hands by this call.
const NO_DATA: u64 = 1 << 5;

impl Telling<'_> {
    /// What the call asks for beside (`DMA_ATTR_*`).
    fn attributes(&self) -> u64 {
        let [_, _, three, four, five] = self.call.arguments;
        match self.form {
            Form::MapPage => five,
            Form::MapPhysical | Form::MapList | Form::Alloc | Form::Free => four,
            Form::Single(DmaOp::Unmap) | Form::List(DmaOp::Unmap) => four,
            Form::MapTable => three,
            _ => 0,
        }
    }

    /// The call begins.
    fn begun(&self) {
        let [one, two, three, four, _] = self.call.arguments;
        match self.form {
            Form::Single(op) => self.single(op, one, two, three),
            Form::List(op) => self.list(op, one, two, three),
            // Freeing nothing is no call.
            Form::Free if two == 0 => {}
            Form::Free => self.memory(DmaOp::Free, three, self.address(two), one, NO_DIRECTION),
            Form::FreePages => self.memory(DmaOp::Free, three, glue::glue_page_to_phys(two), one, four),
            Form::FreeTable => self.table(DmaOp::Free, two, one, three),
            _ => {}
        }
    }

    /// The kernel's address of what is allocated, if there is one.
    fn address(&self, told: u64) -> u64 {
        if self.attributes() & NO_ADDRESS == 0 { told } else { 0 }
    }

    /// The call has ended with a result.
    fn ended(&self, result: u64) {
        let [one, two, three, four, _] = self.call.arguments;
        match self.form {
            Form::MapPage => {
                let physical = glue::glue_page_to_phys(one).wrapping_add(two);
                self.memory(DmaOp::Map, result, physical, three, four);
            }
            Form::MapPhysical => self.memory(DmaOp::Map, result, one, two, three),
            Form::MapList => self.mapped(one, two, result as u32, three),
            Form::MapTable => {
                let (mut list, mut mapped, mut all) = (0, 0, 0);
                // SAFETY: room for what is told.
                if unsafe { glue::glue_dma_table(one, &mut list, &mut mapped, &mut all) } {
                    let mapped = if result as i32 == 0 { mapped } else { 0 };
                    self.mapped(list, u64::from(all), mapped, two);
                } else {
                    self.lost(1);
                }
            }
            Form::Single(op) => self.single(op, one, two, three),
            Form::List(op) => self.list(op, one, two, three),
            Form::Alloc => self.allocated(result, self.address(result), NO_DIRECTION),
            Form::AllocPages if result == 0 => self.allocated(0, 0, three),
            Form::AllocPages => self.allocated(result, glue::glue_page_to_phys(result), three),
            Form::AllocTable if result == 0 => self.memory(DmaOp::Alloc, DMA_FAILED, 0, one, two),
            Form::AllocTable => self.table(DmaOp::Alloc, result, one, two),
            Form::Free | Form::FreePages | Form::FreeTable => {}
        }
    }

    /// Memory was allocated, if there is a result; where the device finds it was put where the
    /// second argument says.
    fn allocated(&self, result: u64, cpu: u64, direction: u64) {
        let [size, handle, ..] = self.call.arguments;
        let mut dma = DMA_FAILED;
        // SAFETY: room for the value; whatever the address is, it is read with care.
        if result != 0 && !unsafe { glue::glue_get_kernel_nofault(handle, &mut dma) } {
            return self.lost(1);
        }
        self.memory(DmaOp::Alloc, dma, cpu, size, direction);
    }

    /// A buffer of which only the device's address is told.
    fn single(&self, op: DmaOp, dma: u64, size: u64, direction: u64) {
        self.memory(op, dma, 0, size, direction);
    }

    fn memory(&self, op: DmaOp, dma: u64, cpu: u64, size: u64, direction: u64) {
        self.buffer(Buffer { op, direction, dma, cpu, size, piece: 0, pieces: 0 });
    }

    /// A scatter list was mapped: of its `all` entries the first `mapped` say where the device
    /// finds it. If those are fewer, what lies behind an address is in several entries.
    fn mapped(&self, list: u64, all: u64, mapped: u32, direction: u64) {
        let (all, mapped) = (u64::from(all as u32), u64::from(mapped));
        // A negative error number, which some kernels return as it is.
        if mapped == 0 || mapped > all {
            return self.failed(list, all, direction);
        }
        self.pieces(DmaOp::Map, list, mapped, direction);
    }

    /// A scatter list was not mapped: one record, of all its bytes as far as they are counted.
    fn failed(&self, list: u64, all: u64, direction: u64) {
        let (mut at, mut size) = (list, 0u64);
        for _ in 0..all.min(MAX_DMA_PIECES as u64) {
            let mut piece = DmaPiece::default();
            // SAFETY: room for what is told.
            if !unsafe { glue::glue_dma_piece(&mut at, &mut piece) } {
                break;
            }
            size = size.wrapping_add(u64::from(piece.length));
        }
        self.memory(DmaOp::Map, DMA_FAILED, 0, size, direction);
    }

    /// A scatter list of `all` entries, the first of which are mapped: how many, they tell.
    fn list(&self, op: DmaOp, list: u64, all: u64, direction: u64) {
        let all = u64::from(all as u32);
        let (mut at, mut mapped) = (list, 0);
        while mapped < all.min(MOST_ENTRIES) {
            let mut piece = DmaPiece::default();
            // SAFETY: room for what is told.
            if !unsafe { glue::glue_dma_piece(&mut at, &mut piece) } {
                self.lost(all - mapped);
                break;
            }
            if piece.mapped == 0 {
                break;
            }
            mapped += 1;
        }
        self.pieces(op, list, mapped, direction);
        self.lost(if mapped == MOST_ENTRIES { all - mapped } else { 0 });
    }

    /// What a table of a scatter list has.
    fn table(&self, op: DmaOp, table: u64, size: u64, direction: u64) {
        let (mut list, mut mapped, mut all) = (0, 0, 0);
        // SAFETY: room for what is told.
        if !unsafe { glue::glue_dma_table(table, &mut list, &mut mapped, &mut all) } || mapped == 0 {
            return self.lost(1);
        }
        let mut piece = DmaPiece::default();
        // The usual table has one piece, which is all of the memory.
        // SAFETY: room for what is told.
        if mapped == 1 && unsafe { glue::glue_dma_piece(&mut list.clone(), &mut piece) } {
            return self.memory(op, piece.dma, piece.physical, size, direction);
        }
        self.pieces(op, list, u64::from(mapped), direction);
    }

    /// The first pieces of a list of which so many are mapped.
    fn pieces(&self, op: DmaOp, list: u64, count: u64, direction: u64) {
        let mut at = list;
        // Behind an IOMMU a piece may be the memory of several entries; from there on a piece and
        // its entry are of different memory.
        let mut is_each = true;
        for number in 0..count.min(MAX_DMA_PIECES as u64) {
            let mut entry = DmaPiece::default();
            // SAFETY: room for what is told.
            if !unsafe { glue::glue_dma_piece(&mut at, &mut entry) } {
                return self.lost(count - number);
            }
            is_each &= entry.mapped == entry.length;
            let cpu = if is_each { entry.physical } else { 0 };
            let (dma, size) = (entry.dma, u64::from(entry.mapped));
            self.buffer(Buffer { op, direction, dma, cpu, size, piece: number, pieces: count });
        }
        self.lost(count.saturating_sub(MAX_DMA_PIECES as u64));
    }

    /// Counts what is not recorded.
    fn lost(&self, pieces: u64) {
        // Relaxed: a count.
        self.watch.pieces.fetch_add(pieces, Ordering::Relaxed);
    }

    fn buffer(&self, buffer: Buffer) {
        let Buffer { op, direction, dma, cpu, size, piece, pieces } = buffer;
        // `enum dma_data_direction`; the kernel ends whoever gives another one.
        let direction = DmaDirection::from_code(direction as u32 as u8).unwrap_or(DmaDirection::None);
        let short = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
        let payload = DmaPayload {
            device: PciFunction(self.call.number),
            op: op as u8,
            direction: direction as u8,
            dma,
            cpu,
            size: u32::try_from(size).unwrap_or(u32::MAX),
            piece: short(piece),
            pieces: short(pieces),
        };
        let mut parts = [Record::EMPTY; PARTS];
        let mut data = 0;
        if let Some((frames, rest)) = parts.split_first_mut() {
            frames.payload = self.call.frames;
            if dma != DMA_FAILED && changes_hands(op, direction) && self.attributes() & NO_DATA == 0 {
                data = self.copy(dma, cpu, size.min(u64::from(self.watch.data)), rest);
            }
        }
        let used = 1 + data.div_ceil(8 * PART);
        let record =
            Record { kind: Kind::Dma as u8, width: data as u8, payload: payload.to_words(), ..Record::EMPTY };
        // SAFETY: the session's sink, which outlives the watch, by its invariant.
        let sink = unsafe { self.watch.sink.as_ref() };
        sink.push(self.trap, self.engine.platform(), record, parts.get(..used).unwrap_or(&[]));
    }

    /// Copies the first bytes of a buffer; tells how many those are.
    fn copy(&self, dma: u64, physical: u64, wanted: u64, parts: &mut [Record]) -> usize {
        if wanted == 0 {
            return 0;
        }
        // SAFETY: the caller's device, for which a call of its own is under way.
        let memory = unsafe { glue::glue_dma_memory(self.call.device, dma, physical) };
        if memory == 0 {
            return 0;
        }
        let words = parts.iter_mut().flat_map(|part| part.payload.iter_mut());
        let mut copied = 0u64;
        for word in words.take(wanted.div_ceil(8) as usize) {
            let (at, left) = (memory.wrapping_add(copied), wanted - copied);
            if left >= 8 {
                // SAFETY: room for the value; whatever the address is, it is read with care.
                if !unsafe { glue::glue_get_kernel_nofault(at, word) } {
                    break;
                }
                copied += 8;
                continue;
            }
            let mut bytes = [0; 8];
            for (byte, offset) in bytes.iter_mut().take(left as usize).zip(0..) {
                // SAFETY: as above.
                if !unsafe { glue::glue_get_kernel_byte_nofault(at.wrapping_add(offset), byte) } {
                    break;
                }
                copied += 1;
            }
            *word = u64::from_le_bytes(bytes);
        }
        copied as usize
    }
}

/// Of memory that is allocated, which both may access.
const NO_DIRECTION: u64 = DmaDirection::None as u64;

/// Whether data go to the device by a call that gives it the memory, or come from it by one that
/// takes it back.
fn changes_hands(op: DmaOp, direction: DmaDirection) -> bool {
    match op {
        DmaOp::Map | DmaOp::SyncForDevice => {
            matches!(direction, DmaDirection::Both | DmaDirection::ToDevice)
        }
        DmaOp::Unmap | DmaOp::SyncForCpu => {
            matches!(direction, DmaDirection::Both | DmaDirection::FromDevice)
        }
        DmaOp::Alloc | DmaOp::Free => false,
    }
}
