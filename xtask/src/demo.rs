//! `cargo xtask demo`: Trapline at work on two stock drivers, and beside it what QEMU recorded of
//! the same accesses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anstream::{adapter::strip_str, println};
use anstyle::{AnsiColor, Style};
use anstyle_svg::Term;
use anyhow::{Context, Result};
use indicatif::HumanCount;

use crate::compare::OnCpu;
use crate::drivers::{self, Moment, Witnessed};
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
    /// Draw what the first trace tells as an SVG file, as the terminal shows it.
    #[arg(long, value_name = "FILE")]
    pub picture: Option<PathBuf>,
}

const STRONG: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const COMMAND: Style = AnsiColor::Cyan.on_default();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Lines are cut at the width of the terminal, but not shorter than this: the fields of registers
/// may go, values may not.
const COLUMNS: usize = 150;
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
    drivers::clean_folder(&folder)?;
    let machine = drivers::machine(options.kernel, &folder)?;
    println!(
        "{STRONG}Debian's own kernel {} on 4 CPUs, with an e1000e network card and an NVMe disk{STRONG:#}",
        kernel.release
    );
    let step = Arc::new(Step::new("the virtual machine starts"));
    let teller = step.clone();
    let see = move |text: &str| {
        text.lines().filter_map(|line| line.strip_prefix(drivers::TOLD)).for_each(|title| teller.tell(title));
    };
    let outcome = vm::run(&machine, Output::Watched(Arc::new(see)))?;
    step.tell("comparing the traces with what QEMU recorded");
    let witnessed = drivers::witnessed(&outcome, &folder)?;
    drop(step);

    let mut drawn = options.picture.as_deref();
    for seen in &witnessed {
        println!("\n{STRONG}{}{STRONG:#}", seen.subject.title);
        let (name, bdf, work) = (seen.subject.name, seen.subject.bdf, seen.subject.command);
        println!("{COMMAND}$ trapline mmio --device {bdf} --output {name}.trace -- sh -ec '{COMMAND:#}");
        work.lines().for_each(|line| println!("{COMMAND}    {line}{COMMAND:#}"));
        println!("{COMMAND}'{COMMAND:#}\n");
        let told = moments(&trapline, &seen.file, seen.subject.moments)?;
        println!("{told}");
        if let Some(picture) = drawn.take() {
            let prompt = format!("{COMMAND}$ trapline mmio --device {bdf} -- modprobe {name}{COMMAND:#}\n");
            fs::write(picture, Term::new().render_svg(&(prompt + &told)))
                .with_context(|| format!("cannot write {}", picture.display()))?;
        }
        println!("\n{COMMAND}$ trapline report {name}.trace{COMMAND:#}\n");
        let mut report = Command::new(&trapline);
        report.args(["--color", "always", "report", "--rows", ROWS]).arg(&seen.file);
        println!("{}", exec::output(&mut report)?.trim_end());
        println!();
        beside(seen);
    }
    Ok(closing(&witnessed, &trapline, &folder, started))
}

/// The most telling lines of a trace, each group under what it shows.
fn moments(trapline: &Path, trace: &Path, moments: &[Moment]) -> Result<String> {
    let mut convert = Command::new(trapline);
    convert.args(["--color", "always", "convert", "--to", "human"]).arg(trace);
    let human = exec::output(&mut convert)?;
    let columns = usize::from(console::Term::stdout().size().1).max(COLUMNS);
    let mut told = String::new();
    let mut show = |line: &str| {
        told += &console::truncate_str(line, columns, "…");
        told.push('\n');
    };
    let mut lines = human.lines();
    lines.next().into_iter().for_each(&mut show);
    let total = lines.clone().count();
    let mut shown = 0;
    for moment in moments {
        show(&format!("{DIM}# {}{DIM:#}", moment.caption));
        for words in moment.lines {
            let found = lines.find(|line| {
                let plain = strip_str(line).to_string();
                words.iter().all(|word| plain.contains(word))
            });
            let found = found
                .with_context(|| format!("no line of {} shows that {}", trace.display(), moment.caption))?;
            shown += 1;
            show(found);
        }
    }
    show(&format!("{DIM}({shown} of {} lines){DIM:#}", HumanCount(total as u64)));
    Ok(told)
}

/// How many accesses each of the two witnesses saw, by CPU, and the difference.
fn beside(seen: &Witnessed) {
    println!("{STRONG}{:<12} {:>12} {:>12}   difference{STRONG:#}", "accesses", "Trapline", "QEMU");
    let row = |name: &str, traced: usize, recorded: usize, unequal: usize| {
        let style = if unequal == 0 { GOOD } else { BAD };
        let [traced, recorded, difference] =
            [traced, recorded, unequal].map(|count| HumanCount(count as u64).to_string());
        let difference = if unequal == 0 { "none" } else { &difference };
        println!("{name:<12} {traced:>12} {recorded:>12}   {style}{difference}{style:#}");
    };
    let cpus = &seen.comparison.cpus;
    for OnCpu { cpu, traced, recorded, unequal } in cpus {
        row(&format!("on CPU {cpu}"), *traced, *recorded, *unequal);
    }
    let sum = |of: fn(&OnCpu) -> usize| cpus.iter().map(of).sum();
    row("in all", sum(|on| on.traced), sum(|on| on.recorded), sum(|on| on.unequal));
    if !seen.comparison.is_equal() || seen.comparison.reshaped > 0 {
        println!("{}", seen.comparison);
    }
}

/// What was shown, and what to do next; returns the exit status.
fn closing(witnessed: &[Witnessed], trapline: &Path, folder: &Path, started: Instant) -> u8 {
    let equal = witnessed.iter().all(|seen| seen.comparison.is_equal());
    let accesses: usize = witnessed.iter().map(|seen| seen.record.len()).sum();
    let seconds = started.elapsed().as_secs_f64();
    if equal {
        println!(
            "\n{GOOD}The traces hold every one of the {} accesses that QEMU's devices saw, and nothing else{GOOD:#}: \
             direction, address, width and value, in order on each CPU ({seconds:.0} s).",
            HumanCount(accesses as u64)
        );
    } else {
        println!("\n{BAD}Traces and record differ{BAD:#}: see above ({seconds:.0} s).");
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
