//! Builds the kernel modules against a stock kernel's headers, and rebuilds them only when a source
//! changed.
//!
//! The contract with `kernel/Makefile`: `make -C kernel KDIR=HEADERS OUT=FOLDER` with the targets
//! `rust` and then `kbuild` leaves every module in FOLDER as `*.ko`, `trapline.ko` among them. The
//! Rust half is compiled by the host's Debian rustc, whose package of core's source has exactly its
//! version; the C half by the compiler of the kernel's own release.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use walkdir::WalkDir;

use crate::progress::Step;
use crate::setup::{self, Kernel};
use crate::{exec, workspace};

/// Where the build's output is kept, beside the modules.
const LOG: &str = "build.log";
const RUSTC: &str = "/usr/bin/rustc";
/// The folders whose files decide whether the modules are up to date.
const SOURCES: &[&str] =
    &["kernel", "crates/abi", "crates/api", "crates/engine", "crates/insn", "crates/ring"];
const SOURCE_EXTENSIONS: &[&str] = &["rs", "c", "h", "S", "toml", "lock", "lds", "json", "sh", "mk"];

/// The modules for a kernel, built if need be; none while `kernel/` holds no Makefile.
pub fn modules(kernel: &Kernel) -> Result<Vec<PathBuf>> {
    let folder = workspace::root().join("kernel");
    if !folder.join("Makefile").exists() {
        eprintln!("xtask: kernel/Makefile is not there: the guest gets no trapline.ko");
        return Ok(Vec::new());
    }
    let out = workspace::cache_dir(Path::new("modules").join(&kernel.release))?;
    // For each kernel one: nobody waits for the modules of another.
    let _lock = workspace::lock(&format!("modules-{}", kernel.release))?;
    let fingerprint = format!("{:016x}", fingerprint(kernel)?);
    let stamp = out.join("fingerprint");
    if fs::read_to_string(&stamp).ok().as_deref() != Some(&fingerprint) {
        // Whoever builds may be the first to need the compiler on this machine.
        setup::host::ensure()?;
        build(&folder, kernel, &out)?;
        fs::write(&stamp, &fingerprint)?;
    }
    let mut modules: Vec<PathBuf> = fs::read_dir(&out)?
        .map(|entry| Ok(entry?.path()))
        .filter(|path: &Result<PathBuf>| {
            path.as_ref().is_ok_and(|path| path.extension().is_some_and(|e| e == "ko"))
        })
        .collect::<Result<_>>()?;
    modules.sort();
    ensure!(
        modules.iter().any(|module| module.ends_with("trapline.ko")),
        "kernel/Makefile succeeded but left no trapline.ko in {}",
        out.display()
    );
    Ok(modules)
}

fn build(folder: &Path, kernel: &Kernel, out: &Path) -> Result<()> {
    let _step = Step::new(format!("building the kernel module for {}", kernel.release));
    let root = kernel.build_root();
    let kbuild = match &root {
        Some(root) => root.command("make", workspace::root(), out),
        None => Command::new("make"),
    };
    let kdir = root.map_or_else(|| kernel.headers(), |_| Path::new("/").join(kernel.kdir()));
    let mut said = String::new();
    let mut has_failed = false;
    for (mut command, target, kdir) in
        [(Command::new("make"), "rust", kernel.headers()), (kbuild, "kbuild", kdir)]
    {
        command
            .args(["--no-print-directory", "-C"])
            .arg(folder)
            .arg(target)
            .arg(format!("KDIR={}", kdir.display()))
            .arg(format!("OUT={}", out.display()))
            .envs([("RUSTC", RUSTC), ("RUSTC_BOOTSTRAP", "1")]);
        // A make that calls cargo, under a make or a cargo: neither's settings are meant for it.
        for inherited in ["MAKEFLAGS", "CARGO_TARGET_DIR", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            command.env_remove(inherited);
        }
        let result = exec::raw(&mut command)?;
        said.push_str(&String::from_utf8_lossy(&[&result.stdout[..], &result.stderr[..]].concat()));
        has_failed = !result.status.success();
        if has_failed {
            break;
        }
    }
    let log = out.join(LOG);
    fs::write(&log, &said).with_context(|| format!("cannot write {}", log.display()))?;
    ensure!(
        !has_failed,
        "the kernel module does not build for {} (all of it: {}):\n{}",
        kernel.release,
        log.display(),
        exec::tail(&said, 40)
    );
    // objtool, modpost and the compilers say what is wrong with a module that they build all the
    // same.
    warnings_in(&said).for_each(|warning| eprintln!("xtask: {warning}"));
    Ok(())
}

fn warnings_in(said: &str) -> impl Iterator<Item = &str> {
    said.lines().filter(|line| line.to_ascii_lowercase().contains("warning"))
}

/// What the build of the modules for a kernel warned of.
pub fn warnings(kernel: &Kernel) -> Result<Vec<String>> {
    modules(kernel)?;
    let log = workspace::cache_dir(Path::new("modules").join(&kernel.release))?.join(LOG);
    let said = fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok(warnings_in(&said).map(str::to_owned).collect())
}

/// A hash of the names and the contents of every source, and of the kernel's configuration.
fn fingerprint(kernel: &Kernel) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    let configuration = kernel.headers().join(".config");
    fs::read(&configuration)
        .with_context(|| format!("cannot read {}", configuration.display()))?
        .hash(&mut hasher);
    for path in module_sources()? {
        path.hash(&mut hasher);
        fs::read(path)?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// Every file that modules are built of.
pub fn module_sources() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for source in SOURCES {
        let walk = WalkDir::new(workspace::root().join(source)).sort_by_file_name();
        for entry in walk.into_iter().filter_entry(|entry| entry.file_name() != "target") {
            let entry = entry?;
            if entry.file_type().is_file() && is_source(entry.path()) {
                files.push(entry.into_path());
            }
        }
    }
    Ok(files)
}

/// Whether a person wrote this file: kbuild leaves its own beside the sources.
fn is_source(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let by_hand = !name.ends_with(".mod.c") && !name.starts_with('.');
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    by_hand && (SOURCE_EXTENSIONS.contains(&&*extension) || name == "Makefile" || name == "Kbuild")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_of_compilers_objtool_and_modpost_are_found() {
        let said =
            "  CC [M]  a.o\na.o: warning: objtool: f+0x1: relocation to !ENDBR: .text\nWARNING: modpost: b\n";
        assert_eq!(warnings_in(said).count(), 2);
    }

    #[test]
    fn what_kbuild_generates_is_no_source() {
        for (path, expected) in [
            ("kernel/glue/hook.c", true),
            ("kernel/Makefile", true),
            ("kernel/Kbuild", true),
            ("kernel/trapline.mod.c", false),
            ("kernel/trapline.o", false),
            ("kernel/.trapline.o.cmd", false),
        ] {
            assert_eq!(is_source(Path::new(path)), expected, "{path}");
        }
    }
}
