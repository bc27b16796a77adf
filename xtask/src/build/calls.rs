//! Which functions of a kernel module call which, as its machine code has it.
//!
//! Calls through pointers are not among them: those of the trap path are the handlers of others,
//! whom a guard is for. An address that is only taken counts as a call, so that a function that is
//! handed over is not overlooked.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::exec;

/// Where code is told from data for two mitigations at once: `static_cpu_has()` jumps there, and
/// from there back into the function that it came from. It is no function.
const ALTERNATIVES: &str = ".altinstr_aux";

/// A function of the module, by its number in [`Calls`].
type Number = usize;

#[derive(Debug)]
struct Function {
    section: String,
    start: u64,
    name: String,
    /// Bytes of stack that it takes for itself: see [`taken`].
    frame: u64,
    references: Vec<Reference>,
}

/// What an instruction names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reference {
    /// A place in a section of the module.
    Place(String, u64),
    /// A symbol: a function of this module or of the kernel, or data.
    Symbol(String),
}

/// The calls of a module.
#[derive(Debug)]
pub struct Calls {
    functions: Vec<Function>,
    /// By section and address.
    places: BTreeMap<(String, u64), Number>,
    /// Files of C may each have a function of one name.
    names: HashMap<String, Vec<Number>>,
}

/// A way through calls, and the stack that it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Bytes, of all functions on the way together.
    pub bytes: u64,
    /// The functions, from the first on.
    pub way: Vec<String>,
}

/// What can be reached by calls.
#[derive(Debug, Default)]
pub struct Reached {
    /// The functions of the module, each with the way there, from the first on.
    pub own: BTreeMap<String, Vec<String>>,
    /// What is not the module's own, and the functions that call it.
    pub foreign: BTreeMap<String, BTreeSet<String>>,
}

impl Calls {
    /// Reads a module.
    pub fn of(module: &Path) -> Result<Self> {
        let text = exec::output(Command::new("objdump").args(["-dr", "--no-show-raw-insn"]).arg(module))?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let mut functions: Vec<Function> = Vec::new();
        let mut section = String::new();
        // Of the last instruction: a relocation below it says where it really leads.
        let mut unsure = false;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("Disassembly of section ") {
                section = name.trim_end_matches(':').to_owned();
            } else if let Some((start, name)) = header(line) {
                let name = name.to_owned();
                let section = section.clone();
                functions.push(Function { section, start, name, frame: 0, references: Vec::new() });
                unsure = false;
            } else if let Some(function) = functions.last_mut() {
                function.frame += taken(line);
                if let Some(reference) = relocation(line) {
                    if std::mem::take(&mut unsure) {
                        function.references.pop();
                    }
                    function.references.push(reference);
                } else {
                    let target = branch(line);
                    unsure = target.is_some();
                    function.references.extend(target.map(|at| Reference::Place(section.clone(), at)));
                }
            }
        }
        functions.retain(|function| function.section != ALTERNATIVES);
        let numbered = || functions.iter().enumerate();
        let places = numbered().map(|(n, f)| ((f.section.clone(), f.start), n)).collect();
        let mut names = HashMap::<String, Vec<Number>>::new();
        numbered().for_each(|(n, f)| names.entry(f.name.clone()).or_default().push(n));
        Self { functions, places, names }
    }

    /// Each function with the bytes of stack that it takes for itself, the greatest first.
    pub fn frames(&self) -> Vec<(&str, u64)> {
        let mut frames: Vec<_> = self.functions.iter().map(|f| (f.name.as_str(), f.frame)).collect();
        frames.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        frames
    }

    /// The way through calls from one of `from` that takes the most stack. A function that calls
    /// itself, by others or not, counts once.
    ///
    /// # Errors
    /// One of `from` is not in the module.
    pub fn deepest(&self, from: &[&str], follows: impl Fn(&str, &str) -> bool) -> Result<Depth> {
        let mut known = vec![None; self.functions.len()];
        let mut deepest = Depth::default();
        for &name in from {
            for &number in self.named(name)? {
                let depth = self.depth(number, &follows, &mut known);
                deepest = if depth.bytes > deepest.bytes { depth } else { deepest };
            }
        }
        Ok(deepest)
    }

    fn depth(
        &self,
        number: Number,
        follows: &impl Fn(&str, &str) -> bool,
        known: &mut [Option<Depth>],
    ) -> Depth {
        if let Some(depth) = &known[number] {
            return depth.clone();
        }
        // What is on the way already leads no deeper.
        known[number] = Some(Depth::default());
        let function = &self.functions[number];
        let mut below = Depth::default();
        for next in function.references.iter().flat_map(|reference| self.targets(reference)) {
            if follows(&function.name, &self.functions[next].name) {
                let depth = self.depth(next, follows, known);
                below = if depth.bytes > below.bytes { depth } else { below };
            }
        }
        // A call puts the address to return to on the stack.
        let bytes = function.frame + 8 + below.bytes;
        let depth = Depth { bytes, way: [vec![function.name.clone()], below.way].concat() };
        known[number] = Some(depth.clone());
        depth
    }

    fn named(&self, name: &str) -> Result<&[Number]> {
        let numbers = self.names.get(name);
        numbers.map(Vec::as_slice).with_context(|| format!("the module has no function `{name}`"))
    }

    /// All that these functions call, and what that calls; `follows` is asked of each call whether
    /// it counts, with the names of who calls and who is called.
    ///
    /// # Errors
    /// One of `from` is not in the module.
    pub fn reached(&self, from: &[&str], follows: impl Fn(&str, &str) -> bool) -> Result<Reached> {
        let mut reached = Reached::default();
        let mut left = Vec::new();
        for &name in from {
            left.extend(self.named(name)?.iter().map(|&number| (number, vec![name.to_owned()])));
        }
        let mut seen = BTreeSet::new();
        while let Some((number, way)) = left.pop() {
            if !seen.insert(number) {
                continue;
            }
            let function = &self.functions[number];
            for reference in &function.references {
                let targets = self.targets(reference);
                if let (Reference::Symbol(name), []) = (reference, &targets[..]) {
                    reached.foreign.entry(name.clone()).or_default().insert(function.name.clone());
                }
                for next in targets {
                    let name = &self.functions[next].name;
                    if follows(&function.name, name) {
                        left.push((next, [&way[..], std::slice::from_ref(name)].concat()));
                    }
                }
            }
            reached.own.insert(function.name.clone(), way);
        }
        Ok(reached)
    }

    /// What of the module it names: of a name, all that have it.
    fn targets(&self, reference: &Reference) -> Vec<Number> {
        match reference {
            Reference::Symbol(name) => self.names.get(name).cloned().unwrap_or_default(),
            Reference::Place(section, at) => {
                let before = self.places.range(..=(section.clone(), *at)).next_back();
                before.filter(|((of, _), _)| of == section).map(|(_, number)| *number).into_iter().collect()
            }
        }
    }
}

/// The bytes of stack that an instruction takes: `push`, and `sub $0x40,%rsp`. What stands on more
/// than one way through a function is counted for each, so a sum of these is never too small; a
/// frame that is taken page by page is written as often as it has pages.
fn taken(line: &str) -> u64 {
    let Some((_, instruction)) = line.split_once(":\t") else { return 0 };
    let (mnemonic, operands) = instruction.split_once(' ').unwrap_or((instruction, ""));
    match (mnemonic, operands.trim().strip_suffix(",%rsp")) {
        ("push" | "pushf", _) => 8,
        ("sub", Some(number)) => number
            .strip_prefix("$0x")
            .and_then(|number| u64::from_str_radix(number, 16).ok())
            .unwrap_or_default(),
        _ => 0,
    }
}

/// `0000000000000010 <name>:`
fn header(line: &str) -> Option<(u64, &str)> {
    let (start, name) = line.strip_suffix(">:")?.split_once(" <")?;
    Some((u64::from_str_radix(start, 16).ok()?, name))
}

/// `  1f: R_X86_64_PLT32  name-0x4`: what a call names, or another instruction that names code.
fn relocation(line: &str) -> Option<Reference> {
    let (_, relocation) = line.trim().split_once(": R_X86_64_")?;
    let (kind, value) = relocation.split_once(char::is_whitespace)?;
    let value = value.trim();
    let (name, addend) = match value.rfind(['+', '-']) {
        Some(at) if value[at + 1..].starts_with("0x") => {
            let number = i64::from_str_radix(&value[at + 3..], 16).ok()?;
            (&value[..at], if value[at..].starts_with('-') { -number } else { number })
        }
        _ => (value, 0),
    };
    // Relative ones count from the end of the instruction's last four bytes.
    let at = addend + if matches!(kind, "PLT32" | "PC32") { 4 } else { 0 };
    let is_section = name.starts_with('.');
    let is_code = name.starts_with(".text") || [".noinstr.text", ".init.text", ".exit.text"].contains(&name);
    match (kind, is_section) {
        (_, true) if is_code => Some(Reference::Place(name.to_owned(), u64::try_from(at).ok()?)),
        (_, true) => None,
        // Data is named by others: only calls and jumps go by a PLT's kind.
        ("PLT32", false) => Some(Reference::Symbol(name.to_owned())),
        _ => None,
    }
}

/// Where a call or a jump in `  1e: call   40 <name+0x10>` leads, within its section.
fn branch(line: &str) -> Option<u64> {
    let (_, instruction) = line.split_once(":\t")?;
    let (mnemonic, rest) = instruction.split_once(' ')?;
    let branches = mnemonic == "call" || mnemonic.starts_with('j');
    let (at, _) = rest.trim_start().split_once(" <")?;
    if branches { u64::from_str_radix(at, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = "
Disassembly of section .text:

0000000000000000 <first>:
   0:\tpush   %rbx
   1:\tcall   6 <first+0x6>
\t\t\t2: R_X86_64_PLT32\tmutex_lock-0x4
   6:\tcall   b <first+0xb>
\t\t\t7: R_X86_64_PLT32\t.text+0x1c
   b:\tjne    0 <first>
   d:\tlea    0x0(%rip),%rdi
\t\t\t10: R_X86_64_PC32\t.data-0x4

0000000000000020 <second>:
  20:\tjmp    30 <third>

0000000000000030 <third>:
  30:\tjmp    35 <third+0x5>
\t\t\t31: R_X86_64_PLT32\t__x86_return_thunk-0x4
";

    #[test]
    fn calls_are_followed_by_what_is_written_into_them_later() {
        let reached = Calls::parse(MODULE).reached(&["first"], |_, _| true).unwrap();
        assert_eq!(reached.own.keys().collect::<Vec<_>>(), ["first", "second", "third"]);
        assert_eq!(reached.own["third"], ["first", "second", "third"]);
        assert_eq!(reached.foreign.keys().collect::<Vec<_>>(), ["__x86_return_thunk", "mutex_lock"]);
    }

    #[test]
    fn the_deepest_way_counts_frames_and_returns_and_ends_where_functions_call_each_other() {
        let text = "
Disassembly of section .text:

0000000000000000 <first>:
   0:\tpush   %rbx
   1:\tsub    $0x40,%rsp
   5:\tcall   20 <second>
   a:\tcall   40 <third>

0000000000000020 <second>:
  20:\tsub    $0x10,%rsp
  24:\tjmp    0 <first>

0000000000000040 <third>:
  40:\tsub    $0x1000,%rsp
  47:\tsub    $0x20,%rsp
  4b:\tadd    $0x1020,%rsp
";
        let calls = Calls::parse(text);
        assert_eq!(calls.frames(), [("third", 0x1020), ("first", 0x48), ("second", 0x10)]);
        let whole = calls.deepest(&["first"], |_, _| true).unwrap();
        assert_eq!(whole, Depth { bytes: 0x48 + 8 + 0x1020 + 8, way: vec!["first".into(), "third".into()] });
        let without = calls.deepest(&["first"], |_, called| called != "third").unwrap();
        assert_eq!(without.bytes, 0x48 + 8 + 0x10 + 8);
    }

    #[test]
    fn a_call_that_does_not_count_is_not_followed_and_an_unknown_function_is_named() {
        let calls = Calls::parse(MODULE);
        let reached = calls.reached(&["first"], |_, called| called != "third").unwrap();
        assert_eq!(reached.own.keys().collect::<Vec<_>>(), ["first", "second"]);
        assert!(calls.reached(&["fourth"], |_, _| true).unwrap_err().to_string().contains("`fourth`"));
    }
}
