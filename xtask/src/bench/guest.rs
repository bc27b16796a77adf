//! What is measured in the virtual machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Table, measured, times};
use crate::exec;
use crate::setup::Series;
use crate::vm::Options;

const SCRIPT: &str = include_str!("guest.sh");
/// CPUs of the machine.
pub(super) const CPUS: u32 = 4;

/// The quickest of the rounds.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Guest {
    /// Nanoseconds for one access by one of so many CPUs at once, by what was measured.
    pace: BTreeMap<(String, u32), f64>,
    /// Milliseconds to load the driver, by who traced it.
    load: BTreeMap<String, f64>,
    /// Accesses while it was loaded and unloaded, as `trapline report` tells.
    accesses: String,
    /// Memory without a session and in one, as `trapline status` tells.
    memory: [String; 2],
}

impl Guest {
    /// Boots the machine and measures.
    pub(super) fn measure(series: Series) -> Result<Self> {
        let qemu = ["-device", "edu,addr=1", "-netdev", "user,id=net"];
        let card = ["-device", "e1000e,addr=2,netdev=net,romfile="];
        let said = measured(&Options {
            cpus: CPUS,
            memory: 2048,
            modules: vec!["e1000e".into()],
            qemu: [&qemu[..], &card].concat().into_iter().map(Into::into).collect(),
            timeout: Duration::from_secs(1200),
            ..Options::new(series, SCRIPT)
        })?;
        Self::parse(&said)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut guest = Self::default();
        let mut begun = None;
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let understood = || format!("the guest said `{line}`");
            match words[..] {
                ["pace", name, "threads", threads, "count", count, "nanoseconds", nanoseconds] => {
                    let threads: u32 = threads.parse().with_context(understood)?;
                    let count: f64 = count.parse().with_context(understood)?;
                    let took: f64 = nanoseconds.parse().with_context(understood)?;
                    let each = took / count / f64::from(threads);
                    quickest(guest.pace.entry((name.to_owned(), threads)), each);
                }
                ["accesses", count, ..] => guest.accesses = count.to_owned(),
                ["idle", "memory", ref size @ ..] => guest.memory[0] = size.join(" "),
                ["tracing", "memory", ref size @ ..] => guest.memory[1] = size.join(" "),
                _ if line.contains("bench: ") => {
                    let stamp = line.trim_start_matches(['[', ' ']).split(']').next().unwrap_or_default();
                    let at: f64 = stamp.parse().with_context(understood)?;
                    match (&words[words.len() - 2..], begun) {
                        ([_, "begins"], _) => begun = Some(at),
                        ([name, "ends"], Some(begun)) => {
                            quickest(guest.load.entry((*name).to_owned()), (at - begun) * 1000.0);
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        Ok(guest)
    }

    /// Nanoseconds for each access, by one CPU unless said otherwise.
    fn pace(&self, name: &str, threads: u32) -> Result<f64> {
        let found = self.pace.get(&(name.to_owned(), threads));
        found.copied().with_context(|| format!("`{name}` with {threads} CPUs was not measured"))
    }

    /// A read of a register of edu, on one CPU.
    pub(super) fn access(&self) -> Result<Table> {
        let mmiotrace = self.pace("mmiotrace", 1)?;
        let mut table =
            Table::new(["one read of a device's register", "µs", "mmiotrace takes times as much"]);
        for (what, name) in [
            ("not traced", "untraced"),
            ("Trapline, each access recorded, all CPUs online", "traced"),
            ("the same while `trapline mmio --output` reads the rings and writes the file", "read"),
            ("Trapline, trapped and not recorded (`--writes`), while the command waits", "unrecorded"),
            ("mmiotrace, one CPU online, nobody reading", "mmiotrace"),
        ] {
            let each = self.pace(name, 1)?;
            table.row([what.to_owned(), microseconds(each), times(mmiotrace, each)?]);
        }
        Ok(table)
    }

    /// What to compare a traced access with, to see where its time goes.
    pub(super) fn parts(&self) -> Result<Table> {
        let mut table = Table::new(["one CPU", "µs", "what is in it"]);
        for (what, name, within) in [
            ("an access, not traced", "untraced", "the device's model"),
            (
                "a page fault that the kernel fixes up itself",
                "fault",
                "exception, the kernel's way to fixup_exception(), its search for a fixup, return",
            ),
            (
                "the same, which Trapline is asked about and declines",
                "declined",
                "and ftrace, our entry, page-fault handlers, no armed page found",
            ),
            (
                "a traced access",
                "traced",
                "no search for a fixup, but page and probes, the instruction and its plan, the access, clock, task and record",
            ),
        ] {
            table.row([what.to_owned(), microseconds(self.pace(name, 1)?), within.to_owned()]);
        }
        Ok(table)
    }

    /// Several CPUs at once.
    pub(super) fn cpus(&self) -> Result<Table> {
        let mut table =
            Table::new(["CPUs that read one page at once", "accesses a second", "while the rings are read"]);
        for threads in [1, 2, 4] {
            let rate = |name| Ok::<_, anyhow::Error>(format!("{:.0} 000", 1e6 / self.pace(name, threads)?));
            table.row([threads.to_string(), rate("traced")?, rate("read")?]);
        }
        Ok(table)
    }

    /// `modprobe e1000e`.
    pub(super) fn load(&self) -> Result<Table> {
        let found = |name: &str| {
            self.load.get(name).copied().with_context(|| format!("no `{name}` load was measured"))
        };
        let untraced = found("untraced")?;
        let title = format!("`modprobe e1000e` ({} accesses with its removal)", self.accesses);
        let mut table = Table::new([title.as_str(), "ms", "more than untraced"]);
        for (what, name) in [("not traced", "untraced"), ("Trapline", "traced"), ("mmiotrace", "mmiotrace")] {
            let took = found(name)?;
            table.row([
                what.to_owned(),
                format!("{took:.0}"),
                format!("{:+.0} %", (took / untraced - 1.0) * 100.0),
            ]);
        }
        Ok(table)
    }

    /// The module and its memory.
    pub(super) fn size(&self, module: &Path) -> Result<Table> {
        let listed = exec::output(Command::new("size").arg(module))?;
        let text: f64 = listed
            .lines()
            .nth(1)
            .and_then(|line| line.split_whitespace().next()?.parse().ok())
            .context("size(1) tells the size of the text")?;
        let mut table = Table::new(["size", "", "limit"]);
        let kib = format!("{:.0} KiB", text / 1024.0);
        table.row(["trapline.ko, code and constants".to_owned(), kib, "1 MiB".to_owned()]);
        let [idle, tracing] = &self.memory;
        table.row(["memory, loaded".to_owned(), idle.clone(), String::new()]);
        table.row([
            format!("memory, tracing on {CPUS} CPUs with rings of 8 MiB"),
            tracing.clone(),
            String::new(),
        ]);
        Ok(table)
    }
}

fn quickest<K: Ord>(entry: std::collections::btree_map::Entry<'_, K, f64>, measured: f64) {
    entry.and_modify(|best| *best = best.min(measured)).or_insert(measured);
}

fn microseconds(nanoseconds: f64) -> String {
    format!("{:.2}", nanoseconds / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "pace traced threads 2 count 100 nanoseconds 400000
pace traced threads 2 count 100 nanoseconds 200000
accesses 1,165 accesses (610 reads, 555 writes) in 261.6 ms on 2 CPUs
idle memory                117.5 KiB
tracing memory             32.1 MiB
[    5.250000] bench: untraced begins
[    5.500000] bench: untraced ends
";

    #[test]
    fn the_quickest_round_counts_and_a_load_takes_from_its_begin_to_its_end() {
        let guest = Guest::parse(SAID).unwrap();
        assert_eq!(guest.pace("traced", 2).unwrap(), 1000.0);
        assert_eq!(guest.load["untraced"], 250.0);
        assert_eq!(
            (guest.accesses.as_str(), &guest.memory),
            ("1,165", &["117.5 KiB".to_owned(), "32.1 MiB".to_owned()])
        );
    }

    #[test]
    fn what_was_not_measured_is_named() {
        let error = Guest::parse(SAID).unwrap().pace("mmiotrace", 1).unwrap_err().to_string();
        assert!(error.contains("`mmiotrace` with 1"), "{error}");
    }
}
