//! A report as a page: one HTML file that needs no network, to look at with a browser.
//!
//! What is counted is what the text tells, from the same [`Summary`]; the text itself is on the
//! page too, so it can be read without scripts, and so that each kind of event has its tables
//! there. Beside it there is the [`Timeline`], which the page's script shows, filters and counts
//! again for what is looked at.
//!
//! A trace holds what others chose: a task may call itself `</script>`. All texts go through the
//! template's escaping, what the script is given is JSON without `<`, `>`, `&` and `'`, and the
//! script makes no HTML of texts. The page forbids itself the network, whatever is in it.

mod data;
mod shown;
mod timeline;

use std::collections::BTreeMap;
use std::io::{self, Write};

use askama::Template;

use super::page::{Page, function, task};
use super::{Activity, Count, Section, Summary, Verdict};
use crate::Header;
use data::{Causes, Data};
pub(crate) use shown::Shown;
pub(crate) use timeline::Timeline;

/// Rows of each table of the text.
const ROWS: usize = 100;

/// The script, whose parts share their names.
const SCRIPT: &str = concat!(
    include_str!("../../../templates/model.js"),
    include_str!("../../../templates/timeline.js"),
    include_str!("../../../templates/values.js"),
    include_str!("../../../templates/tables.js"),
    include_str!("../../../templates/main.js"),
);
const STYLE: &str = include_str!("../../../templates/report.css");

/// What the page is made of.
#[derive(Template)]
#[template(path = "report.html")]
struct Whole<'p> {
    style: &'static str,
    script: &'static str,
    /// What the trace is called.
    name: &'p str,
    title: String,
    header: &'p Header,
    /// When the trace was taken: milliseconds since 1970; 0 if that is not known.
    started: u64,
    verdict: Verdict,
    /// What is wrong with it besides.
    problem: Option<&'p str>,
    is_empty: bool,
    text: String,
    picture: Option<String>,
    data: Data,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum HtmlError {
    /// Nothing was kept of what happened when.
    #[error("a page needs the timeline, which was not kept")]
    NoTimeline,
    /// It can't be written.
    #[error(transparent)]
    Write(#[from] io::Error),
}

impl Summary {
    /// Writes the report as a page to `out`: one HTML file, of at most some 20 MB, whatever the
    /// trace. `name` is what the trace is called, `header` its own, `problem` something that is
    /// wrong with it and that the summary does not know.
    ///
    /// # Errors
    /// Those of `out`; the summary was made without [`with_timeline`](Self::with_timeline).
    pub fn write_html(
        &mut self,
        out: &mut impl Write,
        name: &str,
        header: &Header,
        problem: Option<&str>,
    ) -> Result<(), HtmlError> {
        let mut timeline = self.timeline.take().ok_or(HtmlError::NoTimeline)?;
        timeline.finish();
        let written = self.page(&timeline, name, header, problem).write_into(out);
        self.timeline = Some(timeline);
        Ok(written?)
    }

    fn page<'p>(
        &self,
        timeline: &Timeline,
        name: &'p str,
        header: &'p Header,
        problem: Option<&'p str>,
    ) -> Whole<'p> {
        let sections = self.tallies.sections();
        let mut text = Vec::new();
        let mut page = Page { out: &mut text, rows: ROWS, texts: &self.texts, colour: false };
        let told = self.told(&sections);
        // Writing to memory does not fail.
        let _ = told.iter().try_for_each(|section| section.tables(&mut page));
        let _ = self.together.tables(&mut page);
        let causes = Causes {
            functions: whole(&told, |activity| named(activity.functions(&self.texts), function)),
            tasks: whole(&told, |activity| named(activity.tasks(&self.texts), task)),
        };
        Whole {
            style: STYLE,
            script: SCRIPT,
            name,
            title: self.title(&sections),
            header,
            started: header.started / 1_000_000,
            verdict: self.verdict(&sections),
            problem,
            is_empty: self.events == 0,
            text: String::from_utf8_lossy(&text).trim_start_matches('\n').into(),
            picture: self.picture(),
            data: Data::new(timeline, &self.registers(), causes, &self.texts),
        }
    }
}

/// Counts by name.
fn named(counts: Vec<Count<'_>>, name: fn(&Count<'_>) -> String) -> Vec<(String, u64)> {
    counts.iter().map(|count| (name(count), count.count)).collect()
}

/// Counts of all kinds of events together, the most frequent first.
fn whole(sections: &[&dyn Section], counts: impl Fn(&Activity) -> Vec<(String, u64)>) -> Vec<(String, u64)> {
    let mut all = BTreeMap::<String, u64>::new();
    for (name, count) in sections.iter().filter_map(|section| section.activity()).flat_map(counts) {
        *all.entry(name).or_default() += count;
    }
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    all
}
