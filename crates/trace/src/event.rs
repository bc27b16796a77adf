//! One thing that happened, as every reader, writer and report sees it.
//!
//! An event borrows its texts from whoever made it: the merge (task names), [`Names`](crate::Names) (devices, registers, functions) or a file's
//! dictionaries. Unnamed and named events are one type; naming fills in [`Access::place`] and every `site`.

use std::borrow::Cow;

use trapline_abi::{ErrorCode, Flags, Way};

use crate::Moment;
use crate::fault::{Cause, sentence};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    /// Nanoseconds on the kernel log's clock.
    pub time: u64,
    /// CPU it happened on.
    pub cpu: u16,
    /// Thread id; 0 is the idle task.
    pub pid: u32,
    /// Process (thread group) id; 0 if not known.
    pub tgid: u32,
    /// Name of the task; empty if not known.
    pub comm: &'a str,
    /// What happened.
    pub what: What<'a>,
}

/// How the module begins a marker about a new mapping that it could not watch (kernel/src/session/accesses.rs).
const NOT_WATCHED: &str = "trapline: NOT WATCHED";

impl Event<'_> {
    /// Whether it tells of a new mapping that the module could not watch, so that accesses are missing.
    pub fn is_not_watched(&self) -> bool {
        matches!(self.what, What::Mark { text } if text.starts_with(NOT_WATCHED))
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What<'a> {
    /// An access to a watched range.
    Access(Access<'a>),
    /// A mapping came to be or was found.
    Map(Map<'a>),
    /// The mapping with this number is gone.
    Unmap {
        /// Its number.
        mapping: u32,
    },
    /// A person's marker.
    Mark {
        /// Its text, without a line end.
        text: &'a str,
    },
    /// So many records could not be written here.
    Lost {
        /// How many.
        count: u64,
    },
    /// Other CPUs' accesses may have been missed while a page was open for a single step.
    Window {
        /// Linear address of the page.
        address: u64,
        /// Nanoseconds that it was open.
        nanoseconds: u64,
    },
    /// A code probe was hit.
    Hit(Hit<'a>),
    /// A page fault.
    Fault(PageFault<'a>),
}

/// A page fault, as it was raised.
#[derive(Clone, Debug, PartialEq)]
pub struct PageFault<'a> {
    /// The linear address that was accessed.
    pub address: u64,
    /// As the CPU pushed it; its words are in [`fault`](crate::fault).
    pub error_code: ErrorCode,
    /// Address of the instruction that faulted.
    pub ip: u64,
    /// The interrupted stack pointer.
    pub stack: u64,
    /// Only [`Flags::INTERRUPT`] and [`Flags::CLOSED`] are used.
    pub flags: Flags,
    /// Nanoseconds until the kernel had served it, if that was asked for and is known.
    pub took: Option<u64>,
    /// What lies at the address and what the fault was for, once named: `copy on write, heap`.
    pub memory: Option<Cow<'a, str>>,
    /// Which function the instruction is in, or which program or library, once named.
    pub site: Option<Site<'a>>,
}

impl PageFault<'_> {
    /// Why it was raised.
    pub fn cause(&self) -> Cause {
        match Cause::of(self.error_code, self.address) {
            Cause::NotWritable if self.flags.has(Flags::CLOSED) => Cause::UserPage,
            cause => cause,
        }
    }

    /// "write to a present read-only page, in user mode".
    pub fn sentence(&self) -> String {
        sentence(self.error_code, self.cause())
    }

    /// "user" or "kernel".
    pub fn mode(&self) -> &'static str {
        if self.error_code.has(ErrorCode::USER) { "user" } else { "kernel" }
    }
}

/// A hit of a code probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit<'a> {
    /// Name of the probe.
    pub probe: &'a str,
    /// When it was recorded.
    pub moment: Moment,
    /// Address of the probed instruction; of a return, the address returned to.
    pub ip: u64,
    /// Which function that is in, once named.
    pub site: Option<Site<'a>>,
    /// Only [`Flags::INTERRUPT`] is used.
    pub flags: Flags,
    /// What was fetched.
    pub arguments: Vec<Argument<'a>>,
    /// The return addresses on the kernel stack, the innermost first, if they were asked for.
    pub stack: Option<Vec<Frame<'a>>>,
}

/// An argument that a hit fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Its type, as `u32`, `string` or `x8[4]`.
    pub form: &'a str,
    /// Its value as text, without quotes around a string; `None` if it could not be fetched.
    pub value: Option<Cow<'a, str>>,
    /// Its value as a number, if it is one; a signed one extended to 64 bits.
    pub number: Option<u64>,
}

/// A place on a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The return address.
    pub ip: u64,
    /// Which function that is in, once named.
    pub site: Option<Site<'a>>,
}

/// An access: one memory operand, read or written once.
#[derive(Clone, Debug, PartialEq)]
pub struct Access<'a> {
    /// Read or written.
    pub direction: Direction,
    /// Bytes accessed, 1 to 64; 0 if not known.
    pub width: u8,
    /// The value that the device saw, unless it could not be known.
    pub value: Option<Value>,
    /// Number of the mapping it went through.
    pub mapping: u32,
    /// Linear address of the first byte.
    pub address: u64,
    /// Physical address of the first byte; `None` if the mapping's own record was lost.
    pub physical: Option<u64>,
    /// More about it.
    pub flags: Flags,
    /// How it was performed.
    pub way: Way,
    /// Address of the accessing instruction.
    pub ip: u64,
    /// Which device, BAR and register, once named.
    pub place: Option<Place<'a>>,
    /// Which function, once named.
    pub site: Option<Site<'a>>,
}

/// A mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Map<'a> {
    /// Its number.
    pub mapping: u32,
    /// Linear address of its first byte.
    pub address: u64,
    /// Physical address of its first byte.
    pub physical: u64,
    /// Bytes.
    pub length: u64,
    /// Address in the code that made it; 0 if it was found, not watched being made.
    pub caller: u64,
    /// Which device and BAR, once named.
    pub place: Option<Place<'a>>,
    /// Which function made it, once named.
    pub site: Option<Site<'a>>,
}

/// Where in a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// PCI address, as `0000:00:03.0`.
    pub device: &'a str,
    /// BAR, 0 to 5; 6 is the expansion ROM.
    pub bar: u8,
    /// Bytes from the BAR's start.
    pub offset: u64,
    /// Register, if a register file tells: `CC`, `RAL[2]`, `CAP+0x4` for an access inside a register.
    pub register: Option<&'a str>,
}

/// Where in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site<'a> {
    /// Function.
    pub function: &'a str,
    /// Bytes from the function's start.
    pub offset: u64,
    /// Module, `None` for the kernel proper.
    pub module: Option<&'a str>,
}

/// Direction of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The device was read.
    Read,
    /// The device was written.
    Write,
}

impl Direction {
    /// `R` or `W`.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Read => "R",
            Self::Write => "W",
        }
    }
}

/// A value of 1 to 64 bytes, lowest address first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Value {
    bytes: [u8; Self::MAX],
    width: u8,
}

impl Value {
    /// Bytes of the widest value.
    pub const MAX: usize = 64;

    /// The value with these bytes, lowest address first; `None` if there are none or too many.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() || bytes.len() > Self::MAX {
            return None;
        }
        let mut all = [0; Self::MAX];
        all[..bytes.len()].copy_from_slice(bytes);
        Some(Self { bytes: all, width: bytes.len() as u8 })
    }

    /// The low `width` bytes of `value`; `None` if `width` is not 1 to 8.
    pub fn from_u64(value: u64, width: u8) -> Option<Self> {
        if width > 8 {
            return None;
        }
        Self::new(&value.to_le_bytes()[..usize::from(width)])
    }

    /// Its bytes, lowest address first.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.width)]
    }

    /// Its low 8 bytes as a number; the whole value if it is not wider.
    pub fn low(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.bytes;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl std::fmt::Display for Value {
    /// As one little-endian number with all its digits: `0x0000beef` for 4 bytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("0x")?;
        self.bytes().iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// A task's name as the kernel keeps it: at most 15 bytes of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comm {
    bytes: [u8; 16],
    length: u8,
}

impl Comm {
    /// From a name padded with zeros. A task may call itself anything: bytes that are not UTF-8 become `?`.
    pub fn new(mut name: [u8; 16]) -> Self {
        while let Err(error) = std::str::from_utf8(&name) {
            name[error.valid_up_to()] = b'?';
        }
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len()) as u8;
        Self { bytes: name, length }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reads_as_one_little_endian_number_with_all_its_digits() {
        assert_eq!(Value::from_u64(0xbeef, 4).unwrap().to_string(), "0x0000beef");
        assert_eq!(Value::from_u64(0x1234, 1).unwrap().to_string(), "0x34");
        let wide: Vec<u8> = (0..16).collect();
        assert_eq!(Value::new(&wide).unwrap().to_string(), "0x0f0e0d0c0b0a09080706050403020100");
        assert_eq!(Value::new(&wide).unwrap().low(), 0x0706_0504_0302_0100);
    }

    #[test]
    fn a_mapping_that_could_not_be_watched_is_told_from_a_persons_marker() {
        let mark =
            |text| Event { time: 1, cpu: 0, pid: 1, tgid: 1, comm: "modprobe", what: What::Mark { text } };
        let text = "trapline: NOT WATCHED, accesses are missing: new mapping of 0x0000000140000000";
        assert!(mark(text).is_not_watched());
        assert!(!mark("not watched by me").is_not_watched());
    }

    #[test]
    fn a_value_has_1_to_64_bytes() {
        assert_eq!(Value::new(&[]), None);
        assert_eq!(Value::new(&[0; 65]), None);
        assert_eq!(Value::from_u64(0, 9), None);
        assert_eq!(Value::new(&[1; 64]).unwrap().bytes().len(), 64);
    }

    #[test]
    fn a_task_name_that_is_not_utf8_stays_readable() {
        assert_eq!(Comm::new(*b"ab\xff\xfecd\0\0\0\0\0\0\0\0\0\0").as_str(), "ab??cd");
        assert_eq!(Comm::new(*b"kworker/3:2\0\0\0\0\0").as_str(), "kworker/3:2");
        assert_eq!(Comm::new([b'x'; 16]).as_str(), "xxxxxxxxxxxxxxxx");
    }
}
