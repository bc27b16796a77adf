//! The property that tests and the fuzz target share.

use std::collections::HashSet;

use trapline_explain::{Explanation, NoSources, Report, grouped, read};

/// Values below this are offsets and sizes.
const SMALL: u64 = 0x10000;

/// Reads and explains `bytes`.
///
/// # Panics
///
/// If an address, a register's value or a task is told that does not stand in the text.
pub(crate) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let reports = read(&text);
    let plain = trapline_explain::lines(&text).join("\n");
    let numbers = numbers(&plain);
    let stands = |value: u64, what: &str| {
        assert!(numbers.contains(&value) || value == 0, "{what}: {value:#x} is not in the text");
    };
    for report in &reports.kernel {
        let Report { address, object, registers, task, .. } = report;
        for value in [*address, object.address].into_iter().flatten() {
            stands(value, "address");
        }
        for (name, value) in registers.iter() {
            stands(value, name);
        }
        if let Some(task) = task {
            assert!(
                plain.contains(&task.name) && plain.contains(&task.id.to_string()),
                "{task} is not in the text"
            );
        }
        told(&report.explain(&NoSources), &numbers);
        let json = report.to_json(&NoSources).to_string();
        assert!(json.starts_with('{'));
        let _ = report.missing();
    }
    for (trap, count) in grouped(&reports.programs) {
        for value in [trap.address, trap.instruction, trap.stack].into_iter().flatten() {
            stands(value, "address");
        }
        if let Some(task) = &trap.task {
            assert!(
                plain.contains(&task.name) && plain.contains(&task.id.to_string()),
                "{task} is not in the text"
            );
        }
        told(&trap.explain(count), &numbers);
        let _ = trap.to_json(count);
    }
}

/// Each large number of an explanation stands in the text, but in the instructions that bytes of
/// `Code:` are, and where it is said to be computed.
fn told(told: &Explanation, numbers: &HashSet<u64>) {
    // What the kernel writes on purpose is named by its value.
    let known = |value: u64| value >> 32 == 0xdead_0000 || is_filled(value) || value == 0x57ac_6e9d;
    for row in told.rows.iter().filter(|row| row.name != "code") {
        for line in row.text.lines().filter(|line| !line.contains("computed")) {
            for value in hexadecimal(line) {
                assert!(value < SMALL || known(value) || numbers.contains(&value), "{value:#x} in `{line}`");
            }
        }
    }
}

fn is_filled(value: u64) -> bool {
    let bytes = value.to_le_bytes();
    bytes.iter().all(|byte| *byte == bytes[0])
}

/// Numbers that are written with `0x`.
fn hexadecimal(text: &str) -> Vec<u64> {
    let after = text.split("0x").skip(1);
    let digits = after.map(|rest| rest.split(|c: char| !c.is_ascii_hexdigit()).next().unwrap_or(""));
    digits.filter_map(|digits| u64::from_str_radix(digits, 16).ok()).collect()
}

/// All numbers of a text, whatever their base may be.
fn numbers(text: &str) -> HashSet<u64> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let words = words.flat_map(|word| [Some(word), word.strip_prefix("0x")]).flatten();
    // What is no digit may follow one: `0x28h`.
    let digits = words.map(|word| word.split(|c: char| !c.is_ascii_hexdigit()).next().unwrap_or(""));
    let words = digits.filter_map(|digits| u64::from_str_radix(digits, 16).ok());
    // Also behind letters, as in a line that is told as it stands.
    words.chain(hexadecimal(text)).collect()
}
