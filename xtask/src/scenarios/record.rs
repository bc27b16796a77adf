//! The ground truth itself: QEMU's record holds what was done to a device, access by access and CPU
//! by CPU.

use anyhow::{Context, Result, ensure};

use super::{Scenario, succeeds};
use crate::access::Access;
use crate::compare::{Device, Span, compare};
use crate::record::Record;
use crate::setup::Series;
use crate::vm::Options;

pub(super) const OF_EDU: Scenario =
    Scenario { name: "QEMU's record holds each access to edu on 4 CPUs, and no other", check: of_edu };

/// Edu's identification register, its first, and what it reads as (QEMU's docs/specs/edu.txt).
const IDENTIFICATION: u32 = 0x0100_00ed;
/// Offset of edu's register that keeps the complement of what is written to it.
const LIVENESS: u64 = 4;

/// Prints the address of edu's registers, then touches them from each CPU.
const COMMAND: &str = "set -e
base=$(head -n 1 /sys/bus/pci/devices/0000:00:01.0/resource | cut -d ' ' -f 1)
echo $base
for cpu in 0 1 2 3; do
    taskset -c $cpu devmem $base
    taskset -c $cpu devmem $((base + 4)) 32 0x1234567$cpu
    taskset -c $cpu devmem $((base + 4)) 32
done";

fn of_edu(series: Series) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let path = folder.path().join("record");
    let outcome = succeeds(&Options {
        cpus: 4,
        qemu: vec!["-device".into(), "edu".into()],
        record: Some(path.clone()),
        bare: true,
        ..Options::new(series, COMMAND)
    })?;

    let text = outcome.text();
    let mut lines = text.lines();
    let hexadecimal = |line: Option<&str>| {
        let digits =
            line.and_then(|line| line.strip_prefix("0x")).context("expected a hexadecimal number")?;
        Ok::<_, anyhow::Error>(u64::from_str_radix(digits, 16)?)
    };
    let base = hexadecimal(lines.next())?;
    let mut expected = Vec::new();
    for cpu in 0..4 {
        let (written, complement) = (0x1234_5670 + u64::from(cpu), 0xedcb_a98f - u64::from(cpu));
        ensure!(
            hexadecimal(lines.next())? == u64::from(IDENTIFICATION),
            "cpu {cpu} read another register: {text}"
        );
        ensure!(hexadecimal(lines.next())? == complement, "cpu {cpu} read another value: {text}");
        expected.push(Access::new(cpu, false, base, 4, IDENTIFICATION.into()));
        expected.push(Access::new(cpu, true, base + LIVENESS, 4, written));
        expected.push(Access::new(cpu, false, base + LIVENESS, 4, complement));
    }
    let record = Record::read(&path, |region| region == "edu-mmio")?;
    let comparison = compare(&expected, record.accesses(), Device::EDU, Span::Whole);
    ensure!(comparison.is_equal(), "the record differs from what was done: {comparison}");
    Ok(())
}
