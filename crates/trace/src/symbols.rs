//! Kernel addresses become functions: `/proc/kallsyms`, with the limits of the modules from
//! `/proc/modules`.
//!
//! Modules come and go while one traces (a driver that is bound on demand is the usual case), so
//! the table is refreshed when the list of modules changed, and functions of modules that are gone
//! stay known unless something else took their place.
//!
//! `blazesym` was looked at and not used: its kernel resolver reads kallsyms once and has no way to
//! keep what a module left behind, and what is left of the job is one sorted table.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::Site;
use kallsyms::{KernelCode, is_made, symbol_line};
use modules::{Listed, Module};
use recent::{Found, Recent};

mod kallsyms;
mod modules;
mod recent;

/// No function is this long: an address further from the function before it belongs to none.
const LONGEST: u64 = 1 << 20;
/// Nor is code that the kernel made, whose end nobody tells, longer than this: it lies among the
/// modules, and one that is loaded behind it is not its.
const LONGEST_MADE: u64 = 1 << 12;

/// How often `/proc/kallsyms` is read if modules come and go meanwhile.
const TRIES: usize = 4;

/// The functions of the running kernel, by address.
#[derive(Debug, Default)]
pub struct Symbols {
    proc: PathBuf,
    /// Modules that are loaded.
    loaded: Vec<Module>,
    /// Modules that are gone, where nothing else is now.
    gone: Vec<Module>,
    /// Functions, sorted by address.
    functions: Vec<Entry>,
    /// Everything else that has a name and an address, sorted by address.
    objects: Vec<Entry>,
    /// All names, one after the other.
    names: String,
    modules: Vec<String>,
    recent: Recent,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    address: u64,
    name: (u32, u32),
    /// Index into `modules`.
    module: Option<u32>,
}

/// Something of the kernel that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Its name.
    pub name: &'a str,
    /// Module, `None` for the kernel proper.
    pub module: Option<&'a str>,
    /// Its first byte.
    pub address: u64,
    /// Bytes to the next one: the kernel keeps no sizes (`get_symbol_pos`). `None` if there is no
    /// next one.
    pub size: Option<u64>,
    /// Whether it is code.
    pub is_code: bool,
}

impl Symbols {
    /// The table of the system whose proc file system is at `proc` (`/proc`).
    ///
    /// Without root, or with `kernel.kptr_restrict`, all addresses read as 0: such a table
    /// [`is_empty`](Self::is_empty) and names nothing.
    ///
    /// # Errors
    /// If `kallsyms` or `modules` can't be read. A kernel without modules has no `modules`; that is
    /// no error.
    pub fn load(proc: &Path) -> io::Result<Self> {
        let mut symbols = Self { proc: proc.into(), ..Self::default() };
        let loaded = symbols.read_modules()?;
        symbols.reload(loaded)?;
        Ok(symbols)
    }

    /// Whether nothing can be named: addresses are hidden from this user.
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// Reads the table again if modules came or went since; whether it did. Else it has only read
    /// `/proc/modules`.
    ///
    /// # Errors
    /// As for [`load`](Self::load); the table is then as before.
    pub fn refresh(&mut self) -> io::Result<bool> {
        let loaded = self.read_modules()?;
        if loaded.iter().eq(self.loaded.iter().map(|module| &module.listed)) {
            return Ok(false);
        }
        self.reload(loaded)?;
        Ok(true)
    }

    /// The function that `ip` lies in.
    pub fn resolve(&self, ip: u64) -> Option<Site<'_>> {
        let (function, offset) = self.recent.get(ip, |ip| self.find(ip))?;
        let function = &self.functions[function as usize];
        Some(Site { function: self.name(function), offset, module: self.module(function) })
    }

    fn find(&self, ip: u64) -> Found {
        let after = self.functions.partition_point(|function| function.address <= ip);
        let last = self.functions.get(after.checked_sub(1)?)?;
        // Of several names for one address, the first in kallsyms.
        let first = self.functions.partition_point(|function| function.address < last.address);
        let function = &self.functions[first];
        let offset = ip - function.address;
        // Behind the last function of a module lies what belongs to nobody, or to one that is gone.
        let own =
            |module: &&Module| Some(module.name()) == self.module(function) && module.holds(function.address);
        let whose = self.loaded.iter().find(own).or_else(|| self.gone.iter().find(own));
        if offset >= self.longest(function) || whose.is_some_and(|module| !module.holds(ip)) {
            return None;
        }
        Some((first as u32, offset))
    }

    /// `address` as the kernel's `%pS` prints it, `vfs_read+0x4/0x180 [module]`, also one of data;
    /// `None` if it is no symbol's.
    pub fn describe(&self, address: u64) -> Option<String> {
        // Offsets into the per-CPU areas have names too, which no address has.
        if (address as i64) >= 0 {
            return None;
        }
        let last = |entries: &[Entry]| {
            let after = entries.partition_point(|entry| entry.address <= address);
            let address = entries.get(after.checked_sub(1)?)?.address;
            Some(entries[entries.partition_point(|entry| entry.address < address)])
        };
        let (code, data) = (last(&self.functions), last(&self.objects));
        let found = match (code, data) {
            (Some(code), Some(data)) if data.address > code.address => data,
            (code, data) => code.or(data)?,
        };
        let offset = address - found.address;
        let size = self.size(&found)?;
        if offset >= size.min(self.longest(&found)) {
            return None;
        }
        let module = self.module(&found).map(|module| format!(" [{module}]")).unwrap_or_default();
        Some(format!("{}+{offset:#x}/{size:#x}{module}", self.name(&found)))
    }

    /// Where the code of a module lies that is loaded: from its first function to the end of the
    /// page of its last one. What it began with and may have freed is not meant.
    pub fn code_of(&self, module: &str) -> Option<Range<u64>> {
        let module = self.loaded.iter().find(|known| known.name() == module)?;
        let after = self.functions.partition_point(|function| function.address < module.listed.base);
        let own = |function: &&Entry| {
            self.module(function) == Some(module.name()) && module.holds(function.address)
        };
        let first = self.functions[after..].iter().find(own)?;
        Some(first.address..module.occupied).filter(|code| !code.is_empty())
    }

    /// Everything called `name`: several modules, and several files of one, may have a static
    /// function of one name.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Symbol<'a>> {
        self.all().filter(move |symbol| symbol.name == name).map(|symbol| self.measured(symbol))
    }

    /// The function that `address` lies in, as [`resolve`](Self::resolve) finds it.
    pub fn function(&self, address: u64) -> Option<Symbol<'_>> {
        let Site { function, offset, module } = self.resolve(address)?;
        let symbol = Symbol { name: function, module, address: address - offset, size: None, is_code: true };
        Some(self.measured(symbol))
    }

    /// All symbols; those of code first. Their sizes are left out.
    pub fn all(&self) -> impl Iterator<Item = Symbol<'_>> {
        let code = self.functions.iter().map(|entry| (entry, true));
        let data = self.objects.iter().map(|entry| (entry, false));
        code.chain(data).map(|(entry, is_code)| Symbol {
            name: self.name(entry),
            module: self.module(entry),
            address: entry.address,
            size: None,
            is_code,
        })
    }

    fn measured<'a>(&self, symbol: Symbol<'a>) -> Symbol<'a> {
        let modules = self.modules.iter().position(|module| Some(module.as_str()) == symbol.module);
        let module = modules.map(|index| index as u32);
        Symbol { size: self.size(&Entry { address: symbol.address, name: (0, 0), module }), ..symbol }
    }

    /// Bytes from `entry` to the next symbol, or to the end of what is known of its module.
    fn size(&self, entry: &Entry) -> Option<u64> {
        let next = |entries: &[Entry]| {
            let after = entries.partition_point(|other| other.address <= entry.address);
            entries.get(after).filter(|next| next.module == entry.module).map(|next| next.address)
        };
        let end = || {
            let name = self.module(entry)?;
            let module = self.loaded.iter().find(|module| module.name() == name)?;
            Some(module.end()).filter(|end| *end > entry.address)
        };
        let next = next(&self.functions).into_iter().chain(next(&self.objects)).min().or_else(end)?;
        Some(next - entry.address)
    }

    /// How far from its beginning an address may be at most to be its.
    fn longest(&self, entry: &Entry) -> u64 {
        if self.module(entry).is_some_and(is_made) { LONGEST_MADE } else { LONGEST }
    }

    fn name(&self, entry: &Entry) -> &str {
        &self.names[entry.name.0 as usize..entry.name.1 as usize]
    }

    fn module(&self, entry: &Entry) -> Option<&str> {
        entry.module.map(|module| self.modules[module as usize].as_str())
    }

    fn read_modules(&self) -> io::Result<Vec<Listed>> {
        match fs::read_to_string(self.proc.join("modules")) {
            Ok(text) => Ok(text.lines().filter_map(Listed::from_line).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Reads the table, with modules as in `now` or as they have become since.
    fn reload(&mut self, now: Vec<Listed>) -> io::Result<()> {
        let kallsyms = || fs::read_to_string(self.proc.join("kallsyms"));
        let (listed, text) = read_at_rest(now, kallsyms, || self.read_modules())?;
        let lines = || text.lines().filter_map(symbol_line);
        let code = KernelCode::of(lines());
        let lines = || {
            lines().map(|(address, is_code, name, module)| {
                (address, is_code && (module.is_some() || code.may_hold(address)), name, module)
            })
        };
        let loaded = modules::measure(&self.loaded, listed, lines);
        // Of one that is gone no more is kept than what it had in any case: others may be behind.
        let left = |module: &Module| Module { limit: module.occupied, ..module.clone() };
        let mut gone: Vec<Module> = self.gone.drain(..).chain(self.loaded.iter().map(left)).collect();
        gone.retain(|gone| !loaded.iter().any(|now| now.took(gone)));
        gone.sort_by_key(|gone| gone.listed.base);
        gone.dedup();
        let mut fresh = Self { proc: self.proc.clone(), loaded, gone, ..Self::default() };
        for (address, is_code, name, module) in lines() {
            if is_code && module.is_some_and(|module| fresh.is_freed(address, module)) {
                continue;
            }
            let entry = fresh.entry(address, name, module);
            if is_code { fresh.functions.push(entry) } else { fresh.objects.push(entry) }
        }
        // What modules left behind: functions of this table where no module that is loaded now has
        // its own, nor may have it unless the one that left it is known to have been there.
        let is_left = |function: &&Entry| match function.module {
            None => false,
            Some(module) => {
                let name = &self.modules[module as usize];
                let address = function.address;
                let is_known = fresh.gone.iter().any(|gone| gone.name() == name && gone.holds(address));
                let took = |now: &Module| {
                    now.name() == name || now.occupies(address) || (now.holds(address) && !is_known)
                };
                !is_made(name) && !fresh.loaded.iter().any(took)
            }
        };
        let left: Vec<Entry> = self.functions.iter().filter(is_left).copied().collect();
        for function in left {
            let entry = fresh.entry(function.address, self.name(&function), self.module(&function));
            fresh.functions.push(entry);
        }
        // Stable: kallsyms' order decides between names for one address.
        fresh.functions.sort_by_key(|function| function.address);
        fresh.objects.sort_by_key(|object| object.address);
        *self = fresh;
        Ok(())
    }

    /// Whether code that `module` began with was at `address`, and another module is there now, or
    /// was and is gone: ftrace keeps its names (kernel/trace/ftrace.c, `ftrace_mod_get_kallsym()`).
    fn is_freed(&self, address: u64, module: &str) -> bool {
        let may_have = |one: &Module| one.name() == module && (one.holds(address) || !one.listed.is_live);
        let is_others = |other: &Module| other.name() != module && other.holds(address);
        !is_made(module)
            && !self.loaded.iter().any(may_have)
            && self.loaded.iter().chain(&self.gone).any(is_others)
    }

    fn entry(&mut self, address: u64, name: &str, module: Option<&str>) -> Entry {
        // Symbols of one module follow each other, so the last is nearly always the one.
        let module = module.map(|module| {
            let known = self.modules.iter().rposition(|known| known == module);
            known.unwrap_or_else(|| {
                self.modules.push(module.into());
                self.modules.len() - 1
            }) as u32
        });
        let start = self.names.len() as u32;
        self.names.push_str(name);
        Entry { address, name: (start, self.names.len() as u32), module }
    }
}

/// What `read` gives, and what `modules` were before and after that: `now`, or what they have
/// become since.
///
/// The kernel finds its place in `/proc/kallsyms` again by number, so symbols are left out or told
/// twice if a module comes, goes, or frees what it began with meanwhile. After the last try what is
/// returned may not be what `modules` gives now, which the next refresh sees.
fn read_at_rest(
    mut now: Vec<Listed>,
    read: impl Fn() -> io::Result<String>,
    modules: impl Fn() -> io::Result<Vec<Listed>>,
) -> io::Result<(Vec<Listed>, String)> {
    for _ in 1..TRIES {
        let text = read()?;
        let after = modules()?;
        if after == now {
            return Ok((now, text));
        }
        now = after;
    }
    let text = read()?;
    Ok((now, text))
}

#[cfg(test)]
mod tests;
