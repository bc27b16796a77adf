//! All page faults: switching the hooks of glue/faults.c in and out, and what they call.

use crate::entry::VerdictCode;
use crate::errno::Errno;
use crate::glue;
use crate::platform::Kernel;
use crate::state::{ENGINE, State};
use trapline_engine::{Claim, Engine, ErrorCode, Fault};
use trapline_insn::Registers;

impl State {
    /// Switches the hooks in or out, as what is registered now needs it.
    ///
    /// Fails only if something is needed that can't be had; then what was there before is there still.
    pub(crate) fn hook_all_faults(&self, engine: &Engine<Kernel>, study: bool) -> Result<(), Errno> {
        let claim = engine.has_handlers_of_all();
        // SAFETY: the control lock is held: this is a method of what it guards.
        match unsafe { glue::glue_hook_all_faults(study, claim) } {
            0 => Ok(()),
            status => Err(Errno::from_status(status)),
        }
    }
}

/// A page fault that nobody has dealt with yet; `user`: in user mode.
///
/// # Safety
/// Called with interrupts off in the exception; `registers` is valid.
#[unsafe(no_mangle)]
unsafe extern "C" fn trapline_look_at(
    registers: *const Registers,
    error_code: u64,
    address: u64,
    user: bool,
) {
    let Some(engine) = ENGINE.get() else { return };
    let fault = Fault { error_code: ErrorCode(error_code as u32), address };
    // SAFETY: as the caller vouches; `Registers` is laid out as `struct pt_regs`.
    unsafe { engine.look_at(fault, user, &*registers) };
}

/// The same fault, which may be claimed now.
///
/// # Safety
/// As for [`trapline_look_at`]; and nobody else uses `registers` meanwhile.
#[unsafe(no_mangle)]
unsafe extern "C" fn trapline_claim(registers: *mut Registers, error_code: u64, address: u64) -> VerdictCode {
    let Some(engine) = ENGINE.get() else { return VerdictCode::NotOurs };
    let fault = Fault { error_code: ErrorCode(error_code as u32), address };
    // SAFETY: as the caller vouches.
    match unsafe { engine.claim(fault, &mut *registers) } {
        Claim::None => VerdictCode::NotOurs,
        Claim::Resume => VerdictCode::Resume,
        Claim::Looping => VerdictCode::Looping,
    }
}
