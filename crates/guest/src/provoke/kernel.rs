//! Faults in kernel mode on addresses of user mode: system calls that are given a pointer that is
//! not good.
//!
//! The kernel resolves none of them; its exception table turns each into EFAULT.
#![allow(unsafe_code, reason = "hands bad pointers to the kernel")]

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use trapline_engine::Linear;
use trapline_sim::PageSpec;
use trapline_sim::paging::{AccessKind, Attempt, Mode, Rules, Size};

use super::pages::{Key, Page};
use super::{access, predicted};

const TRACING: &str = "/sys/kernel/tracing";
const EVENT: &str = "events/exceptions/page_fault_kernel/enable";

pub(crate) fn provoke() -> Result<()> {
    let size = Size::Small;
    let read_only = Page::new(size, libc::PROT_READ)?;
    let keyed = Page::new(size, libc::PROT_READ | libc::PROT_WRITE)?;
    let key = Key::new().context("this CPU or kernel has no protection keys")?;
    keyed.give(&key)?;
    // The last one, so that nothing is mapped where it was.
    let gone = Page::new(size, libc::PROT_READ)?.unmap()?;
    let (open, denied) = (access::pkru(), |rights: u32| rights << (2 * key.number()));
    let of_key = PageSpec { executable: false, key: key.number(), ..PageSpec::open(size, true) };
    let absent = PageSpec { present: false, ..PageSpec::open(size, true) };
    let fixed = PageSpec { writable: false, ..PageSpec::open(size, true) };
    for (what, spec, address, kind, rights) in [
        ("unmapped", absent, gone, AccessKind::Read, 0),
        ("unmapped", absent, gone, AccessKind::Write, 0),
        ("read-only", fixed, read_only.start(), AccessKind::Write, 0),
        ("key without access", of_key, keyed.start(), AccessKind::Read, denied(1)),
        ("key without access", of_key, keyed.start(), AccessKind::Write, denied(1)),
        ("key without writes", of_key, keyed.start(), AccessKind::Write, denied(2)),
    ] {
        let pkru = open & !denied(3) | rights;
        // The kernel's copying functions set AC.
        let attempt = Attempt { address: Linear(address), kind, mode: Mode::Supervisor { ac: true } };
        let expected = predicted(spec, Rules { pkru, ..Rules::default() }, attempt);
        access::set_pkru(pkru);
        let seen = trace(|| copy(kind, address));
        access::set_pkru(open);
        let seen = seen.with_context(|| format!("{what}: {kind:?} by the kernel"))?;
        let of_address = seen.iter().find(|(at, _)| *at == address).map(|(_, code)| *code);
        ensure!(
            of_address == expected && expected.is_some(),
            "{what}: {kind:?} by the kernel: the model says {expected:x?}, the kernel's tracepoint {seen:x?}"
        );
        println!(
            "ok {what}, {size:?}: {kind:?} by the kernel is {:#x} at {address:#x}",
            expected.unwrap_or(0)
        );
    }
    Ok(())
}

/// Has the kernel read from or write to `address`, which it must refuse with EFAULT.
fn copy(kind: AccessKind, address: u64) -> Result<()> {
    let mut ends = [0; 2];
    // SAFETY: room for both.
    ensure!(unsafe { libc::pipe(ends.as_mut_ptr()) } == 0, "no pipe: {}", io::Error::last_os_error());
    let [from, to] = ends;
    // SAFETY: the kernel checks the pointer: that is what is tried. A write into the program's
    // memory would hit a page that nothing else uses.
    let result = unsafe {
        if kind == AccessKind::Read {
            libc::write(to, address as *const _, 8)
        } else {
            libc::write(to, [0u8; 8].as_ptr().cast(), 8);
            libc::read(from, address as *mut _, 8)
        }
    };
    let error = io::Error::last_os_error();
    // SAFETY: both are ours.
    unsafe {
        libc::close(from);
        libc::close(to);
    }
    ensure!(
        result == -1 && error.raw_os_error() == Some(libc::EFAULT),
        "expected EFAULT, not {result}, {error}"
    );
    Ok(())
}

/// Address and error code of the faults in kernel mode while `run` does.
fn trace(run: impl FnOnce() -> Result<()>) -> Result<Vec<(u64, u32)>> {
    let tracing = Path::new(TRACING);
    let write = |name: &str, text: &str| {
        fs::write(tracing.join(name), text).with_context(|| format!("cannot write {TRACING}/{name}"))
    };
    write("trace", "")?;
    write("tracing_on", "1")?;
    write(EVENT, "1")?;
    let ran = run();
    write(EVENT, "0")?;
    ran?;
    let text =
        fs::read_to_string(tracing.join("trace")).with_context(|| format!("cannot read {TRACING}/trace"))?;
    let hex = |line: &str, name: &str| {
        let digits = line.split(name).nth(1)?.split_whitespace().next()?;
        u64::from_str_radix(digits.trim_start_matches("0x"), 16).ok()
    };
    let seen = |line: &str| Some((hex(line, "address=")?, hex(line, "error_code=")? as u32));
    Ok(text.lines().filter_map(seen).collect())
}
