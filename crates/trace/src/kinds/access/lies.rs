//! What was made of accesses: values changed, reads supplied, writes dropped or repeated, by a rule
//! of injection or by a handler. What each of them is called, and what a report counts of them.

use std::io;

use serde::{Deserialize, Serialize};
use trapline_abi::{Change, Flags};

use super::{Access, Direction, Value};
use crate::report::Page;
use crate::write::grouped;

/// Rules that changed what was watched, and their seed: with both a run can be repeated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injected {
    /// The rules, as a person types them, in their order.
    pub rules: Vec<String>,
    /// What random values and chances were made from.
    pub seed: u64,
}

/// Name of a change in files and in JSON.
pub(super) fn change_name(change: Change) -> Option<&'static str> {
    match change {
        Change::None => None,
        Change::Known | Change::Unknown => Some("changed"),
        Change::Repeated => Some("repeated"),
    }
}

/// The change with this name, of a value that was `original` before, if that is told.
pub(super) fn change_from_name(name: Option<&str>, original: Option<Value>) -> Option<Change> {
    Some(match (name, original) {
        (None, _) => Change::None,
        (Some("changed"), Some(_)) => Change::Known,
        (Some("changed"), None) => Change::Unknown,
        (Some("repeated"), _) => Change::Repeated,
        _ => return None,
    })
}

/// What was made of an access, for a person; nothing of one that was left as it was.
pub(super) fn remark(access: &Access<'_>) -> Option<String> {
    let mut remarks = Vec::new();
    if access.flags.has(Flags::SUPPLIED) {
        remarks.push("supplied, the device was not read".into());
    }
    if access.flags.has(Flags::DROPPED) {
        remarks.push("dropped, the device was not written".into());
    }
    match (access.change, access.direction, access.original) {
        (Change::None, ..) => {}
        (Change::Repeated, ..) => remarks.push("repeated".into()),
        (_, Direction::Read, Some(value)) => remarks.push(format!("changed, the device said {value}")),
        (_, Direction::Write, Some(value)) => remarks.push(format!("changed, the driver wrote {value}")),
        (_, _, None) => remarks.push("changed".into()),
    }
    (!remarks.is_empty()).then(|| remarks.join(", "))
}

/// How often what was made of the accesses to one register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lies {
    /// Reads that got another value than the device said.
    pub reads_changed: u64,
    /// Reads that got a value without the device being read.
    pub reads_supplied: u64,
    /// Writes whose value was changed.
    pub writes_changed: u64,
    /// Writes that did not reach the device.
    pub writes_dropped: u64,
    /// Writes that the driver did not make.
    pub writes_repeated: u64,
}

impl Lies {
    pub(super) fn add(&mut self, access: &Access<'_>) {
        let is_read = access.direction == Direction::Read;
        let is_changed = matches!(access.change, Change::Known | Change::Unknown);
        self.reads_changed += u64::from(is_read && is_changed);
        self.reads_supplied += u64::from(access.flags.has(Flags::SUPPLIED));
        self.writes_changed += u64::from(!is_read && is_changed);
        self.writes_dropped += u64::from(access.flags.has(Flags::DROPPED));
        self.writes_repeated += u64::from(access.change == Change::Repeated);
    }

    fn counts(&self) -> [u64; 5] {
        let Self { reads_changed, reads_supplied, writes_changed, writes_dropped, writes_repeated } = *self;
        [reads_changed, reads_supplied, writes_changed, writes_dropped, writes_repeated]
    }

    /// How many of all kinds.
    pub fn all(&self) -> u64 {
        self.counts().iter().sum()
    }
}

/// Writes the rules that a trace was taken under.
pub(super) fn rules(injected: &Injected, page: &mut Page<'_>) -> io::Result<()> {
    page.dim(&format!("\nrules, seed {}", injected.seed))?;
    for (number, rule) in (1..).zip(&injected.rules).take(page.rows) {
        writeln!(page.out, "{number:>12}  {}", crate::write::printable(rule))?;
    }
    page.rest(injected.rules.len(), "rules")
}

/// Writes the table of what was made of the accesses to each register, the most changed first.
pub(super) fn table(mut rows: Vec<(Lies, String, &str)>, page: &mut Page<'_>) -> io::Result<()> {
    rows.retain(|(lies, ..)| lies.all() > 0);
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_by(|(a, place, _), (b, other, _)| b.all().cmp(&a.all()).then_with(|| place.cmp(other)));
    page.dim(&format!(
        "\n{:>13} {:>14} {:>14} {:>14} {:>15}  {:24} {}",
        "reads changed",
        "reads supplied",
        "writes changed",
        "writes dropped",
        "writes repeated",
        "device bar+offset",
        "register"
    ))?;
    for (lies, place, register) in rows.iter().take(page.rows) {
        let [a, b, c, d, e] = lies.counts().map(grouped);
        let line = format!("{a:>13} {b:>14} {c:>14} {d:>14} {e:>15}  {place:24} {register}");
        writeln!(page.out, "{}", line.trim_end())?;
    }
    page.rest(rows.len(), "registers with lies")
}
