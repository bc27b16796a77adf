//! `trapline-probes CHECK`: code probes of sessions, on the functions of the module
//! `trapline_target`; fails if anything is not as it must be.
//!
//! records       what hits record: arguments, faults, strings, stacks, returns; whom they are
//!               filtered by
//! cycles COUNT  starts and ends that many sessions, every other one without STOP; the code must be
//!               as before after each
//! thousand      a probe on each of 2,048 instructions counts each call, and leaves nothing
//! refused       whichever allocation is refused, the command says so and leaves nothing
//! hold          probes, says `armed` and waits to be killed
//!
//! It is a program because `trapline` shows what a person asks for, and starts too slowly to do
//! this a thousand times.

#[path = "../mapping.rs"]
#[allow(dead_code, reason = "the conformance suite accesses devices by it as well")]
mod mapping;
mod records;
mod session;
mod target;

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use trapline_abi::{CODE_POST, CODE_RETURN, CODE_STACK, CodeProbe, ListEntry, MAX_ACTIVE, ProbeError};

use session::{Session, listed, on};
use target::Target;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["records"] => records::check(),
        ["cycles", count] => count.parse().context("COUNT is a number").and_then(cycles),
        ["thousand"] => thousand(),
        ["refused"] => refused(),
        ["hold"] => hold(),
        _ => {
            Err(anyhow::anyhow!("usage: trapline-probes records | cycles COUNT | thousand | refused | hold"))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trapline-probes: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Bytes of records for each CPU where nobody reads them.
const BUFFER: u64 = 64 << 10;

/// A probe of each kind: at an entry that ftrace has, at its return, after an instruction, before
/// it with the stack, where there is no room for a jump.
fn kinds(target: &Target) -> Result<[CodeProbe; 5]> {
    let row = target.row().next().context("trapline_target has no rows")?;
    Ok([
        on(target.hot),
        CodeProbe { flags: CODE_RETURN, active: 64, ..on(target.hot) },
        CodeProbe { flags: CODE_POST, ..on(target.inside) },
        CodeProbe { flags: CODE_STACK, ..on(target.inside) },
        on(row),
    ])
}

/// A session with these probes.
fn session_of(probes: &[CodeProbe]) -> Result<Session> {
    let session = Session::start(BUFFER)?;
    for probe in probes {
        session.probe(*probe, &[])?;
    }
    Ok(session)
}

/// Every tenth session has all kinds of probes, the others one each in turn: the kernel waits for
/// all CPUs once for each.
fn cycles(count: usize) -> Result<()> {
    let target = Target::open()?;
    let before = target.text()?;
    let kinds = kinds(&target)?;
    let mut hits = 0;
    for cycle in 0..count {
        let probes = if cycle % 10 == 0 { &kinds[..] } else { &kinds[cycle % kinds.len()..][..1] };
        let session = session_of(probes).with_context(|| format!("session {cycle}"))?;
        ensure!(target.text()? != before, "session {cycle} left the code as it was");
        ensure!(
            listed()?.len() == probes.len(),
            "session {cycle} has {} probes in the list",
            listed()?.len()
        );
        if cycle % 2 == 0 {
            session.stop().context("STOP")?;
            hits += listed()?.iter().map(|entry| entry.counts.hits).sum::<u64>();
        }
        drop(session);
        ensure!(listed()?.is_empty(), "session {cycle} left probes: {:?}", listed()?);
        target.becomes(&before).with_context(|| format!("after session {cycle}"))?;
    }
    ensure!(hits > count as u64, "{hits} hits in {count} sessions: nothing ran meanwhile");
    println!("{hits} hits");
    Ok(())
}

fn thousand() -> Result<()> {
    const CALLS: u64 = 50;
    let target = Target::open()?;
    let before = target.text()?;
    let session = Session::start(BUFFER)?;
    for address in target.row() {
        session.probe(on(address), &[]).with_context(|| format!("the probe at {address:#x}"))?;
    }
    target.run(CALLS)?;
    let counted = listed()?;
    ensure!(counted.len() == target.row().count(), "{} probes are listed", counted.len());
    let is_right = |entry: &ListEntry| entry.counts.hits == CALLS && entry.counts.missed == 0;
    if let Some(wrong) = counted.iter().find(|entry| !is_right(entry)) {
        anyhow::bail!("{CALLS} calls, and {wrong:?}");
    }
    session.stop()?;
    ensure!(
        listed()? == listed()?.into_iter().filter(is_right).collect::<Vec<_>>(),
        "counts changed by STOP"
    );
    drop(session);
    ensure!(listed()?.is_empty(), "probes are left: {:?}", listed()?);
    target.becomes(&before)
}

/// Before the first allocation of a probe, before the second, …, until there are so many that it
/// succeeds.
fn refused() -> Result<()> {
    let target = Target::open()?;
    let before = target.text()?;
    let program = records::program(&target);
    let session = Session::start(BUFFER)?;
    for wrong in [
        CodeProbe { active: 1, ..on(target.hot) },
        CodeProbe { flags: CODE_RETURN, active: MAX_ACTIVE + 1, ..on(target.hot) },
    ] {
        let flags = (rustix::io::Errno::INVAL, ProbeError::Flags as u32);
        let result = session.try_probe(wrong, &[]);
        ensure!(result == Err(flags), "{} calls under way: {result:?}", wrong.active);
    }
    drop(session);
    let mut refusals = 0;
    for flags in [0, CODE_RETURN | CODE_STACK, CODE_POST] {
        let session = Session::start(BUFFER)?;
        // One that stays, at the same instruction.
        session.probe(on(target.inside), &program)?;
        let with_one = target.text()?;
        for granted in 0.. {
            ensure!(granted < 100, "there is no end to the allocations of one probe");
            let place = if flags & CODE_RETURN != 0 { target.hot } else { target.inside };
            let refuser = target.refuse(granted)?;
            let result = session.try_probe(CodeProbe { flags, ..on(place) }, &program);
            drop(refuser);
            match result {
                Ok(_) => break,
                // The program is copied before anything is looked at; else it is the probe that
                // says why.
                Err((error, 0)) if error == rustix::io::Errno::NOMEM && granted == 0 => {}
                Err((error, code)) => {
                    let is_told = ProbeError::from_code(code) == Some(ProbeError::NoMemory);
                    ensure!(
                        is_told && error == rustix::io::Errno::NOMEM,
                        "told {code} and {error} after {granted}"
                    );
                }
            }
            refusals += 1;
            ensure!(listed()?.len() == 1, "a refused probe is listed: {:?}", listed()?);
            target.becomes(&with_one)?;
        }
        target.run(10)?;
        ensure!(listed()?.len() == 2 && listed()?.iter().all(|e| e.counts.hits == 10), "{:?}", listed()?);
        drop(session);
        target.becomes(&before)?;
    }
    ensure!(refusals > 10, "only {refusals} allocations were refused");
    println!("{refusals} refusals");
    Ok(())
}

fn hold() -> Result<()> {
    let target = Target::open()?;
    let _session = session_of(&kinds(&target)?)?;
    // A module that goes is not held by its files.
    drop(target);
    println!("armed");
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}
