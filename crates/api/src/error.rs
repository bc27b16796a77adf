//! Why something was not registered.

use core::fmt;

/// Why something was not registered: each stands for an error number of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It is registered already (`EALREADY`).
    Registered,
    /// It has no handler, no length, or stands on nothing that may be probed (`EINVAL`).
    Invalid,
    /// There is no such symbol (`ENOENT`).
    NoSymbol,
    /// The address is inside of an instruction (`EILSEQ`).
    InsideInstruction,
    /// Trapline's own code or what it hangs on, executable or stack memory, or a module whose
    /// self-test failed (`EPERM`).
    NotPermitted,
    /// Somebody else has the place and can't share it (`EBUSY`).
    Busy,
    /// There is no memory for it (`ENOMEM`).
    OutOfMemory,
    /// The memory is not mapped, or neither from `ioremap` nor from `vmalloc` (`EFAULT`).
    NotMapped,
    /// The kernel has not what it takes, or the page is too large (`EOPNOTSUPP`).
    Unsupported,
    /// There is no second mapping with the same cache attributes (`EIO`).
    Alias,
    /// What else the kernel said: a negative error number.
    Kernel(i32),
}

const NUMBERS: [(Error, i32); 10] = [
    (Error::Registered, 114),
    (Error::Invalid, 22),
    (Error::NoSymbol, 2),
    (Error::InsideInstruction, 84),
    (Error::NotPermitted, 1),
    (Error::Busy, 16),
    (Error::OutOfMemory, 12),
    (Error::NotMapped, 14),
    (Error::Unsupported, 95),
    (Error::Alias, 5),
];

impl Error {
    /// What a function of the interface returned: 0 or a negative error number.
    pub(crate) fn check(status: i32) -> Result<(), Self> {
        if status == 0 {
            return Ok(());
        }
        let known = NUMBERS.iter().find(|(_, number)| -*number == status);
        Err(known.map_or(Self::Kernel(status), |(error, _)| *error))
    }

    /// The negative error number, for a module's init function to return.
    pub fn status(self) -> i32 {
        let known = NUMBERS.iter().find(|(error, _)| *error == self);
        match self {
            Self::Kernel(status) => status,
            _ => known.map_or(-22, |(_, number)| -number),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registered => "it is registered already",
            Self::Invalid => "it has no handler or length, or nothing there may be probed",
            Self::NoSymbol => "there is no such symbol",
            Self::InsideInstruction => "the address is inside of an instruction",
            Self::NotPermitted => "Trapline does not probe that",
            Self::Busy => "somebody else has the place and can't share it",
            Self::OutOfMemory => "there is no memory for it",
            Self::NotMapped => "the memory is not mapped, or neither from ioremap nor from vmalloc",
            Self::Unsupported => "this kernel has not what it takes, or the page is too large",
            Self::Alias => "there is no second mapping with the same cache attributes",
            Self::Kernel(status) => return write!(f, "the kernel said {status}"),
        })
    }
}

impl core::error::Error for Error {}
