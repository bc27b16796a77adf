//! x86-64 paging with four levels, as a pure function: an access and the page tables give a
//! translation, or the page fault that the CPU raises, with the error code that the manual
//! prescribes (Intel SDM volume 3, 4.5 to 4.7).
//!
//! In two parts, as in the CPU: [`Tables::walk`] finds the translation, which a TLB may keep, and
//! [`Translation::check`] decides whether an access may use it. So a page that is not there goes
//! before a right that is missing, at whatever level each stands; and of several rights that are
//! missing, each that has a bit of the error code for its own sets it.
//!
//! Left out: accessed and dirty flags, which no fault depends on; supervisor protection keys,
//! shadow stacks, five levels, nested paging. An implicit access of the CPU's own (to a descriptor
//! table, say) is one in supervisor mode without `EFLAGS.AC`. Rejected: the flat map from addresses
//! to entries that the simulated machine began with. It had no place for rights that an upper level
//! takes away, nor for reserved bits, and nobody could have walked it as the manual says.

mod rules;
mod tables;

pub use rules::{AccessKind, Attempt, Mode, Rules};
pub use tables::{Missing, Size, Tables, Translation};

use trapline_abi::ErrorCode;
use trapline_engine::{Linear, Physical};

/// Bits of a paging-structure entry (Intel SDM volume 3, tables 4-15 to 4-20).
pub mod entry {
    /// P.
    pub const PRESENT: u64 = 1 << 0;
    /// R/W.
    pub const WRITABLE: u64 = 1 << 1;
    /// U/S.
    pub const USER: u64 = 1 << 2;
    /// PWT: with PCD, the cache attributes.
    pub const WRITE_THROUGH: u64 = 1 << 3;
    /// PCD.
    pub const CACHE_DISABLE: u64 = 1 << 4;
    /// A.
    pub const ACCESSED: u64 = 1 << 5;
    /// D.
    pub const DIRTY: u64 = 1 << 6;
    /// PS: maps a page rather than refers to a table. In an entry of the last level the bit is PAT.
    pub const LARGE: u64 = 1 << 7;
    /// G.
    pub const GLOBAL: u64 = 1 << 8;
    /// XD.
    pub const NO_EXECUTE: u64 = 1 << 63;
    /// Where the physical address of a page or table stands.
    pub const FRAME: u64 = 0x000f_ffff_ffff_f000;
    /// Position of the protection key.
    pub const KEY_SHIFT: u32 = 59;

    /// The bits that give a page protection key `key`, of which the low four count.
    pub const fn key(key: u8) -> u64 {
        (key as u64 & 15) << KEY_SHIFT
    }
}

/// Why an access does not come to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A page fault with this error code.
    PageFault(ErrorCode),
    /// The address is not canonical: no page fault but a general protection fault (Intel SDM volume
    /// 1, 3.3.7.1).
    NotCanonical,
}

/// The physical address of an access.
///
/// # Errors
/// What the CPU raises instead.
pub fn translate(tables: &Tables, rules: &Rules, attempt: Attempt) -> Result<Physical, Refusal> {
    if !is_canonical(attempt.address) {
        return Err(Refusal::NotCanonical);
    }
    let fault = |code| Refusal::PageFault(code);
    let translation =
        tables.walk(rules, attempt.address).map_err(|missing| fault(missing.code(rules, attempt)))?;
    translation.check(rules, attempt).map_err(fault)?;
    Ok(translation.physical(attempt.address))
}

/// Whether the 17 highest bits of `address` are all the same, as 48 bits of translation ask for.
pub const fn is_canonical(Linear(address): Linear) -> bool {
    (address << 16) as i64 >> 16 == address as i64
}
