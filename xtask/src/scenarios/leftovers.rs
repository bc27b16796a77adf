//! Nothing left behind: after stop, after `kill -9`, after removal, the page tables are as before
//! and the log is clean.
//!
//! All of it happens under load, from a module whose threads access the traced page on every CPU
//! and check each value.

use std::path::PathBuf;

use anyhow::Result;

use super::account::{DEVICES, NVME};
use super::{Scenario, succeeds};
use crate::build;
use crate::setup::Series;
use crate::vm::Options;

pub(super) const STARTED_AND_STOPPED: Scenario = Scenario {
    name: "a thousand starts and stops under load leave the page tables bit for bit as they were",
    check: started_and_stopped,
};
pub(super) const KILLED: Scenario =
    Scenario { name: "kill -9 in the middle of a trace leaves nothing armed", check: killed };
pub(super) const REMOVED: Scenario = Scenario {
    name: "the module can't be removed while it traces, and leaves nothing when it is removed under load",
    check: removed,
};

/// Loads a module that maps a page of 2 MiB and eight of 4 KiB, and its load; `as_before` fails if
/// an entry of the page tables differs, `as_empty` if the idle module holds other mappings or
/// another amount of memory than after its first trace.
const LOAD: &str = "set -e
hammer=/sys/kernel/debug/trapline_hammer
modprobe trapline_hammer device=nvme locked=0 span=$((2 * 1024 * 1024 + 8 * 4096))
cat $hammer/entries > /tmp/entries
test $(grep -c 'level 2 ' /tmp/entries) = 1
test $(grep -c 'level 1 ' /tmp/entries) = 8
as_before() { cat $hammer/entries | cmp - /tmp/entries; }
held() { sed -n 's/^.* \\([0-9]* [^ ]*\\) \\[trapline\\].* \\(ioremap\\|vmap\\|vmalloc\\).*/\\1 \\2/p' /proc/vmallocinfo | sort; trapline status | grep '^memory '; }
as_empty() { held | cmp - /tmp/held; }
(echo 0 7 > $hammer/run) 2>/dev/null &
load=$!
";

/// Ends the load; fails if any instruction left what it should not.
const END: &str = "
kill $load
wait $load || true
cat $hammer/results
test $(grep -c 'mismatches 0 ' $hammer/results) = 4
as_before
modprobe -r trapline_hammer
";

fn under_load(series: Series, programs: Vec<PathBuf>, script: &str) -> Result<()> {
    succeeds(&Options {
        qemu: DEVICES.map(Into::into).into(),
        copy_in: programs,
        ..Options::new(series, format!("{LOAD}{script}{END}"))
    })?;
    Ok(())
}

fn started_and_stopped(series: Series) -> Result<()> {
    under_load(
        series,
        vec![build::cycles()?],
        &format!(
            "for cycle in $(seq 10); do
    trapline mmio --device {NVME} --quiet --buffer 1MiB --output /dev/null --format json -- true || test $? = 1
    as_before
done
held > /tmp/held
grep vmap /tmp/held
/trapline-cycles 1000 $(cat $hammer/page) $((2 * 1024 * 1024 + 8 * 4096)) $hammer/entries
as_before
as_empty"
        ),
    )
}

fn killed(series: Series) -> Result<()> {
    under_load(
        series,
        Vec::new(),
        &format!(
            "for cycle in $(seq 5); do
    trapline mmio --device {NVME} --quiet --output /tmp/trace --buffer 1MiB &
    tracer=$!
    until [ -s /tmp/trace ] && ! as_before >/dev/null 2>&1; do sleep 0.01; done
    kill -9 $tracer
    wait $tracer || true
    as_before
    rm /tmp/trace
done
rmmod trapline
as_before"
        ),
    )
}

fn removed(series: Series) -> Result<()> {
    under_load(
        series,
        Vec::new(),
        &format!(
            "for cycle in $(seq 4); do
    trapline mmio --device {NVME} --quiet --buffer 1MiB --output /tmp/trace --duration 300ms &
    tracer=$!
    while as_before >/dev/null 2>&1; do sleep 0.01; done
    if rmmod trapline 2>/dev/null; then echo 'the module was removed while it traced'; exit 1; fi
    wait $tracer || test $? = 1
    as_before
    rmmod trapline
    as_before
done"
        ),
    )
}
