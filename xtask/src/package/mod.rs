//! `cargo xtask package`: packages for distributions.
//!
//! Two for Debian: `trapline`, the command, and `trapline-dkms`, the module's source, which DKMS
//! builds on each machine. They are packed by debhelper, with dh-dkms for what DKMS wants done when
//! a package comes and goes; cargo-deb was rejected: it packs one crate's binary, and would leave
//! the second package and its scripts to us.

mod check;
mod debian;
mod source;
mod tree;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::setup::Release;
use crate::{build, setup};

/// How to package.
#[derive(Args, Debug)]
pub struct Options {
    /// Install the packages in a fresh root of this release of Debian, see the module built for its
    /// kernels, upgrade a kernel, remove them (may be repeated; `--check` alone: 12 and 13)
    #[arg(long, value_name = "RELEASE", num_args = 0..=1, default_missing_value = "all")]
    check: Vec<Checked>,
    /// Make no packages; lay out what belongs into one below this folder, as `make install` would,
    /// for packages of other distributions
    #[arg(long, value_name = "FOLDER", conflicts_with = "check")]
    into: Option<PathBuf>,
}

/// What to check in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Checked {
    /// Debian 12.
    #[value(name = "12")]
    Bookworm,
    /// Debian 13.
    #[value(name = "13")]
    Trixie,
    /// Both.
    All,
}

/// Makes the packages, and checks them if asked to.
pub fn command(options: &Options) -> Result<u8> {
    if let Some(folder) = &options.into {
        tree::lay_out(&build::command()?, folder)?;
        return Ok(0);
    }
    setup::host::ensure_for_packages()?;
    let command = build::command()?;
    let packages = debian::packages(&command)?;
    for package in &packages {
        println!("{}", package.display());
    }
    debian::lint(&packages)?;
    for release in releases(&options.check) {
        check::check(release, &packages)?;
    }
    Ok(0)
}

fn releases(checked: &[Checked]) -> Vec<Release> {
    let is_asked = |one| checked.contains(&one) || checked.contains(&Checked::All);
    let both = [(Checked::Bookworm, Release::Bookworm), (Checked::Trixie, Release::Trixie)];
    both.into_iter().filter(|&(one, _)| is_asked(one)).map(|(_, release)| release).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_alone_means_every_release() {
        assert_eq!(releases(&[Checked::All]), [Release::Bookworm, Release::Trixie]);
        assert_eq!(releases(&[Checked::Trixie]), [Release::Trixie]);
        assert_eq!(releases(&[]), []);
    }
}
