//! `trapline-gate`: page faults seen by a gate of our own, held against what the kernel says of
//! them.
//!
//! * `count hook|idt FAULTS [nmis]`: that many faults of a program on all CPUs, and as many as the
//!   kernel's tracepoints tell of must be counted, in user and in kernel mode; with NMIs that fault
//!   as well, if asked for
//! * `cycles COUNT`: puts the gate in and out that often while such a program runs; each CPU's
//!   table must be ours, then the kernel's
//! * `hold`: puts the gate in, prints `held`, and takes it out when standard input ends
//! * `refused`: the gate must be refused; prints why
//! * `storm FAULTS`: the program: see [`storm`]
//!
//! All but the last two need the module `trapline_gate`, which looks at the tables and the
//! tracepoints.
#![allow(unsafe_code, reason = "talks to the device by ioctl, and faults in assembly")]

mod session;
mod storm;

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use session::Session;
use trapline_abi::{FAULTS_KERNEL, FAULTS_USER, FaultCounts, Gate};

const TABLES: &str = "/sys/kernel/debug/trapline_gate/tables";
/// Sends NMIs; they have been handled when the write returns.
const NMIS: &str = "/sys/kernel/debug/trapline_gate/nmis";
const COUNT: &str = "/sys/kernel/debug/trapline_gate/count";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trapline-gate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    let number = |text: &str| text.parse::<u64>().with_context(|| format!("{text} is no number"));
    match arguments {
        ["count", gate @ ("hook" | "idt"), faults, nmis @ ..] if matches!(nmis, [] | ["nmis"]) => {
            let gate = if *gate == "hook" { Gate::Hook } else { Gate::Idt };
            count(gate, number(faults)?, !nmis.is_empty())
        }
        ["cycles", times] => cycles(number(times)?),
        ["hold"] => hold(),
        ["refused"] => refused(),
        ["storm", faults] => {
            wait_for_start()?;
            storm::storm(number(faults)?)
        }
        _ => {
            bail!(
                "usage: trapline-gate count hook|idt FAULTS [nmis], cycles TIMES, hold, refused, or storm FAULTS"
            )
        }
    }
}

/// Says that it is ready, and goes on when standard input has said so, or ends.
fn wait_for_start() -> Result<()> {
    println!("ready");
    // One byte, or none at its end.
    std::io::stdin().read(&mut [0; 1]).context("cannot wait for the start")?;
    Ok(())
}

/// A storm that waits for its start.
fn storm(faults: u64) -> Result<Child> {
    let mut storm = Command::new("/proc/self/exe")
        .args(["storm", &faults.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the storm")?;
    let mut word = [0; 5];
    storm
        .stdout
        .as_mut()
        .context("its output is a pipe")?
        .read_exact(&mut word)
        .context("the storm ended early")?;
    // Asleep in its read: it has no faults meanwhile.
    let state = format!("/proc/{}/stat", storm.id());
    while !fs::read_to_string(&state)?.contains(") S ") {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(storm)
}

fn count(gate: Gate, faults: u64, nmis: bool) -> Result<()> {
    let mut total = 0;
    for (modes, which) in [(FAULTS_USER, 0), (FAULTS_KERNEL, 1), (FAULTS_USER | FAULTS_KERNEL, 2)] {
        let mut storm = storm(faults / 3)?;
        let process = storm.id();
        fs::write(COUNT, process.to_string())?;
        let session = Session::begin(gate, modes, process)?;
        let started = Instant::now();
        drop(storm.stdin.take());
        // None before the session began and none after the program has ended: its last moments on a
        // CPU are its own for the tracepoints too.
        while nmis && storm.try_wait()?.is_none() {
            fs::write(NMIS, "20")?;
        }
        let status = storm.wait()?;
        let time = started.elapsed();
        let FaultCounts { passed, bypassed, .. } = session.end()?;
        let told = fs::read_to_string(COUNT)?;
        let told: Vec<u64> = told.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [user, kernel] = told[..] else { bail!("{COUNT} says {told:?}") };
        ensure!(status.success(), "the storm found a register, or a page, other than it should be");
        let told = [user, kernel, user + kernel][which];
        ensure!(
            passed == told && bypassed == 0,
            "{passed} faults counted, the tracepoints tell of {told}; {bypassed} CPUs bypassed"
        );
        ensure!(
            user > 0 && kernel > 0 && user + kernel >= faults / 3,
            "only {user} user and {kernel} kernel faults"
        );
        println!("{passed} of {user} user and {kernel} kernel faults in {:.1} s", time.as_secs_f64());
        total += user + kernel;
    }
    println!("{total} faults");
    Ok(())
}

/// The tables, by CPU.
fn tables() -> Result<Vec<String>> {
    let text = fs::read_to_string(TABLES).with_context(|| format!("cannot read {TABLES}"))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn cycles(times: u64) -> Result<()> {
    let mut storm = storm(u64::MAX)?;
    drop(storm.stdin.take());
    let result = (0..times).try_for_each(|time| cycle().with_context(|| format!("cycle {time}")));
    ensure!(storm.try_wait()?.is_none(), "the storm found a register, or a page, other than it should be");
    storm.kill()?;
    storm.wait()?;
    result
}

fn cycle() -> Result<()> {
    let before = tables()?;
    let session = Session::begin(Gate::Idt, FAULTS_USER | FAULTS_KERNEL, trapline_abi::ANY)?;
    let during = tables()?;
    ensure!(during.len() == before.len(), "{during:?}");
    for (now, before) in during.iter().zip(&before) {
        ensure!(now != before, "a CPU still has the kernel's table: {now}");
    }
    thread::sleep(Duration::from_millis(10));
    let FaultCounts { user, bypassed, .. } = session.end()?;
    ensure!(user > 0, "no user fault was seen");
    ensure!(bypassed == 0, "{bypassed} CPUs lost our table");
    let after = tables()?;
    ensure!(after == before, "before {before:?}, after {after:?}");
    Ok(())
}

fn hold() -> Result<()> {
    let session = Session::begin(Gate::Idt, FAULTS_USER | FAULTS_KERNEL, trapline_abi::ANY)?;
    println!("held");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let counts = session.end()?;
    ensure!(counts.bypassed == 0, "{} CPUs lost our table", counts.bypassed);
    println!("{} user and {} kernel faults", counts.user, counts.kernel);
    Ok(())
}

fn refused() -> Result<()> {
    match Session::begin(Gate::Idt, FAULTS_USER, trapline_abi::ANY) {
        Ok(_) => bail!("the gate was put in"),
        Err(error) => {
            println!("{error:#}");
            Ok(())
        }
    }
}
