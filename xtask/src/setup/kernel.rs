//! A kernel that runs in the machine: which it is, and where its parts are.
//!
//! It is booted from the ELF image inside its bzImage (through its PVH entry), because
//! decompressing takes software emulation several seconds at each boot; the bytes that run are the
//! package's. The price is that the decompressor's address randomisation does not happen; `--kaslr`
//! boots the bzImage instead.

use std::fmt;
use std::path::{Path, PathBuf};

use super::build_root::BuildRoot;
use super::release::Release;

/// A series of Debian's kernels, the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Series {
    /// Debian 12's own kernel.
    #[value(name = "6.1")]
    V6_1,
    /// The debugging kernel: Debian 12's, built here with lockdep, KASAN and other checks.
    #[value(name = "6.1-debug")]
    Debug,
    /// The kernel of Debian 12's backports.
    #[value(name = "6.12")]
    V6_12,
    /// Debian 13's own kernel, built by a newer compiler.
    #[value(name = "6.12-13")]
    V6_12OfTrixie,
    /// The kernel of Debian's unstable distribution, sid.
    #[value(name = "7.2")]
    V7_2,
    /// The kernel of Debian 13's backports.
    #[value(name = "7.3")]
    V7_3,
}

impl Series {
    /// Debian's own, the oldest first.
    pub const STOCK: [Self; 5] = [Self::V6_1, Self::V6_12, Self::V6_12OfTrixie, Self::V7_2, Self::V7_3];
    /// Those that the suite runs on, the oldest first.
    pub const SUITE: [Self; 3] = [Self::V6_1, Self::V6_12OfTrixie, Self::V7_3];

    /// As a person types it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::Debug => "6.1-debug",
            Self::V6_12 => "6.12",
            Self::V6_12OfTrixie => "6.12-13",
            Self::V7_2 => "7.2",
            Self::V7_3 => "7.3",
        }
    }

    /// What the kernel's version begins with.
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::V6_1 | Self::Debug => "6.1",
            Self::V6_12 | Self::V6_12OfTrixie => "6.12",
            Self::V7_2 => "7.2",
            Self::V7_3 => "7.3",
        }
    }

    /// The release whose packages it comes from.
    pub(super) fn release(self) -> Release {
        match self {
            Self::V6_1 | Self::Debug | Self::V6_12 => Release::Bookworm,
            Self::V6_12OfTrixie | Self::V7_3 => Release::Trixie,
            Self::V7_2 => Release::Sid,
        }
    }

    /// How many times longer than a stock kernel it may take for anything: its checks cost that
    /// much.
    pub fn slowness(self) -> u32 {
        if self == Self::Debug { 6 } else { 1 }
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An unpacked kernel with its modules and headers.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Which series it is of.
    pub series: Series,
    /// What `uname -r` says in it.
    pub release: String,
    /// The folder that everything of it is in.
    pub(super) root: PathBuf,
}

impl Kernel {
    /// The folder that holds `lib/modules/RELEASE`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the kernel package's modules.
    pub fn modules(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.release)
    }

    /// The image to boot, one that randomises its addresses or, if that does not matter, the
    /// quickest. The debugging kernel boots from its compressed image alone: its PVH entry calls
    /// code that KASAN watches before KASAN is set up, and goes down (mended in 6.10).
    pub fn image(&self, randomised: bool) -> PathBuf {
        if randomised || self.series == Series::Debug { self.bzimage() } else { self.elf() }
    }

    /// The kernel's ELF image, which QEMU boots through its PVH entry.
    pub(super) fn elf(&self) -> PathBuf {
        self.root.join("vmlinux")
    }

    /// The package's own compressed image, which randomises its addresses.
    pub(super) fn bzimage(&self) -> PathBuf {
        self.root.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// The folder of its headers, which kbuild takes as KDIR.
    pub fn headers(&self) -> PathBuf {
        self.build_root().map_or_else(|| self.root.clone(), |root| root.folder().to_owned()).join(self.kdir())
    }

    /// The same, relative to the root folder of where kbuild runs.
    pub fn kdir(&self) -> PathBuf {
        Path::new("usr/src").join(self.headers_package())
    }

    /// Where kbuild runs, if that is not the host.
    pub fn build_root(&self) -> Option<BuildRoot> {
        let is_the_hosts = self.series.release() == Release::Bookworm;
        (!is_the_hosts).then(|| BuildRoot::at(self.root.join("build-root")))
    }

    /// The package of its headers.
    pub(super) fn headers_package(&self) -> String {
        format!("linux-headers-{}", self.release)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stock_kernel_boots_from_its_elf_image_and_only_if_addresses_may_be_known() {
        let image = |series, randomised| {
            let kernel = Kernel { series, release: "R".to_owned(), root: PathBuf::from("/k") };
            kernel.image(randomised)
        };
        assert_eq!(image(Series::V6_1, false), Path::new("/k/vmlinux"));
        for (series, randomised) in [(Series::V6_1, true), (Series::Debug, false), (Series::Debug, true)] {
            assert_eq!(image(series, randomised), Path::new("/k/boot/vmlinuz-R"));
        }
    }

    #[test]
    fn a_kernel_of_another_release_is_built_for_in_a_root_of_that_release() {
        let kernel = |series| Kernel { series, release: "R".to_owned(), root: PathBuf::from("/k") };
        let (own, other) = (kernel(Series::V6_12), kernel(Series::V7_3));
        assert_eq!((own.build_root(), &*own.headers()), (None, Path::new("/k/usr/src/linux-headers-R")));
        assert!(other.build_root().is_some());
        assert_eq!(other.headers(), Path::new("/k/build-root/usr/src/linux-headers-R"));
    }
}
