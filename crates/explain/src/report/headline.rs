//! The line that begins a report, and the one of `die()`.

use super::instruction::place_of;
use super::*;

impl Report {
    pub(super) fn take_headline(&mut self, text: &str) {
        match self.kind {
            Kind::PageFault | Kind::GeneralProtection | Kind::StackOverflow => {
                let marks = [
                    "maybe for address ",
                    "non-canonical address ",
                    "address: ",
                    "virtual address ",
                    "request at ",
                    "dereference at ",
                    "at address ",
                    " on read at ",
                    " on write at ",
                    " access at ",
                ];
                if let Some(rest) = marks.iter().find_map(|mark| after(text, mark)) {
                    if rest.trim_start().starts_with("(null)") {
                        self.address = Some(0);
                    } else if let Some(printed) = Printed::read(rest) {
                        self.take_address(printed);
                    }
                }
            }
            Kind::SoftLockup => {
                self.cpu = after(text, "CPU#").and_then(decimal);
                self.task = from(text, "! [")
                    .and_then(|rest| Task::split(rest.trim_start_matches("! [").trim_end_matches(']'), ':'));
            }
            Kind::HardLockup => {
                self.cpu = after(text, " on cpu ").or_else(|| after(text, "CPU")).and_then(decimal)
            }
            Kind::HungTask => {
                let who = after(text, "task ")
                    .and_then(|rest| rest.split_once(" blocked for "))
                    .map(|(who, _)| who);
                self.task = who.and_then(|who| Task::split(who, ':'));
            }
            Kind::Warning => {
                self.cpu = after(text, "CPU: ").or_else(|| after(text, "CPU#")).and_then(decimal);
                let place = after(text, " at ").map(|rest| {
                    rest.split_once(' ')
                        .filter(|(file, _)| file.contains(':'))
                        .map_or(rest, |(_, place)| place)
                });
                let place = place.map(|place| place.split(", CPU").next().unwrap_or(place));
                self.instruction = place.and_then(place_of).filter(|place| is_function(place));
                self.task = after(text, ", CPU#")
                    .and_then(|rest| after(rest, ": "))
                    .and_then(|who| Task::split(who, '/'));
            }
            Kind::KernelBug | Kind::OtherBug => {
                self.task = text
                    .strip_prefix("BUG: scheduling while atomic: ")
                    .and_then(|rest| Task::split(rest.rsplit_once('/')?.0, '/'));
            }
            _ => {}
        }
        if self.kind == Kind::DoubleFault {
            self.error_code = after(text, "error_code: ").and_then(hex);
        }
    }

    pub(super) fn take_address(&mut self, printed: Printed) {
        (self.address, self.is_short) = (Some(printed.value), !printed.is_whole);
    }

    pub(super) fn is_die(&self, line: &str) -> bool {
        self.die.is_none() && self.kind.rank() == Rank::Oops && die(line).is_some()
    }

    pub(super) fn take_die(&mut self, line: &str) {
        let Some((_, said)) = die(line) else { return };
        self.is_before_marks = !line.contains("[#");
        let what = said
            .what
            .split(", probably")
            .next()
            .unwrap_or(said.what)
            .split(", maybe")
            .next()
            .unwrap_or(said.what);
        let what = if what.is_empty() { "Oops" } else { what };
        self.die = Some(what.to_owned());
        let is_code =
            crate::scan::is_hex(said.code, 4) || crate::scan::is_hex(said.code, 8) || self.machine.is_x86();
        self.error_code = self.error_code.or_else(|| hex(said.code).filter(|_| is_code));
        if line.contains("KASAN") && !self.hints.iter().any(|hint| hint == "KASAN") {
            self.details.push("KASAN".into());
        }
    }
}
