//! Checks for processes that have a device's registers mapped themselves: their accesses go past
//! the kernel, so no trace of ours has them.

use super::Finding;
use crate::system::System;
use crate::user_mappings;

const WHAT: &str = "user mappings";

/// A finding for each process and device, or one that there is none.
pub(super) fn check(system: &System) -> Vec<Finding> {
    let mut found: Vec<(u32, String, String)> = user_mappings::all(system)
        .into_iter()
        .map(|mapping| (mapping.process, mapping.file, mapping.name))
        .collect();
    found.sort_unstable();
    found.dedup();
    if found.is_empty() {
        return vec![Finding::ok(WHAT, "no process has a device's registers mapped")];
    }
    let warning = |(process, file, name): &(u32, String, String)| {
        Finding::warning(
            WHAT,
            format!("process {process} ({name}) has {file} mapped; what it accesses there is not traced"),
            "only accesses by the kernel are traced; end that process if it matters",
        )
    };
    found.iter().map(warning).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_process_with_a_bar_mapped_is_named_once_for_each_bar() {
        let root = tempfile::tempdir().unwrap();
        let process = root.path().join("proc/77");
        fs::create_dir_all(&process).unwrap();
        fs::write(process.join("comm"), "poker\n").unwrap();
        let maps = "\
7f0000000000-7f0000001000 rw-s 00000000 00:15 12     /sys/devices/pci0000:00/0000:00:03.0/resource0
7f0000002000-7f0000003000 rw-s 00001000 00:15 12     /sys/devices/pci0000:00/0000:00:03.0/resource0
7f0000004000-7f0000005000 r--p 00000000 08:01 99     /usr/share/resource0
7f0000006000-7f0000007000 rw-p 00000000 00:00 0
";
        fs::write(process.join("maps"), maps).unwrap();
        let findings = check(&System::at(root.path(), "6.1.0-test"));
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert!(
            finding
                .found
                .starts_with("process 77 (poker) has /sys/devices/pci0000:00/0000:00:03.0/resource0 mapped")
        );
    }
}
