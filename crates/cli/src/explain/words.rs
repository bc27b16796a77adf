//! An explanation on a terminal.

use std::io::{self, Write};

use trapline_explain::fault::bits;
use trapline_explain::{Explanation, Report, Reports, Row, Trap, grouped};

use crate::args::Code;
use crate::style::{STRONG, WARNING};

/// How many other reports are named.
const OTHERS: usize = 10;

/// Explains an error code, with the address if there is one.
pub(crate) fn code(out: &mut impl Write, code: Code, address: Option<u64>) -> io::Result<()> {
    let Code { value, decimal } = code;
    let sentence = trapline_explain::sentence(value, address);
    writeln!(out, "{STRONG}error code {:#x}{STRONG:#}: {sentence}", value.0)?;
    writeln!(out)?;
    for bit in bits(value) {
        writeln!(out, "  bit {:<2}  {:<4}  {}  {}", bit.number, bit.name, u8::from(bit.set), bit.meaning)?;
    }
    let told = Explanation::of_code(value, address);
    if !told.rows.is_empty() {
        writeln!(out)?;
    }
    rows(out, &told)?;
    if decimal && value.0 > 9 {
        let digits = value.0;
        note(
            out,
            &format!("read as decimal; the kernel prints error codes in hexadecimal: was it 0x{digits}?"),
        )?;
    }
    Ok(())
}

/// Explains a report.
pub(crate) fn report(out: &mut impl Write, told: &Explanation) -> io::Result<()> {
    for headline in &told.headlines {
        writeln!(out, "{STRONG}{headline}{STRONG:#}")?;
    }
    writeln!(out)?;
    rows(out, told)
}

/// Counts and names what was not explained.
pub(crate) fn others(out: &mut impl Write, reports: &Reports, explained: Option<usize>) -> io::Result<()> {
    let kernel = reports.kernel.iter().enumerate().filter(|(at, _)| Some(*at) != explained);
    let kernel: Vec<&str> = kernel
        .map(|(_, report)| report.headline.as_deref().unwrap_or("one of which the beginning is missing"))
        .collect();
    let groups: Vec<(&Trap, usize)> = match explained {
        Some(_) => grouped(&reports.programs),
        // The first group was explained.
        None => grouped(&reports.programs).into_iter().skip(1).collect(),
    };
    let programs: usize = groups.iter().map(|(_, count)| count).sum();
    if kernel.is_empty() && programs == 0 {
        return Ok(());
    }
    let count = |number: usize, what: &str| {
        (number > 0).then(|| format!("{number} other {what}{}", if number == 1 { "" } else { "s" }))
    };
    let of_kernel = count(kernel.len(), "report").map(|text| text + " of the kernel");
    let of_programs = match programs {
        0 => None,
        1 => Some("1 exception of a program".to_owned()),
        more => Some(format!("{more} exceptions of programs")),
    };
    // It may be what an earlier one has led to.
    if reports.kernel.iter().take(explained.unwrap_or(0)).any(Report::is_interleaved) {
        note(
            out,
            "before this report there is one whose lines stand among another's: little can be told of it",
        )?;
    }
    let both: Vec<String> = [of_kernel, of_programs].into_iter().flatten().collect();
    note(out, &format!("the text also holds {}; --all explains each:", both.join(" and ")))?;
    let named = kernel.iter().map(|line| (*line).to_owned()).chain(groups.iter().map(|(trap, count)| {
        let who = trap.task.as_ref().map_or_else(|| "a program".to_owned(), ToString::to_string);
        let times = if *count > 1 { format!(", {count} times") } else { String::new() };
        format!("{who}: {}{times}", trap.what)
    }));
    let named: Vec<String> = named.collect();
    for line in named.iter().take(OTHERS) {
        writeln!(out, "  {line}")?;
    }
    match named.len().saturating_sub(OTHERS) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more"),
    }
}

fn rows(out: &mut impl Write, told: &Explanation) -> io::Result<()> {
    for Row { name, text } in &told.rows {
        for (at, line) in text.lines().enumerate() {
            writeln!(out, "  {:<11} {line}", if at == 0 { name } else { "" })?;
        }
    }
    told.notes.iter().try_for_each(|text| note(out, text))
}

fn note(out: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(out, "{WARNING}note{WARNING:#}: {text}")
}
