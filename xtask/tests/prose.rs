//! Comments and prose end by column 100, so that they can be read beside each other and in a mail.
//!
//! Code is rustfmt's and clang-format's business. Left out are what can't be wrapped or is no
//! prose: tables, code in fences, and lines with a URL.

use std::fs;
use std::path::Path;

use xtask::workspace;

const COLUMNS: usize = 100;
/// Tabs go on to the next multiple, as the kernel's style has them.
const TAB: usize = 8;

/// How comments are told in a language.
#[derive(Clone, Copy)]
enum Comments {
    /// Lines that begin with one of these.
    Lines(&'static [&'static str]),
    /// `//`, and from `/*` to `*/`.
    Blocks,
    /// Everything is prose.
    All,
}

impl Comments {
    fn of(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()? {
            "rs" => Some(Self::Lines(&["//!", "///", "//"])),
            "c" | "h" | "S" => Some(Self::Blocks),
            "sh" | "toml" => Some(Self::Lines(&["#"])),
            "md" => Some(Self::All),
            _ => None,
        }
    }

    /// The prose of a line, if it has any; `inside` tells whether a block comment is open.
    fn prose<'a>(self, line: &'a str, inside: &mut bool) -> Option<&'a str> {
        let text = line.trim();
        match self {
            Self::All => Some(text),
            Self::Lines(marks) => marks.iter().find_map(|mark| text.strip_prefix(mark)).map(str::trim),
            Self::Blocks => {
                let was_inside = *inside;
                *inside = (was_inside || text.starts_with("/*")) && !text.contains("*/");
                let begun = was_inside || text.starts_with("/*") || text.starts_with("//");
                begun.then(|| text.trim_start_matches(['/', '*', ' ']))
            }
        }
    }
}

fn width(line: &str) -> usize {
    line.chars().fold(0, |at, character| if character == '\t' { (at / TAB + 1) * TAB } else { at + 1 })
}

/// Numbers of the lines that are too long.
fn too_long(comments: Comments, text: &str) -> Vec<usize> {
    let (mut found, mut inside, mut fence) = (Vec::new(), false, false);
    for (number, line) in (1..).zip(text.lines()) {
        let Some(prose) = comments.prose(line, &mut inside) else {
            // A fence of a comment ends with the comment.
            fence = false;
            continue;
        };
        if prose.starts_with("```") {
            fence = !fence;
        } else if !fence && !prose.starts_with('|') && !prose.contains("://") && width(line) > COLUMNS {
            found.push(number);
        }
    }
    found
}

#[test]
fn comments_and_prose_end_by_column_100() {
    let mut found = Vec::new();
    let mut looked_at = 0;
    for file in workspace::files().unwrap() {
        let Some(comments) = Comments::of(&file) else { continue };
        let text = fs::read_to_string(workspace::root().join(&file)).unwrap();
        looked_at += 1;
        found.extend(too_long(comments, &text).iter().map(|number| format!("{}:{number}", file.display())));
    }
    assert!(looked_at > 300, "only {looked_at} files were found");
    assert!(found.is_empty(), "lines of prose beyond column {COLUMNS}:\n{}", found.join("\n"));
}

#[test]
fn prose_is_told_from_code_tables_fences_and_urls() {
    let long = "word ".repeat(25);
    let rust = Comments::of(Path::new("a.rs")).unwrap();
    for (text, expected) in [
        (format!("//! {long}"), &[1][..]),
        (format!("    /// {long}\n    // {long}"), &[1, 2]),
        (format!("let text = \"{long}\";"), &[]),
        (format!("//! | {long}"), &[]),
        (format!("// https://example.org/{long}"), &[]),
        (format!("//! ```\n//! {long}\n//! ```\n//! {long}"), &[4]),
        (format!("//! ```\nlet a;\n// {long}"), &[3]),
    ] {
        assert_eq!(too_long(rust, &text), expected, "{text}");
    }
    let c = Comments::of(Path::new("a.c")).unwrap();
    let text = format!("/* {long} */\nf({long});\n/*\n * {long}\n */\nf({long});\n// {long}\n");
    assert_eq!(too_long(c, &text), [1, 4, 7]);
    assert!(too_long(c, &format!("\t\t// {}", "x".repeat(80))).is_empty(), "tabs are {TAB} wide");
    assert_eq!(too_long(c, &format!("\t\t// {}", "x".repeat(82))), [1]);
    assert_eq!(too_long(Comments::of(Path::new("a.toml")).unwrap(), &format!("# {long}\na = '{long}'")), [1]);
    assert_eq!(too_long(Comments::of(Path::new("a.md")).unwrap(), &format!("{long}\n\n| {long} |")), [1]);
}
