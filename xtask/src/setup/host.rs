//! The Debian packages that the virtual machine and the module's build need on the host.

use std::process::Command;

use anyhow::{Context, Result};

use crate::exec;
use crate::failure::{Failure, SETUP_NEEDED};
use crate::progress::Step;
use crate::workspace;

/// What is needed, and what for.
const PACKAGES: &[&str] = &[
    "qemu-system-x86", // the machine
    "busybox-static",  // the guest's commands
    "kmod",            // depmod here, modprobe in the guest
    "xz-utils",        // kernel 6.1's image, kernel 6.12's modules
    "zstd",            // kernel 6.12's image
    "make",            // kbuild
    "gcc-12",          // the compiler that Debian's kernels were built with
    "libelf1",         // objtool
    "rustc-web",       // a compiler and the source of core, of one version, for the module's Rust half
    "rust-web-src",
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
    let list = missing.join(" ");
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::error(
            SETUP_NEEDED,
            format!(
                "packages are missing and only root can install them; run:\n\n    sudo apt-get install --no-install-recommends {list}\n"
            ),
        ));
    }
    let _lock = workspace::lock("apt")?;
    let _step = Step::new(format!("installing {list}"));
    install(&missing).or_else(|_| {
        // The package lists may be older than the mirror, or not there at all.
        exec::output(&mut apt_get(&["update"]))?;
        install(&missing)
    })
}

fn install(packages: &[&str]) -> Result<()> {
    let mut command = apt_get(&["install", "--yes", "--no-install-recommends"]);
    exec::output(command.args(packages)).map(drop).context("apt-get could not install what is needed")
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

fn missing() -> Result<Vec<&'static str>> {
    let mut command = Command::new("dpkg-query");
    command.args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"]).args(PACKAGES);
    let known = exec::raw(&mut command).context(
        "cannot ask which packages are installed: set-up needs Debian 12 (bookworm) or a container of it",
    )?;
    let known = String::from_utf8_lossy(&known.stdout).into_owned();
    let installed = |package: &str| known.lines().any(|line| line == format!("{package} installed"));
    Ok(PACKAGES.iter().copied().filter(|package| !installed(package)).collect())
}
