//! Where a built module goes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::BuildError;
use super::kernel::Kernel;
use crate::module;
use crate::system::System;

/// Below a kernel's modules: looked into by depmod before the kernel's own on every distribution.
const PLACE: &str = "updates/trapline.ko";

/// Where it is installed for a kernel.
pub(super) fn place(kernel: &Kernel) -> PathBuf {
    kernel.modules.join(PLACE)
}

/// Refuses to install a second one beside what somebody else keeps.
pub(super) fn refuse_twins(kernel: &Kernel) -> Result<(), BuildError> {
    match module::installed(&kernel.modules) {
        Some(path) if path != place(kernel) => Err(BuildError::Twin { path }),
        _ => Ok(()),
    }
}

/// Installs it, and tells depmod.
pub(super) fn install(system: &System, kernel: &Kernel, module: PathBuf) -> Result<(), BuildError> {
    let place = place(kernel);
    let folder = place.parent().unwrap_or(&kernel.modules);
    fs::create_dir_all(folder).map_err(BuildError::file("make the folder", folder))?;
    copy(module, &place)?;
    let mut depmod = Command::new("depmod");
    depmod.arg("-b").arg(system.path("")).arg(&kernel.release).stdin(Stdio::null());
    let failed = BuildError::file("run", "depmod");
    match depmod.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(std::io::Error::other(status.to_string()))),
        Err(error) => Err(failed(error)),
    }
}

/// Copies it: under another name until it is whole.
pub(super) fn copy(from: PathBuf, to: &Path) -> Result<(), BuildError> {
    let partial = to.with_extension("ko.partial");
    fs::copy(from, &partial).map_err(BuildError::file("write", &partial))?;
    fs::rename(&partial, to).map_err(BuildError::file("write", to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::with;

    #[test]
    fn a_module_that_dkms_keeps_gets_no_twin_and_our_own_is_replaced() {
        let twins = |installed: &str| {
            let file = format!("lib/modules/6.1.0-test/{installed}");
            let (_root, system) = with(&[(&file, "")]);
            refuse_twins(&Kernel::find(&system, None).unwrap())
        };
        for other in ["updates/dkms/trapline.ko.xz", "extra/trapline.ko"] {
            let error = twins(other).unwrap_err().to_string();
            assert!(error.contains(other) && error.contains("dkms remove"), "{error}");
        }
        assert!(twins("updates/trapline.ko").is_ok());
        assert!(twins("kernel/x").is_ok());
    }

    #[test]
    fn what_is_copied_is_there_whole_under_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b.ko"));
        fs::write(&from, "module").unwrap();
        copy(from, &to).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "module");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        let error = copy(to, Path::new("/nonexistent/b.ko")).unwrap_err().to_string();
        assert!(error.starts_with("can't write /nonexistent/b.ko.partial: "), "{error}");
    }
}
