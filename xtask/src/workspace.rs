//! Where things are: the workspace, and the folder under `target/` that holds everything xtask
//! makes.
//!
//! `target/trapline` is used whatever CARGO_TARGET_DIR says: kernels are large, fetched once, and
//! shared by every build of the workspace.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::exec;

/// The workspace's root folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ is a folder of the workspace")
}

/// The files that a person wrote, relative to the root: what git tracks or would.
pub fn files() -> Result<Vec<PathBuf>> {
    let listed = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = exec::output(Command::new("git").args(listed).current_dir(root()))?;
    // Those that were deleted and not committed are listed, too.
    let is_there = |file: &PathBuf| root().join(file).is_file();
    Ok(listed.split_terminator('\0').map(PathBuf::from).filter(is_there).collect())
}

/// `target/trapline`: kernels, built modules, disks, logs. Deleting it loses nothing that set-up
/// does not make again.
pub fn cache() -> PathBuf {
    root().join("target/trapline")
}

/// A folder inside [`cache`], made if it is not there.
pub fn cache_dir(name: impl AsRef<Path>) -> Result<PathBuf> {
    let path = cache().join(name);
    fs::create_dir_all(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
    Ok(path)
}

/// Holds a named lock, so that two runs of xtask do not set up or build the same thing at once.
/// Released on drop.
pub fn lock(name: &str) -> Result<File> {
    let path = cache_dir("locks")?.join(name);
    let file =
        File::create(&path).with_context(|| format!("cannot make the lock file {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}
