//! A register file as text: what an importer found, for a person to read and correct.

use std::fmt::{self, Write};

use toml_writer::{TomlStringBuilder, TomlWrite};

use crate::{AccessRule, Field, Match, Register, RegisterFile};

/// The file's text, which [`RegisterFile::parse`] reads back.
impl fmt::Display for RegisterFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "name = {}", text(&self.name))?;
        if !self.source.is_empty() {
            writeln!(f, "source = {}", text(&self.source))?;
        }
        if self.matches.is_empty() {
            writeln!(
                f,
                "\n# For which devices: until this is filled in, the file names nothing.\n# [[match]]"
            )?;
            writeln!(f, "# vendor = 0x8086\n# devices = [0x10d3]")?;
        }
        self.matches.iter().try_for_each(|rule| matching(f, rule))?;
        self.registers.iter().try_for_each(|register| write_register(f, register))
    }
}

fn matching(f: &mut fmt::Formatter<'_>, rule: &Match) -> fmt::Result {
    writeln!(f, "\n[[match]]")?;
    if let Some(vendor) = rule.vendor {
        writeln!(f, "vendor = {vendor:#06x}")?;
    }
    if let Some(devices) = &rule.devices {
        let devices: Vec<String> = devices.iter().map(|device| format!("{device:#06x}")).collect();
        writeln!(f, "devices = [{}]", devices.join(", "))?;
    }
    if let Some(class) = rule.class {
        writeln!(f, "class = {class:#08x}")?;
    }
    match &rule.driver {
        Some(driver) => writeln!(f, "driver = {}", text(driver)),
        None => Ok(()),
    }
}

fn write_register(f: &mut fmt::Formatter<'_>, register: &Register) -> fmt::Result {
    writeln!(f, "\n[[register]]\noffset = {}\nname = {}", number(register.offset), text(&register.name))?;
    match &register.space {
        Some(space) => writeln!(f, "space = {}", text(space))?,
        None if register.bar != 0 => writeln!(f, "bar = {}", register.bar)?,
        None => {}
    }
    if register.width != 4 {
        writeln!(f, "width = {}", register.width)?;
    }
    if register.access != AccessRule::Rw {
        writeln!(f, "access = \"{}\"", register.access.name())?;
    }
    if let Some(reset) = register.reset {
        writeln!(f, "reset = {}", number(reset))?;
    }
    if register.count != 1 {
        writeln!(f, "count = {}\nstride = {:#x}", register.count, register.stride())?;
    }
    if let Some(answer) = &register.answer {
        writeln!(f, "answer = {}", text(answer))?;
    }
    if register.overlaps {
        writeln!(f, "overlaps = true")?;
    }
    if !register.description.is_empty() {
        writeln!(f, "description = {}", text(&register.description))?;
    }
    if register.fields.is_empty() {
        return Ok(());
    }
    writeln!(f, "fields = [")?;
    register.fields.iter().try_for_each(|field| write_field(f, field))?;
    writeln!(f, "]")
}

fn write_field(f: &mut fmt::Formatter<'_>, field: &Field) -> fmt::Result {
    let bits =
        if field.high == field.low { field.low.to_string() } else { format!("{}:{}", field.high, field.low) };
    write!(f, "  {{ bits = \"{bits}\", name = {}", text(&field.name))?;
    if !field.values.is_empty() {
        let mut values = String::new();
        for (value, meaning) in &field.values {
            let comma = if values.is_empty() { "" } else { ", " };
            write!(values, "{comma}{value} = {}", text(meaning))?;
        }
        write!(f, ", values = {{ {values} }}")?;
    }
    if !field.description.is_empty() {
        write!(f, ", description = {}", text(&field.description))?;
    }
    writeln!(f, " }},")
}

/// A string on one line, in quotes.
fn text(text: &str) -> String {
    let mut quoted = String::new();
    // Writing into memory does not fail.
    let _ = quoted.value(TomlStringBuilder::new(text).as_basic());
    quoted
}

/// A number. TOML's are signed, and readers need not take more.
fn number(value: u64) -> String {
    if i64::try_from(value).is_ok() { format!("{value:#x}") } else { format!("\"{value:#x}\"") }
}
