//! A private apt for each release: its own sources, lists and cache under `target/`, the machine's
//! mirror and Debian's keys.
//!
//! Kernel 6.12 for bookworm is in bookworm-backports, which few machines have among their sources.
//! Adding it to the machine's own would change what its next upgrade installs, so the machine's
//! configuration is read and left alone. It also makes fetching kernels possible without root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::release::{Archive, Release};
use crate::progress::Step;
use crate::{exec, workspace};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const DEFAULT_MIRROR: &str = "http://deb.debian.org/debian";
const DEFAULT_SECURITY_MIRROR: &str = "http://deb.debian.org/debian-security";

/// The private apt, ready to be asked.
pub struct Apt {
    release: Release,
    configuration: PathBuf,
    sources: PathBuf,
}

impl Apt {
    /// Writes the private configuration for a release and fetches its package lists.
    pub(crate) fn update(release: Release) -> Result<Self> {
        let folder = workspace::cache_dir(Path::new("apt").join(release.name()))?;
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let sources = folder.join("sources.list");
        fs::write(&sources, source_list(&machine_sources(), release))?;
        let configuration = folder.join("apt.conf");
        let text = format!(
            "Dir::Etc::sourcelist \"{}\";\nDir::Etc::sourceparts \"-\";\nDir::State::lists \"{}\";\n\
             Dir::Cache \"{}\";\nAPT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\nAcquire::Retries \"3\";\n",
            sources.display(),
            folder.join("lists").display(),
            folder.join("cache").display(),
        );
        fs::write(&configuration, text).context("cannot write apt's private configuration")?;
        let apt = Self { release, configuration, sources };
        exec::output(apt.command("apt-get").args(["-q", "update"]))
            .context("cannot fetch Debian's package lists")?;
        Ok(apt)
    }

    /// The file that names where packages come from.
    pub(crate) fn sources(&self) -> &Path {
        &self.sources
    }

    /// The records of every known version of a package, newest version first, as `apt-cache show`
    /// prints them.
    pub fn show(&self, package: &str) -> Result<Vec<Record>> {
        let text = exec::output(self.command("apt-cache").args(["show", package]))?;
        Ok(text
            .split("\n\n")
            .filter(|record| !record.trim().is_empty())
            .map(|text| Record(text.to_owned()))
            .collect())
    }

    /// Downloads packages, each `NAME` or `NAME=VERSION`, and unpacks them below a folder; `what`
    /// they are, and how large, is told to who waits for the step.
    pub(crate) fn unpack(&self, packages: &[String], folder: &Path, what: &str, step: &Step) -> Result<()> {
        step.tell(&format!("downloading {what}"));
        let downloads = tempfile::tempdir_in(workspace::cache())?;
        let mut command = self.command("apt-get");
        exec::output(command.args(["-q", "download"]).args(packages).current_dir(downloads.path()))?;
        step.tell(&format!("unpacking {what}"));
        for package in fs::read_dir(downloads.path())? {
            exec::output(Command::new("dpkg-deb").arg("--extract").arg(package?.path()).arg(folder))?;
        }
        Ok(())
    }

    /// Installs packages on the machine itself, as new as the release's backports have them. The
    /// machine's own sources stay as they are.
    pub(super) fn install_backports<'a>(&self, packages: impl Iterator<Item = &'a str>) -> Result<()> {
        let mut command = self.command("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command.args(["-q", "-o", "DPkg::Lock::Timeout=300", "install", "--yes", "--no-install-recommends"]);
        command.arg(format!("--target-release={}-backports", self.release.name()));
        exec::output(command.args(packages))
            .map(drop)
            .context("apt-get could not install what is needed from the backports")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.configuration);
        command
    }
}

/// One version of a package, as apt describes it.
pub struct Record(String);

impl Record {
    /// A field's text, such as `Version`.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The packages it depends on, the first of each alternative: name, and version if exactly one
    /// will do.
    pub fn depends(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.field("Depends").unwrap_or_default().split(", ").filter_map(|dependency| {
            let first = dependency.split(" | ").next()?.trim();
            let (name, constraint) = first.split_once(" (").unwrap_or((first, ""));
            Some((name, constraint.strip_prefix("= ").map(|version| version.trim_end_matches(')'))))
        })
    }
}

/// The machine's sources as `URI SUITE` lines; empty if its lists were never fetched.
fn machine_sources() -> String {
    let mut command = Command::new("apt-get");
    exec::output(command.args(["indextargets", "--format", "$(REPO_URI) $(RELEASE)"])).unwrap_or_default()
}

fn source_list(machine: &str, release: Release) -> String {
    let mirror_of = |suite: &str, default: &str| {
        let found = machine.lines().filter_map(|line| line.split_once(' ')).find(|(_, of)| *of == suite);
        found.map_or(default, |(uri, _)| uri.trim_end_matches('/')).to_owned()
    };
    // A mirror has all releases.
    let main = mirror_of("bookworm", DEFAULT_MIRROR);
    let security = mirror_of("bookworm-security", DEFAULT_SECURITY_MIRROR);
    let line = |&(archive, suite): &(Archive, &str)| {
        let uri = if archive == Archive::Main { &main } else { &security };
        format!("deb [signed-by={KEYRING}] {uri} {suite} main\n")
    };
    release.suites().iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backports_come_from_the_machines_own_mirror() {
        let machine = "http://mirror.example/debian/ bookworm\nhttp://sec.example/s/ bookworm-security\n";
        for release in [Release::Bookworm, Release::Trixie] {
            let (list, name) = (source_list(machine, release), release.name());
            let backports = format!("] http://mirror.example/debian {name}-backports main\n");
            assert!(list.contains(&backports), "{list}");
            assert!(list.contains(&format!("] http://sec.example/s {name}-security main\n")), "{list}");
        }
    }

    #[test]
    fn a_machine_without_lists_gets_debians_mirror() {
        let list = source_list("", Release::Bookworm);
        assert!(list.contains(&format!("{DEFAULT_MIRROR} bookworm-backports main")), "{list}");
        let sid = source_list("", Release::Sid);
        assert_eq!(sid, format!("deb [signed-by={KEYRING}] {DEFAULT_MIRROR} sid main\n"));
    }

    #[test]
    fn dependencies_are_read_with_their_exact_versions() {
        let record = Record("Package: x\nDepends: a (= 1.2-3), b (>= 4) | c, d".to_owned());
        assert_eq!(record.depends().collect::<Vec<_>>(), [("a", Some("1.2-3")), ("b", None), ("d", None)]);
    }
}
