//! What a campaign has come to, as a page for a browser: one file, without scripts, that needs
//! nothing else.

use std::io::{self, Write};

use anstream::adapter::strip_str;
use askama::Template;

use super::{NO_RESET, command, during, explained, figures, others, places, plural, title, told};
use crate::harden::campaign::{About, Campaign, Finding};
use crate::harden::experiment::{Experiment, Lie};
use crate::harden::outcome::Trouble;

/// Fills in the page.
#[derive(Template)]
#[template(path = "harden.html")]
struct Page<'a> {
    style: &'static str,
    about: &'a About,
    figures: String,
    /// What a person has to know of all of it.
    notes: Vec<&'static str>,
    lies: Vec<&'static str>,
    rows: Vec<Register<'a>>,
    findings: Vec<Shown>,
    experiments: Vec<Tried<'a>>,
}

/// A row of the table.
struct Register<'a> {
    place: &'a str,
    reads: u64,
    cells: Vec<Cell>,
}

/// The worst that came of one kind of lie at one register.
#[derive(Default)]
struct Cell {
    name: &'static str,
    class: &'static str,
    /// The rule, and what came of it.
    hint: String,
    /// The number of the finding.
    finding: Option<usize>,
}

/// A finding.
struct Shown {
    number: usize,
    title: String,
    during: String,
    rule: String,
    shown: usize,
    /// `3 times`
    tried: String,
    others: Option<String>,
    again: String,
    explained: String,
    log: String,
}

/// An experiment.
struct Tried<'a> {
    number: usize,
    rule: String,
    result: &'static str,
    class: &'static str,
    function: &'a str,
    lies: u64,
    seconds: String,
}

/// How bad it is, for the style sheet.
fn class(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Untold | Trouble::Refused => "none",
        Trouble::Fine | Trouble::Failed => "good",
        Trouble::Late | Trouble::Warning => "warning",
        _ => "bad",
    }
}

/// Writes it.
pub(crate) fn page(out: &mut impl Write, campaign: &Campaign) -> io::Result<()> {
    let about = &campaign.about;
    let found = campaign.findings();
    let mut findings = Vec::new();
    for (number, finding) in (1..).zip(&found) {
        findings.push(shown(number, finding, about)?);
    }
    let cell = |place: &str, lie| cell(campaign, &found, place, lie);
    let row = |(place, reads)| {
        let cells = Lie::COLUMNS.iter().map(|lie| cell(place, *lie)).collect();
        Register { place, reads, cells }
    };
    let experiments = (1..).zip(campaign.runs()).map(|(number, run)| Tried {
        number,
        rule: run.experiment.text(),
        result: run.outcome.trouble.name(),
        class: class(run.outcome.trouble),
        function: run.outcome.function.as_deref().unwrap_or_default(),
        lies: run.outcome.lies,
        seconds: format!("{:.1}", run.outcome.took().as_secs_f64()),
    });
    let page = Page {
        style: include_str!("../../../templates/harden.css"),
        about,
        figures: figures(campaign, found.len()),
        notes: if about.can_reset { Vec::new() } else { vec![NO_RESET] },
        lies: Lie::COLUMNS.iter().map(|lie| lie.name()).collect(),
        rows: places(campaign).into_iter().map(row).collect(),
        findings,
        experiments: experiments.collect(),
    };
    page.write_into(out).map_err(io::Error::other)
}

fn shown(number: usize, finding: &Finding, about: &About) -> io::Result<Shown> {
    let Finding { shortest, tried, shown, .. } = finding;
    Ok(Shown {
        number,
        title: title(finding),
        during: during(&shortest.outcome),
        rule: shortest.experiment.text(),
        shown: *shown,
        tried: plural(*tried, "time"),
        others: others(finding),
        again: command(about, &shortest.experiment),
        explained: strip_str(&explained(&shortest.outcome)?).to_string(),
        log: shortest.outcome.log.clone(),
    })
}

fn cell(campaign: &Campaign, findings: &[Finding], place: &str, lie: Lie) -> Cell {
    let Some(worst) = campaign.worst(place, lie) else { return Cell::default() };
    let is_it = |experiment: &Experiment| experiment.place.as_deref() == Some(place) && experiment.lie == lie;
    let mut runs = campaign.runs().iter().filter(|run| is_it(&run.experiment));
    let Some(run) = runs.find(|run| run.outcome.trouble == worst) else { return Cell::default() };
    let is_of = |finding: &Finding| {
        (finding.trouble, &finding.function) == (run.outcome.trouble, &run.outcome.function)
    };
    Cell {
        name: worst.name(),
        class: class(worst),
        hint: format!("{}: {}", run.experiment.text(), told(worst)),
        finding: findings.iter().position(is_of).map(|at| at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{OOPS, found};
    use super::*;
    use crate::harden::campaign::Run;
    use crate::harden::campaign::tests::run;
    use crate::harden::outcome::Outcome;

    #[test]
    fn a_page_has_the_table_each_finding_and_each_experiment_and_lets_nothing_through_as_it_is() {
        let mut campaign = found();
        let oops = run("ID ones at 2", Lie::Ones, Trouble::Oops, Some("<edu>"));
        let outcome = Outcome { log: format!("<script>\n{OOPS}"), ..oops.outcome.clone() };
        campaign.push(Run { outcome, ..oops });
        let mut page = Vec::new();
        super::page(&mut page, &campaign).unwrap();
        let page = String::from_utf8(page).unwrap();
        for part in [
            "<td class=\"bad\" title=\"STATUS ones: a task that could not be ended while the device lied\">",
            "<h3 id=\"finding-1\">",
            "the kernel oopsed in &#60;edu&#62;",
            "trapline harden --device 0000:00:01.0 --try &#39;STATUS ones&#39; --seed 7",
            "edu_read+0x12",
            "<dd>1 of 1 time</dd>",
            "&#60;script&#62;",
            "<td class=\"good\">failed</td>",
        ] {
            assert!(page.contains(part), "no `{part}`:\n{page}");
        }
        assert!(!page.contains("<script>") && !page.contains('\u{1b}'), "{page}");
        assert_eq!(page.matches("<h3 id=").count(), campaign.findings().len());
        // A register that is named in the table leads to what was found at it.
        assert!(page.contains("<a href=\"#finding-1\">"), "{page}");
    }
}
