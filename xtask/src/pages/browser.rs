//! Debian's Chromium without a screen, and what a page said in it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{exec, workspace};

const PROGRAM: &str = "chromium-headless-shell";

/// What does with a page what a person does.
const CHECK: &str = include_str!("check.js");

/// The last line of them.
const LAST: &str = "end";

/// Around what the checks found, in the page as it was at its end.
const BEGIN: &str = "<pre id=\"outcome\">";
const END: &str = "</pre>";

/// Milliseconds of the page's own clock that a page is given, which stands still while it works.
const BUDGET: &str = "--virtual-time-budget=30000";

/// How a page is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Light,
    Dark,
}

/// Opens a page, does with it what a person does, and returns what was found, a line for each
/// check. A page that writes to the console is an error, whatever it writes.
pub(super) fn check(page: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    let checked = page.with_extension("checked.html");
    let (before, after) = text.rsplit_once("</body>").context("a page has a body")?;
    fs::write(&checked, format!("{before}<script>{CHECK}</script></body>{after}"))?;
    let (found, console) = outcome_at(&file_address(&checked))?;
    ensure!(console.is_empty(), "{} writes to the console: {}", page.display(), console.join("; "));
    Ok(found)
}

/// Opens the page at an address and returns what it found, as it wrote it down, and what was
/// written to the console.
pub(super) fn outcome_at(address: &str) -> Result<(Vec<String>, Vec<String>)> {
    let mut command = command(Scheme::Light)?;
    command.args([BUDGET, "--window-size=1400,1200", "--dump-dom", address]);
    let said = exec::raw(&mut command)?;
    let words = String::from_utf8_lossy(&said.stderr);
    let console = console(&words);
    let dom = String::from_utf8_lossy(&said.stdout);
    let found = outcome(&dom).with_context(|| {
        let found = dom.rsplit_once(BEGIN).map_or("nothing was checked", |(_, rest)| rest);
        let said = [exec::tail(found, 10), console.join("; ")].join("\n");
        format!("the checks of {address} did not come to their end:\n{said}")
    })?;
    Ok((found, console.into_iter().map(str::to_owned).collect()))
}

/// Takes a picture of the page at an address.
pub(super) fn picture(address: &str, scheme: Scheme, size: &str, file: &Path) -> Result<()> {
    let mut command = command(scheme)?;
    command.args([BUDGET, "--hide-scrollbars"]);
    command.arg(format!("--window-size={size}")).arg(format!("--screenshot={}", file.display()));
    command.arg(address);
    let said = exec::raw(&mut command)?;
    ensure!(
        said.status.success() && file.exists(),
        "no picture of {address}: {}",
        exec::tail(&String::from_utf8_lossy(&said.stderr), 10)
    );
    Ok(())
}

fn command(scheme: Scheme) -> Result<Command> {
    let profile = workspace::cache_dir("pages/profile")?;
    let mut command = Command::new(PROGRAM);
    // Root can't have Chromium's sandbox; the pages are our own, which forbid themselves the
    // network, and Perfetto's.
    command.args(["--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]);
    command.arg(format!("--user-data-dir={}", profile.display()));
    let number = if scheme == Scheme::Dark { 0 } else { 1 };
    command.arg(format!("--blink-settings=preferredColorScheme={number}"));
    Ok(command)
}

/// The address of a page in a file.
pub(super) fn file_address(page: &Path) -> String {
    format!("file://{}", page.display())
}

/// What was written to the console, among all that the browser says.
fn console(said: &str) -> Vec<&str> {
    said.lines().filter(|line| line.contains(":CONSOLE")).collect()
}

/// What the checks found, in a page as it was at its end.
fn outcome(page: &str) -> Option<Vec<String>> {
    let (_, rest) = page.rsplit_once(BEGIN)?;
    let (lines, _) = rest.split_once(END)?;
    let mut found: Vec<_> = lines.lines().map(str::to_owned).collect();
    (found.pop()? == LAST).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_checks_found_is_read_from_the_page() {
        let page = "<pre>text</pre><pre id=\"outcome\">ok one\nFAILED two: 3\nend</pre></body>";
        assert_eq!(outcome(page).unwrap(), ["ok one", "FAILED two: 3"]);
        assert_eq!(outcome("<pre>text</pre>"), None);
        assert_eq!(outcome(&page.replace("\nend", "")), None, "checks that did not end found nothing");
    }

    #[test]
    fn only_the_pages_own_words_are_of_the_console() {
        let said = "[1129/0:WARNING:sandbox.cc:405] multiple threads\n\
                    [1129/0:INFO:CONSOLE:159] \"Uncaught SyntaxError\", source: file:///a.html (159)\n";
        assert_eq!(console(said).len(), 1);
    }
}
