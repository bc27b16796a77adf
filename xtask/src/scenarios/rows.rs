//! Tables of what a person does, and what must come of it: all of a table in one machine, one row
//! after another.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::succeeds;
use crate::setup::Series;
use crate::vm::Options;

/// Something a person does, right or wrong, on a machine as it should be or not.
pub(super) struct Row {
    /// What it is.
    pub(super) name: &'static str,
    /// Shell lines that bring it about.
    pub(super) before: &'static str,
    /// The command line, for the shell.
    pub(super) command: &'static str,
    /// Its exit status.
    pub(super) status: u8,
    /// What it says, on either output, among other things.
    pub(super) says: &'static [&'static str],
    /// Shell lines that undo it.
    pub(super) after: &'static str,
    /// The newest kernel that it can be brought about on, if that is not all.
    pub(super) until: Option<Series>,
}

/// What a row does not say.
pub(super) const NOTHING: Row =
    Row { name: "", before: "", command: "", status: 0, says: &[], after: "", until: None };

/// Seconds that a command may take; it ends with another status than any of ours if it takes
/// longer. The slowest takes ten on a quiet host, and a busy host is some times slower: the limit
/// is for commands that never end.
const LIMIT: u32 = 200;

/// Does what the rows say in a machine, and checks all before it fails for any.
pub(super) fn play(rows: &[Row], options: Options) -> Result<()> {
    let is_possible = |row: &&Row| row.until.is_none_or(|newest| options.kernel <= newest);
    let rows: Vec<&Row> = rows.iter().filter(is_possible).collect();
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let mut script = String::from("cd /tmp\n");
    for (number, Row { name, before, command, after, .. }) in rows.iter().copied().enumerate() {
        ensure!(!name.contains('\''), "a quote in `{name}` would end it in the shell");
        script.push_str(&format!(
            "echo '{name}'
{before}
cat > command <<'COMMAND'
{command}
COMMAND
timeout {LIMIT} sh command > /out/{number}.said 2>&1
echo $? > /out/{number}.status
{after}
trapline status > /out/{number}.left 2>&1
"
        ));
    }
    succeeds(&Options { copy_out: Some(folder.path().to_owned()), command: vec![script.into()], ..options })?;
    let wrong: Vec<String> = rows
        .iter()
        .enumerate()
        .filter_map(|(number, row)| {
            let error = row.check(folder.path(), number).err()?;
            Some(format!("{}: `{}`: {error:#}", row.name, row.command))
        })
        .collect();
    ensure!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    Ok(())
}

impl Row {
    /// Looks at what number `number` left in `folder`.
    fn check(&self, folder: &Path, number: usize) -> Result<()> {
        let read = |what| {
            let path = folder.join(format!("{number}.{what}"));
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let (status, said, left) = (read("status")?, read("said")?, read("left")?);
        ensure!(
            status.trim() == self.status.to_string(),
            "ended with {}, not {}:\n{said}",
            status.trim(),
            self.status
        );
        for text in self.says {
            ensure!(said.contains(text), "does not say `{text}`:\n{said}");
        }
        ensure!(!said.contains("panicked"), "panicked:\n{said}");
        ensure!(is_idle(&left), "left something behind:\n{left}");
        Ok(())
    }
}

/// Whether `trapline status` shows a module without anything armed, or none.
fn is_idle(status: &str) -> bool {
    let is = |name: &str, value: &str| {
        status.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.trim() == value))
    };
    let idle = is("sessions", "0")
        && is("access watch", "none")
        && is("page-fault watch", "none")
        && ["armed pages", "access probes", "code probes"].iter().all(|what| is(what, "0"));
    idle || status.starts_with("module                not loaded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_with_an_armed_page_is_not_idle() {
        let status = |pages| {
            format!(
                "module   loaded\nsessions              0\naccess watch          none\npage-fault watch      none\naccess probes         0\ncode probes           0\narmed pages           {pages}\n"
            )
        };
        assert!(is_idle(&status(0)));
        assert!(!is_idle(&status(1)));
        assert!(!is_idle("trapline: it broke\n"));
    }
}
