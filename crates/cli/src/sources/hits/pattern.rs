//! Patterns of functions to probe, as a person writes them: `PATTERN` or `MODULE:PATTERN`, of `*`,
//! `?`, `[a-z]` and `[!a-z]`.

use trapline_trace::Symbol;

use super::cursor::Cursor;
use crate::mistake::Mistake;

/// What makes a word a pattern.
const WILD: [char; 3] = ['*', '?', '['];

/// What is expected, in every mistake.
const EXPECTED: &str = "expected PATTERN or MODULE:PATTERN with * ? [a-z] or [!a-z], of functions as a whole";

/// A pattern of names of functions.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// As it was written.
    pub(super) text: String,
    /// The module that it is about, as kallsyms has it: with underscores for dashes.
    pub(super) module: Option<String>,
    names: glob::Pattern,
}

impl Pattern {
    /// Whether `word` is a pattern, if it is a place.
    pub(super) fn is_one(word: &str) -> bool {
        word.contains(WILD)
    }

    /// Reads `text`.
    pub(super) fn parse(text: &str) -> Result<Self, Mistake> {
        let mut cursor = Cursor::new(text);
        let (mut name, mut at) = cursor.word(is_of_pattern);
        let mut module = None;
        if cursor.take(':') {
            if name.is_empty() || name.contains(WILD) {
                let why =
                    "what is before the `:` is the name of one module: a pattern is behind it, or alone";
                return Err(cursor.error(at, why));
            }
            module = Some(name.replace('-', "_"));
            (name, at) = cursor.word(is_of_pattern);
        }
        if let Some(found) = cursor.rest().chars().next() {
            return Err(cursor.here(format!("`{found}` is not expected here: {EXPECTED}")));
        }
        if name.is_empty() {
            return Err(cursor.here(format!("this is no pattern: {EXPECTED}")));
        }
        let no_class = || {
            let start = name.rfind('[').map_or(at.start, |bracket| at.start + bracket);
            cursor.error(start..at.end, "this class has no end: expected [a-z] or [!a-z]")
        };
        // To the crate several stars are folders in folders, which functions are not in.
        let mut names = String::new();
        name.chars().for_each(|char| {
            if !(char == '*' && names.ends_with('*')) {
                names.push(char);
            }
        });
        let names = glob::Pattern::new(&names).map_err(|_| no_class())?;
        Ok(Self { text: text.into(), module, names })
    }

    /// Whether `symbol` is a function that it is about.
    pub(super) fn holds(&self, symbol: &Symbol<'_>) -> bool {
        symbol.is_code && self.is_about(symbol) && self.names.matches(symbol.name)
    }

    /// Whether `symbol` is where it looks.
    pub(super) fn is_about(&self, symbol: &Symbol<'_>) -> bool {
        self.module.is_none() || symbol.module == self.module.as_deref()
    }

    /// What of a name it has itself.
    pub(super) fn stem(&self) -> String {
        let name = self.text.rsplit(':').next().unwrap_or_default();
        let mut stem = String::new();
        let mut in_class = false;
        for char in name.chars() {
            match char {
                '[' => in_class = true,
                ']' => in_class = false,
                '*' | '?' => {}
                _ if in_class => {}
                _ => stem.push(char),
            }
        }
        stem
    }
}

fn is_of_pattern(char: char) -> bool {
    char.is_ascii_alphanumeric() || "_.$-*?[]!".contains(char)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(pattern: &str, module: Option<&str>, name: &str) -> bool {
        let symbol = Symbol { name, module, address: 1, size: None, is_code: true };
        Pattern::parse(pattern).unwrap_or_else(|error| panic!("{error}")).holds(&symbol)
    }

    #[test]
    fn a_pattern_is_of_whole_names() {
        for (pattern, name, expected) in [
            ("vfs_*", "vfs_read", true),
            ("vfs_*", "vfs_", true),
            ("vfs_*", "my_vfs_read", false),
            ("*vfs*", "my_vfs_read", true),
            ("vfs_**", "vfs_read", true),
            ("vfs_rea?", "vfs_read", true),
            ("vfs_rea?", "vfs_rea", false),
            ("vfs_[rw]*", "vfs_write", true),
            ("vfs_[!rw]*", "vfs_write", false),
            ("vfs_[a-s]*", "vfs_write", false),
            ("*.part.[0-9]", "sift.part.0", true),
            ("VFS_*", "vfs_read", false),
        ] {
            assert_eq!(holds(pattern, None, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_with_a_module_is_of_its_functions_alone() {
        assert!(holds("nvme-core:nvme_*", Some("nvme_core"), "nvme_init"));
        assert!(!holds("nvme_core:nvme_*", Some("nvme"), "nvme_init"));
        assert!(!holds("nvme:nvme_*", None, "nvme_init"));
        assert!(holds("nvme_*", Some("nvme"), "nvme_init"));
        let data = Symbol { name: "vfs_x", module: None, address: 1, size: None, is_code: false };
        assert!(!Pattern::parse("vfs_*").unwrap().holds(&data), "data is no function");
    }

    #[test]
    fn what_is_no_pattern_is_told_with_a_mark_under_it() {
        for (text, expected) in [
            ("vfs_*+4", "`+` is not expected here: expected PATTERN or MODULE:PATTERN"),
            (
                "nvme*:nvme_*",
                "the name of one module: a pattern is behind it, or alone\n  nvme*:nvme_*\n  ^^^^^",
            ),
            (":vfs_*", "the name of one module"),
            ("nvme:", "this is no pattern"),
            ("vfs_[a-", "this class has no end: expected [a-z] or [!a-z]\n  vfs_[a-\n      ^^^"),
        ] {
            let error = Pattern::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn the_stem_of_a_pattern_is_what_it_says_of_a_name() {
        for (text, stem) in [("vfs_*", "vfs_"), ("m:*_[a-z]x?", "_x"), ("*", "")] {
            assert_eq!(Pattern::parse(text).unwrap().stem(), stem);
        }
    }
}
