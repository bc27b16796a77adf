//! The `trapline` command: traces every access to the registers of a device on a running Linux
//! system, hits of its code, page faults.
//!
//! What a person types is plain data, in [`args`]. What can be traced is in [`sources`], the one
//! way to take a trace of it in [`trace`]; every other command has a module of its own name. Below
//! those, [`system`] answers questions about the machine, and [`device`] talks to the kernel module
//! and is the one place with unsafe code. Each module has its own errors; [`exit`] maps them all to
//! exit statuses.
#![deny(unsafe_code)]

mod args;
mod convert;
mod device;
mod devices;
mod diff;
mod disks;
mod doctor;
mod exit;
mod explain;
mod generated;
mod harden;
mod held;
mod list;
mod mark;
mod mistake;
mod module;
mod naming;
mod nearest;
mod output;
mod pci;
mod reading;
mod refusal;
mod registers;
mod report;
mod say;
mod sources;
mod status;
mod style;
mod system;
mod table;
mod trace;
mod units;
mod user_mappings;

#[cfg(test)]
mod anything;

use std::panic;
use std::process::ExitCode;

use anstream::ColorChoice;
use clap::Parser;

use args::{Cli, Color, Command, ModuleCommand, Request};
use exit::{Error, Exit};
use sources::Sources;
use system::System;
use trace::Outcome;

fn main() -> ExitCode {
    keep_quiet_about_damaged_files();
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
            say::error(&error);
            (error.exit() as u8).into()
        }
    }
}

/// What Arrow's reader panics about in a damaged file becomes an error that names the file; the
/// panic's own words would only be in the way.
fn keep_quiet_about_damaged_files() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !trapline_trace::is_reading() {
            before(info);
        }
    }));
}

fn run(command: Command) -> Result<u8, Error> {
    let system = System::here();
    match command {
        Command::Mmio(args) => return trace(&system, &args.into()),
        Command::Inject(args) => {
            args.with_parent.map_or(Ok(()), harden::end_with_parent)?;
            return trace(&system, &args.into());
        }
        Command::Harden(args) => return Ok(harden::run(&system, &args)? as u8),
        Command::Probe(args) => return trace(&system, &args.into()),
        Command::Faults(args) => return trace(&system, &args.into()),
        Command::Trace(args) => return trace(&system, &args.into()),
        Command::Device(args) => return trace(&system, &args.into()),
        Command::Doctor => {
            let can_trace = doctor::run(&system)?;
            return Ok(if can_trace { Exit::Success } else { Exit::Environment } as u8);
        }
        Command::Diff(args) => {
            let is_equal = diff::run(&args)?;
            return Ok(if is_equal { Exit::Success } else { Exit::Failed } as u8);
        }
        Command::Report(args) => report::run(&args)?,
        Command::Convert(args) => convert::run(&args)?,
        Command::Explain(args) => explain::run(&args)?,
        Command::Registers(args) => registers::run(&args.command)?,
        Command::Module(args) => match args.command {
            ModuleCommand::Build(args) => module::build::run(&system, &args)?,
        },
        Command::Devices => devices::run(&system)?,
        Command::List => list::run(&system)?,
        Command::Status => status::run(&system)?,
        Command::Mark { text } => mark::run(&system, &text)?,
        Command::Completions { shell } => output::print_bytes(&generated::completions(shell))?,
        Command::Man { all: Some(folder), .. } => generated::man_pages(&folder)?,
        Command::Man { about, .. } => output::print_bytes(&generated::man_page(&about)?)?,
    }
    Ok(Exit::Success as u8)
}

/// Traces what is asked for; the status is COMMAND's if it has failed.
fn trace(system: &System, request: &Request) -> Result<u8, Error> {
    let Sources { mut all, symbols, view } = Sources::new(system, request)?;
    let Outcome { is_whole, status } = trace::run(system, &request.taking, &mut all, symbols, view)?;
    Ok(match (status, is_whole) {
        (0, true) => Exit::Success as u8,
        (0, false) => Exit::Failed as u8,
        (status, _) => status,
    })
}
