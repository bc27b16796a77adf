//! The command line as a person sees it: help and mistakes, each with its message and status, kept
//! in `cmd/`.
//!
//! `TRYCMD=overwrite cargo test -p trapline --test commands` writes what is shown now into them.

use std::os::unix::process::CommandExt;
use std::process::Command;

#[test]
fn help_and_mistakes_read_as_they_should() {
    // Nobody's own register files.
    trycmd::TestCases::new().env("XDG_CONFIG_HOME", "/nonexistent").case("tests/cmd/*.trycmd");
}

#[test]
fn without_root_it_says_what_to_run() {
    if std::path::Path::new("/sys/module/trapline").exists() {
        // With the module loaded by somebody else, what is refused is its device, and only to users
        // without access.
        eprintln!("the trapline module is loaded here: not tried");
        return;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_trapline"));
    command.args(["mmio", "--range", "0xfebc0000+4K", "--", "echo", "it's"]);
    if rustix::process::geteuid().is_root() {
        command.uid(65534);
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("run: sudo ") && message.contains(r"mmio --range 0xfebc0000+4K -- echo 'it'\''s'"),
        "{message}"
    );
}

#[test]
fn each_shell_gets_completions_that_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_trapline")).args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && script.contains("mmio") && script.contains("registers"),
            "{shell}"
        );
    }
}
