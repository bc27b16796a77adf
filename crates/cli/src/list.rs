//! `trapline list`: every probe of every kind, whosever it is.

use std::io::{self, Write};
use std::ops::RangeInclusive;

use anstream::ColorChoice;
use trapline_abi::{
    CODE_FAULT, CODE_POST, CODE_RETURN, CODE_STACK, LIST_DISABLED, LIST_FTRACE, LIST_GONE, LIST_OPTIMIZED,
    ListEntry, ListKind,
};
use trapline_trace::Symbols;

use crate::device::Control;
use crate::module::{self, ModuleError};
use crate::output::{self, OutputError};
use crate::style::STRONG;
use crate::system::System;

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    /// The module can't be asked.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// It can't be printed.
    #[error(transparent)]
    Output(#[from] OutputError),
}

const COLUMNS: usize = 15;

/// Columns of the table; the numbers are to the right.
const TITLES: [&str; COLUMNS] = [
    "id",
    "kind",
    "where",
    "name",
    "owner",
    "hits",
    "missed",
    "unfulfilled",
    "undecided",
    "pre-faults",
    "post-faults",
    "fetch-faults",
    "fixed",
    "dropped",
    "how",
];
/// The first and the last column of counts.
const COUNTS: RangeInclusive<usize> = 5..=13;
/// Those of what seldom happens: a column with nothing but zeros is left out, so that the table
/// fits a terminal.
const SELDOM: RangeInclusive<usize> = 7..=13;

/// Prints the table; that there is no module, or no probe, is an answer too.
pub(crate) fn run(system: &System) -> Result<(), ListError> {
    if !module::is_loaded(system) {
        output::print(|out| writeln!(out, "nothing is probed: the trapline module is not loaded"))?;
        return Ok(());
    }
    let device = module::open(system)?;
    module::info(&device)?;
    let entries = entries(&device)?;
    let symbols = Symbols::load(&system.path("proc")).unwrap_or_default();
    output::print(|out| {
        let colour = out.current_choice() != ColorChoice::Never;
        let owner = |entry: &ListEntry| owner_text(system, entry);
        write(out, colour, &entries, &symbols, owner)
    })?;
    Ok(())
}

/// Everything that is registered, in the order of numbers.
fn entries(control: &dyn Control) -> Result<Vec<ListEntry>, ModuleError> {
    let mut entries = Vec::new();
    let mut next = 0;
    let list =
        |id| control.list(id).map_err(|source| ModuleError::Command { what: "list its probes", source });
    while let Some(entry) = list(next)? {
        entries.push(entry);
        let Some(after) = entry.id.checked_add(1) else { break };
        next = after;
    }
    Ok(entries)
}

/// The command or the module that `entry` belongs to.
fn owner_text(system: &System, entry: &ListEntry) -> String {
    match (entry.owner, system.command_name(entry.owner)) {
        (0, _) => match &text(&entry.module)[..] {
            "" => "a module".into(),
            module => format!("module {module}"),
        },
        (owner, Some(name)) => format!("{name}[{owner}]"),
        (owner, None) => owner.to_string(),
    }
}

fn write(
    out: &mut impl Write,
    colour: bool,
    entries: &[ListEntry],
    symbols: &Symbols,
    owner: impl Fn(&ListEntry) -> String,
) -> io::Result<()> {
    if entries.is_empty() {
        return writeln!(out, "nothing is probed");
    }
    let mut rows = vec![TITLES.map(str::to_owned)];
    rows.extend(entries.iter().map(|entry| row(entry, symbols, owner(entry))));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let happened =
        |column: &usize| !SELDOM.contains(column) || rows[1..].iter().any(|row| row[*column] != "0");
    let shown: Vec<(usize, usize)> =
        (0..COLUMNS).filter(happened).map(|column| (column, width(column))).collect();
    for (number, row) in rows.iter().enumerate() {
        let cells = shown.iter().map(|&(column, width)| {
            let cell = &row[column];
            let right = column == 0 || COUNTS.contains(&column);
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

fn row(entry: &ListEntry, symbols: &Symbols, owner: String) -> [String; COLUMNS] {
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
    [
        entry.id.to_string(),
        kind,
        place,
        text(&entry.name),
        owner,
        counts.hits.to_string(),
        counts.missed.to_string(),
        counts.unfulfilled.to_string(),
        counts.undecided.to_string(),
        counts.pre_faults.to_string(),
        counts.post_faults.to_string(),
        counts.fetch_faults.to_string(),
        counts.fixed.to_string(),
        counts.dropped.to_string(),
        how(entry),
    ]
}

/// A name: the bytes before the padding.
fn text(padded: &[u8]) -> String {
    let length = padded.iter().position(|byte| *byte == 0).unwrap_or(padded.len());
    let name = String::from_utf8_lossy(&padded[..length]);
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
    use trapline_abi::ProbeCounts;

    use super::*;
    use crate::system::tests::with;

    fn padded<const N: usize>(text: &str) -> [u8; N] {
        let mut padded = [0; N];
        padded[..text.len()].copy_from_slice(text.as_bytes());
        padded
    }

    fn entry(id: u64, kind: ListKind, name: &str) -> ListEntry {
        let counts = ProbeCounts {
            hits: 1234,
            missed: 5,
            pre_faults: 1,
            post_faults: 2,
            fetch_faults: 3,
            fixed: 4,
            ..ProbeCounts::default()
        };
        let (kind, address) = (kind as u32, 0xffff_ffff_8120_0004);
        ListEntry { kind, address, counts, name: padded(name), ..ListEntry::from(id) }
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
        let access = ListEntry {
            address: 0x1000,
            length: 0x10,
            module: padded("e1000e"),
            ..entry(12, ListKind::Access, "")
        };
        let handler = ListEntry { address: 0, ..entry(13, ListKind::FaultHandler, "watcher\x1b") };
        let mut out = Vec::new();
        let (_root, system) = with(&[("proc/812/comm", "trapline\n")]);
        let owner = |entry: &ListEntry| owner_text(&system, entry);
        write(&mut out, false, &[code, access, handler], &symbols, owner).unwrap();
        let expected = "\
id  kind         where         name        owner          hits  missed  pre-faults  post-faults  fetch-faults  fixed  how
 7  code         vfs_read+0x4  vfs_read+4  trapline[812]  1234       5           1            2             3      4  jump-optimised, with stack, DISABLED
12  access       0x1000+0x10               module e1000e  1234       5           1            2             3      4
13  page faults  everywhere    watcher?    a module       1234       5           1            2             3      4
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn what_has_not_happened_takes_no_room() {
        let quiet = ListEntry { counts: ProbeCounts::default(), ..entry(1, ListKind::Access, "") };
        let mut out = Vec::new();
        write(&mut out, false, &[quiet], &Symbols::default(), |_| "x[1]".into()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with("id  kind    where               name  owner  hits  missed  how\n"),
            "{text}"
        );
        let dropping =
            ListEntry { counts: ProbeCounts { unfulfilled: 3, dropped: 7, ..quiet.counts }, ..quiet };
        let mut out = Vec::new();
        write(&mut out, false, &[quiet, dropping], &Symbols::default(), |_| "x[1]".into()).unwrap();
        assert!(String::from_utf8(out).unwrap().contains("hits  missed  unfulfilled  dropped  how\n"));
    }

    #[test]
    fn nothing_is_a_line_too() {
        let mut out = Vec::new();
        write(&mut out, false, &[], &Symbols::default(), |_| String::new()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "nothing is probed\n");
    }
}
