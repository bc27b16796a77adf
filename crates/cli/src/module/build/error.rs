//! Why the module was not built or not installed, and what to do about it.

use std::io;
use std::path::PathBuf;

use trapline_abi::ABI_VERSION;

use crate::module::ModuleError;

/// Why there is no new module.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// Installing takes root.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// No source is to be found.
    #[error(
        "no source of the module: {} is not there, and this folder is in no checkout of Trapline; install the package \
         trapline-dkms, or name a checkout: --source DIR",
        installed.display()
    )]
    NoSource {
        /// Where a package installs it.
        installed: PathBuf,
    },
    /// What was named holds none.
    #[error("{} is no source of the module: it has no kernel/ or crates/abi/ of Trapline", folder.display())]
    NotASource {
        /// What was named.
        folder: PathBuf,
    },
    /// The source is of another version.
    #[error(
        "the source in {} speaks version {module} and this command version {ABI_VERSION}: they must be the same; name the \
         source that this command came with: --source DIR",
        folder.display()
    )]
    Version {
        /// Where it is.
        folder: PathBuf,
        /// Its version.
        module: u32,
    },
    /// The kernel is too old.
    #[error("kernel {release} is older than 6.1, the oldest that the module is written for: run a newer one")]
    OldKernel {
        /// The kernel.
        release: String,
    },
    /// No such kernel is installed.
    #[error("no kernel {release} is installed: /lib/modules has {installed}")]
    NoKernel {
        /// What was asked for.
        release: String,
        /// What there is.
        installed: String,
    },
    /// The kernel lacks what the module needs.
    #[error(
        "kernel {release} was built without {missing}, which the module hooks by; run a kernel that was built with it, as \
         the stock kernels of Debian and Ubuntu are"
    )]
    Options {
        /// The kernel.
        release: String,
        /// The options.
        missing: String,
    },
    /// Something to build with is missing.
    #[error("can't build the module for kernel {release}: {needs}; {remedy}")]
    Missing {
        /// The kernel.
        release: String,
        /// What is missing.
        needs: String,
        /// The line that installs it.
        remedy: String,
    },
    /// DKMS or somebody else keeps one, too.
    #[error(
        "{} is installed already, and of two modules of one name the kernel takes either; remove it first (with DKMS: dkms \
         remove trapline/VERSION --all), or write the new one elsewhere: --to FILE",
        path.display()
    )]
    Twin {
        /// The other one.
        path: PathBuf,
    },
    /// The disk is too full.
    #[error("the build needs {needed} MB in {}, where {free} MB are free: make room, or name another folder: TMPDIR", folder.display())]
    Room {
        /// Where.
        folder: PathBuf,
        /// What is needed.
        needed: u64,
        /// What there is.
        free: u64,
    },
    /// `make` failed.
    #[error("the module does not build for kernel {release} (all that was said: {}):\n{tail}", log.display())]
    Make {
        /// The kernel.
        release: String,
        /// The file with all that was said.
        log: PathBuf,
        /// The end of it.
        tail: String,
    },
    /// A file can't be read or written.
    #[error("can't {what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl BuildError {
    /// What makes an error of a file of an error of the system.
    pub(super) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }
}
