//! Example: code probes in Rust whose handlers fault, and a return probe.
//!
//! Three probes stand on one function. The handler of the first dereferences NULL at every hit: it
//! is abandoned each time, and counted. The second reads where nothing is mapped, too, but its
//! fault handler supplies the value, so it goes on to its end. The third carries the function's
//! argument from its entry to its return. The function does not notice any of them.
//!
//! The C half (`module.c`) is what a module must have in C: its entry, its licence, and
//! `pr_info()`.
#![no_std]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};
use trapline_api::{
    Attached, CodeHandler, CodeProbe, Exception, Registers, ReturnHandler, ReturnProbe, read_kernel,
    register_all,
};

/// What the fault handler supplies.
const SUPPLIED: u64 = 0x5eed;
/// Calls of the probed function.
const CALLS: u64 = 1000;
/// `mov rax, [rdi]` is 3 bytes long.
const READ_LENGTH: u64 = 3;

unsafe extern "C" {
    safe fn trapline_example_rust_probed(number: u64) -> u64;
    safe fn trapline_example_rust_say(counts: &Said);
}

/// What is said in the end; `struct said` in `module.c`.
#[repr(C)]
#[derive(Default)]
struct Said {
    calls: u64,
    wrong: u64,
    null_hits: u64,
    null_abandoned: u64,
    fixed: u64,
    completed: u64,
    returned: u64,
    unreadable: u64,
}

/// Reads a word, wherever that leads.
#[inline(never)]
fn read_word(from: u64) -> u64 {
    let value;
    // SAFETY: reads memory, or raises an exception: its callers are handlers, which may, and have
    // nothing to drop.
    unsafe {
        core::arch::asm!("mov rax, [rdi]", in("rdi") from, out("rax") value, options(nostack, readonly))
    };
    value
}

struct DereferencesNull;

// SAFETY: nothing is to be dropped where it raises an exception, and it has no fault handler.
unsafe impl CodeHandler for DereferencesNull {
    fn pre(&self, _registers: &Registers) {
        read_word(0);
    }
}

struct ReadsNothing {
    completed: AtomicU64,
    unreadable: AtomicU64,
}

// SAFETY: as above; its fault handler leaves `rax` and `rip` as the read would have.
unsafe impl CodeHandler for ReadsNothing {
    const FAULT: bool = true;

    fn pre(&self, _registers: &Registers) {
        if read_word(0) == SUPPLIED {
            self.completed.fetch_add(1, Ordering::Relaxed);
        }
        // Who asks first needs no fault handler.
        if read_kernel(0xffff_8000_0000_0000, &mut [0; 8]).is_err() {
            self.unreadable.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn fault(&self, registers: &mut Registers, exception: &Exception) -> bool {
        if exception.vector != 14 || exception.address != 0 {
            return false;
        }
        registers.rax = SUPPLIED;
        registers.rip += READ_LENGTH;
        true
    }
}

struct Squares(AtomicU64);

// SAFETY: it raises no exception.
unsafe impl ReturnHandler for Squares {
    type Carried = u64;

    fn entry(&self, registers: &Registers) -> u64 {
        registers.rdi
    }

    fn returned(&self, registers: &Registers, carried: &u64) {
        if registers.rax == carried * carried + 1 {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

static NULL: CodeProbe<DereferencesNull> =
    CodeProbe::at_symbol(c"trapline_example_rust_probed", 0, DereferencesNull)
        .named(c"example: dereferences NULL, in Rust");
static FIXED: CodeProbe<ReadsNothing> = CodeProbe::at_symbol(
    c"trapline_example_rust_probed",
    0,
    ReadsNothing { completed: AtomicU64::new(0), unreadable: AtomicU64::new(0) },
)
.named(c"example: fixes its own fault, in Rust");
static RETURNS: ReturnProbe<Squares> =
    ReturnProbe::of_symbol(c"trapline_example_rust_probed", Squares(AtomicU64::new(0)))
        .named(c"example: squares, in Rust");

/// What is attached while the module is loaded.
struct Kept(UnsafeCell<Option<Attached<3>>>);

// SAFETY: only the module's init and exit touch it, which the kernel calls one after the other.
unsafe impl Sync for Kept {}

static KEPT: Kept = Kept(UnsafeCell::new(None));

/// Attaches the probes, calls the probed function, and says what came of it. Returns 0 or a
/// negative error number.
#[unsafe(no_mangle)]
extern "C" fn trapline_example_rust_init() -> i32 {
    let attached = match register_all([&NULL, &FIXED, &RETURNS]) {
        Ok(attached) => attached,
        Err(error) => return error.status(),
    };
    let mut said = Said { calls: CALLS, ..Said::default() };
    for number in 0..CALLS {
        said.wrong += u64::from(trapline_example_rust_probed(number) != number * number + 1);
    }
    let [null, fixed] = [0, 1].map(|at| attached.counts(at));
    (said.null_hits, said.null_abandoned, said.fixed) = (null.hits, null.pre_faults, fixed.fixed);
    said.completed = FIXED.handler().completed.load(Ordering::Relaxed);
    said.unreadable = FIXED.handler().unreadable.load(Ordering::Relaxed);
    said.returned = RETURNS.handler().0.load(Ordering::Relaxed);
    trapline_example_rust_say(&said);
    // SAFETY: nobody else touches it now.
    unsafe { *KEPT.0.get() = Some(attached) };
    0
}

/// Takes the probes away.
#[unsafe(no_mangle)]
extern "C" fn trapline_example_rust_exit() {
    // SAFETY: nobody else touches it now.
    drop(unsafe { (*KEPT.0.get()).take() });
}

/// A panic is a bug that was let through: stop at once, as `BUG()` does.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // SAFETY: an undefined instruction has no operands and does not return; the kernel reports it
    // and ends the task.
    unsafe { core::arch::asm!("ud2", options(noreturn)) }
}
