//! Python packages, in an environment of their own under `target/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::host;
use crate::progress::Step;
use crate::{exec, workspace};

/// A Python that can import these packages, which are called as their modules are.
pub(crate) fn with(packages: &[&str]) -> Result<PathBuf> {
    host::ensure_for_python()?;
    let _lock = workspace::lock("python")?;
    let folder = workspace::cache().join("python");
    let python = folder.join("bin/python");
    // One that was made by half has no pip.
    if !has(&python, "pip") {
        exec::output(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    let missing: Vec<_> = packages.iter().filter(|package| !has(&python, package)).collect();
    if !missing.is_empty() {
        let _step = Step::new("installing Python packages");
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet"]).args(missing);
        exec::output(&mut install).context("packages of Python come from https://pypi.org, once")?;
    }
    Ok(python)
}

fn has(python: &Path, package: &str) -> bool {
    let import = format!("import {package}");
    exec::raw(Command::new(python).args(["-c", &import])).is_ok_and(|said| said.status.success())
}
