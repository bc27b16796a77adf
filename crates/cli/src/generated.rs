//! What is made from the command line's description in [`crate::args`]: man pages and shell
//! completions.

use std::io;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Cli;

/// No man page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManError {
    /// About nothing.
    #[error("{command} has no command `{name}`; it has: {commands}")]
    NoCommand {
        /// Whose commands were looked at.
        command: String,
        /// What was asked for.
        name: String,
        /// What there is.
        commands: String,
    },
    /// They can't be written.
    #[error("can't write man pages into {}: {source}", folder.display())]
    Write {
        /// Where.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The completion script for `shell`.
pub(crate) fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "trapline", &mut script);
    script
}

/// The man page about the command with the name `about`, a word for each level; about trapline as a
/// whole if there are none.
pub(crate) fn man_page(about: &[String]) -> Result<Vec<u8>, ManError> {
    let mut command = Cli::command();
    // So that each command knows its full name and the options that all have.
    command.build();
    for name in about {
        let commands: Vec<&str> = command.get_subcommands().map(|command| command.get_name()).collect();
        let unknown = || ManError::NoCommand {
            command: command.get_name().into(),
            name: name.into(),
            commands: commands.join(", "),
        };
        command = command.find_subcommand(name).ok_or_else(unknown)?.clone();
    }
    let mut page = Vec::new();
    // Writing into memory does not fail.
    let _ = Man::new(command).render(&mut page);
    Ok(page)
}

/// Writes the man pages about trapline and all of its commands into a folder.
pub(crate) fn man_pages(folder: &Path) -> Result<(), ManError> {
    clap_mangen::generate_to(Cli::command(), folder)
        .map_err(|source| ManError::Write { folder: folder.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_man_page_with_its_full_name() {
        let man = |about: &str| man_page(&about.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let page = |about| String::from_utf8(man(about).unwrap()).unwrap();
        assert!(page("").contains("trapline\\-mmio(1)"), "{}", page(""));
        assert!(page("mmio").contains(".TH trapline-mmio 1"), "{}", page("mmio"));
        assert!(page("mmio").contains("\\-\\-driver"));
        assert!(page("module build").contains(".TH trapline-module-build 1"), "{}", page("module build"));
        let error = |about| man(about).unwrap_err().to_string();
        assert!(error("nothing").contains("mmio, inject, harden, probe, faults, trace, device, report"));
        assert!(
            error("module mmio").contains("has no command `mmio`; it has: build"),
            "{}",
            error("module mmio")
        );
    }

    #[test]
    fn all_man_pages_are_written_at_once() {
        let folder = tempfile::tempdir().unwrap();
        man_pages(folder.path()).unwrap();
        for name in ["trapline", "trapline-mmio", "trapline-module-build", "trapline-registers-import"] {
            assert!(folder.path().join(format!("{name}.1")).is_file(), "{name}");
        }
        assert!(man_pages(Path::new("/nonexistent")).unwrap_err().to_string().contains("/nonexistent"));
    }
}
