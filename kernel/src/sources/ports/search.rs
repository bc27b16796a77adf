//! Instructions that access ports, in code that lies in the kernel's memory.

use super::super::text::walk;
use crate::locks::PatchingLock;
use trapline_insn::{PortAccess, port_access};

/// Calls `found` with each instruction of the stretch that accesses a port, and its address; false
/// if the stretch, or the rest of it, can't be read.
pub(super) fn search(
    patching: &mut PatchingLock<'_>,
    start: u64,
    length: u64,
    mut found: impl FnMut(u64, PortAccess),
) -> bool {
    walk(patching, start, length, |at, bytes| {
        let (length, access) = port_access(bytes).ok()?;
        if let Some(access) = access {
            found(at, access);
        }
        Some(length)
    })
}
