//! What the hardware reported: lines with `[Hardware Error]`.

use crate::scan::{after, hex};

/// One bank's status register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bank {
    /// `CPU 0, bank 4`, as printed.
    pub(crate) place: String,
    /// Its value: Intel SDM volume 3, 17.3.2.2, AMD APM volume 2, 9.3.2.
    pub(crate) status: u64,
    /// Whether the line is one that only AMD's CPUs give.
    is_amd: bool,
}

impl Bank {
    /// `CPU 0: Machine Check: 0 Bank 4: a600000000020408` and
    /// `CPU:1 (19:18:1) MC17_STATUS[Over|CE|…]: 0xd820000000060150`.
    pub(crate) fn read(line: &str) -> Option<Self> {
        if let Some((who, rest)) = line.split_once(" Bank ") {
            let (bank, status) = rest.split_once(':')?;
            let cpu = after(who, "CPU ")?.split(':').next()?.trim();
            let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            return (number(cpu) && number(bank)).then(|| {
                hex(status).map(|status| Self {
                    place: format!("CPU {cpu}, bank {bank}"),
                    status,
                    is_amd: false,
                })
            })?;
        }
        let (who, rest) = line.split_once("_STATUS[")?;
        let bank = who.rsplit("MC").next()?;
        let cpu = after(who, "CPU:")?.split_whitespace().next()?;
        let status = hex(after(rest, "]: ")?)?;
        Some(Self { place: format!("CPU {cpu}, bank {bank}"), status, is_amd: true })
    }

    /// What the bits that both makers share say, and AMD's of an error that was put off.
    pub(crate) fn meaning(&self) -> String {
        let has = |bit: u32| self.status >> bit & 1 != 0;
        if !has(63) {
            return "not valid: nothing is told".into();
        }
        // Bit 44 is AMD's Deferred; Intel counts corrected errors there.
        let mut says = vec![match (has(61), has(44)) {
            (true, _) => "not corrected by the hardware",
            (false, true) if self.is_amd => "deferred: not corrected, but nothing has used the data yet",
            (false, true) => "corrected by the hardware, or on AMD's CPUs deferred",
            (false, false) => "corrected by the hardware",
        }];
        if has(62) {
            says.push("others were lost before it was read");
        }
        if has(57) {
            says.push("the processor's state may be corrupt");
        }
        let code = (self.status & 0xffff) as u16;
        // Intel SDM volume 3, table 17-9, the forms from the most particular one on.
        let kind = match code {
            0 => "no error",
            0x400 => "internal timer",
            _ if code & 0xfc00 == 0x400 => "internal, unclassified",
            _ if code & 0xef80 == 0x80 => "memory controller",
            _ if code & 0xe800 == 0x800 => "bus or interconnect",
            _ if code & 0xef00 == 0x100 => "cache hierarchy",
            _ if code & 0xeff0 == 0x10 => "TLB",
            _ if code & 0xeffc == 0xc => "cache hierarchy",
            _ => "",
        };
        let kind = if kind.is_empty() { String::new() } else { format!(" ({kind})") };
        format!("{}; error code {code:#x}{kind}", says.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banks_of_both_forms_are_read() {
        let bank =
            Bank::read("mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 4: a600000000020408").unwrap();
        assert_eq!((bank.place.as_str(), bank.status), ("CPU 0, bank 4", 0xa600_0000_0002_0408));
        assert!(
            bank.meaning().starts_with("not corrected by the hardware, the processor's state may be corrupt")
        );
        let bank = Bank::read(
            "[Hardware Error]: CPU:1 (19:18:1) MC17_STATUS[Over|CE|MiscV|-|-]: 0xd820000000060150",
        )
        .unwrap();
        assert_eq!(bank.place, "CPU 1, bank 17");
        assert!(
            bank.meaning().starts_with("corrected by the hardware, others were lost"),
            "{}",
            bank.meaning()
        );
        let bank =
            Bank::read("EDAC sbridge MC1: CPU 1: Machine Check Event: 0 Bank 11: 8c00004f000800c2").unwrap();
        assert!(bank.meaning().ends_with("(memory controller)"), "{}", bank.meaning());
    }
}
