//! What an emulated instruction needs of the memory around it.

/// A segment whose base a 64-bit address may start from; the bases of the others are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// `%fs`: a task's thread-local storage in user space.
    Fs,
    /// `%gs`: per-CPU data in the kernel.
    Gs,
}

/// What an instruction does to one memory operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It only reads.
    Read,
    /// It only writes.
    Write,
    /// It reads, then writes the same bytes.
    ReadWrite,
}

/// One memory operand of an instruction about to run, its address computed from the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// Linear address of the first byte.
    pub address: u64,
    /// Width in bytes; 0 where the instruction alone does not tell (`xsave`).
    pub width: u16,
    /// What is done to the bytes.
    pub direction: Direction,
}

/// Memory as an emulated instruction sees it: each call is one access of exactly that width.
///
/// Addresses are linear. Widths are bytes: 1, 2, 4 or 8, and 16 for [`Memory::update`] alone
/// (`cmpxchg16b`). Values are zero-extended.
pub trait Memory {
    /// Why an access could not be performed; returned by [`Plan::execute`](crate::Plan::execute)
    /// unchanged.
    type Fault;

    /// Reads `width` bytes, once.
    fn read(&mut self, address: u64, width: u8) -> Result<u64, Self::Fault>;

    /// Writes the low `width` bytes of `value`, once.
    fn write(&mut self, address: u64, width: u8, value: u64) -> Result<(), Self::Fault>;

    /// Reads `width` bytes and writes back what `compute` makes of them; returns what was read.
    ///
    /// With `locked` the two are one atomic step where the memory has such steps; without, one
    /// instruction to what interrupts it where the memory is RAM. So `compute` may be called again
    /// with a newer value; only the last call counts.
    fn update(
        &mut self,
        address: u64,
        width: u8,
        locked: bool,
        compute: &mut dyn FnMut(u128) -> u128,
    ) -> Result<u128, Self::Fault>;

    /// Base of `segment` in the interrupted context.
    fn segment_base(&self, segment: Segment) -> u64;
}
