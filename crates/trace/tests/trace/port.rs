//! Accesses to I/O ports, from records to every format and back from a file.

use std::convert::Infallible;

use crate::kind::{
    Each, assert_aligned, assert_drawn_and_refused, assert_fields, assert_says, human, lines, merged, report,
    task, through_a_file,
};
use trapline_abi::{Flags, Kind, PortPayload, Record};
use trapline_trace::{
    Bar, Device, Frame, Header, Merge, Names, PortAccess, Ports, RegisterFile, Registers, Site, Source,
    Totals, What,
};

/// Of an SMBus controller, whose registers are ports of BAR 4.
fn header() -> Header {
    let mut smbus = Device {
        address: "0000:00:1f.3".into(),
        vendor: 0x8086,
        device: 0x2930,
        driver: Some("i801_smbus".into()),
        ..Device::default()
    };
    smbus.bars[0] = Bar { start: 0xefa0, length: 0x100, flags: 0x4_0200 };
    smbus.bars[4] = Bar { start: 0xefa0, length: 0x20, flags: 0x4_0101 };
    let (devices, modules) = (vec!["0000:00:1f.3".into()], vec!["i2c_i801".into()]);
    Header {
        devices: vec![smbus],
        sources: vec![Source::Port(Ports { devices, modules })],
        ..Header::default()
    }
}

fn names() -> Names {
    let text = "name = \"smbus\"\n[[match]]\nvendor = 0x8086\ndevices = [0x2930]\n[[register]]\noffset = 2\nbar = 4\nwidth = 1\n\
                name = \"HST_CNT\"\nfields = [{ bits = \"6\", name = \"START\" }]\n";
    let mut registers = Registers::none();
    registers.add(RegisterFile::parse_for_devices("smbus.toml", text).unwrap());
    Names::new(&header().devices, &registers, None)
}

/// What a driver accesses itself, what the kernel's functions do for it, and what is no device's.
fn records() -> Vec<Record> {
    let mut records = vec![task("modprobe")];
    let mut access = |time, flags, width, port, value: Option<u32>, [ip, caller]: [u64; 2]| {
        let is_string = flags & Flags::STRING != 0;
        let payload = PortPayload {
            caller,
            value: value.unwrap_or_default(),
            port,
            is_string,
            is_known: value.is_some(),
            ip,
        }
        .to_words();
        let (kind, flags) = (Kind::Port as u8, flags & Flags::WRITE);
        records.push(Record { time, kind, flags, width, task: 80, payload, ..Record::EMPTY });
    };
    access(1_000_000_000, Flags::WRITE, 1, 0xefa2, Some(0x48), [0x11, 0x21]);
    access(1_000_001_000, 0, 1, 0xefa0, Some(0x42), [0x12, 0x22]);
    access(1_000_002_000, Flags::STRING, 4, 0xefa4, None, [0x11, 0]);
    access(1_000_003_000, Flags::WRITE, 2, 0x0cf8, Some(0x8000), [0x11, 0]);
    records
}

/// Hands the events to `each`, with the functions that a kernel would have named.
fn events(each: Each<'_>) {
    let names = names();
    merged(Merge::new(1), &records(), |mut event| {
        if let What::Port(access) = &mut event.what {
            let driver = |function| Some(Site { function, offset: 0x5e, module: Some("i2c_i801") });
            access.site = match access.ip {
                0x12 => Some(Site { function: "ioread8", offset: 0x20, module: None }),
                _ => driver("i801_access"),
            };
            access.caller = access.caller.map(|caller| Frame { site: driver("i801_check_pre"), ..caller });
        }
        each(&names.name(event));
    });
}

#[test]
fn an_access_is_a_line_with_register_fields_and_who_asked_for_it() {
    let text = human(names(), events);
    let expected = [
        "1.000000000 0 OUT 1 00:1f.3 4+00002 HST_CNT 0x48 modprobe-80 i801_access+0x5e [i2c_i801] START=1",
        "1.000001000 0 IN 1 00:1f.3 4+00000 0x42 modprobe-80 i801_check_pre+0x5e [i2c_i801] by ioread8",
        "1.000002000 0 IN 4 00:1f.3 4+00004 unknown modprobe-80 i801_access+0x5e [i2c_i801] string",
        "1.000003000 0 OUT 2 port 0x0cf8 0x8000 modprobe-80 i801_access+0x5e [i2c_i801]",
    ];
    assert_eq!(lines(&text)[1..5], expected);
    let words = [("function", "i801_access"), ("register", "HST_CNT"), ("device", "00:1f.3")];
    assert_aligned(&text, &words);
}

#[test]
fn an_access_is_the_same_in_a_file_and_in_json_says_what_it_is() {
    let json = through_a_file(&header(), events);
    let expected = [
        ("kind", "\"port\""),
        ("op", "\"W\""),
        ("port", "\"0xefa2\""),
        ("device", "\"0000:00:1f.3\""),
        ("bar", "4"),
        ("offset", "2"),
        ("register", "\"HST_CNT\""),
        ("width", "1"),
        ("value", "\"0x48\""),
        ("flags", "[]"),
        ("ip", "\"0x11\""),
        ("function", "\"i801_access\""),
    ];
    assert_fields(&json[0], &expected);
    assert_eq!(json[0]["caller"]["function"], "i801_check_pre");
    let third = &json[2];
    assert_eq!(third["flags"].to_string(), "[\"string\",\"unknown\"]");
    assert!(third.get("value").is_none() && third.get("caller").is_none(), "{third}");
}

#[test]
fn a_report_tells_ports_by_whom_what_was_followed_and_what_is_missing() {
    let totals = Totals { ports_missed: 3, ports_refused: 1, ..Totals::default() };
    let (summary, text) = report(&header(), &totals, events);
    assert_eq!(summary.port_accesses(), (2, 2));
    let expected = [
        "4 accesses to I/O ports (2 reads, 2 writes) in 3.0 us on 1 CPU",
        "reads writes port width device bar+offset register last value by",
        "0 1 0xefa2 1 0000:00:1f.3 4+00002 HST_CNT 0x48 i801_access [i2c_i801] 1",
        "0 1 0x0cf8 2 0x8000 i801_access [i2c_i801] 1",
        "accesses to I/O ports are those by the code of: the kernel's ioread and iowrite functions, i2c_i801",
        "not followed, since they could not be probed: 1 instruction that accesses I/O ports",
        "3 accesses to I/O ports missed",
        "THIS TRACE IS NOT COMPLETE: accesses to I/O ports",
    ];
    assert_says(&text, &expected);
}

#[test]
fn on_a_timeline_an_access_is_named_and_mmiotrace_has_no_words_for_it() {
    let drawn = ["W HST_CNT", "R 00:1f.3 4+00000", "W port 0x0cf8", "0000:00:1f.3"];
    assert_drawn_and_refused(&header(), &drawn, "I/O ports", events);
}

#[test]
fn a_record_of_a_width_that_no_port_has_makes_no_sense() {
    let payload = PortPayload { caller: 0, value: 1, port: 1, is_string: false, is_known: true, ip: 1 };
    let record = Record { kind: Kind::Port as u8, width: 3, payload: payload.to_words(), ..Record::EMPTY };
    let mut merge = Merge::new(1);
    merge.push(0, &[record], true);
    let mut told = Vec::new();
    let Ok(()) = merge.finish(|event| {
        told.push(matches!(event.what, What::Port(PortAccess { .. })));
        Ok::<(), Infallible>(())
    });
    assert_eq!((told.len(), merge.malformed()), (0, 1));
}
