//! Rules in a TOML file: the same texts as on the command line, and a seed.
//!
//! ```toml
//! seed = 7
//! rules = ["STATUS.LU = 0 from 10", "write CTRL drop at 3"]
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Why a file of rules can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RulesFileError {
    /// It can't be read.
    #[error("can't read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no file of rules.
    #[error("{} is no file of rules: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// It has no rule.
    #[error("{} holds no rule: expected rules = [\"STATUS.LU = 0\"], or more of them", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// A file of rules.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RulesFile {
    /// The seed, if the file says one.
    pub(super) seed: Option<u64>,
    /// The rules, in their order.
    pub(super) rules: Vec<String>,
}

impl RulesFile {
    /// Reads the one at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, RulesFileError> {
        let text =
            fs::read_to_string(path).map_err(|source| RulesFileError::Read { path: path.into(), source })?;
        let file: Self = toml::from_str(&text)
            .map_err(|source| RulesFileError::Malformed { path: path.into(), source: source.into() })?;
        if file.rules.is_empty() {
            return Err(RulesFileError::Empty { path: path.into() });
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RulesFile, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rules.toml");
        fs::write(&path, text).unwrap();
        RulesFile::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_has_rules_and_may_have_a_seed() {
        let file = read("# why\nseed = 7\nrules = [\"* gone\", 'CTRL drop']\n").unwrap();
        assert_eq!(file, RulesFile { seed: Some(7), rules: vec!["* gone".into(), "CTRL drop".into()] });
        assert_eq!(read("rules = ['* gone']").unwrap().seed, None);
    }

    #[test]
    fn what_is_no_file_of_rules_is_told_with_its_place() {
        assert!(read("rules = []").unwrap_err().contains("holds no rule"));
        for (text, word) in [
            ("seed = 1", "missing field `rules`"),
            ("rules = '* gone'", "line 1, column 9"),
            ("rules = [1]", "line 1, column 10"),
            ("rule = ['* gone']", "unknown field `rule`"),
            ("seed = -1\nrules = ['* gone']", "line 1, column 8"),
            ("rules = ['* gone'", "line 1"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains("is no file of rules") && error.contains(word), "{text}: {error}");
        }
    }
}
