//! A CPU's cache of decoded sites.
//!
//! Direct-mapped by instruction address, and checked against the instruction's bytes each time:
//! code that was patched or replaced (a module unloaded and another loaded at its place) is decoded
//! anew. Rejected: one cache for all CPUs, since it needed a lock or a protocol.

use crate::{Code, OutOfMemory};
use alloc::boxed::Box;
use alloc::vec::Vec;
use trapline_insn::{DecodeError, Plan, Redirect, decode};

/// Sites per CPU. A driver touches its registers from some dozen places; 256 of them are 48 KiB.
const SITES: usize = 256;

/// An instruction that accesses armed memory, decoded.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// What it does.
    pub plan: Plan,
    /// Its copy, if it is performed by one.
    pub redirect: Option<Redirect>,
}

impl Site {
    /// Decodes the instruction at the start of `code`.
    pub(crate) fn decode(code: Code) -> Result<Self, DecodeError> {
        let bytes = code.bytes.to_le_bytes();
        let bytes = bytes.get(..usize::from(code.length)).unwrap_or(&bytes);
        let plan = decode(bytes)?;
        Ok(Self { plan, redirect: plan.redirect(bytes) })
    }
}

#[derive(Clone, Copy)]
struct Entry {
    ip: u64,
    bytes: u128,
    mask: u128,
    site: Site,
}

impl Entry {
    #[cold]
    #[inline(never)]
    fn new(ip: u64, code: Code) -> Result<Self, DecodeError> {
        let site = Site::decode(code)?;
        // At most 15 bytes, so the shift is below 128.
        let mask = (1 << (8 * (site.plan.length() & 15))) - 1;
        Ok(Self { ip, bytes: code.bytes & mask, mask, site })
    }
}

/// The cache.
pub struct Cache {
    entries: Box<[Option<Entry>]>,
}

impl Cache {
    /// An empty one.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn new() -> Result<Self, OutOfMemory> {
        let mut entries = Vec::new();
        entries.try_reserve_exact(SITES)?;
        entries.resize_with(SITES, || None);
        Ok(Self { entries: entries.into_boxed_slice() })
    }

    /// The site at `ip`, whose bytes now are `code`; decoded if it is not known or its bytes are
    /// others than they were.
    ///
    /// # Errors
    /// As for [`decode`].
    #[inline(always)]
    pub fn site(&mut self, ip: u64, code: Code) -> Result<&Site, DecodeError> {
        let bucket = ip.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SITES.trailing_zeros());
        // The hash has as many values as there are entries.
        let entry = self.entries.get_mut(bucket as usize).ok_or(DecodeError::Unknown)?;
        let known = entry.as_ref().is_some_and(|known| {
            let whole = known.site.plan.length() <= code.length;
            known.ip == ip && whole && code.bytes & known.mask == known.bytes
        });
        if !known {
            *entry = Some(Entry::new(ip, code)?);
        }
        entry.as_ref().map(|known| &known.site).ok_or(DecodeError::Unknown)
    }

    /// Bytes of memory it takes.
    pub(crate) fn memory(&self) -> usize {
        size_of_val(&*self.entries)
    }
}
