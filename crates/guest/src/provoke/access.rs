//! One access by one instruction, and what the signal told if it was a fault.
#![allow(unsafe_code, reason = "faults on purpose")]

use std::arch::asm;
use std::ffi::c_void;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use trapline_sim::paging::AccessKind;

/// What SIGSEGV told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) error_code: u32,
    /// CR2.
    pub(crate) address: u64,
    pub(crate) ip: u64,
    pub(crate) si_code: i32,
}

/// Where the program goes on after a fault; what the handler found.
static RESUME: AtomicU64 = AtomicU64::new(0);
static CAME: AtomicBool = AtomicBool::new(false);
static ERROR_CODE: AtomicU64 = AtomicU64::new(0);
static ADDRESS: AtomicU64 = AtomicU64::new(0);
static IP: AtomicU64 = AtomicU64::new(0);
static SI_CODE: AtomicI32 = AtomicI32::new(0);

/// Sends every SIGSEGV to a handler that notes what it says and leaves the instruction out.
pub(crate) fn catch_faults() -> io::Result<()> {
    // SAFETY: all zeros are a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_fault as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the handler has the signature that SA_SIGINFO asks for, and does only what a signal
    // handler may: atomics and its own context.
    let result = unsafe { libc::sigaction(libc::SIGSEGV, &raw const action, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn on_fault(_: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes both, valid and ours until the handler returns.
    let (info, context) = unsafe { (&*info, &mut *context.cast::<libc::ucontext_t>()) };
    let registers = &mut context.uc_mcontext.gregs;
    ERROR_CODE.store(registers[libc::REG_ERR as usize] as u64, Ordering::Relaxed);
    ADDRESS.store(registers[libc::REG_CR2 as usize] as u64, Ordering::Relaxed);
    IP.store(registers[libc::REG_RIP as usize] as u64, Ordering::Relaxed);
    SI_CODE.store(info.si_code, Ordering::Relaxed);
    CAME.store(true, Ordering::Relaxed);
    registers[libc::REG_RIP as usize] = RESUME.load(Ordering::Relaxed) as i64;
}

/// Makes the access, of one byte; `None` if it was no fault.
///
/// A page that may be fetched from must hold `jmp *%rdx` at `address`, as [`Page`](super::Page)
/// does.
pub(crate) fn attempt(kind: AccessKind, address: u64) -> Option<Told> {
    CAME.store(false, Ordering::Relaxed);
    let resume = RESUME.as_ptr();
    // SAFETY: each block notes its own end as the place to go on, so a fault ends it there with the
    // stack as it was. A read changes a scratch register only; a write puts the byte there that
    // `jmp *%rdx` begins with, on a page of this program's own or where it faults; a fetch comes to
    // such a jump, whose target is the end, or faults.
    unsafe {
        match kind {
            AccessKind::Read => asm!(
                "lea {scratch}, [rip + 2f]", "mov [{resume}], {scratch}", "mov {scratch:l}, [{address}]", "2:",
                address = in(reg) address, resume = in(reg) resume, scratch = out(reg) _,
            ),
            AccessKind::Write => asm!(
                "lea {scratch}, [rip + 2f]", "mov [{resume}], {scratch}", "mov byte ptr [{address}], 0xff", "2:",
                address = in(reg) address, resume = in(reg) resume, scratch = out(reg) _,
            ),
            AccessKind::Fetch => asm!(
                "lea rdx, [rip + 2f]", "mov [{resume}], rdx", "jmp {address}", "2:",
                address = in(reg) address, resume = in(reg) resume, out("rdx") _,
            ),
        }
    }
    let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
    CAME.load(Ordering::Relaxed).then(|| Told {
        error_code: load(&ERROR_CODE) as u32,
        address: load(&ADDRESS),
        ip: load(&IP),
        si_code: SI_CODE.load(Ordering::Relaxed),
    })
}

/// The PKRU register.
pub(crate) fn pkru() -> u32 {
    let value: u32;
    // SAFETY: `main` has made sure that the CPU has protection keys, or ends with SIGILL, which
    // harms nobody.
    unsafe { asm!("rdpkru", in("ecx") 0, out("eax") value, out("edx") _, options(nomem, nostack)) };
    value
}

/// Sets it.
pub(crate) fn set_pkru(value: u32) {
    // SAFETY: as above; only pages with a key of this program's own lose rights by it.
    unsafe { asm!("wrpkru", in("eax") value, in("ecx") 0, in("edx") 0, options(nostack)) };
}
