//! The packages, as somebody has them who installs them on a fresh Debian: in a root that
//! mmdebstrap makes and forgets again, with nothing but what they ask for.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::progress::Step;
use crate::setup::{Apt, Release};
use crate::{exec, workspace};

/// What is done in the root.
const SCRIPT: &str = include_str!("check.sh");
/// What the script says to whoever waits begins with this.
const TOLD: &str = "check: ";

/// Installs the packages, upgrades a kernel, removes them.
pub(super) fn check(release: Release, packages: &[PathBuf]) -> Result<()> {
    let name = release.name();
    let _step = Step::new(format!("installing the packages in a fresh {name}, for two kernels (10 minutes)"));
    let apt = Apt::update(release)?;
    let script = workspace::cache_dir("packages")?.join("check.sh");
    fs::write(&script, SCRIPT)?;
    let files: Vec<String> =
        packages.iter().chain([&script]).map(|file| file.display().to_string()).collect();
    let mut make = Command::new("mmdebstrap");
    make.args(["--quiet", "--variant=apt", "--format=null"]);
    // What cargo and rustup tell the programs that they run is not for a fresh machine's.
    let is_of_rust = |name: &str| ["CARGO", "RUST"].iter().any(|prefix| name.starts_with(prefix));
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_of_rust)) {
        make.env_remove(name);
    }
    make.arg(format!("--customize-hook=copy-in {} /root", files.join(" ")));
    make.arg(format!("--customize-hook=chroot \"$1\" sh /root/check.sh {name}-backports"));
    make.arg(name).arg("-").arg(apt.sources());
    let output = exec::raw(&mut make)?;
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    let log = workspace::cache_dir("packages")?.join(format!("check-{name}.log"));
    fs::write(&log, &said).with_context(|| format!("cannot write {}", log.display()))?;
    said.lines().filter_map(|line| line.strip_prefix(TOLD)).for_each(|line| println!("{name}: {line}"));
    anyhow::ensure!(
        output.status.success(),
        "the packages do not hold in {name} (all that was said: {}):\n{}",
        log.display(),
        exec::tail(&said, 25)
    );
    Ok(())
}
