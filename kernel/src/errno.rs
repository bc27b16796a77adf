//! The error numbers that the device answers with (include/uapi/asm-generic/errno-base.h and errno.h).

/// An `errno`, positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(i32);

impl Errno {
    pub(crate) const PERM: Errno = Errno(1);
