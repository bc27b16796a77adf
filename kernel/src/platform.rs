//! The trap side of the kernel platform.
//!
//! Everything here runs with interrupts off, on all CPUs at once, maybe in NMI context. An access
//! that is a device's is one volatile access or one instruction of the exact width; what may fault
//! has a fixup.

use crate::{cpu, glue, page_tables, slots, vector};
use core::mem::MaybeUninit;
use trapline_engine::{Alias, Code, ErrorCode, Fault, Lane, Linear, Look, Page, Platform, Task};
use trapline_insn::{Redirect, Registers, Segment};

/// The Linux kernel.
pub(crate) struct Kernel {
    pub slots: slots::Slots,
}

impl Platform for Kernel {
    #[inline(always)]
    fn lane(&self) -> Lane {
        cpu::lane()
    }

    /// A page is armed by having its entry not present.
    #[inline(always)]
    fn look(&self, fault: &Fault) -> Look {
        let code = fault.error_code;
        if code.has(ErrorCode::RESERVED) {
            Look::Foreign
        } else if code.has(ErrorCode::PRESENT | ErrorCode::USER | ErrorCode::FETCH) {
            Look::Rights
        } else {
            Look::Armed
        }
    }

    fn now(&self) -> u64 {
        glue::glue_local_clock()
    }

    fn wait(&self, microseconds: u32) {
        glue::glue_udelay(microseconds);
    }

    fn task(&self) -> Task {
        let mut task = MaybeUninit::uninit();
        // SAFETY: `glue_current` fills all fields of what it is given; `struct glue_task` is laid
        // out as `Task`.
        unsafe {
            glue::glue_current(task.as_mut_ptr());
            task.assume_init()
        }
    }

    #[inline(always)]
    fn fetch(&self, ip: u64) -> Code {
        const LAST: u64 = 4096 - 16;
        if ip % 4096 <= LAST {
            // SAFETY: the CPU was executing at `ip` in kernel mode when it faulted, so its page is
            // mapped, readable, and not freed before the trap ends; the 16 bytes are on that page.
            let bytes = unsafe { (ip as *const [u8; 16]).read() };
            return unprobed(ip, Code { bytes: u128::from_le_bytes(bytes), length: 16 });
        }
        unprobed(ip, fetch_across(ip))
    }

    fn segment_base(&self, segment: Segment) -> u64 {
        match segment {
            Segment::Fs => glue::glue_fs_base(),
            Segment::Gs => glue::glue_gs_base(),
        }
    }

    fn write_protects(&self) -> bool {
        const WRITE_PROTECT: u64 = 1 << 16;
        let cr0: u64;
        // SAFETY: reads CR0, in kernel mode.
        unsafe { core::arch::asm!("mov {}, cr0", out(reg) cr0, options(nomem, nostack, preserves_flags)) };
        cr0 & WRITE_PROTECT != 0
    }

    fn is_present(&self, address: Linear) -> bool {
        page_tables::is_present(address)
    }

    unsafe fn load(&self, alias: Alias, width: u8) -> u64 {
        // SAFETY: `Platform::load` asks for the bytes to lie on an alias, which is mapped. A
        // device's registers may be read unaligned, as the interrupted instruction does it, so
        // these are single instructions and not volatile reads, which Rust wants aligned.
        unsafe { vector::load(alias.0, width) }
    }

    unsafe fn store(&self, alias: Alias, width: u8, value: u64) {
        // SAFETY: as in `load`.
        unsafe { vector::store(alias.0, width, value) }
    }

    unsafe fn load_wide(&self, alias: Alias, bytes: &mut [u8]) {
        // SAFETY: as in `load`; `Platform::load_wide` asks for a CPU with vectors of this width.
        unsafe { vector::load_wide(alias.0, bytes) }
    }

    unsafe fn store_wide(&self, alias: Alias, bytes: &[u8]) {
        // SAFETY: as in `load_wide`.
        unsafe { vector::store_wide(alias.0, bytes) }
    }

    unsafe fn compare_exchange(&self, alias: Alias, width: u8, lock: bool, current: u128, new: u128) -> u128 {
        // SAFETY: as in `load`; and it is RAM: `Platform` asks for that.
        unsafe { vector::compare_exchange(alias.0, width, lock, current, new) }
    }

    fn read_other(&self, address: Linear, width: u8) -> Result<u64, Fault> {
        let mut value = 0;
        // SAFETY: a place to write to.
        if unsafe { glue::glue_get_inatomic(address, width.into(), &mut value) } {
            Ok(value)
        } else {
            Err(Fault { error_code: ErrorCode(0), address })
        }
    }

    fn write_other(&self, address: Linear, width: u8, value: u64) -> Result<(), Fault> {
        if glue::glue_put_inatomic(address, width.into(), value) {
            Ok(())
        } else {
            Err(Fault { error_code: ErrorCode(ErrorCode::WRITE), address })
        }
    }

    fn can_push(&self) -> bool {
        // The frame of a fault in kernel mode lies right below the interrupted stack pointer, on
        // the same stack.
        false
    }

    fn can_run_copy(&self, nesting: usize, copy: &Redirect) -> bool {
        self.slots.have_room(self.lane(), nesting, copy)
    }

    unsafe fn run_copy(
        &self,
        nesting: usize,
        copy: &Redirect,
        registers: &mut Registers,
        operand: u64,
    ) -> bool {
        // SAFETY: interrupts are off in a trap, the slot of this CPU and level is therefore ours;
        // the operand may be accessed: `run_copy` asks for that.
        unsafe { self.slots.run(self.lane(), nesting, copy, registers, operand) }
    }

    fn set_present(&self, page: Page, entry: u64, present: bool) {
        // If somebody has changed the entry meanwhile, the page is that one's from then on.
        let _ = page_tables::set_present(page, entry, present);
        if !present {
            // What this CPU looked up while the page was open. INVLPG is enough here: since the
            // page was opened, interrupts were off, so no other address space was current.
            // SAFETY: dropping a translation changes nothing but speed.
            unsafe {
                core::arch::asm!("invlpg [{}]", in(reg) page.address.0, options(nostack, preserves_flags))
            };
        }
    }

    fn request_repair(&self) {
        glue::glue_request_repair();
    }
}

/// The code as it is without a code probe of ours: where its breakpoint is the kernel executes a
/// copy, and shows a fault of that as of the original.
#[inline(always)]
fn unprobed(ip: u64, code: Code) -> Code {
    const BREAKPOINT: u8 = 0xcc;
    let mut byte = BREAKPOINT;
    // SAFETY: a place to write to; in a trap.
    if code.bytes as u8 == BREAKPOINT && unsafe { glue::glue_original_byte(ip, &mut byte) } {
        return Code { bytes: code.bytes & !0xff | u128::from(byte), ..code };
    }
    code
}

/// Code near the end of a page, the next one of which may not be mapped.
#[cold]
fn fetch_across(ip: u64) -> Code {
    let (mut low, mut high) = (0, 0);
    // SAFETY: places to write to.
    let whole = unsafe {
        glue::glue_get_kernel_nofault(ip, &mut low)
            && glue::glue_get_kernel_nofault(ip.wrapping_add(8), &mut high)
    };
    if whole {
        return Code { bytes: u128::from(low) | u128::from(high) << 64, length: 16 };
    }
    // The last instruction before the end of mapped memory.
    let mut code = Code { bytes: 0, length: 0 };
    for offset in 0..16 {
        let mut byte = 0;
        // SAFETY: a place to write to.
        if !unsafe { glue::glue_get_kernel_byte_nofault(ip.wrapping_add(offset), &mut byte) } {
            break;
        }
        code.bytes |= u128::from(byte) << (8 * offset);
        code.length += 1;
    }
    code
}
