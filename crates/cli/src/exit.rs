//! Exit statuses, and which error of which command ends with which.
//!
//! Each module has its own errors and knows nothing of statuses; this is the one place that knows
//! all of both.

use std::io;

use trapline_abi::{ProbeError, WatchError};
use trapline_registers::import::ImportError;

use crate::convert::ConvertError;
use crate::devices::DevicesError;
use crate::diff::DiffError;
use crate::explain::ExplainError;
use crate::generated::ManError;
use crate::harden::{BindingError, HardenError};
use crate::list::ListError;
use crate::mark::MarkError;
use crate::module::ModuleError;
use crate::module::build::BuildError;
use crate::output::OutputError;
use crate::reading::ReadError;
use crate::refusal::Refusal;
use crate::registers::RegisterFilesError;
use crate::report::ReportError;
use crate::sources::{
    AccessesError, ConfigError, DmaError, HitsError, InjectError, InterruptsError, NoDevice, PortsError,
    SourcesError, TargetError,
};
use crate::status::StatusError;
use crate::trace::{CommandError, ConcludeError, TraceError};

/// The exit statuses of `trapline` itself; a traced COMMAND's own status takes the place of
/// [`Exit::Success`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It was done. A reader that closed our output early is no failure.
    Success = 0,
    /// Tracing failed or ended early, or the trace lacks something: records that were dropped, a
    /// mapping that could not be watched, a probed module that went away; what was written before
    /// is good. Of `diff`: the traces differ. Of `inject`: nothing was injected.
    Failed = 1,
    /// The command line is wrong, or names something that is not there. clap's own status too.
    Usage = 2,
    /// This machine can't do it as it is: no root, no module, lockdown, a failed self-test, another
    /// tracer; the device of `inject` holds what the machine needs.
    Environment = 3,
    /// A file can't be read or written, or is no trace, or is one that was cut off or has lines
    /// that make no sense; what can be read of that is read first.
    File = 4,
    /// Of `harden`: all was done, and something was found.
    Found = 5,
    /// Of `harden`: the machine has to be started anew; the same command goes on then.
    Restart = 6,
    /// Ctrl-C, of a command that is not done then.
    Interrupted = 130,
    /// COMMAND exists but can't be run, as shells tell it.
    CommandNotExecutable = 126,
    /// COMMAND was not found, as shells tell it.
    CommandNotFound = 127,
}

/// What a command ended with.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum Error {
    /// Of the commands that trace: there is nothing to trace.
    Sources(#[from] SourcesError),
    /// Of the commands that trace.
    Trace(#[from] TraceError),
    /// `report`.
    Report(#[from] ReportError),
    /// `convert`.
    Convert(#[from] ConvertError),
    /// `diff`.
    Diff(#[from] DiffError),
    /// `explain`.
    Explain(#[from] ExplainError),
    /// `harden`.
    Harden(#[from] HardenError),
    /// `registers`.
    Registers(#[from] RegisterFilesError),
    /// `module build`.
    Build(#[from] BuildError),
    /// `devices`.
    Devices(#[from] DevicesError),
    /// `list`.
    List(#[from] ListError),
    /// `status`.
    Status(#[from] StatusError),
    /// `mark`.
    Mark(#[from] MarkError),
    /// `man`.
    Man(#[from] ManError),
    /// What any command prints.
    Output(#[from] OutputError),
}

impl Error {
    /// The exit status that tells of it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Error::Sources(error) => sources(error),
            Error::Trace(error) => trace(error),
            Error::Report(error) => match error {
                ReportError::Trace(error) => read(error),
                ReportError::Registers(_) => Exit::File,
                ReportError::NoPicture { .. }
                | ReportError::OntoItself { .. }
                | ReportError::OneFile { .. } => Exit::Usage,
                ReportError::Page { .. } => Exit::Failed,
                ReportError::Output(error) => output(error),
            },
            Error::Convert(error) => match error {
                ConvertError::Trace(error) => read(error),
                ConvertError::Registers(_) | ConvertError::Partly { .. } => Exit::File,
                ConvertError::OntoItself { .. }
                | ConvertError::Several { .. }
                | ConvertError::OnlyParquet
                | ConvertError::NoFolder { .. }
                | ConvertError::Twice { .. } => Exit::Usage,
                ConvertError::Output(error) => output(error),
            },
            Error::Diff(error) => match error {
                DiffError::Trace(error) => read(error),
                DiffError::Registers(_) => Exit::File,
                DiffError::NoAccesses { .. } | DiffError::NoCommonDevice { .. } => Exit::Usage,
                DiffError::Output(error) => output(error),
            },
            Error::Explain(error) => match error {
                ExplainError::Read { .. }
                | ExplainError::NoOops
                | ExplainError::Foreign { .. }
                | ExplainError::Symbols(_)
                | ExplainError::Cut { .. } => Exit::File,
                ExplainError::Unused { .. } => Exit::Usage,
                ExplainError::Output(error) => output(error),
            },
            Error::Harden(error) => harden(error),
            Error::Registers(error) => registers(error),
            Error::Build(error) => build(error),
            Error::Devices(error) => match error {
                DevicesError::List(_) => Exit::Environment,
                DevicesError::Registers(_) => Exit::File,
                DevicesError::Output(error) => output(error),
            },
            Error::List(ListError::Module(error)) | Error::Status(StatusError::Module(error)) => {
                module(error)
            }
            Error::List(ListError::Output(error)) | Error::Status(StatusError::Output(error)) => {
                output(error)
            }
            Error::Mark(error) => match error {
                MarkError::Text { .. } => Exit::Usage,
                MarkError::NoSession => Exit::Environment,
                MarkError::Module(error) => module(error),
            },
            Error::Man(ManError::NoCommand { .. }) => Exit::Usage,
            Error::Man(ManError::Write { .. }) => Exit::File,
            Error::Output(error) => output(error),
        }
    }
}

fn read(error: &ReadError) -> Exit {
    match error {
        ReadError::Trace(_) | ReadError::Cut { .. } | ReadError::Strays { .. } | ReadError::Registers(_) => {
            Exit::File
        }
        ReadError::NoMark { .. } => Exit::Usage,
    }
}

fn registers(error: &RegisterFilesError) -> Exit {
    match error {
        RegisterFilesError::Import(
            ImportError::Choose { .. } | ImportError::NoBlock { .. } | ImportError::NoVariant { .. },
        )
        | RegisterFilesError::Exists { .. }
        | RegisterFilesError::OntoItself { .. }
        | RegisterFilesError::NoFile { .. }
        | RegisterFilesError::NoRegister { .. }
        | RegisterFilesError::NotARegister { .. } => Exit::Usage,
        RegisterFilesError::Import(_)
        | RegisterFilesError::Read { .. }
        | RegisterFilesError::Write { .. }
        | RegisterFilesError::File(_) => Exit::File,
        RegisterFilesError::Output(error) => output(error),
    }
}

fn sources(error: &SourcesError) -> Exit {
    match error {
        SourcesError::Output(error) => output(error),
        SourcesError::Module(error) => module(error),
        SourcesError::HiddenSymbols => Exit::Environment,
        SourcesError::Faults(_) => Exit::Usage,
        SourcesError::Accesses(error) => accesses(error),
        SourcesError::Inject(error) => inject(error),
        SourcesError::Interrupts(error) => match error {
            InterruptsError::Device(error) => no_device(error),
            InterruptsError::None { .. } | InterruptsError::Nothing => Exit::Usage,
        },
        SourcesError::Config(error) => match error {
            ConfigError::Device(error) => no_device(error),
            ConfigError::Read { .. } => Exit::Failed,
        },
        SourcesError::Lifecycle(error) => no_device(error),
        SourcesError::Dma(error) => match error {
            DmaError::Device(error) => no_device(error),
            DmaError::LeftOut => Exit::Usage,
        },
        SourcesError::Ports(error) => match error {
            PortsError::Device(error) => no_device(error),
            PortsError::None { .. } => Exit::Usage,
            PortsError::Registers(_) => Exit::File,
        },
        SourcesError::Hits(
            HitsError::Fetch(_)
            | HitsError::Spec(_)
            | HitsError::ReturnInside { .. }
            | HitsError::NoParameters { .. }
            | HitsError::OfSeveral { .. }
            | HitsError::NoProcess(_)
            | HitsError::NoCpu(_),
        ) => Exit::Usage,
    }
}

fn accesses(error: &AccessesError) -> Exit {
    match error {
        AccessesError::Target(TargetError::Device(error)) => no_device(error),
        AccessesError::Target(_) => Exit::Usage,
        AccessesError::Mmiotrace => Exit::Environment,
        AccessesError::Registers(_) => Exit::File,
    }
}

fn no_device(error: &NoDevice) -> Exit {
    match error {
        NoDevice::List(_) => Exit::Environment,
        NoDevice::Unknown { .. }
        | NoDevice::Called(_)
        | NoDevice::NoDriver { .. }
        | NoDevice::DriverWithoutDevice { .. } => Exit::Usage,
    }
}

fn inject(error: &InjectError) -> Exit {
    match error {
        InjectError::Rule { .. }
        | InjectError::Seeds { .. }
        | InjectError::TooMany { .. }
        | InjectError::Never { .. }
        | InjectError::NoProcess(_)
        | InjectError::NoCpu(_) => Exit::Usage,
        InjectError::File(_) => Exit::File,
        InjectError::Held { .. } => Exit::Environment,
    }
}

fn harden(error: &HardenError) -> Exit {
    match error {
        HardenError::Device(error) => no_device(error),
        HardenError::Inject(error) => inject(error),
        HardenError::Module(error) => module(error),
        HardenError::Output(error) => output(error),
        HardenError::Several { .. }
        | HardenError::Budget { .. }
        | HardenError::Experiment { is_mistake: true, .. } => Exit::Usage,
        HardenError::Binding(BindingError::NoDriver { .. } | BindingError::NoWay { .. })
        | HardenError::Oopsed => Exit::Environment,
        HardenError::State(_) | HardenError::Trace(_) => Exit::File,
        HardenError::Command { .. }
        | HardenError::Reads { .. }
        | HardenError::Experiment { is_mistake: false, .. }
        | HardenError::Own { .. } => Exit::Failed,
        HardenError::Restart { .. } => Exit::Restart,
        HardenError::Interrupted => Exit::Interrupted,
    }
}

fn trace(error: &TraceError) -> Exit {
    match error {
        TraceError::Module(error) => module(error),
        TraceError::Refused(error) => refused(error),
        TraceError::Ring(_) => Exit::Environment,
        TraceError::Output(error) | TraceError::Concluded(ConcludeError::Output(error)) => output(error),
        TraceError::Command(CommandError::Start { source, .. }) => match source.kind() {
            io::ErrorKind::NotFound => Exit::CommandNotFound,
            _ => Exit::CommandNotExecutable,
        },
        TraceError::RingMap { .. }
        | TraceError::Command(CommandError::Lost { .. })
        | TraceError::Concluded(ConcludeError::Ended(_))
        | TraceError::Signals(_) => Exit::Failed,
    }
}

fn module(error: &ModuleError) -> Exit {
    match error {
        ModuleError::NotRoot { .. }
        | ModuleError::Missing { .. }
        | ModuleError::Refused { .. }
        | ModuleError::DeviceOpen { .. }
        | ModuleError::Version { .. }
        | ModuleError::SelfTest { .. } => Exit::Environment,
        ModuleError::Command { .. } => Exit::Failed,
    }
}

fn build(error: &BuildError) -> Exit {
    match error {
        BuildError::Module(error) => module(error),
        BuildError::NoSource { .. } | BuildError::NotASource { .. } | BuildError::NoKernel { .. } => {
            Exit::Usage
        }
        BuildError::Version { .. }
        | BuildError::OldKernel { .. }
        | BuildError::Options { .. }
        | BuildError::Missing { .. }
        | BuildError::Twin { .. }
        | BuildError::Room { .. } => Exit::Environment,
        BuildError::Make { .. } => Exit::Failed,
        BuildError::File { .. } => Exit::File,
    }
}

fn refused(error: &Refusal) -> Exit {
    match error {
        Refusal::Busy { .. }
        | Refusal::Gate { .. }
        | Refusal::Faults { .. }
        | Refusal::Interrupts { .. }
        | Refusal::Config { .. }
        | Refusal::Dma { .. }
        | Refusal::Lifecycle { .. }
        | Refusal::Log { .. }
        | Refusal::Ports { .. }
        | Refusal::PortCode { .. }
        | Refusal::PortsHidden => Exit::Environment,
        Refusal::Watch { reason, .. } => match reason {
            Some(WatchError::BadRange | WatchError::TooLong | WatchError::Ram) => Exit::Usage,
            Some(WatchError::SelfTest) => Exit::Environment,
            _ => Exit::Failed,
        },
        Refusal::Probe { reason, .. } => match reason {
            Some(
                ProbeError::NotProbeable
                | ProbeError::InsideInstruction
                | ProbeError::Own
                | ProbeError::NotAFunction,
            ) => Exit::Usage,
            Some(ProbeError::Taken) => Exit::Environment,
            _ => Exit::Failed,
        },
        Refusal::Start { .. }
        | Refusal::Inject { .. }
        | Refusal::Told { .. }
        | Refusal::Interrupted { .. } => Exit::Failed,
    }
}

fn output(error: &OutputError) -> Exit {
    match error {
        OutputError::Create { .. } => Exit::File,
        OutputError::Write { .. } | OutputError::Print { .. } => Exit::Failed,
        OutputError::BinaryToTerminal { .. } | OutputError::OnlyAccesses => Exit::Usage,
    }
}

#[cfg(test)]
mod tests;
