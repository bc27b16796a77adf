//! The rows of `docs/soundness.md`: one for each promise.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::workspace;

/// How the head of a table of promises begins.
const HEAD: &str = "| row | threat |";

/// A promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Its first cell, without the backticks.
    pub(super) name: String,
    /// What it is a defence against.
    pub(super) threat: String,
}

/// The rows of the page as it is.
pub(super) fn read() -> Result<Vec<Row>> {
    let page = workspace::root().join("docs/soundness.md");
    let text = fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    let mut inside = false;
    for (number, line) in (1..).zip(text.lines()) {
        let is_row = inside && line.starts_with('|');
        inside = is_row || line.starts_with(HEAD);
        if !is_row || line.starts_with("|-") {
            continue;
        }
        let mut cells = line.split('|').map(str::trim).skip(1);
        let first = cells.next().unwrap_or_default();
        let name = first.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).with_context(|| {
            format!("docs/soundness.md:{number}: the row begins with `{first}`, not with a name in backticks")
        })?;
        ensure!(
            rows.iter().all(|row| row.name != name),
            "docs/soundness.md:{number}: a second row is called `{name}`"
        );
        let threat = cells.next().unwrap_or_default().to_owned();
        rows.push(Row { name: name.to_owned(), threat });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_from_the_tables_of_promises_alone() {
        let text = "| row | threat | tests |\n|---|---|---|\n| `one` | A threat | t |\n\n\
                    | crate | figures |\n|---|---|\n| abi | 7 |\n";
        assert_eq!(parse(text).unwrap(), [Row { name: "one".to_owned(), threat: "A threat".to_owned() }]);
    }

    #[test]
    fn a_row_without_a_name_and_a_name_given_twice_are_errors_that_tell_the_line() {
        let error = parse("| row | threat |\n|---|---|\n| A threat | t |\n").unwrap_err().to_string();
        assert!(error.contains("soundness.md:3") && error.contains("`A threat`"), "{error}");
        let error = parse("| row | threat |\n|---|---|\n| `a` | x |\n| `a` | y |\n").unwrap_err().to_string();
        assert!(error.contains("soundness.md:4") && error.contains("`a`"), "{error}");
    }
}
