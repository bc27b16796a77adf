//! One CPU's ring of records: its memory, the end that writes, the end that reads.
//!
//! The writer runs in exceptions on the ring's CPU, the reader in another address space. They share
//! one control page and the records after it ([`RingMemory`]), and nothing else:
//!
//! - The writer reserves positions, fills the slot of each, and stores the slot's *stamp* last. So
//!   a trap that interrupts another in the middle of a record neither waits nor makes wait.
//! - The reader takes a slot when its stamp is that of the position it waits for, and hands slots
//!   back by storing the *tail*. The writer takes the tail as a claim: whatever it says, the writer
//!   stays inside the ring.
//!
//! The kernel module, the simulated machine and the command all use this code, and so do its tests:
//! only the atomics and the cells are chosen ([`primitive`]), core's or loom's.
#![cfg_attr(not(any(test, loom)), no_std)]

extern crate alloc;

mod error;
pub mod local;
mod memory;
pub mod primitive;
mod reader;
mod writer;

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod tests;

pub use error::RingError;
pub use memory::RingMemory;
pub use reader::RingReader;
pub use writer::RingWriter;

/// Both ends of a ring of `capacity` records in memory of its own, as that of CPU `cpu`.
///
/// For programs: without memory it ends them, as `Box::new` does.
///
/// # Errors
/// If `capacity` is not one that a ring can have.
pub fn pair(capacity: u64, cpu: u32) -> Result<(RingWriter, RingReader<'static>), RingError> {
    let memory = RingMemory::owned(capacity)?;
    memory.set_up(cpu);
    // SAFETY: the memory is new, and is given to this one writer and this one reader, which keep it
    // alive.
    unsafe { Ok((RingWriter::new(memory.clone()), RingReader::new(memory)?)) }
}
