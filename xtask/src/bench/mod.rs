//! `cargo xtask bench`: what tracing costs, side by side with the kernel's own mmiotrace in one
//! virtual machine, and natively.
//!
//! Only ratios within one run mean something elsewhere: software emulation makes an exception dear
//! or cheap in its own way, and the host may be busy. So each measurement is made in several
//! rounds, all in turn, and the quickest counts: what disturbs can only slow down. No test asserts
//! a time.

mod code;
mod faults;
mod guest;
mod native;
mod table;

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::progress::Step;
use crate::setup::{self, Kernel, Series};
use crate::{build, exec, vm, workspace};
use code::Code;
use faults::Faults;
use guest::Guest;
use table::Table;

/// What to measure on, and where to put it.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Series of Debian's stock kernel.
    #[arg(long, value_enum, default_value_t = Series::V6_1)]
    pub kernel: Series,

    /// Put the tables into docs/benchmarks.md too.
    #[arg(long)]
    pub write: bool,

    /// Only what runs in the virtual machine: not the native benchmarks, nor the report of ten
    /// million events.
    #[arg(long, conflicts_with = "write")]
    pub guest_only: bool,
}

const DOCUMENT: &str = "docs/benchmarks.md";
/// The document's lines around what is measured.
const BEGIN: &str = "<!-- measured by `cargo xtask bench --write` -->\n";
const END: &str = "<!-- end of what is measured -->\n";

/// Measures, prints the tables, and writes them down if asked to.
pub fn command(options: &Options) -> Result<u8> {
    setup::host::ensure()?;
    let kernel = Kernel::ensure(options.kernel)?;
    let trapline = build::command()?;
    let modules = build::modules(&kernel)?;

    let mut text = machine(&kernel)?;
    let mut add = |title: &str, table: Table| {
        let section = format!("\n## {title}\n\n{table}");
        println!("{section}");
        text.push_str(&section);
    };
    let step = Step::new("measuring in the virtual machine (some minutes)");
    let guest = Guest::measure(options.kernel)?;
    drop(step);
    println!("{}", machine(&kernel)?);
    add("A traced access", guest.access()?);
    add("Where the time goes", guest.parts()?);
    add("All at once", guest.cpus()?);
    add("Loading a driver", guest.load()?);
    let step = Step::new("measuring code probes in the virtual machine (some minutes)");
    let code = Code::measure(options.kernel)?;
    drop(step);
    add("A hit of a code probe", code.table()?);
    let step = Step::new("measuring page faults in the virtual machine (some minutes)");
    let faults = Faults::measure(options.kernel)?;
    drop(step);
    add("A page fault", faults.table()?);
    add("How early", faults.early()?);
    let module = modules.iter().find(|path| path.ends_with("trapline.ko")).context("trapline.ko is built")?;
    add("Size", guest.size(module)?);
    if !options.guest_only {
        let step = Step::new("measuring trapline-insn and trapline-engine natively");
        let table = native::traps()?;
        drop(step);
        add("Natively", table);
        let step = Step::new("measuring a report of ten million events");
        let table = native::report()?;
        drop(step);
        add("A large trace", table);
        let step = Step::new("measuring what is written of 4.7 million accesses");
        let table = native::written()?;
        drop(step);
        add("A trace as it is written", table);
    }
    if options.write {
        write(&text)?;
        println!("\nWritten to {DOCUMENT}.");
    } else {
        println!(
            "\n`cargo xtask bench --write` puts this into {DOCUMENT}; `{}` reads traces.",
            trapline.display()
        );
    }
    Ok(0)
}

/// Measures in a virtual machine; what it said, a line for each figure.
fn measured(options: &vm::Options) -> Result<String> {
    let outcome = vm::run(options, vm::Output::Captured)?;
    ensure!(
        outcome.ended == vm::Ended::Exited(0),
        "the measurement failed ({:?}):\n{}\n{}",
        outcome.ended,
        outcome.text(),
        exec::tail(&String::from_utf8_lossy(&outcome.stderr), 20)
    );
    Ok(outcome.text())
}

/// What it was measured on, in general words.
fn machine(kernel: &Kernel) -> Result<String> {
    let date = exec::output(Command::new("date").args(["-u", "+%F"]))?;
    let qemu = exec::output(Command::new("qemu-system-x86_64").arg("--version"))?;
    let qemu = qemu.split_whitespace().nth(3).context("QEMU tells its version")?;
    let cores = std::thread::available_parallelism().context("cannot count the host's cores")?;
    Ok(format!(
        "{}: Debian's kernel {} with {} CPUs in QEMU {qemu}, software emulation, on a virtual host of {cores} cores.\n",
        date.trim(),
        kernel.release,
        guest::CPUS
    ))
}

/// Replaces what was measured before.
fn write(measured: &str) -> Result<()> {
    let path = workspace::root().join(DOCUMENT);
    let old = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let new = replaced(&old, measured)
        .with_context(|| format!("{} has lost the lines around what is measured", path.display()))?;
    fs::write(&path, new).with_context(|| format!("cannot write {}", path.display()))
}

fn replaced(old: &str, measured: &str) -> Option<String> {
    let (before, rest) = old.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{measured}\n{END}{after}"))
}

/// How many times more, in words.
fn times(more: f64, less: f64) -> Result<String> {
    ensure!(less > 0.0, "a measurement took no time at all");
    let ratio = more / less;
    Ok(if ratio < 10.0 { format!("{ratio:.1}") } else { format!("{ratio:.0}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_around_the_figures_stays() {
        let old = format!("# Title\n{BEGIN}\nold\n{END}words\n");
        let new = replaced(&old, "new\n").unwrap();
        assert_eq!(new, format!("# Title\n{BEGIN}\nnew\n\n{END}words\n"));
        assert_eq!(replaced(&new, "new\n").unwrap(), new);
        assert!(replaced("# Title\n", "new\n").is_none());
    }
}
