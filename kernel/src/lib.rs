//! The Linux kernel platform of Trapline: the Rust half of `trapline.ko`.
//!
//! It is a static library for a bare machine, linked by kbuild with a thin layer of C (`glue/`), so
//! the kernel needs no `CONFIG_RUST` and we use no symbol that is not exported to modules.
//! Rejected: Rust for Linux, which stock Debian 6.1 and 6.12 are built without, and whose headers
//! they do not ship where they are.
//!
//! The trap side is [`platform`], reached through [`entry`]; the control side is everything that
//! takes one of the [`locks`].
#![no_std]

extern crate alloc;

mod allocator;
pub mod api;
mod arming;
mod calls;
mod code;
mod cpu;
mod device;
mod entry;
mod errno;
mod faults;
mod fixed;
mod gate;
mod glue;
mod injection;
mod kprobes;
mod list;
mod locks;
mod mappings;
mod names;
mod note;
mod page_tables;
mod platform;
mod ranges;
mod rings;
mod self_test;
mod session;
mod slots;
mod sources;
mod state;
mod tracking;
mod vector;
mod walk;
mod watched;

/// A panic is a bug that was let through: stop at once, as `BUG()` does, where the instruction
/// pointer tells which. It formats nothing, since it may be in a trap.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // SAFETY: an undefined instruction has no operands and does not return; the kernel reports it
    // and ends the task.
    unsafe { core::arch::asm!("ud2", options(noreturn)) }
}
