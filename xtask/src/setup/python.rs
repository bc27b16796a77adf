//! Python packages, in an environment of their own under `target/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::host;
use crate::progress::Step;
use crate::{exec, workspace};

/// A Python that can import these packages, which are called as their modules are.
pub(crate) fn with(packages: &[&str]) -> Result<PathBuf> {
    host::ensure_for_python()?;
    let _lock = workspace::lock("python")?;
    let folder = workspace::cache().join("python");
    let python = folder.join("bin/python");
    if !python.exists() {
        exec::output(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    let missing: Vec<_> = packages.iter().filter(|package| !has(&python, package)).collect();
    if !missing.is_empty() {
        let _step = Step::new("installing Python packages");
        exec::output(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(missing))?;
    }
    Ok(python)
}

fn has(python: &Path, package: &str) -> bool {
    let import = format!("import {package}");
    exec::raw(Command::new(python).args(["-c", &import])).is_ok_and(|said| said.status.success())
}
