//! What importers give their registers to.

use std::fmt;

use crate::check::MOST_IN_ALL;
use crate::{Register, RegisterFile};

use super::{Imported, Options, Source};

/// Something that was not imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The file that it is in.
    pub file: String,
    /// Its line there, from 1.
    pub line: u32,
    /// Its name.
    pub name: String,
    /// Why, the same words for all of a kind.
    pub why: &'static str,
    /// What in particular; may be empty.
    pub detail: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.name, self.why)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

/// A line of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// The file.
    pub file: &'a str,
    /// The line, from 1.
    pub line: u32,
}

/// What is left out at most, and fields and values of all registers.
const MOST_LEFT_OUT: usize = MOST_IN_ALL as usize;
const MOST_PARTS: usize = 4 * MOST_IN_ALL as usize;

/// Fields of a register and values of a field at most: a file of some thousand lines may name one
/// list of values for each of its fields, and one list of fields for each of its registers.
pub(super) const MOST_FIELDS: usize = 512;
pub(super) const MOST_VALUES: usize = 4096;

/// Places that are gone through at most.
const MOST_PLACES: usize = MOST_IN_ALL as usize / 4;

/// Registers as they are found, and what is left out.
#[derive(Debug, Default)]
pub(super) struct Output {
    registers: Vec<Register>,
    left_out: Vec<LeftOut>,
    elements: u64,
    places: usize,
    parts: usize,
    is_full: bool,
    assumed: usize,
    title: String,
}

impl Output {
    /// What the first file calls itself.
    pub(super) fn title(&mut self, title: impl FnOnce() -> String) {
        if self.title.is_empty() {
            self.title = title();
        }
    }

    /// Whether no more can be taken, of which a word was left.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Notes that so many places of `name` are gone through. A file of a few lines may have arrays
    /// of arrays without an end, and none of them a register.
    pub(super) fn spend(&mut self, line: Line<'_>, name: &str, places: usize) {
        self.places = self.places.saturating_add(places);
        if self.places > MOST_PLACES {
            self.fill(line, name);
        }
    }

    fn fill(&mut self, line: Line<'_>, name: &str) {
        if !self.is_full {
            self.is_full = true;
            self.leave(line, name, "there are too many registers", format!("at most {MOST_IN_ALL}"));
        }
    }

    /// Counts an array whose length was assumed.
    pub(super) fn assume(&mut self) {
        self.assumed += 1;
    }

    /// Leaves something out.
    pub(super) fn leave(&mut self, line: Line<'_>, name: &str, why: &'static str, detail: impl fmt::Display) {
        if self.left_out.len() >= MOST_LEFT_OUT {
            self.is_full = true;
            return;
        }
        let (file, line, name) = (line.file.to_owned(), line.line, name.to_owned());
        self.left_out.push(LeftOut { file, line, name, why, detail: detail.to_string() });
    }

    /// Whether a register that has so many fields may have one more; leaves `name` out if not.
    pub(super) fn has_room_for_field(&mut self, line: Line<'_>, name: &str, fields: usize) -> bool {
        if fields >= MOST_FIELDS {
            self.leave(line, name, "its register has too many fields", format!("at most {MOST_FIELDS}"));
        }
        fields < MOST_FIELDS
    }

    /// Whether a field, `name`, that has so many values may have one more; leaves that out if not.
    pub(super) fn has_room_for_value(&mut self, line: Line<'_>, name: &str, values: usize) -> bool {
        if values >= MOST_VALUES {
            self.leave(line, name, "a field has too many values", format!("at most {MOST_VALUES}"));
        }
        values < MOST_VALUES
    }

    /// Takes a register if a register file can hold it; `line` is where it was found.
    pub(super) fn add(&mut self, line: Line<'_>, mut register: Register) {
        let bits = u32::from(register.width).saturating_mul(8).min(64);
        let mut fields = std::mem::take(&mut register.fields);
        fields.retain(|field| {
            let fits = field.high < bits && field.low <= field.high;
            if !fits {
                let name = format!("{}.{}", register.name, field.name);
                let detail = format!("{}:{} of {bits} bits", field.high, field.low);
                self.leave(line, &name, "its bits are outside of the register", detail);
            }
            fits
        });
        self.parts += fields.iter().map(|field| 1 + field.values.len()).sum::<usize>();
        if self.parts > MOST_PARTS {
            return self.fill(line, &register.name);
        }
        register.fields = fields;
        let problem = register.problem();
        let elements = self.elements.saturating_add(u64::from(register.count));
        if let Some(problem) = problem {
            self.leave(line, &register.name, "a register file can't hold it", problem);
        } else if elements > MOST_IN_ALL {
            self.is_full = true;
            self.leave(
                line,
                &register.name,
                "there are too many registers",
                format!("at most {MOST_IN_ALL}"),
            );
        } else {
            self.elements = elements;
            self.registers.push(register);
        }
    }

    /// The file of all that was found: sorted, in its BAR, with what lies on other registers
    /// marked.
    pub(super) fn finish(mut self, sources: &[Source], options: &Options<'_>) -> Imported {
        let files: Vec<&str> = sources.iter().map(|source| &*source.name).collect();
        for register in &mut self.registers {
            register.bar = options.bar;
        }
        self.registers.sort_by(|one, other| (&one.space, one.offset).cmp(&(&other.space, other.offset)));
        let mut file = RegisterFile {
            name: options.name.clone().unwrap_or(self.title),
            source: format!("imported from {}", files.join(", ")),
            matches: options.matches.clone(),
            registers: self.registers,
            wrong: Vec::new(),
        };
        let on_others = file.allow_overlaps();
        Imported { file, left_out: self.left_out, assumed: self.assumed, on_others }
    }
}
