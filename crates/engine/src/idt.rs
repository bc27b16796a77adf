//! Interrupt descriptor tables: what a gate holds, and a table that differs from another in one
//! gate.
//!
//! The layout is that of 64-bit mode (Intel SDM volume 3, 6.14.1 and figure 6-8): 256 descriptors
//! of 16 bytes. It is the processor's, the same on every platform, so it is here, where it is
//! tested without one.

/// Descriptors in a table.
pub const VECTORS: usize = 256;

/// The vector of page faults (Intel SDM volume 3, table 6-1).
pub const PAGE_FAULT: u8 = 14;

/// A table; what the IDT register points to.
pub type Table = [Descriptor; VECTORS];

/// Its last byte, as the IDT register holds it.
pub const LIMIT: u16 = (size_of::<Table>() - 1) as u16;

// The processor finds a gate at 16 times its vector.
const _: () = assert!(size_of::<Table>() == 4096);

/// One gate.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    low: u64,
    high: u64,
}

/// Bits 40 to 47 of a gate that leads somewhere and turns interrupts off on the way, for anybody's
/// `int` (privilege level 3) or not.
const INTERRUPT_GATE: u64 = 0x8e;
const LEVEL: u64 = 3 << 45;
const STACK: u64 = 7 << 32;

/// Bits 0 to 31 of an offset are here in the low word, the rest in the high one.
const OFFSET_LOW: u64 = 0xffff;
const OFFSET_MIDDLE: u64 = 0xffff << 48;
const OFFSET_HIGH: u64 = 0xffff_ffff;

impl Descriptor {
    /// The descriptor with these two words.
    pub const fn from_words(low: u64, high: u64) -> Self {
        Self { low, high }
    }

    /// Where it leads.
    pub const fn offset(self) -> u64 {
        self.low & OFFSET_LOW | (self.low & OFFSET_MIDDLE) >> 32 | (self.high & OFFSET_HIGH) << 32
    }

    /// The code segment that it leads to.
    pub const fn selector(self) -> u16 {
        (self.low >> 16) as u16
    }

    /// The least privileged level whose `int` may use it; for exceptions it counts nothing.
    pub const fn level(self) -> u8 {
        ((self.low & LEVEL) >> 45) as u8
    }

    /// The number of the stack that it always switches to (IST), or 0 for none.
    pub const fn stack(self) -> u8 {
        ((self.low & STACK) >> 32) as u8
    }

    /// Whether it is present, and an interrupt gate: one that turns interrupts off.
    pub const fn is_interrupt_gate(self) -> bool {
        self.low >> 40 & 0xff & !0x60 == INTERRUPT_GATE
    }

    /// The same gate, leading to `offset`.
    #[must_use]
    pub const fn leading_to(self, offset: u64) -> Self {
        Self {
            low: self.low & !(OFFSET_LOW | OFFSET_MIDDLE)
                | offset & OFFSET_LOW
                | (offset << 32) & OFFSET_MIDDLE,
            high: self.high & !OFFSET_HIGH | offset >> 32,
        }
    }
}

/// Lets the gate of page faults lead to `entry`, everything else of the table as it was, and
/// returns where it led before.
///
/// `None`, and the table as it was, unless that is an interrupt gate that stays on the interrupted
/// stack if that is the kernel's: an entry that goes on to the old one must find interrupts off,
/// and a fault inside another must not begin at the same stack's top again.
pub fn divert_page_faults(table: &mut Table, entry: u64) -> Option<u64> {
    let gate = table.get_mut(usize::from(PAGE_FAULT))?;
    if !gate.is_interrupt_gate() || gate.stack() != 0 {
        return None;
    }
    let before = gate.offset();
    *gate = gate.leading_to(entry);
    Some(before)
}

/// Bytes of [`jump`].
pub const JUMP: usize = 5;

/// The direct jump (`jmp rel32`) that lies at `from` and leads to `to`; `None` if that is too far.
pub fn jump(from: u64, to: u64) -> Option<[u8; JUMP]> {
    let distance = to.wrapping_sub(from.wrapping_add(JUMP as u64)).cast_signed();
    let [a, b, c, d] = i32::try_from(distance).ok()?.to_le_bytes();
    Some([0xe9, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux's gate of page faults: `asm_exc_page_fault` at 0xffffffff81a00b60 in `__KERNEL_CS`.
    const LINUX: Descriptor = Descriptor::from_words(0x81a0_8e00_0010_0b60, 0xffff_ffff);

    #[test]
    fn a_descriptor_reads_as_the_manual_lays_it_out() {
        assert_eq!(LINUX.offset(), 0xffff_ffff_81a0_0b60);
        assert_eq!((LINUX.selector(), LINUX.level(), LINUX.stack()), (0x10, 0, 0));
        assert!(LINUX.is_interrupt_gate());
        // #BP of Linux: level 3. #DB: a stack of its own.
        let breakpoint = Descriptor::from_words(0x81a0_ee00_0010_0b60, 0xffff_ffff);
        assert!(breakpoint.is_interrupt_gate() && breakpoint.level() == 3);
        assert_eq!(Descriptor::from_words(0x81a0_8e02_0010_0b60, 0xffff_ffff).stack(), 2);
    }

    #[test]
    fn only_a_present_interrupt_gate_is_one() {
        for bits in 0..=255_u64 {
            let descriptor = Descriptor::from_words(0x81a0_0000_0010_0b60 | bits << 40, 0xffff_ffff);
            let is_one = bits & 0x80 != 0 && bits & 0x1f == 0xe;
            assert_eq!(descriptor.is_interrupt_gate(), is_one, "{bits:#x}");
        }
    }

    #[test]
    fn leading_elsewhere_changes_the_offset_and_no_other_bit() {
        for bit in 0..64 {
            let offset = 1 << bit;
            // All ones: what must stay is then seen to stay; all zeros: what must not come is seen
            // not to.
            for word in [0, u64::MAX] {
                let before = Descriptor::from_words(word, word);
                let after = before.leading_to(offset);
                assert_eq!(after.offset(), offset);
                assert_eq!(after.leading_to(before.offset()), before);
                assert_eq!(after.low & !(OFFSET_LOW | OFFSET_MIDDLE), word & !(OFFSET_LOW | OFFSET_MIDDLE));
                assert_eq!(after.high >> 32, word >> 32);
            }
        }
    }

    #[test]
    fn one_gate_of_the_table_is_diverted() {
        let mut table: Table =
            core::array::from_fn(|vector| LINUX.leading_to(LINUX.offset() + 16 * vector as u64));
        let before = table;
        let entry = 0xffff_ffff_c012_3450;
        assert_eq!(divert_page_faults(&mut table, entry), Some(LINUX.offset() + 16 * 14));
        for (vector, (now, before)) in table.iter().zip(&before).enumerate() {
            let expected = if vector == 14 { before.leading_to(entry) } else { *before };
            assert_eq!(*now, expected, "vector {vector}");
        }
    }

    #[test]
    fn a_gate_that_keeps_interrupts_on_or_changes_stacks_is_left_as_it_is() {
        for low in [0x81a0_8f00_0010_0b60, 0x81a0_0e00_0010_0b60, 0x81a0_8e01_0010_0b60] {
            let mut table = [Descriptor::from_words(low, 0xffff_ffff); VECTORS];
            let before = table;
            assert_eq!(divert_page_faults(&mut table, 1), None, "{low:#x}");
            assert_eq!(table, before);
        }
    }

    #[test]
    fn a_jump_leads_where_it_shall_or_is_none() {
        assert_eq!(jump(0x1000, 0x1005), Some([0xe9, 0, 0, 0, 0]));
        assert_eq!(jump(0x1000, 0x1000), Some([0xe9, 0xfb, 0xff, 0xff, 0xff]));
        assert_eq!(jump(0, 0x7fff_ffff + 5), Some([0xe9, 0xff, 0xff, 0xff, 0x7f]));
        assert_eq!(jump(0, 0x8000_0000 + 5), None);
        assert_eq!(jump(0xffff_ffff_c000_0000, 0xffff_ffff_8000_0005), Some([0xe9, 0, 0, 0, 0xc0]));
        assert_eq!(jump(0x8000_0000, 0), None);
        assert_eq!(jump(0, u64::MAX), Some([0xe9, 0xfa, 0xff, 0xff, 0xff]));
    }
}
