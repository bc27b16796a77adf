//! Accesses that are exactly one instruction of exactly one width.
//!
//! In assembly, since devices count accesses and care for widths, since operands may be unaligned,
//! and since this crate is compiled without vector registers, which are the interrupted context's:
//! what is used of them is saved and put back within one block.

use crate::glue;
use core::arch::asm;

/// Reads `width` bytes (1, 2, 4 or 8) at `address`, zero-extended.
///
/// # Safety
/// The bytes are mapped and may be read.
pub(crate) unsafe fn load(address: u64, width: u8) -> u64 {
    let value: u64;
    // SAFETY: the bytes are mapped and may be read: `load` asks for that; the asm reads these bytes
    // and writes its output.
    unsafe {
        match width {
            1 => {
                asm!("movzx {0:e}, byte ptr [{1}]", out(reg) value, in(reg) address, options(nostack, preserves_flags))
            }
            2 => {
                asm!("movzx {0:e}, word ptr [{1}]", out(reg) value, in(reg) address, options(nostack, preserves_flags))
            }
            4 => asm!("mov {0:e}, [{1}]", out(reg) value, in(reg) address, options(nostack, preserves_flags)),
            _ => asm!("mov {0}, [{1}]", out(reg) value, in(reg) address, options(nostack, preserves_flags)),
        }
    }
    value
}

/// Writes the low `width` bytes (1, 2, 4 or 8) of `value` to `address`.
///
/// # Safety
/// The bytes are mapped and may be written.
pub(crate) unsafe fn store(address: u64, width: u8, value: u64) {
    // SAFETY: the bytes are mapped and may be written: `store` asks for that; the asm writes these
    // bytes and nothing else.
    unsafe {
        match width {
            1 => {
                asm!("mov [{0}], {1}", in(reg) address, in(reg_byte) value as u8, options(nostack, preserves_flags))
            }
            2 => asm!("mov [{0}], {1:x}", in(reg) address, in(reg) value, options(nostack, preserves_flags)),
            4 => asm!("mov [{0}], {1:e}", in(reg) address, in(reg) value, options(nostack, preserves_flags)),
            _ => asm!("mov [{0}], {1}", in(reg) address, in(reg) value, options(nostack, preserves_flags)),
        }
    }
}

/// Room to save one vector register of any size.
#[repr(C, align(64))]
struct Saved([u8; 64]);

/// One vector access: saves register 0, loads it from `$from`, stores it to `$to`, puts it back.
macro_rules! vector_move {
    ($from:expr, $to:expr, $save:literal, $move:literal, $register:literal, $saved_register:literal) => {{
        let mut saved = Saved([0; 64]);
        asm!(
            concat!($save, " [{saved}], ", $saved_register),
            concat!($move, " ", $register, ", [{from}]"),
            concat!($move, " [{to}], ", $register),
            concat!($save, " ", $saved_register, ", [{saved}]"),
            saved = in(reg) &raw mut saved,
            from = in(reg) $from,
            to = in(reg) $to,
            options(nostack, preserves_flags)
        )
    }};
}

/// Copies `width` bytes (16, 32 or 64) by one load and one store of that width.
///
/// # Safety
/// Both are mapped; the CPU has vectors of this width, enabled.
unsafe fn copy(from: u64, to: u64, width: usize) {
    // SAFETY: both are mapped, and the CPU has such vectors: `copy` asks for that; the register
    // that is used is as it was afterwards. The 16-byte form leaves the rest of the register alone,
    // the VEX form of 32 bytes clears what lies above, so where that may be something it is saved
    // as well (Intel SDM volume 2, 2.3.10.1).
    unsafe {
        match width {
            16 => vector_move!(from, to, "movdqu", "movdqu", "xmm0", "xmm0"),
            32 if glue::glue_has_avx512() => vector_move!(from, to, "vmovdqu64", "vmovdqu", "ymm0", "zmm0"),
            32 => vector_move!(from, to, "vmovdqu", "vmovdqu", "ymm0", "ymm0"),
            _ => vector_move!(from, to, "vmovdqu64", "vmovdqu64", "zmm0", "zmm0"),
        }
    }
}

/// Reads `bytes` (16, 32 or 64 of them) at `address` by one instruction.
///
/// # Safety
/// The bytes are mapped; the CPU has vectors of this width, enabled.
pub(crate) unsafe fn load_wide(address: u64, bytes: &mut [u8]) {
    // SAFETY: the bytes are mapped, and the CPU has such vectors: `load_wide` asks for that; the
    // buffer is ours.
    unsafe { copy(address, bytes.as_mut_ptr() as u64, bytes.len()) }
}

/// Writes `bytes` (16, 32 or 64 of them) to `address` by one instruction.
///
/// # Safety
/// As for [`load_wide`].
pub(crate) unsafe fn store_wide(address: u64, bytes: &[u8]) {
    // SAFETY: the bytes are mapped, and the CPU has such vectors: `store_wide` asks for that; the
    // buffer is ours.
    unsafe { copy(bytes.as_ptr() as u64, address, bytes.len()) }
}

/// One `$cmpxchg` of the width that the registers have.
macro_rules! compare_exchange {
    ($cmpxchg:literal, $address:ident, $width:ident, $current:ident, $new:ident) => {{
        let mut old = $current as u64;
        let mut high = 0;
        match $width {
            1 => {
                asm!(concat!($cmpxchg, " [{0}], {1}"), in(reg) $address, in(reg_byte) $new as u8, inout("rax") old, options(nostack))
            }
            2 => {
                asm!(concat!($cmpxchg, " [{0}], {1:x}"), in(reg) $address, in(reg) $new as u64, inout("rax") old, options(nostack))
            }
            4 => {
                asm!(concat!($cmpxchg, " [{0}], {1:e}"), in(reg) $address, in(reg) $new as u64, inout("rax") old, options(nostack))
            }
            8 => {
                asm!(concat!($cmpxchg, " [{0}], {1}"), in(reg) $address, in(reg) $new as u64, inout("rax") old, options(nostack))
            }
            _ => {
                high = ($current >> 64) as u64;
                asm!(
                    "xchg rbx, rsi",
                    concat!($cmpxchg, "16b [rdi]"),
                    "mov rbx, rsi",
                    in("rdi") $address,
                    inout("rsi") $new as u64 => _,
                    in("rcx") ($new >> 64) as u64,
                    inout("rax") old,
                    inout("rdx") high,
                    options(nostack)
                );
            }
        }
        u128::from(old) | u128::from(high) << 64
    }};
}

/// `cmpxchg` of `width` bytes (1, 2, 4, 8 or 16), with a lock prefix or without; returns what was
/// there.
///
/// # Safety
/// The bytes are mapped and are RAM; 16 of them are aligned (else the interrupted instruction had
/// faulted before).
pub(crate) unsafe fn compare_exchange(address: u64, width: u8, lock: bool, current: u128, new: u128) -> u128 {
    // SAFETY: the bytes are mapped, RAM and aligned: `compare_exchange` asks for that. `rbx` is the
    // compiler's own, so it is exchanged around the one instruction that needs it.
    unsafe {
        if lock {
            compare_exchange!("lock cmpxchg", address, width, current, new)
        } else {
            compare_exchange!("cmpxchg", address, width, current, new)
        }
    }
}
