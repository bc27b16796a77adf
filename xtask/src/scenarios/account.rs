//! What the test modules say that they did to their device: the third witness, beside the trace and
//! QEMU's record.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::access::Access;

/// The devices that the test modules know (`kernel/tests/device.h`), each at a place of its own:
/// edu, and an NVMe controller whose memory buffer is registers of every width that keep what is
/// written.
pub(super) const DEVICES: [&str; 4] =
    ["-device", "edu,addr=1", "-device", "nvme,addr=2,serial=trapline,cmb_size_mb=4"];
/// `edu`, whose reads mark places in QEMU's record, and a network card with a stock driver, e1000e,
/// at 00:02.0.
pub(super) const CARD: [&str; 6] = [
    "-device",
    "edu,addr=1",
    "-netdev",
    "user,id=net,restrict=on",
    "-device",
    "e1000e,addr=2,netdev=net,romfile=",
];
/// The PCI address of `edu`.
pub(super) const EDU: &str = "0000:00:01.0";
/// The PCI address of `nvme`.
pub(super) const NVME: &str = "0000:00:02.0";

/// Reads the accesses that `trapline_forms` lists, all of one CPU: `W 0xfe401010 2 0x1234
/// mov_imm16`.
pub(super) fn listed(path: &Path, cpu: u32) -> Result<Vec<Access>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let access = |line: &str| {
        let mut words = line.split(' ');
        let mut next = || words.next();
        let write = next()? == "W";
        let address = u64::from_str_radix(next()?.strip_prefix("0x")?, 16).ok()?;
        let width: usize = next()?.parse().ok()?;
        let digits = next()?.strip_prefix("0x").filter(|digits| digits.len() == 2 * width)?;
        let byte = |at: usize| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok();
        let bytes = (0..width).rev().map(byte).collect::<Option<_>>()?;
        Some(Access { cpu, write, address, bytes })
    };
    text.lines()
        .map(|line| access(line).with_context(|| format!("{} has the line {line}", path.display())))
        .collect()
}

/// What one CPU did, as `trapline_hammer` counts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) cpu: u32,
    pub(super) accesses: u64,
    pub(super) mismatches: u64,
    pub(super) checksum: u64,
    /// By direction and width: `W16`.
    pub(super) counts: BTreeMap<String, u64>,
}

/// Reads the results of `trapline_hammer`: `cpu 0 accesses 3 mismatches 0 checksum 0x1f R4 2 W16
/// 1`.
pub(super) fn accounts(text: &str) -> Result<Vec<Account>> {
    let account = |line: &str| {
        let mut account =
            Account { cpu: 0, accesses: 0, mismatches: 0, checksum: 0, counts: BTreeMap::new() };
        let words: Vec<&str> = line.split(' ').collect();
        for pair in words.chunks(2) {
            let [name, value] = *pair else { return None };
            match name {
                "cpu" => account.cpu = value.parse().ok()?,
                "accesses" => account.accesses = value.parse().ok()?,
                "mismatches" => account.mismatches = value.parse().ok()?,
                "checksum" => account.checksum = u64::from_str_radix(value.strip_prefix("0x")?, 16).ok()?,
                kind => {
                    account.counts.insert(kind.to_owned(), value.parse().ok()?);
                }
            }
        }
        Some(account)
    };
    let accounts: Vec<Account> = text
        .lines()
        .map(|line| account(line).with_context(|| format!("trapline_hammer says: {line}")))
        .collect::<Result<_>>()?;
    ensure!(!accounts.is_empty(), "trapline_hammer counted nothing");
    Ok(accounts)
}

/// What the account must be if the trace is the truth; offsets in the checksum are from `base`.
pub(super) fn account_of(trace: &[Access], cpu: u32, base: u64) -> Account {
    let mut account =
        Account { cpu, accesses: 0, mismatches: 0, checksum: 0xcbf2_9ce4_8422_2325, counts: BTreeMap::new() };
    for access in trace.iter().filter(|access| access.cpu == cpu) {
        let direction = if access.write { 'W' } else { 'R' };
        account.accesses += 1;
        *account.counts.entry(format!("{direction}{}", access.width())).or_default() += 1;
        let offset = (access.address.wrapping_sub(base) as u32).to_le_bytes();
        let told = [direction as u8].into_iter().chain(offset).chain([access.width() as u8]);
        for byte in told.chain(access.bytes.iter().copied()) {
            account.checksum = (account.checksum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    account
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_access_keeps_its_bytes_lowest_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accesses");
        fs::write(&path, "W 0xfe401010 2 0x1234 mov_imm16\nR 0x10 1 0xff test_8\n").unwrap();
        let expected = [Access::new(2, true, 0xfe40_1010, 2, 0x1234), Access::new(2, false, 0x10, 1, 0xff)];
        assert_eq!(listed(&path, 2).unwrap(), expected);
        fs::write(&path, "W 0xfe401010 4 0x1234 mov_imm16\n").unwrap();
        assert!(listed(&path, 2).is_err());
    }

    /// The checksum is FNV-1a's of `R`, four zeros, 1, 0, as any other implementation gives it.
    #[test]
    fn an_account_tells_equal_accesses_from_different_ones() {
        let text = "cpu 1 accesses 1 mismatches 0 checksum 0xabf34662ec5e11a4 R1 1\n";
        let mut trace = vec![Access::new(1, false, 0x1000, 1, 0), Access::new(0, true, 0x1000, 4, 7)];
        let told = accounts(text).unwrap();
        let seen = account_of(&trace, 1, 0x1000);
        assert_eq!(told[0], seen);
        trace[0].bytes[0] = 1;
        assert_ne!(account_of(&trace, 1, 0x1000).checksum, seen.checksum);
    }
}
