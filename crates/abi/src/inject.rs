//! Rules of injection: what a driver is told instead of what its device says, and the device
//! instead of what its driver writes.
//!
//! A rule is data, and so is checked before it is used: [`INJECT`](crate::INJECT) refuses what it
//! can't carry out in a trap. All numbers of accesses are counted for each rule by itself, of the
//! accesses that are as the rule says (where, by whom, since when).

/// Most rules of a session.
pub const MAX_RULES: usize = 128;

/// Longest [`InjectRule::delay`], in microseconds. A trap waits with interrupts off.
pub const MAX_DELAY: u32 = 1000;

/// How many values a rule remembers: the limit of [`InjectAction::Stale`].
pub const MAX_STALE: u64 = 15;

/// [`InjectRule::chance`] of a rule that always applies.
pub const ALWAYS: u32 = u32::MAX;

/// What is done about an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum InjectAction {
    /// The access is made, and what was read or is written is changed: `(value & and | or) ^ xor`.
    Change = 1,
    /// The device has gone: it is not accessed; a read gets all ones, a write is dropped.
    Gone = 2,
    /// A read gets what the rule saw being read `and` reads before, 1 to [`MAX_STALE`].
    Stale = 3,
    /// What a polling loop waits for does not come: reads by one instruction, one soon after the
    /// other, get what the first of them got.
    Withhold = 4,
    /// A value made from the seed and from how often the rule has applied.
    Random = 5,
    /// A write is not made.
    Drop = 6,
    /// A write is made twice.
    Twice = 7,
    /// Nothing but the delay.
    Delay = 8,
}

impl InjectAction {
    /// The action with code `code`, if there is one.
    pub const fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            1 => Self::Change,
            2 => Self::Gone,
            3 => Self::Stale,
            4 => Self::Withhold,
            5 => Self::Random,
            6 => Self::Drop,
            7 => Self::Twice,
            8 => Self::Delay,
            _ => return None,
        })
    }
}

/// A write that a rule begins or ends with: of one register, with certain bits.
///
/// `physical` 0 is none. The write must cover the register's first byte; `(value & mask) == bits`
/// of the register's 8 bytes from there on, those that are not written counting as 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InjectTrigger {
    /// The register's first byte.
    pub physical: u64,
    /// The bits that are compared.
    pub mask: u64,
    /// What they must be.
    pub bits: u64,
}

/// A rule: where, when, what.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InjectRule {
    /// Where: first physical address.
    pub physical: u64,
    /// Bytes, at least 1.
    pub length: u64,
    /// An [`InjectAction`].
    pub action: u32,
    /// [`WATCH_READS`](crate::WATCH_READS), [`WATCH_WRITES`](crate::WATCH_WRITES) or both.
    pub flags: u32,
    /// Of [`InjectAction::Change`]: bits that are kept. Of [`InjectAction::Stale`]: how many reads
    /// ago.
    pub and: u64,
    /// Bits that are set.
    pub or: u64,
    /// Bits that are flipped.
    pub xor: u64,
    /// Bytes of a register, 1 to 8: masks begin anew after so many, counted from `physical` on.
    pub size: u32,
    /// Microseconds by which an access that it applies to takes longer, up to [`MAX_DELAY`].
    pub delay: u32,
    /// The first access that the rule applies to; the very first is 1.
    pub first: u64,
    /// How many from there on; `u64::MAX` for all.
    pub count: u64,
    /// How often it applies to those: 1 of `2^32 / (chance + 1)`.
    pub chance: u32,
    /// CPU; `u32::MAX` for any.
    pub cpu: u32,
    /// Thread id; `u32::MAX` for any.
    pub thread: u32,
    /// Zero.
    pub reserved: u32,
    /// The accessing instruction's address is at least this,
    pub ip_first: u64,
    /// and at most this.
    pub ip_last: u64,
    /// Nanoseconds after the rules were given before which it does not apply.
    pub after: u64,
    /// A write after which it applies; none: from the beginning.
    pub begin: InjectTrigger,
    /// A write after which it applies no more, unless it begins anew.
    pub end: InjectTrigger,
    /// Of [`InjectAction::Random`] and of `chance`.
    pub seed: u64,
}

/// Argument of [`INJECT`](crate::INJECT).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inject {
    /// In: address of the [`InjectRule`]s.
    pub rules: u64,
    /// In: how many, 1 to [`MAX_RULES`].
    pub count: u32,
    /// Out: the number of the rule, from 0 on, that can't be carried out; `u32::MAX` if none is at
    /// fault.
    pub failed_at: u32,
}

/// Argument of [`INJECT_COUNTS`](crate::INJECT_COUNTS).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InjectCounts {
    /// In: number of the rule, from 0 on.
    pub rule: u32,
    /// Zero.
    pub reserved: u32,
    /// Out: accesses that are as the rule says: where, by whom, since when.
    pub matched: u64,
    /// Out: those that it was applied to.
    pub applied: u64,
    /// Out: those that it should have been applied to and was not, since the CPU made the access
    /// by itself (a step; a masked vector).
    pub impossible: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_names_one_action() {
        for code in 0..64 {
            if let Some(action) = InjectAction::from_code(code) {
                assert_eq!(action as u32, code);
            }
        }
        assert_eq!((0..64).filter_map(InjectAction::from_code).count(), 8);
    }

    #[test]
    fn a_rule_has_no_padding() {
        // Nothing of the kernel's memory may be in what is copied to or from a user.
        assert_eq!(
            size_of::<InjectRule>(),
            8 * 2 + 4 * 2 + 8 * 3 + 4 * 2 + 8 * 2 + 4 * 4 + 8 * 3 + 24 * 2 + 8
        );
        assert_eq!(size_of::<InjectCounts>(), 32);
    }
}
