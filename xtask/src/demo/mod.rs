//! `cargo xtask demo`: Trapline at work on stock drivers, and beside it what other witnesses tell
//! of the same: QEMU, and the kernel's own tracepoints.

mod machine;
mod moments;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anstream::println;
use anstyle::{AnsiColor, Style};
use anstyle_svg::Term;
use anyhow::{Context, Result};
use indicatif::HumanCount;

use crate::compare::OnCpu;
use crate::failure::FAILED;
use crate::setup::{self, Kernel, Series};
use crate::{build, exec, workspace};
use machine::{Row, Seen};

/// Which kernel to show it on.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Series of Debian's stock kernel.
    #[arg(long, value_enum, default_value_t = Series::V6_1)]
    pub kernel: Series,
    /// Draw what the first trace tells as an SVG file, as the terminal shows it.
    #[arg(long, value_name = "FILE")]
    pub picture: Option<PathBuf>,
}

const STRONG: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const COMMAND: Style = AnsiColor::Cyan.on_default();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Rows of each table of a summary.
const ROWS: &str = "5";

/// Runs the demo; the status tells whether traces and record were equal.
pub fn command(options: &Options) -> Result<u8> {
    // Set-up first: its time is not the demo's.
    setup::host::ensure()?;
    let kernel = Kernel::ensure(options.kernel)?;
    let trapline = build::command()?;
    build::modules(&kernel)?;

    let started = Instant::now();
    let folder = workspace::cache_dir("demo")?;
    println!(
        "{STRONG}Debian's own kernel {} on 4 CPUs, with an e1000e network card, an NVMe disk and an SMBus{STRONG:#}",
        kernel.release
    );
    let all = machine::run(options.kernel, &folder)?;
    let mut drawn = options.picture.as_deref();
    for seen in &all {
        println!("\n{STRONG}{}{STRONG:#}", seen.subject.title);
        let name = seen.subject.name;
        let typed = machine::command(&seen.subject, &format!("{name}.trace"));
        println!("{COMMAND}$ {}{COMMAND:#}\n", typed.replace('\n', "\n    "));
        let told = moments::told(&trapline, name, &seen.file)?;
        println!("{told}");
        if let Some(picture) = drawn.take() {
            let bdf = seen.subject.bdf;
            let prompt = format!("{COMMAND}$ trapline device {bdf} --dma-data 16 -- sh work{COMMAND:#}\n");
            fs::write(picture, Term::new().render_svg(&(prompt + &told)))
                .with_context(|| format!("cannot write {}", picture.display()))?;
        }
        println!("{COMMAND}$ trapline report {name}.trace{COMMAND:#}\n");
        let mut report = Command::new(&trapline);
        report.args(["--color", "always", "report", "--rows", ROWS]).arg(&seen.file);
        println!("{}\n", exec::output(&mut report)?.trim_end());
        beside(seen);
    }
    Ok(closing(&all, &trapline, &folder, started))
}

/// How much each of two witnesses tells, and the difference.
fn beside(seen: &Seen) {
    println!("{STRONG}{:<22} {:>12} {:>12}  {:<12} difference{STRONG:#}", "", "Trapline", "", "witness");
    let row = |what: &str, Row { traced, recorded, witness, unequal, .. }: Row| {
        let style = if unequal == 0 { GOOD } else { BAD };
        let [traced, recorded, difference] =
            [traced, recorded, unequal].map(|count| HumanCount(count as u64).to_string());
        let difference = if unequal == 0 { "none" } else { &difference };
        println!("{what:<22} {traced:>12} {recorded:>12}  {witness:<12} {style}{difference}{style:#}");
    };
    for OnCpu { cpu, traced, recorded, unequal } in seen.registers.cpus.iter().copied() {
        let of_cpu = Row { what: "", traced, recorded, witness: "QEMU", unequal };
        row(&format!("registers, CPU {cpu}"), of_cpu);
    }
    seen.rows.iter().for_each(|&of| row(of.what, of));
    seen.alone.iter().for_each(|sentence| println!("{DIM}{sentence}{DIM:#}"));
    if !seen.registers.is_equal() || seen.registers.reshaped > 0 {
        println!("{}", seen.registers);
    }
}

/// What was shown, and what to do next; returns the exit status.
fn closing(all: &[Seen], trapline: &Path, folder: &Path, started: Instant) -> u8 {
    let equal = all.iter().all(Seen::is_equal);
    let of_registers = |seen: &Seen| seen.registers.cpus.iter().map(|on| on.recorded).sum::<usize>();
    let of_rows = |seen: &Seen| seen.rows.iter().map(|row| row.recorded).sum::<usize>();
    let events: usize = all.iter().map(|seen| of_registers(seen) + of_rows(seen)).sum();
    let seconds = started.elapsed().as_secs_f64();
    if equal {
        println!(
            "\n{GOOD}The traces hold every one of the {} events that the other witnesses saw, and no other{GOOD:#}: \
             accesses with direction, address, width and value, in order on each CPU ({seconds:.0} s).",
            HumanCount(events as u64)
        );
    } else {
        println!("\n{BAD}Traces and witnesses differ{BAD:#}: see above ({seconds:.0} s).");
    }
    let (trapline, folder) = (near(trapline), near(folder));
    println!(
        "\nLook further:   {COMMAND}{trapline} convert --to human {folder}/e1000e.trace | less -S{COMMAND:#}\n\
         On this machine: {COMMAND}sudo {trapline} doctor{COMMAND:#}"
    );
    if equal { 0 } else { FAILED }
}

/// A path as it is shortest to type here.
fn near(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}
