//! What a report means, in rows of a name and a text, and notes.

mod checker;
mod memory;
mod program;
mod site;

use trapline_abi::ErrorCode;

use crate::access::{Access, access, divisor, pointer, relative};
use crate::call::Call;
use crate::code::Listing;
use crate::entry::{Granted, granted};
use crate::fault::{self, Cause, Levels, bits, oddities, pattern, region};
use crate::kind::Kind;
use crate::machine::Machine;
use crate::place;
use crate::report::Report;
use crate::scan::{after, decimal};
use crate::sources::{Sources, Spot};
use crate::task::{Task, taint_meaning};
use crate::user::Trap;

/// How far a register may be from the faulting address to be told of: a field of a structure.
const NEAR: u64 = 0x1000;

/// How many callers are told.
const CALLERS: usize = 8;

/// One thing that is told; further lines of the text go under the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it is about; empty if it goes on with the row before.
    pub name: String,
    /// What is told.
    pub text: String,
}

/// What a report means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// The kernel's own words.
    pub headlines: Vec<String>,
    /// What they mean.
    pub rows: Vec<Row>,
    /// What is strange or to be considered.
    pub notes: Vec<String>,
}

impl Explanation {
    fn row(&mut self, name: &str, text: impl Into<String>) {
        self.rows.push(Row { name: name.to_owned(), text: text.into() });
    }

    /// The lines of a place in the code, under its row.
    fn lines(&mut self, lines: Vec<String>) {
        for line in lines {
            self.row("", format!("  {line}"));
        }
    }

    fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// An error code alone, with the address if there is one.
    pub fn of_code(code: ErrorCode, address: Option<u64>) -> Self {
        let mut told = Self::default();
        if let Some(address) = address {
            // What the kernel's values mean says nothing of a program's pointer.
            let text = if code.has(ErrorCode::USER) {
                place::of_program(address)
            } else {
                place::describe(address, Levels::Four)
            };
            told.row("address", text);
            told.address_oddities(code, address, Levels::Four);
            if may_be_smap(code, address) {
                told.note(MAY_BE_SMAP);
            }
        }
        told.notes.extend(oddities(code));
        told
    }

    /// What is strange about this code on this address.
    fn address_oddities(&mut self, code: ErrorCode, address: u64, levels: Levels) {
        let (region, _) = region(address, levels);
        if region.is_hole() && levels == Levels::Four {
            self.note("impossible with four levels of page tables: an access there is a general protection fault, not a page fault");
        }
        if Cause::of(code, address) == Cause::Unclear {
            self.note("surprising: the kernel may read its own pages; a stale TLB entry, or a protection key of the supervisor's");
        }
        let kernel_half = address >> 63 != 0;
        if code.has(ErrorCode::USER) && code.has(ErrorCode::PRESENT) && kernel_half {
            self.note("if a signal or a `segfault at` line told this code, the page may as well not be present: there the kernel sets P for every address of its half (sanitize_error_code)");
        }
        if code.has(ErrorCode::USER) && kernel_half && !code.has(ErrorCode::PRESENT) {
            self.note("user mode tried an address of the kernel's half: a wild pointer, or a probe of the kernel's layout");
        }
    }
}

/// Whether the code is that of a write to a read-only page and of one that SMAP forbids.
fn may_be_smap(code: ErrorCode, address: u64) -> bool {
    let deciding = ErrorCode::PRESENT | ErrorCode::WRITE | ErrorCode::USER | ErrorCode::PROTECTION_KEY;
    code.0 & deciding == ErrorCode::PRESENT | ErrorCode::WRITE && address >> 63 == 0
}

/// What is said of that without the page's entries.
const MAY_BE_SMAP: &str = "the code is the same where the page is writable and SMAP forbids the kernel's access: likelier in an oops, since a write to a read-only page would have been resolved or refused";

/// What a code says, in words. Without an address the half is guessed from the mode, and what that
/// decides is said to be open.
pub fn sentence(code: ErrorCode, address: Option<u64>) -> String {
    let guess = if code.has(ErrorCode::USER) { 0 } else { u64::MAX };
    let cause = Cause::of(code, address.unwrap_or(guess));
    let other = Cause::of(code, !guess);
    let text = fault::sentence(code, cause);
    if address.is_none() && other != cause {
        return format!("{text} (or {}: the address would tell)", other.page());
    }
    text
}

impl Report {
    /// What it means, with the lines that `sources` know.
    pub fn explain(&self, sources: &dyn Sources) -> Explanation {
        let mut told = Explanation {
            headlines: self.headline.iter().chain(&self.hints).cloned().collect(),
            ..Explanation::default()
        };
        match self.machine {
            Machine::X86_64 => {}
            Machine::I386 => told.row("machine", "32-bit x86"),
            Machine::Other(name) => told.row("machine", format!("{name}: the kernel of another architecture, of which only the common parts are read")),
            Machine::Unknown => told.row("machine", "not x86-64: kernels of arm, arm64, MIPS, RISC-V and others print this alike; only the common parts are read"),
        }
        self.what(&mut told);
        self.where_it_was(&mut told, sources);
        self.who(&mut told);
        self.callers(&mut told, sources);
        if let Some(panic) = &self.panic {
            told.row("panic", panic);
        }
        self.oddities(&mut told);
        if self.is_interleaved() {
            told.note("lines of another report stand among its own, and nothing tells them apart: what could be the other's is not told; with the caller before each line (CONFIG_PRINTK_CALLER) it could be");
        }
        told.notes.extend(sources.notes(&self.spots(), self.kernel.as_deref()));
        told
    }

    /// The lines of one of its places.
    fn lines_of(&self, place: &str, returns: bool, sources: &dyn Sources) -> Vec<String> {
        let spot = Spot::read(place, returns);
        spot.map(|spot| sources.lines(&spot, self.kernel.as_deref())).unwrap_or_default()
    }

    /// The places in the code that it names.
    fn spots(&self) -> Vec<Spot<'_>> {
        let instruction = self.instruction.iter().map(|text| (text, false));
        let calls = self.calls.iter().map(|call| (&call.text, true));
        instruction.chain(calls).filter_map(|(text, returns)| Spot::read(text, returns)).collect()
    }

    /// The task that it is told of.
    pub(crate) fn who_ran(&self) -> Option<&Task> {
        self.task.as_ref().or(self.object.task.as_ref()).or(self.locks.task.as_ref())
    }

    /// An address, with the region that it lies in where x86-64 tells that.
    fn address(&self, told: &mut Explanation, address: Option<u64>) {
        let Some(address) = address else { return };
        told.row(
            "address",
            match self.machine {
                Machine::X86_64 => place::describe(address, self.levels()),
                Machine::I386 => place::describe_32(address),
                Machine::Other(_) | Machine::Unknown => format!("{address:#x}"),
            },
        );
    }

    fn code32(&self) -> Option<ErrorCode> {
        self.error_code.and_then(|code| u32::try_from(code).ok()).map(ErrorCode)
    }

    fn what(&self, told: &mut Explanation) {
        match self.kind {
            Kind::PageFault | Kind::Headless if self.machine.is_x86() => self.page_fault(told),
            Kind::PageFault | Kind::Headless => {
                told.row("what", "a fault of memory in the kernel");
                self.address(told, self.address);
            }
            Kind::GeneralProtection => self.general_protection(told),
            Kind::KernelBug => told.row("what", match &self.die {
                Some(die) if die != "BUG" => format!("a check of the kernel's own failed (BUG()); it ends in {}, on purpose: no fault of memory", with_article(die)),
                _ => "a check of the kernel's own failed (BUG()): no fault of memory".to_owned(),
            }),
            Kind::DoubleFault => self.double_fault(told),
            Kind::StackOverflow => {
                told.row("what", "a stack of the kernel overflowed: the page that guards its end was hit");
                self.stack(told);
            }
            Kind::DivideError => told.row("what", "divide error: a division by zero, or a quotient that is too large for its register"),
            Kind::Exception if !self.machine.is_x86() => {
                told.row("what", self.die.as_deref().unwrap_or("an exception"));
            }
            Kind::Exception => told.row("what", format!("{}: no page fault, so there is no address in CR2", self.die.as_deref().unwrap_or("an exception"))),
            Kind::Panic => told.row("what", "the kernel stopped; the text holds no report of why, but what this line says"),
            Kind::Kasan | Kind::Kfence => self.object(told),
            Kind::Ubsan => self.undefined(told),
            Kind::Lock => self.lock(told),
            Kind::Warning => told.row("what", "a warning (WARN()): the kernel found something that should not be, and went on: no fault"),
            Kind::SoftLockup => self.soft_lockup(told),
            Kind::HardLockup => told.row("what", "hard lockup: a CPU took no interrupts for seconds: no fault"),
            Kind::HungTask => self.hung_task(told),
            Kind::RcuStall => {
                told.row("what", "RCU stall: a CPU or task did not pass a quiescent state for long, so that memory waits to be freed: no fault");
                for (at, line) in self.details.iter().take(CALLERS).enumerate() {
                    told.row(if at == 0 { "waits for" } else { "" }, line);
                }
            }
            Kind::MachineCheck => self.machine_check(told),
            _ => {
                told.row("what", "the kernel found an inconsistency of its own: no fault of memory is told");
                for (at, line) in self.details.iter().take(CALLERS).enumerate() {
                    told.row(if at == 0 { "details" } else { "" }, line);
                }
            }
        }
    }

    fn soft_lockup(&self, told: &mut Explanation) {
        let seconds =
            self.headline.as_deref().and_then(|line| after(line, "stuck for ")).and_then(decimal::<u64>);
        let time = seconds.map_or_else(|| "for long".to_owned(), |seconds| format!("for {seconds} s"));
        told.row(
            "what",
            format!("soft lockup: a CPU ran in the kernel {time} without letting another task run: no fault"),
        );
    }

    fn hung_task(&self, told: &mut Explanation) {
        let seconds = self
            .headline
            .as_deref()
            .and_then(|line| after(line, "blocked for more than "))
            .and_then(decimal::<u64>);
        let time =
            seconds.map_or_else(|| "for long".to_owned(), |seconds| format!("for more than {seconds} s"));
        told.row("what", format!("hung task: it waited {time} in a way that no signal ends (state D): no fault; the calls tell for what"));
    }

    fn machine_check(&self, told: &mut Explanation) {
        told.row("what", "machine check: the hardware reported an error: no fault of the kernel's");
        for bank in self.banks.iter().take(CALLERS) {
            told.row("bank", format!("{}: {:#x}: {}", bank.place, bank.status, bank.meaning()));
        }
        if self.banks.is_empty() {
            told.note("no bank's status is in the text, so what failed is not told");
        }
    }
}

/// `an invalid opcode`, `a kernel BUG`.
fn with_article(name: &str) -> String {
    let an = name.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U']);
    format!("{} {name}", if an { "an" } else { "a" })
}

/// The instructions, the marked one by an arrow.
fn listing_text(listing: &Listing) -> String {
    let before = listing.before.iter().map(|line| format!("  {line}"));
    let after = listing.after.iter().map(|line| format!("  {line}"));
    let lines: Vec<String> = before.chain([format!("> {}", listing.marked)]).chain(after).collect();
    lines.join("\n")
}
