//! A Trapline trace as the comparison needs it, read through `trapline convert --to json`: the way
//! any other program would read it, so that what is compared is what a person gets.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::access::Access;

/// What a trace holds and says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Every access that reached a device, in the order of the trace.
    pub accesses: Vec<Access>,
    /// How many were performed by emulation, redirection and single step.
    pub performed: [u64; 3],
    /// Records that found no room: they are missing.
    pub dropped: u64,
    /// Times that other CPUs' accesses may have been missed.
    pub windows: u64,
}

/// A line of the JSON that `trapline` writes, as far as it matters here.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Access {
        cpu: u32,
        op: String,
        physical: Option<String>,
        width: usize,
        value: Option<String>,
        #[serde(default)]
        flags: Vec<String>,
    },
    End {
        performed: [u64; 3],
        dropped: u64,
        windows: u64,
        malformed: u64,
    },
    #[serde(other)]
    Other,
}

impl Trace {
    /// Reads a trace file with the `trapline` command.
    pub fn read(trapline: &Path, file: &Path) -> Result<Self> {
        let converted = Command::new(trapline)
            .arg("convert")
            .arg(file)
            .args(["--to", "json"])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot run {}", trapline.display()))?;
        ensure!(converted.status.success(), "trapline convert failed on {}", file.display());
        let text = String::from_utf8(converted.stdout).context("trapline convert wrote what is not UTF-8")?;
        Self::parse(&text).with_context(|| format!("cannot understand the trace {}", file.display()))
    }

    /// Reads the JSON Lines of a trace.
    ///
    /// # Errors
    /// A line of another form, an access without its physical address or value, or no end: the
    /// trace is cut off.
    pub fn parse(text: &str) -> Result<Self> {
        let mut trace = Self::default();
        let mut ended = false;
        for (number, line) in (1..).zip(text.lines()) {
            let parsed: Line =
                serde_json::from_str(line).with_context(|| format!("line {number}: {line}"))?;
            match parsed {
                Line::Access { cpu, op, physical, width, value, flags } => {
                    // A handler supplied the value or dropped the write: the device never saw it.
                    if flags.iter().any(|flag| flag == "supplied" || flag == "dropped") {
                        continue;
                    }
                    let (Some(physical), Some(value)) = (physical, value) else {
                        bail!("line {number} lacks the physical address or the value: {line}");
                    };
                    let address = u64::from_str_radix(physical.trim_start_matches("0x"), 16)
                        .with_context(|| format!("line {number}: the address {physical} is no number"))?;
                    let bytes = little_endian(&value, width).with_context(|| {
                        format!("line {number}: the value {value} is not a number of {width} bytes")
                    })?;
                    trace.accesses.push(Access { cpu, write: op == "W", address, bytes });
                }
                Line::End { performed, dropped, windows, malformed } => {
                    ensure!(malformed == 0, "the trace left out {malformed} records that made no sense");
                    (trace.performed, trace.dropped, trace.windows) = (performed, dropped, windows);
                    ended = true;
                }
                Line::Other => {}
            }
        }
        ensure!(ended, "the trace is cut off");
        Ok(trace)
    }
}

/// The bytes, lowest first, of a hexadecimal number with all its digits.
fn little_endian(value: &str, width: usize) -> Option<Vec<u8>> {
    let digits = value.strip_prefix("0x")?;
    if digits.len() != 2 * width || !digits.is_ascii() {
        return None;
    }
    (0..width).rev().map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = r#"{"kind":"header","trapline":"0.1.0","cpus":4}"#;
    const END: &str =
        r#"{"kind":"end","ended":9,"performed":[2,1,0],"dropped":5,"windows":1,"malformed":0,"late":0}"#;
    const READ: &str = r#"{"time_ns":7,"cpu":3,"pid":1,"tgid":1,"comm":"dd","kind":"access","op":"R","physical":"0xfebe5004","address":"0xffffc90000000004","width":4,"value":"0x0000beef","mapping":1,"flags":[],"way":"emulated","ip":"0x0"}"#;

    #[test]
    fn accesses_and_totals_are_read() {
        let write =
            READ.replace("\"R\"", "\"W\"").replace("0x0000beef", "0x000000000000000000000000000000ff");
        let write = write.replace("\"width\":4", "\"width\":16");
        let trace = Trace::parse(&[HEADER, READ, &write, END].join("\n")).unwrap();
        let mut wide = vec![0xff];
        wide.resize(16, 0);
        let expected = [
            Access::new(3, false, 0xfebe_5004, 4, 0xbeef),
            Access { cpu: 3, write: true, address: 0xfebe_5004, bytes: wide },
        ];
        assert_eq!(trace.accesses, expected);
        assert_eq!((trace.performed, trace.dropped, trace.windows), ([2, 1, 0], 5, 1));
    }

    #[test]
    fn what_a_handler_kept_from_the_device_is_left_out() {
        let supplied = READ.replace("\"flags\":[]", "\"flags\":[\"supplied\"]");
        assert!(Trace::parse(&[HEADER, &supplied, END].join("\n")).unwrap().accesses.is_empty());
    }

    #[test]
    fn a_trace_without_an_end_or_with_an_unknown_value_is_an_error() {
        assert!(Trace::parse(&[HEADER, READ].join("\n")).unwrap_err().to_string().contains("cut off"));
        let unknown = READ.replace("\"value\":\"0x0000beef\",", "");
        assert!(Trace::parse(&[HEADER, &unknown, END].join("\n")).is_err());
        let short = READ.replace("0x0000beef", "0xbeef");
        assert!(Trace::parse(&[HEADER, &short, END].join("\n")).is_err());
    }
}
