//! Compatible: what we print in mmiotrace's format is, line by line, what the in-tree tracer prints
//! of the same workload.
//!
//! Two drivers map registers and run forms of instruction on them, with a marker before each: first
//! under the in-tree tracer, then under `trapline mmio --format mmiotrace`, in one machine.
//! Excepted are times, numbers of mappings, the linear addresses of MAP lines (each `ioremap` gets
//! another), and the in-tree tracer's errors, of which each is named here.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::account::{DEVICES, EDU, NVME};
use super::{Scenario, succeeds};
use crate::setup::Series;
use crate::vm::Options;

pub(super) const EQUAL: Scenario = Scenario {
    name: "the mmiotrace text is, line by line, what the in-tree tracer prints of the same workload",
    check: equal,
};

/// Forms of which the in-tree tracer prints a wrong value, and of `movq` a wrong width too:
/// `get_ins_imm_val()` does not skip the SIB byte, and `C7` with REX.W is taken for 4 bytes but
/// read as 8 (arch/x86/mm/pf_in.c).
const WRONG_IMMEDIATES: [&str; 8] = [
    "mov_imm8_sib",
    "mov_imm16_sib",
    "mov_imm32_sib",
    "mov_imm32_sib_displacement32",
    "mov_imm32_to_64",
    "mov_imm32_to_64_negative",
    "mov_imm32_to_64_sib",
    "mov_imm32_to_64_displacement32",
];

/// Fewer forms than this alike would mean that the in-tree tracer did not trace.
const AT_LEAST_ALIKE: usize = 40;
/// Lines that the module's own filling and checking of the registers around each form makes.
const AROUND: usize = 16;

/// The devices are enabled once before, since that routes their interrupts, which PCIDEV lines
/// tell.
///
/// Of the forms, all moves and stores of strings, which the in-tree tracer has tables for, and
/// every eighth of the rest, since each marker costs a process.
///
/// The forms that nothing but a step can perform are left out: their lines come with a MARK that
/// the in-tree tracer, which steps everything, does not think of. All run in the page of 2 MiB:
/// in-tree loses those in mappings that start inside a page, and behind the first page of a mapping
/// of mixed sizes (arch/x86/mm/kmmio.c).
fn script() -> String {
    format!(
        "set -e
tracing=/sys/kernel/tracing
run=/sys/kernel/debug/trapline_forms/run
modprobe trapline_forms device=nvme
echo all large-page 0 > $run
cut -d ' ' -f 5 /sys/kernel/debug/trapline_forms/accesses | uniq > /tmp/all
grep -e '^mov' -e stos /tmp/all > /tmp/forms
grep -v -e '^mov' -e stos /tmp/all | awk 'NR % 8 == 0' >> /tmp/forms
modprobe -r trapline_forms
modprobe trapline_pace count=1
modprobe -r trapline_pace
cat > /tmp/mark <<'MARK'
echo \"$1\" > /sys/kernel/tracing/trace_marker
MARK
cat > /tmp/work <<'WORK'
\"$@\" 'the first driver'
modprobe trapline_pace count=5
modprobe -r trapline_pace
\"$@\" 'the second driver'
modprobe trapline_forms device=nvme
for form in $(cat /tmp/forms); do
    \"$@\" $form
    echo $form large-page 0 > /sys/kernel/debug/trapline_forms/run
done
\"$@\" 'no form any more'
modprobe -r trapline_forms
\"$@\" end
WORK
echo 16384 > $tracing/buffer_size_kb
echo mmiotrace > $tracing/current_tracer
cat $tracing/trace_pipe > /out/in-tree &
reader=$!
sh -e /tmp/work sh /tmp/mark
until grep -q '^MARK .* end$' /out/in-tree; do sleep 0.1; done
kill $reader
wait $reader || true
echo nop > $tracing/current_tracer
trapline mmio --device {EDU} --device {NVME} --format mmiotrace --output /out/ours --quiet -- sh -e /tmp/work trapline mark
"
    )
}

fn equal(series: Series) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    succeeds(&Options {
        // The in-tree tracer takes CPUs offline, for which the kernel stops all of them at once: a
        // machine with a thread for each CPU was seen that never came back from that, with nothing
        // of Trapline loaded.
        one_thread: true,
        qemu: DEVICES.map(Into::into).into(),
        copy_out: Some(folder.path().to_owned()),
        ..Options::new(series, script())
    })?;
    let [theirs, ours] = ["in-tree", "ours"].map(|name| parts(&folder.path().join(name)));
    compare(&theirs?, &ours?)
}

/// The lines up to the next marker, and the marker before them.
#[derive(Debug, Default)]
struct Part {
    name: String,
    lines: Vec<String>,
}

/// The parts of a log, without what may differ.
fn parts(path: &Path) -> Result<Vec<Part>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut parts = vec![Part::default()];
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("MARK", rest)) => {
                let name = rest.split_once(' ').map_or("", |(_time, name)| name).to_owned();
                parts.push(Part { name, lines: Vec::new() });
            }
            _ => parts.last_mut().context("there is a part")?.lines.push(comparable(line)),
        }
    }
    Ok(parts)
}

/// A line without its time, its mapping's number, and the linear address of a MAP.
fn comparable(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    let differing: &[usize] = match words[0] {
        "R" | "W" => &[2, 3],
        "MAP" => &[1, 2, 4],
        "UNKNOWN" | "UNMAP" => &[1, 2],
        _ => &[],
    };
    for &at in differing {
        if let Some(word) = words.get_mut(at) {
            *word = "_";
        }
    }
    words.join(" ")
}

fn compare(theirs: &[Part], ours: &[Part]) -> Result<()> {
    let names = |parts: &[Part]| parts.iter().map(|part| part.name.clone()).collect::<Vec<_>>();
    ensure!(names(theirs) == names(ours), "the markers differ: {:?}, {:?}", names(theirs), names(ours));
    let first = theirs.first().context("the in-tree log is empty")?;
    ensure!(
        first.lines.first().is_some_and(|line| line == "VERSION 20070824")
            && first.lines.iter().any(|line| line.starts_with("PCIDEV ")),
        "the in-tree log begins with {:?}",
        first.lines
    );
    let mut alike = 0;
    for (theirs, ours) in theirs.iter().zip(ours) {
        let wrong = WRONG_IMMEDIATES.contains(&theirs.name.as_str());
        let equal = theirs.lines == ours.lines;
        ensure!(!(wrong && equal), "{} is no error of the in-tree tracer any more", theirs.name);
        if equal {
            alike += 1;
        } else {
            differs_by_their_error(theirs, ours, wrong).with_context(|| {
                format!(
                    "after the marker `{}` in-tree printed\n{:#?}\nand we\n{:#?}",
                    theirs.name, theirs.lines, ours.lines
                )
            })?;
        }
    }
    ensure!(alike >= AT_LEAST_ALIKE, "only {alike} parts of {} are alike", theirs.len());
    Ok(())
}

/// Fails unless all that differs is what the in-tree tracer is known to print wrong, or as
/// `UNKNOWN` without width and value: string instructions that copy, read-modify-write, everything
/// that its tables of opcodes do not have.
fn differs_by_their_error(theirs: &Part, ours: &Part, wrong: bool) -> Result<()> {
    let middle = |part: &Part| {
        let end = part.lines.len().checked_sub(AROUND)?;
        let instruction = part.lines.get(AROUND..end)?;
        Some((part.lines[..AROUND].to_vec(), instruction.to_vec(), part.lines[end..].to_vec()))
    };
    let (theirs, ours) = middle(theirs).zip(middle(ours)).context("no instruction's lines")?;
    ensure!((&theirs.0, &theirs.2) == (&ours.0, &ours.2), "lines before or after the instruction differ");
    let unknown = |line: &String| line.starts_with("UNKNOWN ");
    ensure!(
        wrong || theirs.1.iter().all(unknown),
        "the in-tree tracer has no known error with this instruction"
    );
    ensure!(!ours.1.is_empty() && !ours.1.iter().any(unknown), "we do not tell the value");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, middle: &[&str]) -> Part {
        let around = ["R 8 _ _ 0x0 0x0 0x0 0"; AROUND];
        let lines = [&around, middle, &around].concat().into_iter().map(str::to_owned).collect();
        Part { name: name.into(), lines }
    }

    #[test]
    fn a_wrong_value_is_excused_where_the_in_tree_tracer_is_known_to_be_wrong_and_nowhere_else() {
        let [wrong, right] = ["W 4 _ _ 0x0 0x20 0x0 0", "W 4 _ _ 0x0 0x5a 0x0 0"];
        let differ = |name, wrong_form| {
            differs_by_their_error(&part(name, &[wrong]), &part(name, &[right]), wrong_form).is_ok()
        };
        assert!(differ("mov_imm8_sib", true));
        assert!(!differ("mov_store8", false));
    }

    #[test]
    fn an_unknown_line_excuses_no_difference_around_it() {
        let unknown = part("or_to8", &["UNKNOWN _ _ 0x0 08,13,9c 0x0 0"]);
        let mut ours = part("or_to8", &["R 1 _ _ 0x0 0x1 0x0 0", "W 1 _ _ 0x0 0x1 0x0 0"]);
        assert!(differs_by_their_error(&unknown, &ours, false).is_ok());
        ours.lines[0] = "R 8 _ _ 0x0 0x1 0x0 0".into();
        assert!(differs_by_their_error(&unknown, &ours, false).is_err());
    }

    #[test]
    fn a_part_that_is_too_short_for_an_instruction_is_a_difference() {
        for lines in [0, 3, AROUND, 2 * AROUND - 1] {
            let short = Part { name: "end".into(), lines: vec!["UNMAP _ _ 0x0 0".into(); lines] };
            assert!(differs_by_their_error(&short, &part("end", &[]), false).is_err(), "{lines} lines");
            assert!(differs_by_their_error(&part("end", &[]), &short, false).is_err(), "{lines} lines");
        }
    }

    #[test]
    fn times_numbers_and_linear_addresses_may_differ_and_nothing_else() {
        assert_eq!(comparable("R 4 5.1 1 0xfea00004 0x0 0x0 0"), "R 4 _ _ 0xfea00004 0x0 0x0 0");
        assert_eq!(
            comparable("MAP 5.1 1 0xfea00000 0xffffc9 0x1000 0x0 0"),
            "MAP _ _ 0xfea00000 _ 0x1000 0x0 0"
        );
        assert_eq!(comparable("PCIDEV 0008 123411e8 a fea00000 "), "PCIDEV 0008 123411e8 a fea00000 ");
    }
}
