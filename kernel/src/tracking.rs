//! Mappings that come and go, as the redirected `mmiotrace_ioremap` and `mmiotrace_iounmap` tell (glue/tracking.c).

use crate::state::{ENGINE, Guard};
use trapline_abi::MapPayload;

/// `ioremap`, for the code at `caller` (0: not known), mapped `length` bytes from `physical` on to `address`; its caller does not have
/// that yet. Process context.
#[unsafe(no_mangle)]
extern "C" fn trapline_mapped(physical: u64, length: u64, address: u64, caller: u64) {
    if let Some(engine) = ENGINE.get() {
        Guard::lock().mapped(engine, MapPayload { address, physical, length, caller });
    }
}

/// `iounmap` is about to unmap what lies at `address`. When this returns, its page tables are as they were. Process context.
#[unsafe(no_mangle)]
extern "C" fn trapline_unmapping(address: u64) {
    if let Some(engine) = ENGINE.get() {
        Guard::lock().unmapping(engine, address);
    }
}
