//! Lines of the kernel log, as the command asks for them and as they are recorded.

/// Argument of [`LOG`](crate::LOG): record each line of the kernel log, whoever writes it, from now
/// on until the session stops.
///
/// `EEXIST` if the session does already; `EINVAL` if what must be zero is not; `ENOMEM`; `ENOSYS`
/// if the kernel has no function `printk_sprint()`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogWatch {
    /// Zero.
    pub reserved: u64,
}

/// What [`LOG_COUNTS`](crate::LOG_COUNTS) tells.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounts {
    /// Lines that the kernel could not deliver: written inside of a probe's handler, or with too
    /// many being written.
    pub missed: u64,
}

/// Bytes of a line that are recorded. The kernel's longest has some 1,000.
pub const MAX_LOG_LINE: usize = 480;

/// First word of the payload of a record of [`Kind::Log`](crate::Kind::Log). The second is zero;
/// the line's bytes begin in the third, as the words of a hit do, and go on in as many records of
/// [`Kind::More`](crate::Kind::More) as they take, with zeros behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLength {
    /// Bytes that are recorded.
    pub recorded: u32,
    /// Bytes that the line has.
    pub whole: u32,
}

impl LogLength {
    /// As it lies in a record.
    pub const fn to_word(self) -> u64 {
        self.recorded as u64 | (self.whole as u64) << 32
    }

    /// From a record of kind [`Kind::Log`](crate::Kind::Log).
    pub const fn from_word(word: u64) -> Self {
        Self { recorded: word as u32, whole: (word >> 32) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_survives_the_way_through_a_record() {
        let length = LogLength { recorded: 480, whole: u32::MAX };
        assert_eq!(LogLength::from_word(length.to_word()), length);
    }
}
