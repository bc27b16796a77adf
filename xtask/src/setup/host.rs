//! The Debian packages that the virtual machine and the builds of kernels and modules need on the
//! host.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::apt::Apt;
use super::release::Release;
use crate::exec;
use crate::failure::{Failure, SETUP_NEEDED};
use crate::progress::Step;
use crate::workspace;

/// A package, and the oldest version that will do.
type Package = (&'static str, Option<&'static str>);

/// The first emulator that locks a page of code while it translates it ("accel/tcg: Always lock
/// pages before translation"). One before may translate a breakpoint while another CPU takes it
/// away, and keep what it translated: then the kernel dies of a breakpoint that is nobody's, or a
/// CPU takes it again and again for ever. Debian 12 came with an older one; the newer is among its
/// backports.
const EMULATOR: Option<&str> = Some("1:8.1");

/// The oldest compiler that builds the module. Debian 12 came with an older one; the newer is a
/// security update.
const COMPILER: Option<&str> = Some("1.95");

/// What is needed, and what for.
const PACKAGES: &[Package] = &[
    ("qemu-system-x86", EMULATOR), // the machine
    ("busybox-static", None),      // the guest's commands
    ("kmod", None),                // depmod here, modprobe in the guest
    ("xz-utils", None),            // kernel 6.1's image, kernel 6.12's modules
    ("zstd", None),                // kernel 6.12's image
    ("make", None),                // kbuild
    ("gcc-12", None),              // the compiler that Debian's kernels were built with
    ("libelf1", None),             // objtool
    ("binutils", None),            // an assembler, and
    ("sqlite3", None),             // a database: programs whose page faults are watched
    ("rustc-web", COMPILER), // a compiler and the source of core, of one version, for the module's Rust half
    ("rust-web-src", COMPILER),
];

/// What building a kernel needs besides.
const FOR_A_KERNEL: &[Package] = &[
    ("flex", None),       // kconfig's words, and
    ("bison", None),      // its grammar
    ("bc", None),         // the kernel's table of time units
    ("perl", None),       // the kernel's table of object identifiers
    ("libc6-dev", None),  // programs that run as part of the build, among them
    ("libelf-dev", None), // objtool, and
    ("libssl-dev", None), // the program that signs modules, with
    ("openssl", None),    // a key that the build makes
];

/// What a build root needs besides.
const FOR_A_BUILD_ROOT: &[Package] = &[
    ("mmdebstrap", None), // makes it
    ("bubblewrap", None), // runs programs in it
];

/// What looking at pages needs; the machine is not.
const FOR_PAGES: &[Package] = &[
    ("chromium-headless-shell", None), // a browser without a screen
    ("fonts-dejavu-core", None),       // letters
];

/// What packages of Python need.
const FOR_PYTHON: &[Package] = &[("python3-venv", None)];

/// What packing for Debian needs, and installing in a fresh one.
const FOR_PACKAGES: &[Package] = &[
    ("debhelper", None),  // packs
    ("dh-dkms", None),    // what DKMS wants done as a package comes and goes
    ("lintian", None),    // what is wrong with a package
    ("mmdebstrap", None), // a fresh system
];

/// Installs what is missing for the virtual machine and the modules, or says how to.
///
/// # Errors
/// [`SETUP_NEEDED`] with the one line to run, when packages are missing and this is not root.
pub fn ensure() -> Result<()> {
    ensure_packages(PACKAGES)
}

/// The same for the build of a kernel.
///
/// # Errors
/// As for [`ensure()`].
pub fn ensure_for_a_kernel() -> Result<()> {
    ensure_packages(PACKAGES)?;
    ensure_packages(FOR_A_KERNEL)
}

/// The same for a build root.
///
/// # Errors
/// As for [`ensure()`].
pub fn ensure_for_a_build_root() -> Result<()> {
    ensure_packages(FOR_A_BUILD_ROOT)
}

/// The same for a browser.
///
/// # Errors
/// As for [`ensure()`].
pub fn ensure_for_pages() -> Result<()> {
    ensure_packages(FOR_PAGES)
}

/// The same for Python.
///
/// # Errors
/// As for [`ensure()`].
pub fn ensure_for_python() -> Result<()> {
    ensure_packages(FOR_PYTHON)
}

/// The same for packing packages and trying them.
///
/// # Errors
/// As for [`ensure()`].
pub fn ensure_for_packages() -> Result<()> {
    ensure_packages(FOR_PACKAGES)
}

fn ensure_packages(wanted: &[Package]) -> Result<()> {
    let missing = missing(wanted)?;
    if missing.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        return Err(for_root(&missing));
    }
    let _lock = workspace::lock("apt")?;
    // Who held the lock before us may have installed them.
    let missing = self::missing(wanted)?;
    if missing.is_empty() {
        return Ok(());
    }
    let list = names(&missing);
    let _step = Step::new(format!("installing {list}"));
    // The lists that a machine came with may be months old: what they name is gone from the mirror,
    // or too old for us. One that cannot be fetched need not be one that matters.
    let fetched = exec::output(&mut apt_get(&["update"]));
    install(&missing).or_else(|error| fetched.and(Err(error)))?;
    let old = self::missing(&missing)?;
    if !old.is_empty() {
        // Not by way of the machine's own sources: see the module `apt`.
        Apt::update(Release::Bookworm)?.install_backports(old.iter().map(|(name, _)| *name))?;
    }
    let still = self::missing(wanted)?;
    ensure!(still.is_empty(), "apt-get installed {list}, but not as new as needed: {}", needed(&still));
    Ok(())
}

/// What somebody who may not install them is told.
fn for_root(missing: &[Package]) -> anyhow::Error {
    let (needed, list) = (needed(missing), names(missing));
    let text = format!(
        "packages are missing or too old and only root can install them: {needed}; run:\n\n    sudo apt-get update && sudo apt-get install --no-install-recommends {list}\n\nOf Debian 12 itself some are too old even so: with bookworm-backports among apt's sources, add `-t bookworm-backports`.\n"
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

fn missing(wanted: &[Package]) -> Result<Vec<Package>> {
    let mut command = Command::new("dpkg-query");
    command.args(["--show", "--showformat", "${Package} ${db:Status-Status} ${Version}\n"]);
    command.args(wanted.iter().map(|(name, _)| name));
    let known = exec::raw(&mut command).context(
        "cannot ask which packages are installed: set-up needs Debian 12 (bookworm) or a container of it",
    )?;
    let known = String::from_utf8_lossy(&known.stdout).into_owned();
    let mut missing = Vec::new();
    for &package in wanted {
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
        assert!(text.contains("rustc-web (at least 1.95)"), "{text}");
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
