//! Traces to look at, made up: a driver's load, the same of another machine with records missing,
//! one whose texts are all markup, one of a million events, one without any, one that was cut off.
//!
//! `cargo run -p trapline-trace --example traces -- FOLDER`

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;

use trapline_abi::{Change, Flags, Way};
use trapline_trace::{
    Access, Direction, Event, FileWriter, Header, Mark, Place, Sink, Site, Totals, Value, What,
};

#[path = "made/large.rs"]
mod large;
#[path = "made/load.rs"]
mod load;

/// What would be markup, and would tell of itself, if a page took it for that.
const MARKUP: &str = "</script><script>alert(1)</script><b title=x onclick='alert(2)'>\"<!--";

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: traces FOLDER")?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    let file = |name: &str| File::create(folder.join(name));

    let header = load::Load::header();
    let mut load = FileWriter::new(file("load.trace")?, &header)?;
    load::Load::new(&mut load).play(0)?;
    load.end(&Totals::default())?;

    let other = Header { machine: "lab2".into(), kernel: "6.12.95+deb12-amd64".into(), ..header.clone() };
    let mut missing = FileWriter::new(file("missing.trace")?, &other)?;
    load::Load::new(&mut missing).play(1_234)?;
    missing.end(&Totals { dropped: 1_234, ..Totals::default() })?;

    let bytes = fs::read(folder.join("load.trace"))?;
    fs::write(folder.join("cut.trace"), &bytes[..bytes.len() - 2_000])?;

    let hostile = Header { command: MARKUP.into(), kernel: MARKUP.into(), ..Header::default() };
    let mut writer = FileWriter::new(file("hostile.trace")?, &hostile)?;
    for time in 0..10 {
        writer.event(&markup(time * 1_000))?;
    }
    let mark = What::Mark(Mark { text: MARKUP.into() });
    writer.event(&Event { time: 10_000, cpu: 0, pid: 7, tgid: 7, comm: MARKUP, what: mark })?;
    writer.end(&Totals::default())?;

    let mut large = FileWriter::new(file("large.trace")?, &Header::default())?;
    large::large(1_000_000, |event| large.event(event))?;
    large.end(&Totals::default())?;

    FileWriter::new(file("empty.trace")?, &header)?.end(&Totals::default())?;
    Ok(())
}

/// An access whose texts are all markup.
fn markup(time: u64) -> Event<'static> {
    let what = What::Access(Access {
        direction: Direction::Read,
        width: 4,
        value: Value::from_u64(time, 4),
        change: Change::None,
        original: None,
        mapping: 1,
        address: 0x1000,
        physical: Some(0xfeb0_0000),
        flags: Flags(0),
        way: Some(Way::Emulate),
        ip: 0x1000,
        place: Some(Place { device: MARKUP, bar: 0, offset: 0, register: Some(MARKUP) }),
        site: Some(Site { function: MARKUP, offset: 0, module: Some(MARKUP) }),
    });
    Event { time, cpu: 0, pid: 7, tgid: 7, comm: "</script>", what }
}
