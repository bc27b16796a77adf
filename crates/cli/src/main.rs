//! The `trapline` command: traces every access to the registers of a device on a running Linux system.
//!
//! Each command has a module of its own name. What they share: [`system`] answers questions about the machine, [`device`] talks to the kernel module
//! and is the one place with unsafe code, [`error`] has every message and exit status.
#![deny(unsafe_code)]

mod args;
mod command;
mod convert;
mod device;
mod doctor;
mod driver;
mod error;
mod explain;
mod faults;
mod generated;
mod list;
mod mark;
mod mmio;
mod module;
mod output;
mod probe;
mod pump;
mod report;
mod session;
mod signals;
mod status;
mod style;
mod system;
mod targets;
mod tell;
mod trace;
mod units;
mod writer;

use std::process::ExitCode;

use anstream::ColorChoice;
use clap::Parser;

use args::{Cli, Color, Command};
use error::{Exit, Result};
use system::System;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.color {
        // Already what anstream does: colours on a terminal, unless NO_COLOR says otherwise.
        Color::Auto => {}
        Color::Always => ColorChoice::Always.write_global(),
        Color::Never => ColorChoice::Never.write_global(),
    }
    match run(cli.command) {
        Ok(status) => status.into(),
        Err(error) => {
            tell::error(&error);
            error.exit().into()
        }
    }
}

fn run(command: Command) -> Result<u8> {
    let system = System::here();
    match command {
        Command::Mmio(args) => return mmio::run(&system, &args),
        Command::Probe(args) => return probe::run(&system, &args),
        Command::Faults(args) => return faults::run(&system, &args),
        Command::Doctor => return Ok(doctor::run(&system)? as u8),
        Command::Report(args) => report::run(&args)?,
        Command::Convert(args) => convert::run(&args)?,
        Command::Explain(args) => explain::run(&args)?,
        Command::List => list::run(&system)?,
        Command::Status => status::run(&system)?,
        Command::Mark { text } => mark::run(&system, &text)?,
        Command::Completions { shell } => output::print_bytes(&generated::completions(shell))?,
        Command::Man { about } => output::print_bytes(&generated::man_page(about.as_deref())?)?,
    }
    Ok(Exit::Success as u8)
}
