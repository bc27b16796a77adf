//! `trapline probe` beside the kernel's own probe events: for the same place, arguments and run, both must tell the same, line by line.
//!
//! A probe event stands in the kernel while `trapline probe` runs a workload with the same arguments. Compared is what the workload's own processes did:
//! it begins after both probes are set and ends before either is gone. Lines are compared by process, in their order. The two look at the clock one after the other, so
//! a hit's time is compared with those of the hits before and after it, as the kernel tells them. Left out is the name of the task as the kernel's trace has it, which
//! it looks up later: `$comm` is fetched instead.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::{Scenario, succeeds};
use crate::setup::Series;
use crate::vm::Options;

pub(super) const EQUAL: Scenario = Scenario {
    name: "trapline probe tells the same as the kernel's own probe events, line by line",
    check: equal,
};

/// A disk of nothing, which is there at once.
const DISK: [&str; 4] = [
    "-blockdev",
    "driver=null-co,node-name=nothing,size=67108864,read-zeroes=on",
    "-device",
    "nvme,serial=disk,drive=nothing",
];

/// System calls, network, disk; the numbers of its first and last process go around it.
const WORK: &str = "\
echo $$ > /tmp/first
cat /etc/passwd /proc/self/status > /dev/null
ls /nonexistent /sys/class 2>/dev/null >/dev/null
for file in $(seq 20); do echo $file > /tmp/file-$file; done
ping -c 2 -i 0.1 127.0.0.1 > /dev/null
dd if=/dev/nvme0n1 of=/dev/null bs=64k count=4 2>/dev/null
sh -c 'echo $$' > /tmp/last
";

/// A probe, and what it is to the kernel's probe events.
struct Case {
    /// The place, for the shell.
    spec: &'static str,
    /// Whether it is a return.
    at_return: bool,
    /// What both are told to fetch, each a word in quotes for the shell.
    fetch: &'static str,
    /// What the kernel is told to fetch, where it has other words for the same.
    kernel: Option<&'static str>,
    /// Hits that the workload makes at least.
    least: usize,
    /// Whether they come in interrupts, where that is sure. The kernel's trace can't tell: it takes the probe's own breakpoint for one.
    in_interrupt: Option<bool>,
}

const CASES: &[Case] = &[
    Case {
        spec: "do_sys_openat2",
        at_return: false,
        fetch: r#"'who=$comm' 'dfd=%di:s32' 'filename=+0(%si):string' 'user=+0(%si):ustring' 'u=+u0(%si):x32' 'how=+0(%dx):x64[3]' '+8(%dx)' \
            'bits=+0(%dx):b2@0/32' 'sp=$stack' 'caller=$stack0:symbol' 's1=$stack1:u16' 'third=$arg3' 'minus=\-5:s64' 'byte=\300:u8' \
            'banner=@linux_banner:x8[5]' 'in=@linux_banner+6:u32' 'line=+0(@saved_command_line):string' 'bad=+0(\16):string' 'nested=+4(+0(%sp)):x32' \
            'bytes=+0(@saved_command_line):u8[3]' 'strings=@envp_init:string[2]'"#,
        kernel: None,
        least: 20,
        in_interrupt: Some(false),
    },
    Case {
        spec: "do_sys_openat2",
        at_return: false,
        fetch: "'who=$comm' dfd filename how",
        kernel: Some("'who=$comm' 'dfd=%di:s32' 'filename=+0(%si):string' 'how=%dx:x64'"),
        least: 20,
        in_interrupt: Some(false),
    },
    Case {
        spec: "do_sys_openat2",
        at_return: true,
        fetch: "'who=$comm' 'fd=$retval:s32'",
        kernel: None,
        least: 20,
        in_interrupt: Some(false),
    },
    Case {
        spec: "vfs_read",
        at_return: true,
        fetch: "'who=$comm' 'got=$retval:s64' 'hex=$retval:x16'",
        kernel: None,
        least: 10,
        in_interrupt: Some(false),
    },
    // An instruction inside of a function, which is stepped or emulated by way of a breakpoint.
    Case {
        spec: "vfs_read+$inside",
        at_return: false,
        fetch: "'who=$comm' '%ax' '%di' '%bx:u32' '%flags' '%cs:x16'",
        kernel: None,
        least: 10,
        in_interrupt: Some(false),
    },
    Case {
        spec: "__dev_queue_xmit",
        at_return: false,
        fetch: "'who=$comm' 'skb=%di' 'len=+112(%di):u32' 'x=+0(+16(%di)):x8[8]'",
        kernel: None,
        least: 4,
        in_interrupt: None,
    },
    // In a soft interrupt.
    Case {
        spec: "ip_rcv",
        at_return: false,
        fetch: "'who=$comm' 'skb=%di' 'device=%si' 'data=+0(+200(%di)):x32'",
        kernel: None,
        least: 4,
        in_interrupt: Some(true),
    },
    Case {
        spec: "submit_bio_noacct",
        at_return: false,
        fetch: "'who=$comm' 'op=+16(%di):x32' 'flags=+20(%di):x16'",
        kernel: None,
        least: 1,
        in_interrupt: None,
    },
    Case {
        spec: "nvme_core:nvme_setup_cmd",
        at_return: false,
        fetch: "'who=$comm' 'request=%si'",
        kernel: None,
        least: 1,
        in_interrupt: None,
    },
];

fn equal(series: Series) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let mut script = format!(
        "set -e
cd /tmp
cat > work <<'WORK'
{WORK}WORK
tracing=/sys/kernel/tracing
modprobe nvme
modprobe trapline
ip link set lo up 2>/dev/null || ifconfig lo up
until [ -b /dev/nvme0n1 ]; do sleep 0.1; done
# Where an instruction begins: from what is said to one who asks for a place inside of one, behind the function's first ones.
for try in 6 7 8; do
    inside=$(trapline probe vfs_read+$try --duration 1ms 2>&1 | sed -n 's/.* and vfs_read+\\(0x[0-9a-f]*\\).*/\\1/p')
    test -z \"$inside\" || break
done
echo inside $inside
test -n \"$inside\"
echo 4096 > $tracing/buffer_size_kb
# The kernel log's clock; the default lacks the offset that it got when the kernel found it stable.
echo global > $tracing/trace_clock
"
    );
    for (number, Case { spec, at_return, fetch, kernel, .. }) in CASES.iter().enumerate() {
        let (letter, option) = if *at_return { ("r", "--return") } else { ("p", "") };
        let kernel = kernel.unwrap_or(fetch);
        // Return events name their own default; everything else is the same text.
        write!(
            script,
            "
spec={spec}
set -- {kernel}
echo \"{letter}:trapline/event $spec $*\" > $tracing/kprobe_events || {{ cat $tracing/error_log; exit 1; }}
echo > $tracing/trace
echo 1 > $tracing/events/trapline/event/enable
trapline probe $spec {fetch} {option} --quiet --buffer 1MiB --output {number}.trace -- sh work
echo 0 > $tracing/events/trapline/event/enable
cat $tracing/trace > /out/{number}.kernel
echo > $tracing/kprobe_events
trapline convert {number}.trace --to json > /out/{number}.json
echo $(cat first) $(cat last) > /out/{number}.span
"
        )?;
    }
    script.push_str("test \"$(trapline list)\" = 'nothing is probed'\n");
    succeeds(&Options {
        qemu: DISK.map(Into::into).into(),
        modules: vec!["nvme".into()],
        copy_out: Some(folder.path().to_owned()),
        ..Options::in_turn(series, script)
    })?;
    let wrong: Vec<String> = CASES
        .iter()
        .enumerate()
        .filter_map(|(number, case)| {
            let error = case.compare(folder.path(), number).err()?;
            Some(format!("{}: {error:#}", case.spec))
        })
        .collect();
    ensure!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
    Ok(())
}

/// What is told of a hit: when, in microseconds, and the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    cpu: u32,
    time: u64,
    text: String,
}

/// Hits of each process, in their order.
type Lines = BTreeMap<u32, Vec<Told>>;

/// Whether `ours` is told of number `number` of what the kernel tells of, at a time that is between its neighbours'. CPUs have a clock each.
fn same(ours: Option<&Told>, kernels: &[Told], number: usize) -> bool {
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

impl Case {
    fn compare(&self, folder: &Path, number: usize) -> Result<()> {
        let read = |what: &str| {
            let path = folder.join(format!("{number}.{what}"));
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let span = read("span")?;
        let (first, last) = span.trim().split_once(' ').with_context(|| format!("the span is {span}"))?;
        let span = first.parse()?..=last.parse()?;
        let in_span = |mut lines: Lines| {
            lines.retain(|process, _| span.contains(process));
            lines
        };
        let (ours, kernels) =
            (in_span(ours(&read("json")?, self)?), in_span(kernels(&read("kernel")?, self)?));
        let count = |lines: &Lines| lines.values().map(Vec::len).sum::<usize>();
        ensure!(count(&ours) >= self.least, "{} hits, expected {} at least", count(&ours), self.least);
        for (process, kernels) in &kernels {
            let ours = ours.get(process).map_or(&[][..], Vec::as_slice);
            for number in 0..kernels.len() {
                let ours = ours.get(number);
                ensure!(
                    same(ours, kernels, number),
                    "process {process}, hit {number}:\n  kernel   {:?}\n  trapline {ours:?}",
                    &kernels[number.saturating_sub(1)..kernels.len().min(number + 2)]
                );
            }
        }
        ensure!(
            count(&ours) == count(&kernels),
            "{} hits, where the kernel's probe event tells of {}",
            count(&ours),
            count(&kernels)
        );
        Ok(())
    }
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
}

/// Our own hits, as the kernel would print them: CPU, place, arguments.
fn ours(json: &str, case: &Case) -> Result<Lines> {
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
                // Between fork and exec, a process of the workload is still called as the command is.
                if comm == "trapline" {
                    continue;
                }
                let in_interrupt = flags.iter().any(|flag| flag == "interrupt");
                ensure!(
                    case.in_interrupt.is_none_or(|expected| expected == in_interrupt),
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
                lines.entry(pid).or_default().push(Told { cpu, time: time_ns / 1000, text });
            }
            Line::End { dropped, malformed, probes } => {
                ensure!(dropped == 0 && malformed == 0, "{dropped} records dropped, {malformed} malformed");
                ensure!(probes.missed == 0, "{} hits missed", probes.missed);
                ended = true;
            }
            Line::Other => {}
        }
    }
    ensure!(ended, "the trace is cut off");
    Ok(lines)
}

/// The kernel's lines: `  cat-149     [002] d..1.    12.345678: event: (vfs_read+0x0/0x300) who="cat" …`, and for a return `(caller+0x6a/0xa0 <- vfs_read)`.
fn kernels(trace: &str, case: &Case) -> Result<Lines> {
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
            // Its size is behind the offset; where it returns to is not known where several return probes meet.
            let place = match place.split_once(" <- ") {
                Some((_, function)) if case.at_return => format!("<- {function}"),
                _ if case.spec.contains('+') => place.split('/').next()?.to_owned(),
                // With indirect branch tracking the kernel puts a probe of a function behind its `endbr64`, and says so.
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
        let ours_line = r#"{"time_ns":12000345999,"cpu":2,"pid":149,"tgid":149,"comm":"cat","kind":"hit","probe":"vfs_read","moment":"before","ip":"0x1","function":"vfs_read","function_offset":0,"flags":[],"arguments":[{"name":"who","type":"string","value":"cat"},{"name":"bad","type":"x64"}]}"#;
        let end = r#"{"kind":"end","ended":0,"performed":[0,0,0],"dropped":0,"windows":0,"probes":{"hits":1,"missed":0,"faults":0,"fetch_faults":1},"malformed":0,"late":0}"#;
        let text = format!("{ours_line}\n{end}\n");
        let text_of_both = "(vfs_read+0x0) who=\"cat\" bad=(fault)".to_owned();
        let expected = Lines::from([(149, vec![Told { cpu: 2, time: 12_000_345, text: text_of_both }])]);
        assert_eq!(kernels(kernel, &CASES[0]).unwrap(), expected);
        assert_eq!(ours(&text, &CASES[0]).unwrap(), expected);
        assert!(ours(ours_line, &CASES[0]).is_err(), "a trace that is cut off is not compared");
        assert!(ours(&text.replace("\"dropped\":0", "\"dropped\":1"), &CASES[0]).is_err());
        assert!(ours(&text.replace("\"flags\":[]", "\"flags\":[\"interrupt\"]"), &CASES[0]).is_err());
    }

    #[test]
    fn a_return_is_told_by_its_function() {
        let kernel =
            " sh-1 [000] ..... 1.000007: event: (__x64_sys_openat+0x6a/0xa0 <- do_sys_openat2) fd=3\n";
        assert_eq!(
            kernels(kernel, &CASES[2]).unwrap(),
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
