//! What is in the guest: an initramfs with busybox, kmod, the trapline command and its libraries,
//! kernel modules, and what the person copies in. It is written anew for every run, since that
//! takes a tenth of a second.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::archive::Archive;
use super::modules;
use crate::exec;
use crate::setup::Kernel;

const INIT: &str = include_str!("init.sh");
const KMOD_NAMES: &[&str] = &["depmod", "insmod", "lsmod", "modinfo", "modprobe", "rmmod"];

/// What the initramfs is made of.
pub(super) struct Guest<'a> {
    /// The kernel that will run.
    pub kernel: &'a Kernel,
    /// Modules of the kernel's package to make available, besides those that carry data to the
    /// host.
    pub modules: &'a [String],
    /// Modules of ours.
    pub own_modules: &'a [PathBuf],
    /// The trapline command.
    pub trapline: Option<&'a Path>,
    /// Programs of the host.
    pub programs: &'a [PathBuf],
    /// Files and folders for the guest's root.
    pub copy_in: &'a [PathBuf],
    /// Whether the host wants what is left in /out.
    pub copy_out: bool,
    /// What to run: one string is for the shell, several are a program and its arguments.
    pub command: &'a [OsString],
}

impl Guest<'_> {
    /// Writes the initramfs.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let mut archive = Archive::create(path)?;
        for folder in
            ["dev", "proc", "sys", "run", "etc/trapline", "root", "out", "tmp", "usr/lib64", "usr/local/bin"]
        {
            archive.folder(folder)?;
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            archive.folder(Path::new("usr").join(name))?;
            archive.link(name, Path::new("usr").join(name))?;
        }
        archive.file("init", 0o755, INIT.as_bytes())?;
        archive.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n")?;
        archive.file("etc/group", 0o644, b"root:x:0:\n")?;
        archive.file("etc/trapline/command", 0o644, &script(self.command))?;
        if self.copy_out {
            archive.file("etc/trapline/copy-out", 0o644, b"")?;
        }

        let mut programs = vec![(Path::new("usr/bin/kmod"), exec::find("kmod")?)];
        programs.extend(self.trapline.map(|trapline| (Path::new("usr/bin/trapline"), trapline.to_owned())));
        for (name, host) in &programs {
            archive.host_file(name, host)?;
        }
        let theirs: Vec<PathBuf> =
            self.programs.iter().map(|program| found(program)).collect::<Result<_>>()?;
        for host in &theirs {
            archive.host_file(merged(host), host)?;
        }
        for name in KMOD_NAMES {
            archive.link(Path::new("usr/sbin").join(name), "/usr/bin/kmod")?;
        }
        busybox(&mut archive)?;
        // xtask's own libraries too: those of any Rust program that a person copies in.
        let all = programs.iter().map(|(_, host)| host).chain(&theirs);
        let mut needed = libraries(all.map(PathBuf::as_path))?;
        needed.extend(own_libraries()?);
        for library in needed {
            archive.host_file(merged(&library), &library)?;
        }
        modules::add(&mut archive, self.kernel, self.modules, self.own_modules)?;
        for host in self.copy_in {
            copy_in(&mut archive, host)?;
        }
        archive.finish()
    }
}

/// Where a program lies on the host: a path, or a name that is looked for as a shell would.
fn found(program: &Path) -> Result<PathBuf> {
    match program.to_str().filter(|name| !name.contains('/')) {
        Some(name) => exec::find(name),
        None => Ok(program.to_owned()),
    }
}

/// Adds busybox under each name it knows that no other program has.
fn busybox(archive: &mut Archive) -> Result<()> {
    let host = exec::find("busybox")?;
    archive.host_file("usr/bin/busybox", &host)?;
    for applet in exec::output(Command::new(&host).arg("--list-full"))?.lines() {
        let path = merged(Path::new(applet));
        let taken = ["usr/bin", "usr/sbin"]
            .iter()
            .any(|folder| archive.contains(&Path::new(folder).join(path.file_name().unwrap_or_default())));
        if !taken {
            archive.link(path, "/usr/bin/busybox")?;
        }
    }
    Ok(())
}

/// The shared libraries, the loader among them, that programs need, as ldd(1) finds them.
fn libraries<'a>(programs: impl Iterator<Item = &'a Path>) -> Result<BTreeSet<PathBuf>> {
    let mut libraries = BTreeSet::new();
    for program in programs {
        let listed = exec::output(Command::new("ldd").arg(program))
            .with_context(|| format!("cannot list the libraries of {}", program.display()))?;
        for line in listed.lines() {
            ensure!(
                !line.contains("not found"),
                "a library of {} is missing: {}",
                program.display(),
                line.trim()
            );
            libraries.extend(line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from));
        }
    }
    Ok(libraries)
}

/// The shared libraries that this process runs with, from proc(5)'s maps: its file may be gone,
/// since cargo builds xtask anew when its tests want other features than the command did.
fn own_libraries() -> Result<BTreeSet<PathBuf>> {
    let maps = std::fs::read_to_string("/proc/self/maps").context("cannot list xtask's own libraries")?;
    Ok(maps
        .lines()
        .filter_map(|line| line.find('/').map(|start| Path::new(&line[start..])))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so")))
        .map(Path::to_owned)
        .collect())
}

/// A host's path as a path of the guest, where /bin, /sbin and /lib are links into /usr as in
/// Debian.
fn merged(path: &Path) -> PathBuf {
    let path = path.strip_prefix("/").unwrap_or(path);
    if path.starts_with("usr") { path.to_owned() } else { Path::new("usr").join(path) }
}

fn copy_in(archive: &mut Archive, host: &Path) -> Result<()> {
    let full = host.canonicalize().with_context(|| format!("cannot copy in {}", host.display()))?;
    let name =
        full.file_name().with_context(|| format!("cannot copy in {}: it has no name", host.display()))?;
    ensure!(
        !archive.contains(Path::new(name)),
        "cannot copy in {}: the guest has a /{} of its own; give yours another name",
        host.display(),
        name.to_string_lossy()
    );
    archive.host_tree(name, &full)
}

/// The shell script that runs COMMAND.
fn script(command: &[OsString]) -> Vec<u8> {
    match command {
        [line] => [line.as_bytes(), b"\n"].concat(),
        arguments => {
            let quoted: Vec<Vec<u8>> = arguments.iter().map(|argument| quote(argument)).collect();
            [b"exec ", &quoted.join(&b' ')[..], b"\n"].concat()
        }
    }
}

/// An argument in the shell's single quotes.
fn quote(argument: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for &byte in argument.as_bytes() {
        match byte {
            b'\'' => quoted.extend_from_slice(br"'\''"),
            other => quoted.push(other),
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_arguments_reach_the_program_exactly() {
        let arguments = ["printf", "%s|", "a b", "it's", "$HOME", "", "line\nbreak", "*"].map(OsString::from);
        let output =
            Command::new("sh").arg("-c").arg(OsStr::from_bytes(&script(&arguments))).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "a b|it's|$HOME||line\nbreak|*|");
    }

    #[test]
    fn a_single_string_is_for_the_shell() {
        let output = Command::new("sh")
            .arg("-c")
            .arg(OsStr::from_bytes(&script(&["echo $((6 * 7)); exit 3".into()])))
            .output()
            .unwrap();
        assert_eq!((output.stdout, output.status.code()), (b"42\n".to_vec(), Some(3)));
    }

    #[test]
    fn own_libraries_are_those_that_ldd_lists() {
        let this = std::env::current_exe().unwrap();
        let names = |libraries: BTreeSet<PathBuf>| -> BTreeSet<OsString> {
            libraries.iter().filter_map(|path| path.file_name()).map(OsStr::to_owned).collect()
        };
        let own = names(own_libraries().unwrap());
        assert!(own.contains(OsStr::new("libc.so.6")), "{own:?}");
        assert_eq!(own, names(libraries([this.as_path()].into_iter()).unwrap()));
    }

    #[test]
    fn libraries_land_where_the_loader_looks() {
        assert_eq!(merged(Path::new("/lib64/ld.so")), Path::new("usr/lib64/ld.so"));
        assert_eq!(merged(Path::new("/usr/lib/x.so")), Path::new("usr/lib/x.so"));
    }
}
