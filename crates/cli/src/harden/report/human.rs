//! What a campaign has come to, in a terminal.

use std::io::{self, Write};

use anstyle::Style;

use super::{NO_RESET, command, during, explained, figures, others, places, plural, title};
use crate::harden::campaign::{About, Campaign, Finding};
use crate::harden::experiment::Lie;
use crate::harden::outcome::Trouble;
use crate::style::{BAD, GOOD, STRONG, WARNING};
use crate::table::{self, Side};

/// The style of a cell.
pub(crate) fn style(trouble: Option<Trouble>) -> Style {
    match trouble {
        None | Some(Trouble::Untold | Trouble::Refused) => Style::new(),
        Some(Trouble::Fine | Trouble::Failed) => GOOD,
        Some(Trouble::Late | Trouble::Warning) => WARNING,
        Some(_) => BAD,
    }
}

/// Writes it for a person; colours are taken away where they don't belong by `out` itself.
pub(crate) fn human(out: &mut impl Write, campaign: &Campaign) -> io::Result<()> {
    let About { device, driver, kernel, seed, can_reset, .. } = &campaign.about;
    writeln!(out, "{STRONG}{driver} on {device}{STRONG:#}, kernel {kernel}, seed {seed}")?;
    let findings = campaign.findings();
    writeln!(out, "{}", figures(campaign, findings.len()))?;
    if !can_reset {
        writeln!(out, "{NO_RESET}")?;
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
    let places = places(campaign);
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
    let Finding { shortest, tried, shown, .. } = finding;
    let outcome = &shortest.outcome;
    let (title, during) = (title(finding), during(outcome));
    writeln!(out, "{BAD}finding {number}{BAD:#}: {STRONG}{title}{STRONG:#}{during}")?;
    writeln!(out, "  rule     {}", shortest.experiment.text())?;
    writeln!(out, "  shown    {shown} of {}", plural(*tried, "time"))?;
    if let Some(others) = others(finding) {
        writeln!(out, "  also by  {others}")?;
    }
    writeln!(out, "  again    {}", command(about, &shortest.experiment))?;
    for line in explained(outcome)?.lines() {
        writeln!(out, "{}", format!("    {line}").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use std::time::Duration;

    use super::super::tests::found;
    use super::*;
    use crate::harden::campaign::Run;
    use crate::harden::campaign::tests::run;
    use crate::harden::outcome::refused;

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
    fn rules_that_were_refused_have_a_mark_of_their_own_and_are_no_finding() {
        let mut campaign = found();
        let refused = refused("no such bit".into(), Duration::ZERO);
        campaign.push(Run { outcome: refused, ..run("ID = 0", Lie::Zero, Trouble::Fine, None) });
        let mut text = Vec::new();
        human(&mut text, &campaign).unwrap();
        let text = String::from_utf8(anstream::adapter::strip_bytes(&text).into_vec()).unwrap();
        assert!(text.contains("ID            1  fine   refused\n"), "{text}");
        assert_eq!(campaign.findings().len(), 1);
    }
}
