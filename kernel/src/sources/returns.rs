//! Return probes of a source's own, on functions of the kernel that it follows.

use crate::code::{At, Registration, Registry};
use crate::errno::Errno;
use crate::glue;
use crate::locks::PatchingLock;
use crate::names::{module_of, text};
use core::ffi::CStr;
use trapline_engine::code::{CodeHandlers, TrustedHandler};

/// What the return probes of a source have in common.
pub(super) struct Returns {
    /// What they are called in lists.
    pub name: &'static [u8],
    /// Called at each call, with what is given and room for what is carried.
    pub called: TrustedHandler,
    /// Called at each return, with what is given and what is carried.
    pub returned: TrustedHandler,
    /// Bytes carried from a call to its return, aligned as pointers are.
    pub carried: usize,
    /// Calls of each that may be under way at once. More are counted as missed.
    pub active: u32,
}

/// Where a function of the kernel's own begins; that a module has one of the same name is nothing.
pub(super) fn address_of(_: &mut PatchingLock<'_>, function: &CStr) -> Result<u64, Errno> {
    let mut address = 0;
    // SAFETY: text. The control lock is not held: its guard would borrow the patching lock's.
    let status = unsafe { glue::glue_kprobe_address(function.as_ptr(), 0, &mut address) };
    match status {
        0 if module_of([Some(address as usize)])[0] == 0 => Ok(address),
        0 => Err(Errno::NOT_FOUND),
        _ => Err(Errno::from_status(status)),
    }
}

impl Returns {
    /// Follows the function at `address`; `id` is the probe's number, `owner` the process that
    /// asked. A source's probes are told apart by what they are given, so each is given its own.
    ///
    /// # Safety
    /// The handlers take a `given` and what is carried, and do not fault. It stays until the probe
    /// was removed.
    pub(super) unsafe fn add<T>(
        &self,
        patching: &mut PatchingLock<'_>,
        address: u64,
        given: &T,
        id: u64,
        owner: u32,
    ) -> Result<(), Errno> {
        let registration = Registration {
            id,
            address,
            at: At::Return { carried: self.carried, active: self.active },
            handlers: CodeHandlers::Trusted { pre: Some(self.called), post: Some(self.returned) },
            data: core::ptr::from_ref(given).cast_mut().cast(),
            limit: 0,
            owner,
            name: text(self.name),
            flags: 0,
        };
        // SAFETY: the handlers get what they expect, which stays, and do not fault: `add` asks for
        // that.
        unsafe { Registry::of(patching).add(&registration) }.map_err(|refused| refused.errno)
    }
}
