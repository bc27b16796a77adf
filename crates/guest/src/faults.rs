//! `trapline-faults CAUSE`: raises one page fault of a known kind, after telling its address.
//!
//! For the scenarios of `cargo xtask test`, which hold what Trapline says about the fault against
//! it. Most causes end the program by SIGSEGV: that is what they are.

#![allow(unsafe_code, reason = "its purpose is to access memory that is not there")]

use std::ffi::c_void;
use std::fs::{self, File};
use std::io::Write;
use std::process::ExitCode;
use std::ptr;

use anyhow::{Context, Result, bail};
use rustix::io::read;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect};
use rustix::thread::{CpuSet, sched_setaffinity};

const PAGE: usize = 4096;

/// An address in the kernel's text, mapped unless page-table isolation is on.
const KERNEL_TEXT: usize = 0xffff_ffff_8100_0000;

fn main() -> ExitCode {
    let cause = std::env::args().nth(1).unwrap_or_default();
    match raise(&cause) {
        Ok(()) => {
            // Whoever wants to know what memory it was asks a moment later, on a busy host some
            // moments.
            std::thread::sleep(std::time::Duration::from_secs(3));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("trapline-faults: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Fresh anonymous memory: two pages.
fn anonymous(access: ProtFlags) -> Result<usize> {
    // SAFETY: the kernel chooses addresses that nothing is at.
    let memory = unsafe { mmap_anonymous(ptr::null_mut(), 2 * PAGE, access, MapFlags::PRIVATE) }?;
    Ok(memory.addr())
}

/// Two pages of a file.
fn file(path: &str) -> Result<usize> {
    let file = File::open(path).with_context(|| format!("cannot open {path}"))?;
    // SAFETY: as above.
    let memory = unsafe { mmap(ptr::null_mut(), 2 * PAGE, ProtFlags::READ, MapFlags::PRIVATE, file, 0) }?;
    Ok(memory.addr())
}

/// Says where the fault will be.
fn tell(address: usize) -> Result<usize> {
    println!("{address:#x}");
    std::io::stdout().flush()?;
    Ok(address)
}

fn load(address: usize) {
    // SAFETY: mapped and readable, or else the signal that this raises is what the program is for.
    let _ = unsafe { ptr::with_exposed_provenance::<u8>(address).read_volatile() };
}

fn store(address: usize) {
    // SAFETY: as in `load`; memory of nobody else.
    unsafe { ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(0xc3) };
}

fn raise(cause: &str) -> Result<()> {
    let writable = ProtFlags::READ | ProtFlags::WRITE;
    match cause {
        "first-touch" => store(tell(anonymous(writable)? + 0x123)?),
        "copy-on-write" => {
            let memory = anonymous(writable)?;
            // Now the page of zeros is there, for reading.
            load(memory);
            store(tell(memory + 0x45)?);
        }
        "file" => load(tell(file("/proc/self/exe")? + 0x10)?),
        // Of the module `trapline_late`.
        "late" => load(tell(file("/proc/trapline_late")? + 0x10)?),
        "guard" => load(tell(anonymous(ProtFlags::empty())? + 0x67)?),
        "read-only" => {
            let memory = anonymous(ProtFlags::READ)?;
            load(memory);
            store(tell(memory + 0x89)?);
        }
        "execute" => {
            let memory = anonymous(writable)?;
            store(memory);
            let code = ptr::with_exposed_provenance::<c_void>(tell(memory)?);
            // SAFETY: a page that is not executable: the signal that this raises is what the
            // program is for.
            unsafe { std::mem::transmute::<*const c_void, extern "C" fn()>(code)() };
        }
        "kernel-page" => load(tell(KERNEL_TEXT)?),
        "null" => load(tell(0x18)?),
        "stack" => {
            let here = 0u8;
            // Further down than the stack has been, and within its limit.
            store(tell((&raw const here).addr() - 512 * 1024)?);
        }
        "by-kernel" => {
            let memory = tell(anonymous(writable)?)?;
            fill(memory)?;
        }
        "copy-on-write-by-kernel" => {
            let memory = tell(anonymous(writable)?)?;
            load(memory);
            fill(memory)?;
        }
        "protected-later" => {
            let memory = anonymous(writable)?;
            store(memory);
            // SAFETY: our own memory, which nothing else uses.
            unsafe { mprotect(ptr::with_exposed_provenance_mut(memory), PAGE, MprotectFlags::empty()) }?;
            load(tell(memory + 0xab)?);
        }
        "smap-read" | "smap-write" | "smep" => {
            // The program may run it, the kernel may not.
            let memory = anonymous(writable | ProtFlags::EXEC)?;
            store(memory);
            provoke(cause, tell(memory)?)?;
        }
        "user-reserved" => {
            // The module flushes the page from this CPU's translations alone.
            let mut cpus = CpuSet::new();
            cpus.set(0);
            sched_setaffinity(None, &cpus)?;
            let memory = anonymous(writable)?;
            store(memory);
            provoke(cause, tell(memory)?)?;
            load(memory);
        }
        "kernel-reserved" | "kernel-read-only" | "kernel-text-write" | "kernel-execute" | "kernel-hole"
        | "nested" | "safe-reader" | "safe-reader-beside" => {
            provoke(cause, 0)?;
            let address = fs::read_to_string(format!("{MODULE}/address"))?;
            tell(address.trim().parse()?)?;
        }
        _ => bail!("no cause is called `{cause}`"),
    }
    Ok(())
}

/// Parameters of the module `trapline_causes`.
const MODULE: &str = "/sys/module/trapline_causes/parameters";

/// Has the kernel raise it.
fn provoke(cause: &str, address: usize) -> Result<()> {
    fs::write(format!("{MODULE}/provoke"), format!("{cause} {address:#x}"))
        .with_context(|| format!("the module trapline_causes has not raised {cause}"))
}

/// Has the kernel write a byte there: read(2) from /dev/zero.
fn fill(memory: usize) -> Result<()> {
    let zero = File::open("/dev/zero")?;
    // SAFETY: a byte of memory of our own that nothing else refers to.
    let byte = unsafe { std::slice::from_raw_parts_mut(ptr::with_exposed_provenance_mut::<u8>(memory), 1) };
    read(&zero, byte)?;
    Ok(())
}
