//! What is installed, laid out as below `/`: the same for every distribution.
//!
//! ```text
//! usr/bin/trapline
//! usr/share/{man,bash-completion,fish,zsh}/…   what the command tells of itself
//! usr/src/trapline-VERSION/                    the module's source, for DKMS
//! ```
//!
//! Register files are not among it: those that Trapline comes with are in the command.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::source;
use crate::{exec, workspace};

/// The version of Trapline, and of its packages.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Completions by shell: where each looks for them.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "bash-completion/completions/trapline"),
    ("fish", "fish/vendor_completions.d/trapline.fish"),
    ("zsh", "zsh/vendor-completions/_trapline"),
];

/// Lays it out in `root`, with the command as it was built.
pub(super) fn lay_out(command: &Path, root: &Path) -> Result<()> {
    let (bin, share) = (root.join("usr/bin"), root.join("usr/share"));
    let man = share.join("man/man1");
    for folder in [&bin, &man] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::copy(command, bin.join("trapline")).with_context(|| format!("cannot copy {}", command.display()))?;
    exec::output(Command::new(command).args(["man", "--all"]).arg(&man))?;
    for (shell, name) in COMPLETIONS {
        let script = exec::output(Command::new(command).args(["completions", shell]))?;
        write(&share.join(name), &script)?;
    }
    let source = root.join("usr/src").join(format!("trapline-{VERSION}"));
    source::lay_out(&source)?;
    write(&source.join("dkms.conf"), &dkms()?)
}

/// DKMS's configuration, with the version filled in.
fn dkms() -> Result<String> {
    let path = workspace::root().join("packaging/dkms.conf");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.replace("#MODULE_VERSION#", VERSION))
}

/// Writes a file, whose folder is made.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_of_the_workspaces_version() {
        let packaging = workspace::root().join("packaging");
        for (file, line) in [
            ("debian/changelog", format!("trapline ({VERSION}) unstable; urgency=medium")),
            ("rpm/trapline.spec", format!("Version:        {VERSION}")),
            ("arch/PKGBUILD", format!("pkgver={VERSION}")),
        ] {
            let text = fs::read_to_string(packaging.join(file)).unwrap();
            assert!(text.lines().any(|other| other == line), "{file}: no line `{line}`");
        }
        assert!(dkms().unwrap().contains(&format!("PACKAGE_VERSION=\"{VERSION}\"")));
    }
}
