//! The bytes of a `Code:` line, and the instructions that they are.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Formatter, GasFormatter, Instruction};

/// Bytes around an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// All of them.
    pub bytes: Vec<u8>,
    /// Where the instruction begins, which the kernel marks with `<>`.
    pub at: usize,
}

/// How many instructions before and after the marked one are told.
const AROUND: (usize, usize) = (3, 1);

/// How many bytes before the marked one are decoded.
const BEFORE: usize = 256;

/// The marked instruction and those around it, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) before: Vec<String>,
    pub(crate) marked: String,
    pub(crate) after: Vec<String>,
    /// The marked instruction.
    pub(crate) instruction: Instruction,
}

impl Code {
    /// The bytes that follow `Code:`; `None` if none is marked, or they are another machine's.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (bytes, at) = marked(text);
        Some(Self { bytes, at: at? })
    }

    /// The bytes that follow `Code:` where the first is the instruction's; `None` if there are
    /// none.
    pub(crate) fn unmarked(text: &str) -> Option<Self> {
        let (bytes, at) = marked(text);
        (!bytes.is_empty()).then_some(Self { bytes, at: at.unwrap_or(0) })
    }

    /// The bytes from the marked one on.
    pub(crate) fn marked(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or(&[])
    }

    /// The instructions, in a program of `bits` bits. `None` if the marked bytes are none.
    pub(crate) fn listing(&self, bits: u32) -> Option<Listing> {
        let instruction = decode(self.marked(), bits)?;
        let mut after = Vec::new();
        let mut end = self.at + instruction.len();
        while after.len() < AROUND.1
            && let Some(next) = self.bytes.get(end..).and_then(|bytes| decode(bytes, bits))
        {
            after.push(text(&next));
            end += next.len();
        }
        let before = self.before(bits);
        let from = before.len().saturating_sub(AROUND.0);
        let before = before.get(from..).unwrap_or(&[]).iter().map(text).collect();
        Some(Listing { before, marked: text(&instruction), after, instruction })
    }

    /// The instructions that end where the marked one begins.
    ///
    /// Where the first one begins is not told, so each place is tried, the first that leads there
    /// without an invalid instruction counts: x86 code falls into step with itself after a few
    /// instructions.
    fn before(&self, bits: u32) -> Vec<Instruction> {
        let from_start = |start: usize| {
            let mut found = Vec::new();
            let mut place = start;
            while place < self.at {
                let next = decode(self.bytes.get(place..self.at)?, bits)?;
                place += next.len();
                found.push(next);
            }
            Some(found)
        };
        // The kernel prints 43 bytes before it; a file may hold any number.
        (self.at.saturating_sub(BEFORE)..self.at).find_map(from_start).unwrap_or_default()
    }
}

/// Bytes, and which of them is marked.
fn marked(text: &str) -> (Vec<u8>, Option<usize>) {
    let (mut bytes, mut at) = (Vec::new(), None);
    for word in text.split_whitespace() {
        let digits = word.strip_prefix('<').and_then(|word| word.strip_suffix('>'));
        let number = digits.unwrap_or(word);
        // journalctl cuts lines with a `>`.
        let Some(byte) = Some(number).filter(|n| n.len() == 2).and_then(|n| u8::from_str_radix(n, 16).ok())
        else {
            break;
        };
        if digits.is_some() {
            at = Some(bytes.len());
        }
        bytes.push(byte);
    }
    (bytes, at)
}

fn decode(bytes: &[u8], bits: u32) -> Option<Instruction> {
    let instruction = Decoder::with_ip(bits, bytes, 0, DecoderOptions::NONE).decode();
    (!instruction.is_invalid()).then_some(instruction)
}

/// As `objdump` writes it, but for the targets of branches: these are told from the instruction on,
/// since where it lies is not known.
fn text(instruction: &Instruction) -> String {
    let near = matches!(
        instruction.flow_control(),
        FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch | FlowControl::Call
    );
    let mut formatter = GasFormatter::new();
    let options = formatter.options_mut();
    options.set_uppercase_hex(false);
    options.set_space_after_operand_separator(false);
    options.set_small_hex_numbers_in_decimal(false);
    options.set_rip_relative_addresses(true);
    let mut text = String::new();
    if near && instruction.near_branch_target() != 0 && instruction.op_count() == 1 {
        formatter.format_mnemonic(instruction, &mut text);
        let distance = instruction.near_branch_target() as i64;
        let sign = if distance < 0 { '-' } else { '+' };
        return format!("{text} .{sign}{:#x}", distance.unsigned_abs());
    }
    formatter.format(instruction, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marked_instruction_and_those_around_it_are_told() {
        let code = Code::read("41 bf 45 00 00 00 49 8b 76 30 41 29 c7 <0f> b7 42 20 41 29 c7 41 83").unwrap();
        let listing = code.listing(64).unwrap();
        assert_eq!(listing.before, ["mov $0x45,%r15d", "mov 0x30(%r14),%rsi", "sub %eax,%r15d"]);
        assert_eq!(listing.marked, "movzwl 0x20(%rdx),%eax");
        assert_eq!(listing.after, ["sub %eax,%r15d"]);
    }

    #[test]
    fn a_branch_is_told_from_where_it_is() {
        let code = Code::read("e8 0d be 00 00 <0f> 84 aa 15 8b 00").unwrap();
        let listing = code.listing(64).unwrap();
        assert_eq!(listing.before, ["call .+0xbe12"]);
        assert_eq!(listing.marked, "je .+0x8b15b0");
    }

    #[test]
    fn other_lines_have_no_code() {
        for text in [
            "Bad RIP value.",
            "Unable to access opcode bytes at 0xffffffffc021efdb.",
            "48 8b 07",
            "78402423 (38401423)",
        ] {
            assert_eq!(Code::read(text), None, "{text}");
        }
        assert_eq!(Code::read("24 90 31 <48> 8b d2>").unwrap().bytes, [0x24, 0x90, 0x31, 0x48, 0x8b]);
    }
}
