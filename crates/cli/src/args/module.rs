//! `trapline module`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Build the kernel module and install it
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Module {
    /// What to do
    #[command(subcommand)]
    pub command: ModuleCommand,
}

/// What to do about the module.
#[derive(Debug, Subcommand)]
pub(crate) enum ModuleCommand {
    Build(Build),
}

/// Build the module for a kernel from its source, and install it
///
/// Needs the kernel's headers, the C compiler that the kernel was built with, and Rust with the
/// source of its library: Debian's rustc-web, rust-web-src and cargo-web, or rustup's with the
/// component rust-src. What is missing is told in one line, with the command that installs it. The
/// build takes a minute or so and 300 MB below /var/tmp, which are given back.
///
/// The module is installed in /lib/modules/RELEASE/updates. It is built for one kernel: after an
/// upgrade of the kernel build it again, or let DKMS do so (the package trapline-dkms).
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sudo trapline module build
  sudo trapline module build --kernel 6.12.95+deb13-amd64
  trapline module build --source ~/trapline --to ./trapline.ko")]
pub(crate) struct Build {
    /// The kernel to build for, as `uname -r` prints it; the running one if not given
    #[arg(long, value_name = "RELEASE")]
    pub kernel: Option<String>,
    /// The module's source, as the package trapline-dkms installs it or a checkout of Trapline has
    /// it; if not given the first of /usr/src/trapline-VERSION and the checkout that we are in
    #[arg(long, value_name = "DIR")]
    pub source: Option<PathBuf>,
    /// The Rust compiler; if not given the first that will do of those on PATH, in /usr/bin, and of
    /// rustup's toolchains
    #[arg(long, value_name = "PROGRAM")]
    pub rustc: Option<PathBuf>,
    /// Write the module into this file instead of installing it, which takes no root
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
}
