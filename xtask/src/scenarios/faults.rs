//! Page faults: each is seen once, named right, and may be claimed.

mod causes;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tempfile::TempDir;

use super::{Scenario, succeeds};
use crate::setup::Series;
use crate::vm::Options;
use crate::{build, exec};
pub(super) use causes::{AS_MODELLED, MISTAKEN, NAMED};

pub(super) const COUNTED: Scenario = Scenario {
    name: "every page fault of pipelines, a compiler, a database and fork storms on 4 CPUs is seen once, by hook and by gate, as the kernel's own tracepoints have it",
    check: counted,
};
pub(super) const TIMED: Scenario = Scenario {
    name: "how long a page fault took is told of those that the kernel's memory management served, and of no others",
    check: timed,
};
pub(super) const CLAIMED: Scenario = Scenario {
    name: "a module serves faults of its own while others watch them first; they go in either order under faults on all CPUs",
    check: claimed,
};
pub(super) const BESIDE_MMIOTRACE: Scenario = Scenario {
    name: "handlers of all page faults are asked while the kernel's own mmiotrace is on, which loses no access by that",
    check: beside_mmiotrace,
};
pub(super) const LOOPING: Scenario = Scenario {
    name: "a claim that leads nowhere is honoured for a second, told of, and then no more",
    check: looping,
};

/// One fault, as JSON Lines have it.
#[derive(Debug, Deserialize)]
struct Fault {
    pid: u32,
    comm: String,
    address: String,
    error_code: String,
    cause: String,
    mode: String,
    ip: String,
    #[serde(default)]
    memory: String,
    took_ns: Option<u64>,
}

/// The faults in a file of JSON Lines, and whether nothing was dropped.
fn read_faults(path: &Path) -> Result<Vec<Fault>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut faults = Vec::new();
    let mut ended = false;
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line)?;
        match value["kind"].as_str() {
            Some("fault") => faults.push(Fault::deserialize(value)?),
            Some("lost") => bail!("records were lost: {line}"),
            Some("end") => ended = true,
            _ => {}
        }
    }
    ensure!(ended, "the trace was cut off");
    Ok(faults)
}

fn hex(text: &str) -> Result<u64> {
    let digits = text.trim().trim_start_matches("0x");
    u64::from_str_radix(digits, 16).with_context(|| format!("`{text}` is no hexadecimal number"))
}

/// Faults by thread and by what tells those of one task apart.
pub(super) type ByTask = BTreeMap<u32, BTreeMap<Key, u32>>;

/// The faults among events as JSON Lines have them.
pub(super) fn faults_of_json(events: &[serde_json::Value]) -> Result<ByTask> {
    let mut faults = ByTask::new();
    for event in events.iter().filter(|event| event["kind"] == "fault") {
        let fault = Fault::deserialize(event)?;
        *faults.entry(fault.pid).or_default().entry(fault.key()?).or_default() += 1;
    }
    Ok(faults)
}

impl Fault {
    fn key(&self) -> Result<Key> {
        Ok((self.mode == "user", user_half(hex(&self.address)?), hex(&self.error_code)?))
    }
}

/// What tells faults of one task apart: mode, address if it is one of user space (ftrace prints the
/// kernel's as symbols), error code.
pub(super) type Key = (bool, Option<u64>, u64);

fn user_half(address: u64) -> Option<u64> {
    (address >> 63 == 0).then_some(address)
}

/// The faults in ftrace's text, by thread: ` sort-123 [002] d..1. 12.3: page_fault_user:
/// address=0x5e4710 ip=0x40ebf0 error_code=0x14`.
pub(super) fn faults_of_ftrace(text: &str) -> Result<ByTask> {
    let mut faults = ByTask::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((head, event)) = line.split_once(": page_fault_") else { continue };
        let task = head.split(" [").next().unwrap_or(head).trim_end();
        let pid = task
            .rsplit('-')
            .next()
            .and_then(|pid| pid.parse().ok())
            .context("no pid in a line of ftrace's")?;
        let field = |name: &str| Some(event.split_once(name)?.1.split(' ').next().unwrap_or_default());
        let address = field("address=").filter(|text| text.starts_with("0x"));
        let address = address.map(hex).transpose()?.and_then(user_half);
        let code = hex(field("error_code=").context("no error code in a line of ftrace's")?)?;
        *faults.entry(pid).or_default().entry((event.starts_with("user"), address, code)).or_default() += 1;
    }
    Ok(faults)
}

/// Programs of the workload: whoever is called so began and ended while both watched.
const PROGRAMS: [&str; 8] = ["sort", "ls", "wc", "awk", "gzip", "cc1", "as", "sqlite3"];

/// The compiler proper: without its driver, which would look for headers and libraries.
fn compiler() -> Result<PathBuf> {
    let path = exec::output(Command::new("gcc-12").arg("-print-prog-name=cc1"))?;
    Ok(path.trim().into())
}

fn counted(series: Series) -> Result<()> {
    let folder = TempDir::new()?;
    let compiler = compiler()?;
    succeeds(&Options {
        memory: 2048,
        // Tracepoints are switched on and off, for which the kernel patches code that handles
        // faults. What QEMU may make of that ends a later kernel, which is known and forgiven; 6.1
        // takes a breakpoint that is gone again and again, with interrupts off (see `code`), and
        // was seen to hang so.
        patched_by_kernel: true,
        one_thread: series == Series::V6_1,
        program: vec![compiler.clone(), "as".into(), "sqlite3".into()],
        copy_out: Some(folder.path().to_owned()),
        ..Options::new(
            series,
            format!(
                "set -e
tracing=/sys/kernel/tracing
cat > /source.c <<'END'
static int table[4096];
int sum(int seed) {{ int i, all = 0; for (i = 0; i < 4096; i++) {{ table[i] = seed * i; all += table[(i * 7) % 4096]; }} return all; }}
END
cat > /workload <<'END'
({compiler} -quiet -ffreestanding -O2 /source.c -o /tmp/source.s && as /tmp/source.s -o /tmp/source.o) &
sqlite3 /tmp/database 'create table numbers (n integer primary key, text); with recursive c(n) as (select 1 union all select n + 1 from c where n < 20000) insert into numbers select n, hex(n * n) from c; create index texts on numbers (text); select count(*), max(text) from numbers;' > /dev/null &
for i in 1 2 3 4; do
  (ls -lR /bin /etc | sort | wc -l; awk 'BEGIN {{ while (n++ < 20000) a[n] = n; print length(a) }}'; cat /bin/* | head -c 300000 | gzip | wc -c) > /dev/null &
  (for fork in 1 2 3 4 5 6 7 8 9 10; do (:) & done; wait) &
done
wait
END
echo 40000 > $tracing/buffer_size_kb
for gate in hook idt; do
    echo > $tracing/trace
    echo 1 > $tracing/events/exceptions/enable
    trapline faults --gate $gate --buffer 64MiB --quiet --format json --output /out/$gate.json -- sh /workload
    echo 0 > $tracing/events/exceptions/enable
    cat $tracing/per_cpu/cpu*/stats > /out/$gate.stats
    cat $tracing/trace > /out/$gate.ftrace
    rm /tmp/database /tmp/source.o
done
echo 'hist:keys=error_code if comm == \"sort\"' > $tracing/events/exceptions/page_fault_user/trigger
trapline faults --count --user --comm sort -- sh /workload > /out/counts
cat $tracing/events/exceptions/page_fault_user/hist > /out/hist
rmmod trapline",
                compiler = compiler.display()
            ),
        )
    })?;
    ["hook", "idt"].into_iter().try_for_each(|gate| {
        compare(folder.path(), gate).with_context(|| format!("seen by the gate `{gate}`"))
    })?;
    let read = |name: &str| fs::read_to_string(folder.path().join(name));
    // The last run was only counted, by the kernel in a histogram.
    let hist = read("hist")?;
    let told = |what| {
        let found = hist.lines().find_map(|line| line.trim().strip_prefix(what)?.parse::<usize>().ok());
        found.with_context(|| format!("the kernel's histogram has no `{what}`"))
    };
    // Dropped are those that met the first of their kind on another CPU.
    let sorts = told("Hits: ")? + told("Dropped: ")?;
    let counts = read("counts")?;
    let passed = counts.lines().find(|line| line.ends_with("of these as asked for"));
    let passed: usize =
        passed.and_then(|line| line.split_whitespace().next()?.parse().ok()).context("no count")?;
    ensure!(
        passed == sorts && sorts > 0,
        "we counted {passed} faults of sort, the tracepoints {sorts}:\n{hist}"
    );
    Ok(())
}

/// Holds what was recorded by a gate against ftrace's record of the same run.
fn compare(folder: &Path, gate: &str) -> Result<()> {
    let read = |what: &str| fs::read_to_string(folder.join(format!("{gate}.{what}")));
    for line in read("stats")?.lines().filter(|line| line.starts_with("overrun")) {
        ensure!(line == "overrun: 0", "ftrace's buffer was too small: {line}");
    }
    let seen = read_faults(&folder.join(format!("{gate}.json")))?;
    let text = read("ftrace")?;
    let expected = faults_of_ftrace(&text)?;
    let mut ours = ByTask::new();
    let mut whole = BTreeMap::new();
    for fault in &seen {
        *ours.entry(fault.pid).or_default().entry(fault.key()?).or_default() += 1;
        if PROGRAMS.contains(&fault.comm.as_str()) {
            whole.insert(fault.pid, fault.comm.clone());
        }
    }
    for program in PROGRAMS {
        ensure!(whole.values().any(|comm| comm == program), "no {program} was seen");
    }
    ensure!(whole.len() > 20, "only {} programs were seen", whole.len());
    let mut total = 0;
    for (pid, comm) in &whole {
        let (ours, theirs) = (ours.get(pid), expected.get(pid));
        ensure!(ours == theirs, "{comm}-{pid}: we saw\n{ours:x?}, the tracepoints\n{theirs:x?}");
        total += ours.into_iter().flatten().map(|(_, count)| count).sum::<u32>();
    }
    ensure!(total > 4000, "only {total} faults were compared");
    Ok(())
}

/// Milliseconds that the module makes a fault take.
const DELAY: u64 = 60;

fn timed(series: Series) -> Result<()> {
    let folder = TempDir::new()?;
    succeeds(&Options {
        // The kernel patches its page-fault path: see `probes`.
        one_thread: true,
        copy_in: vec![build::faults()?],
        copy_out: Some(folder.path().to_owned()),
        ..Options::new(
            series,
            format!(
                "set -e
modprobe trapline_late delay={DELAY}
for cause in late first-touch null; do
  trapline faults --latency --quiet --comm trapline-faults --output /out/$cause.trace -- sh -c \"/trapline-faults $cause > /out/$cause\" || true
  trapline convert /out/$cause.trace --to json > /out/$cause.json
done
trapline report /out/late.trace --svg /out/late.svg > /out/report
trapline list | grep -q 'nothing is probed'
rmmod trapline trapline_late"
            ),
        )
    })?;
    let took = |name: &str| -> Result<Option<u64>> {
        let address = hex(&fs::read_to_string(folder.path().join(name))?)?;
        let faults = read_faults(&folder.path().join(format!("{name}.json")))?;
        let there = faults.iter().find(|fault| hex(&fault.address).is_ok_and(|at| at == address));
        Ok(there.with_context(|| format!("{name}: no fault at {address:#x} among {faults:?}"))?.took_ns)
    };
    let late = took("late")?;
    ensure!(late.is_some_and(|late| late >= DELAY * 1_000_000), "a late page took {late:?} ns");
    ensure!(took("first-touch")?.is_some(), "a first touch has no time");
    // It ends in a signal, before anything is served.
    let null = took("null")?;
    ensure!(null.is_none(), "a null pointer took {null:?} ns");
    let report = fs::read_to_string(folder.path().join("report"))?;
    ensure!(report.contains("took: half within"), "no times are reported:\n{report}");
    let picture = fs::read_to_string(folder.path().join("late.svg"))?;
    ensure!(picture.contains("How long they took"), "no times are drawn");
    Ok(())
}

/// Pages of the example: so many that no other area of the kernel has.
const PAGES: u64 = 61;

fn claimed(series: Series) -> Result<()> {
    let folder = TempDir::new()?;
    let outcome = succeeds(&Options {
        // The kernel patches its page-fault path while every CPU is in it: see `probes`.
        one_thread: true,
        copy_out: Some(folder.path().to_owned()),
        ..Options::new(
            series,
            format!("set -e
pages=/proc/trapline_example_pages
claims=/sys/module/trapline_claims/parameters
echo 1 > /proc/sys/kernel/kptr_restrict
storm() {{ while :; do ls -l /bin | sort > /dev/null; done; }}
storm & one=$!; storm & two=$!; storm & three=$!; storm & four=$!
for order in example-first claims-first; do
  modprobe trapline_example_pages pages={PAGES}
  # Of its pages alone: who came last must see the faults that the first one will claim.
  area=$(sed -n 's/^\\(0x[0-9a-f]*\\)-.*pages={PAGES} vmalloc.*/\\1/p' /proc/vmallocinfo)
  modprobe trapline_claims first=$area last=$(printf '0x%x' $((area + {PAGES} * 4096 - 1)))
  before=$(cat $claims/seen)
  for reader in 1 2 3 4; do cat $pages > /out/$order.$reader & readers=\"$readers $!\"; done
  wait $readers; readers=
  test $(cat $claims/seen) -ge $((before + {PAGES}))
  trapline list
  if [ $order = example-first ]; then rmmod trapline_example_pages; rmmod trapline_claims; else rmmod trapline_claims; cat $pages | cmp - /out/$order.1; rmmod trapline_example_pages; fi
done
kill $one $two $three $four
wait || true
trapline status
# Nobody needs the hooks any more.
if grep -q 'kmmio' /sys/kernel/tracing/enabled_functions; then cat /sys/kernel/tracing/enabled_functions; exit 1; fi
rmmod trapline
dmesg | grep 'pages served'"),
        )
    })?;
    let said = String::from_utf8_lossy(&outcome.stdout).into_owned();
    ensure!(said.matches("pages served").count() == 2, "the example did not tell what it served:\n{said}");
    let expected: Vec<u8> = (0..PAGES * 4096 / 8).flat_map(|word: u64| (word * 8).to_le_bytes()).collect();
    for order in ["example-first", "claims-first"] {
        for reader in 1..=4 {
            let read = fs::read(folder.path().join(format!("{order}.{reader}")))?;
            ensure!(read == expected, "{order}: reader {reader} read something else than was served");
        }
    }
    Ok(())
}

fn looping(series: Series) -> Result<()> {
    let outcome = succeeds(&Options {
        copy_in: vec![build::faults()?],
        ..Options::in_turn(
            series,
            "set -e
modprobe trapline_claims first=0x18 last=0x18 claim=1
trapline faults --count -- sh -c '/trapline-faults null' || status=$?
test $status = 139
cat /sys/module/trapline_claims/parameters/seen
rmmod trapline_claims
dmesg | grep -c 'its claim is no longer honoured'",
        )
    })?;
    let said = String::from_utf8_lossy(&outcome.stdout).into_owned();
    ensure!(said.contains("claimed by handlers"), "no claims were counted:\n{said}");
    // The signal's handler that Rust's library has puts the default back and tries once more.
    ensure!(said.contains("  claimed again and again without progress"), "the loop was not noticed:\n{said}");
    Ok(())
}

/// Reads that mmiotrace must tell of.
const READS: usize = 200;

fn beside_mmiotrace(series: Series) -> Result<()> {
    let outcome = succeeds(&Options {
        qemu: super::account::DEVICES.map(Into::into).into(),
        copy_in: vec![build::faults()?],
        ..Options::in_turn(
            series,
            format!(
                "set -e
tracing=/sys/kernel/tracing
modprobe trapline_claims first=0x18 last=0x18
echo mmiotrace > $tracing/current_tracer
modprobe trapline_pace count={READS}
modprobe -r trapline_pace
# Asked about page faults of programs all the same, and again when mmiotrace has gone.
asked() {{ before=$(cat /sys/module/trapline_claims/parameters/seen); sh -c 'exec 2>/dev/null; /trapline-faults null' || true; test $(cat /sys/module/trapline_claims/parameters/seen) -gt $before; }}
asked
grep -c '^R 4 ' $tracing/trace
echo nop > $tracing/current_tracer
asked
rmmod trapline_claims trapline
echo mmiotrace > $tracing/current_tracer
modprobe trapline_pace count={READS}
grep -c '^R 4 ' $tracing/trace
echo nop > $tracing/current_tracer"
            ),
        )
    })?;
    let told: Vec<usize> = outcome.text().lines().filter_map(|line| line.parse().ok()).collect();
    ensure!(told == [READS, READS], "mmiotrace told of so many reads: {told:?}");
    Ok(())
}
