//! Who may do what: access rights and the bits of an error code.

use super::{Missing, Translation};
use trapline_abi::ErrorCode;
use trapline_engine::Linear;

/// What the CPU's control registers say about accesses; with 4-level paging on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `CR0.WP`: supervisor mode, too, needs the right to write.
    pub write_protect: bool,
    /// `CR4.SMEP`: supervisor mode fetches no instructions from pages of user mode.
    pub smep: bool,
    /// `CR4.SMAP`: supervisor mode accesses no data on pages of user mode, unless `EFLAGS.AC` is
    /// set.
    pub smap: bool,
    /// `IA32_EFER.NXE`: XD forbids fetches; else that bit is reserved.
    pub no_execute: bool,
    /// `CR4.PKE`: pages of user mode have protection keys.
    pub protection_keys: bool,
    /// `PKRU`: bit 2i forbids all data accesses to pages with key i, bit 2i + 1 writes.
    pub pkru: u32,
    /// `CPUID.80000008H:EAX[7:0]`, MAXPHYADDR: bits of a physical address; those from here to 51
    /// are reserved in every entry.
    pub physical_bits: u32,
}

impl Default for Rules {
    /// As Linux sets a recent CPU: everything on, all protection keys but 0 without access
    /// (`init_pkru_value`).
    fn default() -> Self {
        Self {
            write_protect: true,
            smep: true,
            smap: true,
            no_execute: true,
            protection_keys: true,
            pkru: 0x5555_5554,
            physical_bits: 46,
        }
    }
}

/// What is attempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessKind {
    /// To read data.
    Read,
    /// To write data, or to read what will be written.
    Write,
    /// To fetch an instruction.
    Fetch,
}

/// In which mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Privilege level 3.
    User,
    /// Privilege levels 0 to 2.
    Supervisor {
        /// `EFLAGS.AC`, which lifts SMAP.
        ac: bool,
    },
}

/// An access that is to be translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// At which address.
    pub address: Linear,
    /// What.
    pub kind: AccessKind,
    /// In which mode.
    pub mode: Mode,
}

impl Attempt {
    /// The error code of a page fault on it: what it was, and `why` it failed. I/D tells a fetch
    /// only where something can forbid one.
    fn code(self, rules: &Rules, why: u32) -> ErrorCode {
        let write = if self.kind == AccessKind::Write { ErrorCode::WRITE } else { 0 };
        let user = if self.mode == Mode::User { ErrorCode::USER } else { 0 };
        let fetch = self.kind == AccessKind::Fetch && (rules.smep || rules.no_execute);
        ErrorCode(why | write | user | if fetch { ErrorCode::FETCH } else { 0 })
    }
}

impl Missing {
    /// The error code of an access that found no translation.
    pub fn code(self, rules: &Rules, attempt: Attempt) -> ErrorCode {
        let why = match self {
            Missing::NotPresent => 0,
            Missing::Reserved => ErrorCode::PRESENT | ErrorCode::RESERVED,
        };
        attempt.code(rules, why)
    }
}

impl Translation {
    /// Whether `attempt` may use it (Intel SDM volume 3, 4.6).
    ///
    /// # Errors
    /// The error code of the page fault. PK is set whenever the key forbids the access, also if
    /// something else does too: the manual's conditions for it ask for nothing more.
    pub fn check(&self, rules: &Rules, attempt: Attempt) -> Result<(), ErrorCode> {
        let key = if self.key_allows(rules, attempt) { 0 } else { ErrorCode::PROTECTION_KEY };
        if key == 0 && self.mode_allows(rules, attempt) {
            return Ok(());
        }
        Err(attempt.code(rules, ErrorCode::PRESENT | key))
    }

    fn mode_allows(&self, rules: &Rules, attempt: Attempt) -> bool {
        let executable = !rules.no_execute || !self.no_execute;
        match (attempt.mode, attempt.kind) {
            (Mode::User, AccessKind::Read) => self.user,
            (Mode::User, AccessKind::Write) => self.user && self.writable,
            (Mode::User, AccessKind::Fetch) => self.user && executable,
            (Mode::Supervisor { .. }, AccessKind::Fetch) => executable && !(self.user && rules.smep),
            (Mode::Supervisor { ac }, kind) => {
                let visible = !self.user || !rules.smap || ac;
                visible && (kind == AccessKind::Read || self.writable || !rules.write_protect)
            }
        }
    }

    /// Protection keys are for data on pages of user mode, whoever accesses it (4.6.2).
    fn key_allows(&self, rules: &Rules, attempt: Attempt) -> bool {
        if !rules.protection_keys || !self.user || attempt.kind == AccessKind::Fetch {
            return true;
        }
        let denied = rules.pkru >> (2 * u32::from(self.key));
        let (any, writes) = (denied & 1 != 0, denied & 2 != 0);
        let bound = attempt.mode == Mode::User || rules.write_protect;
        !(any || writes && attempt.kind == AccessKind::Write && bound)
    }
}
