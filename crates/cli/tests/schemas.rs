//! What `explain` and `diff` write as JSON is as docs/schemas says. What traces are written as is
//! checked where every kind of event can be made (crates/trace/tests/trace/schema.rs).

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// What the command prints with this on its standard input.
fn printed(arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_trapline"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Checks each line, and says how many there are.
fn check(schema: &str, text: &str, what: &str) -> usize {
    let schema: Value = serde_json::from_str(schema).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let mut lines = 0;
    for line in text.lines() {
        let object = serde_json::from_str(line).unwrap_or_else(|error| panic!("{what}: {error}: {line}"));
        let errors: Vec<String> = validator
            .iter_errors(&object)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{what}: {errors:?} in {line}");
        lines += 1;
    }
    lines
}

#[test]
fn every_explained_report_is_as_the_schema_says() {
    let mut lines = 0;
    for folder in ["oops", "reports"] {
        for entry in fs::read_dir(tests().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "txt") {
                let printed = printed(&["explain", "--all", "--format", "json"], &fs::read(&path).unwrap());
                let schema = include_str!("../../../docs/schemas/explain.json");
                lines += check(schema, &printed, &path.display().to_string());
            }
        }
    }
    assert!(lines > 100, "{lines}");
}

#[test]
fn a_comparison_is_as_the_schema_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, lines: &str| {
        let path = folder.path().join(name);
        let text = format!(
            "VERSION 20070824\nPCIDEV 0018 808610d3 16 feb80000 0 0 0 0 0 0 20000 0 0 0 0 0 0 e1000e\n\
             MAP 1.000000 1 0xfeb80000 0xffffc90001000000 0x20000 0x0 0\n{lines}"
        );
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let first = file("a", "W 4 1.000001 1 0xfeb80000 0x1 0x0 0\nR 4 1.000002 1 0xfeb80008 0x1 0x0 0\n");
    let second = file(
        "b",
        "W 4 1.000001 1 0xfeb80000 0x2 0x0 0\nW 4 1.000003 1 0xd0000000 0x2 0x0 0\nMARK 0.000000 Lost 5 events.\n",
    );
    let json = printed(&["diff", &first, &second, "--format", "json"], b"");
    assert_eq!(check(include_str!("../../../docs/schemas/diff.json"), &json, "diff"), 5, "{json}");
    for part in ["\"kind\":\"value\"", "\"side\":\"a\"", "\"side\":\"b\"", "\"dropped\":5"] {
        assert!(json.contains(part), "no {part}: {json}");
    }
    let text = printed(&["diff", &first, &second], b"");
    let warning = "the second dropped 5 records: what only the first has may be what the second lost\n";
    assert!(text.contains(warning), "{text}");
}
