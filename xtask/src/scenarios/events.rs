//! `trapline probe` beside the kernel's own probe events: for the same place, arguments and run,
//! both must tell the same, line by line.
//!
//! A probe event stands in the kernel while `trapline probe` runs a workload with the same
//! arguments. Compared is what the workload's own processes did: it begins after both probes are
//! set and ends before either is gone. Lines are compared by process, in their order. The two look
//! at the clock one after the other, so a hit's time is compared with those of the hits before and
//! after it, as the kernel tells them. Left out is the name of the task as the kernel's trace has
//! it, which it looks up later: `$comm` is fetched instead.

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
    /// What kernel 6.1 is told to fetch, whose own events know no types: where members lie in it.
    /// Where that is the same in both, it is `kernel`.
    older: Option<&'static str>,
    /// What the kernel calls the place, where it has another name for it.
    kernel_spec: Option<&'static str>,
    /// Whether Trapline is given the kernel's definition, in one word, as it is pasted.
    pasted: bool,
    /// Which hits both are to tell of: to Trapline a condition, to the kernel's events a filter.
    condition: Option<&'static str>,
    /// Hits that the workload makes at least.
    least: usize,
    /// Whether they come in interrupts, where that is sure. The kernel's trace can't tell: it takes
    /// the probe's own breakpoint for one.
    in_interrupt: Option<bool>,
}

/// A probe that the kernel is told of in the same words.
const SAME: Case = Case {
    spec: "",
    at_return: false,
    fetch: "",
    kernel: None,
    older: None,
    kernel_spec: None,
    pasted: false,
    condition: None,
    least: 1,
    in_interrupt: None,
};

const CASES: &[Case] = &[
    Case {
        spec: "do_sys_openat2",
        fetch: r#"'who=$comm' 'dfd=%di:s32' 'filename=+0(%si):string' 'user=+0(%si):ustring' 'u=+u0(%si):x32' 'how=+0(%dx):x64[3]' '+8(%dx)' \
            'bits=+0(%dx):b2@0/32' 'sp=$stack' 'caller=$stack0:symbol' 's1=$stack1:u16' 'third=$arg3' 'minus=\-5:s64' 'byte=\300:u8' \
            'banner=@linux_banner:x8[5]' 'in=@linux_banner+6:u32' 'line=+0(@saved_command_line):string' 'bad=+0(\16):string' 'nested=+4(+0(%sp)):x32' \
            'bytes=+0(@saved_command_line):u8[3]' 'strings=@envp_init:string[2]'"#,
        least: 20,
        in_interrupt: Some(false),
        ..SAME
    },
    Case {
        spec: "do_sys_openat2",
        fetch: "'who=$comm' dfd filename how",
        kernel: Some("'who=$comm' 'dfd=%di:s32' 'filename=+0(%si):string' 'how=%dx:x64'"),
        least: 20,
        in_interrupt: Some(false),
        ..SAME
    },
    Case {
        spec: "do_sys_openat2",
        at_return: true,
        fetch: "'who=$comm' 'fd=$retval:s32'",
        least: 20,
        in_interrupt: Some(false),
        ..SAME
    },
    Case {
        spec: "vfs_read",
        at_return: true,
        fetch: "'who=$comm' 'got=$retval:s64' 'hex=$retval:x16'",
        least: 10,
        in_interrupt: Some(false),
        ..SAME
    },
    // An instruction inside of a function, which is stepped or emulated by way of a breakpoint.
    Case {
        spec: "vfs_read+$inside",
        fetch: "'who=$comm' '%ax' '%di' '%bx:u32' '%flags' '%cs:x16'",
        least: 10,
        in_interrupt: Some(false),
        ..SAME
    },
    Case {
        spec: "__dev_queue_xmit",
        fetch: "'who=$comm' 'skb=%di' 'len=+112(%di):u32' 'x=+0(+16(%di)):x8[8]'",
        least: 4,
        ..SAME
    },
    // In a soft interrupt.
    Case {
        spec: "ip_rcv",
        fetch: "'who=$comm' 'skb=%di' 'device=%si' 'data=+0(+200(%di)):x32'",
        least: 4,
        in_interrupt: Some(true),
        ..SAME
    },
    Case {
        spec: "submit_bio_noacct",
        fetch: "'who=$comm' 'op=+16(%di):x32' 'flags=+20(%di):x16'",
        least: 1,
        ..SAME
    },
    Case { spec: "nvme_core:nvme_setup_cmd", fetch: "'who=$comm' 'request=%si'", least: 1, ..SAME },
    // Conditions: texts, patterns, and numbers with and without a sign, joined.
    Case {
        spec: "do_sys_openat2",
        fetch: "'who=$comm' 'dfd=%di:s32' 'filename=+0(%si):string'",
        condition: Some(r#"filename ~ "/etc/*" && dfd < 0 || who == "ls""#),
        ..SAME
    },
    Case {
        spec: "vfs_read",
        fetch: "'who=$comm' 'count=%dx:u64'",
        condition: Some(r#"count >= 4096 && !(who == "sh" || who ~ "*a[!b]")"#),
        ..SAME
    },
    Case {
        spec: "vfs_read",
        at_return: true,
        fetch: "'who=$comm' 'got=$retval:s64'",
        condition: Some(r#"(got <= 0 || got & 0x40) && who != "dd""#),
        pasted: true,
        least: 2,
        ..SAME
    },
    // Definitions as they are pasted: of an event with a name, of a return, of one that follows so
    // many calls; and the newer way to say a return.
    Case {
        spec: "do_sys_openat2",
        fetch: r#"'who=$comm' 'dfd=%di:s32' 'filename=+0(%si):string' 'minus=\-5:s64' '%si:x16'"#,
        pasted: true,
        least: 20,
        ..SAME
    },
    Case {
        spec: "do_sys_openat2",
        at_return: true,
        fetch: "'who=$comm' 'fd=$retval:s32'",
        pasted: true,
        least: 20,
        ..SAME
    },
    Case {
        spec: "vfs_read%return",
        at_return: true,
        fetch: "'who=$comm' 'got=$retval:s64'",
        pasted: true,
        least: 10,
        ..SAME
    },
    // What a function returns has its type, and members: kernel 6.1's own events know neither.
    Case {
        spec: "vfs_read",
        at_return: true,
        fetch: "'who=$comm' '$retval'",
        older: Some("'who=$comm' '$retval:s64'"),
        pasted: true,
        least: 10,
        ..SAME
    },
    Case {
        spec: "getname_flags",
        at_return: true,
        fetch: "'who=$comm' 'name=$retval->name:string' 'count=$retval->refcnt:u32' '+0($retval->name):x8[3]'",
        older: Some(
            "'who=$comm' 'name=+0(+0($retval)):string' 'count=+16($retval):u32' '+0(+0($retval)):x8[3]'",
        ),
        pasted: true,
        least: 20,
        ..SAME
    },
    // Parameters, members, members of members, and what is in place of them.
    Case {
        spec: "vfs_read",
        fetch: "'who=$comm' 'name=file->f_path.dentry->d_name.name:string' 'length=file->f_path.dentry->d_name.len' \
            'flags=file->f_flags' 'mode=file->f_mode:x32' 'inode=file->f_inode->i_ino' 'operations=file->f_op' count buf:x64 \
            'file->f_pos:s64' 'short=file->f_path.dentry->d_iname:string'",
        older: Some(
            "'who=$comm' 'name=+0(+40(+24(%di))):string' 'length=+36(+24(%di)):u32' 'flags=+64(%di):u32' \
            'mode=+68(%di):x32' 'inode=+64(+32(%di)):u64' 'operations=+40(%di)' 'count=%dx:u64' 'buf=%si:x64' '+104(%di):s64' \
            'short=+56(+24(%di)):string'",
        ),
        pasted: true,
        least: 10,
        ..SAME
    },
    // The names of files and dentries, for which kernel 6.1 has no word.
    Case {
        spec: "vfs_read",
        fetch: "'who=$comm' 'name=file:%pD' '%di:%pD' '$arg1:%pD'",
        older: Some(
            "'who=$comm' 'name=+0(+40(+24(%di))):string' '+0(+40(+24(%di))):string' '+0(+40(+24($arg1))):string'",
        ),
        kernel: Some("'who=$comm' 'name=file:%pD' '%di:%pD' 'arg4=$arg1:%pD'"),
        pasted: true,
        least: 10,
        ..SAME
    },
    Case {
        spec: "dput",
        fetch: "'who=$comm' 'name=%di:%pd'",
        older: Some("'who=$comm' 'name=+0(+40(%di)):string'"),
        pasted: true,
        least: 10,
        ..SAME
    },
    // All parameters, by their names and types.
    Case {
        spec: "__dev_queue_xmit",
        fetch: "'who=$comm' '$arg*'",
        older: Some("'who=$comm' 'skb=%di' 'sb_dev=%si'"),
        pasted: true,
        least: 4,
        ..SAME
    },
    // Bit fields and elements, which lie in structures and unions without names; the kernel's own
    // events have bit fields by types too, and write over what is behind them.
    Case {
        spec: "__dev_queue_xmit",
        fetch: "'who=$comm' 'kind=skb->pkt_type' 'sum=skb->ip_summed' 'cloned=skb->cloned' 'device=skb->dev->name' 'index=skb->dev->ifindex' \
            'third=skb->cb[3]:x8' 'row=skb->cb:x8[4]' 'head=skb->head[1]:x8'",
        kernel: Some(
            "'who=$comm' 'kind=+128(%di):b3@0/8' 'sum=+128(%di):b2@5/8' 'cloned=+126(%di):b1@0/8' 'device=skb->dev->name:string' 'index=skb->dev->ifindex' \
            'third=+43(%di):x8' 'row=+40(%di):x8[4]' 'head=+1(+200(%di)):x8'",
        ),
        older: Some(
            "'who=$comm' 'kind=+128(%di):b3@0/8' 'sum=+128(%di):b2@5/8' 'cloned=+126(%di):b1@0/8' 'device=+0(+16(%di)):string' 'index=+216(+16(%di)):s32' \
            'third=+43(%di):x8' 'row=+40(%di):x8[4]' 'head=+1(+200(%di)):x8'",
        ),
        least: 4,
        ..SAME
    },
    // Pointers whose type is said, and what a pointer to a member lies in: kernel 7.3's own events
    // have that.
    Case {
        spec: "inet_recvmsg",
        fetch: "'who=$comm' 'inode=(socket_alloc,socket)sock->vfs_inode.i_ino' 'family=(sock)(+24(%di))->__sk_common.skc_family'",
        kernel: Some("'who=$comm' 'inode=+192(%di):u64' 'family=+16(+24(%di)):u16'"),
        ..SAME
    },
    // A system call, whose arguments are where the registers were saved.
    Case {
        spec: "sys_openat",
        fetch: "'who=$comm' dfd filename flags mode '+112($arg1):s32'",
        kernel: Some(
            "'who=$comm' 'dfd=+112(%di):s32' 'filename=+0(+104(%di)):string' 'flags=+96(%di):s32' 'mode=+56(%di):u16' '+112(%di):s32'",
        ),
        kernel_spec: Some("__x64_sys_openat"),
        least: 20,
        ..SAME
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
    for (number, case) in CASES.iter().enumerate() {
        let Case { spec, fetch, .. } = case;
        let (letter, option) = if case.at_return { ("r", "--return") } else { ("p", "") };
        let kernel = case.kernels(series);
        let kernel_spec = case.kernel_spec.unwrap_or(spec);
        let asked = match (case.pasted, case.at_return) {
            (false, _) => format!("$spec {fetch} {option}"),
            // A return is told by its event's name if it has one, and by its function in the
            // kernel's trace.
            (true, true) => r#""r $spec $*""#.into(),
            (true, false) => r#""p:trapline/event $spec $*""#.into(),
        };
        let condition = case.condition.map(|text| format!("if '{text}'")).unwrap_or_default();
        // A filter of 0 is none.
        let filter = case.condition.unwrap_or("0");
        // Return events name their own default; everything else is the same text.
        write!(
            script,
            "
spec={spec}
set -- {kernel}
echo \"{letter}:trapline/event {kernel_spec} $*\" > $tracing/kprobe_events || {{ cat $tracing/error_log; exit 1; }}
echo '{filter}' > $tracing/events/trapline/event/filter
echo > $tracing/trace
echo 1 > $tracing/events/trapline/event/enable
set -- {fetch}
trapline probe {asked} {condition} --quiet --buffer 1MiB --output {number}.trace -- sh work
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
    /// What the kernel's own event is told to fetch.
    fn kernels(&self, series: Series) -> &'static str {
        let kernel = self.kernel.unwrap_or(self.fetch);
        if series >= Series::V6_12 { kernel } else { self.older.unwrap_or(kernel) }
    }

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
            in_span(ours(&read("json")?, self.in_interrupt, self.condition.is_some())?),
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
