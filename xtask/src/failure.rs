//! Exit statuses of xtask that are not COMMAND's own, and the error that carries one.
//!
//! The numbers follow timeout(1) (124) and container tools (125), so that scripts that know those
//! know these.

use std::fmt;

/// COMMAND did not end before the time limit.
pub const TIMED_OUT: u8 = 124;
/// The virtual machine could not start, or went down (kernel panic, power off) before COMMAND
/// ended.
pub const MACHINE_FAILED: u8 = 125;
/// The host lacks what set-up needs and only root can install it; the line to run was printed.
pub const SETUP_NEEDED: u8 = 122;
/// COMMAND succeeded, but with `--strict-log` the guest's kernel log holds a warning or worse.
pub const LOG_NOT_CLEAN: u8 = 123;
/// Stopped by Ctrl-C: 128 + SIGINT, as a shell reports it.
pub const INTERRUPTED: u8 = 130;
/// Anything else that went wrong in xtask itself.
pub const FAILED: u8 = 1;

/// An error with the exit status it stands for.
#[derive(Debug)]
pub struct Failure {
    /// xtask's exit status.
    pub status: u8,
    /// What to tell the person.
    pub message: String,
}

impl Failure {
    /// An error that makes xtask end with `status`.
    pub fn error(status: u8, message: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self { status, message: message.into() })
    }
}

/// The exit status that an error stands for.
pub fn status_of(error: &anyhow::Error) -> u8 {
    error.downcast_ref::<Failure>().map_or(FAILED, |failure| failure.status)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
