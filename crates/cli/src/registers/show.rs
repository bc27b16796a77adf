//! `trapline registers show`: what a register file says.

use std::io::{self, Write};
use std::path::Path;

use anstream::ColorChoice;
use anstyle::Style;
use glob::Pattern;
use trapline_registers::{Field, Register, RegisterFile, Registers};

use crate::args::Show;
use crate::naming::{self, Folders, Found, RegistersError, Senseless};
use crate::output;
use crate::style::STRONG;
use crate::units::parse_size;

use super::RegisterFilesError;
use crate::table::{self, Side};

/// Names more similar than this are suggested (Jaro-Winkler).
const SIMILAR: f64 = 0.8;

/// Prints the registers of a file, or what it says of some. What is wrong with the file is told
/// after that.
pub(super) fn run(args: &Show) -> Result<(), RegisterFilesError> {
    let Found { path, file } = find(&args.file)?;
    match &args.register {
        None => print(|out, colour| all(out, colour, &file))?,
        Some(wanted) => {
            let registers = matching(&file, wanted)?;
            print(|out, colour| {
                for (number, register) in registers.iter().enumerate() {
                    if number > 0 {
                        writeln!(out)?;
                    }
                    one(out, colour, register)?;
                }
                Ok(())
            })?;
        }
    }
    if file.wrong.is_empty() {
        return Ok(());
    }
    Err(RegistersError::from(Senseless { path, wrong: file.wrong }).into())
}

fn print(write: impl FnOnce(&mut dyn Write, bool) -> io::Result<()>) -> Result<(), output::OutputError> {
    output::print(|out| {
        let colour = out.current_choice() != ColorChoice::Never;
        write(out, colour)
    })
}

/// The file at a path, or of a name: its own or that of its file.
fn find(wanted: &Path) -> Result<Found, RegisterFilesError> {
    if wanted.exists() && !wanted.is_dir() {
        return Ok(naming::read(wanted)?);
    }
    let name = wanted.display().to_string();
    let shipped = Registers::shipped_files().into_iter();
    let shipped = shipped.map(|(name, file)| Found { path: format!("{name}.toml").into(), file });
    let known: Vec<Found> = Folders::here().files().into_iter().flatten().chain(shipped).collect();
    let is_it =
        |found: &&Found| found.file.name == name || found.path.file_stem() == Some(wanted.as_os_str());
    if let Some(found) = known.iter().find(is_it) {
        return Ok(Found { path: found.path.clone(), file: found.file.clone() });
    }
    let mut known: Vec<String> = known.into_iter().map(|found| found.file.name).collect();
    known.sort();
    known.dedup();
    Err(RegisterFilesError::NoFile { name, known })
}

/// For which devices a file is, as a person types them.
pub(super) fn devices(file: &RegisterFile) -> String {
    if !file.is_for_devices() {
        return "no device".into();
    }
    file.matches.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The registers of a name, a pattern, or at an offset.
fn matching<'a>(file: &'a RegisterFile, wanted: &str) -> Result<Vec<&'a Register>, RegisterFilesError> {
    let not_one = |why: String| RegisterFilesError::NotARegister { wanted: wanted.into(), why };
    let registers = file.registers.iter();
    let found: Vec<&Register> = if wanted.starts_with(|char: char| char.is_ascii_digit()) {
        let offset = parse_size(wanted).map_err(not_one)?;
        registers.filter(|register| covers(register, offset)).collect()
    } else {
        let pattern = Pattern::new(wanted).map_err(|error| not_one(error.to_string()))?;
        let is_it = |register: &&Register| {
            register.name == wanted
                || pattern.matches(&register.name)
                || has_element(register, wanted, &pattern)
        };
        registers.filter(is_it).collect()
    };
    if !found.is_empty() {
        return Ok(found);
    }
    let similar = |register: &&Register| strsim::jaro_winkler(&register.name, wanted);
    let near = file.registers.iter().max_by(|one, other| similar(one).total_cmp(&similar(other)));
    let near = near.filter(|register| similar(register) > SIMILAR).map(|register| register.name.clone());
    Err(RegisterFilesError::NoRegister { file: file.name.clone(), wanted: wanted.into(), near })
}

/// Whether an element of `register` lies on `offset`.
fn covers(register: &Register, offset: u64) -> bool {
    let Some(within) = offset.checked_sub(register.offset) else { return false };
    let stride = register.stride().max(1);
    within / stride < u64::from(register.count) && within % stride < u64::from(register.width)
}

/// Whether an element has such a name.
fn has_element(register: &Register, wanted: &str, pattern: &Pattern) -> bool {
    let is_it = |name: String| name == wanted || pattern.matches(&name);
    register.count > 1 && register.elements().any(|(index, _)| is_it(register.element_name(index)))
}

/// All registers, a line each.
fn all(out: &mut dyn Write, colour: bool, file: &RegisterFile) -> io::Result<()> {
    let strong = if colour { STRONG } else { Style::new() };
    writeln!(out, "{strong}{}{strong:#}, for {}", file.name, devices(file))?;
    if !file.source.is_empty() {
        writeln!(out, "{}", file.source)?;
    }
    writeln!(out)?;
    let titles = [
        ("offset", Side::Right),
        ("width", Side::Right),
        ("access", Side::Left),
        ("name", Side::Left),
        ("fields", Side::Left),
    ];
    let rows: Vec<_> = file.registers.iter().map(row).collect();
    table::write(&mut { out }, colour, titles, &rows)
}

fn row(register: &Register) -> [String; 5] {
    let place = match (&register.space, register.bar) {
        (Some(space), _) => format!("{space}+"),
        (None, 0) => String::new(),
        (None, bar) => format!("{bar}+"),
    };
    let fields: Vec<String> =
        register.fields.iter().map(|field| format!("{}[{}]", field.name, bits(field))).collect();
    [
        format!("{place}{:#x}", register.offset),
        register.width.to_string(),
        register.access.name().into(),
        full_name(register),
        fields.join(" "),
    ]
}

/// The name; of an array with its bounds.
fn full_name(register: &Register) -> String {
    match register.count {
        1 => register.name.clone(),
        count if register.name.contains("{}") => {
            register.name.replace("{}", &format!("{{0..{}}}", count - 1))
        }
        count => format!("{}[0..{}]", register.name, count - 1),
    }
}

fn bits(field: &Field) -> String {
    if field.high == field.low { field.low.to_string() } else { format!("{}:{}", field.high, field.low) }
}

/// All that is known of one register.
fn one(out: &mut dyn Write, colour: bool, register: &Register) -> io::Result<()> {
    let strong = if colour { STRONG } else { Style::new() };
    let [offset, width, access, name, _] = row(register);
    write!(out, "{strong}{name}{strong:#}  offset {offset}, {width} bytes, {access}")?;
    if let Some(reset) = register.reset {
        write!(out, ", {reset:#x} after a reset")?;
    }
    if register.count > 1 {
        write!(out, ", every {:#x} bytes", register.stride())?;
    }
    writeln!(out)?;
    if !register.description.is_empty() {
        writeln!(out, "  {}", register.description)?;
    }
    let width = |cell: fn(&Field) -> String| {
        register.fields.iter().map(|field| cell(field).chars().count()).max().unwrap_or(0)
    };
    let (bits_width, name_width) = (width(bits), width(|field| field.name.clone()));
    for field in &register.fields {
        let line =
            format!("  {:>bits_width$}  {:name_width$}  {}", bits(field), field.name, field.description);
        writeln!(out, "{}", line.trim_end())?;
        for (value, meaning) in &field.values {
            writeln!(out, "  {:bits_width$}    {value:#x} {meaning}", "")?;
        }
    }
    Ok(())
}
