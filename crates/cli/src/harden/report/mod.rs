//! What a campaign has come to, for a person and for programs.

mod human;
mod json;
mod page;

use std::io;

use trapline_explain::NoSources;

use super::campaign::{About, Campaign, Finding};
use super::experiment::Experiment;
use super::outcome::{Outcome, Trouble};
use crate::explain::words;
pub(crate) use human::{human, style};
pub(crate) use json::json;
pub(crate) use page::page;

/// What repeats an experiment.
pub(crate) fn command(about: &About, experiment: &Experiment) -> String {
    let quoted =
        |word: &str| shlex::try_quote(word).map_or_else(|_| word.to_owned(), |word| word.into_owned());
    let mut words = vec!["trapline harden --device".to_owned(), about.device.clone()];
    words.extend(experiment.rules.iter().map(|rule| format!("--try {}", quoted(rule))));
    words.extend(about.registers.iter().map(|file| format!("--registers {}", quoted(file))));
    words.extend(about.limit.map(|limit| format!("--limit {limit}ms")));
    words.extend(about.yes.then(|| "--yes".to_owned()));
    words.push(format!("--seed {} --", about.seed));
    words.extend(about.command.iter().map(|word| quoted(word)));
    words.join(" ")
}

/// What a trouble is, in words.
fn told(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Refused => "the rule was refused",
        Trouble::Untold => "no lie was told",
        Trouble::Fine => "nothing",
        Trouble::Failed => "COMMAND failed",
        Trouble::Late => "COMMAND ran past its time",
        Trouble::Warning => "the kernel warned",
        Trouble::Broken => "the device does not work again",
        Trouble::Stuck => "a task that could not be ended while the device lied",
        Trouble::Hung => "a task hung",
        Trouble::Lockup => "a CPU locked up",
        Trouble::Oops => "the kernel oopsed",
        Trouble::Died => "the machine went down",
    }
}

/// What is said of a device that has no reset of its own.
const NO_RESET: &str = "the device can't be reset by itself: its driver was only bound anew";

/// Rules of a finding that are named, beside the shortest.
const RULES: usize = 5;

/// Counts something in words.
fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// How much was done, and found.
fn figures(campaign: &Campaign, findings: usize) -> String {
    // Rules that a person gave were tried without looking what is read.
    let read = if campaign.sites.is_empty() {
        String::new()
    } else {
        let reads: u64 = campaign.sites.iter().map(|site| site.reads).sum();
        format!("{reads} reads at {}; ", plural(campaign.sites.len(), "site"))
    };
    format!(
        "{read}{} in {}; {}",
        plural(campaign.runs().len(), "experiment"),
        humantime::format_duration(std::time::Duration::from_secs(campaign.spent().as_secs())),
        plural(findings, "finding"),
    )
}

/// The registers, each with how often it is read.
fn places(campaign: &Campaign) -> Vec<(&str, u64)> {
    let mut places: Vec<(&str, u64)> = Vec::new();
    for site in &campaign.sites {
        match places.iter_mut().find(|(place, _)| *place == site.place) {
            Some((_, reads)) => *reads += site.reads,
            None => places.push((&site.place, site.reads)),
        }
    }
    places
}

/// What a finding is, and where.
fn title(finding: &Finding) -> String {
    let place = finding.function.as_ref().map(|function| format!(" in {function}")).unwrap_or_default();
    format!("{}{place}", told(finding.trouble))
}

/// When it happened, behind its title.
fn during(outcome: &Outcome) -> String {
    if outcome.during.is_empty() { String::new() } else { format!(", during {}", outcome.during) }
}

/// Other rules that show a finding, if there are any.
fn others(finding: &Finding) -> Option<String> {
    let shortest = finding.shortest.experiment.text();
    let others: Vec<&str> =
        finding.rules.iter().map(String::as_str).filter(|rule| *rule != shortest).collect();
    let named = others.iter().take(RULES).copied().collect::<Vec<_>>().join(", ");
    let more = others.len().saturating_sub(RULES);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    (!others.is_empty()).then(|| named + &more)
}

/// What the kernel said of an experiment, explained; with the colours of a terminal.
fn explained(outcome: &Outcome) -> io::Result<String> {
    let reports = trapline_explain::read(&outcome.log);
    let mut text = Vec::new();
    if let Some(report) = reports.first().and_then(|at| reports.kernel.get(at)) {
        words::report(&mut text, &report.explain(&NoSources))?;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::campaign::tests::{about, campaign, run};
    use super::super::experiment::Lie;
    use super::*;

    /// What a kernel says of a read of nothing.
    pub(super) const OOPS: &str = "BUG: kernel NULL pointer dereference, address: 0000000000000008\n\
        #PF: supervisor read access in kernel mode\n#PF: error_code(0x0000) - not-present page\n\
        Oops: 0000 [#1] PREEMPT SMP PTI\nRIP: 0010:edu_read+0x12/0x40 [edu]\n";

    pub(super) fn found() -> Campaign {
        let mut campaign = campaign();
        campaign.push(run("ID ones", Lie::Ones, Trouble::Fine, None));
        campaign.push(run("STATUS ones", Lie::Ones, Trouble::Stuck, Some("unit_wait")));
        campaign.push(run("STATUS ones at 5", Lie::Ones, Trouble::Stuck, Some("unit_wait")));
        campaign.push(run("STATUS = 0", Lie::Zero, Trouble::Failed, None));
        campaign
    }

    #[test]
    fn a_command_that_repeats_is_one_that_a_shell_reads_as_it_was() {
        let experiment =
            Experiment { rules: vec!["A = 0".into(), "* gone".into()], place: None, lie: Lie::Several };
        let about =
            About { registers: vec!["my files/x.toml".into()], limit: Some(1500), yes: true, ..about() };
        let words = shlex::split(&command(&about, &experiment)).unwrap();
        assert_eq!(
            words[2..],
            [
                "--device",
                "0000:00:01.0",
                "--try",
                "A = 0",
                "--try",
                "* gone",
                "--registers",
                "my files/x.toml",
                "--limit",
                "1500ms",
                "--yes",
                "--seed",
                "7",
                "--",
                "cat",
                "/dev/edu one"
            ]
        );
    }
}
