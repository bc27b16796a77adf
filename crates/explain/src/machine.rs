//! Which machine a kernel is for, by lines that only kernels of that machine print.

use crate::scan::after;

/// Which machine a kernel is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Machine {
    /// x86-64, or nothing says otherwise.
    #[default]
    X86_64,
    /// 32-bit x86.
    I386,
    /// Another, by name.
    Other(&'static str),
    /// One of several that print the same, of which x86-64 is none.
    Unknown,
}

const ARM: Machine = Machine::Other("arm");
const ARM64: Machine = Machine::Other("arm64");
const POWERPC: Machine = Machine::Other("powerpc");
const S390: Machine = Machine::Other("s390");
const SPARC: Machine = Machine::Other("sparc");
const MIPS: Machine = Machine::Other("mips");
const LOONGARCH: Machine = Machine::Other("loongarch");
const RISCV: Machine = Machine::Other("riscv");

/// Beginnings of lines that only kernels of one machine print.
const BEGINNINGS: [(Machine, &[&str]); 9] = [
    (Machine::X86_64, &["RIP: ", "RAX: "]),
    (Machine::I386, &["EIP: ", "EIP is at", "*pde", "*pdpt", "printing eip", "EAX: ", "eax: "]),
    (
        ARM64,
        &[
            "Call trace:",
            "ESR = ",
            "pstate: ",
            "Mem abort info",
            "Data abort info",
            "swapper pgtable: ",
            "user pgtable: ",
        ],
    ),
    (RISCV, &["epc : ", "epc: ", "sepc: ", "status: 0000000"]),
    (
        POWERPC,
        &["NIP [", "NIP: ", "GPR00: ", "LE PAGE_SIZE", "BE PAGE_SIZE", "Faulting instruction address: "],
    ),
    (S390, &["Krnl PSW", "Krnl GPRS", "Failing address: ", "failing address: "]),
    (MIPS, &["$ 0   :", "Cause : ", "epc   : "]),
    (LOONGARCH, &["pc 90000", "ERA: "]),
    (SPARC, &["TSTATE: ", "TPC: <", "tsk->{mm,active_mm}->"]),
];

/// Parts of lines that only kernels of one machine print.
const PARTS: [(Machine, &str); 15] = [
    // 4.x: `pc : […] lr : […] pstate: 60000145`.
    (ARM64, " pstate: "),
    (ARM, " psr: "),
    // Of the headline, or of the line of `die()`.
    (POWERPC, "BUG: Kernel NULL pointer dereference on "),
    (POWERPC, "BUG: Unable to handle "),
    (POWERPC, "Unable to handle kernel paging request for "),
    (S390, "Unable to handle kernel pointer dereference in virtual "),
    (MIPS, ", epc == "),
    (LOONGARCH, ", era == "),
    (POWERPC, ", sig: "),
    (S390, " ilc:"),
    (Machine::X86_64, "BUG: unable to handle page fault for address: "),
    // A device tree's machine.
    (ARM, "DT based system"),
    (Machine::Unknown, " (DT)"),
    // Kernels of arm, arm64, MIPS, RISC-V, and 32-bit x86 before 2.6.23.
    (Machine::Unknown, "Unable to handle kernel paging request at virtual address "),
    (Machine::Unknown, "Unable to handle kernel NULL pointer dereference at virtual address "),
];

impl Machine {
    /// What a line tells of it; `None` for one that says nothing.
    pub(crate) fn of_line(text: &str) -> Option<Self> {
        let known = BEGINNINGS.iter().find(|(_, marks)| marks.iter().any(|mark| text.starts_with(mark)));
        known
            .map(|(machine, _)| *machine)
            .or_else(|| of_table(text))
            .or_else(|| of_internal_error(text))
            .or_else(|| PARTS.iter().find(|(_, part)| text.contains(part)).map(|(machine, _)| *machine))
            // arm's and, before 4.13, arm64's.
            .or_else(|| text.starts_with("PC is at ").then_some(Machine::Unknown))
    }

    /// Whether its faults are x86's.
    pub(crate) fn is_x86(self) -> bool {
        matches!(self, Machine::X86_64 | Machine::I386)
    }
}

/// `pgd = c0004000` and `[00000018] *pgd=00000000`: arm's have 8 digits, arm64's 16. With more than
/// 4 GiB, arm's entries have 16, too, but no address and no table has.
fn of_table(text: &str) -> Option<Machine> {
    let (number, is_entry) = match (text.strip_prefix("pgd = "), text.strip_prefix('[')) {
        (Some(table), _) => (table, false),
        (None, Some(rest)) => (after(rest, "] *pgd=")?, true),
        (None, None) => return None,
    };
    let digits = number.bytes().take_while(u8::is_ascii_hexdigit).count();
    match digits {
        8 => Some(ARM),
        16 if !is_entry => Some(ARM64),
        16 => Some(Machine::Unknown),
        _ => None,
    }
}

/// `Internal error: Oops: 96000004 [#1] SMP`: arm64 prints the syndrome with 8 or 16 digits, arm
/// the status with fewer, or its name at the end of the line.
fn of_internal_error(text: &str) -> Option<Machine> {
    let error = text.strip_prefix("Internal error: ")?;
    if error.ends_with("ARM") || error.ends_with("THUMB2") {
        return Some(ARM);
    }
    let code = error.split(" [#").next()?.rsplit(": ").next()?;
    let digits = code.bytes().take_while(u8::is_ascii_hexdigit).count();
    Some(if digits >= 8 { ARM64 } else { ARM })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_machine_is_told_by_its_own_lines() {
        for (line, machine) in [
            ("pgd = ffffffc000c5f000", Some(ARM64)),
            ("pgd = c0004000", Some(ARM)),
            ("[00000018] *pgd=00000000", Some(ARM)),
            ("[00000018] *pgd=0000000000000000", Some(Machine::Unknown)),
            ("pc : [<ffffffc000101234>] lr : [<ffffffc000101230>] pstate: 60000145", Some(ARM64)),
            ("pc : [<c0101234>]    lr : [<c0101230>]    psr: 60000013", Some(ARM)),
            ("Internal error: Oops: 96000004 [#1] PREEMPT SMP", Some(ARM64)),
            ("Internal error: Oops: 0000000096000004 [#1] SMP", Some(ARM64)),
            ("Internal error: Oops - BUG: 00000000f2000800 [#1] SMP", Some(ARM64)),
            ("Internal error: Oops: 17 [#1] PREEMPT", Some(ARM)),
            ("Internal error: Oops: 80000005 [#1] PREEMPT SMP ARM", Some(ARM)),
            ("PC is at foo+0x10/0x20", Some(Machine::Unknown)),
            ("Oops: Kernel access of bad area, sig: 11 [#1]", Some(POWERPC)),
            ("BUG: Kernel NULL pointer dereference on read at 0x00000000", Some(POWERPC)),
            ("BUG: Unable to handle kernel data access on write at 0xc00a000000000000", Some(POWERPC)),
            ("Oops: 0004 ilc:3 [#1] SMP", Some(S390)),
            (
                "Unable to handle kernel paging request at virtual address ffffffd012345678",
                Some(Machine::Unknown),
            ),
            (
                "CPU 0 Unable to handle kernel paging request at virtual address 00000018, epc == 80101234, ra == 80101230",
                Some(MIPS),
            ),
            ("BUG: unable to handle page fault for address: ffffc9000006d234", Some(Machine::X86_64)),
            ("RIP: 0010:f+0x1/0x2", Some(Machine::X86_64)),
            ("EIP: 0060:[<c0123456>] EFLAGS: 00010246 CPU: 0", Some(Machine::I386)),
            ("Oops: 0002 [#1] SMP", None),
            ("general protection fault: 0000 [#1] SMP", None),
            ("Unable to handle kernel paging request at ffffc9000006d234 RIP:", None),
        ] {
            assert_eq!(Machine::of_line(line), machine, "{line}");
        }
    }
}
