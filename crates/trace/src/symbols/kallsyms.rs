//! Lines of `/proc/kallsyms`, and what they tell of the kernel as a whole.

/// Where the kernel's own code lies. From 7.2 or so on (7.3 was seen), kallsyms gives what is data
/// the type of code.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KernelCode {
    /// The end of what stays: `_etext`.
    end: Option<u64>,
    /// What it began with and has freed, of which the type is the better guess: `_sinittext` to
    /// `__init_end`. Functions that nothing calls in a kernel without modules are there too.
    init: (u64, u64),
}

impl KernelCode {
    pub(super) fn of<'a>(lines: impl Iterator<Item = (u64, bool, &'a str, Option<&'a str>)>) -> Self {
        let mut code = Self::default();
        for (address, _, name, module) in lines {
            match (name, module) {
                ("_etext", None) => code.end = Some(address),
                ("_sinittext", None) => code.init.0 = address,
                ("__init_end", None) => code.init.1 = address,
                _ => {}
            }
        }
        code
    }

    /// Whether code may be there. All may be where no table tells an end.
    pub(super) fn may_hold(&self, address: u64) -> bool {
        self.end.is_none_or(|end| address < end) || (self.init.0..self.init.1).contains(&address)
    }
}

/// Whether what kallsyms tells as a module is code that the kernel made as it ran: trampolines of
/// ftrace, pages of kprobes' (`__builtin__ftrace`, `__builtin__kprobes`), programs of BPF.
pub(super) fn is_made(module: &str) -> bool {
    module.starts_with("__builtin__") || module == "bpf"
}

/// `ffffffffc0401230 t nvme_probe\t[nvme]` (kernel/kallsyms.c, `s_show`): address, whether it is
/// code, name, module; unless its address is hidden.
pub(super) fn symbol_line(line: &str) -> Option<(u64, bool, &str, Option<&str>)> {
    let mut words = line.split_whitespace();
    let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
    let is_code = matches!(kind, "t" | "T" | "w" | "W");
    let address = u64::from_str_radix(address, 16).ok().filter(|address| *address != 0)?;
    let module = words.next().and_then(|word| word.strip_prefix('[')?.strip_suffix(']'));
    Some((address, is_code, name, module))
}
