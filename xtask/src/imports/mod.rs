//! `cargo xtask imports`: `trapline registers import` on whole files of others, one or more of each
//! format, which are fetched for that: the kernel's own sources of Debian's package, and the SVD
//! files that the Python package `pyocd` brings. None of them is kept in the repository.

mod fetch;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::failure::FAILED;
use crate::progress::Step;
use crate::{build, exec, workspace};

/// A file of others, and what is to come of it.
struct File {
    /// Below the folder that it is fetched into; a folder stands for all that is in it.
    path: &'static str,
    arguments: &'static [&'static str],
    /// Registers that are found at least, an array being one: somewhat fewer than when it was tried
    /// first, since others go on with their files.
    registers: usize,
}

const FILES: [File; 9] = [
    File { path: fetch::SVD, arguments: &["--peripheral", "*"], registers: 150_000 },
    header("drivers/gpu/drm/i915/i915_reg.h", 700),
    header("drivers/net/ethernet/realtek/r8169_main.c", 90),
    header("drivers/power/supply/bq25890_charger.c", 15),
    header("drivers/net/ethernet/intel/e1000e/regs.h", 150),
    header("include/linux/nvme.h", 200),
    header("include/uapi/linux/pci_regs.h", 150),
    database("drivers/gpu/drm/msm/registers/display/mdp5.xml", 1_400),
    database("drivers/gpu/drm/msm/registers/adreno/a6xx.xml", 1_300),
];

const fn header(path: &'static str, registers: usize) -> File {
    File { path, arguments: &[], registers }
}

const fn database(path: &'static str, registers: usize) -> File {
    File { path, arguments: &["--domain", "*"], registers }
}

/// Imports them all; the status tells whether each gave the registers that it has, and whether what
/// was written reads without a warning.
pub fn command() -> Result<u8> {
    let trapline = build::command()?;
    let folder = fetch::fetch()?;
    let written = workspace::cache_dir("imported")?;
    let _step = Step::new("importing registers");
    let mut failed = 0;
    for file in &FILES {
        let mut registers = 0;
        for source in sources(&folder.join(file.path))? {
            match imported(&trapline, &source, file.arguments, &written) {
                Ok(count) => registers += count,
                Err(error) => {
                    println!("FAILED {}: {error:#}", source.display());
                    failed += 1;
                }
            }
        }
        let is_enough = registers >= file.registers;
        failed += u32::from(!is_enough);
        let word = if is_enough { "ok    " } else { "FAILED" };
        println!("{word} {:8} registers, at least {:7}: {}", registers, file.registers, file.path);
    }
    Ok(if failed == 0 { 0 } else { FAILED })
}

/// The file, or all SVD files of the folder.
fn sources(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files: Vec<_> = walkdir::WalkDir::new(path)
        .into_iter()
        .filter_map(|entry| Some(entry.ok()?.into_path()))
        .filter(|path| path.extension().is_some_and(|end| end == "svd"))
        .collect();
    files.sort();
    Ok(files)
}

/// Imports a file, reads what was written, and returns how many registers that has.
fn imported(trapline: &Path, source: &Path, arguments: &[&str], folder: &Path) -> Result<usize> {
    let out = folder.join("out.toml");
    let mut import = Command::new(trapline);
    import.args(["registers", "import", "--force", "--to"]).arg(&out).args(arguments).arg(source);
    let said = exec::raw(&mut import)?;
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    ensure!(said.status.success(), "{}", exec::tail(&words, 3));
    let mut show = Command::new(trapline);
    let said = exec::raw(show.args(["registers", "show"]).arg(&out))?;
    let warnings = String::from_utf8_lossy(&said.stderr);
    ensure!(said.status.success() && warnings.is_empty(), "what was written does not read: {warnings}");
    counted(&words).with_context(|| format!("it is not told how many: {words}"))
}

/// How many registers there are, of `out.toml: 227 registers, 455 fields`.
fn counted(said: &str) -> Option<usize> {
    let (_, counts) = said.lines().next()?.rsplit_once(": ")?;
    counts.split_once(" register")?.0.replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_registers_is_read() {
        assert_eq!(counted("/a: b/out.toml: 227 registers, 455 fields\nmore: 3 registers"), Some(227));
        assert_eq!(counted("out.toml: 1 register, 0 fields"), Some(1));
        assert_eq!(counted("trapline: nothing"), None);
    }
}
