//! The CPU under test, driven: one instruction run natively on chosen registers, flags and memory.
//!
//! A code page, a context and an arena for operands lie below 2 GiB, so that absolute and 32-bit
//! addresses reach them. The code is `load all from the context; instruction; store all to the
//! context`, where the context is addressed absolutely and so costs no register: all sixteen are
//! the instruction's, `%rsp` included.

use std::ptr;

use trapline_insn::{Gpr, Registers, Segment};

/// Bytes of memory for operands.
pub(crate) const ARENA: usize = 8192;
/// Bytes of vector and x87 state, as `xsave` lays it out.
pub(crate) const STATE: usize = 4096;

const CONTEXT: usize = 4096;
const CODE: usize = 4096;
// Offsets in the context: sixteen registers in, sixteen out, flags in, flags out, host's %rsp,
// fxsave areas.
const IN: usize = 0;
const OUT: usize = 128;
const FLAGS_IN: usize = 256;
const FLAGS_OUT: usize = 264;
const HOST_RSP: usize = 272;
/// Components of the state, as in XCR0: x87, SSE, AVX, and AVX-512's three.
const COMPONENTS: u32 = 0xe7;

/// One page of code and the memory it works on.
pub(crate) struct Machine {
    base: *mut u8,
    fs_base: u64,
    gs_base: u64,
    instruction_at: usize,
    has_state: bool,
}

impl Machine {
    /// Maps the memory. With `with_state`, vector and x87 state is loaded and stored too.
    pub(crate) fn new(with_state: bool) -> Self {
        let length = CODE + CONTEXT + 2 * STATE + ARENA;
        // SAFETY: an anonymous mapping at an address of the kernel's choice replaces nothing.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
                -1,
                0,
            )
        };
        assert_ne!(
            base,
            libc::MAP_FAILED,
            "mmap of {length} bytes below 2 GiB: {}",
            std::io::Error::last_os_error()
        );
        let base = base.cast::<u8>();
        let mut machine = Self { base, fs_base: 0, gs_base: 0, instruction_at: 0, has_state: with_state };
        machine.gs_base = machine.address(CODE) & !0xfff;
        const ARCH_SET_GS: u64 = 0x1001;
        const ARCH_GET_FS: u64 = 0x1003;
        // SAFETY: %gs is not used by 64-bit programs; reading the base of %fs writes the eight
        // bytes given.
        unsafe {
            assert_eq!(libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, machine.gs_base), 0);
            assert_eq!(libc::syscall(libc::SYS_arch_prctl, ARCH_GET_FS, &raw mut machine.fs_base), 0);
        }
        machine.write_entry();
        machine
    }

    fn address(&self, offset: usize) -> u64 {
        self.base as u64 + offset as u64
    }

    /// Address of the instruction under test.
    pub(crate) fn rip(&self) -> u64 {
        self.address(self.instruction_at)
    }

    /// Address of the arena.
    pub(crate) fn arena(&self) -> u64 {
        self.address(CODE + CONTEXT + 2 * STATE)
    }

    /// The base of `segment` in this thread.
    pub(crate) fn segment_base(&self, segment: Segment) -> u64 {
        match segment {
            Segment::Fs => self.fs_base,
            Segment::Gs => self.gs_base,
        }
    }

    /// The operands' memory.
    pub(crate) fn arena_bytes(&mut self) -> &mut [u8; ARENA] {
        // SAFETY: the arena is ARENA bytes of the mapping, which lives as long as `self`; only
        // `run`, which takes `&mut self`, writes it otherwise.
        unsafe { &mut *self.base.add(CODE + CONTEXT + 2 * STATE).cast() }
    }

    /// The state that `run` loads.
    pub(crate) fn state_in(&mut self) -> &mut [u8; STATE] {
        // SAFETY: as for the arena, STATE bytes at their place.
        unsafe { &mut *self.base.add(CODE + CONTEXT).cast() }
    }

    /// The state that `run` stored.
    pub(crate) fn state_out(&mut self) -> &mut [u8; STATE] {
        // SAFETY: as for the arena, STATE bytes at their place.
        unsafe { &mut *self.base.add(CODE + CONTEXT + STATE).cast() }
    }

    fn context_word(&mut self, offset: usize) -> &mut u64 {
        assert!(offset + 8 <= CONTEXT && offset.is_multiple_of(8));
        // SAFETY: inside the context, which is mapped and aligned to a page; the offset was just
        // checked.
        unsafe { &mut *self.base.add(CODE + offset).cast() }
    }

    fn emit(&mut self, at: &mut usize, bytes: &[u8]) {
        assert!(*at + bytes.len() <= CODE);
        // SAFETY: the code page is writable, the range was just checked, and nothing runs in it
        // now.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.add(*at), bytes.len()) };
        *at += bytes.len();
    }

    /// `opcode` with ModRM and SIB for an absolute address, register field `register`.
    fn emit_absolute(&mut self, at: &mut usize, opcode: &[u8], register: u8, address: u64) {
        self.emit(at, opcode);
        self.emit(at, &[(register & 7) << 3 | 4, 0x25]);
        self.emit(at, &u32::try_from(address).expect("below 2 GiB").to_le_bytes());
    }

    fn emit_xsave(&mut self, at: &mut usize, register: u8, address: u64) {
        self.emit(at, &[0xb8]);
        self.emit(at, &COMPONENTS.to_le_bytes());
        self.emit(at, &[0x31, 0xd2]);
        self.emit_absolute(at, &[0x48, 0x0f, 0xae], register, address);
    }

    fn write_entry(&mut self) {
        let context = self.address(CODE);
        let mut at = 0;
        // push rbx, rbp, r12, r13, r14, r15; pushfq.
        self.emit(&mut at, &[0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57, 0x9c]);
        self.emit_absolute(&mut at, &[0x48, 0x89], 4, context + HOST_RSP as u64);
        if self.has_state {
            self.emit_xsave(&mut at, 5, self.address(CODE + CONTEXT));
        }
        // push qword [flags]; popfq.
        self.emit_absolute(&mut at, &[0xff], 6, context + FLAGS_IN as u64);
        self.emit(&mut at, &[0x9d]);
        for register in 0..16u8 {
            let rex = if register < 8 { 0x48 } else { 0x4c };
            let from = context + IN as u64 + u64::from(register) * 8;
            self.emit_absolute(&mut at, &[rex, 0x8b], register, from);
        }
        self.instruction_at = at;
    }

    /// Fills the state to load with random registers, all exceptions masked.
    pub(crate) fn randomise_state(&mut self, rng: &mut fastrand::Rng) {
        // SAFETY: the tests with state ask for AVX, which has `xgetbv`.
        let enabled = unsafe { std::arch::x86_64::_xgetbv(0) } as u32 & COMPONENTS;
        let state = self.state_in();
        rng.fill(state);
        // The head of the legacy area: control word, status, full tags, opcode and pointers, MXCSR
        // (Intel SDM volume 1, 10.5.1).
        state[..32].fill(0);
        state[0..2].copy_from_slice(&0x037f_u16.to_le_bytes());
        state[4] = 0xff;
        state[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
        // The header (volume 1, 13.4.2).
        state[512..576].fill(0);
        state[512..516].copy_from_slice(&enabled.to_le_bytes());
        self.state_out().fill(0);
    }

    /// Runs the instruction in `bytes` on `registers`, and leaves what it made of them there.
    ///
    /// # Safety
    ///
    /// The instruction must complete without a fault, go on behind itself, write no memory but the
    /// arena's, and not be one that changes how the process runs. Its `rflags` may differ from the
    /// host's in the status flags and DF alone.
    pub(crate) unsafe fn run(&mut self, bytes: &[u8], registers: &mut Registers) {
        let context = self.address(CODE);
        let mut at = self.instruction_at;
        self.emit(&mut at, bytes);
        for register in 0..16u8 {
            let rex = if register < 8 { 0x48 } else { 0x4c };
            let to = context + OUT as u64 + u64::from(register) * 8;
            self.emit_absolute(&mut at, &[rex, 0x89], register, to);
        }
        self.emit_absolute(&mut at, &[0x48, 0x8b], 4, context + HOST_RSP as u64);
        // pushfq; pop qword [flags].
        self.emit(&mut at, &[0x9c]);
        self.emit_absolute(&mut at, &[0x8f], 0, context + FLAGS_OUT as u64);
        if self.has_state {
            self.emit_xsave(&mut at, 4, self.address(CODE + CONTEXT + STATE));
        }
        // popfq; pop r15, r14, r13, r12, rbp, rbx; ret.
        self.emit(&mut at, &[0x9d, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3]);

        for (number, register) in Gpr::ALL.into_iter().enumerate() {
            *self.context_word(IN + number * 8) = registers.get(register);
        }
        *self.context_word(FLAGS_IN) = registers.rflags | 0x202;
        // SAFETY: the code at the mapping's start follows the C calling convention: it saves and
        // restores all that a callee must, flags included; what runs between is the caller's
        // promise. The fence of the call makes the compiler forget what the mapping holds.
        unsafe {
            let entry: extern "C" fn() = std::mem::transmute(self.base);
            std::arch::asm!("call {}", in(reg) entry, clobber_abi("C"));
        }
        for (number, register) in Gpr::ALL.into_iter().enumerate() {
            let value = *self.context_word(OUT + number * 8);
            registers.set(register, value);
        }
        registers.rflags = *self.context_word(FLAGS_OUT);
        registers.rip += bytes.len() as u64;
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `new` with this length, and no reference into it outlives
        // `self`.
        unsafe { libc::munmap(self.base.cast(), CODE + CONTEXT + 2 * STATE + ARENA) };
    }
}
