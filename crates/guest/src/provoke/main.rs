//! `trapline-provoke`: provokes a page fault of each cause that a program can come by, in user mode
//! and, through system calls, in kernel mode, and holds what the kernel tells of it against the
//! model of paging in `trapline-sim`. It prints a line for each and ends with status 1 if one
//! differs.
//!
//! What a program learns is in the signal: error code, address, instruction, `si_code`. Of faults
//! in kernel mode it learns nothing; the kernel's tracepoint `exceptions:page_fault_kernel` does.
//!
//! Not here: reserved bits, which no kernel sets; SMEP, SMAP and writes to the kernel's own
//! read-only pages, which need a fault in the kernel itself: the module `trapline_causes` raises
//! those. Pages of 1 GiB, for which the virtual machine is too small, only the simulated machine
//! has.

mod access;
mod kernel;
mod pages;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use trapline_engine::Linear;
use trapline_sim::PageSpec;
use trapline_sim::paging::{AccessKind, Attempt, Mode, Refusal, Rules, Size, Tables, entry, translate};

use pages::{Key, Page};

/// `si_code` of SIGSEGV (include/uapi/asm-generic/siginfo.h).
const MAPERR: i32 = 1;
const ACCERR: i32 = 2;
const PKUERR: i32 = 4;

fn main() -> ExitCode {
    match user().and_then(|()| kernel::provoke()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trapline-provoke: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What the page tables hold by all that the program knows, who accesses it, and what the signal
/// must say beside that.
struct Case<'a> {
    what: &'a str,
    spec: PageSpec,
    address: u64,
    pkru: u32,
    kind: AccessKind,
    si_code: i32,
}

fn user() -> Result<()> {
    access::catch_faults().context("cannot catch SIGSEGV")?;
    let all = [AccessKind::Read, AccessKind::Write, AccessKind::Fetch];
    let pkru = access::pkru();
    let nothing = |size| PageSpec { present: false, ..PageSpec::open(size, true) };
    for size in [Size::Small, Size::Large] {
        let code = Page::new(size, libc::PROT_READ | libc::PROT_EXEC)?;
        let data = Page::new(size, libc::PROT_READ | libc::PROT_WRITE)?;
        let shut = Page::new(size, libc::PROT_NONE)?;
        let gone = Page::new(size, libc::PROT_READ)?.unmap()?;
        let read_only = PageSpec { writable: false, ..PageSpec::open(size, true) };
        let no_code = PageSpec { executable: false, ..PageSpec::open(size, true) };
        let case = |what, spec, page: u64, kind, si_code| {
            check(&Case { what, spec, address: page + size.bytes() / 2, pkru, kind, si_code })
        };
        for kind in all {
            case("unmapped", nothing(size), gone, kind, MAPERR)?;
            case("no access", nothing(size), shut.start(), kind, ACCERR)?;
        }
        case("read-only", read_only, code.start(), AccessKind::Read, 0)?;
        case("read-only", read_only, code.start(), AccessKind::Write, ACCERR)?;
        case("read-only", read_only, code.start(), AccessKind::Fetch, 0)?;
        case("data", no_code, data.start(), AccessKind::Read, 0)?;
        case("data", no_code, data.start(), AccessKind::Write, 0)?;
        case("data", no_code, data.start(), AccessKind::Fetch, ACCERR)?;
        keys(size)?;
    }
    for kind in all {
        let (what, spec) = ("the kernel's text", PageSpec::open(Size::Large, false));
        // Wherever it is by now; for an address of its half the kernel always says that the page
        // was present (sanitize_error_code).
        let address = 0xffff_ffff_8100_0000;
        check(&Case { what, spec, address, pkru, kind, si_code: MAPERR })?;
    }
    Ok(())
}

/// Protection keys: a page that user mode may read, write and execute, but for its key.
fn keys(size: Size) -> Result<()> {
    let page = Page::new(size, libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC)?;
    let key = Key::new().context("this CPU or kernel has no protection keys")?;
    page.give(&key)?;
    let spec = PageSpec { key: key.number(), ..PageSpec::open(size, true) };
    let (address, before) = (page.start() + size.bytes() / 2, access::pkru());
    for (what, denied, kinds) in [
        (
            "key without access",
            1,
            [(AccessKind::Read, PKUERR), (AccessKind::Write, PKUERR), (AccessKind::Fetch, 0)],
        ),
        (
            "key without writes",
            2,
            [(AccessKind::Read, 0), (AccessKind::Write, PKUERR), (AccessKind::Fetch, 0)],
        ),
        ("key with all", 0, [(AccessKind::Read, 0), (AccessKind::Write, 0), (AccessKind::Fetch, 0)]),
    ] {
        let pkru = before & !(3 << (2 * key.number())) | denied << (2 * key.number());
        access::set_pkru(pkru);
        for (kind, si_code) in kinds {
            check(&Case { what, spec, address, pkru, kind, si_code })?;
        }
    }
    access::set_pkru(before);
    Ok(())
}

/// Makes the access, and compares.
fn check(case: &Case) -> Result<()> {
    let Case { what, spec, address, pkru, kind, si_code } = *case;
    let attempt = Attempt { address: Linear(address), kind, mode: Mode::User };
    let expected = predicted(spec, Rules { pkru, ..Rules::default() }, attempt);
    let told = access::attempt(kind, address);
    let size = spec.size;
    match told {
        None => println!("ok {what}, {size:?}: {kind:?} is no fault"),
        Some(told) => {
            println!("ok {what}, {size:?}: {kind:?} is {:#x} at {:#x}", told.error_code, told.address);
        }
    }
    ensure!(
        told.map(|told| told.error_code) == expected,
        "{what}, {size:?}: {kind:?}: the model says {expected:x?}, the kernel {told:x?}"
    );
    if let Some(told) = told {
        // A fault in the kernel's half is told with its address too (CR2), which `si_addr` hides.
        ensure!(
            told.address == address,
            "{what}, {size:?}: {kind:?}: on {address:#x}, the kernel says {told:x?}"
        );
        ensure!(
            told.si_code == si_code,
            "{what}, {size:?}: {kind:?}: expected si_code {si_code}, the kernel says {told:x?}"
        );
        let fetched = kind == AccessKind::Fetch;
        ensure!(
            (told.ip == address) == fetched,
            "{what}, {size:?}: {kind:?}: by another instruction: {told:x?}"
        );
    }
    Ok(())
}

/// The error code by the model, for one page in otherwise empty tables.
fn predicted(spec: PageSpec, rules: Rules, attempt: Attempt) -> Option<u32> {
    let mut tables = Tables::default();
    let upper = entry::PRESENT | entry::WRITABLE | entry::USER;
    tables.map(attempt.address.aligned_down(spec.size.bytes()), spec.size, spec.bits(), upper);
    match translate(&tables, &rules, attempt) {
        Ok(_) => None,
        Err(Refusal::PageFault(code)) => Some(code.0),
        Err(Refusal::NotCanonical) => panic!("{attempt:x?} is not canonical"),
    }
}
