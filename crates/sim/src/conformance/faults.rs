//! Page faults of every cause, as handlers get them: error code and address, for each size of page
//! and each mode.
//!
//! The error codes are written down here from the manual (Intel SDM volume 3, 4.7), not computed.

use super::run_one;
use crate::paging::{Rules, Size};
use crate::{FaultHandlerSpec, Hit, HitKind, Machine, PageSpec, Program, code};
use trapline_engine::{ErrorCode, Fault, Linear};

/// `EFLAGS.AC`.
const AC: u64 = 1 << 18;
/// Where nothing is mapped.
const NOWHERE: u64 = 0x2000;
/// All data accesses, and writes, to pages with key 1.
const KEY_1: u32 = 0b0100;
const KEY_1_WRITES: u32 = 0b1000;

/// An access by one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Read,
    Write,
    Fetch,
}

/// In which mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum In {
    User,
    Kernel,
    /// Between `stac` and `clac`.
    KernelWithAc,
}

use Does::{Fetch, Read, Write};
use In::{Kernel, KernelWithAc, User};

/// A program that makes the access, and where in its page.
fn program(does: Does, mode: In, address: u64) -> Program {
    let program = match does {
        Read => Program::new(0, code::LOAD),
        Write => Program::new(0, code::STORE),
        // `jmp *0(%rip)`, and where to.
        Fetch => Program::new(0, &[&[0xff, 0x25, 0, 0, 0, 0][..], &address.to_le_bytes()].concat()),
    };
    let program = program.with(|registers| {
        (registers.rdi, registers.rax) = (address, NOWHERE);
        registers.rflags = if mode == KernelWithAc { AC } else { 0 };
    });
    Program { user: mode == User, ..program }
}

/// Somewhere in the second half of a page.
fn inside(page: u64, size: Size) -> u64 {
    page + size.bytes() / 2 + 0x18
}

/// What a page fault's handlers were told.
fn told(hits: &[Hit]) -> Vec<(u32, u64, Option<ErrorCode>)> {
    assert!(hits.iter().all(|hit| hit.kind == HitKind::Fault));
    hits.iter().map(|hit| (hit.label, hit.address, hit.error_code)).collect()
}

/// For each size of page: the access is a fault with that error code; the handlers see it, newest
/// first, until one claims it; unclaimed it is the system's.
fn faults(
    machine: &mut dyn Machine,
    what: &str,
    rules: Rules,
    spec: PageSpec,
    cases: &[(In, Does, u32)],
) -> Option<()> {
    for size in Size::ALL {
        let page = machine.page(rules, &PageSpec { size, ..spec })?;
        let address = inside(page, size);
        for &(mode, does, code) in cases {
            let what = format!("{what}, {size:?}: {does:?} in {mode:?}");
            let program = program(does, mode, address);
            let code = ErrorCode(code);
            let start = page;
            let handlers = [(1, size.bytes()), (2, size.bytes()), (3, 0)]
                .map(|(label, length)| machine.register(FaultHandlerSpec { start, length, label }));
            let outcome = run_one(machine, program.clone());
            let hits = machine.take_hits();
            assert_eq!(told(&hits), [(3, address, Some(code)), (2, address, Some(code))], "{what}");
            assert_eq!(outcome.fault, None, "{what}: claimed");
            for handler in handlers {
                assert!(machine.unregister(handler));
            }
            let outcome = run_one(machine, program);
            assert_eq!(
                outcome.fault,
                Some(Fault { error_code: code, address: Linear(address) }),
                "{what}: unclaimed"
            );
        }
    }
    Some(())
}

/// For each size of page: the access is allowed.
fn passes(
    machine: &mut dyn Machine,
    what: &str,
    rules: Rules,
    spec: PageSpec,
    cases: &[(In, Does)],
) -> Option<()> {
    for size in Size::ALL {
        let page = machine.page(rules, &PageSpec { size, ..spec })?;
        for &(mode, does) in cases {
            let fault = run_one(machine, program(does, mode, inside(page, size))).fault;
            // The page holds zeros: `add %al,(%rax)`. That this ran shows that it was fetched.
            let user = if mode == User { ErrorCode::USER } else { 0 };
            let next = Fault { error_code: ErrorCode(ErrorCode::WRITE | user), address: Linear(NOWHERE) };
            let expected = (does == Fetch).then_some(next);
            assert_eq!(fault, expected, "{what}, {size:?}: {does:?} in {mode:?}");
        }
    }
    Some(())
}

fn user() -> PageSpec {
    PageSpec::open(Size::Small, true)
}

fn kernel() -> PageSpec {
    PageSpec::open(Size::Small, false)
}

/// Every rule on, key 1 as told.
fn keys(pkru: u32) -> Rules {
    Rules { pkru, ..Rules::default() }
}

pub(super) fn a_fault_of_every_cause_is_delivered_with_its_error_code_and_address(
    machine: &mut dyn Machine,
) -> Option<()> {
    let all = Rules::default();
    let absent = [(User, Read, 0x04), (User, Write, 0x06), (User, Fetch, 0x14)];
    let absent_kernel = [(Kernel, Read, 0x00), (Kernel, Write, 0x02), (Kernel, Fetch, 0x10)];
    for spec in [user(), kernel()].map(|spec| PageSpec { present: false, ..spec }) {
        faults(machine, "not present", all, spec, &absent)?;
        faults(machine, "not present", all, spec, &absent_kernel)?;
    }
    let reserved = [(User, Read, 0x0d), (User, Write, 0x0f), (User, Fetch, 0x1d)];
    let reserved_kernel = [(Kernel, Read, 0x09), (Kernel, Write, 0x0b), (Kernel, Fetch, 0x19)];
    for spec in [user(), kernel()].map(|spec| PageSpec { reserved: true, ..spec }) {
        faults(machine, "reserved bit", all, spec, &reserved)?;
        faults(machine, "reserved bit", all, spec, &reserved_kernel)?;
    }
    let read_only = |spec| PageSpec { writable: false, ..spec };
    faults(
        machine,
        "not writable",
        all,
        read_only(user()),
        &[(User, Write, 0x07), (KernelWithAc, Write, 0x03)],
    )?;
    faults(machine, "not writable", all, read_only(kernel()), &[(Kernel, Write, 0x03)])?;
    let data = |spec| PageSpec { executable: false, ..spec };
    faults(machine, "not executable", all, data(user()), &[(User, Fetch, 0x15)])?;
    faults(machine, "not executable", all, data(kernel()), &[(Kernel, Fetch, 0x11)])?;
    let of_kernel = [(User, Read, 0x05), (User, Write, 0x07), (User, Fetch, 0x15)];
    faults(machine, "not for user mode", all, kernel(), &of_kernel)?;
    let of_user =
        [(Kernel, Read, 0x01), (Kernel, Write, 0x03), (Kernel, Fetch, 0x11), (KernelWithAc, Fetch, 0x11)];
    faults(machine, "SMAP and SMEP", all, user(), &of_user)?;
    let keyed = PageSpec { key: 1, ..user() };
    let writes = [(User, Write, 0x27), (KernelWithAc, Write, 0x23)];
    faults(machine, "protection key", keys(KEY_1), keyed, &writes)?;
    faults(machine, "protection key", keys(KEY_1_WRITES), keyed, &writes)?;
    faults(machine, "protection key", keys(KEY_1), keyed, &[(User, Read, 0x25), (KernelWithAc, Read, 0x21)])
}

pub(super) fn where_several_rules_forbid_an_access_the_manuals_bits_are_set(
    machine: &mut dyn Machine,
) -> Option<()> {
    let all = Rules::default();
    let keyed = PageSpec { key: 1, ..user() };
    let shut = keys(KEY_1);
    faults(
        machine,
        "key and write protection: both",
        shut,
        PageSpec { writable: false, ..keyed },
        &[(User, Write, 0x27)],
    )?;
    faults(machine, "key and SMAP: both", shut, keyed, &[(Kernel, Read, 0x21), (Kernel, Write, 0x23)])?;
    faults(
        machine,
        "keys do not govern fetches",
        shut,
        PageSpec { executable: false, ..keyed },
        &[(User, Fetch, 0x15)],
    )?;
    faults(
        machine,
        "a page of the kernel has no key",
        shut,
        PageSpec { key: 1, ..kernel() },
        &[(User, Read, 0x05)],
    )?;
    let closed = PageSpec {
        writable: false,
        executable: false,
        reserved: true,
        key: 1,
        ..PageSpec::open(Size::Small, true)
    };
    let cases = [(User, Write, 0x0f), (User, Fetch, 0x1d), (Kernel, Read, 0x09)];
    faults(machine, "a reserved bit goes before rights", shut, closed, &cases)?;
    let absent = PageSpec { present: false, ..closed };
    let cases = [(User, Write, 0x06), (User, Fetch, 0x14), (Kernel, Read, 0x00)];
    faults(machine, "a page that is not present has neither", shut, absent, &cases)?;
    let data = PageSpec { executable: false, ..user() };
    let without_nx = Rules { no_execute: false, ..all };
    faults(
        machine,
        "XD is reserved without NXE",
        without_nx,
        data,
        &[(User, Read, 0x0d), (User, Fetch, 0x1d)],
    )?;
    let absent = PageSpec { present: false, ..user() };
    let unsaid = Rules { smep: false, ..without_nx };
    faults(machine, "without NXE and SMEP a fetch is not told", unsaid, absent, &[(User, Fetch, 0x04)])
}

pub(super) fn an_access_that_no_rule_forbids_is_no_fault(machine: &mut dyn Machine) -> Option<()> {
    let all = Rules::default();
    passes(machine, "open", all, user(), &[(User, Read), (User, Write), (User, Fetch)])?;
    passes(machine, "open", all, kernel(), &[(Kernel, Read), (Kernel, Write), (Kernel, Fetch)])?;
    passes(machine, "AC lifts SMAP", all, user(), &[(KernelWithAc, Read), (KernelWithAc, Write)])?;
    let (no_smap, no_smep) = (Rules { smap: false, ..all }, Rules { smep: false, ..all });
    passes(machine, "no SMAP", no_smap, user(), &[(Kernel, Read), (Kernel, Write)])?;
    passes(machine, "no SMEP", no_smep, user(), &[(Kernel, Fetch)])?;
    let read_only = PageSpec { writable: false, ..kernel() };
    passes(machine, "read-only", all, read_only, &[(Kernel, Read), (Kernel, Fetch)])?;
    let no_wp = Rules { write_protect: false, ..all };
    passes(machine, "no WP", no_wp, read_only, &[(Kernel, Write)])?;
    let keyed = PageSpec { key: 1, ..user() };
    passes(machine, "writes are shut", keys(KEY_1_WRITES), keyed, &[(User, Read), (User, Fetch)])?;
    passes(machine, "all data is shut", keys(KEY_1), keyed, &[(User, Fetch)])?;
    let no_keys = Rules { protection_keys: false, ..keys(KEY_1) };
    passes(machine, "no keys", no_keys, keyed, &[(User, Read), (User, Write)])?;
    let unbound = Rules { write_protect: false, ..keys(KEY_1_WRITES) };
    passes(machine, "no WP, writes are shut", unbound, keyed, &[(KernelWithAc, Write)])
}

pub(super) fn a_fault_on_the_second_page_of_an_access_has_that_pages_address(
    machine: &mut dyn Machine,
) -> Option<()> {
    for size in Size::ALL {
        let page = machine.page(Rules::default(), &PageSpec::open(size, true))?;
        let end = page + size.bytes();
        for (does, code) in [(Read, 0x04), (Write, 0x06)] {
            let fault = run_one(machine, program(does, User, end - 2)).fault;
            let beyond = Fault { error_code: ErrorCode(code), address: Linear(end) };
            assert_eq!(fault, Some(beyond), "{size:?}: {does:?}");
        }
    }
    Some(())
}
