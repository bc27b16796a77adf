//! `trapline module build`: builds the module for a kernel, by its own Makefile, with what is there
//! to build with, and installs it.
//!
//! Everything that is missing is found first and told at once, with one line that installs it: a
//! build that fails at its end for want of a package teaches one package at a time.

mod compiler;
mod error;
mod install;
mod kernel;
mod make;
mod need;
mod programs;
mod rust;
mod source;

use std::path::{Path, PathBuf};

use crate::args::Build;
use crate::module;
use crate::say::say;
use crate::style::GOOD;
use crate::system::System;
pub(crate) use error::BuildError;
use kernel::Kernel;
use make::Tools;
use need::{Need, Target};
use programs::{OnPath, Programs};
use rust::Rust;
use source::Source;

/// Builds it, and installs it or writes it where it was asked for.
pub(crate) fn run(system: &System, args: &Build) -> Result<(), BuildError> {
    if args.to.is_none() {
        // Before the build, not after it.
        module::require_root("install the module")?;
    }
    let here = std::env::current_dir().unwrap_or_default();
    let source = Source::find(system, args.source.as_deref(), &here)?;
    let kernel = Kernel::find(system, args.kernel.as_deref())?;
    if args.to.is_none() {
        install::refuse_twins(&kernel)?;
    }
    let compilers = args.rustc.clone().map_or_else(|| compilers(system), |rustc| vec![rustc]);
    let tools = tools(system, &OnPath, &source, &kernel, &compilers)?;
    let built = make::module(system, &source, &kernel, &tools)?;
    match &args.to {
        Some(file) => install::copy(built.file(), file)?,
        None => install::install(system, &kernel, built.file())?,
    }
    let installed = args.to.clone().unwrap_or_else(|| install::place(&kernel));
    say!("{GOOD}trapline{GOOD:#}: built {} for kernel {}", installed.display(), kernel.release);
    if module::is_loaded(system) && kernel.release == system.release() {
        say!("trapline: a module is loaded; to use the new one: rmmod trapline");
    }
    Ok(())
}

/// All that the build needs besides the source, or all that is missing.
fn tools(
    system: &System,
    programs: &dyn Programs,
    source: &Source,
    kernel: &Kernel,
    compilers: &[PathBuf],
) -> Result<Tools, BuildError> {
    let mut needs = Vec::new();
    let headers = kernel.headers()?.map_err(|need| needs.push(need)).ok();
    if programs.find(Path::new("make")).is_none() {
        needs.push(Need::Make);
    }
    let compiler = headers.as_ref().and_then(|headers| headers.compiler.clone());
    let setting = compiler.as_ref().and_then(|compiler| compiler.setting(programs));
    if let (Some(compiler), None) = (compiler, &setting) {
        needs.push(Need::C(compiler));
    }
    let rust = Rust::find(programs, compilers, source.oldest_rust).map_err(|need| needs.push(need)).ok();
    match (headers, rust) {
        (Some(headers), Some(rust)) if needs.is_empty() => {
            Ok(Tools { headers: headers.folder, compiler: setting, rust })
        }
        _ => {
            let target = Target { release: &kernel.release, oldest_rust: source.oldest_rust };
            let remedy = need::remedy(system, target, &needs);
            let needs: Vec<String> = needs.iter().map(Need::to_string).collect();
            Err(BuildError::Missing { release: kernel.release.clone(), needs: needs.join("; "), remedy })
        }
    }
}

/// Rust's compilers in the order of our liking: that of PATH, the distribution's, those that rustup
/// keeps for who we are and for whom we are root (sudo's PATH has none of a person's own).
fn compilers(system: &System) -> Vec<PathBuf> {
    let own = std::env::home_dir();
    let sudos = std::env::var("SUDO_USER").ok().and_then(|user| home(system, &user));
    let mut all = vec![PathBuf::from("rustc"), PathBuf::from("/usr/bin/rustc")];
    for home in own.into_iter().chain(sudos) {
        let toolchains = home.join(".rustup/toolchains");
        let names = system.list(&toolchains);
        all.extend(names.iter().map(|name| toolchains.join(name).join("bin/rustc")));
    }
    all
}

/// A user's home folder, by passwd(5).
fn home(system: &System, user: &str) -> Option<PathBuf> {
    let passwd = system.read("etc/passwd").ok()?;
    let line = passwd.lines().find(|line| line.split(':').next() == Some(user))?;
    line.split(':').nth(5).map(PathBuf::from)
}

/// Major and minor number of a version: of `6.12.95+deb12-amd64`, 6 and 12.
fn version_of(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use trapline_abi::ABI_VERSION;

    use super::programs::tests::Fake;
    use super::*;
    use crate::system::tests::with;

    #[test]
    fn all_that_is_missing_is_told_at_once_with_the_line_that_installs_it() {
        let version = format!("pub const ABI_VERSION: u32 = {ABI_VERSION};\n");
        let (root, system) = with(&[
            ("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n"),
            ("source/kernel/Makefile", ""),
            ("source/kernel/Cargo.toml", "[package]\nrust-version = \"1.95\"\n"),
            ("source/crates/abi/src/lib.rs", &version),
            ("lib/modules/6.1.0-test/build/Makefile", ""),
            ("lib/modules/6.1.0-test/build/include/config/auto.conf", kernel::tests::CONFIG),
        ]);
        let source = Source::find(&system, Some(&root.path().join("source")), Path::new("")).unwrap();
        let kernel = Kernel::find(&system, None).unwrap();
        let tools = |programs: Vec<(&'static str, &'static str, String)>| {
            tools(&system, &Fake(programs), &source, &kernel, &["/usr/bin/rustc".into()])
        };
        let error = tools(vec![
            ("/usr/bin/gcc", "-dumpversion", "14".into()),
            ("/usr/bin/rustc", "--version", "rustc 1.63.0 (x)".into()),
        ]);
        assert_eq!(
            error.unwrap_err().to_string(),
            "can't build the module for kernel 6.1.0-test: no make; \
             no GCC 12, which the kernel was built with (`gcc-12 12.2.0`); \
             /usr/bin/rustc is Rust 1.63.0, of which 1.95 or newer is needed; \
             run: apt install make gcc-12 rustc-web rust-web-src cargo-web"
        );
        let found = tools(vec![
            ("/usr/bin/make", "", String::new()),
            ("/usr/bin/gcc-12", "-dumpversion", "12".into()),
            ("/usr/bin/rustc", "--version", "rustc 1.96.0 (x)".into()),
            ("/usr/bin/rustc", "sysroot", "/usr".into()),
            ("/usr/bin/cargo", "", String::new()),
            ("/usr/lib/rustlib/src/rust/library/core/src/lib.rs", "", String::new()),
        ])
        .unwrap();
        assert_eq!(found.compiler.as_deref(), Some("CC=gcc-12"));
        assert_eq!(found.rust.cargo, Path::new("/usr/bin/cargo"));
    }

    #[test]
    fn who_is_root_for_somebody_finds_the_home_of_that_user() {
        let (_root, system) =
            with(&[("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nu:x:1000:1000:,,,:/home/u:/bin/sh\n")]);
        assert_eq!(home(&system, "u").as_deref(), Some(Path::new("/home/u")));
        assert_eq!(home(&system, "v"), None);
    }

    #[test]
    fn versions_are_told_by_their_first_two_numbers() {
        assert_eq!(version_of("6.12.95+deb12-amd64"), Some((6, 12)));
        assert_eq!(version_of("7.3-rc1"), Some((7, 3)));
        assert_eq!(version_of("1.95"), Some((1, 95)));
        assert_eq!(version_of("trunk"), None);
    }
}
