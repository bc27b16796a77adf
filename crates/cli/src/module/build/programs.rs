//! The programs of a machine: where they are, and what they say about themselves.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Finds and asks programs. Tests have some of their own.
pub(super) trait Programs {
    /// Where the program `name` is, or the file `name` if it has a folder; none if it can't be run.
    fn find(&self, name: &Path) -> Option<PathBuf>;

    /// Whether there is the file `path`.
    fn has(&self, path: &Path) -> bool;

    /// What `program` writes, without the white space around it; none if it fails.
    fn ask(&self, program: &Path, arguments: &[&str]) -> Option<String>;
}

/// Those of the machine we run on.
pub(super) struct OnPath;

impl Programs for OnPath {
    fn find(&self, name: &Path) -> Option<PathBuf> {
        which::which(name).ok()
    }

    fn has(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn ask(&self, program: &Path, arguments: &[&str]) -> Option<String> {
        let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(said)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Programs that tests make up: each with its path, an argument, and what it says to that.
    pub(in super::super) struct Fake(pub Vec<(&'static str, &'static str, String)>);

    impl Programs for Fake {
        fn find(&self, name: &Path) -> Option<PathBuf> {
            let is_it = |path: &Path| {
                path == name || path.parent() == Some(Path::new("/usr/bin")) && path.ends_with(name)
            };
            self.0.iter().map(|(path, ..)| PathBuf::from(path)).find(|path| is_it(path))
        }

        fn has(&self, path: &Path) -> bool {
            self.0.iter().any(|(known, ..)| Path::new(known) == path)
        }

        fn ask(&self, program: &Path, arguments: &[&str]) -> Option<String> {
            let is_it = |(path, argument, _): &&(&str, &str, String)| {
                program == Path::new(path) && arguments.last() == Some(argument)
            };
            self.0.iter().find(is_it).map(|(.., said)| said.clone())
        }
    }

    #[test]
    fn a_program_is_found_and_says_what_it_writes() {
        let shell = OnPath.find(Path::new("sh")).unwrap();
        assert_eq!(OnPath.ask(&shell, &["-c", "echo ' 12 '"]).as_deref(), Some("12"));
        assert_eq!(OnPath.ask(&shell, &["-c", "exit 1"]), None);
        assert_eq!(OnPath.find(Path::new("no-such-program-here")), None);
    }
}
