//! How a page is armed: two ways, which look different to the CPU and are one to the engine.

use crate::paging::entry;
use trapline_abi::ErrorCode;
use trapline_engine::Look;

/// A way to have each access to a page fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arming {
    /// The page's entry is not present, as in the Linux kernel.
    #[default]
    NotPresent,
    /// The entry stays present and has a bit set that is reserved: one of the physical address
    /// beyond what any CPU has. KVM marks device memory of guests so.
    Reserved,
}

impl Arming {
    /// Both.
    pub const ALL: [Arming; 2] = [Arming::NotPresent, Arming::Reserved];

    /// The bit that the second way sets.
    const RESERVED: u64 = 1 << 51;

    /// The entry of an armed page that has `entry` while it is not.
    pub(crate) const fn armed(self, entry: u64) -> u64 {
        match self {
            Arming::NotPresent => entry & !entry::PRESENT,
            Arming::Reserved => entry | Self::RESERVED,
        }
    }

    /// What a fault with this error code looks like.
    pub fn look(self, code: ErrorCode) -> Look {
        let (present, reserved) = (code.has(ErrorCode::PRESENT), code.has(ErrorCode::RESERVED));
        // What each way makes of a page, what the rights of an open page make, and all else.
        let performed = !code.has(ErrorCode::USER | ErrorCode::FETCH);
        match (self, present, reserved) {
            (Arming::NotPresent, false, false) | (Arming::Reserved, true, true) if performed => Look::Armed,
            (Arming::NotPresent, false, false) | (Arming::Reserved, true, true) => Look::Rights,
            (_, true, false) => Look::Rights,
            (Arming::NotPresent, _, true) | (Arming::Reserved, false, _) => Look::Foreign,
        }
    }
}
