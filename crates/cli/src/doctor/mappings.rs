//! Checks for processes that have a device's registers mapped themselves: their accesses go past
//! the kernel, so no trace of ours has them.

use std::fs;

use super::Finding;
use crate::system::System;

const WHAT: &str = "user mappings";

/// A finding for each process and device, or one that there is none.
pub(super) fn check(system: &System) -> Vec<Finding> {
    let mut findings = Vec::new();
    for process in system.list("proc").iter().filter_map(|name| name.parse::<u32>().ok()) {
        // Another user's maps can't be read without root, and a process may just have ended:
        // neither is worth a line.
        let Ok(maps) = fs::read_to_string(system.path(format!("proc/{process}/maps"))) else { continue };
        let mut files: Vec<&str> = maps.lines().filter_map(device_file).collect();
        files.sort_unstable();
        files.dedup();
        let name = system.command_name(process).unwrap_or_else(|| "?".into());
        findings.extend(files.iter().map(|file| {
            Finding::warning(
                WHAT,
                format!("process {process} ({name}) has {file} mapped; what it accesses there is not traced"),
                "only accesses by the kernel are traced; end that process if it matters",
            )
        }));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(WHAT, "no process has a device's registers mapped"));
    }
    findings
}

/// The file of a line of `maps`, if device memory may be behind it: a BAR in sysfs, all of memory,
/// a device handed to user space.
fn device_file(line: &str) -> Option<&str> {
    let file = line.splitn(6, ' ').nth(5)?.trim();
    let is_bar = file.starts_with("/sys/devices/pci")
        && file.rsplit('/').next().is_some_and(|name| {
            let number = name.strip_prefix("resource").map(|rest| rest.trim_end_matches("_wc"));
            number.is_some_and(|number| number.parse::<u8>().is_ok())
        });
    let others = ["/dev/mem", "/dev/uio", "/dev/vfio/"];
    (is_bar || others.iter().any(|prefix| file.starts_with(prefix)) || file == "anon_inode:[vfio-device]")
        .then_some(file)
}

#[cfg(test)]
mod tests {
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
