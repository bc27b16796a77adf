//! The page-fault gate of our own: a table of interrupts of ours on every CPU.

use anyhow::{Result, bail, ensure};

use super::{Scenario, succeeds};
use crate::build;
use crate::setup::Series;
use crate::vm::Options;

pub(super) const COUNTED: Scenario = Scenario {
    name: "the gate counts the page faults that the kernel's tracepoints tell of, on 4 CPUs, with NMIs that fault as well, and leaves all registers intact",
    check: counted,
};
pub(super) const PUT_BACK: Scenario = Scenario {
    name: "a hundred times under a storm of faults the gate is put into every CPU's table and taken out again, a CPU that goes offline and comes back included",
    check: put_back,
};
pub(super) const REFUSED: Scenario = Scenario {
    name: "the gate is refused, with the reason, under page-table isolation and on CPUs whose entry ours does not know",
    check: refused,
};

/// Faults; across seven of eight every register is compared, the others being the kernel's own. On
/// the suite's newest kernel so many that those are ten million, which take two minutes under
/// software emulation.
fn faults(series: Series) -> u32 {
    if Some(&series) == Series::SUITE.last() { 11_500_000 } else { 300_000 }
}
const CYCLES: u32 = 100;
/// Faults of the run that is recorded.
const RECORDED: u32 = 3000;
/// How much of the 4096 bytes of the entry stack may be used.
const DEPTH: u32 = 2048;

fn machine(options: &Options, modules: &[&str], append: Option<&str>, script: &str) -> Result<String> {
    let outcome = succeeds(&Options {
        copy_in: vec![build::gate()?],
        modules: modules.iter().map(|&name| name.to_owned()).collect(),
        append: append.map(str::to_owned),
        command: vec![
            format!(
                "set -e\nmodprobe trapline\nmodprobe trapline_gate\ncd /sys/kernel/debug/trapline_gate\n{script}"
            )
            .into(),
        ],
        ..options.clone()
    })?;
    Ok(outcome.text())
}

/// Puts the gate in until descriptor 9 is closed; what is said of it is in `/tmp/held`.
const HOLD: &str = "mkfifo /tmp/hold
/trapline-gate hold </tmp/hold >/tmp/held 2>&1 &
hold=$!
exec 9>/tmp/hold
until grep -q held /tmp/held; do sleep 0.01; done";

fn counted(series: Series) -> Result<()> {
    let wanted = faults(series);
    let text = machine(
        &Options::new(series, ""),
        &[],
        None,
        &format!(
            "/trapline-gate count idt {wanted} nmis
cat nmis

# Recorded too, which is the deepest that the recorder goes.
echo 1 >depth
trapline faults --gate idt --quiet --output /tmp/trace -- /trapline-gate storm {RECORDED} </dev/null >/dev/null
trapline convert /tmp/trace --to json | grep -c '\"comm\":\"trapline-gate\",\"kind\":\"fault\"'
cat depth"
        ),
    )?;
    let lines: Vec<&str> = text.lines().collect();
    let number = |line: Option<&&str>| line.and_then(|line| line.split(' ').next()?.parse::<u32>().ok());
    let [.., faults, nmis, recorded, depth] = &lines[..] else { bail!("too little was said: {text}") };
    let [faults, nmis, recorded, depth] = [faults, nmis, recorded, depth].map(|line| number(Some(line)));
    ensure!(faults.is_some_and(|faults| faults >= wanted), "too few faults: {text}");
    ensure!(nmis.is_some_and(|nmis| nmis >= 100), "too few NMIs faulted: {text}");
    ensure!(recorded.is_some_and(|recorded| recorded >= RECORDED), "too few faults were recorded: {text}");
    // The frame, and the registers that the gate pushes, are 168 bytes.
    ensure!(
        depth.is_some_and(|depth| (168..DEPTH).contains(&depth)),
        "the entry stack was used otherwise: {text}"
    );
    Ok(())
}

fn put_back(series: Series) -> Result<()> {
    machine(
        &Options::new(series, ""),
        &[],
        None,
        &format!(
            "cp tables /tmp/before
test $(grep -c 'limit 0xfff ' tables) = 4
/trapline-gate cycles {CYCLES}
cmp tables /tmp/before

# Held while a CPU goes and comes, under a storm that runs on the others.
mkfifo /tmp/storm
/trapline-gate storm 100000000 </tmp/storm >/dev/null &
storm=$!
exec 8>/tmp/storm
{HOLD}
echo go >&8
ours=$(sed -n 's/^cpu 0 //p' tables)
same() {{ test $(grep -c \"$ours\" tables) = $1 && test $(grep -c . tables) = $1; }}
same 4
for time in 1 2 3; do
    echo 0 >/sys/devices/system/cpu/cpu3/online
    same 3
    echo 1 >/sys/devices/system/cpu/cpu3/online
    same 4
done
# One that is offline while the gate is taken out must not get it back.
echo 0 >/sys/devices/system/cpu/cpu3/online
exec 9>&-
wait $hold
cat /tmp/held
echo 1 >/sys/devices/system/cpu/cpu3/online
cmp tables /tmp/before
kill -0 $storm
kill $storm
wait $storm || true

# Ended by nothing but the close of its file.
rm /tmp/hold
{HOLD}
kill -9 $hold
wait $hold || true
cmp tables /tmp/before
rmmod trapline
cmp tables /tmp/before"
        ),
    )?;
    Ok(())
}

fn refused(series: Series) -> Result<()> {
    let in_turn = Options::in_turn(series, "");
    let reason = |options: &Options, append| {
        machine(options, &[], append, "cp tables /tmp/before; /trapline-gate refused; cmp tables /tmp/before")
    };
    let isolated = reason(&in_turn, Some("pti=on"))?;
    ensure!(isolated.contains("PageTableIsolation") && isolated.contains("os error 95"), "{isolated}");
    // The kernel guards against trained returns on the CPUs of AMD that need it: of the first Zen.
    let trained = Options { qemu: vec!["-cpu".into(), "EPYC".into()], ..in_turn.clone() };
    for entry in [reason(&in_turn, Some("nofsgsbase"))?, reason(&trained, None)?] {
        ensure!(entry.contains("Entry") && entry.contains("os error 95"), "{entry}");
    }
    // Another's table, put in before the gate, or over it: the gate ends all the same, every CPU
    // gets the kernel's back, and the program fails.
    let script = format!(
        "cp tables /tmp/before
echo 2 >foreign
/trapline-gate refused
echo 2 >foreign
cmp tables /tmp/before
{HOLD}
echo 2 >foreign
exec 9>&-
wait $hold && exit 1
cat /tmp/held
cmp tables /tmp/before"
    );
    let foreign = machine(&in_turn, &[], None, &script)?;
    ensure!(foreign.contains("ForeignTable") && foreign.contains("os error 16"), "{foreign}");
    ensure!(foreign.contains("1 CPUs lost our table"), "{foreign}");
    // KVM on Intel would note our table, and put it in long after it is gone.
    let script = format!(
        "{HOLD}
modprobe kvm_intel 2>&1 || true
exec 9>&-
wait $hold
modprobe kvm_intel 2>&1 || true"
    );
    let kvm = machine(&in_turn, &["kvm_intel"], None, &script)?;
    let lines: Vec<&str> = kvm.lines().collect();
    ensure!(lines.len() == 2 && lines[0].contains("busy"), "kvm_intel was not refused: {kvm}");
    ensure!(!lines[1].contains("busy"), "kvm_intel was refused when the gate had gone: {kvm}");
    Ok(())
}
