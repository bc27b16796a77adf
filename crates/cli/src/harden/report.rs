//! What a campaign has come to, for a person and for programs.

use std::io::{self, Write};

use anstyle::Style;
use serde_json::{Value, json};
use trapline_explain::NoSources;

use super::campaign::{About, Campaign, Finding};
use super::experiment::{Experiment, Lie};
use super::outcome::Trouble;
use crate::explain::words;
use crate::style::{BAD, GOOD, STRONG, WARNING};
use crate::table::{self, Side};

/// Rules of a finding that are named, beside the shortest.
const RULES: usize = 5;

/// The style of a cell.
pub(super) fn style(trouble: Option<Trouble>) -> Style {
    match trouble {
        None | Some(Trouble::Untold | Trouble::Refused) => Style::new(),
        Some(Trouble::Fine | Trouble::Failed) => GOOD,
        Some(Trouble::Late | Trouble::Warning) => WARNING,
        Some(_) => BAD,
    }
}

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

/// Counts something in words.
fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Writes it for a person; colours are taken away where they don't belong by `out` itself.
pub(crate) fn human(out: &mut impl Write, campaign: &Campaign) -> io::Result<()> {
    let About { device, driver, kernel, seed, can_reset, .. } = &campaign.about;
    writeln!(out, "{STRONG}{driver} on {device}{STRONG:#}, kernel {kernel}, seed {seed}")?;
    let findings = campaign.findings();
    // Rules that a person gave were tried without looking what is read.
    if !campaign.sites.is_empty() {
        let reads: u64 = campaign.sites.iter().map(|site| site.reads).sum();
        write!(out, "{reads} reads at {}; ", plural(campaign.sites.len(), "site"))?;
    }
    writeln!(
        out,
        "{} in {}; {}",
        plural(campaign.runs().len(), "experiment"),
        humantime::format_duration(std::time::Duration::from_secs(campaign.spent().as_secs())),
        plural(findings.len(), "finding"),
    )?;
    if !can_reset {
        writeln!(out, "the device can't be reset by itself: its driver was only bound anew")?;
    }
    if !campaign.sites.is_empty() {
        writeln!(out)?;
        matrix(out, campaign)?;
    }
    for (number, finding) in (1..).zip(&findings) {
        writeln!(out)?;
        one(out, number, finding, &campaign.about)?;
    }
    Ok(())
}

/// Registers against lies.
fn matrix(out: &mut impl Write, campaign: &Campaign) -> io::Result<()> {
    let mut places: Vec<(&str, u64)> = Vec::new();
    for site in &campaign.sites {
        match places.iter_mut().find(|(place, _)| *place == site.place) {
            Some((_, reads)) => *reads += site.reads,
            None => places.push((&site.place, site.reads)),
        }
    }
    let cells: Vec<Vec<Option<Trouble>>> = places
        .iter()
        .map(|(place, _)| Lie::COLUMNS.iter().map(|lie| campaign.worst(place, *lie)).collect())
        .collect();
    const HEAD: usize = 2;
    const WIDTH: usize = HEAD + Lie::COLUMNS.len();
    let titles: [(&str, Side); WIDTH] = std::array::from_fn(|column| match column {
        0 => ("register", Side::Left),
        1 => ("reads", Side::Right),
        _ => (Lie::COLUMNS.get(column - HEAD).map_or("", |lie| lie.name()), Side::Left),
    });
    let cell = |row: usize, column: usize| {
        column.checked_sub(HEAD).and_then(|column| *cells.get(row)?.get(column)?)
    };
    let rows: Vec<[String; WIDTH]> = (0..)
        .zip(&places)
        .map(|(row, (place, reads))| {
            std::array::from_fn(|column| match column {
                0 => (*place).to_owned(),
                1 => reads.to_string(),
                _ => cell(row, column).map_or("", Trouble::name).to_owned(),
            })
        })
        .collect();
    table::write_styled(out, STRONG, titles, &rows, |row, column| style(cell(row, column)))
}

/// A finding.
fn one(out: &mut impl Write, number: usize, finding: &Finding, about: &About) -> io::Result<()> {
    let Finding { trouble, function, shortest, tried, shown, rules } = finding;
    let place = function.as_ref().map(|function| format!(" in {function}")).unwrap_or_default();
    let outcome = &shortest.outcome;
    let during =
        if outcome.during.is_empty() { String::new() } else { format!(", during {}", outcome.during) };
    writeln!(out, "{BAD}finding {number}{BAD:#}: {STRONG}{}{place}{STRONG:#}{during}", told(*trouble))?;
    writeln!(out, "  rule     {}", shortest.experiment.text())?;
    writeln!(out, "  shown    {shown} of {}", plural(*tried, "time"))?;
    let others: Vec<&String> = rules.iter().filter(|rule| **rule != shortest.experiment.text()).collect();
    if !others.is_empty() {
        let named: Vec<&str> = others.iter().take(RULES).map(|rule| rule.as_str()).collect();
        let more =
            if others.len() > RULES { format!(", and {} more", others.len() - RULES) } else { String::new() };
        writeln!(out, "  also by  {}{more}", named.join(", "))?;
    }
    writeln!(out, "  again    {}", command(about, &shortest.experiment))?;
    let reports = trapline_explain::read(&outcome.log);
    if let Some(report) = reports.first().and_then(|at| reports.kernel.get(at)) {
        let mut text = Vec::new();
        words::report(&mut text, &report.explain(&NoSources))?;
        for line in String::from_utf8_lossy(&text).lines() {
            writeln!(out, "{}", format!("    {line}").trim_end())?;
        }
    }
    Ok(())
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

/// All of it, for programs.
pub(crate) fn json(campaign: &Campaign) -> Value {
    let experiments = campaign.runs().iter().map(|run| {
        let outcome = &run.outcome;
        json!({
            "rules": run.experiment.rules,
            "register": run.experiment.place,
            "lie": run.experiment.lie.name(),
            "result": outcome.trouble,
            "function": outcome.function,
            "during": outcome.during,
            "status": outcome.status,
            "lies": outcome.lies,
            "said": outcome.said,
            "milliseconds": outcome.took,
        })
    });
    let findings = campaign.findings();
    let findings = findings.iter().map(|finding| {
        let Finding { trouble, function, shortest, tried, shown, rules } = finding;
        let reports = trapline_explain::read(&shortest.outcome.log);
        let report = reports.first().and_then(|at| reports.kernel.get(at));
        json!({
            "result": trouble,
            "function": function,
            "rules": shortest.experiment.rules,
            "tried": tried,
            "shown": shown,
            "all": rules,
            "again": command(&campaign.about, &shortest.experiment),
            "report": report.map(|report| report.to_json(&NoSources)),
        })
    });
    json!({
        "campaign": campaign.about,
        "sites": campaign.sites,
        "milliseconds": campaign.spent().as_millis() as u64,
        "planned": campaign.planned(),
        "experiments": experiments.collect::<Vec<_>>(),
        "findings": findings.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use std::time::Duration;

    use super::super::campaign::Run;
    use super::super::campaign::tests::{about, campaign, run};
    use super::super::outcome::refused;
    use super::*;

    fn found() -> Campaign {
        let mut campaign = campaign();
        campaign.push(run("ID ones", Lie::Ones, Trouble::Fine, None));
        campaign.push(run("STATUS ones", Lie::Ones, Trouble::Stuck, Some("unit_wait")));
        campaign.push(run("STATUS ones at 5", Lie::Ones, Trouble::Stuck, Some("unit_wait")));
        campaign.push(run("STATUS = 0", Lie::Zero, Trouble::Failed, None));
        campaign
    }

    #[test]
    fn a_report_has_registers_against_lies_and_each_finding_with_what_repeats_it() {
        let mut text = Vec::new();
        human(&mut text, &found()).unwrap();
        let text = anstream::adapter::strip_bytes(&text).into_vec();
        expect![[r#"
            edu on 0000:00:01.0, kernel 6.1, seed 7
            6 reads at 2 sites; 4 experiments in 4s; 1 finding
            the device can't be reset by itself: its driver was only bound anew

            register  reads  ones   zero    flip  stuck  stale  never  random  gone
            ID            1  fine
            STATUS        5  stuck  failed

            finding 1: a task that could not be ended while the device lied in unit_wait
              rule     STATUS ones
              shown    1 of 1 time
              also by  STATUS ones at 5
              again    trapline harden --device 0000:00:01.0 --try 'STATUS ones' --seed 7 -- cat '/dev/edu one'
        "#]]
        .assert_eq(&String::from_utf8(text).unwrap());
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

    #[test]
    fn rules_that_were_refused_have_a_mark_of_their_own_and_are_no_finding() {
        let mut campaign = found();
        let refused = refused("no such bit".into(), Duration::ZERO);
        campaign.push(Run { outcome: refused, ..run("ID = 0", Lie::Zero, Trouble::Fine, None) });
        let mut text = Vec::new();
        human(&mut text, &campaign).unwrap();
        let text = String::from_utf8(anstream::adapter::strip_bytes(&text).into_vec()).unwrap();
        assert!(text.contains("ID            1  fine   refused\n"), "{text}");
        let json = json(&campaign);
        let told = &json["experiments"][4];
        assert_eq!((&told["result"], &told["said"]), (&"refused".into(), &"no such bit".into()));
        assert_eq!(json["findings"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn programs_get_the_same() {
        let json = json(&found());
        assert_eq!(json["findings"][0]["rules"][0], "STATUS ones");
        assert_eq!(json["experiments"][3]["result"], "failed");
        assert_eq!((&json["campaign"]["seed"], &json["milliseconds"]), (&7.into(), &4000.into()));
    }
}
