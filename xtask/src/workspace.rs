//! Where things are: the workspace, and the folder under `target/` that holds everything xtask makes.
//!
//! `target/trapline` is used whatever CARGO_TARGET_DIR says: kernels are large, fetched once, and shared by every
//! build of the workspace.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The workspace's root folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ is a folder of the workspace")
}

/// `target/trapline`: kernels, built modules, disks, logs. Deleting it loses nothing that set-up does not make again.
pub fn cache() -> PathBuf {
    root().join("target/trapline")
}

/// A folder inside [`cache`], made if it is not there.
pub fn cache_dir(name: impl AsRef<Path>) -> Result<PathBuf> {
    let path = cache().join(name);
    fs::create_dir_all(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
    Ok(path)
}

/// Holds a named lock, so that two runs of xtask do not set up or build the same thing at once. Released on drop.
pub fn lock(name: &str) -> Result<File> {
    let path = cache_dir("locks")?.join(name);
    let file =
        File::create(&path).with_context(|| format!("cannot make the lock file {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}
