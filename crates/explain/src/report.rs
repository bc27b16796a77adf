//! One report of the kernel: its lines become fields.

mod headline;
mod instruction;
mod take;

use crate::call::{Call, is_function};
use crate::code::Code;
use crate::entry::Entry;
use crate::fault::Levels;
use crate::kind::{Kind, Rank, begin, die};
use crate::locks::Locks;
use crate::machine::Machine;
use crate::machine_check::Bank;
use crate::object::{Object, Whose, is_kfence_access};
use crate::registers::Registers;
use crate::scan::{Printed, after, decimal, from, hex};
use crate::task::{Running, Task, kernel_of};

/// What a report tells; each part is missing if the text lacks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it is about.
    pub kind: Kind,
    /// The line that names what happened.
    pub headline: Option<String>,
    /// Further lines that say something of it.
    pub hints: Vec<String>,
    /// The exception, as `die()` names it.
    pub die: Option<String>,
    /// Which machine the kernel is for.
    pub machine: Machine,
    /// The faulting address.
    pub address: Option<u64>,
    /// The error code.
    pub error_code: Option<u64>,
    /// The instruction: `use+0x5/0x20 [oops]`, or an address.
    pub instruction: Option<String>,
    /// Functions that are inlined there, as decoded traces tell them.
    pub inlined: Vec<String>,
    /// Whether that is of a program.
    pub in_user_mode: bool,
    /// Who ran.
    pub task: Option<Task>,
    /// The CPU.
    pub cpu: Option<u32>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// The letters of the taint flags.
    pub taint: Option<String>,
    /// The registers at the instruction.
    pub registers: Registers,
    /// The page-table entries of the address.
    pub entries: Vec<Entry>,
    /// The bytes around the instruction.
    pub code: Option<Code>,
    /// The functions that called one another, the innermost first.
    pub calls: Vec<Call>,
    /// Loaded modules with their taint flags, as in `oops(OE)`.
    pub modules: Vec<String>,
    /// Why the kernel stopped, if it did.
    pub panic: Option<String>,
    /// Whether the line of the end was there.
    pub ended: bool,
    /// What KASAN and KFENCE know of the object.
    pub object: Object,
    /// What lockdep knows of the locks.
    pub(crate) locks: Locks,
    pub(crate) banks: Vec<Bank>,
    /// Lines of its own kind: which CPUs a grace period waits for.
    pub(crate) details: Vec<String>,
    /// Whether the instruction is of a 32-bit program.
    is_program_32: bool,
    mixed: Mixed,
    /// Whether the address has 8 digits: a 32-bit kernel's, or cut off.
    is_short: bool,
    /// Whether `Code:` begins at the instruction, which is not marked: x86-64 before 2.6.24.
    is_before_marks: bool,
    /// Whether page-table entries are all that the last line told.
    ends_in_entries: bool,
    part: Part,
    whose: Whose,
}

/// Where in a report the reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Head,
    /// After RIP: the registers at the instruction.
    Registers,
    /// In the call trace.
    Calls,
    /// In the call trace, after RIP in the kernel: the registers of what was interrupted there, and
    /// its calls.
    Frame,
    /// After RIP in user mode behind the call trace: the registers of the system call.
    User,
    /// In a list of modules.
    Modules,
    /// In what is told of other tasks or CPUs.
    Others,
}

/// Whether lines of others stand among those of a report, with nothing that tells them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mixed {
    #[default]
    No,
    /// Behind its beginning, in another report.
    Behind,
    /// In it.
    Within,
}

impl Report {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            headline: None,
            hints: Vec::new(),
            die: None,
            machine: Machine::default(),
            address: None,
            error_code: None,
            instruction: None,
            inlined: Vec::new(),
            in_user_mode: false,
            task: None,
            cpu: None,
            kernel: None,
            taint: None,
            registers: Registers::default(),
            entries: Vec::new(),
            code: None,
            calls: Vec::new(),
            modules: Vec::new(),
            panic: None,
            ended: false,
            object: Object::default(),
            banks: Vec::new(),
            details: Vec::new(),
            locks: Locks::default(),
            is_program_32: false,
            mixed: Mixed::default(),
            is_short: false,
            is_before_marks: false,
            ends_in_entries: false,
            part: Part::Head,
            whose: Whose::Access,
        }
    }

    /// Drops what may be cut off, now that all of it was read.
    pub(crate) fn settle(&mut self) {
        if self.mixed == Mixed::Within {
            // What its own first line tells stays, and what is the same for all.
            *self = Self {
                headline: self.headline.take(),
                hints: std::mem::take(&mut self.hints),
                machine: self.machine,
                address: self.address,
                is_short: self.is_short,
                kernel: self.kernel.take(),
                taint: self.taint.take(),
                panic: self.panic.take(),
                ended: self.ended,
                mixed: self.mixed,
                ..Self::new(self.kind)
            };
        }
        // 64-bit kernels print 16 digits.
        if self.machine == Machine::X86_64 {
            self.address.take_if(|_| self.is_short);
            self.registers.drop_narrow();
        }
        // An entry has as many digits as it needs.
        if self.ends_in_entries {
            self.entries.pop();
        }
    }

    /// Whether lines of another report stand in it.
    pub(crate) fn is_mixed(&self) -> bool {
        self.mixed == Mixed::Within
    }

    /// Notes that its further lines stand in another report.
    pub(crate) fn note_others_behind(&mut self) {
        if self.mixed == Mixed::No {
            self.mixed = Mixed::Behind;
        }
    }

    /// Whether its lines and those of another stand among each other, and nothing tells them apart.
    pub fn is_interleaved(&self) -> bool {
        self.mixed != Mixed::No
    }

    /// Whether it has not come to its calls, nor to its end.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.has_registers() && self.calls.is_empty() && !self.ended
    }

    /// Whether it is of a kind that has registers and who ran once, before its calls.
    fn has_registers(&self) -> bool {
        self.kind.rank() == Rank::Oops && self.kind != Kind::Panic || self.kind == Kind::Warning
    }

    /// Takes note of a second value of what a report has once.
    fn note_second_value(&mut self) {
        if self.has_registers() && self.calls.is_empty() {
            self.mixed = Mixed::Within;
        }
    }

    /// Notes that lines of another report stand in it.
    pub(crate) fn note_others_within(&mut self) {
        self.mixed = Mixed::Within;
    }

    /// Whether the address was dropped because its 8 digits have two readings.
    pub(crate) fn is_address_short(&self) -> bool {
        self.is_short && self.address.is_none()
    }

    /// Whether the instruction is 32-bit code.
    pub(crate) fn is_narrow(&self) -> bool {
        self.machine == Machine::I386 || self.is_program_32
    }

    /// Whether it is a page fault on a machine whose faults are read.
    pub(crate) fn is_page_fault(&self) -> bool {
        matches!(self.kind, Kind::PageFault | Kind::Headless) && self.machine.is_x86()
    }

    pub(crate) fn is_general_protection(&self) -> bool {
        self.kind == Kind::GeneralProtection
    }

    /// How many levels of page tables the kernel used, as far as the text tells: CR4 (LA57), or an
    /// address that exists only with five.
    pub fn levels(&self) -> Levels {
        const LA57: u64 = 1 << 12;
        if let Some(cr4) = self.registers.get("CR4") {
            return if cr4 & LA57 != 0 { Levels::Five } else { Levels::Four };
        }
        let five = |address: u64| {
            !crate::fault::is_canonical(address, 48)
                && crate::fault::is_canonical(address, 57)
                && address >> 63 != 0
        };
        // A wild address is where nothing is, with either.
        let wild = self.object.bug.as_ref().is_some_and(|bug| bug.starts_with("wild"));
        let addresses = [
            self.registers.get("RSP"),
            self.object.address.filter(|_| !wild),
            self.address.filter(|_| self.is_page_fault()),
        ];
        if addresses.into_iter().flatten().any(five) { Levels::Five } else { Levels::Four }
    }

    pub(crate) fn canonical_bits(&self) -> u32 {
        match self.levels() {
            Levels::Four => 48,
            Levels::Five => 57,
        }
    }

    /// What should be there and is not. Only an oops has a fixed form.
    pub fn missing(&self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        let mut lacks = |is: bool, what| {
            if is {
                missing.push(what);
            }
        };
        if self.kind == Kind::Headless {
            missing.push("the line that says what it is");
            return missing;
        }
        if self.kind.rank() != Rank::Oops || self.kind == Kind::Panic {
            return missing;
        }
        if self.is_page_fault() {
            let named = self.headline.as_deref().is_some_and(|line| !line.contains("Oops"));
            lacks(!named, "the BUG line");
            lacks(self.error_code.is_none(), "the error code");
            lacks(self.address.is_none(), "the address");
        }
        let pointer = match self.machine {
            Machine::X86_64 => "RIP",
            Machine::I386 => "EIP",
            Machine::Other(_) | Machine::Unknown => "the instruction",
        };
        lacks(self.instruction.is_none(), pointer);
        lacks(self.task.is_none(), "the task");
        if self.machine.is_x86() {
            let count = if self.machine == Machine::I386 { 8 } else { 16 };
            lacks(self.registers.general().count() < count, "registers");
        }
        // Where the stack is gone there is none, and the kernel stops.
        if !matches!(self.kind, Kind::DoubleFault | Kind::StackOverflow) {
            lacks(self.calls.is_empty(), "the call trace");
            lacks(!self.ended && self.panic.is_none(), "the line of its end");
        }
        missing
    }
}
