//! What probes are chosen by, of the running kernel: symbols, types, and what may be probed. Each
//! is read once for all probes of a command, when it is asked for first.

use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::ops::Range;

use trapline_trace::{Symbol, Symbols};

use super::btf::{Btf, Function};
use super::spec::Spot;
use super::syscall;
use crate::system::System;

/// The ranges in which the kernel allows no probes, in debugfs.
pub(super) const BLACKLIST: &str = "sys/kernel/debug/kprobes/blacklist";

/// The functions that the kernel's function tracer has a place in; the older place last.
const TRACEABLE: [&str; 2] =
    ["sys/kernel/tracing/available_filter_functions", "sys/kernel/debug/tracing/available_filter_functions"];

/// The running kernel, as far as it was asked about.
pub(crate) struct Kernel<'a> {
    pub(super) system: &'a System,
    pub(super) symbols: &'a Symbols,
    /// The types of the kernel, or why they are not known.
    types: OnceCell<Result<Btf, String>>,
    /// The same with those of a module behind them.
    of_modules: RefCell<HashMap<String, Result<Btf, String>>>,
    /// Where no probe is allowed, and the names of these ranges.
    forbidden: OnceCell<Vec<(Range<u64>, String)>>,
    /// Functions that can be traced, as their lines tell them; `None` if that is not known.
    traceable: OnceCell<Option<HashSet<String>>>,
}

impl<'a> Kernel<'a> {
    /// Nothing was asked yet.
    pub(crate) fn new(system: &'a System, symbols: &'a Symbols) -> Self {
        Self {
            system,
            symbols,
            types: OnceCell::new(),
            of_modules: RefCell::default(),
            forbidden: OnceCell::new(),
            traceable: OnceCell::new(),
        }
    }

    /// Whether a module is loaded.
    pub(super) fn has_module(&self, name: &str) -> bool {
        is_module(self.system, name)
    }

    /// The types of the kernel, and of the module that `spot` is in, or why they are not known.
    pub(super) fn types(&self, spot: &Spot) -> Result<Btf, String> {
        let kernel = self.types.get_or_init(|| {
            let bytes = self.read_types("vmlinux", "the kernel")?;
            Btf::new(bytes).ok_or_else(|| damaged("vmlinux"))
        });
        let Some((_, Some(module), _)) = &spot.function else { return kernel.clone() };
        let kernel = kernel.as_ref().map_err(String::clone)?;
        let mut known = self.of_modules.borrow_mut();
        let read = || {
            let bytes = self.read_types(module, module)?;
            kernel.and(bytes).ok_or_else(|| damaged(module))
        };
        known.entry(module.clone()).or_insert_with(read).clone()
    }

    fn read_types(&self, file: &str, whose: &str) -> Result<Vec<u8>, String> {
        let unknown = |error: io::Error| {
            format!("the types of {whose} can't be read (/sys/kernel/btf/{file}: {error})")
        };
        fs::read(self.system.path("sys/kernel/btf").join(file)).map_err(unknown)
    }

    /// The function at `spot`, or why nothing is known of it.
    pub(super) fn function(&self, types: &Btf, spot: &Spot) -> Result<Function, String> {
        let Some((name, ..)) = &spot.function else {
            return Err("there is no function that is known".into());
        };
        if !spot.is_entry() {
            return Err(format!("this is inside of {name}, where its parameters may be anywhere"));
        }
        let mut function = types
            .function(name)
            .ok_or_else(|| format!("the kernel's type information has no function {name}"))?;
        let mut parameters = syscall::arguments(self.system, types, name);
        parameters.append(&mut function.parameters);
        Ok(Function { parameters, ..function })
    }

    /// The name of the range that the kernel allows no probes in and that `address` is in
    /// (kernel/kprobes.c, `kprobe_blacklist_seq_show`).
    pub(super) fn forbidden(&self, address: u64) -> Option<&str> {
        let ranges = self.forbidden.get_or_init(|| {
            let list = self.system.read(BLACKLIST).unwrap_or_default();
            list.lines().filter_map(range).collect()
        });
        let found = ranges.iter().find(|(range, _)| range.contains(&address));
        found.map(|(_, name)| name.as_str())
    }

    /// Whether the function tracer has a place in `symbol`, which is what the kernel's own probe
    /// events ask for; so if that is not known.
    pub(super) fn is_traceable(&self, symbol: &Symbol<'_>) -> bool {
        let traceable = self.traceable.get_or_init(|| {
            let list = TRACEABLE.into_iter().find_map(|path| self.system.read(path).ok());
            list.filter(|list| !list.is_empty()).map(|list| list.lines().map(str::to_owned).collect())
        });
        let Some(known) = traceable else { return true };
        let is_known = |name: &str, module: Option<&str>| match module {
            Some(module) => known.contains(&format!("{name} [{module}]")),
            None => known.contains(name),
        };
        // Of several names for one address the tracer tells the first.
        is_known(symbol.name, symbol.module)
            || self.symbols.resolve(symbol.address).is_some_and(|site| is_known(site.function, site.module))
    }
}

/// Whether a module is loaded.
pub(super) fn is_module(system: &System, name: &str) -> bool {
    !name.is_empty() && system.path("sys/module").join(name.replace('-', "_")).exists()
}

fn damaged(file: &str) -> String {
    format!("/sys/kernel/btf/{file} is damaged")
}

/// `0xffffffff81000200-0xffffffff81000280\tkprobe_handler`.
fn range(line: &str) -> Option<(Range<u64>, String)> {
    let (range, name) = line.split_once(|c: char| c.is_whitespace())?;
    let (start, end) = range.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    Some((hex(start)?..hex(end)?, name.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::btf;
    use super::*;
    use crate::system::tests::with;

    #[test]
    fn each_file_of_the_kernels_is_read_once_for_all_places() {
        let (root, system) = with(&[
            ("proc/kallsyms", "ffffffff81000000 T read_it\nffffffffc0400000 t of_module\t[r8169]\n"),
            (BLACKLIST, "0xffffffff81000200-0xffffffff81000280\tkprobe_handler\n"),
            (TRACEABLE[0], "read_it\n"),
            ("sys/kernel/btf/x", ""),
        ]);
        let base = btf::tests::kernel();
        fs::write(system.path("sys/kernel/btf/vmlinux"), base.bytes()).unwrap();
        fs::write(system.path("sys/kernel/btf/r8169"), base.continued().bytes()).unwrap();
        let symbols = Symbols::load(&system.path("proc")).unwrap();
        let kernel = Kernel::new(&system, &symbols);
        let told = || {
            let functions: Vec<Symbol<'_>> = symbols.all().collect();
            let types = functions.iter().map(|function| kernel.types(&Spot::of(function)).is_ok());
            let traceable = functions.iter().map(|function| kernel.is_traceable(function));
            let forbidden = kernel.forbidden(0xffff_ffff_8100_0210).map(str::to_owned);
            (types.collect::<Vec<_>>(), traceable.collect::<Vec<_>>(), forbidden)
        };
        let expected = (vec![true, true], vec![true, false], Some("kprobe_handler".to_owned()));
        assert_eq!(told(), expected);
        fs::remove_dir_all(root.path().join("sys")).unwrap();
        assert_eq!(told(), expected);
        assert!(Kernel::new(&system, &symbols).types(&Spot::of(&symbols.all().next().unwrap())).is_err());
    }
}
