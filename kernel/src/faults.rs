//! All page faults: which of the hooks of glue/faults.c are in, and what they call.

use crate::entry::VerdictCode;
use crate::errno::Errno;
use crate::glue;
use crate::locks::{Patched, PatchingLock};
use crate::platform::Kernel;
use crate::state::ENGINE;
use trapline_engine::{Claim, Engine, ErrorCode, Fault, Linear};
use trapline_insn::Registers;

/// The hooks, as they are switched now.
///
/// *Looking* is cheap: two tracepoints. *Claiming* is a hook of a function that runs for each page
/// fault then, and needs to look, since the tracepoints note for it what it is not told.
struct Hooks {
    /// A study sees faults by the hook.
    studying: bool,
    looking: bool,
    claiming: bool,
}

static HOOKS: Patched<Hooks> = Patched::new(Hooks { studying: false, looking: false, claiming: false });

impl Hooks {
    /// Switches to what is wanted. Switching out never fails, so a failure leaves in what was in
    /// before, less what nobody wants now.
    ///
    /// # Safety
    /// The patching lock is held, and the control lock is not.
    unsafe fn switch(&mut self, study: bool, claim: bool) -> Result<(), Errno> {
        // SAFETY: each is called with the patching lock held and the control lock free: `switch`
        // asks for that; what is in is not put in once more, and what is not in is not taken out,
        // which the two flags know.
        unsafe {
            if (study || claim) && !self.looking {
                succeeded(glue::glue_look_at_faults())?;
                self.looking = true;
            }
            glue::glue_set_studying(study);
            self.studying = study;
            let mut claimed = Ok(());
            if claim && !self.claiming {
                claimed = succeeded(glue::glue_claim_faults());
                self.claiming = claimed.is_ok();
            } else if !claim && self.claiming {
                glue::glue_claim_no_faults();
                self.claiming = false;
            }
            if self.looking && !study && !self.claiming {
                glue::glue_look_at_no_faults();
                self.looking = false;
            }
            claimed
        }
    }
}

fn succeeded(status: i32) -> Result<(), Errno> {
    if status == 0 { Ok(()) } else { Err(Errno::from_status(status)) }
}

/// Has the study see faults by the hook, or no more; not to see them any more can't fail.
pub(crate) fn look_by_hook(
    engine: &Engine<Kernel>,
    patching: &mut PatchingLock<'_>,
    study: bool,
) -> Result<(), Errno> {
    // SAFETY: the patching lock is held, and the control lock is not, since `patching` is there.
    unsafe { HOOKS.of(patching).switch(study, engine.has_handlers_of_all()) }
}

/// Switches the hooks in or out, as the handlers that are registered now need it.
///
/// Fails only if something is needed that can't be had; then what was there before is there still.
pub(crate) fn switch(engine: &Engine<Kernel>, patching: &mut PatchingLock<'_>) -> Result<(), Errno> {
    let hooks = HOOKS.of(patching);
    // SAFETY: as in `look_by_hook`.
    unsafe { hooks.switch(hooks.studying, engine.has_handlers_of_all()) }
}

/// A page fault that nobody has dealt with yet; `user`: in user mode.
///
/// # Safety
/// Called with interrupts off in the exception; `registers` is valid.
#[unsafe(no_mangle)]
unsafe extern "C" fn trapline_look_at(
    registers: *const Registers,
    error_code: u64,
    address: Linear,
    user: bool,
) {
    let Some(engine) = ENGINE.get() else { return };
    let fault = Fault { error_code: ErrorCode(error_code as u32), address };
    // SAFETY: in the exception with interrupts off, and `registers` valid: this function asks for
    // that; `Registers` is laid out as `struct pt_regs`.
    unsafe { engine.look_at(fault, user, &*registers) };
}

/// The same fault, which may be claimed now.
///
/// # Safety
/// As for [`trapline_look_at`]; and nobody else uses `registers` meanwhile.
#[unsafe(no_mangle)]
unsafe extern "C" fn trapline_claim(
    registers: *mut Registers,
    error_code: u64,
    address: Linear,
) -> VerdictCode {
    let Some(engine) = ENGINE.get() else { return VerdictCode::NotOurs };
    let fault = Fault { error_code: ErrorCode(error_code as u32), address };
    // SAFETY: in the exception with interrupts off, and `registers` nobody else's: this function
    // asks for that.
    match unsafe { engine.claim(fault, &mut *registers) } {
        Claim::None => VerdictCode::NotOurs,
        Claim::Resume => VerdictCode::Resume,
        Claim::Looping => VerdictCode::Looping,
    }
}
