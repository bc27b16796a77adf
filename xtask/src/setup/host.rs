//! The Debian packages that the virtual machine and the module's build need on the host.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::exec;
use crate::failure::{Failure, SETUP_NEEDED};
use crate::progress::Step;
use crate::workspace;

/// A package, and the oldest version that will do.
type Package = (&'static str, Option<&'static str>);

/// The first compiler with both `-Zretpoline` and `-Cjump-tables`. Debian 12 came with an older one; the newer is a security update.
const COMPILER: Option<&str> = Some("1.93");

/// What is needed, and what for.
const PACKAGES: &[Package] = &[
    ("qemu-system-x86", None), // the machine
    ("busybox-static", None),  // the guest's commands
    ("kmod", None),            // depmod here, modprobe in the guest
    ("xz-utils", None),        // kernel 6.1's image, kernel 6.12's modules
    ("zstd", None),            // kernel 6.12's image
    ("make", None),            // kbuild
    ("gcc-12", None),          // the compiler that Debian's kernels were built with
    ("libelf1", None),         // objtool
    ("binutils", None),        // an assembler, and
    ("sqlite3", None),         // a database: programs whose page faults are watched
    ("rustc-web", COMPILER), // a compiler and the source of core, of one version, for the module's Rust half
    ("rust-web-src", COMPILER),
];

/// Installs what is missing, or says how to.
///
/// # Errors
/// [`SETUP_NEEDED`] with the one line to run, when packages are missing and this is not root.
pub fn ensure() -> Result<()> {
    let missing = missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        return Err(for_root(&missing));
    }
    let list = names(&missing);
    let _lock = workspace::lock("apt")?;
    let _step = Step::new(format!("installing {list}"));
    // The lists that a machine came with may be months old: what they name is gone from the mirror, or too old for us. One that cannot be fetched need not be one
    // that matters.
    let fetched = exec::output(&mut apt_get(&["update"]));
    install(&missing).or_else(|error| fetched.and(Err(error)))?;
    let still = self::missing()?;
    ensure!(still.is_empty(), "apt-get installed {list}, but not as new as needed: {}", needed(&still));
    Ok(())
}

/// What somebody who may not install them is told.
fn for_root(missing: &[Package]) -> anyhow::Error {
    let (needed, list) = (needed(missing), names(missing));
    let text = format!(
        "packages are missing or too old and only root can install them: {needed}; run:\n\n    sudo apt-get update && sudo apt-get install --no-install-recommends {list}\n"
    );
    Failure::error(SETUP_NEEDED, text)
}

fn names(packages: &[Package]) -> String {
    packages.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}

/// Packages with the version that each must have.
fn needed(packages: &[Package]) -> String {
    let words = |&(name, oldest): &Package| match oldest {
        Some(oldest) => format!("{name} (at least {oldest})"),
        None => name.to_owned(),
    };
    packages.iter().map(words).collect::<Vec<_>>().join(", ")
}

fn install(missing: &[Package]) -> Result<()> {
    let mut command = apt_get(&["install", "--yes", "--no-install-recommends"]);
    exec::output(command.args(missing.iter().map(|(name, _)| name)))
        .map(drop)
        .context("apt-get could not install what is needed")
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    // Another apt may be at work: wait for it rather than fail.
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
        .args(arguments);
    command
}

fn missing() -> Result<Vec<Package>> {
    let mut command = Command::new("dpkg-query");
    command.args(["--show", "--showformat", "${Package} ${db:Status-Status} ${Version}\n"]);
    command.args(PACKAGES.iter().map(|(name, _)| name));
    let known = exec::raw(&mut command).context(
        "cannot ask which packages are installed: set-up needs Debian 12 (bookworm) or a container of it",
    )?;
    let known = String::from_utf8_lossy(&known.stdout).into_owned();
    let mut missing = Vec::new();
    for &package in PACKAGES {
        if !installed(&known, package)? {
            missing.push(package);
        }
    }
    Ok(missing)
}

/// Whether a package is among the `NAME STATUS VERSION` lines, in a version that will do.
fn installed(known: &str, (name, oldest): Package) -> Result<bool> {
    let found = known.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" installed "));
    let (Some(version), Some(oldest)) = (found, oldest) else { return Ok(found.is_some()) };
    let mut compare = Command::new("dpkg");
    compare.args(["--compare-versions", version, "ge", oldest]);
    Ok(exec::raw(&mut compare).context("cannot compare versions of packages")?.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure;

    #[test]
    fn who_is_not_root_is_told_the_one_line_to_run() {
        let error = for_root(&[("make", None), ("rustc-web", COMPILER)]);
        let text = error.to_string();
        let line = text.lines().find(|line| line.contains("sudo"));
        let expected = "sudo apt-get update && sudo apt-get install --no-install-recommends make rustc-web";
        assert_eq!(line.map(str::trim), Some(expected), "{text}");
        assert!(text.contains("rustc-web (at least 1.93)"), "{text}");
        assert_eq!(failure::status_of(&error), SETUP_NEEDED);
    }

    #[test]
    fn a_package_that_is_too_old_or_not_installed_is_missing() {
        let known =
            "make installed 4.3-4.1\nrustc-web installed 1.85.0+dfsg3-1~deb12u3\nzstd not-installed \n";
        assert!(installed(known, ("make", None)).unwrap());
        assert!(installed(known, ("rustc-web", Some("1.84"))).unwrap());
        assert!(!installed(known, ("rustc-web", Some("1.90"))).unwrap());
        assert!(!installed(known, ("zstd", None)).unwrap());
        assert!(!installed(known, ("rustc", None)).unwrap());
    }
}
