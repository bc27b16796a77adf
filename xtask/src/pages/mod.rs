//! `cargo xtask pages`: the pages of `trapline report --html` in a browser, as a person uses them,
//! a trace in Perfetto's own trace processor and page, and pictures of both for the documentation.

mod browser;
mod perfetto;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::failure::FAILED;
use crate::progress::Step;
use crate::{build, exec, setup, workspace};
use browser::Scheme;

/// What to do beside the checks.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Take the pictures of docs/report.png and docs/perfetto.png anew.
    #[arg(long)]
    pub pictures: bool,
}

/// Traces that are made up, and what must stand in the page of each.
const PAGES: [(&str, &str); 6] = [
    ("load", "0 dropped, 0 possibly missed"),
    ("missing", "THIS TRACE IS NOT COMPLETE: a ring was full"),
    ("cut", "THIS TRACE IS NOT COMPLETE: the trace is cut off after"),
    ("hostile", "&#60;/script&#62;"),
    ("large", "1,000,000 accesses"),
    ("empty", "There is nothing in this trace"),
];

/// What of the page is on its picture, and how large it is.
const VIEW: &str = "time=0-2600000";
const SIZE: &str = "1280,1100";
/// A README should not be slow to load.
const LARGEST: u64 = 300_000;

/// Makes the pages, checks each in the browser, and takes the pictures; the status tells whether
/// all checks held.
pub fn command(options: &Options) -> Result<u8> {
    setup::host::ensure_for_pages()?;
    let trapline = build::command()?;
    let folder = build::traces()?;
    let step = Step::new("making pages and looking at them");
    let mut failed = 0;
    for (name, text) in PAGES {
        let page = page(&trapline, &folder, name)?;
        let content = fs::read_to_string(&page).context("cannot read a page")?;
        ensure!(content.contains(text), "{} does not say: {text}", page.display());
        let started = Instant::now();
        let found = browser::check(&page)?;
        let seconds = started.elapsed().as_secs_f64();
        let wrong: Vec<_> = found.iter().filter(|line| !line.starts_with("ok ")).collect();
        println!(
            "{name:8} {} checks, {} failed, {} kB, {seconds:.1} s",
            found.len(),
            wrong.len(),
            content.len() / 1000
        );
        wrong.iter().for_each(|line| println!("         {line}"));
        failed += wrong.len();
    }
    let (light, dark) = (folder.join("light.png"), folder.join("dark.png"));
    let load = format!("{}#{VIEW}", browser::file_address(&folder.join("load.html")));
    browser::picture(&load, Scheme::Light, SIZE, &light)?;
    browser::picture(&load, Scheme::Dark, SIZE, &dark)?;
    ensure!(fs::read(&light)? != fs::read(&dark)?, "light and dark look the same");
    let perfetto = perfetto::Perfetto::serve(&trapline, &folder.join("load.trace"))?;
    let wrong = perfetto.check()?;
    println!("perfetto {} questions, {} answered wrong", perfetto::QUESTIONS.len(), wrong.len());
    wrong.iter().for_each(|line| println!("         {line}"));
    failed += wrong.len();
    if options.pictures {
        keep(&light, "docs/report.png")?;
        let picture = folder.join("perfetto.png");
        perfetto.picture(&picture)?;
        keep(&picture, "docs/perfetto.png")?;
    }
    drop(step);
    println!("pictures: {} and {}", light.display(), dark.display());
    Ok(if failed == 0 { 0 } else { FAILED })
}

/// Makes a picture one of the documentation.
fn keep(picture: &Path, name: &str) -> Result<()> {
    let size = fs::metadata(picture)?.len();
    ensure!(size < LARGEST, "{} has {size} bytes, more than {LARGEST}", picture.display());
    fs::copy(picture, workspace::root().join(name))?;
    Ok(())
}

/// The page of a trace. One that was cut off has a page too, and a status that says so.
fn page(trapline: &Path, folder: &Path, name: &str) -> Result<PathBuf> {
    let page = folder.join(name).with_extension("html");
    let mut command = Command::new(trapline);
    command.arg("report").arg(folder.join(name).with_extension("trace")).arg("--html").arg(&page);
    let said = exec::raw(&mut command)?;
    let expected = if name == "cut" { 4 } else { 0 };
    ensure!(
        said.status.code() == Some(expected),
        "`{}` ended with {}, not {expected}:\n{}",
        exec::shown(&command),
        said.status,
        String::from_utf8_lossy(&said.stderr)
    );
    Ok(page)
}
