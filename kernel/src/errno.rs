//! The error numbers that the device answers with (include/uapi/asm-generic/errno-base.h and
//! errno.h).

/// An `errno`, positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(i32);

impl Errno {
    pub(crate) const PERM: Errno = Errno(1);
    pub(crate) const NOT_FOUND: Errno = Errno(2);
    pub(crate) const IO: Errno = Errno(5);
    pub(crate) const TOO_BIG: Errno = Errno(7);
    pub(crate) const NO_MEMORY: Errno = Errno(12);
    pub(crate) const FAULT: Errno = Errno(14);
    pub(crate) const BUSY: Errno = Errno(16);
    pub(crate) const EXISTS: Errno = Errno(17);
    pub(crate) const INVALID: Errno = Errno(22);
    pub(crate) const NOT_A_COMMAND: Errno = Errno(25);
    pub(crate) const NO_FUNCTION: Errno = Errno(38);
    pub(crate) const ILLEGAL_SEQUENCE: Errno = Errno(84);
    pub(crate) const NOT_SUPPORTED: Errno = Errno(95);

    /// What a kernel function returned: 0 or negative.
    pub(crate) fn from_status(status: i32) -> Self {
        Errno(-status)
    }

    /// As a positive number.
    pub(crate) fn number(self) -> u32 {
        self.0.unsigned_abs()
    }

    /// As a kernel function returns it.
    pub(crate) fn negative(self) -> i32 {
        -self.0
    }
}

/// 0, or the negative error number.
pub(crate) fn status(result: Result<(), Errno>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(errno) => errno.negative(),
    }
}
