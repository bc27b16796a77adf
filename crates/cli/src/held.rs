//! What this machine holds in a device: file systems, swap, its console. Injecting there is sawing
//! at one's own branch.
//!
//! sysfs tells it by its folders: the path of a disk, a network interface or a console goes through
//! the PCI devices that it is behind.

use std::fmt;
use std::path::Path;

use crate::disks::{Mount, holder, mounts, unescaped};
use crate::system::System;

/// Something that a device holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// The root file system.
    Root,
    /// What the root file system is reached by: this network interface.
    RootNetwork(String),
    /// Swap: this file or disk.
    Swap(String),
    /// The only console, or several that are all there are.
    Console(String),
    /// Another file system, mounted there.
    Mounted(String),
}

impl Held {
    /// Whether the machine can't do without it.
    pub(crate) fn is_vital(&self) -> bool {
        !matches!(self, Self::Mounted(_))
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("the root file system"),
            Self::RootNetwork(interface) => write!(f, "the network that root comes by ({interface})"),
            Self::Swap(what) => write!(f, "swap ({what})"),
            Self::Console(name) => write!(f, "the only console ({name})"),
            Self::Mounted(folder) => write!(f, "the file system mounted on {folder}"),
        }
    }
}

/// What the PCI device at `address` holds.
pub(crate) fn by(system: &System, address: &str) -> Vec<Held> {
    let mut all = Vec::new();
    let mut add = |held: Held| {
        if !all.contains(&held) {
            all.push(held);
        }
    };
    let mounts = mounts(system);
    let root = mounts.iter().rev().find(|mount| mount.folder == "/");
    // What an overlay is made of are folders of other file systems, any of those that are mounted.
    let is_overlay = root.is_some_and(|root| root.kind == "overlay");
    for mount in &mounts {
        if !system.is_behind(mount, address) {
            continue;
        }
        let is_root = root.is_some_and(|root| root.id == mount.id) || is_overlay;
        add(if is_root { Held::Root } else { Held::Mounted(mount.folder.clone()) });
    }
    if root.is_some_and(|root| NETWORKED.contains(&root.kind.as_str())) {
        for interface in system.list("sys/class/net") {
            let is_up = system
                .read(format!("sys/class/net/{interface}/operstate"))
                .is_ok_and(|state| state == "up" || state == "unknown");
            if is_up && system.passes(Path::new("sys/class/net").join(&interface), address) {
                add(Held::RootNetwork(interface));
            }
        }
    }
    for swap in swaps(system) {
        let is_behind = match swap.strip_prefix("/dev/") {
            Some(name) => system.disk_is_behind(&system.disk_called(name), address),
            None => holder(&mounts, &swap).is_some_and(|mount| system.is_behind(mount, address)),
        };
        if is_behind {
            add(Held::Swap(swap));
        }
    }
    let consoles = consoles(system);
    if !consoles.is_empty() && consoles.iter().all(|console| system.console_is_behind(console, address)) {
        add(Held::Console(consoles.join(", ")));
    }
    all
}

/// File systems that come by the network.
const NETWORKED: [&str; 6] = ["nfs", "nfs4", "cifs", "smb3", "ceph", "afs"];

/// What is swapped to (`/proc/swaps`).
fn swaps(system: &System) -> Vec<String> {
    let text = system.read("proc/swaps").unwrap_or_default();
    let first = |line: &str| line.split_whitespace().next().map(unescaped);
    text.lines().skip(1).filter_map(first).collect()
}

/// Names of the consoles that the kernel writes to (`/proc/consoles`).
fn consoles(system: &System) -> Vec<String> {
    let text = system.read("proc/consoles").unwrap_or_default();
    text.lines().filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

impl System {
    /// Whether the folder in sysfs that `path` leads to is behind the PCI device at `address`.
    fn passes(&self, path: impl AsRef<Path>, address: &str) -> bool {
        self.real(path).is_some_and(|real| goes_through(&real, address))
    }

    /// Whether the disk of a mounted file system is behind the PCI device at `address`.
    fn is_behind(&self, mount: &Mount, address: &str) -> bool {
        self.disks_of(mount).iter().any(|name| self.disk_is_behind(name, address))
    }

    /// Whether the disk or partition called `name`, or what it is made of, is behind the PCI device
    /// at `address`.
    fn disk_is_behind(&self, name: &str, address: &str) -> bool {
        self.paths_of_disk(name).iter().any(|path| goes_through(path, address))
    }

    /// Whether a console is behind the PCI device at `address`: a virtual terminal is where its
    /// picture is made.
    fn console_is_behind(&self, name: &str, address: &str) -> bool {
        let number = name.strip_prefix("tty");
        if number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
            let pictures = self.list("sys/class/graphics");
            let mut pictures = pictures.iter().filter(|name| *name != "fbcon");
            if pictures.any(|name| self.passes(Path::new("sys/class/graphics").join(name), address)) {
                return true;
            }
            // No picture, or the firmware's, which is a device of its own.
            let boots = self.read(format!("sys/bus/pci/devices/{address}/boot_vga"));
            return boots.is_ok_and(|boots| boots == "1");
        }
        // A console of virtio has no device above it, its ports have.
        let ports = if name.starts_with("hvc") { self.list("sys/class/virtio-ports") } else { Vec::new() };
        ports.iter().any(|port| self.passes(Path::new("sys/class/virtio-ports").join(port), address))
            || self.passes(Path::new("sys/class/tty").join(name), address)
    }
}

/// Whether a path in sysfs goes through the PCI device at `address`.
fn goes_through(path: &Path, address: &str) -> bool {
    path.components().any(|part| part.as_os_str() == address)
}

#[cfg(test)]
mod tests;
