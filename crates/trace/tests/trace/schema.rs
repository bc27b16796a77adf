//! JSON Lines are as docs/schemas/trace.json says, every kind of line with all that it may have and
//! with the least.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value as Json;
use trapline_abi::{
    Change, ConfigWay, DmaDirection, DmaOp, ErrorCode, Flags, LifecycleOp, PciFunction, Signal, WatchError,
    Way,
};
use trapline_registers::config::{Capability, Layout as ConfigLayout};
use trapline_trace::{
    Access, Argument, Bar, ConfigAccess, Device, Direction, DmaCall, Event, Followed, Format, Frame, Header,
    Hit, Injected, Interrupt, Item, JsonLines, Layout, Lifecycle, Lived, LogLine, Logged, Lost, Map, Mapped,
    Mark, Moment, NotWatched, Outcome, PageFault, Place, PortAccess, Ports, Probe, Probed, Sink, Site,
    Source, Space, Spaces, Studied, Totals, Unmap, Value, Watched, WatchedRange, What, Window,
};

static SCHEMA: LazyLock<Json> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../../docs/schemas/trace.json")).unwrap());

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| jsonschema::draft202012::new(&SCHEMA).unwrap());

/// What of a line is not as the schema says.
fn violations(line: &Json) -> Vec<String> {
    VALIDATOR.iter_errors(line).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// The kinds of lines that there are.
fn kinds_of_lines() -> BTreeSet<&'static str> {
    SCHEMA["properties"]["kind"]["enum"].as_array().unwrap().iter().filter_map(Json::as_str).collect()
}

/// More than the 53 bits of JSON's numbers.
const LARGE: u64 = u64::MAX - 7;

const PLACE: Option<Place<'static>> =
    Some(Place { device: "0000:00:03.0", bar: 0, offset: LARGE, register: Some("CTRL") });
const SITE: Option<Site<'static>> =
    Some(Site { function: "e1000_probe", offset: LARGE, module: Some("e1000e") });

fn probe() -> Probe {
    let layout = |form: &str, count, item| Layout { name: "x".into(), form: form.into(), count, item };
    let number = |format| layout("u8[4]", Some(4), Item::Number(format));
    Probe {
        id: 7,
        name: "vfs_read".into(),
        address: LARGE,
        moment: Moment::Return,
        stack: true,
        condition: Some("got < 0".into()),
        arguments: vec![
            layout("string", None, Item::Constant("fixed".into())),
            layout("string", None, Item::Text { limit: 64 }),
            number(Format::Unsigned(1)),
            number(Format::Signed(8)),
            number(Format::Hex(8)),
            number(Format::Char),
            number(Format::Symbol),
            number(Format::Bits { width: 3, offset: 2 }),
        ],
    }
}

fn header() -> Header {
    let mut device =
        Device { address: "0000:00:03.0".into(), driver: Some("e1000e".into()), ..Device::default() };
    device.bars[0] = Bar { start: LARGE, length: 4, flags: 0x200 };
    let accesses = Watched {
        ranges: vec![WatchedRange { start: LARGE, length: 1 }],
        reads: true,
        writes: false,
        injected: Some(Injected { rules: vec!["read CTRL ones".into()], seed: LARGE }),
        mapped: vec!["process 7 (dd) has it mapped".into()],
    };
    let faults = Studied {
        user: true,
        process: Some(4),
        comm: Some("dd".into()),
        addresses: Some((1, LARGE)),
        causes: vec!["not-present".into()],
        ..Studied::default()
    };
    let capability = Capability { offset: 0x100, id: 1, extended: true, detail: u16::MAX };
    let layout = ConfigLayout { header: 1, capabilities: vec![capability], no_ids: true };
    let spaces = Spaces {
        devices: vec![Space { device: "0000:00:03.0".into(), layout }],
        not_followed: vec!["pci_mmcfg_read".into()],
    };
    let mapped = Mapped {
        devices: vec!["0000:00:03.0".into()],
        data: u32::MAX,
        not_followed: vec!["dma_map_phys".into()],
    };
    Header {
        started: 1_700_000_000_000_000_000,
        devices: vec![device, Device::default()],
        probes: vec![probe()],
        sources: vec![
            Source::Access(accesses),
            Source::Hit(Probed { probes: vec![7], process: Some(4), cpu: Some(1) }),
            Source::Fault(faults),
            Source::Interrupt(Followed { devices: vec!["0000:00:03.0".into()], threads: true }),
            Source::Config(spaces),
            Source::Port(Ports { devices: vec!["0000:00:03.0".into()], modules: vec!["e1000e".into()] }),
            Source::Dma(mapped),
            Source::Dma(Mapped::default()),
            Source::Log(Logged {}),
            Source::Lifecycle(Lived {
                devices: vec!["0000:00:03.0".into()],
                not_followed: vec!["resets".into()],
            }),
            Source::Lifecycle(Lived::default()),
        ],
        ..Header::default()
    }
}

/// DMA with all that it may have, and with the least.
fn dma() -> [DmaCall<'static>; 2] {
    let all = DmaCall {
        device: PciFunction::new(0, 0, 3, 0).into(),
        op: DmaOp::SyncForDevice,
        direction: DmaDirection::FromDevice,
        dma: Some(LARGE),
        physical: Some(LARGE),
        address: Some(LARGE),
        size: u32::MAX,
        piece: u16::MAX - 1,
        pieces: u16::MAX,
        data: Cow::Borrowed(&[0, 0xff]),
        flags: Flags(u8::MAX),
        ip: LARGE,
        site: SITE,
        stack: vec![Frame { ip: LARGE, site: SITE }, Frame { ip: 1, site: None }],
    };
    let least = DmaCall {
        op: DmaOp::Map,
        direction: DmaDirection::None,
        dma: None,
        physical: None,
        address: None,
        piece: 0,
        pieces: 0,
        data: Cow::Borrowed(&[]),
        flags: Flags(0),
        ip: 0,
        site: None,
        stack: Vec::new(),
        ..all.clone()
    };
    [all, least]
}

/// Each kind of event with all that it may have, and with the least.
fn events() -> Vec<What<'static>> {
    let access = Access {
        direction: Direction::Write,
        width: 64,
        value: Value::new(&[0xff; 64]),
        change: Change::Known,
        original: Value::new(&[0xff; 8]),
        mapping: 1,
        address: LARGE,
        physical: Some(LARGE),
        flags: Flags(u8::MAX),
        way: Some(Way::Forbidden),
        ip: LARGE,
        place: PLACE,
        site: SITE,
    };
    let least = Access {
        direction: Direction::Read,
        width: 0,
        value: None,
        change: Change::None,
        original: None,
        address: 0,
        physical: None,
        flags: Flags(0),
        way: None,
        ip: 0,
        place: None,
        site: None,
        ..access
    };
    let map = Map {
        mapping: 1,
        address: LARGE,
        physical: LARGE,
        length: LARGE,
        caller: 1,
        place: PLACE,
        site: SITE,
    };
    let not = NotWatched {
        physical: LARGE,
        address: Some(LARGE),
        length: Some(LARGE),
        reason: Some(WatchError::HugePage),
        place: PLACE,
    };
    let argument = |value: Option<&'static str>| Argument {
        name: "count",
        form: "u64",
        value: value.map(Cow::Borrowed),
        number: None,
    };
    let hit = Hit {
        probe: "vfs_read",
        moment: Moment::After,
        ip: LARGE,
        flags: Flags(u8::MAX),
        arguments: vec![argument(Some("18446744073709551615")), argument(None)],
        stack: Some(vec![Frame { ip: LARGE, site: SITE }, Frame { ip: 1, site: None }]),
        site: SITE,
    };
    let fault = PageFault {
        address: LARGE,
        error_code: ErrorCode(u32::MAX),
        ip: LARGE,
        stack: LARGE,
        flags: Flags(u8::MAX),
        took: Some(LARGE),
        memory: Some("stack".into()),
        site: SITE,
    };
    let interrupt = Interrupt {
        device: PciFunction::new(0, 0, 3, 0).into(),
        irq: u32::MAX,
        signal: Signal::MsiX,
        index: 7,
        flags: Flags(u8::MAX),
        handler: LARGE,
        site: SITE,
        outcome: Some(Outcome::WakeThread),
        took: Some(LARGE),
    };
    let config = ConfigAccess {
        device: PciFunction::new(0, 0, 3, 0).into(),
        direction: Direction::Write,
        offset: 0x104,
        width: 4,
        value: u32::MAX,
        error: 22,
        way: ConfigWay::Memory,
        flags: Flags(u8::MAX),
        took: LARGE,
        register: Some("ERR_UNCOR_STATUS"),
        ip: LARGE,
        site: SITE,
        stack: vec![Frame { ip: LARGE, site: SITE }, Frame { ip: 1, site: None }],
    };
    let least_config = ConfigAccess {
        direction: Direction::Read,
        width: 1,
        error: 0,
        way: ConfigWay::Ports,
        register: None,
        ip: 0,
        site: None,
        stack: Vec::new(),
        ..config.clone()
    };
    let port = PortAccess {
        direction: Direction::Write,
        port: u16::MAX,
        width: 4,
        value: Value::from_u64(u32::MAX.into(), 4),
        flags: Flags(u8::MAX),
        place: PLACE,
        ip: LARGE,
        site: SITE,
        caller: Some(Frame { ip: LARGE, site: SITE }),
    };
    let least_port = PortAccess {
        direction: Direction::Read,
        value: None,
        flags: Flags(0),
        place: None,
        ip: 0,
        site: None,
        caller: None,
        ..port.clone()
    };
    let [dma, least_dma] = dma();
    let log = LogLine { text: "a\u{1b}[m\n\"".into(), cut: u32::MAX, flags: Flags(u8::MAX) };
    let life = Lifecycle {
        device: PciFunction::new(0, 0, 3, 0).into(),
        op: LifecycleOp::Power,
        end: Some((i32::MIN, LARGE)),
        power: 15,
        wanted: Some(3),
        name: "a\u{1b}[m\n\"".into(),
        flags: Flags(u8::MAX),
        ip: LARGE,
        site: SITE,
        stack: vec![Frame { ip: LARGE, site: SITE }, Frame { ip: 1, site: None }],
    };
    let least_life = Lifecycle {
        op: LifecycleOp::Bind,
        end: None,
        power: 0,
        wanted: None,
        name: "".into(),
        ip: 0,
        site: None,
        stack: Vec::new(),
        ..life.clone()
    };
    vec![
        What::Lifecycle(Lifecycle { op: LifecycleOp::Firmware, ..life.clone() }),
        What::Lifecycle(life),
        What::Lifecycle(least_life),
        What::Log(LogLine { text: "".into(), cut: 0, flags: Flags(0) }),
        What::Log(log),
        What::Dma(dma),
        What::Dma(least_dma),
        What::Port(port),
        What::Port(least_port),
        What::Config(config),
        What::Config(least_config),
        What::Access(access),
        What::Access(least),
        What::Map(Map { caller: 0, place: None, site: None, ..map.clone() }),
        What::Map(map),
        What::Unmap(Unmap { mapping: 1 }),
        What::NotWatched(NotWatched {
            address: None,
            length: None,
            reason: None,
            place: None,
            ..not.clone()
        }),
        What::NotWatched(not),
        What::Lost(Lost { count: LARGE }),
        What::Window(Window { address: LARGE, nanoseconds: LARGE }),
        What::Hit(Hit { arguments: Vec::new(), stack: None, site: None, ..hit.clone() }),
        What::Hit(hit),
        What::Fault(PageFault { took: None, memory: None, site: None, ..fault.clone() }),
        What::Fault(fault),
        What::Interrupt(Interrupt { site: None, outcome: None, took: None, ..interrupt.clone() }),
        What::Interrupt(interrupt),
        What::Mark(Mark { text: "</script> \"\u{1}".into() }),
    ]
}

fn lines() -> Vec<Json> {
    let mut out = Vec::new();
    let mut json = JsonLines::new(&mut out, &header()).unwrap();
    for what in events() {
        json.event(&Event { time: LARGE, cpu: 1, pid: 7, tgid: 7, comm: "dd", what }).unwrap();
    }
    let performed = [LARGE, 0, 1];
    let totals = Totals {
        ended: LARGE,
        performed,
        ports_missed: 1,
        ports_refused: LARGE,
        dma_missed: 1,
        dma_pieces_missed: LARGE,
        log_missed: LARGE,
        lifecycle_missed: LARGE,
        ..Totals::default()
    };
    json.end(&totals).unwrap();
    String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_kind_of_line_is_as_the_schema_says() {
    let lines = lines();
    for line in &lines {
        assert_eq!(violations(line), Vec::<String>::new(), "{line}");
    }
    let seen: BTreeSet<&str> = lines.iter().filter_map(|line| line["kind"].as_str()).collect();
    assert_eq!(seen, kinds_of_lines(), "a kind that the schema has and no line, or the other way round");
}

#[test]
fn a_line_that_breaks_the_rule_for_numbers_is_noticed() {
    for line in lines() {
        let Json::Object(fields) = &line else { panic!("{line} is no object") };
        for (name, value) in fields {
            let wrong = match value {
                Json::String(text) if text.starts_with("0x") => Json::from(7),
                Json::String(text) if text.parse::<u64>().is_ok() => Json::from(LARGE),
                Json::Number(_) => Json::from("0x7"),
                _ => continue,
            };
            let mut broken = line.clone();
            broken[name] = wrong;
            assert_ne!(violations(&broken), Vec::<String>::new(), "{name} in {broken}");
        }
        let mut broken = line.clone();
        broken["unheard_of"] = Json::from(1);
        assert_ne!(violations(&broken), Vec::<String>::new(), "{broken}");
    }
}
