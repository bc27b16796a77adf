//! Bad input, as a person would meet it: one clear message, the documented exit status, nothing left armed, a clean kernel log.
//!
//! A mistake is a row of a table; all of a machine happen in one boot, one after another.

mod cases;
mod faults;
mod probes;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::account::DEVICES;
use super::{Scenario, succeeds};
use crate::setup::Series;
use crate::vm::Options;
use cases::{LOCKED, MADE};

pub(super) const TOLD: Scenario = Scenario {
    name: "each mistake gets one message that names the thing, its exit status, and leaves nothing armed",
    check: told,
};
pub(super) const PROBES: Scenario = Scenario {
    name: "each mistake with a code probe gets one message that names the thing, its exit status, and leaves nothing armed",
    check: |series| {
        made(probes::MADE, Options { modules: vec!["dummy".into()], ..Options::in_turn(series, "") })
    },
};
pub(super) const FAULTS: Scenario = Scenario {
    name: "each mistake with page faults gets one message that names the thing, its exit status, and everything is put back",
    check: with_faults,
};
pub(super) const LOCKED_DOWN: Scenario = Scenario {
    name: "a kernel that is locked down refuses the module, and the message says so",
    check: locked_down,
};

/// Something a person does wrong, or a machine that is not as it should be.
struct Mistake {
    /// What it is.
    name: &'static str,
    /// Shell lines that bring it about.
    before: &'static str,
    /// The command line, for the shell.
    command: &'static str,
    /// Its exit status.
    status: u8,
    /// What it says, on either output, among other things.
    says: &'static [&'static str],
    /// Shell lines that undo it.
    after: &'static str,
}

/// Seconds that a command may take on a machine that is busy; it ends with another status than any of ours if it takes longer.
const LIMIT: u32 = 30;

/// A device with a BAR of 1 GiB, beside the ones of the test modules.
const GIBIBYTE: [&str; 4] =
    ["-object", "memory-backend-ram,id=gibibyte,size=1G", "-device", "ivshmem-plain,memdev=gibibyte,addr=4"];

fn told(series: Series) -> Result<()> {
    let devices = DEVICES.iter().chain(&GIBIBYTE);
    made(MADE, Options { qemu: devices.map(Into::into).collect(), ..Options::in_turn(series, "") })
}

fn with_faults(series: Series) -> Result<()> {
    made(faults::MADE, Options::in_turn(series, ""))?;
    let append = Some("pti=on".to_owned());
    made(faults::ISOLATED, Options { append, ..Options::in_turn(series, "") })
}

fn locked_down(series: Series) -> Result<()> {
    let append = Some("lockdown=integrity".to_owned());
    made(LOCKED, Options { qemu: DEVICES.map(Into::into).into(), append, ..Options::in_turn(series, "") })
}

/// Makes the mistakes in a machine, and checks all before it fails for any.
fn made(mistakes: &[Mistake], options: Options) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let mut script = String::from("cd /tmp\n");
    for (number, Mistake { name, before, command, after, .. }) in mistakes.iter().enumerate() {
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
    let wrong: Vec<String> = mistakes
        .iter()
        .enumerate()
        .filter_map(|(number, mistake)| {
            let error = mistake.check(folder.path(), number).err()?;
            Some(format!("{}: `{}`: {error:#}", mistake.name, mistake.command))
        })
        .collect();
    ensure!(wrong.is_empty(), "{} of {} mistakes:\n{}", wrong.len(), mistakes.len(), wrong.join("\n"));
    Ok(())
}

impl Mistake {
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
    let idle = is("session", "none")
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
                "module   loaded\nsession               none\npage-fault watch      none\naccess probes         0\ncode probes           0\narmed pages           {pages}\n"
            )
        };
        assert!(is_idle(&status(0)));
        assert!(!is_idle(&status(1)));
        assert!(!is_idle("trapline: it broke\n"));
    }
}
