//! Why an access was refused.

use std::fmt;

use trapline_abi::ErrorCode;

use super::access;

/// Why the CPU raised a page fault, from its error code and, where that leaves two rules, from the
/// half of the address space it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// No present translation.
    NotPresent,
    /// A write to a page that may not be written.
    NotWritable,
    /// An instruction fetch from a page that is no code.
    NotExecutable,
    /// User mode touched a page of the kernel.
    NotUser,
    /// The kernel touched a page of user mode outside its functions for that (SMAP), or would have
    /// run it (SMEP).
    UserPage,
    /// A paging-structure entry has a reserved bit set.
    Reserved,
    /// A protection key.
    ProtectionKey,
    /// The rules of shadow stacks.
    ShadowStack,
    /// Hypervisor-managed paging has no translation.
    Hlat,
    /// An enclave's rules.
    Sgx,
    /// SEV-SNP's reverse map.
    Rmp,
    /// A read of the kernel's own page by the kernel: nothing in the error code forbids that.
    Unclear,
}

impl Cause {
    /// All of them.
    pub const ALL: [Cause; 12] = [
        Cause::NotPresent,
        Cause::NotWritable,
        Cause::NotExecutable,
        Cause::NotUser,
        Cause::UserPage,
        Cause::Reserved,
        Cause::ProtectionKey,
        Cause::ShadowStack,
        Cause::Hlat,
        Cause::Sgx,
        Cause::Rmp,
        Cause::Unclear,
    ];

    /// The cause of a fault on `address`.
    ///
    /// A write by the kernel to a present page of user mode is taken for one to a page that is not
    /// writable: copying to user space breaks copy-on-write so all the time, while one that SMAP
    /// forbids is a bug; the error code is the same. The flags of a recorded fault tell them apart
    /// ([`PageFault::cause`](crate::PageFault::cause)).
    pub fn of(code: ErrorCode, address: u64) -> Self {
        let kernel_half = address >> 63 != 0;
        let user = code.has(ErrorCode::USER);
        if code.has(ErrorCode::RMP) {
            Cause::Rmp
        } else if code.has(ErrorCode::SGX) {
            Cause::Sgx
        } else if code.has(ErrorCode::RESERVED) {
            Cause::Reserved
        } else if !code.has(ErrorCode::PRESENT) {
            if code.has(ErrorCode::HLAT) { Cause::Hlat } else { Cause::NotPresent }
        } else if code.has(ErrorCode::PROTECTION_KEY) {
            Cause::ProtectionKey
        } else if code.has(ErrorCode::SHADOW_STACK) {
            Cause::ShadowStack
        } else if user && kernel_half {
            Cause::NotUser
        } else if code.has(ErrorCode::FETCH) {
            if user || kernel_half { Cause::NotExecutable } else { Cause::UserPage }
        } else if code.has(ErrorCode::WRITE) {
            Cause::NotWritable
        } else if user {
            Cause::NotUser
        } else if kernel_half {
            Cause::Unclear
        } else {
            Cause::UserPage
        }
    }

    /// One word, as the command line takes it.
    pub fn name(self) -> &'static str {
        match self {
            Cause::NotPresent => "not-present",
            Cause::NotWritable => "not-writable",
            Cause::NotExecutable => "not-executable",
            Cause::NotUser => "not-user",
            Cause::UserPage => "user-page",
            Cause::Reserved => "reserved",
            Cause::ProtectionKey => "protection-key",
            Cause::ShadowStack => "shadow-stack",
            Cause::Hlat => "hlat",
            Cause::Sgx => "sgx",
            Cause::Rmp => "rmp",
            Cause::Unclear => "unclear",
        }
    }

    /// The cause with that [`name`](Self::name), if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }

    /// The page it is about, as in "write to …".
    pub fn page(self) -> &'static str {
        match self {
            Cause::NotPresent => "a page that is not present",
            Cause::NotWritable => "a present read-only page",
            Cause::NotExecutable => "a present page that is not executable",
            Cause::NotUser => "a present page of the kernel",
            Cause::UserPage => "a present page of user mode",
            Cause::Reserved => "a page whose paging structures have a reserved bit set",
            Cause::ProtectionKey => "a present page that a protection key forbids",
            Cause::ShadowStack => "a present page against the rules of shadow stacks",
            Cause::Hlat => "a page that hypervisor-managed paging does not translate",
            Cause::Sgx => "a present page that an enclave's rules forbid",
            Cause::Rmp => "a page that SEV-SNP's reverse map forbids",
            Cause::Unclear => "a present page of the kernel",
        }
    }
}

/// What a fault was, in words: "write to a present read-only page, in user mode".
pub fn sentence(code: ErrorCode, cause: Cause) -> String {
    let mode = if code.has(ErrorCode::USER) { "user" } else { "kernel" };
    let shadow = if code.has(ErrorCode::SHADOW_STACK) { "shadow-stack " } else { "" };
    format!("{shadow}{} {}, in {mode} mode", access(code), cause.page())
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER_ADDRESS: u64 = 0x7f00_0000_1000;
    const KERNEL_ADDRESS: u64 = 0xffff_8880_0000_0000;

    #[test]
    fn each_rule_of_paging_is_told_by_its_error_code_and_half() {
        for (code, address, cause) in [
            (0x0, KERNEL_ADDRESS, Cause::NotPresent),
            (0x4, USER_ADDRESS, Cause::NotPresent),
            (0x14, USER_ADDRESS, Cause::NotPresent),
            (0x7, USER_ADDRESS, Cause::NotWritable),
            (0x3, USER_ADDRESS, Cause::NotWritable),
            (0x3, KERNEL_ADDRESS, Cause::NotWritable),
            (0x15, USER_ADDRESS, Cause::NotExecutable),
            (0x11, KERNEL_ADDRESS, Cause::NotExecutable),
            (0x5, KERNEL_ADDRESS, Cause::NotUser),
            (0x7, KERNEL_ADDRESS, Cause::NotUser),
            (0x15, KERNEL_ADDRESS, Cause::NotUser),
            (0x5, USER_ADDRESS, Cause::NotUser),
            (0x1, USER_ADDRESS, Cause::UserPage),
            (0x11, USER_ADDRESS, Cause::UserPage),
            (0x1, KERNEL_ADDRESS, Cause::Unclear),
            (0xd, USER_ADDRESS, Cause::Reserved),
            (0x25, USER_ADDRESS, Cause::ProtectionKey),
            (0x47, USER_ADDRESS, Cause::ShadowStack),
            (0x44, USER_ADDRESS, Cause::NotPresent),
            (0x84, USER_ADDRESS, Cause::Hlat),
            (0x8007, USER_ADDRESS, Cause::Sgx),
            (0x8000_0007, USER_ADDRESS, Cause::Rmp),
        ] {
            assert_eq!(Cause::of(ErrorCode(code), address), cause, "{code:#x} at {address:#x}");
        }
    }

    #[test]
    fn every_cause_has_a_name_of_its_own() {
        for cause in Cause::ALL {
            assert_eq!(Cause::from_name(cause.name()), Some(cause));
        }
        assert_eq!(Cause::from_name("bad"), None);
    }
}
