//! `trapline registers import`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use trapline_registers::import::{self, Format, Imported, LeftOut, Options, Source};

use crate::args::{Import, ImportFrom};
use crate::output;
use crate::say::say;
use crate::style::WARNING;

use super::RegisterFilesError;

/// Kinds of what was left out that are told at most, the most frequent first.
const KINDS: usize = 8;

/// Folders below the root of a database of files that import each other, at most.
const DEEPEST: usize = 6;

/// Imports the files into one, and says what came of it.
pub(super) fn run(args: &Import) -> Result<(), RegisterFilesError> {
    check_destination(args)?;
    let files = args.files.iter().map(|path| (path, false));
    let files = files.chain(args.fields.iter().map(|path| (path, true)));
    let sources = files.map(|(path, only_fields)| read(path, only_fields)).collect::<Result<Vec<_>, _>>()?;
    let is_register = |name: &str| args.only.iter().any(|pattern| pattern.matches(name));
    let is_read = Cell::new(false);
    let find = |file: &str, from: &str| {
        let path = imported_by(file, from)?;
        is_read.set(is_read.get() || (!is_stdout(&args.to) && output::is_same(&path, &args.to)));
        // One that is given is known by the name that it was given by.
        let given = args.files.iter().chain(&args.fields).find(|given| output::is_same(given, &path));
        read(given.unwrap_or(&path), false).ok()
    };
    let options = Options {
        format: args.from.map(Format::from),
        blocks: args.peripheral.iter().chain(&args.domain).cloned().collect(),
        variants: args.variant.clone(),
        find: Some(&find),
        base: args.base,
        bar: args.bar,
        matches: args.device.clone(),
        name: args.name.clone(),
        only: (!args.only.is_empty()).then_some(&is_register),
        elements: Some(args.elements),
    };
    let imported = import::import(&sources, &options)?;
    if is_read.get() {
        return Err(RegisterFilesError::OntoItself { path: args.to.clone() });
    }
    write(args, &imported.file.to_string())?;
    tell(args, &imported);
    Ok(())
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// Refuses before any work what would be refused after it.
fn check_destination(args: &Import) -> Result<(), RegisterFilesError> {
    let Ok(there) = fs::metadata(&args.to) else { return Ok(()) };
    if is_stdout(&args.to) {
        return Ok(());
    }
    let path = args.to.clone();
    let is_it = |file: &PathBuf| {
        fs::metadata(file).is_ok_and(|file| (file.dev(), file.ino()) == (there.dev(), there.ino()))
    };
    if args.files.iter().chain(&args.fields).any(is_it) {
        return Err(RegisterFilesError::OntoItself { path });
    }
    if args.force { Ok(()) } else { Err(RegisterFilesError::Exists { path }) }
}

/// A file's text. Headers in old encodings are read too: what is not UTF-8 stands in comments.
fn read(path: &Path, only_fields: bool) -> Result<Source, RegisterFilesError> {
    let bytes = fs::read(path).map_err(|source| RegisterFilesError::Read { path: path.into(), source })?;
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Ok(Source { name: path.display().to_string(), text, only_fields })
}

/// A file that `from` imports: beside that, or in a folder further up, as the root of a database
/// is.
fn imported_by(file: &str, from: &str) -> Option<PathBuf> {
    let mut folder = Path::new(from).parent()?.to_owned();
    for _ in 0..DEEPEST {
        let path = folder.join(file);
        if path.is_file() {
            return Some(path);
        }
        // A relative path does not name the folders above the one that it begins in.
        match folder.components().next_back() {
            Some(Component::Normal(_)) => drop(folder.pop()),
            _ => folder.push(".."),
        }
    }
    None
}

fn write(args: &Import, text: &str) -> Result<(), RegisterFilesError> {
    if is_stdout(&args.to) {
        return Ok(output::print_bytes(text.as_bytes())?);
    }
    let path = args.to.clone();
    let mut how = OpenOptions::new();
    how.write(true);
    if args.force {
        how.create(true).truncate(true)
    } else {
        how.create_new(true)
    };
    match how.open(&path).and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(RegisterFilesError::Exists { path })
        }
        Err(source) => Err(RegisterFilesError::Write { path, source }),
    }
}

fn tell(args: &Import, imported: &Imported) {
    let Imported { file, left_out, assumed, on_others } = imported;
    let elements: u64 = file.registers.iter().map(|register| u64::from(register.count)).sum();
    let fields: usize = file.registers.iter().map(|register| register.fields.len()).sum();
    let to = if is_stdout(&args.to) { "standard output".into() } else { args.to.display().to_string() };
    let registers = if elements == 1 { "register" } else { "registers" };
    let fields = match fields {
        0 => "no fields".into(),
        1 => "1 field".into(),
        _ => format!("{fields} fields"),
    };
    say!("{to}: {elements} {registers}, {fields}");
    match *on_others {
        0 => {}
        1 => say!("1 lies on others, which is said of it with `overlaps = true`"),
        many => say!("{many} lie on others, which is said of them with `overlaps = true`"),
    }
    let most = args.elements;
    match *assumed {
        0 => {}
        1 => say!("1 array has at most {most} elements, since no word is on how many it has: see --elements"),
        many => say!(
            "{many} arrays have at most {most} elements, since no word is on how many they have: see --elements"
        ),
    }
    if args.left_out {
        left_out.iter().for_each(|one| say!("left out: {one}"));
    }
    if !left_out.is_empty() {
        say!("left out, {} in all:", left_out.len());
        kinds(left_out).iter().for_each(|line| say!("{line}"));
    }
    if !file.is_for_devices() {
        say!(
            "{WARNING}warning{WARNING:#}: the file names nothing until it says for which devices it is: fill in its \
             [[match]], or import with --device"
        );
    }
}

/// How much was left out for which reason, with the first of each.
fn kinds(left_out: &[LeftOut]) -> Vec<String> {
    let mut kinds: BTreeMap<&str, (usize, &LeftOut)> = BTreeMap::new();
    for one in left_out {
        kinds.entry(one.why).or_insert((0, one)).0 += 1;
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let width = kinds.first().map_or(0, |(_, (count, _))| count.to_string().len());
    let lines = kinds.iter().map(|(why, (count, first))| match count {
        1 => format!("  {count:>width$}  {first}"),
        _ => format!("  {count:>width$}  {why}; the first: {first}"),
    });
    let mut lines: Vec<String> = lines.take(KINDS).collect();
    let rest: usize = kinds.iter().skip(KINDS).map(|(_, (count, _))| count).sum();
    if rest > 0 {
        lines.push(format!("  {rest:>width$}  for other reasons; --left-out lists all"));
    }
    lines
}

impl From<ImportFrom> for Format {
    fn from(from: ImportFrom) -> Self {
        match from {
            ImportFrom::Svd => Self::Svd,
            ImportFrom::Header => Self::Header,
            ImportFrom::Rnndb => Self::Rnndb,
        }
    }
}
