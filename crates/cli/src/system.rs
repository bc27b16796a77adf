//! The files in which the kernel tells about itself, under a root that tests replace.
//!
//! Every question that `trapline` has about the machine (is there such a device, is mmiotrace
//! running, is the kernel locked down) is answered from here, so that tests answer it with a folder
//! of their own.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

/// A process that was asked for and is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no process {process}")]
pub(crate) struct NoProcess {
    /// What was asked for.
    pub process: u32,
}

/// A CPU that was asked for and can't be there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no CPU {cpu}: this machine has {possible}")]
pub(crate) struct NoCpu {
    /// What was asked for.
    pub cpu: u32,
    /// What there is.
    pub possible: String,
}

/// A machine's file system.
#[derive(Clone, Debug)]
pub(crate) struct System {
    root: PathBuf,
    release: String,
    name: String,
}

impl System {
    /// The machine we run on.
    pub(crate) fn here() -> Self {
        let names = rustix::system::uname();
        let text = |name: &CStr| name.to_string_lossy().into_owned();
        Self { root: "/".into(), release: text(names.release()), name: text(names.nodename()) }
    }

    /// A machine that tests make up.
    #[cfg(test)]
    pub(crate) fn at(root: &Path, release: &str) -> Self {
        Self { root: root.into(), release: release.into(), name: "made-up".into() }
    }

    /// The running kernel's release, as `uname -r` prints it.
    pub(crate) fn release(&self) -> &str {
        &self.release
    }

    /// The machine's name, as `uname -n` prints it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where `path`, relative to the root, is.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// Where the running kernel's modules and what is known about them lie.
    pub(crate) fn modules(&self) -> PathBuf {
        self.path("lib/modules").join(&self.release)
    }

    /// A file's text without the white space around it.
    pub(crate) fn read(&self, path: impl AsRef<Path>) -> io::Result<String> {
        let bytes = fs::read(self.path(path))?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// Names in a folder, sorted; none if there is no such folder.
    pub(crate) fn list(&self, path: impl AsRef<Path>) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(path))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// The last name of what the symbolic link `path` points to.
    pub(crate) fn link_name(&self, path: impl AsRef<Path>) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// The tracer that ftrace runs, if tracefs is mounted and readable.
    pub(crate) fn current_tracer(&self) -> Option<String> {
        ["sys/kernel/tracing/current_tracer", "sys/kernel/debug/tracing/current_tracer"]
            .iter()
            .find_map(|path| self.read(path).ok())
    }

    /// The lockdown mode in force (`none`, `integrity`, `confidentiality`), if the kernel has
    /// lockdown.
    ///
    /// `/sys/kernel/security/lockdown` holds all modes, the one in force in brackets
    /// (security/lockdown/lockdown.c).
    pub(crate) fn lockdown(&self) -> Option<String> {
        let modes = self.read("sys/kernel/security/lockdown").ok()?;
        let mode = modes.split_once('[')?.1.split_once(']')?.0;
        Some(mode.to_owned())
    }

    /// The kernel's build configuration, where one can be read, and where it was found.
    pub(crate) fn config(&self) -> Option<(PathBuf, String)> {
        let plain =
            [self.path("boot").join(format!("config-{}", self.release)), self.modules().join("config")];
        for path in plain {
            if let Ok(text) = fs::read_to_string(&path) {
                return Some((path, text));
            }
        }
        let path = self.path("proc/config.gz");
        let text = io::read_to_string(GzDecoder::new(fs::File::open(&path).ok()?)).ok()?;
        Some((path, text))
    }

    /// Bytes of memory that could be had without swapping (`MemAvailable` of `/proc/meminfo`).
    pub(crate) fn available_memory(&self) -> Option<u64> {
        let meminfo = self.read("proc/meminfo").ok()?;
        let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    }

    /// The process that thread `pid` belongs to.
    ///
    /// # Errors
    /// There is no such thread.
    pub(crate) fn process_of(&self, pid: u32) -> Result<u32, NoProcess> {
        let status = self.read(format!("proc/{pid}/status")).ok();
        let group =
            |status: String| status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
        status.and_then(group).ok_or(NoProcess { process: pid })
    }

    /// Looks whether the machine may have CPU `cpu`.
    ///
    /// # Errors
    /// It can't.
    pub(crate) fn check_cpu(&self, cpu: u32) -> Result<(), NoCpu> {
        // `0-3`, or with holes.
        let possible = self.read("sys/devices/system/cpu/possible").unwrap_or_default();
        let number = |text: &str| text.parse::<u32>().ok();
        let holds = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some((number(first)?..=number(last)?).contains(&cpu))
        };
        let told: Option<Vec<bool>> = possible.split(',').map(holds).collect();
        if told.is_some_and(|told| !told.contains(&true)) { Err(NoCpu { cpu, possible }) } else { Ok(()) }
    }

    /// A process's command name, if it is still there.
    pub(crate) fn command_name(&self, process: u32) -> Option<String> {
        // A process may call itself anything, also what a terminal would obey.
        let name = self.read(format!("proc/{process}/comm")).ok()?;
        Some(name.replace(char::is_control, "?"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A machine with these files.
    pub(crate) fn with(files: &[(&str, &str)]) -> (tempfile::TempDir, System) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let system = System::at(root.path(), "6.1.0-test");
        (root, system)
    }

    /// A machine with PCI devices at these addresses, which have neither drivers nor regions.
    pub(crate) fn with_devices(addresses: &[&str]) -> (tempfile::TempDir, System) {
        let (root, system) = with(&[]);
        for address in addresses {
            let folder = system.path(format!("sys/bus/pci/devices/{address}"));
            fs::create_dir_all(&folder).unwrap();
            for name in ["vendor", "device", "class"] {
                fs::write(folder.join(name), "0x1\n").unwrap();
            }
            fs::write(folder.join("irq"), "0\n").unwrap();
            let none = "0x0000000000000000 0x0000000000000000 0x0000000000000000\n";
            fs::write(folder.join("resource"), none).unwrap();
        }
        (root, system)
    }

    /// A machine made of files and links, as sysfs has them.
    pub(crate) struct Machine {
        _folder: tempfile::TempDir,
        pub(crate) system: System,
    }

    impl Machine {
        pub(crate) fn new(files: &[(&str, &str)]) -> Self {
            let (_folder, system) = with(files);
            Self { _folder, system }
        }

        /// A folder in sysfs that `names`, in the classes where they are, are links to.
        pub(crate) fn device(self, path: &str, names: &[&str]) -> Self {
            let real = self.system.path("sys/devices").join(path);
            fs::create_dir_all(&real).unwrap();
            names.iter().for_each(|name| self.link(name, &real));
            self
        }

        /// The same of a disk or partition with a number.
        pub(crate) fn disk(self, path: &str, number: &str) -> Self {
            let name = Path::new(path).file_name().unwrap().to_str().unwrap().to_owned();
            self.device(path, &[&format!("sys/class/block/{name}"), &format!("sys/dev/block/{number}")])
        }

        pub(crate) fn file(self, path: &str, text: &str) -> Self {
            let path: PathBuf = self.system.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        pub(crate) fn link(&self, name: &str, target: &Path) {
            let name = self.system.path(name);
            fs::create_dir_all(name.parent().unwrap()).unwrap();
            symlink(target, name).unwrap();
        }
    }

    #[test]
    fn the_lockdown_mode_in_force_is_the_bracketed_one() {
        let (_root, system) = with(&[("sys/kernel/security/lockdown", "none [integrity] confidentiality\n")]);
        assert_eq!(system.lockdown().as_deref(), Some("integrity"));
        let (_root, system) = with(&[]);
        assert_eq!(system.lockdown(), None);
    }

    #[test]
    fn a_cpu_in_a_hole_of_what_is_possible_is_none() {
        let (_root, system) = with(&[("sys/devices/system/cpu/possible", "0-3,8-11\n")]);
        let possible: Vec<u32> = (0..14).filter(|&cpu| system.check_cpu(cpu).is_ok()).collect();
        assert_eq!(possible, [0, 1, 2, 3, 8, 9, 10, 11]);
    }

    #[test]
    fn the_tracer_is_found_where_tracefs_used_to_be_as_well() {
        let (_root, system) = with(&[("sys/kernel/debug/tracing/current_tracer", "mmiotrace\n")]);
        assert_eq!(system.current_tracer().as_deref(), Some("mmiotrace"));
    }

    #[test]
    fn a_process_is_told_by_any_of_its_threads_and_one_that_is_not_there_is_an_error() {
        let (_folder, system) = with(&[("proc/7/status", "Name:\tsh\nTgid:\t5\n")]);
        assert_eq!(system.process_of(7).unwrap(), 5);
        assert_eq!(system.process_of(8).unwrap_err().to_string(), "there is no process 8");
    }

    #[test]
    fn available_memory_is_told_in_bytes() {
        let (_root, system) = with(&[("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:     2048 kB\n")]);
        assert_eq!(system.available_memory(), Some(2 << 20));
    }
}
