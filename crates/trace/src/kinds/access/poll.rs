//! What makes reads of a polling loop equal.

use trapline_abi::{Change, Flags, Way};

use super::{Access, Direction, Value};
use crate::{Event, What};

/// What makes a read equal to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Poll {
    pid: u32,
    ip: u64,
    mapping: u32,
    address: u64,
    value: Value,
    change: Change,
    original: Option<Value>,
    flags: Flags,
    way: Option<Way>,
}

impl Poll {
    /// The key of `event` if it is a read that can be folded.
    pub(crate) fn of(event: &Event<'_>) -> Option<Self> {
        match &event.what {
            What::Access(access) => Self::of_access(event.pid, access),
            _ => None,
        }
    }

    /// The key of an access by task `pid` if it is a read that can be folded.
    pub(super) fn of_access(pid: u32, access: &Access<'_>) -> Option<Self> {
        let &Access { ip, mapping, address, flags, way, change, original, .. } = access;
        let value = access.value.filter(|_| access.direction == Direction::Read)?;
        Some(Self { pid, ip, mapping, address, value, change, original, flags, way })
    }
}
