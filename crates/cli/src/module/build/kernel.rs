//! The kernel that the module is built for: new enough, with all that the module hooks by, and with
//! headers.

use std::fs;
use std::path::PathBuf;

use super::BuildError;
use super::compiler::Compiler;
use super::need::Need;
use crate::module::options;
use crate::system::System;

/// The oldest kernel that the module is written for: major and minor.
const OLDEST: (u32, u32) = (6, 1);

/// A kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    /// As `uname -r` prints it.
    pub release: String,
    /// Where its modules are.
    pub modules: PathBuf,
}

/// What a kernel's headers say about it.
#[derive(Debug)]
pub(super) struct Headers {
    /// Where they are.
    pub folder: PathBuf,
    /// What the kernel was built with, if they tell.
    pub compiler: Option<Compiler>,
}

impl Kernel {
    /// The kernel `release`, else the running one.
    ///
    /// # Errors
    /// It is not installed, or too old.
    pub(super) fn find(system: &System, release: Option<&str>) -> Result<Self, BuildError> {
        let release = release.unwrap_or(system.release()).to_owned();
        let modules = system.path("lib/modules").join(&release);
        if super::version_of(&release).is_some_and(|version| version < OLDEST) {
            return Err(BuildError::OldKernel { release });
        }
        if !modules.is_dir() {
            let installed = system.list("lib/modules").join(", ");
            return Err(BuildError::NoKernel { release, installed });
        }
        Ok(Self { release, modules })
    }

    /// Its headers.
    ///
    /// # Errors
    /// The kernel lacks what the module hooks by.
    pub(super) fn headers(&self) -> Result<Result<Headers, Need>, BuildError> {
        let folder = self.modules.join("build");
        let config = fs::read_to_string(folder.join("include/config/auto.conf"));
        let (true, Ok(config)) = (folder.join("Makefile").is_file(), config) else {
            return Ok(Err(Need::Headers { folder }));
        };
        let missing = options::missing(&config);
        if !missing.is_empty() {
            return Err(BuildError::Options { release: self.release.clone(), missing: missing.join(", ") });
        }
        Ok(Ok(Headers { folder, compiler: Compiler::of(&config) }))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::system::tests::with;

    pub(in super::super) const CONFIG: &str = "CONFIG_MODULES=y\nCONFIG_DYNAMIC_FTRACE_WITH_REGS=y\nCONFIG_KALLSYMS=y\nCONFIG_MMIOTRACE=y\nCONFIG_GCC_VERSION=120200\nCONFIG_CC_VERSION_TEXT=\"gcc-12 12.2.0\"\n";

    const CONFIG_FILE: &str = "lib/modules/6.1.0-test/build/include/config/auto.conf";
    const MAKEFILE: (&str, &str) = ("lib/modules/6.1.0-test/build/Makefile", "");

    #[test]
    fn a_kernel_that_is_too_old_or_not_there_is_refused() {
        let (_root, system) = with(&[MAKEFILE, ("lib/modules/5.10.0-1/x", "")]);
        let error = |release| Kernel::find(&system, Some(release)).unwrap_err().to_string();
        assert!(error("5.10.0-1").contains("kernel 5.10.0-1 is older than 6.1"), "{}", error("5.10.0-1"));
        assert!(error("6.0.19-x").contains("older than 6.1"));
        let absent = error("6.12.1");
        assert!(absent.contains("no kernel 6.12.1") && absent.contains("5.10.0-1, 6.1.0-test"), "{absent}");
        assert_eq!(Kernel::find(&system, None).unwrap().release, "6.1.0-test");
    }

    #[test]
    fn headers_tell_what_the_kernel_was_built_with_and_are_missed_where_they_are_not_whole() {
        let headers = |files: &[(&str, &str)]| {
            let (_root, system) = with(files);
            Kernel::find(&system, None).unwrap().headers()
        };
        let found = headers(&[MAKEFILE, (CONFIG_FILE, CONFIG)]).unwrap().unwrap();
        assert_eq!(found.compiler.unwrap().major, 12);
        for files in [&[MAKEFILE][..], &[(CONFIG_FILE, CONFIG)]] {
            assert!(matches!(headers(files).unwrap(), Err(Need::Headers { .. })));
        }
    }

    #[test]
    fn a_kernel_without_ftrace_is_refused_with_the_option_that_is_off() {
        let config = CONFIG.replace("CONFIG_DYNAMIC_FTRACE_WITH_REGS=y\n", "");
        let (_root, system) = with(&[MAKEFILE, (CONFIG_FILE, &config)]);
        let error = Kernel::find(&system, None).unwrap().headers().unwrap_err().to_string();
        assert!(error.contains("6.1.0-test") && error.contains("CONFIG_DYNAMIC_FTRACE_WITH_REGS"), "{error}");
    }
}
