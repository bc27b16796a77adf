//! Who ran: the line with `CPU:`, `PID:`, `Comm:` and the kernel's release.

use crate::scan::{after, decimal};

/// A task's name and process id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Task {
    /// Its name, which may have blanks.
    pub name: String,
    /// Its id.
    pub id: u32,
}

/// What the line tells; each is missing if the line lacks it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) task: Option<Task>,
    pub(crate) cpu: Option<u32>,
    pub(crate) kernel: Option<String>,
    pub(crate) taint: Option<String>,
}

impl Running {
    /// `CPU: 3 PID: 187 Comm: sh Tainted: G OE 6.1.0-56-amd64 #1 …`, since 6.11 with `UID: 0`
    /// before PID; `Pid: 9113, comm: xl2tpd Not tainted 3.9.3 #1` of 3.9 and before.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let (id, name) = match (after(line, "PID: "), after(line, "Comm: ")) {
            (Some(id), Some(name)) => (decimal(id), name),
            _ => (decimal(after(line, "Pid: ")?), after(line, "comm: ")?),
        };
        let marks = [" Kdump: loaded", " Tainted: ", " Not tainted"];
        let end = marks.iter().filter_map(|mark| name.find(mark)).min();
        let comm = name.get(..end.unwrap_or(name.len())).unwrap_or(name).trim();
        let rest = end.and_then(|end| name.get(end..)).unwrap_or("").trim_start();
        let (kernel, taint) = kernel_of(rest.strip_prefix("Kdump: loaded").unwrap_or(rest));
        let cpu = after(line, "CPU: ").and_then(decimal);
        Some(Self {
            // One that is cut off in its name is not told.
            task: id
                .filter(|_| !comm.is_empty() && end.is_some())
                .map(|id| Task { name: comm.to_owned(), id }),
            cpu,
            kernel,
            taint,
        })
    }
}

/// The release and the taint flags of `Tainted: G OE 6.1.0-56-amd64 #1` and `Not tainted 6.1.0 #1`.
pub(crate) fn kernel_of(text: &str) -> (Option<String>, Option<String>) {
    let words: Vec<&str> = text.split_whitespace().collect();
    // Since 6.11 a line of its own spells the flags out.
    let spelt = words.get(1).is_some_and(|word| word.starts_with('['));
    if !matches!(words.first(), Some(&"Tainted:" | &"Not")) || spelt {
        return (None, None);
    }
    let release =
        words.iter().position(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'));
    let taint = (words.first() == Some(&"Tainted:")).then(|| {
        let flags = words.get(1..release.unwrap_or(words.len())).unwrap_or(&[]).concat();
        // Red Hat's kernels end the flags with a line of dashes.
        flags.replace('-', "")
    });
    (release.map(|at| words[at].to_owned()), taint.filter(|flags| !flags.is_empty()))
}

impl Task {
    /// `NAME:ID` of lockups, `NAME/ID` of KASAN and split locks, `NAME[ID]` of programs; the name
    /// may hold the sign itself.
    pub(crate) fn split(text: &str, sign: char) -> Option<Self> {
        let (name, id) = text.trim().trim_end_matches(']').rsplit_once(sign)?;
        let all = id.bytes().all(|byte| byte.is_ascii_digit());
        let id = id.parse().ok().filter(|_| all && !name.is_empty())?;
        Some(Self { name: name.to_owned(), id })
    }
}

impl std::fmt::Display for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.name, self.id)
    }
}

/// What taint flags mean: Documentation/admin-guide/tainted-kernels.rst.
pub fn taint_meaning(flags: &str) -> String {
    let meanings = flags.chars().filter_map(|flag| {
        Some(match flag {
            'P' => "proprietary module",
            'F' => "module loaded by force",
            'S' => "out of specification",
            'R' => "module unloaded by force",
            'M' => "machine check",
            'B' => "bad page",
            'U' => "user's request",
            'D' => "oopsed before",
            'A' => "ACPI table overridden",
            'W' => "warned before",
            'C' => "staging driver",
            'I' => "firmware workaround",
            'O' => "out-of-tree module",
            'E' => "unsigned module",
            'L' => "soft lockup before",
            'K' => "live-patched",
            'X' => "distribution's own flag",
            'T' => "struct randomisation, or a technology preview of Red Hat's",
            'N' => "test",
            '+' => "being loaded",
            '-' => "being unloaded",
            _ => return None,
        })
    });
    let meanings: Vec<&str> = meanings.collect();
    if meanings.is_empty() { flags.to_owned() } else { meanings.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_the_line_tells_who_ran() {
        for (line, name, id, cpu, kernel, taint) in [
            (
                "CPU: 2 PID: 133 Comm: sh Tainted: G      D    OE      6.1.0-56-amd64 #1  Debian",
                "sh",
                133,
                Some(2),
                "6.1.0-56-amd64",
                Some("GDOE"),
            ),
            (
                "CPU: 2 UID: 42 PID: 3901 Comm: wireplumber Kdump: loaded Tainted: G           OE      6.12.15-200.fc41.x86_64 #1",
                "wireplumber",
                3901,
                Some(2),
                "6.12.15-200.fc41.x86_64",
                Some("GOE"),
            ),
            (
                "CPU: 2 PID: 7 Comm: .NET TP Worker Tainted: P           OE      6.6.32-1-lts #1",
                ".NET TP Worker",
                7,
                Some(2),
                "6.6.32-1-lts",
                Some("POE"),
            ),
            (
                "Pid: 9113, comm: xl2tpd Not tainted 3.9.3-x86_64-linode33 #1",
                "xl2tpd",
                9113,
                None,
                "3.9.3-x86_64-linode33",
                None,
            ),
            (
                "CPU: 67 PID: 0 Comm: swapper/67 Tainted: G           OE  ------------   3.10.0-862.el7.x86_64 #1",
                "swapper/67",
                0,
                Some(67),
                "3.10.0-862.el7.x86_64",
                Some("GOE"),
            ),
        ] {
            let running = Running::read(line).unwrap();
            assert_eq!(running.task, Some(Task { name: name.into(), id }), "{line}");
            assert_eq!(
                (running.cpu, running.kernel.as_deref(), running.taint.as_deref()),
                (cpu, Some(kernel), taint),
                "{line}"
            );
        }
    }

    #[test]
    fn a_name_that_is_cut_off_is_not_told() {
        assert_eq!(Running::read("CPU: 2 PID: 133 Comm: kwor").unwrap().task, None);
    }
}
