//! File and line of a function's instruction, from `vmlinux` or a module with debugging
//! information; `addr2line` does the work, inlined functions included.
//!
//! A module's file is not linked: its sections have no addresses yet, and what its debugging
//! information says of them waits for relocations. Each section is given a place of its own here,
//! and the relocations are applied; `addr2line`'s own loader does not do that.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use addr2line::Context;
use addr2line::gimli::{self, EndianArcSlice, RunTimeEndian};
use object::{Object, ObjectKind, ObjectSection, ObjectSymbol, RelocationTarget, SectionIndex, SymbolKind};
use trapline_explain::{Sources, Spot};
use trapline_trace::FileFormat;

/// Why a file can't tell of lines.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SymbolsError {
    /// It can't be read.
    #[error("can't read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no object file.
    #[error("{} is {what}; expected {expected}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: String,
        /// What was expected.
        expected: &'static str,
    },
    /// It has no debugging information.
    #[error("{} has no debugging information (no .debug_info); give the file with it: vmlinux of a package as linux-image-…-dbg, or a module before it was stripped", path.display())]
    Bare {
        /// The file.
        path: PathBuf,
    },
}

type Reader = EndianArcSlice<RunTimeEndian>;

/// One file: the kernel, or a module.
struct Image {
    path: PathBuf,
    /// The module's name; `None` for the kernel.
    module: Option<String>,
    /// The kernel that it is of, where it tells.
    release: Option<String>,
    /// By their names; static ones may share one.
    functions: HashMap<String, Vec<Function>>,
    lines: Context<Reader>,
}

/// A function of a file.
#[derive(Clone, Copy, Debug)]
struct Function {
    address: u64,
    size: u64,
    /// The address of the next symbol of its section; `None` for the last one.
    next: Option<u64>,
}

impl Function {
    /// Whether it has the size that a report prints, which is the distance to the next symbol
    /// (kallsyms), padding included. Behind a section's last function lies the next section,
    /// which is aligned to 64 bytes at most.
    fn is_of_size(&self, printed: u64) -> bool {
        match self.next {
            Some(next) => printed == next - self.address || printed == self.size,
            None => self.size <= printed && printed - self.size < 64,
        }
    }
}

/// The files that were given.
#[derive(Default)]
pub(crate) struct Symbols(Vec<Image>);

impl Symbols {
    /// Reads the files.
    pub(crate) fn read(vmlinux: Option<&Path>, modules: &[PathBuf]) -> Result<Self, SymbolsError> {
        let kernel = vmlinux.map(|path| Image::read(path, None)).into_iter();
        let modules = modules.iter().map(|path| Image::read(path, Some(module_name(path))));
        Ok(Self(kernel.chain(modules).collect::<Result<_, _>>()?))
    }
}

/// `snd-hda-intel.ko.debug` is the module `snd_hda_intel`.
fn module_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.split(".ko").next().unwrap_or("").replace('-', "_")
}

impl Sources for Symbols {
    fn lines(&self, spot: &Spot<'_>, kernel: Option<&str>) -> Vec<String> {
        let is_its =
            |image: &&Image| image.module.as_deref() == spot.module && image.other_release(kernel).is_none();
        let images = self.0.iter().filter(is_its);
        images.filter_map(|image| image.lines(spot)).next().unwrap_or_default()
    }

    fn notes(&self, spots: &[Spot<'_>], kernel: Option<&str>) -> Vec<String> {
        self.0.iter().filter_map(|image| image.other_kernel(kernel).or_else(|| image.note(spots))).collect()
    }
}

impl Image {
    fn read(path: &Path, module: Option<String>) -> Result<Self, SymbolsError> {
        let bytes = fs::read(path).map_err(|source| SymbolsError::Read { path: path.into(), source })?;
        let format = |what: String| SymbolsError::Format {
            path: path.into(),
            what,
            expected: "a whole ELF file: vmlinux or a module, uncompressed",
        };
        let wrong = |error: object::Error| match FileFormat::of(&bytes) {
            _ if bytes.starts_with(b"\x7fELF") => format(format!("cut off or damaged ({error})")),
            Some(known) => format(known.name.into()),
            None => format(format!("no object file ({error})")),
        };
        let file = object::File::parse(bytes.as_slice()).map_err(wrong)?;
        let places = places(&file);
        let functions = functions(&file, &places);
        let release = release(&file, module.is_some());
        if file.section_by_name(".debug_info").is_none() {
            return Err(SymbolsError::Bare { path: path.into() });
        }
        let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
        let load = |id: gimli::SectionId| -> Result<Reader, object::Error> {
            let section = file.section_by_name(id.name());
            let data = section.map(|section| relocated(&file, &section, &places)).transpose()?;
            Ok(EndianArcSlice::new(Arc::from(data.unwrap_or_default()), endian))
        };
        let dwarf = gimli::Dwarf::load(load).map_err(wrong)?;
        let lines = Context::from_dwarf(dwarf).map_err(|error| {
            format(format!("an object file whose debugging information can't be read ({error})"))
        })?;
        Ok(Self { path: path.into(), module, release, functions, lines })
    }

    /// The places of a spot, the innermost inlined function first. `None` if it has no such
    /// function, or one of another size: then it is another build's, whose lines would be wrong.
    fn lines(&self, spot: &Spot<'_>) -> Option<Vec<String>> {
        let known = self.functions.get(spot.function)?;
        let mut of_size = known.iter().filter(|function| function.is_of_size(spot.size));
        let Function { address, .. } = of_size.next().filter(|_| of_size.next().is_none())?;
        // What is called returns behind its call, which may be another line's.
        let probe = address.wrapping_add(spot.offset).wrapping_sub(u64::from(spot.returns));
        let mut frames = self.lines.find_frames(probe).skip_all_loads().ok()?;
        let mut lines = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let place = frame.location.and_then(|at| Some(place(at.file?, at.line)));
            let name =
                frame.function.as_ref().and_then(|name| name.raw_name().ok()).map(|name| name.into_owned());
            lines.push((name, place?));
        }
        // All but the outermost are inlined.
        let last = lines.len().checked_sub(1)?;
        let line = |(at, (name, place)): (usize, (Option<String>, String))| match name {
            Some(name) if at < last => format!("{place}, in {name}, inlined"),
            _ => place,
        };
        Some(lines.into_iter().enumerate().map(line).collect())
    }

    /// Its kernel's release, if it is another one than that of a report. A function that has the
    /// same size in both may stand on other lines, so it tells none.
    fn other_release(&self, kernel: Option<&str>) -> Option<&str> {
        let own = self.release.as_deref()?;
        kernel.is_some_and(|kernel| kernel != own).then_some(own)
    }

    /// What is to be said if it is of another kernel than the report.
    fn other_kernel(&self, kernel: Option<&str>) -> Option<String> {
        let (own, kernel) = (self.other_release(kernel)?, kernel?);
        let path = self.path.display();
        Some(format!("{path} is of kernel {own}, the report of {kernel}: no lines are told of it"))
    }

    /// What is to be said if no place of the report can be found in it.
    fn note(&self, spots: &[Spot<'_>]) -> Option<String> {
        let whose = match &self.module {
            Some(name) => format!("the module {name}"),
            None => "the kernel's image".to_owned(),
        };
        let path = self.path.display();
        let mut own = spots.iter().filter(|spot| spot.module == self.module.as_deref()).peekable();
        if own.peek().is_none() {
            return Some(format!("{path}: the report names no function of {whose}, which it was taken for"));
        }
        let known: Vec<(&Spot<'_>, &Vec<Function>)> =
            own.filter_map(|spot| Some((spot, self.functions.get(spot.function)?))).collect();
        let is_same = |(spot, functions): &(&Spot<'_>, &Vec<Function>)| {
            functions.iter().any(|function| function.is_of_size(spot.size))
        };
        if known.is_empty() {
            Some(format!(
                "{path} has none of the functions that the report names of {whose}: it is another one's file"
            ))
        } else if !known.iter().any(is_same) {
            Some(format!(
                "{path} has functions that the report names, but of other sizes: it is another build's, so no lines are told of it"
            ))
        } else {
            None
        }
    }
}

/// A place in a source file. The compiler gives line 0 to what it made for no line in particular.
fn place(file: &str, line: Option<u32>) -> String {
    match line.filter(|line| *line != 0) {
        Some(line) => format!("{file}:{line}"),
        None => format!("{file}, of no line of its own"),
    }
}

/// The release of the kernel that a file is of: its banner, or what a module was built for. `None`
/// for files with debugging information only.
fn release(file: &object::File<'_>, is_module: bool) -> Option<String> {
    const LONGEST: u64 = 256;
    let (data, mark) = if is_module {
        (file.section_by_name(".modinfo")?.data().ok()?, "vermagic=")
    } else {
        let banner = file.symbol_by_name("linux_banner")?;
        let section = file.section_by_index(banner.section_index()?).ok()?;
        let end = section.address().saturating_add(section.size());
        let size = end.saturating_sub(banner.address()).min(LONGEST);
        (section.data_range(banner.address(), size).ok()??, "Linux version ")
    };
    let said = data.split(|byte| *byte == 0).find_map(|text| text.strip_prefix(mark.as_bytes()))?;
    let release = String::from_utf8_lossy(said).split_whitespace().next()?.to_owned();
    Some(release)
}

/// The functions of a file.
fn functions(file: &object::File<'_>, places: &HashMap<SectionIndex, u64>) -> HashMap<String, Vec<Function>> {
    let at = |symbol: &object::Symbol<'_, '_>| {
        let base = symbol.section_index().and_then(|index| places.get(&index)).copied().unwrap_or(0);
        base.wrapping_add(symbol.address())
    };
    // What ends a function for the kernel: any symbol with a name, but for the assembler's own.
    let mut starts: HashMap<SectionIndex, Vec<u64>> = HashMap::new();
    for symbol in
        file.symbols().filter(|symbol| !matches!(symbol.kind(), SymbolKind::Section | SymbolKind::File))
    {
        let is_named = symbol.name().is_ok_and(|name| !name.is_empty() && !name.starts_with(['$', '.']));
        if let Some(section) = symbol.section_index().filter(|_| is_named) {
            starts.entry(section).or_default().push(at(&symbol));
        }
    }
    starts.values_mut().for_each(|addresses| addresses.sort_unstable());
    let mut functions: HashMap<String, Vec<Function>> = HashMap::new();
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text) {
        let address = at(&symbol);
        let starts = symbol.section_index().and_then(|section| starts.get(&section));
        let next =
            starts.and_then(|starts| starts.get(starts.partition_point(|start| *start <= address))).copied();
        if let Ok(name) = symbol.name() {
            functions.entry(name.to_owned()).or_default().push(Function {
                address,
                size: symbol.size(),
                next,
            });
        }
    }
    functions
}

/// Where each section of a file that is not linked is put, one behind the other.
fn places(file: &object::File<'_>) -> HashMap<SectionIndex, u64> {
    /// A page, so that no alignment is missed.
    const APART: u64 = 0x1000;
    let mut places = HashMap::new();
    if file.kind() != ObjectKind::Relocatable {
        return places;
    }
    let mut next = APART;
    for section in file.sections() {
        // Debugging information counts from the beginning of its own sections.
        if section.name().is_ok_and(|name| name.starts_with(".debug")) {
            continue;
        }
        places.insert(section.index(), next);
        next = next.saturating_add(section.size()).saturating_add(APART) & !(APART - 1);
    }
    places
}

/// The bytes of a section, uncompressed and with its relocations applied.
fn relocated<'data>(
    file: &object::File<'data>,
    section: &object::Section<'data, '_>,
    places: &HashMap<SectionIndex, u64>,
) -> Result<Vec<u8>, object::Error> {
    let mut data = section.uncompressed_data()?.into_owned();
    if file.kind() != ObjectKind::Relocatable {
        return Ok(data);
    }
    for (offset, relocation) in section.relocations() {
        let RelocationTarget::Symbol(index) = relocation.target() else { continue };
        let symbol = file.symbol_by_index(index)?;
        let base = symbol.section_index().and_then(|index| places.get(&index)).copied().unwrap_or(0);
        let Ok(at) = usize::try_from(offset) else { continue };
        let width = usize::from(relocation.size() / 8).min(8);
        let Some(target) = data.get_mut(at..at.saturating_add(width)) else { continue };
        // In the file's order, the lowest byte at the end or at the beginning.
        if !file.is_little_endian() {
            target.reverse();
        }
        // 32-bit x86 has the addend where the result goes.
        let held = target.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        let implicit = if relocation.has_implicit_addend() { held } else { 0 };
        let value = base
            .wrapping_add(symbol.address())
            .wrapping_add(relocation.addend() as u64)
            .wrapping_add(implicit);
        target.iter_mut().zip(value.to_le_bytes()).for_each(|(target, byte)| *target = byte);
        if !file.is_little_endian() {
            target.reverse();
        }
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_no_line_is_not_told_as_line_0() {
        assert_eq!(place("box.c", Some(3)), "box.c:3");
        for line in [None, Some(0)] {
            assert_eq!(place("box.c", line), "box.c, of no line of its own");
        }
    }
}
