//! What is made from the command line's description in [`crate::args`]: man pages and shell completions.

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Cli;
use crate::error::{Error, Result};

/// The completion script for `shell`.
pub(crate) fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "trapline", &mut script);
    script
}

/// The man page about the command `about`, or about trapline as a whole.
pub(crate) fn man_page(about: Option<&str>) -> Result<Vec<u8>> {
    let mut all = Cli::command();
    // So that each command knows its full name and the options that all have.
    all.build();
    let command = match about {
        None => all,
        Some(name) => {
            let commands: Vec<&str> = all.get_subcommands().map(|command| command.get_name()).collect();
            let unknown = || Error::NoCommand { name: name.into(), commands: commands.join(", ") };
            all.find_subcommand(name).ok_or_else(unknown)?.clone()
        }
    };
    let mut page = Vec::new();
    Man::new(command).render(&mut page).map_err(|source| Error::Print { source })?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_man_page_with_its_full_name() {
        let page = |about| String::from_utf8(man_page(about).unwrap()).unwrap();
        assert!(page(None).contains("trapline\\-mmio(1)"), "{}", page(None));
        assert!(page(Some("mmio")).contains(".TH trapline-mmio 1"), "{}", page(Some("mmio")));
        assert!(page(Some("mmio")).contains("\\-\\-driver"));
        assert!(man_page(Some("nothing")).unwrap_err().to_string().contains("mmio, probe, report"));
    }
}
