//! Debian's packages: what is installed, packed by debhelper by the rules in `packaging/debian`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::tree::{self, VERSION};
use crate::progress::Step;
use crate::{exec, workspace};

/// The packages, with their architectures.
const PACKAGES: [(&str, &str); 2] = [("trapline", "amd64"), ("trapline-dkms", "all")];

/// Makes them, with the command as it was built, and tells where they are.
pub(super) fn packages(command: &Path) -> Result<Vec<PathBuf>> {
    let folder = workspace::cache_dir("packages")?;
    let work = folder.join(format!("trapline-{VERSION}"));
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    }
    let step = Step::new("laying out the command and the module's source");
    tree::lay_out(command, &work)?;
    copy("packaging/debian", &work.join("debian"))?;
    let dkms = format!("usr/src/trapline-{VERSION}/dkms.conf");
    tree::write(&work.join("debian/trapline-dkms.dkms"), &fs::read_to_string(work.join(dkms))?)?;
    for text in ["README.md", "CHANGELOG.md", "docs"] {
        copy(text, &work.join(text))?;
    }
    step.tell("packing");
    let mut pack = Command::new("dpkg-buildpackage");
    pack.args(["--build=binary", "--unsigned-changes"]).current_dir(&work);
    exec::output(pack.env("DEB_BUILD_OPTIONS", "noautodbgsym"))?;
    let packages =
        PACKAGES.map(|(name, architecture)| folder.join(format!("{name}_{VERSION}_{architecture}.deb")));
    if let Some(missing) = packages.iter().find(|package| !package.exists()) {
        bail!("dpkg-buildpackage made no {}", missing.display());
    }
    Ok(packages.into())
}

/// Asks lintian; each tag that it may give is explained in `packaging/debian/*.lintian-overrides`.
pub(super) fn lint(packages: &[PathBuf]) -> Result<()> {
    let _step = Step::new("asking lintian");
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"]).args(packages);
    let output = exec::raw(&mut lintian)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "lintian is not content:\n{said}");
    Ok(())
}

/// Copies a file or a folder of the project's.
fn copy(from: &str, to: &Path) -> Result<()> {
    let mut copy = Command::new("cp");
    copy.args(["--recursive", "--no-target-directory"]).arg(workspace::root().join(from)).arg(to);
    exec::output(&mut copy).map(drop)
}
