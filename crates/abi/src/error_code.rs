//! The error code of a page fault, as the CPU pushes it.

/// Bits of a page fault's error code: Intel SDM volume 3, 4.7 (figure 4-12) and AMD APM volume 2,
/// 8.4.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// P: the page was present, the access was not allowed; clear: no present translation.
    pub const PRESENT: u32 = 1 << 0;
    /// W/R: the access was a write.
    pub const WRITE: u32 = 1 << 1;
    /// U/S: the access was made in user mode.
    pub const USER: u32 = 1 << 2;
    /// RSVD: a reserved bit was set in a paging-structure entry.
    pub const RESERVED: u32 = 1 << 3;
    /// I/D: the access was an instruction fetch.
    pub const FETCH: u32 = 1 << 4;
    /// PK: a protection key forbade the access.
    pub const PROTECTION_KEY: u32 = 1 << 5;
    /// SS: the access was one to a shadow stack.
    pub const SHADOW_STACK: u32 = 1 << 6;
    /// HLAT: the translation failed while hypervisor-managed paging was used.
    pub const HLAT: u32 = 1 << 7;
    /// SGX: an enclave's access rules forbade it; paging had nothing against it.
    pub const SGX: u32 = 1 << 15;
    /// RMP: the reverse map of SEV-SNP forbade it (AMD).
    pub const RMP: u32 = 1 << 31;

    /// Every bit that a manual gives a meaning to.
    pub const KNOWN: u32 = Self::PRESENT
        | Self::WRITE
        | Self::USER
        | Self::RESERVED
        | Self::FETCH
        | Self::PROTECTION_KEY
        | Self::SHADOW_STACK
        | Self::HLAT
        | Self::SGX
        | Self::RMP;

    /// Whether `bit` is set.
    pub const fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_those_of_the_manuals_and_each_is_known() {
        let bits = [0, 1, 2, 3, 4, 5, 6, 7, 15, 31];
        assert_eq!(ErrorCode::KNOWN, bits.iter().fold(0, |all, bit| all | 1 << bit));
        for bit in 0..32 {
            assert!(ErrorCode(1 << bit).has(1 << bit) && !ErrorCode(!(1 << bit)).has(1 << bit));
        }
    }
}
