//! Room on the disk, which large set-ups ask for before they begin: one that fails at its end for
//! want of it is told of now.

use std::path::Path;

use anyhow::{Context, Result, ensure};

/// There must be room for `needed` bytes below `folder`, which is there.
///
/// # Errors
/// Less is free; `what` needs it.
pub(super) fn ensure(folder: &Path, needed: u64, what: &str) -> Result<()> {
    let disk = rustix::fs::statvfs(folder)
        .with_context(|| format!("cannot ask for the room in {}", folder.display()))?;
    let free = disk.f_bavail * disk.f_frsize;
    ensure!(
        free >= needed,
        "{what} needs {} MB in {}, where {} MB are free",
        needed >> 20,
        folder.display(),
        free >> 20
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_needs_more_than_there_is_is_told_how_much_and_where() {
        let folder = tempfile::tempdir().unwrap();
        assert!(ensure(folder.path(), 1, "a kernel").is_ok());
        let error = ensure(folder.path(), 1 << 62, "a kernel").unwrap_err().to_string();
        assert!(error.starts_with("a kernel needs 4398046511104 MB in "), "{error}");
    }
}
