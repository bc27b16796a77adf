//! Where a report's instruction stands, in whose name it ran, and who called it.

use super::*;

impl Report {
    pub(super) fn where_it_was(&self, told: &mut Explanation, sources: &dyn Sources) {
        if let Some(instruction) = &self.instruction {
            let mode = if self.in_user_mode { " (user mode)" } else { "" };
            told.row("instruction", format!("{instruction}{mode}"));
            told.lines(self.lines_of(instruction, false, sources));
            for inlined in &self.inlined {
                told.row("", format!("inlined there: {inlined}"));
            }
            if let Some(module) = self.module_of(instruction) {
                told.row("module", module);
            }
        }
        let listing = self.listing();
        if let Some(listing) = &listing {
            told.row("code", listing_text(listing));
        }
        if self.kind == Kind::DivideError
            && let Some(said) = listing.as_ref().and_then(|listing| divisor(self, &listing.instruction))
        {
            told.row("divisor", said);
        }
        let faulted = matches!(self.kind, Kind::PageFault | Kind::GeneralProtection | Kind::Headless);
        if !faulted || !self.machine.is_x86() {
            return;
        }
        match &listing {
            Some(listing) => match access(self, &listing.instruction) {
                Some(Access { text, said }) => {
                    told.row("access", text);
                    for text in said {
                        told.row("", text);
                    }
                }
                None if let Some(said) = relative(&listing.instruction) => told.row("access", said),
                None if self.address.is_some() && !self.is_null_call() => {
                    told.note("no memory operand of the instruction lies at the address, as far as the registers that were printed tell");
                }
                None => {}
            },
            // Without the instruction there is no telling which register was used.
            None => self.near(told),
        }
    }

    /// The registers that lie near the address: which of them was used is not told.
    fn near(&self, told: &mut Explanation) {
        let Some(address) = self.address else { return };
        let near = |value: u64| {
            let is_error = value != 0 && value.wrapping_neg() < NEAR && address.wrapping_sub(value) < NEAR;
            is_error || address >= NEAR && value.abs_diff(address) < NEAR
        };
        let mut found = false;
        for (name, value) in self.registers.general().filter(|(_, value)| *value != 0 && near(*value)) {
            let relation = match address.wrapping_sub(value) as i64 {
                0 => "the address".to_owned(),
                more if more > 0 => format!("the address is {more:#x} above it"),
                less => format!("the address is {:#x} below it", less.unsigned_abs()),
            };
            let said = pattern(value)
                .filter(|_| value != address)
                .map(|text| format!("\nif it was the pointer: {text}"));
            told.row(name, format!("{value:#x}: {relation}{}", said.unwrap_or_default()));
            found = true;
        }
        let zero: Vec<&str> =
            self.registers.general().filter(|(_, v)| *v == 0).map(|(name, _)| name).collect();
        if address < NEAR && !zero.is_empty() && !found && !self.is_null_call() {
            let which = if zero.len() == 1 { "holds 0" } else { "hold 0" };
            told.row(
                "registers",
                format!("{} {which}: without `Code:` it is not told which was the pointer", zero.join(", ")),
            );
        }
    }

    /// The module that the instruction is in, with what its taint flags mean.
    fn module_of(&self, instruction: &str) -> Option<String> {
        let name = instruction.split_once(" [")?.1.split([']', ' ']).next()?;
        // A mark of decoded traces.
        if name == "inline" {
            return None;
        }
        let listed = self.modules.iter().find(|module| module.split('(').next() == Some(name));
        let flags = listed
            .and_then(|module| module.split_once('('))
            .map_or("", |(_, flags)| flags.trim_end_matches(')'));
        let meant = if flags.is_empty() { String::new() } else { format!(": {}", taint_meaning(flags)) };
        Some(format!("{name}{meant}"))
    }

    pub(super) fn who(&self, told: &mut Explanation) {
        let cpu = self.cpu.map(|cpu| format!("CPU {cpu}"));
        match (&self.who_ran(), cpu) {
            (Some(task), Some(cpu)) => told.row("task", format!("{task} on {cpu}")),
            (Some(task), None) => told.row("task", task.to_string()),
            (None, Some(cpu)) => told.row("CPU", cpu),
            (None, None) => {}
        }
        if let Some(kernel) = &self.kernel {
            // G alone says that no module is proprietary.
            let taint = self
                .taint
                .as_deref()
                .filter(|flags| *flags != "G")
                .map(|flags| format!(", tainted: {}", taint_meaning(flags)));
            told.row("kernel", format!("{kernel}{}", taint.unwrap_or_default()));
        }
    }

    /// The calls that brought it there, without those of the report itself.
    pub(super) fn callers(&self, told: &mut Explanation, sources: &dyn Sources) {
        let sure: Vec<&Call> = self.calls.iter().filter(|call| call.sure).collect();
        let maybe = || self.calls.iter().filter(|call| !call.sure).collect();
        let (calls, by) = if sure.is_empty() { (maybe(), "perhaps by") } else { (sure, "called by") };
        let own = calls.iter().take_while(|call| is_reporter(&call.text)).count();
        for (at, call) in calls.iter().skip(own).take(CALLERS).enumerate() {
            told.row(if at == 0 { by } else { "" }, &call.text);
            told.lines(self.lines_of(&call.text, true, sources));
        }
    }

    pub(super) fn oddities(&self, told: &mut Explanation) {
        if !self.is_page_fault() {
            return;
        }
        if let Some(code) = self.code32() {
            if let Some(address) = self.address.filter(|_| self.machine == Machine::X86_64) {
                told.address_oddities(code, address, self.levels());
                self.against_entries(told, code, address);
            }
            told.notes.extend(oddities(code));
        }
        let printed = self.registers.get("CR2");
        if let (Some(printed), Some(address)) = (printed, self.address)
            && printed != address
        {
            told.note(
                "among the registers CR2 holds a later address: that of a fault while this oops was printed",
            );
        }
    }
}

/// Those of UBSAN and lockdep.
const REPORTERS: [&str; 10] = [
    "ubsan_epilogue",
    "lockdep_rcu_suspicious",
    "check_noncircular",
    "print_circular_bug",
    "print_usage_bug",
    "mark_lock",
    "mark_lock.part.0.cold",
    "validate_chain",
    "__lock_acquire",
    "lock_acquire",
];

/// Functions that print reports, which stand first in their traces.
fn is_reporter(call: &str) -> bool {
    let name = call.split(['+', ' ']).next().unwrap_or(call);
    name.starts_with("dump_stack")
        || name.starts_with("__dump_stack")
        || name.starts_with("print_report")
        || name.starts_with("print_address_description")
        || name.starts_with("kasan_report")
        || name.starts_with("__kasan_report")
        || name.starts_with("__asan_")
        || name.starts_with("show_stack")
        || name.starts_with("__ubsan_handle_")
        || REPORTERS.contains(&name)
        || name == "__die"
        || name == "__warn"
        || name.starts_with("warn_slowpath_")
}
