//! The kernel module: load it if needed, open its device, check that it may be used.
//!
//! A module that was loaded stays loaded. Unloading it at the end was rejected: another trace or another module may have begun to use it
//! meanwhile, and it costs nothing while nothing is watched.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use trapline_abi::{ABI_VERSION, Info, SelfTest};

use crate::device::{Control, Device};
use crate::error::{Error, Result};
use crate::system::System;

/// The module's name.
pub(crate) const NAME: &str = "trapline";

/// Names the module file to load, before any installed one.
pub(crate) const MODULE_VARIABLE: &str = "TRAPLINE_MODULE";

/// Where a module of our own is installed, below the kernel's module folder (`make modules_install`, DKMS).
const INSTALLED: [&str; 3] = ["extra/trapline.ko", "updates/trapline.ko", "updates/dkms/trapline.ko"];

/// How long the device node may take to appear after the module was loaded: devtmpfs makes it at once, udev sets its owner later.
const APPEARS_WITHIN: Duration = Duration::from_secs(2);

/// Whether it is loaded.
pub(crate) fn is_loaded(system: &System) -> bool {
    system.path("sys/module").join(NAME).exists()
}

/// Where it is installed for the running kernel, if not in the kernel's module index.
pub(crate) fn installed(system: &System) -> Option<PathBuf> {
    INSTALLED.iter().map(|name| system.modules().join(name)).find(|path| path.exists())
}

/// Opens the device, after loading the module if it is not.
pub(crate) fn open(system: &System) -> Result<Device> {
    if !is_loaded(system) {
        require_root("load the trapline module")?;
        load(system)?;
    }
    let deadline = Instant::now() + APPEARS_WITHIN;
    loop {
        match Device::open() {
            Ok(device) => return Ok(device),
            Err(source) if source.kind() == io::ErrorKind::NotFound && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                require_root("open /dev/trapline")?;
                return Err(Error::DeviceOpen { source });
            }
            Err(source) => return Err(Error::DeviceOpen { source }),
        }
    }
}

/// Asks for the module's state and refuses a module of another version.
pub(crate) fn info(device: &impl Control) -> Result<Info> {
    match device.info() {
        Ok(info) if info.version == ABI_VERSION => Ok(info),
        Ok(info) => Err(Error::Version { module: info.version }),
        // The size of the argument is part of the command's number, so another layout is another, unknown command.
        Err(error) if error.raw_os_error() == Some(Errno::NOTTY.raw_os_error()) => {
            Err(Error::Version { module: 0 })
        }
        Err(source) => Err(Error::Device { what: "tell its state", source }),
    }
}

/// Refuses a module that could not prove at load that it catches faults.
pub(crate) fn require_self_test(info: &Info) -> Result<()> {
    if info.self_test == SelfTest::Passed as u32 {
        Ok(())
    } else {
        Err(Error::SelfTest { outcome: info.self_test })
    }
}

/// Refuses to go on as another user than root, with the command line that will do.
pub(crate) fn require_root(what: &'static str) -> Result<()> {
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        return Ok(());
    }
    Err(Error::NotRoot { what, uid: uid.as_raw(), command: command_line() })
}

/// Our own command line as a shell would take it.
pub(crate) fn command_line() -> String {
    let words = std::env::args().map(|word| {
        let plain =
            !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:+=,@%".contains(c));
        if plain { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Loads it: the file that the environment names, else what `modprobe` finds, else the installed file (a folder whose `modules.dep` was
/// not made yet).
fn load(system: &System) -> Result<()> {
    if let Some(path) = std::env::var_os(MODULE_VARIABLE) {
        return insert(system, Path::new(&path));
    }
    let detail = match Command::new("modprobe").arg(NAME).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "),
        Err(error) => format!("can't run modprobe: {error}"),
    };
    match installed(system) {
        Some(path) => insert(system, &path),
        None => Err(Error::NoModule {
            release: system.release().into(),
            path: system.modules().join(INSTALLED[0]),
            detail,
        }),
    }
}

/// Inserts the module file at `path`; that it is loaded already is fine, since two commands may load it at the same time.
fn insert(system: &System, path: &Path) -> Result<()> {
    let refused = |errno| Error::module_refused(path, errno, system);
    let file = File::open(path).map_err(|source| Error::ModuleRefused {
        path: path.into(),
        source,
        hint: "name a module file that can be read".into(),
    })?;
    match rustix::system::finit_module(&file, c"", 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(refused(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_failed_its_self_test_is_refused_with_what_it_found() {
        let info = |self_test: SelfTest| Info { self_test: self_test as u32, ..Info::default() };
        assert!(require_self_test(&info(SelfTest::Passed)).is_ok());
        for (outcome, text) in [
            (SelfTest::NotRun, "has not run"),
            (SelfTest::NoFault, "did not reach it"),
            (SelfTest::WrongValue, "value was wrong"),
        ] {
            let error = require_self_test(&info(outcome)).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
            assert_eq!(error.exit(), 3);
        }
    }
}
