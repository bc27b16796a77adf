//! Exit statuses, and which error ends with which.

use std::io;

use trapline_abi::{ProbeError, WatchError};

use super::Error;

/// The exit statuses of `trapline` itself; a traced COMMAND's own status takes the place of [`Exit::Success`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It was done. A reader that closed our output early is no failure.
    Success = 0,
    /// Tracing failed or ended early, or the trace lacks something: records that were dropped, a mapping that could not be watched, a probed module that went away; what was written before is good.
    Failed = 1,
    /// The command line is wrong, or names something that is not there. clap's own status too.
    Usage = 2,
    /// This machine can't do it as it is: no root, no module, lockdown, a failed self-test, another tracer.
    Environment = 3,
    /// A file can't be read or written, or is no trace, or is one that was cut off; what can be read of that is read first.
    File = 4,
}

/// COMMAND exists but can't be run, as shells tell it.
pub(crate) const COMMAND_NOT_EXECUTABLE: u8 = 126;
/// COMMAND was not found, as shells tell it.
pub(crate) const COMMAND_NOT_FOUND: u8 = 127;

impl Error {
    /// The exit status that tells of it.
    pub(crate) fn exit(&self) -> u8 {
        let exit = match self {
            Error::NoDevice { .. }
            | Error::NoMemoryBar { .. }
            | Error::NoDriver { .. }
            | Error::DriverWithoutDevice { .. }
            | Error::MarkText { .. }
            | Error::NoCommand { .. }
            | Error::OnlyAccesses
            | Error::NoPicture { .. }
            | Error::OntoItself { .. }
            | Error::Fetch(_)
            | Error::Spec(_)
            | Error::ReturnInside { .. }
            | Error::NoParameters { .. }
            | Error::NoProcess { .. }
            | Error::NoCpu { .. }
            | Error::BinaryToTerminal { .. } => Exit::Usage,
            Error::Watch {
                reason: Some(WatchError::BadRange | WatchError::TooLong | WatchError::Ram),
                ..
            } => Exit::Usage,
            Error::Watch { reason: Some(WatchError::SelfTest), .. } => Exit::Environment,
            Error::Probe {
                reason:
                    Some(
                        ProbeError::NotProbeable
                        | ProbeError::InsideInstruction
                        | ProbeError::Own
                        | ProbeError::NotAFunction,
                    ),
                ..
            } => Exit::Usage,
            Error::Probe { reason: Some(ProbeError::Taken), .. } => Exit::Environment,
            Error::PciList(_)
            | Error::NotRoot { .. }
            | Error::HiddenSymbols
            | Error::NoModule { .. }
            | Error::ModuleRefused { .. }
            | Error::DeviceOpen { .. }
            | Error::Version { .. }
            | Error::Ring(_)
            | Error::Faults { .. }
            | Error::Gate { .. }
            | Error::SelfTest { .. }
            | Error::Mmiotrace
            | Error::Busy { .. }
            | Error::FaultsTaken
            | Error::NoSession => Exit::Environment,
            Error::Create { .. }
            | Error::Read { .. }
            | Error::Registers(_)
            | Error::Cut { .. }
            | Error::NoOops
            | Error::OopsCut { .. }
            | Error::Trace(_) => Exit::File,
            Error::Command { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                return COMMAND_NOT_FOUND;
            }
            Error::Command { .. } => return COMMAND_NOT_EXECUTABLE,
            Error::Start { .. }
            | Error::Watch { .. }
            | Error::Probe { .. }
            | Error::RingMap { .. }
            | Error::CommandLost { .. }
            | Error::Print { .. }
            | Error::Device { .. }
            | Error::Signals { .. }
            | Error::Write { .. }
            | Error::TraceEnded { .. } => Exit::Failed,
        };
        exit as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_can_not_be_started_has_the_shells_status() {
        let error = |kind| Error::Command { command: "x".into(), source: io::Error::from(kind) };
        assert_eq!(error(io::ErrorKind::NotFound).exit(), 127);
        assert_eq!(error(io::ErrorKind::PermissionDenied).exit(), 126);
    }
}
