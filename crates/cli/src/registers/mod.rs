//! `trapline registers`: register files, made, listed and shown.

mod import;
mod list;
mod show;

use std::io;
use std::path::PathBuf;

use trapline_registers::import::ImportError;

use crate::args::RegistersCommand;
use crate::naming::RegistersError;
use crate::output::OutputError;

/// Why it was not done, or not wholly.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegisterFilesError {
    /// A file to import can't be read.
    #[error("can't read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It can't be imported, or not without a choice.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The register file is there already.
    #[error("{} is there already; name another file, or replace it with --force", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It would be written over what it is made of.
    #[error("{} is one of the files to import: writing to it would destroy it; name another file with --to", path.display())]
    OntoItself {
        /// The file.
        path: PathBuf,
    },
    /// The register file can't be written.
    #[error("can't write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A register file is not as it should be.
    #[error(transparent)]
    File(#[from] RegistersError),
    /// There is no such file.
    #[error("there is no register file {name}, and none of this name is known; known are {}", known.join(", "))]
    NoFile {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// It has no such register.
    #[error("{file} has no register {wanted}{}", near.as_ref().map(|near| format!("; do you mean {near}?")).unwrap_or_default())]
    NoRegister {
        /// The file.
        file: String,
        /// What was asked for.
        wanted: String,
        /// The most similar name.
        near: Option<String>,
    },
    /// What stands for a register is none.
    #[error(
        "{wanted:?} is no register: {why}; expected a name, with * for anything, or an offset such as 0x14"
    )]
    NotARegister {
        /// What was asked for.
        wanted: String,
        /// What is wrong with it.
        why: String,
    },
    /// It can't be printed.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Does what is asked for.
pub(crate) fn run(command: &RegistersCommand) -> Result<(), RegisterFilesError> {
    match command {
        RegistersCommand::Import(args) => import::run(args),
        RegistersCommand::List => list::run(),
        RegistersCommand::Show(args) => show::run(args),
    }
}
