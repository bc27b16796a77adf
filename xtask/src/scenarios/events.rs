//! `trapline probe` beside the kernel's own probe events: for the same place, arguments and run,
//! both must tell the same, line by line.
//!
//! A probe event stands in the kernel while `trapline probe` runs a workload with the same
//! arguments. Compared is what the workload's own processes did: it begins after both probes are
//! set and ends before either is gone. Lines are compared by process, in their order. The two look
//! at the clock one after the other, so a hit's time is compared with those of the hits before and
//! after it, as the kernel tells them. Left out is the name of the task as the kernel's trace has
//! it, which it looks up later: `$comm` is fetched instead.

mod case;
mod cases;
mod lines;

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

use self::case::Case;
use self::cases::CASES;
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

fn equal(series: Series) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let short = if series < Series::V7_2 { "d_iname" } else { "d_shortname.string" };
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
# Where a short name is in its entry: 6.15 named the member anew.
short={short}
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
spec=\"{spec}\"
set -- {kernel}
for place in {kernel_spec}; do
    echo \"{letter}:trapline/event $place $*\" >> $tracing/kprobe_events || {{ echo $place; cat $tracing/error_log; exit 1; }}
done
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
