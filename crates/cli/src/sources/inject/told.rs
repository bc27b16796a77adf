//! What an injection has come to: a table with a line for each rule.

use std::fmt::Write;

use crate::style::{BAD, STRONG};

/// What a rule counted, in all places that it is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Accesses that are as the rule says: where, by whom, since when.
    pub(super) matched: u64,
    /// Those that it was applied to.
    pub(super) applied: u64,
    /// Those that it could not be applied to.
    pub(super) impossible: u64,
}

/// The table. Of each rule its text and what it counted, which may not be to be had.
pub(super) fn table(rules: &[(&str, Option<Counts>)], seed: u64) -> String {
    let is_possible = rules.iter().all(|(_, counts)| counts.is_none_or(|counts| counts.impossible == 0));
    let mut table = format!("{STRONG}injected, seed {seed}{STRONG:#}\n{:>12} {:>12}", "matched", "lies");
    // Writing into a text does not fail.
    let _ = writeln!(
        table,
        "{}  rule",
        if is_possible { String::new() } else { format!(" {:>12}", "not possible") }
    );
    for (text, counts) in rules {
        let Some(Counts { matched, applied, impossible }) = *counts else {
            let _ = writeln!(table, "{:>12} {:>12}  {text}  {BAD}the module did not tell{BAD:#}", "?", "?");
            continue;
        };
        let impossible = if is_possible { String::new() } else { format!(" {impossible:>12}") };
        let _ = write!(table, "{matched:>12} {applied:>12}{impossible}  {text}");
        let _ = match (matched, applied) {
            (0, _) => writeln!(table, "  {BAD}never applied: there was no such access{BAD:#}"),
            (_, 0) => writeln!(table, "  {BAD}never applied, to none of these accesses{BAD:#}"),
            _ => writeln!(table),
        };
    }
    if !is_possible {
        table.push_str(
            "not possible: the CPU made the access by itself, so that nothing of it could be changed\n",
        );
    }
    table.truncate(table.trim_end().len());
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(rules: &[(&str, Option<Counts>)]) -> String {
        anstream::adapter::strip_str(&table(rules, 7)).to_string()
    }

    #[test]
    fn each_rule_has_its_counts_and_one_that_never_applied_is_told_plainly() {
        let counts = |matched, applied| Some(Counts { matched, applied, impossible: 0 });
        let text = plain(&[
            ("STATUS ones", counts(120, 118)),
            ("* gone from 9", counts(8, 0)),
            ("CTRL drop", counts(0, 0)),
            ("CTRL twice", None),
        ]);
        assert_eq!(
            text,
            "injected, seed 7
     matched         lies  rule
         120          118  STATUS ones
           8            0  * gone from 9  never applied, to none of these accesses
           0            0  CTRL drop  never applied: there was no such access
           ?            ?  CTRL twice  the module did not tell"
        );
    }

    #[test]
    fn what_could_not_be_changed_has_a_column_if_there_is_any() {
        let text = plain(&[("* gone", Some(Counts { matched: 5, applied: 3, impossible: 2 }))]);
        assert!(text.contains("matched         lies not possible  rule"), "{text}");
        assert!(
            text.contains("\n           5            3            2  * gone\nnot possible: the CPU"),
            "{text}"
        );
    }
}
