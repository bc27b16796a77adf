//! The lines of both traces, read into one form.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// What is told of a hit: when, in microseconds, rounded as the kernel does it (`ns2usecs()`), and
/// the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    cpu: u32,
    time: u64,
    text: String,
}

/// Hits of each process, in their order.
pub(super) type Lines = BTreeMap<u32, Vec<Told>>;

/// Whether `ours` is told of number `number` of what the kernel tells of, at a time that is between
/// its neighbours'. CPUs have a clock each.
pub(super) fn same(ours: Option<&Told>, kernels: &[Told], number: usize) -> bool {
    let here = &kernels[number];
    let beside = |other: Option<&Told>| other.filter(|other| other.cpu == here.cpu).map(|other| other.time);
    let before = number.checked_sub(1).and_then(|at| beside(kernels.get(at)));
    let after = beside(kernels.get(number + 1));
    ours.is_some_and(|ours| {
        ours.text == here.text
            && ours.cpu == here.cpu
            && before.is_none_or(|time| time <= ours.time)
            && after.is_none_or(|time| ours.time <= time)
    })
}

/// A line of the JSON that `trapline convert` writes, as far as it matters here.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Hit {
        time_ns: u64,
        cpu: u32,
        pid: u32,
        comm: String,
        moment: String,
        probe: String,
        function: Option<String>,
        function_offset: Option<u64>,
        flags: Vec<String>,
        arguments: Vec<Argument>,
    },
    End {
        dropped: u64,
        malformed: u64,
        probes: Counts,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Argument {
    name: String,
    #[serde(rename = "type")]
    form: String,
    value: Option<String>,
}

#[derive(Deserialize)]
struct Counts {
    missed: u64,
    unfulfilled: u64,
}

/// Our own hits, as the kernel would print them: CPU, place, arguments.
///
/// With a condition, some must not have fulfilled it.
pub(super) fn ours(json: &str, expected: Option<bool>, has_condition: bool) -> Result<Lines> {
    let mut lines = Lines::new();
    let mut ended = false;
    for line in json.lines() {
        match serde_json::from_str(line).with_context(|| format!("no line of JSON: {line}"))? {
            Line::Hit {
                time_ns,
                cpu,
                pid,
                comm,
                moment,
                probe,
                function,
                function_offset,
                flags,
                arguments,
            } => {
                // Between fork and exec, a process of the workload is still called as the command
                // is.
                if comm == "trapline" {
                    continue;
                }
                let in_interrupt = flags.iter().any(|flag| flag == "interrupt");
                ensure!(
                    expected.is_none_or(|expected| expected == in_interrupt),
                    "this hit is told wrongly to come in an interrupt, or not to: {line}"
                );
                let place =
                    format!("{}+{:#x}", function.unwrap_or_default(), function_offset.unwrap_or_default());
                let place = if moment == "return" { format!("<- {probe}") } else { place };
                let mut text = format!("({place})");
                for Argument { name, form, value } in arguments {
                    let quoted = matches!(form.as_str(), "string" | "ustring" | "symstr");
                    match value {
                        None => write!(text, " {name}=(fault)")?,
                        Some(value) if quoted => write!(text, " {name}=\"{value}\"")?,
                        Some(value) => write!(text, " {name}={value}")?,
                    }
                }
                lines.entry(pid).or_default().push(Told { cpu, time: (time_ns + 500) / 1000, text });
            }
            Line::End { dropped, malformed, probes } => {
                ensure!(dropped == 0 && malformed == 0, "{dropped} records dropped, {malformed} malformed");
                ensure!(probes.missed == 0, "{} hits missed", probes.missed);
                let left_out = probes.unfulfilled;
                ensure!((left_out > 0) == has_condition, "{left_out} hits did not fulfil a condition");
                ended = true;
            }
            Line::Other => {}
        }
    }
    ensure!(ended, "the trace is cut off");
    Ok(lines)
}

/// The kernel's lines: ` cat-149 [002] d..1. 12.345678: event: (vfs_read+0x0/0x300) who="cat" …`,
/// and for a return `(caller+0x6a/0xa0 <- vfs_read)`.
pub(super) fn kernels(trace: &str, at_return: bool, inside: bool) -> Result<Lines> {
    let mut lines = Lines::new();
    for line in trace.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let parse = || {
            let (head, event) = line.split_once(": event: (")?;
            let (place, arguments) = event.split_once(')')?;
            let (task, rest) = head.split_once(" [")?;
            let process: u32 = task.trim().rsplit_once('-')?.1.parse().ok()?;
            let (cpu, rest) = rest.split_once(']')?;
            let (seconds, fraction) = rest.split_whitespace().nth(1)?.split_once('.')?;
            let time = seconds.parse::<u64>().ok()? * 1_000_000 + fraction.parse::<u64>().ok()?;
            // Its size is behind the offset; where it returns to is not known where several return
            // probes meet.
            let place = match place.split_once(" <- ") {
                Some((_, function)) if at_return => format!("<- {function}"),
                _ if inside => place.split('/').next()?.to_owned(),
                // With indirect branch tracking the kernel puts a probe of a function behind its
                // `endbr64`, and says so.
                _ => place.split('/').next()?.replace("+0x4", "+0x0"),
            };
            Some((process, Told { cpu: cpu.parse().ok()?, time, text: format!("({place}){arguments}") }))
        };
        let Some((process, told)) = parse() else { bail!("the kernel's trace has the line {line}") };
        if !told.text.contains(r#" who="trapline""#) {
            lines.entry(process).or_default().push(told);
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_and_ours_read_the_same() {
        let kernel = "# tracer: nop\n#\n     cat-149     [002] d..1.    12.000345: event: (vfs_read+0x0/0x300) who=\"cat\" bad=(fault)\n";
        let ours_line = r#"{"time_ns":12000345499,"cpu":2,"pid":149,"tgid":149,"comm":"cat","kind":"hit","probe":"vfs_read","moment":"before","ip":"0x1","function":"vfs_read","function_offset":0,"flags":[],"arguments":[{"name":"who","type":"string","value":"cat"},{"name":"bad","type":"x64"}]}"#;
        let end = r#"{"kind":"end","ended":0,"performed":[0,0,0],"dropped":0,"windows":0,"probes":{"hits":1,"missed":0,"unfulfilled":0,"faults":0,"fetch_faults":1},"malformed":0,"late":0}"#;
        let text = format!("{ours_line}\n{end}\n");
        let text_of_both = "(vfs_read+0x0) who=\"cat\" bad=(fault)".to_owned();
        let expected = Lines::from([(149, vec![Told { cpu: 2, time: 12_000_345, text: text_of_both }])]);
        assert_eq!(kernels(kernel, false, false).unwrap(), expected);
        assert_eq!(ours(&text, Some(false), false).unwrap(), expected);
        assert!(ours(ours_line, None, false).is_err(), "a trace that is cut off is not compared");
        assert!(ours(&text.replace("\"dropped\":0", "\"dropped\":1"), None, false).is_err());
        assert!(ours(&text, Some(false), true).is_err(), "every hit fulfilled a condition");
        assert!(
            ours(&text.replace("\"flags\":[]", "\"flags\":[\"interrupt\"]"), Some(false), false).is_err()
        );
    }

    #[test]
    fn a_return_is_told_by_its_function() {
        let kernel =
            " sh-1 [000] ..... 1.000007: event: (__x64_sys_openat+0x6a/0xa0 <- do_sys_openat2) fd=3\n";
        assert_eq!(
            kernels(kernel, true, false).unwrap(),
            Lines::from([(
                1,
                vec![Told { cpu: 0, time: 1_000_007, text: "(<- do_sys_openat2) fd=3".into() }]
            )])
        );
    }

    #[test]
    fn a_hit_is_told_at_a_time_between_its_neighbours_on_its_cpu() {
        let told = |cpu, time| Told { cpu, time, text: String::new() };
        let kernels = [told(0, 10), told(0, 20), told(1, 5)];
        assert!(same(Some(&told(0, 15)), &kernels, 1));
        assert!(same(Some(&told(0, 25)), &kernels, 1), "another CPU's clock says nothing");
        assert!(!same(Some(&told(0, 9)), &kernels, 1));
        assert!(!same(Some(&told(0, 21)), &kernels, 0));
        assert!(!same(Some(&told(1, 15)), &kernels, 1));
        assert!(!same(None, &kernels, 1));
    }
}
