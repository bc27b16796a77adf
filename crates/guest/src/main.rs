//! `trapline-conformance [NAME]...`: the conformance suite, or those scenarios of it, on the kernel
//! that runs.
//!
//! A scenario of the suite knows machines through [`trapline_sim::Machine`]; here that is a kernel
//! with the modules `trapline` and `trapline_conformance`, and a device of QEMU's whose own record
//! of accesses comes back into the guest through a port. It prints a line for each scenario and
//! ends with status 1 if one failed.
//!
//! It runs any code in the kernel, so its place is a virtual machine that is thrown away: `cargo
//! xtask test` puts it there.
#![deny(unsafe_code)]

mod contract;
mod device;
mod machine;
mod mapping;
mod module;
mod record;
mod rings;

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result, ensure};
use trapline_sim::conformance::{ALL, Scenario};

use device::Device;
use machine::Kernel;

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("trapline-conformance: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the scenarios with these names, or all; whether all held.
fn run(names: &[String]) -> Result<bool> {
    let known = |name: &String| ALL.iter().any(|scenario| scenario.name == name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        anyhow::bail!("no scenario is called {name}");
    }
    let wanted = |scenario: &&Scenario| names.is_empty() || names.iter().any(|name| name == scenario.name);
    let cpus = thread::available_parallelism().context("cannot count CPUs")?.get();
    let mut device = Device::open()?;
    let mut all_held = true;
    // What a scenario panics with is its verdict, printed on its line.
    panic::set_hook(Box::new(|_| {}));
    for scenario in ALL.iter().filter(wanted) {
        ensure!(
            scenario.cpus <= cpus,
            "{} needs {} CPUs, this machine has {cpus}",
            scenario.name,
            scenario.cpus
        );
        let mut machine = Kernel::new(&mut device)?;
        match panic::catch_unwind(AssertUnwindSafe(|| (scenario.run)(&mut machine))) {
            Ok(Some(())) => println!("ok {}", scenario.name),
            Ok(None) => println!("not here {}: {}", scenario.name, machine.refusal()),
            Err(panic) => {
                println!("FAILED {}: {}", scenario.name, message(&*panic));
                all_held = false;
            }
        }
    }
    Ok(all_held)
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}
