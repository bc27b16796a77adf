//! The C compiler that a kernel was built with: its modules must be, too, since the options that
//! the kernel was built with are those of one compiler.

use std::fmt;
use std::path::Path;

use super::programs::Programs;

/// A compiler, by its kind and its major version: minor ones change no options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compiler {
    /// Which it is.
    pub kind: Kind,
    /// The first number of its version.
    pub major: u32,
    /// What it said about itself as the kernel was built.
    pub said: String,
}

/// The compilers that kernels are built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// GCC.
    Gcc,
    /// Clang, with the rest of LLVM.
    Clang,
}

impl Compiler {
    /// The one that a kernel with this configuration was built with, if that tells.
    pub(super) fn of(config: &str) -> Option<Self> {
        let value = |option: &str| {
            let value = config.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix('='))?;
            Some(value.trim_matches('"'))
        };
        let kind = if value("CONFIG_CC_IS_CLANG") == Some("y") { Kind::Clang } else { Kind::Gcc };
        // 120200: 12.2.0, of either.
        let version = match kind {
            Kind::Gcc => value("CONFIG_GCC_VERSION"),
            Kind::Clang => value("CONFIG_CLANG_VERSION"),
        };
        let major = version?.parse::<u32>().ok()? / 10_000;
        Some(Self { kind, major, said: value("CONFIG_CC_VERSION_TEXT").unwrap_or_default().into() })
    }

    /// What to say to `make` so that it is used; none if it is not there.
    pub(super) fn setting(&self, programs: &dyn Programs) -> Option<String> {
        let (name, versioned) = match self.kind {
            Kind::Gcc => ("gcc", format!("gcc-{}", self.major)),
            Kind::Clang => ("clang", format!("clang-{}", self.major)),
        };
        let is_it = |name: &str| {
            let major = || programs.ask(&programs.find(Path::new(name))?, &["-dumpversion"]);
            major().is_some_and(|version| version.split('.').next() == Some(&self.major.to_string()))
        };
        // By the name with its version first: it stays right if the plain name becomes another's.
        if is_it(&versioned) {
            Some(match self.kind {
                Kind::Gcc => format!("CC={versioned}"),
                Kind::Clang => format!("LLVM=-{}", self.major),
            })
        } else {
            is_it(name).then(|| match self.kind {
                Kind::Gcc => format!("CC={name}"),
                Kind::Clang => "LLVM=1".to_owned(),
            })
        }
    }

    /// Its packages where several versions may be installed.
    pub(super) fn versioned(&self) -> Vec<String> {
        let major = self.major;
        match self.kind {
            Kind::Gcc => vec![format!("gcc-{major}")],
            Kind::Clang => vec![format!("clang-{major}"), format!("lld-{major}"), format!("llvm-{major}")],
        }
    }

    /// Its packages where there is one.
    pub(super) fn unversioned(&self) -> Vec<String> {
        let names: &[&str] = match self.kind {
            Kind::Gcc => &["gcc"],
            Kind::Clang => &["clang", "lld", "llvm"],
        };
        names.iter().map(|&name| name.to_owned()).collect()
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            Kind::Gcc => "GCC",
            Kind::Clang => "Clang",
        };
        write!(f, "{name} {}", self.major)
    }
}

#[cfg(test)]
mod tests {
    use super::super::programs::tests::Fake;
    use super::*;

    const GCC: &str = "CONFIG_CC_VERSION_TEXT=\"gcc-12 (Debian 12.2.0-14) 12.2.0\"\nCONFIG_CC_IS_GCC=y\nCONFIG_GCC_VERSION=120200\nCONFIG_CLANG_VERSION=0\n";
    const CLANG: &str = "CONFIG_CC_VERSION_TEXT=\"clang version 18.1.8\"\nCONFIG_CC_IS_CLANG=y\nCONFIG_GCC_VERSION=0\nCONFIG_CLANG_VERSION=180108\n";

    #[test]
    fn a_kernels_compiler_is_told_by_its_configuration() {
        let gcc = Compiler::of(GCC).unwrap();
        assert_eq!(
            (gcc.kind, gcc.major, gcc.said.as_str()),
            (Kind::Gcc, 12, "gcc-12 (Debian 12.2.0-14) 12.2.0")
        );
        let clang = Compiler::of(CLANG).unwrap();
        assert_eq!((clang.kind, clang.major), (Kind::Clang, 18));
        assert_eq!(Compiler::of("CONFIG_X86=y\n"), None);
    }

    #[test]
    fn the_same_major_version_is_looked_for_under_both_names_and_no_other_is_taken() {
        let setting = |config: &str, programs: &[(&'static str, &'static str, &str)]| {
            let programs = programs.iter().map(|&(path, argument, said)| (path, argument, said.to_owned()));
            Compiler::of(config).unwrap().setting(&Fake(programs.collect()))
        };
        let gcc_14 = ("/usr/bin/gcc", "-dumpversion", "14");
        let gcc_12 = ("/usr/bin/gcc-12", "-dumpversion", "12");
        assert_eq!(setting(GCC, &[gcc_14]), None);
        assert_eq!(setting(GCC, &[gcc_14, gcc_12]).as_deref(), Some("CC=gcc-12"));
        assert_eq!(setting(GCC, &[("/usr/bin/gcc", "-dumpversion", "12.3.1")]).as_deref(), Some("CC=gcc"));
        assert_eq!(setting(CLANG, &[gcc_12]), None);
        assert_eq!(
            setting(CLANG, &[("/usr/bin/clang", "-dumpversion", "18.1.0")]).as_deref(),
            Some("LLVM=1")
        );
        assert_eq!(
            setting(CLANG, &[("/usr/bin/clang-18", "-dumpversion", "18.1.8")]).as_deref(),
            Some("LLVM=-18")
        );
    }
}
