//! The guest's `/lib/modules`: what was asked for, with what it needs, and our own modules under
//! `extra/`.
//!
//! Only these are in the guest, uncompressed, so that modprobe is quick and nothing loads that
//! nobody asked for.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::archive::Archive;
use crate::exec;
use crate::setup::Kernel;

/// What carries COMMAND's output to the host.
const TRANSPORT: &[&str] = &["virtio_pci", "virtio_console"];

/// Adds the modules and their index to the archive.
pub(super) fn add(archive: &mut Archive, kernel: &Kernel, names: &[String], own: &[PathBuf]) -> Result<()> {
    let staging = tempfile::tempdir().context("cannot make a temporary folder")?;
    let folder = staging.path().join("lib/modules").join(&kernel.release);
    fs::create_dir_all(&folder)?;

    let mut files = BTreeSet::new();
    for name in TRANSPORT.iter().copied().chain(names.iter().map(String::as_str)) {
        files.extend(needed(kernel, name)?);
    }
    for file in &files {
        let relative = file.strip_prefix(kernel.modules()).with_context(|| {
            format!("modprobe names {}, which is not of kernel {}", file.display(), kernel.release)
        })?;
        copy_uncompressed(file, &folder.join(relative))?;
    }
    for file in own {
        let extra = folder.join("extra");
        fs::create_dir_all(&extra)?;
        let name = file.file_name().context("a module's file has a name")?;
        fs::copy(file, extra.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    for index in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        fs::copy(kernel.modules().join(index), folder.join(index))
            .with_context(|| format!("kernel {} has no {index}", kernel.release))?;
    }
    exec::output(Command::new(exec::find("depmod")?).arg("-b").arg(staging.path()).arg(&kernel.release))?;
    archive.host_tree(Path::new("usr/lib/modules").join(&kernel.release), &folder)
}

/// The files of a module and of all that it needs; none if it is built into the kernel.
fn needed(kernel: &Kernel, name: &str) -> Result<Vec<PathBuf>> {
    let mut command = Command::new(exec::find("modprobe")?);
    // Without the host's own configuration, which may blacklist or alias.
    command.args(["-C", "/dev/null", "-S", &kernel.release, "--show-depends", name, "-d"]).arg(kernel.root());
    let listed = exec::output(&mut command)
        .with_context(|| format!("kernel {} has no module `{name}`", kernel.release))?;
    let file = |line: &str| line.strip_prefix("insmod ")?.split_whitespace().next().map(PathBuf::from);
    Ok(listed.lines().filter_map(file).collect())
}

fn copy_uncompressed(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("a module is in a folder")?)?;
    if from.extension().is_none_or(|extension| extension != "xz") {
        fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
        return Ok(());
    }
    let status = Command::new("xz")
        .arg("-dc")
        .stdin(File::open(from)?)
        .stdout(File::create(to.with_extension(""))?)
        .stderr(Stdio::inherit())
        .status()
        .context("cannot run `xz`")?;
    ensure!(status.success(), "`xz -dc` could not decompress {}", from.display());
    Ok(())
}
