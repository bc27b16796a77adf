//! Code probes as a trace knows them: what their hits' words mean.
//!
//! The module records words and nothing about them, so that a hit costs little. Whoever set the
//! probe knows what it asked for, and says so in the trace's [`Header`](crate::Header). The texts
//! are those of the kernel's own probe events (kernel/trace/trace_probe.c), so that a person, or a
//! script, who reads those reads ours.

use std::borrow::Cow;
use std::fmt::Write as _;

use trapline_abi::mask_words;
use serde::{Deserialize, Serialize};

use super::{Argument, Frame};

/// A probe whose hits are in a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Its number: the low 32 bits of [`CodeProbe::id`](trapline_abi::CodeProbe::id).
    pub id: u32,
    /// What it is called: the place as a person named it.
    pub name: String,
    /// Address of its instruction.
    pub address: u64,
    /// When it records.
    pub moment: Moment,
    /// Whether it records the stack.
    pub stack: bool,
    /// What it fetches.
    pub arguments: Vec<Layout>,
    /// Which hits it records, as a person wrote it; nothing if it records all, and in traces that
    /// don't tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// When a probe records a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Moment {
    /// Before the instruction.
    Before,
    /// After the instruction.
    After,
    /// When the function returns.
    Return,
}

impl Moment {
    /// Its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
            Self::Return => "return",
        }
    }

    /// The moment with this name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Before, Self::After, Self::Return].into_iter().find(|moment| moment.name() == name)
    }
}

/// One argument of a probe: what it is called, and how its words lie and read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// What it is called.
    pub name: String,
    /// Its type as written: `u32`, `string`, `x8[4]`.
    #[serde(rename = "type")]
    pub form: String,
    /// How many there are, if it is an array.
    pub count: Option<u32>,
    /// Each of them.
    pub item: Item,
}

/// How one value lies in a hit's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Item {
    /// Nothing is recorded: it is this text every time.
    Constant(String),
    /// One word.
    Number(Format),
    /// A word with the length in bytes, and the bytes, zero-padded to whole words.
    Text {
        /// Greatest length: a text that long may go on.
        limit: u32,
    },
}

/// How a number reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Decimal, of so many bytes.
    Unsigned(u8),
    /// Decimal with its sign, of so many bytes.
    Signed(u8),
    /// `0x` hexadecimal, of so many bytes.
    Hex(u8),
    /// `'c'`.
    Char,
    /// The kernel's name for an address: `vfs_read+0x4/0x180`.
    Symbol,
    /// Some bits, decimal.
    Bits {
        /// How many.
        width: u8,
        /// Number of the lowest.
        offset: u8,
    },
}

impl Format {
    /// The number that `word` holds, cut off to its width, its sign extended.
    fn number(self, word: u64) -> u64 {
        let cut = |bytes: u8| 64 - 8 * u32::from(bytes.clamp(1, 8));
        match self {
            Self::Unsigned(bytes) | Self::Hex(bytes) => word << cut(bytes) >> cut(bytes),
            Self::Signed(bytes) => ((word << cut(bytes)) as i64 >> cut(bytes)) as u64,
            Self::Char => word & 0xff,
            Self::Symbol => word,
            Self::Bits { width, offset } => {
                let mask = u64::MAX >> (64 - u32::from(width.clamp(1, 64)));
                word.checked_shr(offset.into()).unwrap_or(0) & mask
            }
        }
    }

    /// As the kernel's probe events print it, but for symbols, whose names are another's business.
    fn write(self, number: u64, text: &mut String) {
        // Writing into a String can't fail.
        let _ = match self {
            Self::Unsigned(_) | Self::Bits { .. } => write!(text, "{number}"),
            Self::Signed(_) => write!(text, "{}", number as i64),
            Self::Hex(_) | Self::Symbol => write!(text, "{number:#x}"),
            Self::Char => write!(text, "'{}'", number as u8 as char),
        };
    }
}

/// What stands for the value of an argument that could not be fetched.
pub(super) const FAULT: &str = "(fault)";

/// What is behind a text that was too long.
const CUT: &str = "...";

impl Probe {
    /// What a hit recorded: arguments, and the stack if it is asked for. `None` if the words are
    /// not what this probe records.
    pub(super) fn decode<'a>(
        &'a self,
        faults: u32,
        mut words: &'a [u8],
    ) -> Option<(Vec<Argument<'a>>, Option<Vec<Frame<'a>>>)> {
        let mut faults = u128::from(faults);
        for number in 0..mask_words(self.arguments.iter().map(Layout::sources).sum()) {
            let mask = u128::from(word(&mut words)?);
            faults |= mask.checked_shl(u32::BITS + u64::BITS * number as u32).unwrap_or(0);
        }
        let mut sources = (0..u128::BITS).map(|bit| faults >> bit & 1 == 1);
        let arguments = self.arguments.iter().map(|layout| layout.decode(&mut sources, &mut words));
        let arguments = arguments.collect::<Option<Vec<_>>>()?;
        let stack = self.stack.then(|| {
            let count = word(&mut words)?;
            (0..count).map(|_| Some(Frame { ip: word(&mut words)?, site: None })).collect::<Option<Vec<_>>>()
        });
        match stack {
            None => Some((arguments, None)),
            Some(stack) => Some((arguments, Some(stack?))),
        }
    }
}

impl Layout {
    /// Sources that it is fetched from, each of which may fault alone.
    fn sources(&self) -> usize {
        match (&self.item, self.count) {
            (Item::Constant(_), _) => 0,
            (Item::Text { .. }, Some(count)) => count as usize,
            (Item::Text { .. } | Item::Number(_), _) => 1,
        }
    }

    fn decode<'a>(
        &'a self,
        faulted: &mut impl Iterator<Item = bool>,
        words: &mut &'a [u8],
    ) -> Option<Argument<'a>> {
        let argument = |value, number| Argument { name: &self.name, form: &self.form, value, number };
        match (&self.item, self.count) {
            (Item::Constant(text), _) => Some(argument(Some(Cow::Borrowed(text.as_str())), None)),
            (Item::Number(format), None) => {
                let (fault, number) = (faulted.next()?, format.number(word(words)?));
                if fault {
                    return Some(argument(None, None));
                }
                let mut text = String::new();
                format.write(number, &mut text);
                Some(argument(Some(text.into()), Some(number)))
            }
            (Item::Number(format), Some(count)) => {
                // Fetched by one stretch of the program, from one source: all of them or none.
                let fault = faulted.next()?;
                let mut text = String::from("{");
                for index in 0..count {
                    text.push_str(if index == 0 { "" } else { "," });
                    format.write(format.number(word(words)?), &mut text);
                }
                text.push('}');
                Some(argument((!fault).then_some(text.into()), None))
            }
            (Item::Text { limit }, None) => {
                let (fault, text) = (faulted.next()?, string(words, *limit)?);
                Some(argument((!fault).then_some(text), None))
            }
            (Item::Text { limit }, Some(count)) => {
                // Each string is behind a pointer of its own.
                let mut text = String::from("{");
                for index in 0..count {
                    text.push_str(if index == 0 { "" } else { "," });
                    let (fault, item) = (faulted.next()?, string(words, *limit)?);
                    if fault {
                        text.push_str(FAULT);
                    } else {
                        let _ = write!(text, "\"{item}\"");
                    }
                }
                text.push('}');
                Some(argument(Some(text.into()), None))
            }
        }
    }
}

/// Takes a word.
fn word(words: &mut &[u8]) -> Option<u64> {
    let (first, rest) = words.split_first_chunk()?;
    *words = rest;
    Some(u64::from_le_bytes(*first))
}

/// Takes a string: its length and its bytes.
fn string<'a>(words: &mut &'a [u8], limit: u32) -> Option<Cow<'a, str>> {
    let length = usize::try_from(word(words)?).ok()?;
    let (padded, rest) = words.split_at_checked(length.checked_next_multiple_of(8)?)?;
    *words = rest;
    let text = String::from_utf8_lossy(&padded[..length]);
    // A text of just the greatest length is taken for one that was cut off: better a text too many
    // that says so than one too few.
    Some(if length < limit as usize { text } else { text + CUT })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Item = Item::Text { limit: 32 };

    fn probe(arguments: Vec<Layout>, stack: bool) -> Probe {
        let name = "f".into();
        Probe { id: 1, name, address: 0x10, moment: Moment::Before, stack, arguments, condition: None }
    }

    fn layout(item: Item, count: Option<u32>) -> Layout {
        Layout { name: "a".into(), form: "t".into(), count, item }
    }

    fn texts(arguments: Vec<Layout>, faults: u32, words: &[u64]) -> Option<Vec<String>> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let probe = probe(arguments, false);
        let (arguments, _) = probe.decode(faults, &bytes)?;
        Some(arguments.iter().map(|a| a.value.as_deref().unwrap_or(FAULT).to_owned()).collect())
    }

    #[test]
    fn numbers_read_as_the_kernels_probe_events_print_them() {
        let formats = [
            (Format::Unsigned(1), "254"),
            (Format::Signed(1), "-2"),
            (Format::Hex(2), "0xfffe"),
            (Format::Signed(8), "-2"),
            (Format::Unsigned(8), "18446744073709551614"),
            (Format::Bits { width: 3, offset: 0 }, "6"),
            (Format::Bits { width: 64, offset: 0 }, "18446744073709551614"),
            (Format::Bits { width: 2, offset: 63 }, "1"),
            (Format::Char, "'þ'"),
        ];
        for (format, expected) in formats {
            let text = texts(vec![layout(Item::Number(format), None)], 0, &[u64::MAX - 1]).unwrap();
            assert_eq!(text, [expected], "{format:?}");
        }
    }

    #[test]
    fn arrays_are_in_braces_and_texts_in_them_in_quotes() {
        let numbers = layout(Item::Number(Format::Signed(4)), Some(3));
        let strings = layout(TEXT, Some(2));
        let words = [1, u64::MAX, 3, 2, u64::from_le_bytes(*b"ab\0\0\0\0\0\0"), 0];
        assert_eq!(texts(vec![numbers, strings], 0, &words).unwrap(), ["{1,-1,3}", r#"{"ab",""}"#]);
    }

    #[test]
    fn what_could_not_be_fetched_says_so_and_the_rest_of_the_line_stays() {
        let number = || layout(Item::Number(Format::Hex(8)), None);
        let arguments = vec![number(), layout(TEXT, Some(2)), number(), layout(TEXT, None)];
        // The first number, the second string of the array, the last string: sources 0, 2 and 4.
        let words = [0, 1, u64::from(b'x'), 0, 0xbeef, 0];
        assert_eq!(texts(arguments, 0b1_0101, &words).unwrap(), [FAULT, r#"{"x",(fault)}"#, "0xbeef", FAULT]);
    }

    #[test]
    fn bits_of_arguments_beyond_the_32nd_are_words_before_theirs() {
        let arguments: Vec<Layout> = (0..99)
            .map(|number| match number {
                50 => layout(TEXT, Some(2)),
                51 => layout(Item::Constant("c".into()), None),
                _ => layout(Item::Number(Format::Unsigned(8)), None),
            })
            .collect();
        // Of 99 sources the 4th, the 36th, the second string, the 97th and the last.
        let mut words = vec![1 << (35 - 32) | 1 << (51 - 32), 1 << (96 - 96) | 1 << (98 - 96)];
        words.extend([7; 50].into_iter().chain([0, 0]).chain([7; 47]));
        let found = texts(arguments, 1 << 3, &words).unwrap();
        let faulted: Vec<usize> = (0..99).filter(|at| found[*at].contains(FAULT)).collect();
        assert_eq!(faulted, [3, 35, 50, 96, 98]);
        assert_eq!((&*found[50], &*found[51], &*found[97]), (r#"{"",(fault)}"#, "c", "7"));
    }

    #[test]
    fn a_constant_takes_no_words_and_no_bit() {
        let arguments =
            vec![layout(Item::Constant("c".into()), None), layout(Item::Number(Format::Hex(8)), None)];
        assert_eq!(texts(arguments, 1, &[0]).unwrap(), ["c", FAULT]);
    }

    #[test]
    fn the_stack_follows_the_arguments() {
        let probe = probe(vec![layout(Item::Number(Format::Hex(8)), None)], true);
        let bytes: Vec<u8> = [7_u64, 2, 0x100, 0x200].iter().flat_map(|word| word.to_le_bytes()).collect();
        let (_, stack) = probe.decode(0, &bytes).unwrap();
        let ips: Vec<u64> = stack.unwrap().iter().map(|frame| frame.ip).collect();
        assert_eq!(ips, [0x100, 0x200]);
        assert_eq!(probe.decode(0, &bytes[..bytes.len() - 8]), None, "a stack that is cut off is none");
    }

    #[test]
    fn words_that_are_not_this_probes_are_refused() {
        assert_eq!(texts(vec![layout(TEXT, None)], 0, &[9, 0]), None);
        assert_eq!(texts(vec![layout(TEXT, None)], 0, &[u64::MAX]), None);
        assert_eq!(texts(vec![layout(Item::Number(Format::Char), Some(9))], 0, &[0]), None);
    }

    #[test]
    fn a_text_of_the_greatest_length_may_have_been_cut_off() {
        let mut words = vec![32];
        words.extend([u64::from_le_bytes([b'x'; 8]); 4]);
        assert!(texts(vec![layout(TEXT, None)], 0, &words).unwrap()[0].ends_with("xx..."));
    }
}
