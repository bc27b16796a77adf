//! What operations and directions are called.

use trapline_abi::{DmaDirection, DmaOp};

/// An operation, as files and JSON name it.
pub(super) const fn op_name(op: DmaOp) -> &'static str {
    match op {
        DmaOp::Map => "map",
        DmaOp::Unmap => "unmap",
        DmaOp::SyncForCpu => "sync_cpu",
        DmaOp::SyncForDevice => "sync_device",
        DmaOp::Alloc => "alloc",
        DmaOp::Free => "free",
    }
}

/// The operation that files call so.
pub(super) fn op_from_name(name: &str) -> Option<DmaOp> {
    DmaOp::ALL.into_iter().find(|op| op_name(*op) == name)
}

/// An operation, for a person.
pub(super) const fn op_words(op: DmaOp) -> &'static str {
    match op {
        DmaOp::Map => "map",
        DmaOp::Unmap => "unmap",
        DmaOp::SyncForCpu => "sync for cpu",
        DmaOp::SyncForDevice => "sync for device",
        DmaOp::Alloc => "alloc",
        DmaOp::Free => "free",
    }
}

/// A direction, as files and JSON name it.
pub(super) const fn direction_name(direction: DmaDirection) -> &'static str {
    match direction {
        DmaDirection::Both => "both",
        DmaDirection::ToDevice => "to_device",
        DmaDirection::FromDevice => "from_device",
        DmaDirection::None => "none",
    }
}

/// The direction that files call so.
pub(super) fn direction_from_name(name: &str) -> Option<DmaDirection> {
    use DmaDirection::{Both, FromDevice, None, ToDevice};
    [Both, ToDevice, FromDevice, None].into_iter().find(|direction| direction_name(*direction) == name)
}

/// A direction, for a person; nothing if there is none.
pub(super) const fn direction_words(direction: DmaDirection) -> &'static str {
    match direction {
        DmaDirection::Both => "both ways",
        DmaDirection::ToDevice => "to device",
        DmaDirection::FromDevice => "from device",
        DmaDirection::None => "",
    }
}
