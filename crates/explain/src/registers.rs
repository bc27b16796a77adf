//! The registers that a report prints.

use trapline_insn::{Gpr, Registers as Context};

use crate::scan::{hex, is_hex};

/// Registers by name, in the order in which they are printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers(Vec<Held>);

/// One register.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    name: String,
    value: u64,
    /// Whether it was printed with 8 digits.
    narrow: bool,
}

const GENERAL: [&str; 16] = [
    "RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", "R8", "R9", "R10", "R11", "R12", "R13", "R14",
    "R15",
];

const GENERAL_32: [&str; 8] = ["EAX", "ECX", "EDX", "EBX", "ESP", "EBP", "ESI", "EDI"];

impl Registers {
    /// Takes what `line` tells, of which only whole values count: the last of a text that is cut
    /// off may be short.
    ///
    /// False if it tells another value of one that is known and that an instruction can hold.
    pub(crate) fn take(&mut self, line: &str) -> bool {
        let mut agrees = true;
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            if let Some(name) = pair[0].strip_suffix(':') {
                agrees &= self.note(name, pair[1]);
            }
        }
        // `FS:  00007f2f(0000) GS:ffff93ff(0000)`: a base, and the selector.
        for word in words {
            if let Some((name @ ("FS" | "GS"), value)) = word.split_once(':') {
                self.note(name, value);
            } else if let Some((value, "0000)")) = word.split_once('(') {
                self.note("FS", value);
            }
        }
        agrees
    }

    fn note(&mut self, name: &str, value: &str) -> bool {
        let name = name.to_uppercase();
        // `R08` and `R09` are R8 and R9 elsewhere.
        let name = match name.as_str() {
            "R08" => "R8".to_owned(),
            "R09" => "R9".to_owned(),
            _ => name,
        };
        let value = value.split_once(':').map_or(value, |(_, offset)| offset);
        let value = value.split_once('(').map_or(value, |(base, _)| base);
        let control = matches!(name.as_str(), "CR0" | "CR2" | "CR3" | "CR4" | "FS" | "GS");
        let wide = GENERAL.contains(&name.as_str()) || control;
        let narrow =
            GENERAL_32.contains(&name.as_str()) || matches!(name.as_str(), "CR0" | "CR2" | "CR3" | "CR4");
        let narrow = narrow && is_hex(value, 8);
        if !(wide && is_hex(value, 16) || narrow) {
            return true;
        }
        let Some(value) = hex(value) else { return true };
        let is_general = GENERAL.contains(&name.as_str()) || GENERAL_32.contains(&name.as_str());
        match self.get(&name) {
            Some(known) => known == value || !is_general,
            None => {
                self.0.push(Held { name, value, narrow });
                true
            }
        }
    }

    /// The value of the register of that name.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|held| held.name == name).map(|held| held.value)
    }

    /// Drops those of 8 digits: of a 64-bit kernel they are cut off.
    pub(crate) fn drop_narrow(&mut self) {
        self.0.retain(|held| !held.narrow);
    }

    /// All, with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|held| (held.name.as_str(), held.value))
    }

    /// Those that hold data and addresses.
    pub fn general(&self) -> impl Iterator<Item = (&str, u64)> {
        self.iter().filter(|(name, _)| GENERAL.contains(name) || GENERAL_32.contains(name))
    }

    /// As the decoder takes them; `None` if one of the sixteen is missing.
    pub(crate) fn context(&self) -> Option<Context> {
        let mut context = Context::default();
        for (register, name) in Gpr::ALL.into_iter().zip(GENERAL) {
            context.set(register, self.get(name)?);
        }
        Some(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_of_both_widths_are_read_and_a_short_one_is_not() {
        let mut registers = Registers::default();
        registers.take("RSP: 0018:ffffc900003a3cc0 EFLAGS: 00000246");
        registers.take("RBP: ffff88009e125008 R08: ffffffffa04dbb90 R09: 000000");
        registers.take("FS:  00007f615d266700(0000) GS:ffff88013a600000(0000) knlGS:0000000000000000");
        registers.take("CS:  0010 DS: 0000 ES: 0000 CR0: 000000008005003b");
        assert_eq!(registers.get("RSP"), Some(0xffff_c900_003a_3cc0));
        assert_eq!(registers.get("R8"), Some(0xffff_ffff_a04d_bb90));
        assert_eq!(registers.get("R9"), None);
        assert_eq!(registers.get("FS"), Some(0x7f61_5d26_6700));
        assert_eq!(registers.get("GS"), Some(0xffff_8801_3a60_0000));
        assert_eq!(registers.get("CR0"), Some(0x8005_003b));
        assert_eq!(registers.general().count(), 3);
        let mut registers = Registers::default();
        registers.take("eax: 00000000 ebx: c00981e4 ecx: f2e13188 edx: f369f400");
        registers.take("ESI: f886e000 EDI: 00000000 EBP: f679db3c ESP: f679db28");
        assert_eq!((registers.get("EBX"), registers.general().count()), (Some(0xc009_81e4), 8));
    }
}
