//! What differs between kernels is in one header, each entry with the kernel that changed it.

use std::fs;

use xtask::workspace;

const COMPAT: &str = "kernel/glue/compat.h";
/// What asks for a kernel's version.
const ASKS: [&str; 3] = ["LINUX_VERSION_CODE", "KERNEL_VERSION(", "linux/version.h"];

/// Numbers of the lines that ask for a kernel's version.
fn asking(text: &str) -> Vec<usize> {
    let asks = |line: &str| ASKS.iter().any(|word| line.contains(word));
    (1..).zip(text.lines()).filter(|(_, line)| asks(line)).map(|(number, _)| number).collect()
}

/// Whether a word names a version of the kernel, as `6.16` does.
fn is_version(word: &str) -> bool {
    let word = word.trim_matches(|character: char| !character.is_ascii_digit());
    let (major, minor) = word.split_once('.').unwrap_or_default();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number(major) && is_number(minor)
}

/// What each entry defines that has no comment with a version. An entry ends with an empty line;
/// the header's own guard is none.
fn unnamed<'a>(text: &'a str) -> Vec<&'a str> {
    let defines = |line: &&str| {
        (line.starts_with("#define") || line.starts_with("static")) && !line.ends_with("_COMPAT_H")
    };
    let definition = |entry: &'a str| {
        // The version in an `#if` is not what a reader is told.
        let mut comments = entry.split("*/").filter_map(|part| part.split_once("/*"));
        let is_named = comments.any(|(_, comment)| comment.split_whitespace().any(is_version));
        entry.lines().find(defines).filter(|_| !is_named)
    };
    text.split("\n\n").filter_map(definition).collect()
}

#[test]
fn only_one_header_asks_for_the_kernels_version() {
    let mut looked_at = 0;
    let mut found = Vec::new();
    for file in workspace::files().unwrap() {
        let is_c = file.extension().is_some_and(|extension| ["c", "h", "S"].iter().any(|c| extension == *c));
        if !is_c || file.as_os_str() == COMPAT {
            continue;
        }
        looked_at += 1;
        let text = fs::read_to_string(workspace::root().join(&file)).unwrap();
        found.extend(asking(&text).iter().map(|number| format!("{}:{number}", file.display())));
    }
    assert!(looked_at > 30, "only {looked_at} files were found");
    assert!(found.is_empty(), "these belong in {COMPAT}:\n{}", found.join("\n"));
}

#[test]
fn each_entry_of_the_header_names_the_kernel_that_changed_it() {
    let text = fs::read_to_string(workspace::root().join(COMPAT)).unwrap();
    assert!(text.matches("#define").count() > 4, "the entries were not found");
    let unnamed = unnamed(&text);
    assert!(unnamed.is_empty(), "no comment says which kernel changed this:\n{}", unnamed.join("\n"));
}

#[test]
fn an_entry_without_a_kernel_and_a_version_elsewhere_are_found() {
    let text = "#ifndef A_COMPAT_H\n#define A_COMPAT_H\n\n/* 6.7 renamed it. */\n#define a b\n\n\
                /* Renamed. */\n#if KERNEL_VERSION(6, 16, 0) > 6.16\n#define c d\n#endif\n\n#define e f\n";
    assert_eq!(unnamed(text), ["#define c d", "#define e f"]);
    assert_eq!(asking("int a;\n#include <linux/version.h>\n#if LINUX_VERSION_CODE < 5\n"), [2, 3]);
}
