//! An initramfs in the making: a cpio archive (format newc) written front to back, parents before
//! children.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cpio::newc::{self, Builder};
use walkdir::WalkDir;

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_777;

/// The archive. Guest paths are given from the root without a leading slash.
pub(super) struct Archive {
    writer: BufWriter<File>,
    paths: BTreeSet<PathBuf>,
}

impl Archive {
    /// Starts an archive in a new file.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { writer: BufWriter::with_capacity(1 << 20, file), paths: BTreeSet::new() })
    }

    /// Whether something of this name is in the archive.
    pub(super) fn contains(&self, path: &Path) -> bool {
        self.paths.contains(path)
    }

    /// Adds a folder and those above it.
    pub(super) fn folder(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        if path.as_os_str().is_empty() || self.contains(path) {
            return Ok(());
        }
        self.entry(path, DIRECTORY, &[])
    }

    /// Adds a file with these contents.
    pub(super) fn file(&mut self, path: impl AsRef<Path>, permissions: u32, contents: &[u8]) -> Result<()> {
        self.entry(path.as_ref(), FILE | (permissions & 0o7777), contents)
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, path: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<()> {
        self.entry(path.as_ref(), SYMLINK, target.as_ref().as_os_str().as_bytes())
    }

    /// Adds a file of the host, following symbolic links.
    pub(super) fn host_file(&mut self, path: impl AsRef<Path>, host: &Path) -> Result<()> {
        let read =
            || -> std::io::Result<_> { Ok((fs::metadata(host)?.permissions().mode(), fs::read(host)?)) };
        let (mode, contents) = read().with_context(|| format!("cannot read {}", host.display()))?;
        self.file(path, mode, &contents)
    }

    /// Adds a file or a folder of the host with everything in it; symbolic links stay links.
    pub(super) fn host_tree(&mut self, path: impl AsRef<Path>, host: &Path) -> Result<()> {
        for entry in WalkDir::new(host).sort_by_file_name() {
            let entry = entry.with_context(|| format!("cannot read {}", host.display()))?;
            let relative = entry.path().strip_prefix(host).expect("a walk stays below its root");
            let guest = if relative.as_os_str().is_empty() {
                path.as_ref().to_owned()
            } else {
                path.as_ref().join(relative)
            };
            if entry.file_type().is_dir() {
                self.folder(&guest)?;
            } else if entry.file_type().is_symlink() {
                self.link(&guest, fs::read_link(entry.path())?)?;
            } else {
                self.host_file(&guest, entry.path())?;
            }
        }
        Ok(())
    }

    /// Ends the archive.
    pub(super) fn finish(self) -> Result<()> {
        let mut writer = newc::trailer(self.writer)?;
        writer.flush().context("cannot write the initramfs")
    }

    fn entry(&mut self, path: &Path, mode: u32, contents: &[u8]) -> Result<()> {
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        let name = path.to_str().with_context(|| format!("the name {} is not UTF-8", path.display()))?;
        let size = u32::try_from(contents.len())
            .with_context(|| format!("{name} is too large for an initramfs (4 GiB at most)"))?;
        let mut writer = Builder::new(name).mode(mode).write(&mut self.writer, size);
        writer.write_all(contents).context("cannot write the initramfs")?;
        writer.finish().context("cannot write the initramfs")?;
        self.paths.insert(path.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_before_children_and_contents_survive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.cpio");
        let mut archive = Archive::create(&path).unwrap();
        archive.file("usr/bin/tool", 0o755, b"text").unwrap();
        archive.link("bin", "usr/bin").unwrap();
        assert!(archive.contains(Path::new("usr")));
        archive.finish().unwrap();

        let mut bytes = &fs::read(&path).unwrap()[..];
        let mut seen = Vec::new();
        loop {
            let reader = newc::Reader::new(bytes).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
            let mut contents = Vec::new();
            bytes = reader.to_writer(&mut contents).unwrap();
            seen.push((name, mode, String::from_utf8(contents).unwrap()));
        }
        let expected = [
            ("usr", DIRECTORY, ""),
            ("usr/bin", DIRECTORY, ""),
            ("usr/bin/tool", 0o100_755, "text"),
            ("bin", SYMLINK, "usr/bin"),
        ];
        assert_eq!(seen, expected.map(|(name, mode, text)| (name.to_owned(), mode, text.to_owned())));
    }
}
