//! The copy of the tree that is broken: the tree that a person works in stays as it is.
//!
//! It lies at one place and keeps what was built in it, so that a breakage costs the build of what
//! it touches and nothing else. A git worktree would hold what is committed, not what is there.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use walkdir::WalkDir;

use crate::workspace;

/// A copy of the workspace's sources, in which one run of xtask works at a time.
pub(super) struct Copy {
    root: PathBuf,
    _lock: File,
}

impl Copy {
    /// The copy as the tree is now.
    pub(super) fn make() -> Result<Self> {
        let copy = Self { root: workspace::cache_dir("break")?, _lock: workspace::lock("break")? };
        // Kernels are large: those of the tree serve. They are fetched there if they are not yet.
        let kernels = workspace::cache_dir("kernels")?;
        let place = copy.root.join("target/trapline/kernels");
        if !place.exists() {
            fs::create_dir_all(place.parent().expect("it was joined"))?;
            symlink(&kernels, &place).with_context(|| format!("cannot link {}", place.display()))?;
        }
        copy.renew()?;
        Ok(copy)
    }

    /// Where it lies.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes it as the tree is. A file that is as it should be is not touched, so that Cargo builds
    /// nothing anew for it.
    fn renew(&self) -> Result<()> {
        let files: HashSet<PathBuf> = workspace::files()?.into_iter().collect();
        for file in &files {
            let (from, to) = (workspace::root().join(file), self.root.join(file));
            if fs::read(&to).ok() != Some(fs::read(&from)?) {
                fs::create_dir_all(to.parent().expect("a file lies in a folder"))?;
                fs::copy(&from, &to).with_context(|| format!("cannot copy {}", file.display()))?;
            }
        }
        // What was deleted or moved in the tree, and what a test left here.
        let walk = WalkDir::new(&self.root).into_iter().filter_entry(|entry| entry.file_name() != "target");
        for entry in walk {
            let entry = entry?;
            let file = entry.path().strip_prefix(&self.root).expect("the walk began there");
            if !entry.file_type().is_dir() && !files.contains(file) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Runs `run` while the copy has these changed files, and puts back what they held.
    ///
    /// What the tree holds by now is not looked at: a person may go on working in it.
    pub(super) fn changed<T>(
        &self,
        changed: &[(PathBuf, String)],
        run: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let write = |(path, text): &(PathBuf, String)| {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        let before: Vec<_> = changed
            .iter()
            .map(|(path, _)| Ok((path.clone(), fs::read_to_string(path)?)))
            .collect::<Result<_>>()?;
        changed.iter().try_for_each(write)?;
        let result = run();
        before.iter().try_for_each(write)?;
        result
    }
}
