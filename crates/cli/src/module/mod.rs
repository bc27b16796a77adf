//! The kernel module: load it if needed, open its device, check that it may be used; and
//! [`build`] it.
//!
//! A module that was loaded stays loaded. Unloading it at the end was rejected: another trace or
//! another module may have begun to use it meanwhile, and it costs nothing while nothing is
//! watched.

pub(crate) mod build;
mod error;
pub(crate) mod options;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use trapline_abi::{ABI_VERSION, Info, SelfTest};

use crate::device::{Control, Device};
use crate::system::System;
pub(crate) use error::{ModuleError, self_test_text};

/// The module's name.
pub(crate) const NAME: &str = "trapline";

/// Names the module file to load, before any installed one.
pub(crate) const MODULE_VARIABLE: &str = "TRAPLINE_MODULE";

/// Where a module of our own is installed, below a kernel's module folder (`make modules_install`,
/// `trapline module build`, DKMS).
const INSTALLED: [&str; 3] = ["extra/trapline.ko", "updates/trapline.ko", "updates/dkms/trapline.ko"];

/// What DKMS adds to the name where a distribution's modules are compressed.
const COMPRESSED: [&str; 4] = ["", ".xz", ".zst", ".gz"];

/// How long the device node may take to appear after the module was loaded: devtmpfs makes it at
/// once, udev sets its owner later.
const APPEARS_WITHIN: Duration = Duration::from_secs(2);

/// Whether it is loaded.
pub(crate) fn is_loaded(system: &System) -> bool {
    system.path("sys/module").join(NAME).exists()
}

/// Where it is installed in a kernel's module folder, if it is.
pub(crate) fn installed(modules: &Path) -> Option<PathBuf> {
    let names = INSTALLED.iter().flat_map(|name| COMPRESSED.map(|ending| format!("{name}{ending}")));
    names.map(|name| modules.join(name)).find(|path| path.exists())
}

/// Opens the device, after loading the module if it is not.
pub(crate) fn open(system: &System) -> Result<Device, ModuleError> {
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
                return Err(ModuleError::DeviceOpen { source });
            }
            Err(source) => return Err(ModuleError::DeviceOpen { source }),
        }
    }
}

/// Asks for the module's state and refuses a module of another version.
pub(crate) fn info(device: &dyn Control) -> Result<Info, ModuleError> {
    match device.info() {
        Ok(info) if info.version == ABI_VERSION => Ok(info),
        Ok(info) => Err(ModuleError::Version { module: info.version }),
        // The size of the argument is part of the command's number, so another layout is another,
        // unknown command.
        Err(error) if error.raw_os_error() == Some(Errno::NOTTY.raw_os_error()) => {
            Err(ModuleError::Version { module: 0 })
        }
        Err(source) => Err(ModuleError::Command { what: "tell its state", source }),
    }
}

/// Refuses a module that could not prove at load that it catches faults.
pub(crate) fn require_self_test(info: &Info) -> Result<(), ModuleError> {
    if info.self_test == SelfTest::Passed as u32 {
        Ok(())
    } else {
        Err(ModuleError::SelfTest { outcome: info.self_test })
    }
}

/// Refuses to go on as another user than root, with the command line that will do.
pub(crate) fn require_root(what: &'static str) -> Result<(), ModuleError> {
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        return Ok(());
    }
    Err(ModuleError::NotRoot { what, uid: uid.as_raw(), command: command_line() })
}

/// Our own command line as a shell would take it.
pub(crate) fn command_line() -> String {
    // `args_os`, since a file's name may be no text; what is none in it reads as U+FFFD.
    let words = std::env::args_os().map(|word| {
        let word = word.to_string_lossy().into_owned();
        let plain =
            !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:+=,@%".contains(c));
        if plain { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Loads it: the file that the environment names, else what `modprobe` finds, else the installed
/// file (a folder whose `modules.dep` was not made yet).
fn load(system: &System) -> Result<(), ModuleError> {
    if let Some(path) = std::env::var_os(MODULE_VARIABLE) {
        return insert(system, Path::new(&path));
    }
    let detail = match Command::new("modprobe").arg(NAME).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "),
        Err(error) => format!("can't run modprobe: {error}"),
    };
    match installed(&system.modules()) {
        Some(path) => insert(system, &path),
        None => Err(ModuleError::Missing {
            release: system.release().into(),
            path: system.modules().join(INSTALLED[0]),
            detail,
        }),
    }
}

/// Inserts the module file at `path`; that it is loaded already is fine, since two commands may
/// load it at the same time.
fn insert(system: &System, path: &Path) -> Result<(), ModuleError> {
    // The kernel unpacks what is compressed, if it can (finit_module(2)).
    const COMPRESSED_FILE: i32 = 4;
    let flags = if path.extension().is_some_and(|ending| ending != "ko") { COMPRESSED_FILE } else { 0 };
    let refused = |errno| ModuleError::refused(path, errno, system);
    let file = File::open(path).map_err(|source| ModuleError::Refused {
        path: path.into(),
        source,
        hint: "name a module file that can be read".into(),
    })?;
    match rustix::system::finit_module(&file, c"", flags) {
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
        }
    }
}
