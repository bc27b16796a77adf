//! Accesses to I/O ports, as the command asks for them and as they are recorded.

use crate::MODULE_LENGTH;

/// Argument of [`PORTS`](crate::PORTS): record accesses to these ports, from now on until the
/// session stops; up to [`MAX_PORT_RANGES`] ranges, which may overlap.
///
/// They are those that the instructions make which [`PORT_CODE`](crate::PORT_CODE) finds.
///
/// `E2BIG` if there are too many; `EEXIST` if the session has the range already; `EINVAL` for more
/// than 65,536 ports, none, or what must be zero is not; `ENOMEM`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortRange {
    /// In: the first port.
    pub first: u32,
    /// In: how many.
    pub count: u32,
    /// Zero.
    pub reserved: u64,
}

/// Ranges of ports that a session may record.
pub const MAX_PORT_RANGES: usize = 64;

/// Argument of [`PORT_CODE`](crate::PORT_CODE): put probes on the instructions that access ports in
/// a stretch of the kernel's code, which is decoded from its start, or in a module's code.
///
/// `EINVAL` if neither is named, or a start without a length, or there is no
/// [`PORTS`](crate::PORTS) yet, or the name is not padded with zeros; `EFAULT` if no function of
/// the kernel's lies there; `E2BIG` for more than [`MAX_PORT_CODE`] bytes, or too many modules;
/// `EEXIST` for a module that the session has already; `ENOMEM`. Instructions that can't be probed
/// are counted ([`PORT_COUNTS`](crate::PORT_COUNTS)), and no error.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortCode {
    /// In: where the stretch begins, or 0 for a module's.
    pub start: u64,
    /// In: its bytes; the function that the last of them is in is searched to its end.
    pub length: u64,
    /// In: name of a module, zero-padded: its code is searched whenever the module is loaded from
    /// now on, before it runs. What is loaded already is a stretch like any other.
    pub module: [u8; MODULE_LENGTH],
}

/// What [`PORT_COUNTS`](crate::PORT_COUNTS) tells.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounts {
    /// Instructions that access ports and were found, in code that was loaded meanwhile too.
    pub found: u64,
    /// Of these, those that the kernel lets nobody probe, and those for which there was no memory.
    pub refused: u64,
    /// Accesses, to whatever port, that the kernel could not deliver: inside of another probe's
    /// handler; and those of a string instruction beyond its first 65,536.
    pub missed: u64,
}

/// Longest stretch of code that is searched, in bytes.
pub const MAX_PORT_CODE: u64 = 64 << 20;

/// Modules whose code a session may wait for.
pub const MAX_PORT_MODULES: usize = 64;

/// `payload` of [`Kind::Port`](crate::Kind::Port).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortPayload {
    /// Whom the function returns to that made the access; 0 if that is not known.
    pub caller: u64,
    /// What was read or written, zero-extended.
    pub value: u32,
    /// The first of the ports.
    pub port: u16,
    /// Whether it was one step of a string instruction (`ins`, `outs`).
    pub is_string: bool,
    /// Whether `value` is known: not if what the string instruction copied could not be read
    /// afterwards.
    pub is_known: bool,
    /// The instruction.
    pub ip: u64,
}

impl PortPayload {
    /// As it lies in a record.
    pub const fn to_words(self) -> [u64; 4] {
        let Self { caller, value, port, is_string, is_known, ip } = self;
        [caller, value as u64, port as u64 | (is_string as u64) << 16 | (is_known as u64) << 17, ip]
    }

    /// From a record of kind [`Kind::Port`](crate::Kind::Port).
    pub const fn from_words(words: [u64; 4]) -> Self {
        let [caller, value, rest, ip] = words;
        Self {
            caller,
            value: value as u32,
            port: rest as u16,
            is_string: rest >> 16 & 1 != 0,
            is_known: rest >> 17 & 1 != 0,
            ip,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_survives_the_way_through_a_record() {
        for (is_string, is_known) in [(false, true), (true, false), (true, true)] {
            let (caller, ip) = (u64::MAX - 1, u64::MAX - 2);
            let access = PortPayload { caller, value: 0x89ab_cdef, port: 0xfffe, is_string, is_known, ip };
            assert_eq!(PortPayload::from_words(access.to_words()), access);
        }
    }
}
