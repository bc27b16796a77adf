//! `trapline explain` on oopses that a kernel printed (each beside its explanation in `oops/`; `UPDATE_EXPECT=1` writes those anew), whole and cut off.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use expect_test::expect_file;

fn explain(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_trapline"))
        .arg("explain")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oops").join(name);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn each_oops_of_a_kernel_is_explained() {
    for name in
        ["null", "read-only", "freed-vmalloc", "no-execute", "smap", "smep", "list-poison", "error-pointer"]
    {
        let output = explain(&["-"], &read(&format!("{name}.txt")));
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{name}");
        expect_file![format!("oops/{name}.explained")].assert_eq(&text(&output.stdout));
    }
}

#[test]
fn an_oops_cut_off_in_the_middle_is_explained_as_far_as_it_goes_and_then_told_of() {
    let whole = read("null.txt");
    let cut = &whole[..whole.find("RBP: ").unwrap()];
    let output = explain(&[], cut);
    assert_eq!(output.status.code(), Some(4));
    let said = text(&output.stdout);
    assert!(said.contains("write to a page that is not present, in kernel mode"), "{said}");
    assert!(said.contains("use+0x5/0x20 [oops]"), "{said}");
    let message = text(&output.stderr);
    assert!(message.contains("it lacks registers, the call trace, the line of its end"), "{message}");
}

#[test]
fn a_log_without_an_oops_is_refused() {
    let output = explain(&["-"], "[    0.0] Linux version 6.1\n");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(4), String::new()));
    assert!(text(&output.stderr).contains("holds no oops"), "{output:?}");
}

#[test]
fn what_an_error_code_leaves_open_is_said() {
    for (arguments, word) in [
        // As the kernel tells programs of its own half; as it was for the kernel itself.
        (["0x5", "ffffffff81000000"], Some("sanitize_error_code")),
        (["0x4", "ffffffff81000000"], Some("a wild pointer")),
        (["0x5", "7fff81000000"], None),
        (["0x3", "7fff81000000"], Some("SMAP")),
        (["0x7", "7fff81000000"], None),
        (["0x3", "ffffffff81000000"], None),
        (["0x23", "7fff81000000"], None),
    ] {
        let said = text(&explain(&arguments, "").stdout);
        match word {
            Some(word) => assert!(said.contains("note: ") && said.contains(word), "{arguments:?}: {said}"),
            None => assert!(!said.contains("note: "), "{arguments:?}: {said}"),
        }
    }
}
