//! All CPUs at once on one page of a device, with every kind of instruction.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::account::{Account, DEVICES, EDU, NVME, account_of, accounts};
use super::{Scenario, succeeds};
use crate::access::Access;
use crate::build;
use crate::compare::{Device, Span, compare};
use crate::record::Record;
use crate::setup::Series;
use crate::trace::Trace;
use crate::vm::{Options, Outcome};
use crate::workspace;

pub(super) const MILLION: Scenario = Scenario {
    name: "a million accesses of 4 CPUs at once to one page of edu are in the trace, each once and in order",
    check: million,
};
pub(super) const EVERY_WIDTH: Scenario = Scenario {
    name: "4 CPUs at once with every width of access on one page lose nothing",
    check: every_width,
};
pub(super) const ARMED_AND_DISARMED: Scenario = Scenario {
    name: "while 4 CPUs make a million accesses to a page of edu that is armed and disarmed, each trace is all that happened meanwhile",
    check: armed_and_disarmed,
};

const CPUS: u32 = 4;
const EACH: u64 = 250_000;
const BUFFER: Device = Device { narrowest: 1, widest: 8 };

fn machine(series: Series, folder: &Path, script: &str) -> Result<Outcome> {
    succeeds(&Options {
        cpus: CPUS,
        // Rings that hold a whole run: the reader gets little time beside four busy CPUs.
        memory: 2048,
        qemu: DEVICES.map(Into::into).into(),
        record: Some(folder.join("record")),
        copy_out: Some(folder.to_owned()),
        ..Options::new(series, format!("set -e\nhammer=/sys/kernel/debug/trapline_hammer\n{script}"))
    })
}

/// A folder for hundreds of MiB of record: on the disk that the workspace is on, where `/tmp` may
/// be memory.
fn scratch() -> Result<TempDir> {
    TempDir::new_in(workspace::cache_dir("scenarios")?).context("cannot make a temporary folder")
}

/// Traces one whole run and holds it against the module's account and QEMU's record.
fn whole(series: Series, name: &str, bdf: &str, each: u64, region: &str, device: Device) -> Result<()> {
    let folder = scratch()?;
    let folder = folder.path();
    machine(
        series,
        folder,
        &format!(
            "modprobe trapline_hammer device={name}
cat $hammer/page > /out/page
cat $hammer/entries > /out/entries
trapline mmio --device {bdf} --quiet --buffer 64MiB --output /out/trace -- sh -ec \"echo {each} 7 > $hammer/run\"
cat $hammer/results > /out/results
cat $hammer/entries | cmp - /out/entries
modprobe -r trapline_hammer"
        ),
    )?;
    let trace = Trace::read(&build::command()?, &folder.join("trace"))?;
    ensure!(trace.dropped == 0, "{} records found no room", trace.dropped);
    ensure!(trace.windows == 0 && trace.performed[2] == 0, "a page was un-armed to let an access through");
    ensure!(trace.performed[1] > 0, "no instruction was redirected");
    let accounts = read_accounts(folder)?;
    let base = page(folder)?;
    for account in &accounts {
        ensure!(account.accesses >= each, "cpu {} did too little: {account:?}", account.cpu);
        let seen = account_of(&trace.accesses, account.cpu, base);
        ensure!(seen == *account, "the trace has {seen:?}, the module did {account:?}");
    }
    ensure!(accounts.len() == CPUS as usize, "only {} CPUs took part", accounts.len());
    equal_to_record(folder, &trace.accesses, region, device, Span::Whole)
}

fn equal_to_record(folder: &Path, trace: &[Access], region: &str, device: Device, span: Span) -> Result<()> {
    let record = Record::read(&folder.join("record"), |name| name == region)?;
    let comparison = compare(trace, record.accesses(), device, span);
    ensure!(comparison.is_equal(), "{comparison}");
    Ok(())
}

fn read_accounts(folder: &Path) -> Result<Vec<Account>> {
    let text = fs::read_to_string(folder.join("results"))?;
    ensure!(!text.contains("first:"), "an instruction left what it should not:\n{text}");
    let accounts = accounts(&text)?;
    ensure!(accounts.iter().all(|account| account.mismatches == 0), "there were mismatches:\n{text}");
    Ok(accounts)
}

fn page(folder: &Path) -> Result<u64> {
    let text = fs::read_to_string(folder.join("page"))?;
    let digits = text.trim().strip_prefix("0x").context("the page's address is no number")?;
    Ok(u64::from_str_radix(digits, 16)?)
}

fn million(series: Series) -> Result<()> {
    whole(series, "edu", EDU, EACH, "edu-mmio", Device::EDU)
}

fn every_width(series: Series) -> Result<()> {
    whole(series, "nvme", NVME, EACH / 5, "nvme-cmb", BUFFER)
}

/// How often the page is armed and disarmed meanwhile.
const TIMES: usize = 5;

fn armed_and_disarmed(series: Series) -> Result<()> {
    let folder = scratch()?;
    let folder = folder.path();
    machine(
        series,
        folder,
        &format!(
            "modprobe trapline_hammer device=edu locked=0
cat $hammer/entries > /out/entries
(echo 0 7 > $hammer/run) 2>/dev/null &
runner=$!
for time in $(seq {TIMES}); do
    trapline mmio --device {EDU} --quiet --duration 300ms --buffer 64MiB --output /out/trace.$time
done
kill $runner
wait $runner || true
cat $hammer/results > /out/results
cat $hammer/entries | cmp - /out/entries
modprobe -r trapline_hammer"
        ),
    )?;
    let accounts = read_accounts(folder)?;
    ensure!(accounts.len() == CPUS as usize, "only {} CPUs took part", accounts.len());
    let made: u64 = accounts.iter().map(|account| account.accesses).sum();
    ensure!(made >= u64::from(CPUS) * EACH, "too few accesses: {accounts:?}");
    let record = Record::read(&folder.join("record"), |name| name == "edu-mmio")?;
    for time in 1..=TIMES {
        let trace = Trace::read(&build::command()?, &folder.join(format!("trace.{time}")))?;
        ensure!(trace.dropped == 0 && trace.windows == 0, "trace {time} is not complete: {trace:?}");
        ensure!(trace.accesses.len() > 100, "trace {time} has {} accesses only", trace.accesses.len());
        let comparison = compare(&trace.accesses, record.accesses(), Device::EDU, Span::Run);
        ensure!(comparison.is_equal(), "trace {time}: {comparison}");
    }
    Ok(())
}
