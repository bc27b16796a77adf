//! The files in which the kernel tells about itself, under a root that tests replace.
//!
//! Every question that `trapline` has about the machine (is there such a device, is mmiotrace running, is the kernel locked down) is answered
//! from here, so that tests answer it with a folder of their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use crate::error::{Error, Result};

/// A machine's file system.
#[derive(Clone, Debug)]
pub(crate) struct System {
    root: PathBuf,
    release: String,
}

impl System {
    /// The machine we run on.
    pub(crate) fn here() -> Self {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        Self { root: "/".into(), release }
    }

    /// A machine that tests make up.
    #[cfg(test)]
    pub(crate) fn at(root: &Path, release: &str) -> Self {
        Self { root: root.into(), release: release.into() }
    }

    /// The running kernel's release, as `uname -r` prints it.
    pub(crate) fn release(&self) -> &str {
        &self.release
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

    /// The lockdown mode in force (`none`, `integrity`, `confidentiality`), if the kernel has lockdown.
    ///
    /// `/sys/kernel/security/lockdown` holds all modes, the one in force in brackets (security/lockdown/lockdown.c).
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
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    }

    /// The process that thread `pid` belongs to.
    ///
    /// # Errors
    /// There is no such thread.
    pub(crate) fn process_of(&self, pid: u32) -> Result<u32> {
        let status = self.read(format!("proc/{pid}/status")).ok();
        let group =
            |status: String| status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
        status.and_then(group).ok_or(Error::NoProcess { process: pid })
    }

    /// A process's command name, if it is still there.
    pub(crate) fn command_name(&self, process: u32) -> Option<String> {
        self.read(format!("proc/{process}/comm")).ok()
    }
}

#[cfg(test)]
pub(crate) mod tests {
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

    #[test]
    fn the_lockdown_mode_in_force_is_the_bracketed_one() {
        let (_root, system) = with(&[("sys/kernel/security/lockdown", "none [integrity] confidentiality\n")]);
        assert_eq!(system.lockdown().as_deref(), Some("integrity"));
        let (_root, system) = with(&[]);
        assert_eq!(system.lockdown(), None);
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
