//! The command itself on anything that can be typed, and with nobody left to read what it says: it
//! ends with one of its own statuses, never with a panic's.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Runs it where it can do no harm: as nobody, in a folder of its own. `None` if the module is
/// loaded here, with which it might begin to trace.
fn run(arguments: &[&[u8]], stderr: Stdio) -> Option<std::process::Output> {
    if std::path::Path::new("/sys/module/trapline").exists() {
        eprintln!("the trapline module is loaded here: not tried");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_trapline"));
    command.args(arguments.iter().map(|bytes| OsStr::from_bytes(bytes)));
    command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
    if rustix::process::geteuid().is_root() {
        command.uid(65534);
    }
    Some(command.spawn().unwrap().wait_with_output().unwrap())
}

const LINES: &[&[&[u8]]] = &[
    // It had no text for what is no text.
    &[b"mmio", b"--range", b"0x1000+4K", b"--output", b"\xff\xfe"],
    &[b"faults", b"--", b"\xff"],
    &[b"report", b"\xff"],
    &[b"convert", b"\xff", b"--to", b"json"],
    &[b"mark", b"\xff"],
    &[b"mmio", b"--driver", b"\xff"],
    // No number is too large.
    &[b"mmio", b"--range", b"0x1000+4K", b"--duration", b"300000000000y"],
    &[b"mmio", b"--range", b"0x1000+4K", b"--duration", b"99999999999999999999999999y"],
    &[b"mmio", b"--range", b"0xffffffffffffffff+1"],
    &[b"mmio", b"--range", b"18446744073709551615G+18446744073709551615G"],
    &[b"mmio", b"--device", b"ffffffff:ff:1f.7"],
    &[b"mmio", b"--range", b"0x1000+4K", b"--buffer", b"0xffffffffffffffff"],
    &[b"mmio", b"--range", b"0x1000+4K", b"--max", b"18446744073709551615"],
    &[b"inject", b"--range", b"0x1000+4K", b"\xff"],
    &[b"inject", b"--range", b"0x1000+4K", b"* = 18446744073709551615", b"--rules", b"\xff"],
    &[b"inject", b"--range", b"0+0xffffffffffffffff", b"0xfffffffffffffff0+8 = 1 from 18446744073709551615"],
    &[
        b"inject",
        b"--range",
        b"0x1000+4K",
        b"* delay 99999999999999999999999999y",
        b"--seed",
        b"18446744073709551616",
    ],
    &[b"faults", b"--address", b"0xffffffffffffffff-0xffffffffffffffff"],
    &[b"faults", b"--pid", b"4294967295"],
    &[b"faults", b"--comm", "ééééééé".as_bytes()],
    &[b"probe", b"f+18446744073709551615"],
    &[b"probe", b"0xffffffffffffffff", b"+18446744073709551615(%di):x8[64]"],
    &[b"probe", b"f", b"x=%di:b255@255/255", b"--cpu", b"4294967295"],
    &[b"trace", b"--probe", b"f '", b"--faults"],
    &[b"trace", b"--probe", b"f --cpu 4294967295 -9223372036854775808(%di)"],
    &[b"trace", b"--faults=pid=4294967295 address=0-0xffffffffffffffff"],
    &[b"trace", b"--faults=help"],
    &[b"explain", b"0xffffffff", b"ffffffffffffffff"],
    &[b"explain", b"4294967295", b"0"],
    &[b"explain"],
    &[b"report", b".", b"--rows", b"18446744073709551615"],
    &[b"diff", b"\xff", b"."],
    &[b"diff", b".", b".", b"--ignore", b"[", b"--begin", b"\xff"],
    &[b"man", b""],
    &[b"status"],
    &[b"list"],
    &[b"doctor"],
];

#[test]
fn nothing_that_is_typed_makes_it_panic() {
    for line in LINES {
        let Some(output) = run(line, Stdio::piped()) else { return };
        let shown: Vec<_> = line.iter().map(|word| String::from_utf8_lossy(word)).collect();
        let code = output.status.code();
        assert!(matches!(code, Some(0..=4 | 127)), "{shown:?}: {:?}: {output:?}", output.status);
    }
}

#[test]
fn that_nobody_can_read_standard_error_changes_no_status() {
    for line in LINES {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (Some(shown), Some(unseen)) = (run(line, Stdio::piped()), run(line, full.into())) else { return };
        assert_eq!(shown.status, unseen.status, "{shown:?}");
    }
}
