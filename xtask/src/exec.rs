//! Runs host programs, and turns a failure into one message that holds the command and what it
//! said.

use std::io;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// How much of a failed program's output goes into the error.
const TAIL: usize = 25;

/// Runs a program to its end and returns what it wrote to standard output. Standard input is empty.
///
/// # Errors
/// The program is not there, or ended with a status other than 0: the message holds the last lines
/// it wrote.
pub fn output(command: &mut Command) -> Result<String> {
    let result = raw(command)?;
    if !result.status.success() {
        let said = [&result.stdout[..], &result.stderr[..]].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        bail!("`{}` failed ({}):\n{}", shown(command), result.status, tail(&said, TAIL));
    }
    Ok(String::from_utf8_lossy(&result.stdout).into_owned())
}

/// Runs a program to its end, whatever its status.
pub fn raw(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().map_err(|error| missing(command, error))
}

/// The program of a command line, whose words are apart by single spaces, with settings before it
/// as in a shell.
pub fn line(line: &str) -> Result<Command> {
    let mut words = line.split(' ').peekable();
    let mut settings = Vec::new();
    while let Some(setting) = words.peek().and_then(|word| word.split_once('=')) {
        settings.push(setting);
        words.next();
    }
    let program = words.next().with_context(|| format!("`{line}` names no program"))?;
    let mut command = Command::new(program);
    command.args(words).envs(settings);
    Ok(command)
}

/// Runs a program with the terminal as its output, and returns whether it succeeded.
pub fn shows(command: &mut Command) -> Result<bool> {
    Ok(command.stdin(Stdio::null()).status().map_err(|error| missing(command, error))?.success())
}

/// The command as a person would type it, near enough to find it again.
pub fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// The last `lines` lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Whether a program can be found on the PATH.
pub fn exists(program: &str) -> bool {
    find(program).is_ok()
}

/// Where a program is, searching the PATH and then the folders for administration, which a person's
/// PATH may lack.
pub fn find(program: &str) -> Result<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("the program `{program}` is not on the PATH"))
}

fn missing(command: &Command, error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("cannot run `{}`", command.get_program().to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_program_is_named_with_what_it_said() {
        let error =
            output(Command::new("sh").args(["-c", "echo lost it >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("sh -c") && error.contains("lost it") && error.contains('3'), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = output(&mut Command::new("no-such-program-here")).unwrap_err().to_string();
        assert!(error.contains("no-such-program-here"), "{error}");
    }
}
