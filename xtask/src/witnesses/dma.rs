//! What drivers do to buffers, as a trace and as the kernel's own tracepoints tell it, which the
//! kernel has from 6.12 on (include/trace/events/dma.h).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Something that was done to a buffer, in the words of both witnesses, and how often.
pub type Calls = BTreeMap<String, usize>;

/// Both witnesses have the same.
///
/// # Errors
/// What they differ in.
pub fn equal(ours: &Calls, theirs: &Calls, whose: &str) -> Result<()> {
    let differing: Vec<String> = differing(ours, theirs)
        .into_iter()
        .map(|call| format!("{call}: {:?}, {:?}", ours.get(call), theirs.get(call)))
        .collect();
    ensure!(
        differing.is_empty(),
        "we have {} calls, {whose} has {}; {} differ (ours, theirs):\n{}",
        total(ours),
        total(theirs),
        differing.len(),
        differing.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n")
    );
    Ok(())
}

/// How many calls.
pub fn total(calls: &Calls) -> usize {
    calls.values().sum()
}

/// Those that one of the witnesses tells more often than the other.
pub fn differing<'a>(ours: &'a Calls, theirs: &'a Calls) -> Vec<&'a str> {
    let all: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    all.into_iter().filter(|call| ours.get(*call) != theirs.get(*call)).map(String::as_str).collect()
}

/// What a device was given and has not given back, by its addresses, with how often.
pub fn left<'a>(events: impl IntoIterator<Item = &'a Value>, device: &str) -> BTreeMap<String, i32> {
    let mut left: BTreeMap<String, i32> = BTreeMap::new();
    for event in events.into_iter().filter(|event| event["device"] == device) {
        let change = match event["op"].as_str() {
            Some("map" | "alloc") => 1,
            Some("unmap" | "free") => -1,
            _ => 0,
        };
        *left.entry(event["dma"].to_string()).or_default() += change;
    }
    left.retain(|_, count| *count != 0);
    left
}

/// Those of events of a trace.
///
/// # Errors
/// A call that failed, or lacks something.
pub fn traced<'a>(events: impl IntoIterator<Item = &'a Value>) -> Result<Calls> {
    let mut calls = Calls::new();
    for event in events {
        ensure!(event["failed"].is_null(), "a call failed: {event}");
        *calls.entry(told(event)?).or_default() += 1;
    }
    Ok(calls)
}

/// An event of ours in the words that both have: of a scatter list's piece that is unmapped the
/// kernel tells the memory's address alone.
fn told(event: &Value) -> Result<String> {
    let text = |field: &str| event[field].as_str().with_context(|| format!("no {field}: {event}"));
    let (op, device) = (text("op")?, text("device")?);
    if op == "unmap" && !event["pieces"].is_null() {
        return Ok(format!("{op} {device} {} {}", text("direction")?, text("physical")?));
    }
    Ok(format!("{op} {device} {} {} {}", text("direction")?, text("dma")?, event["size"]))
}

/// The calls in ftrace's text that are of these devices.
///
/// # Errors
/// A line of this kind that has another form.
pub fn recorded(ftrace: &str, devices: &[&str]) -> Result<Calls> {
    let mut calls = Calls::new();
    for line in ftrace.lines() {
        for call in of_line(line, devices).with_context(|| format!("the kernel says: {line}"))? {
            *calls.entry(call).or_default() += 1;
        }
    }
    Ok(calls)
}

/// What a line of ftrace tells of DMA of the devices; nothing if it is of something else.
fn of_line(line: &str, devices: &[&str]) -> Result<Vec<String>> {
    let Some(at) = line.find(": dma_") else { return Ok(Vec::new()) };
    let (name, rest) = line[at + 2..].split_once(": ").context("expected a name and values")?;
    let (device, rest) = rest.split_once(' ').context("expected a device")?;
    if !devices.contains(&device) {
        return Ok(Vec::new());
    }
    let value = |key: &str| {
        let at = rest.find(&format!("{key}="))? + key.len() + 1;
        let rest = &rest[at..];
        // Of several, `{0x1000,0x2000}`.
        Some(match rest.strip_prefix('{') {
            Some(list) => list.split('}').next()?,
            None => rest.split(' ').next()?,
        })
    };
    let direction = match value("dir") {
        Some("BIDIRECTIONAL") => "both",
        Some("TO_DEVICE") => "to_device",
        Some("FROM_DEVICE") => "from_device",
        _ => "none",
    };
    let hex = |text: &str| -> Result<String> {
        let digits = text.trim().trim_start_matches("0x");
        Ok(format!("{:#x}", u64::from_str_radix(digits, 16).with_context(|| format!("`{text}`"))?))
    };
    let one = |op: &str| -> Result<Vec<String>> {
        let (dma, size) = (value("dma_addr").context("no dma_addr")?, value("size").context("no size")?);
        // Who frees nothing calls for nothing; newer kernels tell of that too.
        if op == "free" && (dma, size) == ("0", "0") {
            return Ok(Vec::new());
        }
        // Of what is allocated for both, our call does not know the direction that newer kernels
        // tell.
        let direction = if ["alloc", "free"].contains(&op) { "none" } else { direction };
        Ok(vec![format!("{op} {device} {direction} {} {size}", hex(dma)?)])
    };
    let several = |op: &str| -> Result<Vec<String>> {
        let addresses = value("dma_addrs").context("no dma_addrs")?.split(',');
        let sizes = value("sizes").context("no sizes")?.split(',');
        let number = |text: &str| -> Result<u64> {
            let text = text.trim();
            let hexadecimal = text.strip_prefix("0x");
            Ok(hexadecimal.map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16))?)
        };
        addresses
            .zip(sizes)
            .map(|(dma, size)| Ok(format!("{op} {device} {direction} {} {}", hex(dma)?, number(size)?)))
            .collect()
    };
    match name {
        "dma_map_page" | "dma_map_phys" | "dma_map_resource" => one("map"),
        "dma_unmap_page" | "dma_unmap_phys" | "dma_unmap_resource" => one("unmap"),
        "dma_alloc" | "dma_alloc_pages" => one("alloc"),
        "dma_free" | "dma_free_pages" => one("free"),
        "dma_sync_single_for_cpu" => one("sync_cpu"),
        "dma_sync_single_for_device" => one("sync_device"),
        "dma_map_sg" => several("map"),
        "dma_sync_sg_for_cpu" => several("sync_cpu"),
        "dma_sync_sg_for_device" => several("sync_device"),
        "dma_unmap_sg" => {
            let addresses = value("phys_addrs").context("no phys_addrs")?.split(',');
            addresses.map(|address| Ok(format!("unmap {device} {direction} {}", hex(address)?))).collect()
        }
        _ => bail!("an unknown tracepoint"),
    }
}
