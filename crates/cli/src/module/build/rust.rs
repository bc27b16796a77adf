//! The Rust that is there: a compiler that is new enough, cargo, and the source of the library,
//! which the module's half is compiled with for a machine without an operating system.

use std::path::{Path, PathBuf};

use super::need::Need;
use super::programs::Programs;

/// Where a toolchain has its library's source.
const LIBRARY: &str = "lib/rustlib/src/rust/library/core/src/lib.rs";

/// A toolchain that will do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rust {
    /// The compiler.
    pub rustc: PathBuf,
    /// Cargo, of the same toolchain where that has one.
    pub cargo: PathBuf,
    /// The compiler's version, as it says it.
    pub version: String,
}

impl Rust {
    /// The first of `compilers` that will do; else what the first of them lacks.
    pub(super) fn find(
        programs: &dyn Programs,
        compilers: &[PathBuf],
        oldest: (u32, u32),
    ) -> Result<Self, Need> {
        let mut first = None;
        for compiler in compilers {
            match Self::at(programs, compiler, oldest) {
                Ok(Some(rust)) => return Ok(rust),
                Ok(None) => {}
                Err(need) => first = first.or(Some(need)),
            }
        }
        Err(first.unwrap_or(Need::Rust { oldest }))
    }

    /// The toolchain of a compiler; none if the compiler can't be run.
    fn at(programs: &dyn Programs, compiler: &Path, oldest: (u32, u32)) -> Result<Option<Self>, Need> {
        let Some(rustc) = programs.find(compiler) else { return Ok(None) };
        let Some(said) = programs.ask(&rustc, &["--version"]) else { return Ok(None) };
        // `rustc 1.96.0 (…)`
        let version = said.split(' ').nth(1).unwrap_or(&said).to_owned();
        if super::version_of(&version).is_none_or(|version| version < oldest) {
            return Err(Need::NewerRust { rustc, version, oldest });
        }
        let Some(sysroot) = programs.ask(&rustc, &["--print", "sysroot"]).map(PathBuf::from) else {
            return Ok(None);
        };
        // By its own path: rustup's stand-in would ask which toolchain is meant.
        let rustc = programs.find(&sysroot.join("bin/rustc")).unwrap_or(rustc);
        if !programs.has(&sysroot.join(LIBRARY)) {
            return Err(Need::RustSource { rustc, version });
        }
        let cargo = programs.find(&sysroot.join("bin/cargo")).or_else(|| programs.find(Path::new("cargo")));
        let Some(cargo) = cargo else { return Err(Need::Cargo { rustc, version }) };
        Ok(Some(Self { rustc, cargo, version }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::programs::tests::Fake;
    use super::*;

    const OLDEST: (u32, u32) = (1, 95);
    const RUSTUP: &str = "/home/u/.rustup/toolchains/stable/bin/rustc";

    fn compiler(
        path: &'static str,
        version: &str,
        sysroot: &str,
    ) -> Vec<(&'static str, &'static str, String)> {
        vec![(path, "--version", format!("rustc {version} (x y)")), (path, "sysroot", sysroot.into())]
    }

    fn find(programs: Vec<(&'static str, &'static str, String)>) -> Result<Rust, Need> {
        Rust::find(&Fake(programs), &["rustc".into(), RUSTUP.into()], OLDEST)
    }

    fn file(path: &'static str) -> (&'static str, &'static str, String) {
        (path, "", String::new())
    }

    #[test]
    fn the_first_that_is_new_enough_and_has_its_source_is_taken() {
        let mut all = compiler("/usr/bin/rustc", "1.63.0", "/usr");
        all.extend(compiler(RUSTUP, "1.99.1", "/home/u/.rustup/toolchains/stable"));
        all.push(file("/home/u/.rustup/toolchains/stable/lib/rustlib/src/rust/library/core/src/lib.rs"));
        all.push(file("/home/u/.rustup/toolchains/stable/bin/cargo"));
        let rust = find(all).unwrap();
        assert_eq!(rust.rustc, Path::new(RUSTUP));
        assert_eq!(rust.cargo, Path::new("/home/u/.rustup/toolchains/stable/bin/cargo"));
        assert_eq!(rust.version, "1.99.1");
    }

    #[test]
    fn what_the_first_of_them_lacks_is_told() {
        assert!(matches!(find(vec![]), Err(Need::Rust { oldest: OLDEST })));
        let old = compiler("/usr/bin/rustc", "1.94.9", "/usr");
        assert!(matches!(find(old), Err(Need::NewerRust { version, .. }) if version == "1.94.9"));
        let mut new = compiler("/usr/bin/rustc", "1.95.0", "/usr");
        assert!(matches!(find(new.clone()), Err(Need::RustSource { .. })));
        new.push(file("/usr/lib/rustlib/src/rust/library/core/src/lib.rs"));
        assert!(matches!(find(new), Err(Need::Cargo { .. })));
    }
}
