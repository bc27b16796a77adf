//! The lines of a report become its fields.

use super::instruction::{place_of, rip};
use super::*;

impl Report {
    /// Takes one of its lines; false if it was the last.
    pub(crate) fn take(&mut self, line: &str) -> bool {
        let text = line.trim();
        if text.contains("---[ end trace") {
            self.ended = true;
            return false;
        }
        // The frame of KASAN and UBSAN.
        if text.starts_with("=========") {
            return self.kind != Kind::Ubsan && self.object.access.is_none() && self.object.bug.is_none();
        }
        self.take_machine(text);
        self.ends_in_entries = false;
        if self.kind == Kind::HungTask && self.kernel.is_none() {
            (self.kernel, self.taint) = kernel_of(text);
        }
        if let Some(running) = Running::read(text) {
            self.take_running(running);
        } else if matches!(self.kind, Kind::Kasan | Kind::Kfence) && self.object.take(text, &mut self.whose) {
            // KFENCE has the calls of the access behind this line, without a title.
            if self.whose != Whose::Access || is_kfence_access(text) {
                self.part = Part::Calls;
            }
        } else if self.kind == Kind::Lock && self.locks.take(text) {
        } else {
            self.take_part(line, text);
        }
        // Alone at the end: CR2 as it was when the fault was raised. The one among the registers is
        // later.
        if self.is_page_fault()
            && self.address.is_none()
            && let Some(rest) = text.strip_prefix("CR2: ").filter(|rest| !rest.contains("CR3: "))
            && let Some(printed) = Printed::read(rest)
        {
            self.take_address(printed);
        }
        true
    }

    fn take_part(&mut self, line: &str, text: &str) {
        let is_headline = self.headline.as_deref().is_some_and(|headline| text.ends_with(headline));
        if is_headline && begin(line).is_some() {
            self.take_headline(text);
        }
        if self.is_die(line) {
            self.take_die(line);
        } else if is_headline {
        } else if let Some(rest) = after(text, "error_code(0x") {
            let code = hex(rest);
            if self.error_code.is_some() && code != self.error_code {
                self.note_second_value();
            }
            self.error_code = self.error_code.or(code);
            if self.kind == Kind::Headless {
                self.kind = Kind::PageFault;
            }
        } else if let Some(hint) = hint(text) {
            self.hints.push(hint.to_owned());
        } else if let Some(rest) = text.strip_prefix("Code: ") {
            if !matches!(self.part, Part::Frame | Part::User | Part::Others) && self.code.is_none() {
                self.code = if self.is_before_marks { Code::unmarked(rest) } else { Code::read(rest) };
            }
        } else if let Some(rest) = rip(text) {
            self.take_rip(rest);
        } else if let Some(rest) = text.strip_prefix("IP: ").filter(|_| self.instruction.is_none()) {
            self.instruction = place_of(rest);
        } else if let Some(rest) = after(text, "EIP is at ").or_else(|| after(text, "PC is at ")) {
            self.instruction = place_of(rest).or(self.instruction.take());
        } else if let Some(rest) =
            ["pc : ", "epc : ", "epc   : ", "NIP [", "ERA: "].iter().find_map(|mark| text.strip_prefix(mark))
        {
            let place = rest.rsplit_once("] ").map_or(rest, |(_, place)| place);
            // MIPS' address stands before it without brackets.
            let place = place
                .split_once(' ')
                .filter(|(at, _)| crate::scan::hex(at).is_some())
                .map_or(place, |(_, place)| place);
            if self.instruction.is_none() && place.contains('+') {
                self.instruction = place_of(place.split(" lr :").next().unwrap_or(place));
            }
        } else if let Some(rest) =
            ["sepc: ", "epc : ", "epc: "].iter().find_map(|mark| text.strip_prefix(mark))
        {
            let digits = rest.split(' ').next().unwrap_or("");
            if self.instruction.is_none() && crate::scan::is_hex(digits, 16) {
                self.instruction = Some(format!("0x{digits}"));
            }
        } else if let Some(rest) = text.strip_prefix("Krnl PSW : ") {
            let place = rest.split_once('(').and_then(|(_, place)| place.split(')').next());
            self.instruction = self
                .instruction
                .take()
                .or_else(|| place.and_then(place_of).filter(|place| is_function(place)));
        } else if let Some(printed) = text.strip_prefix("Failing address: ").and_then(Printed::read) {
            self.address.get_or_insert(printed.value);
        } else if self.kind == Kind::OtherBug && self.kernel.is_none() && is_detail(text) {
            self.details.push(text.trim_start_matches("INFO: ").to_owned());
        } else if let Some(rest) = text.strip_prefix("Process ") {
            self.take_process(rest);
        } else if text.starts_with("CPU: ") || text.starts_with("CPU ") && text.len() < 10 {
            self.cpu = self.cpu.or_else(|| decimal(text[4..].trim_start()));
        } else if ["Call Trace:", "Call trace:", "Backtrace:"].iter().any(|mark| text.starts_with(mark)) {
            if !self.calls.is_empty() {
                (self.part, self.whose) = (Part::Others, Whose::Other);
                return;
            }
            self.part = Part::Calls;
            self.whose = Whose::Access;
            // 4.x has the first call on the same line.
            if let Some(call) = text.split_once(':').and_then(|(_, rest)| Call::read(rest)) {
                self.calls.push(call);
            }
        } else if text.starts_with("Last Breaking-Event-Address") {
            self.part = Part::Others;
        } else if let Some(rest) = after(text, "Modules linked in:") {
            self.take_modules(rest);
        } else if self.kind == Kind::MachineCheck {
            self.banks.extend(Bank::read(text));
        } else if self.kind == Kind::RcuStall
            && (text.contains("ticks this GP")
                || text.contains("detected by ")
                || text.contains("GPs behind")
                || text.contains("(t="))
        {
            self.details.push(text.trim_start_matches("rcu:").trim().to_owned());
        } else {
            self.take_rest(text);
        }
    }

    fn take_rest(&mut self, text: &str) {
        let entries = Entry::read(text);
        if !entries.is_empty() {
            let goes_on = match (self.entries.last(), entries.first()) {
                (Some(last), Some(next)) => last.leads_to(next),
                _ => true,
            };
            if goes_on {
                self.entries.extend(entries);
                self.ends_in_entries = true;
            } else if entries.first().is_some_and(|first| {
                self.entries.first().is_some_and(|known| known != first && known.level == first.level)
            }) {
                self.note_second_value();
            }
            return;
        }
        match self.part {
            // What UBSAN found stands before who ran.
            // What WARN() said stands behind its line up to 4.13.
            Part::Head
                if self.kind == Kind::Warning
                    && self.hints.is_empty()
                    && self.kernel.is_none()
                    && is_said(text) =>
            {
                self.hints.push(text.to_owned());
            }
            Part::Head if self.kind == Kind::Ubsan && self.kernel.is_none() && !text.is_empty() => {
                self.details.push(text.to_owned())
            }
            Part::Head | Part::Registers if self.calls.is_empty() => {
                let agrees = self.registers.take(text);
                if !agrees {
                    self.note_second_value();
                }
            }
            Part::Calls | Part::Frame => self.take_call(text),
            Part::Modules if !text.is_empty() && text.split_whitespace().all(is_module) => {
                self.take_modules(text)
            }
            _ => {}
        }
        if text.contains(" from [<") {
            self.take_call(text);
        }
    }

    fn take_call(&mut self, text: &str) {
        let Some(call) = Call::read(text) else { return };
        match self.object.calls(self.whose) {
            Some(calls) => calls.push(call),
            None if self.whose == Whose::Access => self.calls.push(call),
            None => {}
        }
    }

    fn take_running(&mut self, running: Running) {
        // KASAN's own line has the task already, with a name that is not cut off.
        let is_other = |task: &Task| running.task.as_ref().is_some_and(|other| other.id != task.id);
        if self.kernel.is_some() && self.task.as_ref().is_some_and(is_other) {
            self.note_second_value();
        }
        if self.kernel.is_none() {
            self.task = running.task.or(self.task.take());
            self.cpu = running.cpu.or(self.cpu);
            self.kernel = running.kernel;
            self.taint = running.taint;
        }
    }

    /// `xl2tpd (pid: 9113, threadinfo …`.
    fn take_process(&mut self, rest: &str) {
        if let Some((name, rest)) = rest.split_once(" (pid: ").filter(|_| self.task.is_none()) {
            self.task = decimal(rest).map(|id| Task { name: name.to_owned(), id });
        }
    }

    fn take_machine(&mut self, text: &str) {
        // What was told by a line of its own stays.
        if let Some(machine) = Machine::of_line(text)
            && matches!(self.machine, Machine::X86_64 | Machine::Unknown)
        {
            self.machine = machine;
        }
    }

    fn take_modules(&mut self, rest: &str) {
        let rest = rest.split("[last unloaded").next().unwrap_or(rest);
        self.modules.extend(rest.split_whitespace().map(str::to_owned));
        if !matches!(self.part, Part::Calls | Part::Frame | Part::Others) {
            self.part = Part::Modules;
        }
    }
}

/// A further line that names a suspicion of the kernel's.
fn hint(text: &str) -> Option<&str> {
    let marks = ["unable to execute userspace code", "KASAN: ", "Corrupted low memory"];
    marks.iter().find_map(|mark| from(text, mark)).filter(|_| !text.contains("BUG: "))
}

/// Whether a line says more of an inconsistency: in which state code ran that may sleep, who
/// allocated and freed an object.
fn is_detail(text: &str) -> bool {
    let text = text.trim_start_matches("INFO: ");
    ["in_atomic(): ", "Allocated in ", "Freed in ", "page dumped because: "]
        .iter()
        .any(|mark| text.starts_with(mark))
}

/// Whether a line is what a warning said: words, and no numbers of the stack, no title.
fn is_said(text: &str) -> bool {
    let letters = text.split_whitespace().filter(|word| word.bytes().all(|byte| byte.is_ascii_alphabetic()));
    letters.count() >= 2
        && !["Hardware name:", "Modules linked in", "Workqueue: ", "task: ", "#PF: "]
            .iter()
            .any(|mark| text.starts_with(mark))
}

/// `zfs(PO)`: a module in a list of them.
fn is_module(word: &str) -> bool {
    let name = word.split('(').next().unwrap_or(word);
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') && name.len() > 1
}
