//! `trapline probe` beside the kernel's own probe events: for the same place, arguments and run, both must tell the same, line by line.
//!
//! A probe event stands in the kernel while `trapline probe` runs a workload with the same arguments. Compared is what the workload's own processes did:
//! it begins after both probes are set and ends before either is gone. Lines are compared by process, in their order. The two look at the clock one after the other, so
//! a hit's time is compared with those of the hits before and after it, as the kernel tells them. Left out is the name of the task as the kernel's trace has it, which
//! it looks up later: `$comm` is fetched instead.

mod lines;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use self::lines::{Lines, kernels, ours, same};
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
        let (ours, kernels) = (
            in_span(ours(&read("json")?, self.in_interrupt)?),
            in_span(kernels(&read("kernel")?, self.at_return, self.spec.contains('+'))?),
        );
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
