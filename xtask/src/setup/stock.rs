//! A stock kernel: Debian's own packages, fetched and unpacked.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::apt::Apt;
use super::kernel::{Kernel, Series};
use crate::exec;
use crate::progress::Step;

/// Fetches the newest kernel of a series, and unpacks it below `root`; its headers too, or where a
/// build root is needed, that with the headers in it.
pub(super) fn fetch(series: Series, root: &Path) -> Result<Kernel> {
    if root.exists() {
        fs::remove_dir_all(root).context("cannot remove a half-finished set-up")?;
    }
    fs::create_dir_all(root)?;

    let step = Step::new("fetching Debian's package lists");
    let apt = Apt::update(series.release())?;

    let image = Image::newest(&apt, series)?;
    let kernel = Kernel { series, release: image.release.clone(), root: root.to_owned() };
    let mut packages = image.packages(&apt)?;
    let build_root = kernel.build_root();
    if build_root.is_none() {
        packages.extend(headers(&apt, &kernel.headers_package())?);
    }
    apt.unpack(&packages, root, &format!("kernel {} (about 100 MB)", kernel.release), &step)?;
    put_where_older_ones_are(&kernel)?;
    extract_elf(&kernel.bzimage(), &kernel.elf())?;
    exec::output(Command::new(exec::find("depmod")?).arg("-b").arg(root).arg(&kernel.release))?;
    drop(step);

    match build_root {
        Some(build_root) => build_root.make(series.release(), &apt, &kernel.headers_package())?,
        None => relocate_headers(&kernel)?,
    }
    Ok(kernel)
}

/// A kernel's image package.
struct Image {
    release: String,
    name: String,
    version: Option<String>,
}

impl Image {
    /// The newest of a series.
    fn newest(apt: &Apt, series: Series) -> Result<Self> {
        let prefix = format!("linux-image-{}.", series.version());
        let records = apt.show("linux-image-amd64")?;
        let (name, version) = records
            .iter()
            .flat_map(|record| record.depends())
            .find(|(name, _)| name.starts_with(&prefix))
            .with_context(|| {
                format!(
                    "no package named {prefix}* among what linux-image-amd64 depends on: {} has no kernel of the series any more",
                    series.release().name()
                )
            })?;
        let release = name.trim_start_matches("linux-image-").to_owned();
        Ok(Self { release, name: name.to_owned(), version: version.map(str::to_owned) })
    }

    /// The packages to download: from 7.3 on it is empty, and names those that hold the image and
    /// its modules.
    fn packages(&self, apt: &Apt) -> Result<Vec<String>> {
        let itself = exact(&self.name, self.version.as_deref());
        let records = apt.show(&itself)?;
        let record = records.first().with_context(|| format!("no package {itself}"))?;
        let is_part = |name: &str| {
            ["linux-base-", "linux-binary-", "linux-modules-"]
                .iter()
                .any(|part| name.strip_prefix(part) == Some(&self.release))
        };
        let parts = record.depends().filter(|(name, _)| is_part(name));
        Ok([itself].into_iter().chain(parts.map(|(name, version)| exact(name, version))).collect())
    }
}

/// The packages of a kernel's headers: its own, the common ones, kbuild.
fn headers(apt: &Apt, name: &str) -> Result<Vec<String>> {
    let records = apt.show(name)?;
    let record = records.first().with_context(|| format!("no package {name}"))?;
    let others = record
        .depends()
        .filter(|(name, _)| name.starts_with("linux-headers-") || name.starts_with("linux-kbuild-"))
        .map(|(name, version)| exact(name, version));
    let packages: Vec<String> = [exact(name, record.field("Version"))].into_iter().chain(others).collect();
    ensure!(packages.len() == 3, "expected headers, common headers and kbuild, found {packages:?}");
    Ok(packages)
}

/// A package as apt-get takes it.
fn exact(name: &str, version: Option<&str>) -> String {
    version.map_or(name.to_owned(), |version| format!("{name}={version}"))
}

/// Kernels from Debian 13's on have everything below /usr/lib/modules, the image included.
fn put_where_older_ones_are(kernel: &Kernel) -> Result<()> {
    let root = kernel.root();
    if !root.join("lib").exists() {
        symlink("usr/lib", root.join("lib")).context("cannot make the link lib")?;
    }
    let bzimage = kernel.bzimage();
    if !bzimage.exists() {
        fs::create_dir_all(bzimage.parent().context("it is in a folder")?)?;
        fs::hard_link(kernel.modules().join("vmlinuz"), &bzimage)
            .with_context(|| format!("no {} and no vmlinuz beside the modules", bzimage.display()))?;
    }
    Ok(())
}

/// Makes the unpacked headers usable where they are: Debian's top Makefile names /usr/src.
fn relocate_headers(kernel: &Kernel) -> Result<()> {
    let makefile = kernel.headers().join("Makefile");
    let text =
        fs::read_to_string(&makefile).with_context(|| format!("cannot read {}", makefile.display()))?;
    let here = "$(dir $(realpath $(lastword $(MAKEFILE_LIST))))../";
    ensure!(text.contains("/usr/src/"), "{} does not include /usr/src/...: {text}", makefile.display());
    fs::write(&makefile, text.replace("/usr/src/", here))?;
    // 6.12's headers hold a vmlinux that has nothing but type information, and kbuild then wants
    // pahole.
    let types = kernel.headers().join("vmlinux");
    if types.exists() {
        fs::remove_file(types)?;
    }
    Ok(())
}

/// Unpacks the ELF image in a bzImage. Source of the layout: the kernel's
/// Documentation/arch/x86/boot.rst.
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

/// The compressed kernel within a bzImage, without the four bytes after it that hold its
/// uncompressed size.
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
