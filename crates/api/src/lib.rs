//! Trapline for kernel modules that are written in Rust: the twin of `trapline.h`.
//!
//! A probe is a `static` with a handler of a type of the module's own. Registering it gives an
//! [`Attached`], which takes it away again when it is dropped:
//!
//! ```no_run
//! use trapline_api::{Attached, CodeHandler, CodeProbe, Error, Registers};
//!
//! struct Count(core::sync::atomic::AtomicU64);
//!
//! // SAFETY: it raises no exception.
//! unsafe impl CodeHandler for Count {
//!     fn pre(&self, _registers: &Registers) {
//!         self.0.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
//!     }
//! }
//!
//! static READS: CodeProbe<Count> = CodeProbe::at_symbol(c"vfs_read", 0, Count(core::sync::atomic::AtomicU64::new(0)));
//!
//! fn init() -> Result<Attached<1>, Error> {
//!     READS.register()
//! }
//! ```
//!
//! Probes are registered and taken away in process context. Handlers run in the exception, with
//! interrupts off, maybe in NMI context, on any CPU, several at once: they must not sleep,
//! allocate, or take a lock that the code they interrupted may hold. One that raises an exception
//! is *abandoned*: it does not return, it is counted, and the interrupted code goes on. So code
//! that may raise one has nothing to drop in the frames above it, and leaves no data half changed
//! that others rely on; safe code raises none.
//!
//! Rejected: closures in place of a trait, which would have to be kept somewhere that lives as long
//! as the probe; and probes that live on the heap, since a module needs no allocator for what it
//! can name in a `static`.

#![cfg_attr(not(test), no_std)]

mod access;
mod attached;
mod code;
mod error;
mod fault;
pub mod functions;
mod memory;
pub mod raw;
mod returns;
#[cfg(test)]
mod tests;
mod twin;

pub use access::{Access, AccessHandler, AccessProbe, Decision};
pub use attached::{Attached, Probe, register_all};
pub use code::{CodeHandler, CodeProbe};
pub use error::Error;
pub use fault::{FaultHandler, PageFaultHandler};
pub use memory::{Unreadable, flush_tlb, read_kernel, read_user};
pub use raw::{Counts, Exception, PageFault};
pub use returns::{ReturnHandler, ReturnProbe};
pub use trapline_insn::Registers;
pub use twin::Twin;
