//! `cargo xtask queries`: the questions of docs/queries.md, asked of made-up traces by DuckDB and
//! by Polars, which must answer alike.
//!
//! Both are Python packages, which are put into an environment of their own under `target/`.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::failure::FAILED;
use crate::{build, exec, setup, workspace};

const DOCUMENT: &str = "docs/queries.md";
const CHECK: &str = include_str!("check.py");
const PACKAGES: [&str; 2] = ["duckdb", "polars"];
/// How many questions the document has.
const QUESTIONS: usize = 11;

/// The traces that are one table in a folder, beside the first one as it is.
const MANY: [&str; 2] = ["load.trace", "missing.trace"];

/// A made-up trace, and what must be among the answers to it.
const TRACES: [(&str, &[&str]); 2] = [
    (
        "load",
        &[
            "('lab1', '6.1.0-56-amd64', 'load.trace', 4503",
            "('lab2', '6.12.95+deb12-amd64', 'missing.trace', 4503",
            "('W', 'RDT[0]', 600)",
            "('MDIC', 'e1000e_read_phy_reg_mdic', 974)",
            "missing?: [(0, 0, 0, 1)]",
        ],
    ),
    ("missing", &["missing?: [(1234, 0, 0, 1)]"]),
];

/// Asks all questions; the status tells whether the answers are as they should be.
pub fn command() -> Result<u8> {
    let trapline = build::command()?;
    let python = setup::python::with(&PACKAGES)?;
    let folder = build::traces()?;
    let many = folder.join("many");
    let mut partition = Command::new(&trapline);
    partition.current_dir(&folder).arg("convert").args(MANY);
    exec::output(partition.args(["--to", "parquet", "--partition", "--output"]).arg(&many))?;
    let mut failed = 0;
    for (name, expected) in TRACES {
        let said = answers(&python, &trapline, &folder, name, &many)?;
        println!("{name}:");
        said.lines().for_each(|line| println!("  {}", line.chars().take(140).collect::<String>()));
        failed += said.lines().filter(|line| !line.starts_with("ok ")).count();
        ensure!(said.lines().count() == QUESTIONS, "{DOCUMENT} has not {QUESTIONS} questions any more");
        for words in expected.iter().filter(|words| !said.contains(**words)) {
            println!("  FAILED: no answer says {words}");
            failed += 1;
        }
    }
    println!("{failed} failed");
    Ok(if failed == 0 { 0 } else { FAILED })
}

/// What both engines say of a trace, as Parquet.
fn answers(python: &Path, trapline: &Path, folder: &Path, name: &str, many: &Path) -> Result<String> {
    let parquet = folder.join(name).with_extension("parquet");
    let mut convert = Command::new(trapline);
    convert.arg("convert").arg(folder.join(name).with_extension("trace"));
    exec::output(convert.args(["--to", "parquet", "--output"]).arg(&parquet))?;
    let mut ask = Command::new(python);
    exec::output(ask.args(["-c", CHECK]).arg(workspace::root().join(DOCUMENT)).arg(&parquet).arg(many))
}
