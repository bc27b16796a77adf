//! Kernels that are not there yet are set up, each once, in `target/trapline/kernels/SERIES`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Kernel, Series, debug, stock};
use crate::workspace;

/// The file that holds a kernel's release, written last: it says that all the rest is there.
const RELEASE: &str = "release";

impl Kernel {
    /// The kernel of a series, set up if that has not happened yet.
    pub fn ensure(series: Series) -> Result<Self> {
        let root = workspace::cache().join("kernels").join(series.name());
        if let Some(kernel) = ready(series, &root) {
            return Ok(kernel);
        }
        let _lock = workspace::lock("kernels")?;
        match ready(series, &root) {
            Some(kernel) => Ok(kernel),
            None => set_up(series, &root).with_context(|| format!("cannot set up kernel {series}")),
        }
    }
}

fn ready(series: Series, root: &Path) -> Option<Kernel> {
    if series == Series::Debug && !debug::is_current(root) {
        return None;
    }
    let release = fs::read_to_string(root.join(RELEASE)).ok()?;
    Some(Kernel { series, release, root: root.to_owned() })
}

fn set_up(series: Series, root: &Path) -> Result<Kernel> {
    let kernel = match series {
        Series::Debug => debug::build(root)?,
        _ => stock::fetch(series, root)?,
    };
    fs::write(root.join(RELEASE), &kernel.release).context("cannot write a kernel's release")?;
    Ok(kernel)
}
