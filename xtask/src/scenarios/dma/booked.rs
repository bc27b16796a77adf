//! A module that gives memory to a device and takes it back, by every call of the DMA interface on
//! 4 CPUs, and keeps a book of it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::{Scenario, events};
use crate::scenarios::succeeds;
use crate::setup::Series;
use crate::vm::Options;
use crate::witnesses::dma::{self, Calls};

pub(in crate::scenarios) const AS_BOOKED: Scenario = Scenario {
    name: "every buffer that a module gives to a device and takes back, by each call and on 4 CPUs, is told once with its first bytes, as the module's own book has it",
    check: as_booked,
};

/// Bytes of each buffer that both witnesses keep.
const SHOWN: usize = 16;

const EDU: &str = "0000:00:01.0";

fn as_booked(series: Series) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let script = format!(
        "set -e
modprobe trapline
# The second: of a device whose addresses have too few bits for most memory, for which the kernel
# copies (swiotlb).
for mask in 64 32; do
    trapline trace --device {EDU} --dma --dma-data {SHOWN} --buffer 16MiB --output /out/$mask.trace -- \\
        modprobe trapline_buffers device={EDU} mask=$mask > /out/summary.$mask 2> /out/said.$mask || {{ cat /out/said.$mask; exit 1; }}
    cp /sys/kernel/debug/trapline_buffers /out/book.$mask
    rmmod trapline_buffers
done
test \"$(trapline list)\" = 'nothing is probed'
rmmod trapline"
    );
    succeeds(&Options {
        qemu: ["-device", "edu,addr=1"].map(Into::into).into(),
        copy_out: Some(folder.path().to_owned()),
        // Some of it beyond 4 GiB: only then the kernel is ready to copy.
        memory: 3072,
        ..Options::in_turn(series, script)
    })?;
    for mask in ["64", "32"] {
        booked(folder.path(), mask).with_context(|| format!("with addresses of {mask} bits"))?;
    }
    let summary = fs::read_to_string(folder.path().join("summary.64")).context("cannot read the summary")?;
    // The two mistakes that the module makes on purpose.
    for words in ["STILL MAPPED", "1 buffer, 1,111 bytes", "1 buffer unmapped or freed TWICE", "0 dropped"] {
        ensure!(summary.contains(words), "the summary lacks `{words}`:\n{summary}");
    }
    let summary = fs::read_to_string(folder.path().join("summary.32")).context("cannot read the summary")?;
    ensure!(!summary.contains("STILL MAPPED") && !summary.contains("TWICE"), "{summary}");
    Ok(())
}

fn booked(folder: &Path, mask: &str) -> Result<()> {
    let events = events(&folder.join(format!("{mask}.trace")))?.context("calls were missed")?;
    let mut ours = Calls::new();
    for event in &events {
        let hex = |field: &str| event[field].as_str().and_then(|text| text.strip_prefix("0x")).unwrap_or("0");
        let text = |field: &str| event[field].as_str().unwrap_or("-");
        let number = |field: &str| event[field].as_u64().unwrap_or(0);
        let cpu = if event["address"].is_null() { hex("physical") } else { hex("address") };
        // Which call tells what the module knows of the memory: of one that does not, it says 0.
        let line = format!(
            "{} {} {cpu} {} {} {}/{} {}",
            text("op"),
            hex("dma"),
            number("size"),
            text("direction"),
            number("piece"),
            number("pieces"),
            text("data")
        );
        *ours.entry(line).or_default() += 1;
        let from = (text("module"), event["stack"].as_array().map_or(0, Vec::len));
        ensure!(from.0 == "trapline_buffers" && from.1 > 0, "it is not known who called: {event}");
    }
    let book = fs::read_to_string(folder.join(format!("book.{mask}"))).context("cannot read the book")?;
    let mut theirs = Calls::new();
    for line in book.lines() {
        let mut words: Vec<&str> = line.split(' ').collect();
        words[4] = match words[4] {
            "0" => "both",
            "1" => "to_device",
            "2" => "from_device",
            _ => "none",
        };
        *theirs.entry(words.join(" ")).or_default() += 1;
    }
    ensure!(dma::total(&ours) > 500, "only {} calls", dma::total(&ours));
    dma::equal(&ours, &theirs, "the module's book")?;
    let has = |words: &str| theirs.keys().any(|line| line.starts_with(words) && !line.ends_with(" -"));
    // Newer kernels synchronise only what they copy.
    let synced = mask == "64" || (has("sync_cpu ") && has("sync_device "));
    ensure!(has("map ") && has("unmap ") && synced, "the book has no data");
    // Copied for the device: its address is not the memory's.
    let copied = theirs
        .keys()
        .filter(|line| line.starts_with("map ") && line.split(' ').nth(1) != line.split(' ').nth(2));
    ensure!((copied.count() > 100) == (mask == "32"), "which buffers were copied is not as expected");
    Ok(())
}
