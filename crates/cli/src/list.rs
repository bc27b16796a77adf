//! `trapline list`: every probe of every kind, whosever it is.

use std::io::{self, Write};

use anstream::ColorChoice;
use trapline_abi::{
    CODE_FAULT, CODE_POST, CODE_RETURN, CODE_STACK, LIST_DISABLED, LIST_FTRACE, LIST_GONE, LIST_OPTIMIZED,
    ListEntry, ListKind,
};
use trapline_trace::Symbols;

use crate::device::Control;
use crate::error::{Error, Result};
use crate::module;
use crate::output;
use crate::style::STRONG;
use crate::system::System;

/// Columns of the table; the numbers are to the right.
const TITLES: [&str; 10] =
    ["id", "kind", "where", "name", "owner", "hits", "missed", "faults", "dropped", "how"];
const RIGHT: [bool; 10] = [true, false, false, false, false, true, true, true, true, false];

/// Prints the table; that there is no module, or no probe, is an answer too.
pub(crate) fn run(system: &System) -> Result<()> {
    if !module::is_loaded(system) {
        return output::print(|out| writeln!(out, "nothing is probed: the trapline module is not loaded"));
    }
    let device = module::open(system)?;
    module::info(&device)?;
    let entries = entries(&device)?;
    let symbols = Symbols::load(&system.path("proc")).unwrap_or_default();
    output::print(|out| {
        let colour = out.current_choice() != ColorChoice::Never;
        let owner = |owner| owner_text(system, owner);
        write(out, colour, &entries, &symbols, owner)
    })
}

/// Everything that is registered, in the order of numbers.
pub(crate) fn entries(control: &impl Control) -> Result<Vec<ListEntry>> {
    let mut entries = Vec::new();
    let mut next = 0;
    let list = |id| control.list(id).map_err(|source| Error::Device { what: "list its probes", source });
    while let Some(entry) = list(next)? {
        entries.push(entry);
        let Some(after) = entry.id.checked_add(1) else { break };
        next = after;
    }
    Ok(entries)
}

fn owner_text(system: &System, owner: u32) -> String {
    match (owner, system.command_name(owner)) {
        (0, _) => "a module".into(),
        (owner, Some(name)) => format!("{name}[{owner}]"),
        (owner, None) => owner.to_string(),
    }
}

fn write(
    out: &mut impl Write,
    colour: bool,
    entries: &[ListEntry],
    symbols: &Symbols,
    owner: impl Fn(u32) -> String,
) -> io::Result<()> {
    if entries.is_empty() {
        return writeln!(out, "nothing is probed");
    }
    let mut rows = vec![TITLES.map(str::to_owned)];
    rows.extend(entries.iter().map(|entry| row(entry, symbols, owner(entry.owner))));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..TITLES.len()).map(width).collect();
    for (number, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).zip(RIGHT).map(|((cell, width), right)| {
            if right { format!("{cell:>width$}") } else { format!("{cell:width$}") }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        let line = line.trim_end();
        if number == 0 && colour {
            writeln!(out, "{STRONG}{line}{STRONG:#}")?;
        } else {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

fn row(entry: &ListEntry, symbols: &Symbols, owner: String) -> [String; 10] {
    let counts = entry.counts;
    let kind = match ListKind::from_code(entry.kind) {
        Some(ListKind::FaultHandler) => "page faults".into(),
        Some(ListKind::Access) => "access".into(),
        Some(ListKind::Code) => "code".into(),
        None => format!("kind {}", entry.kind),
    };
    let place = match (entry.address, entry.length) {
        (0, 0) => "everywhere".into(),
        // Another module may lie there by now.
        (address, 0) if entry.flags & LIST_GONE != 0 => format!("{address:#x}"),
        (address, 0) => symbols.resolve(address).map_or_else(
            || format!("{address:#x}"),
            |site| {
                let module = site.module.map(|module| format!(" [{module}]")).unwrap_or_default();
                format!("{}+{:#x}{module}", site.function, site.offset)
            },
        ),
        (address, length) => format!("{address:#x}+{length:#x}"),
    };
    let faults = counts.pre_faults + counts.post_faults + counts.fetch_faults;
    [
        entry.id.to_string(),
        kind,
        place,
        name(entry),
        owner,
        counts.hits.to_string(),
        counts.missed.to_string(),
        faults.to_string(),
        counts.dropped.to_string(),
        how(entry),
    ]
}

/// Its name: the bytes before the padding.
fn name(entry: &ListEntry) -> String {
    let length = entry.name.iter().position(|byte| *byte == 0).unwrap_or(entry.name.len());
    let name = String::from_utf8_lossy(&entry.name[..length]);
    name.chars().map(|char| if char.is_control() { '?' } else { char }).collect()
}

/// What kind of code probe it is, and how the kernel runs it.
fn how(entry: &ListEntry) -> String {
    let mut words = Vec::new();
    if entry.kind == ListKind::Code as u32 {
        words.push(match entry.flags {
            flags if flags & LIST_GONE != 0 => "its module is gone",
            flags if flags & LIST_OPTIMIZED != 0 => "jump-optimised",
            flags if flags & LIST_FTRACE != 0 => "by ftrace",
            _ => "by breakpoint",
        });
    }
    let flags = [
        (CODE_RETURN, "at return"),
        (CODE_POST, "after the instruction"),
        (CODE_STACK, "with stack"),
        (CODE_FAULT, "with a fault handler"),
        (LIST_DISABLED, "DISABLED"),
    ];
    words.extend(flags.into_iter().filter(|(bit, _)| entry.flags & bit != 0).map(|(_, text)| text));
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use trapline_abi::{NAME_LENGTH, ProbeCounts};

    use super::*;

    fn entry(id: u64, kind: ListKind, text: &str) -> ListEntry {
        let mut name = [0; NAME_LENGTH];
        name[..text.len()].copy_from_slice(text.as_bytes());
        let counts = ProbeCounts {
            hits: 1234,
            missed: 5,
            pre_faults: 1,
            post_faults: 2,
            fetch_faults: 3,
            ..ProbeCounts::default()
        };
        let (kind, address) = (kind as u32, 0xffff_ffff_8120_0004);
        ListEntry { id, kind, flags: 0, address, length: 0, owner: 0, reserved: 0, counts, name }
    }

    #[test]
    fn every_probe_is_a_line_with_its_place_owner_counts_and_state() {
        let proc = tempfile::tempdir().unwrap();
        std::fs::write(proc.path().join("modules"), "").unwrap();
        std::fs::write(proc.path().join("kallsyms"), "ffffffff81200000 T vfs_read\n").unwrap();
        let symbols = Symbols::load(proc.path()).unwrap();
        let code = ListEntry {
            flags: LIST_OPTIMIZED | CODE_STACK | LIST_DISABLED,
            owner: 812,
            ..entry(7, ListKind::Code, "vfs_read+4")
        };
        let access = ListEntry { address: 0x1000, length: 0x10, ..entry(12, ListKind::Access, "") };
        let handler = ListEntry { address: 0, ..entry(13, ListKind::FaultHandler, "watcher\x1b") };
        let mut out = Vec::new();
        let owner = |owner| if owner == 0 { "a module".into() } else { format!("trapline[{owner}]") };
        write(&mut out, false, &[code, access, handler], &symbols, owner).unwrap();
        let expected = "\
id  kind         where         name        owner          hits  missed  faults  dropped  how
 7  code         vfs_read+0x4  vfs_read+4  trapline[812]  1234       5       6        0  jump-optimised, with stack, DISABLED
12  access       0x1000+0x10               a module       1234       5       6        0
13  page faults  everywhere    watcher?    a module       1234       5       6        0
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn nothing_is_a_line_too() {
        let mut out = Vec::new();
        write(&mut out, false, &[], &Symbols::default(), |_| String::new()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "nothing is probed\n");
    }
}
