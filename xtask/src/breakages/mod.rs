//! `cargo xtask break`: breaks one defence after another in a copy of the tree, and reports where
//! no test fails.
//!
//! `docs/soundness.md` lists what Trapline promises, and which tests hold each promise. A test that
//! can't fail holds nothing, and nobody sees that by reading it. So the folder `breakages/` keeps,
//! for each row of that page, a small change of the code that breaks the row's defence, with the
//! test that must fail then.

mod breakage;
mod check;
mod copy;
mod rows;

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::failure::FAILED;
use crate::interrupt;
use breakage::{Breakage, Test};
use check::Verdict;
use copy::Copy;
use rows::Row;

/// Which defences to break.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// A row of docs/soundness.md, or a file of breakages/ without `.toml`; all if none is given.
    #[arg(value_name = "ROW")]
    pub rows: Vec<String>,

    /// List the rows with their breakages and the tests that must notice, and run nothing.
    #[arg(long)]
    pub list: bool,

    /// Leave out the breakages whose test needs a virtual machine.
    #[arg(long)]
    pub host: bool,
}

/// Breaks what is asked for, one after another, and tells which breakages no test noticed.
pub fn command(options: &Options) -> Result<u8> {
    let (rows, all) = (rows::read()?, breakage::read()?);
    let mut chosen = choose(&options.rows, &rows, all)?;
    if options.host {
        chosen.retain(|breakage| matches!(breakage.test, Test::Command(_)));
    }
    if options.list {
        list(&rows, &chosen, options.rows.is_empty() && !options.host);
        return Ok(0);
    }
    let verdicts = check_all(&chosen)?;
    Ok(summary(&chosen, &verdicts))
}

fn choose(names: &[String], rows: &[Row], mut all: Vec<Breakage>) -> Result<Vec<Breakage>> {
    for name in names {
        ensure!(
            rows.iter().any(|row| row.name == *name) || all.iter().any(|breakage| breakage.name == *name),
            "no row of docs/soundness.md and no file of breakages/ is called `{name}`; --list names all"
        );
    }
    let is_named =
        |breakage: &Breakage| names.iter().any(|name| [&breakage.row, &breakage.name].contains(&name));
    all.retain(|breakage| names.is_empty() || is_named(breakage));
    Ok(all)
}

fn list(rows: &[Row], chosen: &[Breakage], tell_of_none: bool) {
    for row in rows {
        let of_row: Vec<_> = chosen.iter().filter(|breakage| breakage.row == row.name).collect();
        if of_row.is_empty() && !tell_of_none {
            continue;
        }
        println!("{}: {}", row.name, row.threat);
        for breakage in &of_row {
            println!("  {}: {}\n    {}", breakage.name, breakage.breaks, breakage.test);
        }
        if of_row.is_empty() {
            println!("  no breakage");
        }
    }
}

/// What came of each, in their order; fewer if Ctrl-C came.
fn check_all(chosen: &[Breakage]) -> Result<Vec<Verdict>> {
    let copy = Copy::make()?;
    // All of them before anything is broken, so that the tree as it is is built once.
    let mut sound = HashMap::new();
    for Breakage { test, .. } in chosen {
        if !sound.contains_key(test) {
            let started = Instant::now();
            let whole = check::sound(&copy, test)?;
            // Ctrl-C kills the test, which then fails: that says nothing.
            if interrupt::seen() {
                return Ok(Vec::new());
            }
            println!(
                "without a breakage: {} ({:.1} s): {test}",
                if whole.is_ok() { "passes" } else { "FAILS" },
                started.elapsed().as_secs_f64()
            );
            sound.insert(test, whole);
        }
    }
    let mut verdicts = Vec::new();
    for breakage in chosen {
        let Some(whole) = sound.get(&breakage.test) else { break };
        let started = Instant::now();
        let verdict = match whole {
            Ok(()) => check::broken(&copy, breakage)?,
            Err(said) => Verdict::NotSound(said.clone()),
        };
        if interrupt::seen() {
            break;
        }
        let seconds = started.elapsed().as_secs_f64();
        println!("{}: {verdict} ({seconds:.1} s): {}", breakage.name, breakage.test);
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

fn summary(chosen: &[Breakage], verdicts: &[Verdict]) -> u8 {
    println!();
    let mut noticed = 0;
    for (breakage, verdict) in chosen.iter().zip(verdicts) {
        match verdict {
            Verdict::Noticed => noticed += 1,
            other => println!(
                "{} (row {}): {other}\n  {}\n  {}\n{}",
                breakage.name,
                breakage.row,
                breakage.breaks,
                breakage.test,
                other.detail()
            ),
        }
    }
    let untried = chosen.len() - verdicts.len();
    if untried > 0 {
        println!("stopped by Ctrl-C: {untried} were not tried");
    }
    println!("{noticed} noticed, {} not", verdicts.len() - noticed);
    if noticed == chosen.len() { 0 } else { FAILED }
}

#[cfg(test)]
mod tests;
