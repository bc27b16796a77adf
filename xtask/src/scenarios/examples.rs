//! The example modules, in C and in Rust: what each says of itself when it is loaded, and that it
//! leaves nothing.

use anyhow::{Result, ensure};

use super::{Scenario, succeeds};
use crate::setup::Series;
use crate::vm::Options;

pub(super) const AS_THEY_SAY: Scenario = Scenario {
    name: "the example modules, in C and in Rust, do what they are examples of",
    check: as_they_say,
};

/// Each module, and what it says once it is loaded. `trapline_example_pages` has a scenario of its
/// own.
const SAID: [(&str, &str); 4] = [
    ("trapline_example_probe", "1 reads, 2 writes, last written 8; supplied 4711; guarded 0"),
    ("trapline_example_fault", "inside 0x0, beyond 0xeeeeeeee, faults claimed 1"),
    (
        "trapline_example_code",
        "1000 calls, 0 wrong; NULL: 1000 hits, 1000 abandoned; fixed: 1000 hits, 1000 fixed, 1000 completed",
    ),
    (
        "trapline_example_rust",
        "1000 calls, 0 wrong; NULL: 1000 hits, 1000 abandoned; fixed: 1000 fixed, 1000 completed, 1000 unreadable; 1000 returned",
    ),
];

fn as_they_say(series: Series) -> Result<()> {
    let modules: String = SAID.iter().map(|(name, _)| format!("{name} ")).collect();
    let outcome = succeeds(&Options {
        // Code is patched that CPUs are running: see `probes`.
        one_thread: true,
        ..Options::new(
            series,
            format!(
                "set -e
for module in {modules}; do
    modprobe $module
    trapline list | grep -q 'example: '
    rmmod $module
    trapline list | grep -q 'nothing is probed'
done
rmmod trapline
dmesg | sed -n 's/^.*\\] \\(trapline_example\\)/\\1/p'"
            ),
        )
    })?;
    let text = outcome.text();
    for (module, said) in SAID {
        let line = format!("{module}: {said}");
        ensure!(text.lines().any(|found| found == line), "expected `{line}` among:\n{text}");
    }
    Ok(())
}
