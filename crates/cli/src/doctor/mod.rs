//! `trapline doctor`: can this machine trace, what conflicts, and what to do about each.
//!
//! A check looks at one thing and gives one or more [`Finding`]s. All run, whatever the first ones
//! find, so that a person has the whole list at once.

mod kernel;
mod machine;
mod mappings;
mod module;

use std::io::{self, Write};

use crate::output::{self, OutputError};
use crate::style::{BAD, GOOD, STRONG, WARNING};
use crate::system::System;

/// How a finding bears on tracing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// As it should be.
    Ok,
    /// Tracing works, but something is missing from it or may get in its way.
    Warning,
    /// Tracing does not work.
    Problem,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    level: Level,
    /// The thing looked at, a few words.
    what: &'static str,
    /// What was found.
    found: String,
    /// What to do about it; empty if nothing.
    advice: String,
}

impl Finding {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, what, found: found.into(), advice: String::new() }
    }

    fn warning(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Warning, what, found: found.into(), advice: advice.into() }
    }

    fn problem(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Problem, what, found: found.into(), advice: advice.into() }
    }
}

/// Checks everything and prints what was found; gives whether this machine can trace.
pub(crate) fn run(system: &System) -> Result<bool, OutputError> {
    let findings = examine(system);
    output::print(|out| write(out, &findings))?;
    Ok(findings.iter().all(|finding| finding.level != Level::Problem))
}

fn examine(system: &System) -> Vec<Finding> {
    let mut findings = vec![module::root(), module::available(system)];
    findings.extend(kernel::config(system));
    findings.push(kernel::ftrace(system));
    findings.push(kernel::lockdown(system));
    findings.push(kernel::signatures(system));
    findings.push(kernel::modules_allowed(system));
    findings.push(kernel::mmiotrace(system));
    findings.push(kernel::hooks_are_free(system));
    findings.push(kernel::symbols(system));
    findings.push(machine::secure_boot(system));
    findings.push(machine::page_tables(system));
    findings.push(machine::exceptions(system));
    findings.push(machine::control_flow(system));
    findings.push(machine::preemption(system));
    findings.push(machine::hypervisor(system));
    findings.extend(mappings::check(system));
    findings.push(module::self_test(system));
    findings
}

fn write(out: &mut impl Write, findings: &[Finding]) -> io::Result<()> {
    for Finding { level, what, found, advice } in findings {
        let (style, mark) = match level {
            Level::Ok => (GOOD, "ok"),
            Level::Warning => (WARNING, "warning"),
            Level::Problem => (BAD, "problem"),
        };
        writeln!(out, "{style}{mark:<8}{style:#} {what:<16} {found}")?;
        if !advice.is_empty() {
            writeln!(out, "{:25} -> {advice}", "")?;
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let (problems, warnings) = (count(Level::Problem), plural(count(Level::Warning), "warning"));
    if problems == 0 {
        writeln!(out, "{STRONG}This machine can trace{STRONG:#} ({warnings}).")
    } else {
        let problems = plural(problems, "problem");
        writeln!(out, "{STRONG}This machine can't trace as it is{STRONG:#}: {problems}, {warnings}.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_counts_problems_and_warnings_and_shows_what_to_do() {
        let findings = [
            Finding::ok("root", "yes"),
            Finding::warning("x", "odd", "look"),
            Finding::problem("y", "off", "turn on"),
        ];
        let mut out = anstream::StripStream::new(Vec::new());
        write(&mut out, &findings).unwrap();
        let text = String::from_utf8(out.into_inner()).unwrap();
        assert_eq!(
            text,
            "ok       root             yes\n\
             warning  x                odd\n                          -> look\n\
             problem  y                off\n                          -> turn on\n\
             This machine can't trace as it is: 1 problem, 1 warning.\n"
        );
    }
}
