//! A storm of page faults: on every CPU a thread that touches fresh pages, with known values in all
//! registers, and compares them afterwards.
//!
//! Most faults are a store of its own, in user mode; of every eight pages one is touched by the
//! kernel for it, reading `/dev/zero` into it. Every other thread has a base of GS that looks like
//! the kernel's: whoever tells by its sign whose GS it is must fail here.

use std::arch::global_asm;
use std::fs::File;
use std::os::fd::AsFd;
use std::ptr;
use std::thread;

use anyhow::{Context, Result, ensure};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
use rustix::thread::{CpuSet, sched_setaffinity};

const PAGE: usize = 4096;
/// Pages of a thread: they are touched, then given back.
const PAGES: usize = 256;
/// Of so many pages one is touched by the kernel.
const BY_KERNEL: usize = 8;

/// In: what every register shall hold, in the order of [`NAMES`]; the first is the address to store
/// to, `rsp` is not used. Out: what they held after the store.
type Registers = [u64; 18];

const NAMES: [&str; 18] = [
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
    "rsp", "rflags", "gs base",
];
const RSP: usize = 15;
const RFLAGS: usize = 16;
const GS_BASE: usize = 17;

unsafe extern "C" {
    /// Stores a byte to `registers[0]` with these registers, and puts there what they are then.
    fn trapline_gate_touch(registers: *mut Registers);
}

// The stack holds, from its top at the store: what to return to, the callee's registers, the
// array's address. After the store everything is pushed, which changes no flag, before any register
// is used again.
global_asm!(
    ".globl trapline_gate_touch",
    "trapline_gate_touch:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "push rdi",
    "mov [rdi + 8 * 15], rsp",
    "mov rax, [rdi + 8 * 17]",
    "wrgsbase rax",
    "push qword ptr [rdi + 8 * 16]",
    "mov rax, [rdi]",
    "mov rbx, [rdi + 8]",
    "mov rcx, [rdi + 8 * 2]",
    "mov rdx, [rdi + 8 * 3]",
    "mov rsi, [rdi + 8 * 4]",
    "mov rbp, [rdi + 8 * 6]",
    "mov r8, [rdi + 8 * 7]",
    "mov r9, [rdi + 8 * 8]",
    "mov r10, [rdi + 8 * 9]",
    "mov r11, [rdi + 8 * 10]",
    "mov r12, [rdi + 8 * 11]",
    "mov r13, [rdi + 8 * 12]",
    "mov r14, [rdi + 8 * 13]",
    "mov r15, [rdi + 8 * 14]",
    "mov rdi, [rdi + 8 * 5]",
    "popfq",
    "mov byte ptr [rax], 1",
    "pushfq",
    "push rdi",
    "mov rdi, [rsp + 16]",
    "mov [rdi], rax",
    "mov [rdi + 8], rbx",
    "mov [rdi + 8 * 2], rcx",
    "mov [rdi + 8 * 3], rdx",
    "mov [rdi + 8 * 4], rsi",
    "pop qword ptr [rdi + 8 * 5]",
    "mov [rdi + 8 * 6], rbp",
    "mov [rdi + 8 * 7], r8",
    "mov [rdi + 8 * 8], r9",
    "mov [rdi + 8 * 9], r10",
    "mov [rdi + 8 * 10], r11",
    "mov [rdi + 8 * 11], r12",
    "mov [rdi + 8 * 12], r13",
    "mov [rdi + 8 * 13], r14",
    "mov [rdi + 8 * 14], r15",
    "pop qword ptr [rdi + 8 * 16]",
    // How far the stack pointer is from where it was.
    "mov rax, rsp",
    "sub rax, [rdi + 8 * 15]",
    "mov [rdi + 8 * 15], rax",
    "rdgsbase rax",
    "mov [rdi + 8 * 17], rax",
    "cld",
    "pop rdi",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
);

/// CF, PF, AF, ZF, SF, DF and OF.
const FLAGS: u64 = 0xcd5;
/// The flag that is always set, and that interrupts are on: user mode can change neither.
const FIXED_FLAGS: u64 = 0x202;

/// Makes at least `faults` page faults, on all CPUs; fails at the first register, or byte, that is
/// other than it should be.
pub(crate) fn storm(faults: u64) -> Result<()> {
    let cpus = thread::available_parallelism()?.get();
    let each = faults.div_ceil(cpus as u64);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cpus).map(|cpu| scope.spawn(move || on_cpu(cpu, each))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a thread does not panic"))
    })
}

fn on_cpu(cpu: usize, faults: u64) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).with_context(|| format!("cannot run on cpu {cpu}"))?;
    let zero = File::open("/dev/zero")?;
    // SAFETY: a mapping of our own.
    let pages = unsafe {
        mmap_anonymous(ptr::null_mut(), PAGES * PAGE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
    }?;
    // SAFETY: as above: nobody else's, and whatever is in it may go. One fault a page, not one for
    // many.
    unsafe { madvise(pages, PAGES * PAGE, Advice::LinuxNoHugepage) }?;
    let mut random = 0x9e37_79b9_7f4a_7c15 ^ cpu as u64;
    let gs_base = if cpu & 1 == 0 { 0x1234_5678_9000 } else { 0xffff_8880_1234_5000 };
    for done in (0..faults).step_by(PAGES) {
        for number in 0..PAGES {
            // SAFETY: inside the mapping.
            let page = unsafe { pages.cast::<u8>().add(number * PAGE) };
            if number % BY_KERNEL == 0 {
                // SAFETY: a byte of the mapping.
                let byte = unsafe { std::slice::from_raw_parts_mut(page, 1) };
                ensure!(rustix::io::read(zero.as_fd(), byte)? == 1, "/dev/zero ended");
            } else {
                touch(page as u64, gs_base, &mut random)
                    .with_context(|| format!("cpu {cpu}, fault {done}"))?;
                // SAFETY: as above.
                ensure!(unsafe { page.read_volatile() } == 1, "cpu {cpu}: the store is not there");
            }
        }
        // SAFETY: as for the first.
        unsafe { madvise(pages, PAGES * PAGE, Advice::LinuxDontNeed) }?;
    }
    Ok(())
}

fn touch(page: u64, gs_base: u64, random: &mut u64) -> Result<()> {
    // xorshift (Marsaglia 2003): any values will do, as long as they differ.
    let mut next = || {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        *random
    };
    let mut registers: Registers = std::array::from_fn(|_| next());
    registers[0] = page;
    registers[RFLAGS] = registers[RFLAGS] & FLAGS | FIXED_FLAGS;
    registers[GS_BASE] = gs_base;
    let mut expected = registers;
    expected[RSP] = 0;
    // SAFETY: the page is one of our own, writable; nothing in this program uses GS.
    unsafe { trapline_gate_touch(&mut registers) };
    for ((name, seen), expected) in NAMES.iter().zip(registers).zip(expected) {
        ensure!(seen == expected, "{name} is {seen:#x} after a fault, not {expected:#x}");
    }
    Ok(())
}
