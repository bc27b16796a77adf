//! `cargo xtask demo`: Trapline at work on two stock drivers, and beside it what QEMU recorded of the same accesses.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::access::Access;
use crate::drivers::{self, Witnessed};
use crate::failure::FAILED;
use crate::progress::Step;
use crate::setup::{self, Kernel, Series};
use crate::vm::{self, Output};
use crate::{build, exec, workspace};

/// Which kernel to show it on.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Series of Debian's stock kernel.
    #[arg(long, value_enum, default_value_t = Series::V6_1)]
    pub kernel: Series,
}

/// How many lines of each trace are shown from its beginning, and how many beside QEMU's.
const LINES: usize = 16;
const PAIRS: usize = 6;

/// Runs the demo; the status tells whether traces and record were equal.
pub fn command(options: &Options) -> Result<u8> {
    // Set-up first: its time is not the demo's.
    setup::host::ensure()?;
    let kernel = Kernel::ensure(options.kernel)?;
    let trapline = build::command()?;
    build::modules(&kernel)?;

    let started = Instant::now();
    let folder = workspace::cache_dir("demo")?;
    drivers::clean_folder(&folder)?;
    let machine = drivers::machine(options.kernel, &folder)?;
    println!("Debian's kernel {} on 4 CPUs, with an e1000e network card and an NVMe disk.", kernel.release);
    let step = Step::new("tracing two drivers in the virtual machine");
    let outcome = vm::run(&machine, Output::Captured)?;
    drop(step);

    let mut equal = true;
    for seen in drivers::witnessed(&outcome, &folder)? {
        heading(seen.subject.title);
        println!(
            "$ trapline mmio --device {} --output {}.trace -- ...\n",
            seen.subject.bdf, seen.subject.name
        );
        let mut show = Command::new(&trapline);
        show.args(["--color", if std::io::stdout().is_terminal() { "always" } else { "never" }]);
        show.args(["convert", "--to", "human"]).arg(&seen.file);
        let human = exec::output(&mut show)?;
        human.lines().take(LINES).for_each(|line| println!("{line}"));
        println!(
            "... ({} lines in all)\n\n$ trapline report {}.trace\n",
            human.lines().count(),
            seen.subject.name
        );
        exec::shows(Command::new(&trapline).args(["report", "--rows", "8"]).arg(&seen.file))?;
        println!("\nThe same by QEMU's own record:\n");
        beside(&seen);
        equal &= seen.comparison.is_equal();
    }
    println!(
        "\nTraces and record are in {}; this took {:.0} s.",
        folder.display(),
        started.elapsed().as_secs_f64()
    );
    Ok(if equal { 0 } else { FAILED })
}

fn heading(title: &str) {
    println!("\n{title}\n{}", "=".repeat(title.chars().count()));
}

/// Trace and record side by side: the first accesses, then counts, then the difference.
fn beside(seen: &Witnessed) {
    println!("  {:44}  {:44}", "trapline", "QEMU");
    let of =
        |accesses: &[Access]| -> Vec<String> { accesses.iter().take(PAIRS).map(Access::to_string).collect() };
    for (trace, record) in of(&seen.trace.accesses).iter().zip(of(&seen.record)) {
        println!("  {trace:44}  {record:44}");
    }
    let (trace, record) = (counts(&seen.trace.accesses), counts(&seen.record));
    for (what, traced) in &trace {
        println!(
            "  {:44}  {:44}",
            format!("{what}: {traced}"),
            format!("{what}: {}", record.get(what).unwrap_or(&0))
        );
    }
    let verdict = if seen.comparison.is_equal() { "none" } else { "THERE IS ONE" };
    println!("  difference: {verdict} ({})", seen.comparison);
}

fn counts(accesses: &[Access]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for access in accesses {
        let direction = if access.write { "writes" } else { "reads" };
        for what in ["accesses".to_owned(), direction.to_owned(), format!("on cpu {}", access.cpu)] {
            *counts.entry(what).or_default() += 1;
        }
    }
    counts
}
