//! The build itself: `kernel/Makefile`, in a folder of its own that goes with it.

use std::fs::{self, File};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;

use super::BuildError;
use super::kernel::Kernel;
use super::rust::Rust;
use super::source::Source;
use crate::say::say;
use crate::system::System;

/// What a build takes on the disk, in bytes: 200 MB were seen.
const ROOM: u64 = 300 << 20;

/// How many lines of a failed build are told.
const TAIL: usize = 15;

/// What the build is done with.
#[derive(Debug)]
pub(super) struct Tools {
    /// The kernel's build folder.
    pub headers: PathBuf,
    /// How `make` is told the C compiler; kbuild's own choice if none.
    pub compiler: Option<String>,
    /// Rust.
    pub rust: Rust,
}

/// A module that was built, in a folder that goes with it.
pub(super) struct Built {
    folder: TempDir,
}

impl Built {
    /// Where it is.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("trapline.ko")
    }
}

/// Builds it.
pub(super) fn module(
    system: &System,
    source: &Source,
    kernel: &Kernel,
    tools: &Tools,
) -> Result<Built, BuildError> {
    // On a disk: /tmp may be memory.
    let parent = std::env::var_os("TMPDIR").map_or_else(|| system.path("var/tmp"), PathBuf::from);
    ensure_room(&parent, ROOM)?;
    let folder = tempfile::Builder::new()
        .prefix("trapline-module-")
        .tempdir_in(&parent)
        .map_err(BuildError::file("make a folder in", &parent))?;
    let log = folder.path().join("build.log");
    let output = File::create(&log).map_err(BuildError::file("write", &log))?;
    let both = output.try_clone().map_err(BuildError::file("write", &log))?;
    let progress = progress(source, kernel, tools);
    let status = command(source, tools, folder.path())
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(both)
        .status()
        .map_err(BuildError::file("run", "make"))?;
    progress.finish_and_clear();
    let built = Built { folder };
    if status.success() && built.file().is_file() {
        return Ok(built);
    }
    let said = fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<&str> = said.lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
    // For whoever wants to know more.
    let log = built.folder.keep().join("build.log");
    Err(BuildError::Make { release: kernel.release.clone(), log, tail })
}

fn command(source: &Source, tools: &Tools, out: &Path) -> Command {
    let mut make = Command::new("make");
    make.arg("-C").arg(source.folder().join("kernel")).arg("ALSO=");
    make.arg(format!("KDIR={}", tools.headers.display())).arg(format!("OUT={}", out.display()));
    make.arg(format!("RUSTC={}", tools.rust.rustc.display()));
    make.arg(format!("CARGO={}", tools.rust.cargo.display()));
    make.args(&tools.compiler);
    // Run by a make or a cargo, we would hand on settings that are meant for others.
    for inherited in ["MAKEFLAGS", "CARGO_TARGET_DIR", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
        make.env_remove(inherited);
    }
    make
}

fn progress(source: &Source, kernel: &Kernel, tools: &Tools) -> ProgressBar {
    let compiler =
        tools.compiler.as_deref().and_then(|setting| setting.strip_prefix("CC=")).unwrap_or("clang");
    let what = format!(
        "building {} for kernel {} with Rust {} and {compiler}",
        source.folder().display(),
        kernel.release,
        tools.rust.version
    );
    if !std::io::stderr().is_terminal() {
        say!("trapline: {what}");
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("the template is well formed");
    let bar = ProgressBar::new_spinner().with_style(style).with_message(what);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// There must be room for `needed` bytes in `folder`.
fn ensure_room(folder: &Path, needed: u64) -> Result<(), BuildError> {
    let disk = rustix::fs::statvfs(folder)
        .map_err(|errno| BuildError::file("ask for the room in", folder)(errno.into()))?;
    let free = disk.f_bavail * disk.f_frsize;
    if free < needed {
        return Err(BuildError::Room { folder: folder.into(), needed: needed >> 20, free: free >> 20 });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_too_full_is_told_with_what_is_needed_and_what_there_is() {
        let folder = tempfile::tempdir().unwrap();
        assert!(ensure_room(folder.path(), 1).is_ok());
        let error = ensure_room(folder.path(), 1 << 62).unwrap_err().to_string();
        assert!(error.contains("needs 4398046511104 MB in ") && error.contains("are free"), "{error}");
    }
}
