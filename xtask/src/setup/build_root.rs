//! A build root: a small system of another release of Debian, with the headers of one of its
//! kernels and what those depend on, in which the C half of the modules is built.
//!
//! A kernel's modules are built by the compiler that the kernel was built with, and by programs
//! (objtool, modpost) that are linked with its release's libraries: neither runs on the host. The
//! root is made by mmdebstrap, which needs no root where Debian lets users have namespaces, and
//! entered by bubblewrap, which needs none either. Rejected: the compiler's packages unpacked
//! beside each other, which would be a package manager of our own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::apt::Apt;
use super::release::Release;
use super::{host, room};
use crate::exec;
use crate::progress::Step;

/// The root and the archive that it is unpacked from.
const ROOM: u64 = 2 << 30;
/// What is needed besides the headers: what runs their Makefiles, and the assembler under the name
/// that the compiler calls it by.
const TOOLS: &str = "make,binutils";
/// What the names of packages of kernels begin with.
const IMAGES: &str = "linux-image-";

/// A root, by its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildRoot {
    folder: PathBuf,
}

impl BuildRoot {
    /// The root in a folder, which [`BuildRoot::make`] has made or will make.
    pub(super) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Makes it, with the package `headers` and what that depends on but the kernel's image: Debian
    /// 13's headers depend on it, and it would bring its modules and make an initial RAM disk.
    pub(super) fn make(&self, release: Release, apt: &Apt, headers: &str) -> Result<()> {
        host::ensure_for_a_build_root()?;
        let parent = self.folder.parent().context("a root lies in a folder")?;
        room::ensure(parent, ROOM, "a build root")?;
        let step = Step::new(format!("making a build root of {} with {headers} (400 MB)", release.name()));
        let records = apt.show(headers)?;
        let record = records.first().with_context(|| format!("no package {headers}"))?;
        let needed: Vec<&str> =
            record.depends().map(|(name, _)| name).filter(|name| !name.starts_with(IMAGES)).collect();
        let archive = self.folder.with_extension("tar");
        let mut make = Command::new("mmdebstrap");
        make.args(["--quiet", "--variant=apt", &format!("--include={TOOLS},{}", needed.join(","))])
            .arg(release.name())
            .arg(&archive)
            .arg(apt.sources());
        exec::output(&mut make).with_context(
            || "cannot make the build root; who is not root needs the package uidmap and user namespaces",
        )?;
        // Under another name until it is whole. Device files are for root to make, and bubblewrap
        // brings its own.
        let partial = self.folder.with_extension("partial");
        if partial.exists() {
            fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
        }
        fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--no-same-owner", "--exclude=./dev/*", "--file"]).arg(&archive);
        exec::output(tar.arg("--directory").arg(&partial))?;
        fs::remove_file(&archive)?;
        apt.unpack(&[headers.to_owned()], &partial, headers, &step)?;
        fs::rename(&partial, &self.folder).with_context(|| format!("cannot name {}", self.folder.display()))
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A program of the root's, run in it: it sees `read` and may write `written`, folders of the
    /// host's, where the host has them, and nothing else of the host.
    pub fn command(&self, program: &str, read: &Path, written: &Path) -> Command {
        let mut command = Command::new("bwrap");
        command.args(["--die-with-parent", "--clearenv", "--setenv", "PATH", "/usr/bin:/bin"]);
        command.arg("--bind").arg(&self.folder).arg("/");
        command.args(["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]);
        command.arg("--ro-bind").args([read, read]).arg("--bind").args([written, written]);
        command.args(["--", program]);
        command
    }
}
