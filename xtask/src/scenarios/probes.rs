//! Code probes of sessions: what they record, and that they leave nothing behind, on functions of
//! the module `trapline_target`.

use anyhow::Result;

use super::{Scenario, succeeds};
use crate::build;
use crate::setup::Series;
use crate::vm::Options;

pub(super) const RECORDED: Scenario = Scenario {
    name: "hits of code probes record arguments, strings, faults, stacks and returns, of the processes and CPUs asked for",
    check: recorded,
};
pub(super) const STARTED_AND_STOPPED: Scenario = Scenario {
    name: "a thousand starts and stops of code probes under load leave the code bit for bit as it was",
    check: started_and_stopped,
};
pub(super) const KILLED: Scenario = Scenario {
    name: "kill -9 of who probes code under load leaves the code bit for bit as it was",
    check: killed,
};
pub(super) const REMOVED: Scenario = Scenario {
    name: "the module can't be removed while it probes code, and can be right afterwards, under load",
    check: removed,
};
pub(super) const TARGET_GONE: Scenario = Scenario {
    name: "a module that goes away while its code is probed leaves its probes harmless, and listed as gone",
    check: target_gone,
};
pub(super) const THOUSANDS: Scenario = Scenario {
    name: "two thousand code probes count every call, and leave the code bit for bit as it was",
    check: thousands,
};
pub(super) const REFUSED: Scenario = Scenario {
    name: "whichever allocation of a code probe is refused, it is told and nothing is left",
    check: refused,
};

/// Loads the modules; `as_before` waits for the probed code to be as it was, since the kernel
/// undoes its jumps some time after the probe has gone.
const LOAD: &str = "set -e
target=/sys/kernel/debug/trapline_target
modprobe trapline
modprobe trapline_target
cat $target/text > /tmp/text
as_before() {
    for try in $(seq 500); do
        if cat $target/text | cmp -s - /tmp/text; then return 0; fi
        sleep 0.01
    done
    cat $target/text | cmp - /tmp/text
}
";

/// Calls the probed functions on a CPU that is not the first until `unload`; each call's result is
/// checked. On one: the CPUs take turns of a tenth of a second (QEMU's TCG_KICK_PERIOD), so more of
/// them run no more at once, and who patches code waits a turn of each, several times.
const BUSY: &str = "
taskset -c 2 sh -c \"echo 0 > $target/run\" 2>/dev/null &
load=$!
unload() {
    test $(cut -d ' ' -f 2 $target/calls) -gt 1000
    kill $load
    wait $load || true
    if dmesg | grep 'gave a wrong result'; then exit 1; fi
}
";

/// Runs `script` where one CPU runs at a time. With a thread for each, QEMU now and then translates
/// code anew between the moment it notes a change and the change itself, and goes on running what
/// was there: a breakpoint that the kernel has long taken away, of its own probes as of ours.
fn run(series: Series, script: &str) -> Result<()> {
    succeeds(&Options {
        cpus: 4,
        one_thread: true,
        copy_in: vec![build::probes()?],
        ..Options::new(series, format!("{LOAD}{script}"))
    })?;
    Ok(())
}

/// The same with the functions called on another CPU while their code is changed.
fn under_load(series: Series, script: &str) -> Result<()> {
    run(series, &format!("{BUSY}{script}\nunload"))
}

fn recorded(series: Series) -> Result<()> {
    run(series, "/trapline-probes records")
}

fn started_and_stopped(series: Series) -> Result<()> {
    under_load(series, "/trapline-probes cycles 1000\nas_before")
}

fn killed(series: Series) -> Result<()> {
    under_load(
        series,
        "for cycle in $(seq 5); do
    rm -f /tmp/said
    /trapline-probes hold > /tmp/said &
    holder=$!
    until grep -q armed /tmp/said 2>/dev/null; do sleep 0.01; done
    if cat $target/text | cmp -s - /tmp/text; then echo 'nothing is armed'; exit 1; fi
    kill -9 $holder
    wait $holder || true
    as_before
    trapline list | grep -q 'nothing is probed'
done
for how in --pre --post --return --stack --max=1000000; do
    trapline probe $how trapline_target:trapline_target_hot --quiet --output /tmp/trace &
    holder=$!
    for try in $(seq 500); do
        if trapline list | grep trapline_target_hot > /tmp/listed; then break; fi
        sleep 0.01
    done
    kill -9 $holder
    wait $holder || true
    test -s /tmp/listed
    as_before
    trapline list | grep -q 'nothing is probed'
done",
    )
}

fn removed(series: Series) -> Result<()> {
    under_load(
        series,
        "for cycle in $(seq 3); do
    modprobe trapline
    rm -f /tmp/said
    /trapline-probes hold > /tmp/said &
    holder=$!
    until grep -q armed /tmp/said 2>/dev/null; do sleep 0.01; done
    if rmmod trapline 2>/dev/null; then echo 'the module was removed while it probed'; exit 1; fi
    kill -9 $holder
    wait $holder || true
    rmmod trapline
    as_before
done",
    )
}

fn target_gone(series: Series) -> Result<()> {
    run(
        series,
        "for cycle in 1 2 3; do
    rm -f /tmp/said
    /trapline-probes hold > /tmp/said &
    holder=$!
    until grep -q armed /tmp/said 2>/dev/null; do sleep 0.01; done
    echo 1000 > $target/run
    rmmod trapline_target
    trapline list > /tmp/list
    cat /tmp/list
    test $(grep -c gone /tmp/list) = 5
    # Where it was there may be another module now, and the same one again.
    modprobe trapline_target
    cat $target/text | cmp - /tmp/text
    echo 1000 > $target/run
    kill -9 $holder
    wait $holder || true
    cat $target/text | cmp - /tmp/text
    trapline list | grep -q 'nothing is probed'
done
rmmod trapline",
    )
}

fn thousands(series: Series) -> Result<()> {
    run(series, "/trapline-probes thousand\nas_before\nrmmod trapline")
}

fn refused(series: Series) -> Result<()> {
    // With jumps the code would change some time after a probe has come, refused or not.
    run(
        series,
        "echo 0 > /proc/sys/debug/kprobes-optimization\n/trapline-probes refused\nas_before\nrmmod trapline",
    )
}
