//! The debugging kernel: one that looks for bugs in itself, and in the modules that it runs, with
//! lockdep, KASAN and more of what a stock kernel leaves out.
//!
//! It is built once, in `target/trapline/kernels/6.1-debug`, from Debian's package of 6.1's source,
//! so that its code is the stock kernel's. What it consists of is in `debug.config`. A build that
//! was stopped goes on where it was.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::apt::Apt;
use super::kernel::{Kernel, Series};
use super::release::Release;
use super::{host, room};
use crate::progress::Step;
use crate::{exec, workspace};

/// What differs from `make allnoconfig`.
const CONFIG: &str = include_str!("debug.config");
/// A copy of it, beside what was built from it.
const CONFIG_FILE: &str = "debug.config";
const PACKAGE: &str = "linux-source-6.1";
/// The source, unpacked, and what is made of it take this much.
const ROOM: u64 = 3 << 30;
/// As many files are compiled, roughly.
const FILES: usize = 1300;
/// For Debian's top Makefile, which reads a file of this name: the compiler that Debian's kernels
/// were built with, whatever `gcc` is.
const VARIABLES: (&str, &str) = (".kernelvariables", "override ARCH = x86\nCC = gcc-12\nHOSTCC = gcc-12\n");

/// Whether what is in `root`, if anything, was built from the configuration as it is now.
pub(super) fn is_current(root: &Path) -> bool {
    fs::read_to_string(root.join(CONFIG_FILE)).is_ok_and(|text| text == CONFIG)
}

/// Builds it, or the rest of it.
pub(super) fn build(root: &Path) -> Result<Kernel> {
    host::ensure_for_a_kernel()?;
    fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
    let (source, build) = (root.join("source"), root.join("build"));
    if !source.exists() {
        room::ensure(root, ROOM, "the debugging kernel")?;
        fetch(&source)?;
    }
    fs::create_dir_all(&build)?;
    configure(root, &source, &build)?;
    compile(&build, &root.join("build.log"))?;
    install(root, &build)
}

fn fetch(source: &Path) -> Result<()> {
    let step = Step::new("fetching Debian's package lists");
    let apt = Apt::update(Release::Bookworm)?;
    let folder = tempfile::tempdir_in(workspace::cache())?;
    apt.unpack(&[PACKAGE.to_owned()], folder.path(), &format!("{PACKAGE} (140 MB)"), &step)?;
    step.tell("unpacking the kernel's source (1.4 GB)");
    // Under another name until it is whole.
    let partial = source.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
    }
    fs::create_dir_all(&partial)?;
    let archive = folder.path().join("usr/src").join(format!("{PACKAGE}.tar.xz"));
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--strip-components=1", "--file"]).arg(archive).arg("--directory").arg(&partial);
    exec::output(&mut tar)?;
    fs::rename(&partial, source).with_context(|| format!("cannot name {}", source.display()))
}

/// Writes the configuration; fails if the kernel does not take part of it as it is meant.
fn configure(root: &Path, source: &Path, build: &Path) -> Result<()> {
    let _step = Step::new("configuring the debugging kernel");
    let wanted = root.join(CONFIG_FILE);
    fs::write(&wanted, CONFIG)?;
    let (name, text) = VARIABLES;
    fs::write(build.join(name), text)?;
    let mut make = Command::new("make");
    make.arg("-C").arg(source).arg(format!("O={}", build.display()));
    make.arg(format!("KCONFIG_ALLCONFIG={}", wanted.display())).arg("allnoconfig");
    exec::output(clean(&mut make))?;
    let got = fs::read_to_string(build.join(".config")).context("the kernel's configuration is not there")?;
    let refused = refused(CONFIG, &got);
    ensure!(
        refused.is_empty(),
        "the kernel does not take {} of xtask/src/setup/debug.config: what they depend on is off, or they are not in this version",
        refused.join(", ")
    );
    Ok(())
}

/// The settings that are not in the configuration that came of them.
fn refused<'a>(wanted: &'a str, got: &str) -> Vec<&'a str> {
    let got: std::collections::BTreeSet<&str> = got.lines().collect();
    wanted.lines().filter(|line| line.starts_with("CONFIG_") && !got.contains(line)).collect()
}

fn compile(build: &Path, log: &Path) -> Result<()> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let step = Step::new(format!(
        "building the debugging kernel, once: about {FILES} files, half an hour and more on {jobs} cores (all it says: {})",
        log.display()
    ));
    let mut said = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut make = Command::new("make");
    make.arg(format!("-j{jobs}")).arg("-C").arg(build).args(["vmlinux", "bzImage", "modules"]);
    clean(&mut make).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(said.try_clone()?);
    let mut child = make.spawn().context("cannot run `make`")?;
    let output = child.stdout.take().context("make's standard output is a pipe")?;
    let mut files = 0;
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read what make says")?;
        said.write_all(&[&line[..], b"\n"].concat())
            .with_context(|| format!("cannot write {}", log.display()))?;
        if String::from_utf8_lossy(&line).trim_start().starts_with("CC ") {
            files += 1;
            if files % 50 == 0 {
                step.tell(&format!("building the debugging kernel: {files} of about {FILES} files compiled"));
            }
        }
    }
    let status = child.wait().context("cannot wait for `make`")?;
    if !status.success() {
        let text = fs::read_to_string(log).unwrap_or_default();
        bail!(
            "the debugging kernel does not build ({status}; all of it: {}):\n{}",
            log.display(),
            exec::tail(&text, 40)
        );
    }
    Ok(())
}

/// Puts everything where a stock kernel's packages have it.
fn install(root: &Path, build: &Path) -> Result<Kernel> {
    let _step = Step::new("installing the debugging kernel's modules");
    let release = fs::read_to_string(build.join("include/config/kernel.release"))
        .context("the kernel's build names no release")?
        .trim()
        .to_owned();
    let kernel = Kernel { series: Series::Debug, release, root: root.to_owned() };
    if kernel.modules().exists() {
        fs::remove_dir_all(kernel.modules()).context("cannot remove the modules of an earlier build")?;
    }
    let mut make = Command::new("make");
    make.arg("-C").arg(build).arg(format!("INSTALL_MOD_PATH={}", root.display())).arg("modules_install");
    exec::output(clean(&mut make))?;
    for (link, target) in
        [(kernel.bzimage(), build.join("arch/x86/boot/bzImage")), (kernel.headers(), build.to_owned())]
    {
        fs::create_dir_all(link.parent().context("it is in a folder")?)?;
        if link.is_symlink() {
            fs::remove_file(&link).with_context(|| format!("cannot remove {}", link.display()))?;
        }
        symlink(target, &link).with_context(|| format!("cannot make {}", link.display()))?;
    }
    Ok(kernel)
}

/// A make of the kernel's, under a make or a cargo: neither's settings are meant for it.
fn clean(make: &mut Command) -> &mut Command {
    for inherited in ["MAKEFLAGS", "MAKELEVEL", "KBUILD_OUTPUT", "LOCALVERSION", "ARCH"] {
        make.env_remove(inherited);
    }
    make
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_the_kernel_does_not_take_is_named() {
        let wanted = "# Words.\nCONFIG_A=y\nCONFIG_B=m\nCONFIG_C=\"c\"\n";
        let got = "CONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\n";
        assert_eq!(refused(wanted, got), ["CONFIG_B=m", "CONFIG_C=\"c\""]);
        assert!(refused(wanted, wanted).is_empty());
    }

    #[test]
    fn the_configuration_holds_settings_and_words_and_nothing_twice() {
        let mut seen = std::collections::BTreeSet::new();
        for line in CONFIG.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
            let (name, _) = line.split_once('=').unwrap_or_else(|| panic!("no setting: {line}"));
            assert!(name.starts_with("CONFIG_") && seen.insert(name), "{line}");
        }
        for looks in ["CONFIG_PROVE_LOCKING", "CONFIG_KASAN_VMALLOC", "CONFIG_DEBUG_ATOMIC_SLEEP"] {
            assert!(seen.contains(looks), "{looks}");
        }
    }
}
