//! Campaigns on a driver whose flaws are known (kernel/tests/trapline_flaws.c): what `trapline
//! harden` finds is held against what was planted.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::account::EDU;
use super::{Scenario, succeeds};
use crate::harden::{self, Campaign};
use crate::setup::Series;
use crate::vm::{Options, Output};
use crate::{build, exec};

pub(super) const PLANTED: Scenario = Scenario {
    name: "trapline harden finds each planted flaw of a driver, over the deaths of its machines, and none in the same driver without them",
    check: planted,
};

pub(super) const REFUSED: Scenario = Scenario {
    name: "trapline harden tells what it can't do, leaves the driver bound, and ends its lies when it is killed",
    check: refused,
};

/// A flaw: the register that it believes, the rule that shows it, what happens, and what the kernel
/// or the trace name of the driver.
struct Flaw {
    rule: &'static str,
    result: &'static str,
    function: &'static str,
    report: Option<&'static str>,
}

const fn flaw(
    rule: &'static str,
    result: &'static str,
    function: &'static str,
    report: Option<&'static str>,
) -> Flaw {
    Flaw { rule, result, function, report }
}

/// All that were planted.
const FLAWS: [Flaw; 6] = [
    flaw("LIVENESS ones", "oops", "unit_probe", Some("kernel-bug")),
    flaw("STATUS ones", "stuck", "unit_wait", None),
    flaw("FACTORIAL ones", "oops", "unit_weigh", Some("page-fault")),
    flaw("IRQ_STATUS ones", "oops", "unit_events", Some("page-fault")),
    flaw("DMA_COUNT ones", "oops", "unit_clear", Some("page-fault")),
    flaw("ID = 0", "oops", "unit_identify", Some("divide-error")),
];

/// Experiments with the flaws: all ones at each of the six registers, and zero at the first.
const WITH: u64 = 7;

/// And without: all ones, zero, and a device that is gone at each.
const WITHOUT: u64 = 16;

fn planted(series: Series) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let (campaign, told) = campaign(series, &folder.path().join("with"), "", WITH)?;
    let findings = told["findings"].as_array().context("no findings are told")?;
    let shown = || serde_json::to_string_pretty(&told["findings"]).unwrap_or_default();
    for Flaw { rule, result, function, report } in FLAWS {
        let finding = findings.iter().find(|finding| finding["rules"] == serde_json::json!([rule]));
        let finding = finding.with_context(|| format!("nothing was found by `{rule}`: {}", shown()))?;
        ensure!(
            finding["result"] == result && finding["function"] == function,
            "`{rule}` is told as {} in {}, not {result} in {function}: {}",
            finding["result"],
            finding["function"],
            shown()
        );
        let kind = &finding["report"]["kind"];
        ensure!(report.is_none_or(|report| kind == report), "`{rule}` is told by {kind}, not {report:?}");
        ensure!(
            finding["again"].as_str().is_some_and(|again| again.contains(rule)),
            "nothing repeats `{rule}`"
        );
    }
    ensure!(findings.len() == FLAWS.len() && campaign.found, "more was found than planted: {}", shown());
    ensure!(campaign.machines > 1, "no machine was started anew, though kernels oopsed");

    let (campaign, told) = self::campaign(series, &folder.path().join("without"), "flaws=0", WITHOUT)?;
    ensure!(!campaign.found, "without flaws something was found: {}", told["findings"]);
    let results: Vec<&str> = told["experiments"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|run| run["result"].as_str())
        .collect();
    ensure!(
        results.len() as u64 == WITHOUT && results.contains(&"failed") && results.contains(&"fine"),
        "without flaws the driver notices some lies and can live with others, but here: {results:?}"
    );
    Ok(())
}

/// Makes a campaign; how it ended, and what it tells.
fn campaign(series: Series, state: &Path, parameters: &str, most: u64) -> Result<(Campaign, Value)> {
    let options = harden::Options {
        driver: "trapline_flaws".into(),
        kernel: series,
        budget: "1h".into(),
        most: Some(most),
        repeat: 1,
        seed: 1,
        state: None,
        parameters: parameters.into(),
        json: true,
    };
    let campaign = harden::run(&options, state, &Output::Captured)?.context("it was interrupted")?;
    let mut report = Command::new(build::command()?);
    report.args(["harden", "--format", "json", "--report"]).arg(state);
    let told = serde_json::from_str(&exec::output(&mut report)?).context("its report is no JSON")?;
    Ok((campaign, told))
}

fn refused(series: Series) -> Result<()> {
    let script = format!(
        "set -e
status() {{ wanted=$1; shift; got=0; \"$@\" > /tmp/said 2>&1 || got=$?; test $got = $wanted || {{ echo \"$* gave $got\"; cat /tmp/said; exit 1; }}; }}
bound() {{ test -e /sys/bus/pci/drivers/trapline_flaws/{EDU}; }}
modprobe trapline
status 3 trapline harden --device {EDU} -- true
grep -q 'has no driver' /tmp/said
modprobe trapline_flaws flaws=0
status 2 trapline harden --device 00:09.0 -- true
status 1 trapline harden --device {EDU} --state /tmp/state -- sh -c 'echo well; exit 9'
grep -q 'COMMAND ended with status 9 although nothing was injected' /tmp/said
grep -q well /tmp/said
status 2 trapline harden --device {EDU} --state /tmp/state --budget 1ms -- cat /dev/trapline_flaws
grep -q 'too small for one experiment' /tmp/said
test ! -e /tmp/state
bound
status 2 trapline harden --device {EDU} --try 'STATSU ones' -- cat /dev/trapline_flaws
grep -q 'did you mean one of: STATUS' /tmp/said
status 0 trapline harden --device {EDU} --try 'STATUS = 0' --repeat 2 -- cat /dev/trapline_flaws
grep -q 'fine' /tmp/said
bound
# It is killed while a device lies, and would for some seconds more: that ends with it.
slow='cat /dev/trapline_flaws; sleep 6'
trapline harden --device {EDU} --state /tmp/state -- sh -c \"$slow\" > /tmp/said 2>&1 &
harden=$!
until grep -q ' ones$' /tmp/said; do sleep 0.1; done
count() {{ dmesg | grep -c \"$1\"; }}
until [ $(count 'injection begins') -gt $(count 'injection has ended') ]; do sleep 0.1; done
kill -9 $harden
for try in $(seq 100); do
    if [ $(count 'injection begins') = $(count 'injection has ended') ]; then break; fi
    sleep 0.1
done
test $(count 'injection begins') = $(count 'injection has ended')
# What it had started lives on, without lies, and unbinds the driver at its end.
for try in $(seq 600); do
    if ! bound; then break; fi
    sleep 0.1
done
bound || echo {EDU} > /sys/bus/pci/drivers/trapline_flaws/bind
cat /dev/trapline_flaws
# The same command goes on.
made=$(grep -c '\"kind\":\"ended\"' /tmp/state/campaign.jsonl)
status 0 trapline harden --device {EDU} --state /tmp/state --most $((made + 1)) -- sh -c \"$slow\"
grep -q \"$made experiments are made\" /tmp/said
test $(grep -c '\"kind\":\"ended\"' /tmp/state/campaign.jsonl) = $((made + 1))
status 4 trapline harden --device {EDU} --state /tmp/state -- true
grep -q 'is of another campaign: COMMAND was sh' /tmp/said
status 4 trapline harden --device {EDU} --state /tmp/state --seed 4711 -- sh -c \"$slow\"
grep -q 'is of another campaign: --seed was' /tmp/said
bound
# It is told to end in an experiment: that is left, and the driver bound. None else works meanwhile.
journal=/tmp/state/campaign.jsonl
begun=$(grep -c '\"kind\":\"begun\"' $journal)
trapline harden --device {EDU} --state /tmp/state -- sh -c \"$slow\" > /tmp/ended 2>&1 &
harden=$!
until [ $(grep -c '\"kind\":\"begun\"' $journal) -gt $begun ]; do sleep 0.1; done
# Between two experiments the device has no driver, and that is what would be told.
until bound; do sleep 0.1; done
status 4 trapline harden --device {EDU} --state /tmp/state -- sh -c \"$slow\"
grep -q 'a campaign is under way in /tmp/state' /tmp/said
kill -TERM $harden
got=0
wait $harden || got=$?
test $got = 130 || {{ echo \"it gave $got\"; cat /tmp/ended; exit 1; }}
tail -n 1 $journal | grep -q '\"kind\":\"left\"'
bound
dmesg | grep -q 'trapline: harden begins experiment 1$'"
    );
    succeeds(&Options {
        cpus: 2,
        qemu: ["-device", "edu,addr=1"].map(Into::into).into(),
        ..Options::in_turn(series, script)
    })
    .map(drop)
}
