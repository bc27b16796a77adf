//! The module's source as it is installed: the folder `kernel` and the crates that it needs, ours
//! without what only their tests use, those of others beside them in `vendor`.
//!
//! So a build needs nothing from the network, whatever the machine's cargo knows. `kernel/Makefile`
//! makes use of `vendor`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use toml::Table;

use crate::build::module_sources;
use crate::{exec, workspace};

/// What of a manifest matters to no build of the library alone: tests, benchmarks and what they
/// depend on; what is for loom, whose dependencies would be most of `vendor`.
const NOT_NEEDED: [&str; 5] = ["dev-dependencies", "target", "test", "bench", "example"];

/// Lays it out in `folder`, which is made.
pub(super) fn lay_out(folder: &Path) -> Result<()> {
    let root = workspace::root();
    for path in module_sources()? {
        let file = path.strip_prefix(root)?;
        let is_our_crates = file.starts_with("crates");
        if file.starts_with("kernel/tests") || (is_our_crates && is_for_tests(file)) {
            continue;
        }
        let to = folder.join(file);
        fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
        fs::copy(&path, &to).with_context(|| format!("cannot copy {}", file.display()))?;
        if is_our_crates && file.ends_with("Cargo.toml") {
            edit(&to, |manifest| NOT_NEEDED.iter().for_each(|section| drop(manifest.remove(*section))))?;
        }
    }
    for file in ["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT"] {
        fs::copy(root.join(file), folder.join(file)).with_context(|| format!("cannot copy {file}"))?;
    }
    edit(&folder.join("Cargo.toml"), |manifest| {
        if let Some(toml::Value::Table(workspace)) = manifest.get_mut("workspace") {
            workspace.insert("members".into(), vec!["crates/*".to_owned()].into());
        }
    })?;
    vendor(folder)
}

/// Whether a file of a crate is no part of its library: neither `Cargo.toml` nor below `src`.
fn is_for_tests(file: &Path) -> bool {
    let mut parts = file.iter().skip(2);
    parts.next().is_none_or(|part| part != "src" && part != "Cargo.toml")
}

/// Fetches the crates of others, of the versions that `kernel/Cargo.lock` has, whose other entries
/// go.
fn vendor(folder: &Path) -> Result<()> {
    let kernel = folder.join("kernel");
    let cargo = |arguments: &[&str]| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(arguments).current_dir(&kernel).env_remove("CARGO_TARGET_DIR");
        exec::output(&mut cargo)
    };
    cargo(&["update", "--quiet", "--workspace"])?;
    // What it prints is the configuration that would use them; the Makefile has its own.
    cargo(&["vendor", "--quiet", "--locked", "--versioned-dirs", "../vendor"]).map(drop)
}

fn edit(manifest: &Path, change: impl FnOnce(&mut Table)) -> Result<()> {
    let text = fs::read_to_string(manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let mut table: Table = text.parse().with_context(|| format!("cannot parse {}", manifest.display()))?;
    change(&mut table);
    fs::write(manifest, toml::to_string(&table)?)
        .with_context(|| format!("cannot write {}", manifest.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crates_library_is_taken_and_its_tests_are_not() {
        for (file, expected) in [
            ("crates/insn/Cargo.toml", false),
            ("crates/insn/src/plan.rs", false),
            ("crates/insn/tests/insn/main.rs", true),
            ("crates/engine/benches/trap.rs", true),
        ] {
            assert_eq!(is_for_tests(Path::new(file)), expected, "{file}");
        }
    }
}
