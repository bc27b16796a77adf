//! Disks and partitions, the file systems on them, and what each is made of.

use std::fs;
use std::path::{Path, PathBuf};

use crate::system::System;

/// How many devices a device may be made of, one on the other (LVM on RAID on encryption), before
/// they are taken for a circle.
const DEEPEST: u32 = 8;

/// A line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Its number.
    pub id: String,
    /// `major:minor`.
    pub device: String,
    /// Where it is.
    pub folder: String,
    /// What kind of file system.
    pub kind: String,
    /// What it is mounted from.
    pub source: String,
}

/// What is mounted, the last mounted last.
pub(crate) fn mounts(system: &System) -> Vec<Mount> {
    let text = system.read("proc/self/mountinfo").unwrap_or_default();
    let mount = |line: &str| {
        let (first, second) = line.split_once(" - ")?;
        let mut first = first.split(' ');
        let (id, device) = (first.next()?, first.nth(1)?);
        let folder = first.nth(1)?;
        let mut second = second.split(' ');
        let (kind, source) = (second.next()?, second.next()?);
        Some(Mount {
            id: id.into(),
            device: device.into(),
            folder: unescaped(folder),
            kind: kind.into(),
            source: unescaped(source),
        })
    };
    text.lines().filter_map(mount).collect()
}

/// A path as the kernel writes it, with its white space and backslashes in octal.
pub(crate) fn unescaped(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (code, char)| path.replace(code, char))
}

/// The mount that `path` is in: the last of those with the longest folder.
pub(crate) fn holder<'a>(mounts: &'a [Mount], path: &str) -> Option<&'a Mount> {
    let is_in = |mount: &&Mount| Path::new(path).starts_with(&mount.folder);
    mounts.iter().filter(is_in).max_by_key(|mount| mount.folder.len())
}

impl System {
    /// Where the link or folder `path` leads to.
    pub(crate) fn real(&self, path: impl AsRef<Path>) -> Option<PathBuf> {
        fs::canonicalize(self.path(path)).ok()
    }

    /// The disks that a mounted file system is on.
    pub(crate) fn disks_of(&self, mount: &Mount) -> Vec<String> {
        let by_number = self.path("sys/dev/block").join(&mount.device);
        if let Some(name) = fs::canonicalize(by_number).ok().and_then(|path| file_name(&path)) {
            return vec![name];
        }
        // Btrfs has numbers of its own, and may be on several; `/dev/root` names none.
        let Some(name) = mount.source.strip_prefix("/dev/").map(|name| self.disk_called(name)) else {
            return Vec::new();
        };
        let is_known = self.path("sys/class/block").join(&name).exists();
        let mut all = Vec::new();
        if mount.kind == "btrfs" {
            for whole in self.list("sys/fs/btrfs") {
                let parts = self.list(Path::new("sys/fs/btrfs").join(whole).join("devices"));
                if !is_known || parts.contains(&name) {
                    all.extend(parts);
                }
            }
        }
        all.push(name);
        all
    }

    /// The kernel's name of the disk that is `name` in `/dev`, where it may be a link.
    pub(crate) fn disk_called(&self, name: &str) -> String {
        let real = fs::canonicalize(self.path("dev").join(name));
        let name = Path::new(name);
        real.ok().and_then(|path| file_name(&path)).or_else(|| file_name(name)).unwrap_or_default()
    }

    /// Where the disk or partition called `name` is in sysfs, what it is made of, and each way to
    /// it: the paths go through the devices that it is behind.
    pub(crate) fn paths_of_disk(&self, name: &str) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        let mut waiting = vec![(name.to_owned(), 0)];
        while let Some((name, depth)) = waiting.pop() {
            let folder = Path::new("sys/class/block").join(&name);
            if name.is_empty() || depth > DEEPEST {
                continue;
            }
            paths.extend(self.real(folder.join("device")));
            let Some(real) = self.real(&folder) else { continue };
            paths.push(real.clone());
            // A partition's disk is the folder above; what that is made of lies in `slaves`.
            let disk = if real.join("partition").exists() { real.parent() } else { Some(&*real) };
            let Some(disk) = disk else { continue };
            waiting.extend(names(&disk.join("slaves")).into_iter().map(|name| (name, depth + 1)));
            // A disk of NVMe with several ways to it: they are beside it.
            let beside = disk
                .parent()
                .filter(|above| file_name(above).is_some_and(|name| name.starts_with("nvme-subsys")));
            if let Some(above) = beside {
                let ways = names(above).into_iter().map(|name| fs::canonicalize(above.join(name)));
                paths.extend(ways.flatten());
            }
            if let Ok(file) = fs::read_to_string(disk.join("loop/backing_file"))
                && let Some(mount) = holder(&mounts(self), file.trim())
            {
                waiting.extend(self.disks_of(mount).into_iter().map(|name| (name, depth + 1)));
            }
        }
        paths
    }
}

fn file_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().into_owned())
}

/// Names in a folder; none if there is no such folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
