//! Where to probe, found in the running kernel.

use std::fmt;

use trapline_trace::{Symbol, Symbols};

use super::kernel::{BLACKLIST, Kernel};
use super::names::list;
use super::syscall;
use super::target::Target;
use crate::args::MOST_PLACES;
use crate::mistake::Mistake;
use crate::nearest::{SUGGESTIONS, nearest, suggestion};

/// Our own module, in which nothing can be probed: its code runs while a probe is served.
pub(super) const OWN: &str = "trapline";

/// An instruction to probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// What it is called: as a person named it.
    pub(super) name: String,
    /// Where it is.
    pub(super) address: u64,
    /// The function it is in: its name, module and first instruction. `None` for an address that is
    /// in none that is known.
    pub(super) function: Option<(String, Option<String>, u64)>,
}

impl Spot {
    /// Whether a function begins there.
    ///
    /// With indirect branch tracking on, its first instruction is `endbr64`, of 4 bytes, and the
    /// kernel puts a probe of the function behind that (`arch_adjust_kprobe_addr`).
    pub(super) fn is_entry(&self) -> bool {
        self.function.as_ref().is_some_and(|(_, _, start)| self.address == *start)
    }

    /// At the first instruction of a function, called as a person would name it.
    pub(super) fn of(function: &Symbol<'_>) -> Self {
        let name = match function.module {
            Some(module) => format!("{module}:{}", function.name),
            None => function.name.to_owned(),
        };
        Self { name, address: function.address, function: Some(owned(*function)) }
    }
}

/// Name, module and address.
fn owned(symbol: Symbol<'_>) -> (String, Option<String>, u64) {
    (symbol.name.to_owned(), symbol.module.map(str::to_owned), symbol.address)
}

/// Why there is no such place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpecError {
    /// It can't be understood.
    #[error(transparent)]
    Malformed(#[from] Mistake),
    /// Nobody has that name.
    #[error("the kernel has no function `{name}`{}: {hint}", of(.module))]
    NoSymbol {
        /// What was asked for.
        name: String,
        /// In which module.
        module: Option<String>,
        /// What it may be instead.
        hint: String,
    },
    /// A module that is not there.
    #[error("no module `{module}` is loaded{}", .near.as_deref().map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
    NoModule {
        /// What was asked for.
        module: String,
        /// One with such a name.
        near: Option<String>,
    },
    /// It is data.
    #[error(
        "`{name}` is data at {address:#x}, not code: only instructions can be probed (a value there can be fetched: @{name})"
    )]
    NotCode {
        /// Its name.
        name: String,
        /// Where it is.
        address: u64,
    },
    /// Several functions have that name.
    #[error(
        "`{name}` is the name of several functions:{list}\nname the module (MODULE:{name}), or one of the addresses"
    )]
    Ambiguous {
        /// The name.
        name: String,
        /// The functions, one a line.
        list: String,
    },
    /// The offset is not in the function.
    #[error("`{name}` has {size:#x} bytes of code: +{offset:#x} is past its end")]
    PastEnd {
        /// The function.
        name: String,
        /// Its size.
        size: u64,
        /// What was asked for.
        offset: u64,
    },
    /// The kernel says no.
    #[error(
        "the kernel allows no probe in `{name}`: it is on the list of code that the handling of probes itself needs, or that runs where no breakpoint may be \
         ({BLACKLIST}); probe one of its callers"
    )]
    Blacklisted {
        /// The function.
        name: String,
    },
    /// A pattern that nothing is like.
    #[error("`{pattern}` matches no function{}: {hint}", of(.module))]
    NoMatch {
        /// What was asked for.
        pattern: String,
        /// In which module.
        module: Option<String>,
        /// What it may be instead.
        hint: String,
    },
    /// A pattern of nothing that could be probed.
    #[error("nothing that `{pattern}` matches can be probed:{why}")]
    NoneLeft {
        /// What was asked for.
        pattern: String,
        /// Why, a line each.
        why: String,
    },
    /// More than is good for a machine by mistake.
    #[error(
        "`{patterns}` would be {count} functions ({examples}), and {at_most} are probed at most: narrow the pattern, to a module as in \
         MODULE:PATTERN{}", allow(*count)
    )]
    TooMany {
        /// What was asked for.
        patterns: String,
        /// How many functions that is.
        count: usize,
        /// Some of them.
        examples: String,
        /// The limit.
        at_most: u32,
    },
    /// It is in Trapline.
    #[error("`{name}` is in Trapline's own module: a probe there would be hit while a probe is served")]
    Own {
        /// The function.
        name: String,
    },
}

/// The option that allows so many functions, if one does.
fn allow(count: usize) -> String {
    if count <= MOST_PLACES as usize {
        format!(", or allow so many: --at-most {count}")
    } else {
        String::new()
    }
}

fn of(module: &Option<String>) -> String {
    module.as_deref().map(|module| format!(" in module {module}")).unwrap_or_default()
}

/// Finds the place `text` among `symbols`.
///
/// # Errors
/// Everything that can be told without asking the kernel to put a probe there.
pub(super) fn resolve(kernel: &Kernel<'_>, text: &str) -> Result<Spot, SpecError> {
    let (address, function) = match Target::parse(text)? {
        Target::Address(address) => (address, kernel.symbols.function(address)),
        Target::Symbol { module, name, offset } => {
            let function = find(kernel, module, name)?;
            if let Some(size) = function.size.filter(|size| offset >= *size) {
                return Err(SpecError::PastEnd { name: name.into(), size, offset });
            }
            (function.address.wrapping_add(offset), Some(function))
        }
    };
    if function.is_some_and(|function| function.module == Some(OWN)) {
        return Err(SpecError::Own { name: text.into() });
    }
    if let Some(name) = kernel.forbidden(address) {
        return Err(SpecError::Blacklisted { name: name.into() });
    }
    Ok(Spot { name: text.into(), address, function: function.map(owned) })
}

/// The one function called `name`.
fn find<'a>(kernel: &Kernel<'a>, module: Option<&str>, name: &'a str) -> Result<Symbol<'a>, SpecError> {
    let symbols = kernel.symbols;
    // A module's name in kallsyms has underscores for dashes.
    let module = module.map(|module| module.replace('-', "_"));
    let wanted = |symbol: &Symbol<'_>| module.is_none() || symbol.module == module.as_deref();
    let name = known_as(symbols, name);
    let mut found: Vec<Symbol<'_>> = symbols.named(name).filter(wanted).collect();
    let data = found.iter().find(|symbol| !symbol.is_code).copied();
    found.retain(|symbol| symbol.is_code);
    found.dedup_by_key(|symbol| symbol.address);
    match (&found[..], data) {
        ([one], _) => Ok(*one),
        ([], Some(data)) => Err(SpecError::NotCode { name: name.into(), address: data.address }),
        ([], None) => Err(missing(kernel, module, name)),
        (several, _) => Err(SpecError::Ambiguous { name: name.into(), list: list(several) }),
    }
}

/// What is called `name` here: a system call has another function than the one that it is known by.
pub(super) fn known_as<'a>(symbols: &'a Symbols, name: &'a str) -> &'a str {
    let Some(serves) = syscall::serves(name) else { return name };
    let found = |wanted: &str| symbols.all().map(|symbol| symbol.name).find(|name| *name == wanted);
    found(name).or_else(|| found(&serves)).unwrap_or(name)
}

/// Why there is no module called `module`, if there is none.
pub(super) fn check_module(kernel: &Kernel<'_>, module: &str) -> Result<(), SpecError> {
    if kernel.has_module(module) {
        return Ok(());
    }
    let loaded = kernel.system.list("sys/module");
    let near = nearest(module, loaded.iter().map(String::as_str)).into_iter().next();
    Err(SpecError::NoModule { module: module.into(), near })
}

/// Why there is nothing called `name`.
fn missing(kernel: &Kernel<'_>, module: Option<String>, name: &str) -> SpecError {
    if let Some(error) = module.as_deref().and_then(|module| check_module(kernel, module).err()) {
        return error;
    }
    let inside =
        |symbol: &Symbol<'_>| symbol.is_code && (module.is_none() || symbol.module == module.as_deref());
    let all = || kernel.symbols.all().filter(inside).map(|symbol| symbol.name);
    // What the compiler makes of a function that it changes: vfs_read.part.0, .isra.0,
    // .constprop.0, .cold.
    let made: Vec<&str> =
        all().filter(|other| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))).collect();
    let hint = if made.is_empty() {
        // A system call is known by its name to those who call it.
        let calls = [format!("__x64_sys_{name}"), format!("do_sys_{name}"), format!("ksys_{name}")];
        let mut near: Vec<String> =
            all().filter(|other| calls.iter().any(|call| call == other)).map(str::to_owned).collect();
        near.extend(nearest(name, all()));
        near.dedup();
        near.truncate(SUGGESTIONS);
        let names = suggestion(&near).map(|near| near + " ").unwrap_or_default();
        format!(
            "{names}A function that the source has and the kernel has not is inlined into its callers (probe one of those), a macro, or in a module that is not loaded"
        )
    } else {
        let list = made.join(", ");
        format!("the compiler made others of it, with other parameters perhaps: {list}; or inlined it")
    };
    SpecError::NoSymbol { name: name.into(), module, hint }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.function {
            // The function of a system call, most often.
            Some((function, ..)) if !self.name.contains(function.as_str()) => {
                let is = if self.is_entry() { "which is" } else { "in" };
                write!(f, ", {is} {function}")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::with;

    const KALLSYMS: &str = "\
ffffffff81000000 T vfs_read
ffffffff81000080 t helper
ffffffff81000100 t sift.part.0
ffffffff81000180 T __x64_sys_openat
ffffffff810001c0 t sys_info
ffffffff81000200 T kprobe_handler
ffffffff81000280 T end_of_it
ffffffff82000000 D jiffies
ffffffffc0400000 t helper\t[ext4]
ffffffffc0400100 t ext4_open\t[ext4]
ffffffffc0500000 t trapline_ioctl\t[trapline]
";

    fn try_resolve(text: &str) -> Result<Spot, SpecError> {
        let (_root, system) = with(&[
            ("proc/kallsyms", KALLSYMS),
            ("proc/modules", "ext4 65536 0 - Live 0xffffffffc0400000\n"),
            ("sys/module/ext4/x", ""),
            (BLACKLIST, "0xffffffff81000200-0xffffffff81000280\tkprobe_handler\n"),
        ]);
        let symbols = Symbols::load(&system.path("proc")).unwrap();
        resolve(&Kernel::new(&system, &symbols), text)
    }

    fn error(text: &str) -> String {
        try_resolve(text).unwrap_err().to_string()
    }

    #[test]
    fn every_way_to_name_a_place_is_understood() {
        for (text, address, function) in [
            ("vfs_read", 0xffff_ffff_8100_0000, "vfs_read"),
            ("vfs_read+0x10", 0xffff_ffff_8100_0010, "vfs_read"),
            ("vfs_read+16", 0xffff_ffff_8100_0010, "vfs_read"),
            ("vfs_read+020", 0xffff_ffff_8100_0010, "vfs_read"),
            ("sys_info", 0xffff_ffff_8100_01c0, "sys_info"),
            ("ext4:helper", 0xffff_ffff_c040_0000, "helper"),
            ("ext4:ext4_open+4", 0xffff_ffff_c040_0104, "ext4_open"),
            ("0xffffffff81000084", 0xffff_ffff_8100_0084, "helper"),
            ("sift.part.0", 0xffff_ffff_8100_0100, "sift.part.0"),
        ] {
            let spot = try_resolve(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((spot.name.as_str(), spot.address), (text, address));
            assert_eq!(spot.function.as_ref().unwrap().0, function);
            assert_eq!(spot.is_entry(), !text.contains('+') && !text.starts_with("0x"), "{text}");
            assert_eq!(spot.to_string().ends_with(", in helper"), text.starts_with("0x"), "{text}");
        }
    }

    #[test]
    fn a_system_call_is_found_by_the_name_that_programs_have_for_it() {
        for text in ["sys_openat", "SyS_openat"] {
            let spot = try_resolve(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((spot.address, spot.is_entry()), (0xffff_ffff_8100_0180, true));
            assert_eq!(spot.to_string(), format!("{text}, which is __x64_sys_openat"));
        }
        assert_eq!(try_resolve("sys_openat+4").unwrap().address, 0xffff_ffff_8100_0184);
        assert!(error("sys_opena").contains("did you mean"), "{}", error("sys_opena"));
    }

    #[test]
    fn a_name_that_nobody_has_is_told_with_names_like_it_and_with_what_it_may_be() {
        let text = error("vfs_raed");
        assert!(text.contains("no function `vfs_raed`: did you mean one of: vfs_read?"), "{text}");
        assert!(text.contains("inlined"), "{text}");
        assert!(error("openat").contains("__x64_sys_openat"), "{}", error("openat"));
        assert!(error("sift").contains("the compiler made others of it"), "{}", error("sift"));
        assert!(error("ext4:ext4_opne").contains("in module ext4: did you mean one of: ext4_open"));
        assert_eq!(error("ext5:open"), "no module `ext5` is loaded; did you mean ext4?");
    }

    #[test]
    fn a_name_of_several_functions_is_told_with_all_of_them() {
        let text = error("helper");
        assert!(
            text.contains("0xffffffff81000080 in the kernel\n  0xffffffffc0400000 in module ext4"),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_code_is_past_the_end_forbidden_or_our_own_is_told_so() {
        assert!(error("jiffies").contains("is data"), "{}", error("jiffies"));
        assert_eq!(error("vfs_read+0x80"), "`vfs_read` has 0x80 bytes of code: +0x80 is past its end");
        assert!(error("kprobe_handler").contains("allows no probe in `kprobe_handler`"));
        assert!(error("0xffffffff81000210").contains("allows no probe in `kprobe_handler`"));
        assert!(error("trapline_ioctl").contains("Trapline's own module"));
    }

    #[test]
    fn what_is_no_place_is_told_so_with_a_mark_under_it() {
        for text in ["", "+4", "vfs_read+", "vfs_read+x", "12", "0xg", ":x", "a:", "a b", "vfs_read+-4"] {
            assert!(matches!(try_resolve(text), Err(SpecError::Malformed(_))), "{text}");
        }
        let told = error("vfs_read(+4)");
        assert!(told.starts_with("`(` is not expected here: expected SYMBOL, SYMBOL+OFFSET"), "{told}");
        assert!(told.ends_with("\n  vfs_read(+4)\n          ^"), "{told}");
    }
}
