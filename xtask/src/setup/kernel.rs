//! Debian's stock kernels: fetched once, unpacked under `target/trapline/kernels/SERIES`, never installed.
//!
//! The kernel is booted from the ELF image inside its bzImage (through its PVH entry), because decompressing takes
//! software emulation several seconds at each boot; the bytes that run are the package's. The price is that the
//! decompressor's address randomisation does not happen; `--kaslr` boots the bzImage instead.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::apt::Apt;
use crate::progress::Step;
use crate::{exec, workspace};

/// A series of Debian 12's kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Series {
    /// bookworm's own kernel.
    #[value(name = "6.1")]
    V6_1,
    /// The kernel of bookworm-backports.
    #[value(name = "6.12")]
    V6_12,
}

impl Series {
    /// Every series, oldest first.
    pub const ALL: [Self; 2] = [Self::V6_1, Self::V6_12];

    /// `6.1` or `6.12`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
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
    root: PathBuf,
}

impl Kernel {
    /// The kernel of a series, fetched and unpacked if that has not happened yet.
    pub fn ensure(series: Series) -> Result<Self> {
        let root = workspace::cache().join("kernels").join(series.name());
        if let Some(kernel) = Self::ready(series, &root) {
            return Ok(kernel);
        }
        let _lock = workspace::lock("kernels")?;
        match Self::ready(series, &root) {
            Some(kernel) => Ok(kernel),
            None => fetch(series, &root).with_context(|| format!("cannot set up kernel {series}")),
        }
    }

    fn ready(series: Series, root: &Path) -> Option<Self> {
        let release = fs::read_to_string(root.join("release")).ok()?;
        Some(Self { series, release, root: root.to_owned() })
    }

    /// The folder that holds `lib/modules/RELEASE`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the kernel package's modules.
    pub fn modules(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.release)
    }

    /// The kernel's ELF image, which QEMU boots through its PVH entry.
    pub fn elf(&self) -> PathBuf {
        self.root.join("vmlinux")
    }

    /// The package's own compressed image, which randomises its addresses.
    pub fn bzimage(&self) -> PathBuf {
        self.root.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// The folder to give to kbuild as KDIR.
    pub fn headers(&self) -> PathBuf {
        self.root.join("usr/src").join(format!("linux-headers-{}", self.release))
    }
}

fn fetch(series: Series, root: &Path) -> Result<Kernel> {
    if root.exists() {
        fs::remove_dir_all(root).context("cannot remove a half-finished set-up")?;
    }
    fs::create_dir_all(root)?;

    let step = Step::new("fetching Debian's package lists");
    let apt = Apt::update()?;
    drop(step);

    let (release, packages) = choose(&apt, series)?;
    let step = Step::new(format!("downloading kernel {release} and its headers (about 100 MB)"));
    let downloads = tempfile::tempdir_in(workspace::cache())?;
    apt.download(&packages, downloads.path())?;
    drop(step);

    let _step = Step::new(format!("unpacking kernel {release}"));
    for package in fs::read_dir(downloads.path())? {
        exec::output(Command::new("dpkg-deb").arg("--extract").arg(package?.path()).arg(root))?;
    }
    let kernel = Kernel { series, release, root: root.to_owned() };
    relocate_headers(&kernel)?;
    extract_elf(&kernel.bzimage(), &kernel.elf())?;
    exec::output(Command::new(exec::find("depmod")?).arg("-b").arg(root).arg(&kernel.release))?;
    // Written last: it says that all of the above is there.
    fs::write(root.join("release"), &kernel.release)?;
    Ok(kernel)
}

/// The newest kernel of a series, and the packages to download: image, headers, common headers, kbuild.
fn choose(apt: &Apt, series: Series) -> Result<(String, Vec<String>)> {
    let prefix = format!("linux-image-{series}.");
    let records = apt.show("linux-image-amd64")?;
    let (image, version) = records
        .iter()
        .flat_map(|record| record.depends())
        .find(|(name, _)| name.starts_with(&prefix))
        .with_context(|| format!("no package named {prefix}* among what linux-image-amd64 depends on"))?;
    let release = image.trim_start_matches("linux-image-").to_owned();
    let exact =
        |name: &str, version: Option<&str>| version.map_or(name.to_owned(), |v| format!("{name}={v}"));

    let headers_name = format!("linux-headers-{release}");
    let headers = apt.show(&headers_name)?;
    let headers = headers.first().with_context(|| format!("no package {headers_name}"))?;
    let mut packages = vec![exact(image, version), exact(&headers_name, headers.field("Version"))];
    for (name, version) in headers.depends() {
        if name.starts_with("linux-headers-") || name.starts_with("linux-kbuild-") {
            packages.push(exact(name, version));
        }
    }
    ensure!(packages.len() == 4, "expected image, headers, common headers and kbuild, found {packages:?}");
    Ok((release, packages))
}

/// Makes the unpacked headers usable where they are: Debian's top Makefile names /usr/src.
fn relocate_headers(kernel: &Kernel) -> Result<()> {
    let makefile = kernel.headers().join("Makefile");
    let text =
        fs::read_to_string(&makefile).with_context(|| format!("cannot read {}", makefile.display()))?;
    let here = "$(dir $(realpath $(lastword $(MAKEFILE_LIST))))../";
    ensure!(text.contains("/usr/src/"), "{} does not include /usr/src/...: {text}", makefile.display());
    fs::write(&makefile, text.replace("/usr/src/", here))?;
    // 6.12's headers hold a vmlinux that has nothing but type information, and kbuild then wants pahole.
    let types = kernel.headers().join("vmlinux");
    if types.exists() {
        fs::remove_file(types)?;
    }
    Ok(())
}

/// Unpacks the ELF image in a bzImage. Source of the layout: the kernel's Documentation/arch/x86/boot.rst.
fn extract_elf(bzimage: &Path, elf: &Path) -> Result<()> {
    let bytes = fs::read(bzimage).with_context(|| format!("cannot read {}", bzimage.display()))?;
    let payload = payload(&bytes).with_context(|| format!("{} is not a bzImage", bzimage.display()))?;
    let program = match payload {
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        _ => bail!("{} is compressed in a way that is not known here (xz and zstd are)", bzimage.display()),
    };
    let compressed = elf.with_extension("compressed");
    fs::write(&compressed, payload)?;
    let status = Command::new(program)
        .arg("-dc")
        .stdin(File::open(&compressed)?)
        .stdout(File::create(elf)?)
        .stderr(Stdio::inherit())
        .status()
        .with_context(|| format!("cannot run `{program}`"))?;
    fs::remove_file(&compressed)?;
    ensure!(status.success(), "`{program} -dc` could not decompress the kernel in {}", bzimage.display());
    Ok(())
}

/// The compressed kernel within a bzImage, without the four bytes after it that hold its uncompressed size.
fn payload(image: &[u8]) -> Option<&[u8]> {
    const SECTOR: usize = 512;
    let word = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    let setup_sectors = match *image.get(0x1f1)? {
        0 => 4,
        count => usize::from(count),
    };
    let start = (setup_sectors + 1) * SECTOR + word(0x248)?;
    image.get(start..(start + word(0x24c)?).checked_sub(4)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_of_a_bzimage_is_found_without_its_size() {
        let mut image = vec![0u8; 4096];
        image[0x1f1] = 1;
        image[0x248..0x24c].copy_from_slice(&16u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&12u32.to_le_bytes());
        image[1040..1048].copy_from_slice(b"payload!");
        assert_eq!(payload(&image), Some(&b"payload!"[..]));
        assert_eq!(payload(&image[..1000]), None);
    }
}
