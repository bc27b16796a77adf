//! The module's source: where it is, of which version, and what it asks of Rust.

use std::fs;
use std::path::{Path, PathBuf};

use trapline_abi::ABI_VERSION;

use super::BuildError;
use crate::system::System;

/// Where a package installs it, by the command's version.
const INSTALLED: &str = concat!("usr/src/trapline-", env!("CARGO_PKG_VERSION"));

/// A folder with `kernel/` and the crates that it is made of.
#[derive(Debug)]
pub(super) struct Source {
    folder: PathBuf,
    /// The oldest Rust that compiles it: major and minor.
    pub oldest_rust: (u32, u32),
}

impl Source {
    /// The folder that was named, else the first that there is: as a package installs it, or a
    /// checkout that `here` lies in.
    ///
    /// # Errors
    /// There is none, or it speaks another version than this command.
    pub(super) fn find(system: &System, named: Option<&Path>, here: &Path) -> Result<Self, BuildError> {
        let installed = system.path(INSTALLED);
        let folder = match named {
            Some(folder) if is_source(folder) => folder.to_owned(),
            Some(folder) => return Err(BuildError::NotASource { folder: folder.to_owned() }),
            None => [installed.as_path()]
                .into_iter()
                .chain(here.ancestors())
                .find(|folder| is_source(folder))
                .ok_or_else(|| BuildError::NoSource { installed: installed.clone() })?
                .to_owned(),
        };
        let module = version(&folder).ok_or_else(|| BuildError::NotASource { folder: folder.clone() })?;
        if module != ABI_VERSION {
            return Err(BuildError::Version { folder, module });
        }
        let oldest_rust =
            oldest_rust(&folder).ok_or_else(|| BuildError::NotASource { folder: folder.clone() })?;
        Ok(Self { folder, oldest_rust })
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

fn is_source(folder: &Path) -> bool {
    folder.join("kernel/Makefile").is_file() && folder.join("crates/abi/src/lib.rs").is_file()
}

/// The version of the interface that it is written for: a line of `trapline-abi`.
fn version(folder: &Path) -> Option<u32> {
    let text = fs::read_to_string(folder.join("crates/abi/src/lib.rs")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("pub const ABI_VERSION: u32 = "))?;
    line.strip_suffix(';')?.parse().ok()
}

/// What its package names as `rust-version`.
fn oldest_rust(folder: &Path) -> Option<(u32, u32)> {
    let manifest: toml::Table = fs::read_to_string(folder.join("kernel/Cargo.toml")).ok()?.parse().ok()?;
    super::version_of(manifest.get("package")?.get("rust-version")?.as_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::with;

    fn files(folder: &str, version: u32) -> Vec<(String, String)> {
        [
            ("kernel/Makefile", String::new()),
            ("kernel/Cargo.toml", "[package]\nrust-version = \"1.95\"\n".into()),
            ("crates/abi/src/lib.rs", format!("//! x\npub const ABI_VERSION: u32 = {version};\n")),
        ]
        .map(|(path, text)| (format!("{folder}/{path}"), text))
        .into()
    }

    fn find(files: &[(String, String)], named: Option<&str>, here: &str) -> Result<String, String> {
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let (root, system) = with(&files);
        let named = named.map(|folder| root.path().join(folder));
        let found = Source::find(&system, named.as_deref(), &root.path().join(here));
        let below = |text: String| text.replace(&format!("{}/", root.path().display()), "");
        match found {
            Ok(source) => {
                assert_eq!(source.oldest_rust, (1, 95));
                Ok(below(source.folder().display().to_string()))
            }
            Err(error) => Err(below(error.to_string())),
        }
    }

    #[test]
    fn the_source_is_what_is_named_else_what_is_installed_else_the_checkout_that_we_are_in() {
        let mut all = files("checkout", ABI_VERSION);
        assert_eq!(find(&all, None, "checkout/crates/cli").as_deref(), Ok("checkout"));
        all.extend(files(INSTALLED, ABI_VERSION));
        assert_eq!(find(&all, None, "checkout/crates/cli").as_deref(), Ok(INSTALLED));
        assert_eq!(find(&all, Some("checkout"), "").as_deref(), Ok("checkout"));
    }

    #[test]
    fn where_no_source_is_it_is_told_where_one_is_looked_for() {
        let error = find(&[], None, "").unwrap_err();
        assert!(error.contains(INSTALLED) && error.contains("--source"), "{error}");
        let error = find(&[], Some("elsewhere"), "").unwrap_err();
        assert!(error.starts_with("elsewhere is no source of the module"), "{error}");
    }

    #[test]
    fn a_source_of_another_version_is_refused_by_number() {
        let error = find(&files("old", ABI_VERSION - 1), Some("old"), "").unwrap_err();
        let numbers = format!("speaks version {} and this command version {ABI_VERSION}", ABI_VERSION - 1);
        assert!(error.contains(&numbers), "{error}");
    }
}
