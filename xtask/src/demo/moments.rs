//! The most telling lines of a trace.

use std::path::Path;
use std::process::Command;

use anstream::adapter::strip_str;
use anyhow::Result;
use indicatif::HumanCount;

use super::DIM;
use crate::exec;

/// Lines are cut at the width of the terminal, but not shorter than this: the fields of registers
/// may go, values may not.
const COLUMNS: usize = 150;

/// A few lines of a trace that tell something.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// What happens.
    caption: &'static str,
    /// The first is the next one of the trace that has its words. All are shown in the order of the
    /// trace.
    lines: &'static [Line],
}

/// A line of a moment.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// The next one after the moment's first with these words.
    After(&'static [&'static str]),
    /// The same, if there is one: not every kernel's driver does it.
    Maybe(&'static [&'static str]),
    /// The last one before the moment's first with these words on the same CPU.
    Before(&'static [&'static str]),
}

use Line::{After, Before, Maybe};

/// Stands for the address of the buffer that the moment told of first.
const SAME: &str = "the same address";

const E1000E: &[Moment] = &[
    Moment {
        caption: "the driver lets the card access memory by itself",
        lines: &[After(&["CFG W", " COMMAND ", "MASTER=1"])],
    },
    Moment { caption: "it maps the registers", lines: &[After(&["mapped by", "e1000_probe"])] },
    Moment {
        caption: "it asks the PHY over a serial bus who made it",
        lines: &[After(&["W 4 ", " MDIC ", "(read)"]), After(&["R 4 ", " MDIC ", "R=1"])],
    },
    Moment { caption: "it resets the card", lines: &[After(&["W 4 ", " CTRL ", "RST=1"])] },
    Moment {
        caption: "it allocates a ring of descriptors, and tells the card where it lies",
        lines: &[After(&["DMA ", " alloc ", "e1000e_setup_tx_resources"]), After(&["W 4 ", " TDBAL[0] "])],
    },
    Moment {
        caption: "the link comes up: an interrupt, and what it is for",
        lines: &[
            After(&["IRQ ", "e1000_msix_other"]),
            After(&["R 4 ", " ICR ", "LSC=1"]),
            After(&["LOG ", "Link is Up"]),
        ],
    },
    Moment {
        caption: "a packet's life: it is given to the card, the doorbell is written; the answer is in a buffer that the \
                  card had",
        lines: &[
            After(&["DMA ", " map to device ", " ping-", "e1000_xmit_frame"]),
            After(&["W 4 ", " TDT[0] "]),
            After(&["IRQ ", "e1000_intr_msix_rx"]),
            After(&["DMA ", "unmap from device ", "e1000_clean_rx_irq"]),
            After(&["DMA ", " map from device ", "e1000_alloc_rx_buffers"]),
            After(&["IRQ ", "e1000_intr_msix_tx"]),
            After(&["DMA ", "unmap to device ", SAME]),
        ],
    },
    Moment {
        caption: "the driver goes",
        lines: &[After(&["W 4 ", " CTRL ", "RST=1", " modprobe-"]), After(&["unmapped"])],
    },
];

const NVME: &[Moment] = &[
    Moment { caption: "the driver had mapped the registers long ago", lines: &[After(&["mapped already"])] },
    Moment {
        caption: "a block's life: the disk is given memory for it, a command is queued, its doorbell written, and an \
                  interrupt comes",
        lines: &[
            After(&["W 4 ", " SQ1TDBL ", "nvme_queue_rq"]),
            Before(&["DMA ", " map from device "]),
            After(&["IRQ ", " MSI-X 1 ", "nvme_irq"]),
            After(&["W 4 ", " CQ1HDBL ", "nvme_poll_cq"]),
            // From Linux 6.16 on it leaves out what would need nothing to be done.
            Maybe(&["DMA ", "unmap from device ", SAME]),
        ],
    },
    Moment {
        caption: "and so on each CPU, on a pair of queues of its own",
        lines: &[After(&["SQ1TDBL "]), After(&["SQ2TDBL "]), After(&["SQ3TDBL "]), After(&["SQ4TDBL "])],
    },
];

const I801: &[Moment] = &[
    Moment {
        caption: "the driver switches the controller on in its configuration space",
        lines: &[After(&["CFG W", "i801"])],
    },
    Moment {
        caption: "it reads from address 0x50, by ports: where from, start, and an interrupt when it is done",
        lines: &[
            After(&["OUT 1 ", " 4+00004 ", " 0xa1 "]),
            After(&["OUT 1 ", " 4+00002 "]),
            After(&["IRQ ", "i801_isr"]),
            After(&["IN  1 ", " 4+00000 ", "i801_isr"]),
        ],
    },
];

/// Those of the subject `name`.
fn moments_of(name: &str) -> &'static [Moment] {
    match name {
        "e1000e" => E1000E,
        "nvme" => NVME,
        _ => I801,
    }
}

/// The most telling lines of the trace of the subject `name`, each group under what it shows.
pub(super) fn told(trapline: &Path, name: &str, trace: &Path) -> Result<String> {
    let mut convert = Command::new(trapline);
    convert.args(["--color", "always", "convert", "--to", "human"]).arg(trace);
    let human = exec::output(&mut convert)?;
    let columns = usize::from(console::Term::stdout().size().1).max(COLUMNS);
    let mut told = String::new();
    let mut show = |line: &str| {
        told += &console::truncate_str(line, columns, "…");
        told.push('\n');
    };
    let mut lines = human.lines();
    lines.next().into_iter().for_each(&mut show);
    let lines: Vec<(&str, String)> = lines.map(|line| (line, strip_str(line).to_string())).collect();
    let (mut next, mut shown) = (0, 0);
    for moment in moments_of(name) {
        let Some(of) = find(&lines, next, moment.lines) else {
            // As where the names of functions could not be read in time, on a machine that is busy.
            show(&format!("{DIM}# {}: no line of this trace shows it{DIM:#}", moment.caption));
            continue;
        };
        show(&format!("{DIM}# {}{DIM:#}", moment.caption));
        of.iter().for_each(|&at| show(lines[at].0));
        shown += of.len();
        next = of.last().map_or(next, |last| last + 1);
    }
    show(&format!("{DIM}({shown} of {} lines){DIM:#}", HumanCount(lines.len() as u64)));
    Ok(told)
}

/// Where the lines of a moment are, in the order of the trace, from `next` on.
fn find(lines: &[(&str, String)], next: usize, wanted: &[Line]) -> Option<Vec<usize>> {
    let mut found: Vec<usize> = Vec::new();
    let mut same = None;
    // Seconds, CPU, what, device, address.
    let column = |at: usize, number| lines[at].1.split_whitespace().nth(number);
    for line in wanted {
        let (After(words) | Maybe(words) | Before(words)) = line;
        let is_it = |at: &usize| {
            let plain = &lines[*at].1;
            let has = |word: &&str| plain.contains(if *word == SAME { same.unwrap_or(SAME) } else { word });
            !found.contains(at) && words.iter().all(has)
        };
        let first = found.first().copied();
        let behind = first.map_or(next, |first| first + 1);
        let at = match line {
            After(_) | Maybe(_) => (behind..lines.len()).find(is_it),
            Before(_) => {
                let first = first?;
                (next..first).rev().find(|at| is_it(at) && column(*at, 1) == column(first, 1))
            }
        };
        let Some(at) = at else {
            if matches!(line, Maybe(_)) {
                continue;
            }
            return None;
        };
        if column(at, 2) == Some("DMA") {
            same = same.or(column(at, 4));
        }
        found.push(at);
    }
    found.sort_unstable();
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 6] = [
        "1.0 2 DMA 00:05.0 0x10 unmap to device",
        "1.1 2 DMA 00:05.0 0x20 map to device",
        "1.2 2 DMA 00:05.0 0x10 unmap to device",
        "1.3 3 DMA 00:05.0 0x30 map to device",
        "1.4 2 W 4",
        "1.5 2 DMA 00:05.0 0x20 unmap to device",
    ];

    #[test]
    fn lines_of_a_moment_are_found_around_its_first_and_shown_in_their_order() {
        let lines: Vec<(&str, String)> = LINES.map(|line| (line, line.to_owned())).into();
        let find = |next, wanted: &[Line]| find(&lines, next, wanted);
        let unmap = After(&["unmap ", SAME]);
        assert_eq!(find(0, &[After(&["DMA ", " map "]), After(&["W 4"]), unmap]), Some(vec![1, 4, 5]));
        assert_eq!(find(0, &[After(&["W 4"]), Before(&[" map "]), unmap]), Some(vec![1, 4, 5]));
        assert_eq!(find(0, &[After(&["unmap"]), After(&["unmap"])]), Some(vec![0, 2]));
        assert_eq!(find(5, &[After(&["W 4"])]), None);
        assert_eq!(find(0, &[After(&["W 4"]), After(&["R 4"])]), None);
        assert_eq!(find(0, &[After(&["W 4"]), Maybe(&["R 4"])]), Some(vec![4]));
    }
}
