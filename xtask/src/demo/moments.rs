//! The most telling lines of a trace.

use std::path::Path;
use std::process::Command;

use anstream::adapter::strip_str;
use anyhow::{Context, Result};
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
    /// Words of each line. The first is the next one of the trace that has them all, each of the
    /// others the next after the first; they are shown in the order of the trace. [`SAME`] stands
    /// for the address that the first one tells.
    lines: &'static [&'static [&'static str]],
}

/// The address of the moment's first line.
const SAME: &str = "the same address";

const E1000E: &[Moment] = &[
    Moment {
        caption: "the driver lets the card access memory by itself",
        lines: &[&["CFG W", " COMMAND ", "MASTER=1"]],
    },
    Moment { caption: "it maps the registers", lines: &[&["mapped by", "e1000_probe"]] },
    Moment {
        caption: "it asks the PHY over a serial bus who made it",
        lines: &[&["W 4 ", " MDIC ", "(read)"], &["R 4 ", " MDIC ", "R=1"]],
    },
    Moment { caption: "it resets the card", lines: &[&["W 4 ", " CTRL ", "RST=1"]] },
    Moment {
        caption: "it allocates a ring of descriptors, and tells the card where it lies",
        lines: &[&["DMA ", " alloc ", "e1000e_setup_tx_resources"], &["W 4 ", " TDBAL[0] "]],
    },
    Moment {
        caption: "the link comes up: an interrupt, and what it is for",
        lines: &[&["IRQ ", "e1000_msix_other"], &["R 4 ", " ICR ", "LSC=1"], &["LOG ", "Link is Up"]],
    },
    Moment {
        caption: "a packet's life: it is given to the card, the doorbell is written; the answer is in a buffer that the \
                  card had",
        lines: &[
            &["DMA ", " map to device ", " ping-", "e1000_xmit_frame"],
            &["W 4 ", " TDT[0] "],
            &["IRQ ", "e1000_intr_msix_rx"],
            &["DMA ", "unmap from device ", "e1000_clean_rx_irq"],
            &["DMA ", " map from device ", "e1000_alloc_rx_buffers"],
            &["IRQ ", "e1000_intr_msix_tx"],
            &["DMA ", "unmap to device ", SAME],
        ],
    },
    Moment {
        caption: "the driver goes",
        lines: &[&["W 4 ", " CTRL ", "RST=1", " modprobe-"], &["unmapped"]],
    },
];

/// CPU 0 has the first pair of queues, and waits for each command before it gives the next.
const NVME: &[Moment] = &[
    Moment { caption: "the driver had mapped the registers long ago", lines: &[&["mapped already"]] },
    Moment {
        caption: "a block's life: the disk is given memory for it, a command is queued, its doorbell written, and an \
                  interrupt comes",
        lines: &[
            &["    0  DMA ", " map from device "],
            &["W 4 ", " SQ1TDBL ", "nvme_queue_rq"],
            &["IRQ ", " MSI-X 1 ", "nvme_irq"],
            &["W 4 ", " CQ1HDBL ", "nvme_poll_cq"],
            &["DMA ", "unmap from device ", SAME],
        ],
    },
    Moment {
        caption: "and so on each CPU, on a pair of queues of its own",
        lines: &[&["SQ1TDBL "], &["SQ2TDBL "], &["SQ3TDBL "], &["SQ4TDBL "]],
    },
];

const I801: &[Moment] = &[
    Moment {
        caption: "the driver switches the controller on in its configuration space",
        lines: &[&["CFG W", "i801"]],
    },
    Moment {
        caption: "it reads from address 0x50, by ports: where from, start, and an interrupt when it is done",
        lines: &[
            &["OUT 1 ", " 4+00004 ", " 0xa1 "],
            &["OUT 1 ", " 4+00002 "],
            &["IRQ ", "i801_isr"],
            &["IN  1 ", " 4+00000 ", "i801_isr"],
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
        let of = find(&lines, next, moment.lines)
            .with_context(|| format!("no line of {} shows that {}", trace.display(), moment.caption))?;
        show(&format!("{DIM}# {}{DIM:#}", moment.caption));
        of.iter().for_each(|&at| show(lines[at].0));
        shown += of.len();
        next = of.last().map_or(next, |last| last + 1);
    }
    show(&format!("{DIM}({shown} of {} lines){DIM:#}", HumanCount(lines.len() as u64)));
    Ok(told)
}

/// Where the lines are that have these words, in the order of the trace, from `next` on.
fn find(lines: &[(&str, String)], next: usize, wanted: &[&[&str]]) -> Option<Vec<usize>> {
    let mut found: Vec<usize> = Vec::new();
    let mut same = "";
    for words in wanted {
        let from = found.first().map_or(next, |first| first + 1);
        let is_it = |at: &usize| {
            let plain = &lines[*at].1;
            let has = |word: &&str| plain.contains(if *word == SAME { same } else { word });
            !found.contains(at) && words.iter().all(has)
        };
        let at = (from..lines.len()).find(is_it)?;
        if found.is_empty() {
            // Seconds, CPU, what, device, address.
            same = lines[at].1.split_whitespace().nth(4).unwrap_or_default();
        }
        found.push(at);
    }
    found.sort_unstable();
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_moment_are_found_after_its_first_and_shown_in_their_order() {
        let lines: Vec<(&str, String)> = [
            "1.0 2 DMA 00:05.0 0x10 unmap to device",
            "1.1 2 DMA 00:05.0 0x20 map to device",
            "1.2 2 DMA 00:05.0 0x10 unmap to device",
            "1.3 2 DMA 00:05.0 0x20 unmap to device",
            "1.4 2 W 4",
        ]
        .map(|line| (line, line.to_owned()))
        .into();
        let wanted: &[&[&str]] = &[&["DMA ", " map "], &["W 4"], &["unmap ", SAME]];
        assert_eq!(find(&lines, 0, wanted), Some(vec![1, 3, 4]));
        assert_eq!(find(&lines, 2, wanted), None);
        assert_eq!(find(&lines, 0, &[&["unmap"], &["unmap"]]), Some(vec![0, 2]));
    }
}
