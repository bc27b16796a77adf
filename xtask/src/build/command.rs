//! Builds programs for the guest, which runs the host's own C library.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::progress::Step;
use crate::{exec, workspace};

/// The release build of the `trapline` command. Cargo decides whether there is anything to do, once
/// in a run of xtask.
pub fn command() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock().expect("building does not panic");
    if built.is_none() {
        *built = Some(build("trapline", "trapline")?);
    }
    built.clone().context("it was built just now")
}

/// Makes up traces to look at, and tells the folder that they are in: see the example `traces` of
/// `trapline-trace`. It is built as `cargo test --workspace` builds it, which may have done so.
pub fn traces() -> Result<PathBuf> {
    let program = cargo("the example traces", &["--workspace", "--example", "traces"])?;
    let _step = Step::new("making up traces");
    let folder = workspace::cache_dir("traces")?;
    exec::output(Command::new(program).arg(&folder))?;
    Ok(folder)
}

/// The release build of the program that runs the conformance suite.
pub fn conformance() -> Result<PathBuf> {
    build("trapline-guest", "trapline-conformance")
}

/// The release build of the program that starts and stops sessions.
pub fn cycles() -> Result<PathBuf> {
    build("trapline-guest", "trapline-cycles")
}

/// The release build of the program that raises page faults.
pub fn faults() -> Result<PathBuf> {
    build("trapline-guest", "trapline-faults")
}

/// The release build of the program that probes code.
pub fn probes() -> Result<PathBuf> {
    build("trapline-guest", "trapline-probes")
}

/// The release build of the program whose session has several sources.
pub fn sources() -> Result<PathBuf> {
    build("trapline-guest", "trapline-sources")
}

/// The release build of the program that raises many page faults, for measurements.
pub fn touch() -> Result<PathBuf> {
    build("trapline-guest", "trapline-touch")
}

/// The release build of the program that provokes page faults.
pub fn provoke() -> Result<PathBuf> {
    build("trapline-guest", "trapline-provoke")
}

/// The release build of the program that holds the page-fault gate against what the kernel says.
pub fn gate() -> Result<PathBuf> {
    build("trapline-guest", "trapline-gate")
}

fn build(package: &str, program: &str) -> Result<PathBuf> {
    cargo(program, &["--release", "--package", package, "--bin", program])
}

/// Has cargo build the one program that `words` choose.
fn cargo(program: &str, words: &[&str]) -> Result<PathBuf> {
    let _step = Step::new(format!("building {program}"));
    let built = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["build", "--quiet"])
        .args(words)
        .arg("--message-format=json-render-diagnostics")
        .current_dir(workspace::root())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !built.status.success() {
        bail!("{program} does not build");
    }
    // Only cargo knows its target folder; the message about the binary names it.
    let messages = String::from_utf8_lossy(&built.stdout);
    let path = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    path.with_context(|| format!("cargo built {program} but did not say where it is"))
}
