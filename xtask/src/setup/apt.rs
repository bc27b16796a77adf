//! A private apt: its own sources, lists and cache under `target/`, the machine's mirror and Debian's keys.
//!
//! Kernel 6.12 for bookworm is in bookworm-backports, which few machines have among their sources. Adding it to the
//! machine's own would change what its next upgrade installs, so the machine's configuration is read and left alone.
//! It also makes fetching kernels possible without root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{exec, workspace};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const DEFAULT_MIRROR: &str = "http://deb.debian.org/debian";
const DEFAULT_SECURITY_MIRROR: &str = "http://deb.debian.org/debian-security";

/// The private apt, ready to be asked.
pub struct Apt {
    configuration: PathBuf,
}

impl Apt {
    /// Writes the private configuration and fetches the package lists.
    pub fn update() -> Result<Self> {
        let folder = workspace::cache_dir("apt")?;
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let sources = folder.join("sources.list");
        fs::write(&sources, source_list(&machine_sources()))?;
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
        let apt = Self { configuration };
        exec::output(apt.command("apt-get").args(["-q", "update"]))
            .context("cannot fetch Debian's package lists")?;
        Ok(apt)
    }

    /// The records of every known version of a package, newest version first, as `apt-cache show` prints them.
    pub fn show(&self, package: &str) -> Result<Vec<Record>> {
        let text = exec::output(self.command("apt-cache").args(["show", package]))?;
        Ok(text
            .split("\n\n")
            .filter(|record| !record.trim().is_empty())
            .map(|text| Record(text.to_owned()))
            .collect())
    }

    /// Downloads packages, each `NAME` or `NAME=VERSION`, into a folder.
    pub fn download(&self, packages: &[String], folder: &Path) -> Result<()> {
        let mut command = self.command("apt-get");
        exec::output(command.args(["-q", "download"]).args(packages).current_dir(folder)).map(drop)
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

    /// The packages it depends on, the first of each alternative: name, and version if exactly one will do.
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

fn source_list(machine: &str) -> String {
    let mirror_of = |suite: &str, default: &str| {
        let found = machine.lines().filter_map(|line| line.split_once(' ')).find(|(_, of)| *of == suite);
        found.map_or(default, |(uri, _)| uri.trim_end_matches('/')).to_owned()
    };
    let main = mirror_of("bookworm", DEFAULT_MIRROR);
    let security = mirror_of("bookworm-security", DEFAULT_SECURITY_MIRROR);
    [(&main, "bookworm"), (&main, "bookworm-backports"), (&security, "bookworm-security")]
        .map(|(uri, suite)| format!("deb [signed-by={KEYRING}] {uri} {suite} main\n"))
        .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backports_come_from_the_machines_own_mirror() {
        let list =
            source_list("http://mirror.example/debian/ bookworm\nhttp://sec.example/s/ bookworm-security\n");
        assert!(list.contains("] http://mirror.example/debian bookworm-backports main\n"), "{list}");
        assert!(list.contains("] http://sec.example/s bookworm-security main\n"), "{list}");
    }

    #[test]
    fn a_machine_without_lists_gets_debians_mirror() {
        let list = source_list("");
        assert!(list.contains(&format!("{DEFAULT_MIRROR} bookworm-backports main")), "{list}");
    }

    #[test]
    fn dependencies_are_read_with_their_exact_versions() {
        let record = Record("Package: x\nDepends: a (= 1.2-3), b (>= 4) | c, d".to_owned());
        assert_eq!(record.depends().collect::<Vec<_>>(), [("a", Some("1.2-3")), ("b", None), ("d", None)]);
    }
}
