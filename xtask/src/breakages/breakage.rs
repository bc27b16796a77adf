//! One breakage: a file of `breakages/`.
//!
//! A change is an exact text and what stands there instead, not a diff: a diff carries line numbers
//! and surrounding lines, and fails (or worse, applies to another place) when those change. An
//! exact text that must be found exactly once survives everything but a change of itself, and then
//! says so.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::workspace;

/// A change that breaks one defence.
#[derive(Clone, Debug)]
pub(super) struct Breakage {
    /// The file's name without `.toml`.
    pub(super) name: String,
    /// The row of `docs/soundness.md` whose defence it breaks.
    pub(super) row: String,
    /// What is broken, as a sentence.
    pub(super) breaks: String,
    /// What must fail then.
    pub(super) test: Test,
    /// What the failing test must say; empty if any failure will do.
    pub(super) says: String,
    replace: Vec<Replacement>,
}

/// What must fail.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Test {
    /// A `cargo test` command line whose last word is the full name of one test.
    Command(String),
    /// A scenario of `cargo xtask test`, as `--list` names it.
    Scenario(String),
}

/// A text that stands in a file exactly once, and what stands there instead.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replacement {
    file: String,
    find: String,
    with: String,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    row: String,
    breaks: String,
    test: Option<String>,
    scenario: Option<String>,
    #[serde(default)]
    says: String,
    replace: Vec<Replacement>,
}

/// Every breakage, by name.
pub(super) fn read() -> Result<Vec<Breakage>> {
    let folder = workspace::root().join("breakages");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    paths.iter().map(|path| Breakage::read(path)).collect()
}

impl Breakage {
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Self::parse(&name, &text).with_context(|| format!("{} is no breakage", path.display()))
    }

    fn parse(name: &str, text: &str) -> Result<Self> {
        let Written { row, breaks, test, scenario, says, replace } = toml::from_str(text)?;
        let test = match (test, scenario) {
            (Some(line), None) => Test::Command(line),
            (None, Some(name)) => Test::Scenario(name),
            _ => bail!("it names either a `test` or a `scenario`"),
        };
        ensure!(
            matches!(test, Test::Command(_)) || !says.is_empty(),
            "a scenario fails for many reasons: `says` must hold a text of the one that is meant"
        );
        ensure!(!replace.is_empty(), "it replaces nothing");
        Ok(Self { name: name.to_owned(), row, breaks, test, says, replace })
    }

    /// The files that it changes in the tree under `root`, and what they hold then.
    ///
    /// # Errors
    /// A text is not found, or more than once: the code has changed, and the breakage must follow.
    pub(super) fn applied(&self, root: &Path) -> Result<Vec<(PathBuf, String)>> {
        let mut changed: Vec<(PathBuf, String)> = Vec::new();
        for Replacement { file, find, with } in &self.replace {
            let path = root.join(file);
            let known = changed.iter().position(|(of, _)| *of == path);
            let index = match known {
                Some(index) => index,
                None => {
                    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {file}"))?;
                    changed.push((path, text));
                    changed.len() - 1
                }
            };
            let text = &mut changed[index].1;
            let found = text.matches(find.as_str()).count();
            ensure!(found == 1, "{file} holds the text to replace {found} times, not once:\n{find}");
            *text = text.replacen(find.as_str(), with, 1);
        }
        Ok(changed)
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(line) => f.write_str(line),
            Self::Scenario(name) => write!(f, "cargo xtask test --only \"{name}\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "row = 'r'\nbreaks = 'b'\n";
    const CHANGE: &str = "[[replace]]\nfile = 'f'\nfind = 'two'\nwith = '2'\n";

    #[test]
    fn a_text_is_replaced_if_it_is_there_exactly_once() {
        let folder = tempfile::tempdir().unwrap();
        let breakage = Breakage::parse("n", &format!("{HEAD}test = 'cargo test a::b'\n{CHANGE}")).unwrap();
        for (text, expected) in
            [("one two", Ok("one 2")), ("one", Err("0 times")), ("two two", Err("2 times"))]
        {
            fs::write(folder.path().join("f"), text).unwrap();
            match (breakage.applied(folder.path()), expected) {
                (Ok(changed), Ok(text)) => assert_eq!(changed[0].1, text),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (result, _) => panic!("{text}: {result:?}"),
            }
        }
        fs::remove_file(folder.path().join("f")).unwrap();
        assert!(breakage.applied(folder.path()).is_err(), "a file that is not there");
    }

    #[test]
    fn a_file_that_is_not_whole_is_refused() {
        for (text, part) in [
            (format!("{HEAD}{CHANGE}"), "either a `test` or a `scenario`"),
            (format!("{HEAD}test = 't'\nscenario = 's'\n{CHANGE}"), "either a `test` or a `scenario`"),
            (format!("{HEAD}scenario = 's'\n{CHANGE}"), "`says`"),
            (format!("{HEAD}test = 't'\nreplace = []\n"), "replaces nothing"),
            (format!("{HEAD}test = 't'\nother = 1\n{CHANGE}"), "other"),
        ] {
            let error = Breakage::parse("n", &text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
