//! Accesses to configuration space, from records to every format and back from a file.

use crate::kind::{
    Each, assert_aligned, assert_drawn_and_refused, assert_fields, assert_says, human, lines, merged, report,
    task, through_a_file,
};
use trapline_abi::{ConfigPayload, ConfigWay, Flags, Kind, PciFunction, Record};
use trapline_registers::config::{Capability, Layout};
use trapline_trace::{
    ConfigAccess, Frame, Header, Merge, Names, Registers, Site, Source, Space, Spaces, Totals, What,
};

const DEVICE: PciFunction = PciFunction::new(0, 0, 5, 0);

/// Of a card with MSI-X and error reporting.
fn header() -> Header {
    let capability = |offset, id, extended| Capability { offset, id, extended, detail: 4 };
    let capabilities = vec![capability(0xa0, 0x11, false), capability(0x100, 1, true)];
    let layout = Layout { capabilities, ..Layout::default() };
    let devices = vec![Space { device: "0000:00:05.0".into(), layout }];
    let not_followed = vec!["pci_mmcfg_write".into()];
    Header { sources: vec![Source::Config(Spaces { devices, not_followed })], ..Header::default() }
}

/// What a driver and a program access; one access fails, and one has no answer.
fn records() -> Vec<Record> {
    let mut records = vec![task("modprobe")];
    let mut access = |time, write, offset, width, value, result, frames: &[u64]| {
        let way = if offset < 0x100 { ConfigWay::Ports } else { ConfigWay::Memory } as u8;
        let payload = ConfigPayload { device: DEVICE, value, result, offset, way, took: 700 }.to_words();
        let (kind, flags) = (Kind::Config as u8, if write { Flags::WRITE } else { 0 });
        let more = frames.len().div_ceil(4) as u8;
        records.push(Record { time, kind, flags, width, more, task: 80, payload, ..Record::EMPTY });
        for part in frames.chunks(4) {
            let mut payload = [0; 4];
            payload[..part.len()].copy_from_slice(part);
            records.push(Record { kind: Kind::More as u8, payload, ..Record::EMPTY });
        }
    };
    access(1_000_000_000, false, 0x04, 2, 0x0103, 0, &[0x11, 0x12, 0x13, 0x14, 0x15]);
    access(1_000_001_000, true, 0x04, 2, 0x0107, 0, &[0x11]);
    access(1_000_002_000, true, 0xa2, 2, 0xc004, 0, &[]);
    access(1_000_003_000, false, 0x104, 4, u32::MAX, -22, &[]);
    access(1_000_004_000, false, 0x00, 4, u32::MAX, 0, &[]);
    records
}

fn names() -> Names {
    Names::new(&[], &Registers::none(), None).with_spaces(&header())
}

/// Hands the events to `each`, named as far as that goes without a kernel.
fn events(each: Each<'_>) {
    let names = names();
    merged(Merge::new(1), &records(), |mut event| {
        if let What::Config(ConfigAccess { stack, .. }) = &mut event.what {
            let functions =
                [("pci_read", None), ("pci_bus_read_config_word", None), ("__pci_set_master", None)];
            let module = ("e1000_probe", Some("e1000e"));
            for (frame, (function, module)) in stack.iter_mut().zip(functions.into_iter().chain([module])) {
                *frame = Frame { ip: frame.ip, site: Some(Site { function, offset: 0x5e, module }) };
            }
        }
        each(&names.name(event));
    });
}

#[test]
fn an_access_is_a_line_with_register_fields_and_who_asked_for_it_for_whom() {
    let text = human(names(), events);
    let lines = lines(&text);
    let read = "1.000000000 0 CFG R 00:05.0 cfg+004 COMMAND 0x0103 modprobe-80 __pci_set_master+0x5e for e1000_probe+0x5e [e1000e] IO=1 MEMORY=1 MASTER=0 ";
    assert!(lines[1].starts_with(read), "{}", lines[1]);
    assert!(lines[2].contains("CFG W 00:05.0 cfg+004 COMMAND 0x0107") && lines[2].contains("MASTER=1"));
    let rest = [
        "1.000002000 0 CFG W 00:05.0 cfg+0a2 MSIX_FLAGS 0xc004 modprobe-80 QSIZE=4 MASKALL=1 ENABLE=1",
        "1.000003000 0 CFG R 00:05.0 cfg+104 ERR_UNCOR_STATUS 0xffffffff modprobe-80 FAILED with error 22: the device was not accessed",
    ];
    assert_eq!(lines[3..5], rest);
    assert!(lines[5].contains("VENDOR_ID +1 0xffffffff modprobe-80 all ones"), "{}", lines[5]);
    let words = [("function", "__pci_set_master"), ("register", "COMMAND"), ("device", "00:05.0")];
    assert_aligned(&text, &words);
}

#[test]
fn an_access_is_the_same_in_a_file_and_in_json_says_what_it_is() {
    let json = through_a_file(&header(), events);
    let expected = [
        ("kind", "\"config\""),
        ("op", "\"R\""),
        ("device", "\"0000:00:05.0\""),
        ("offset", "\"0x4\""),
        ("register", "\"COMMAND\""),
        ("width", "2"),
        ("value", "\"0x0103\""),
        ("way", "\"ports\""),
        ("took_ns", "700"),
        ("function", "\"__pci_set_master\""),
        ("error", "null"),
    ];
    assert_fields(&json[0], &expected);
    assert_eq!(json[0]["stack"].as_array().map(Vec::len), Some(5));
}

#[test]
fn a_report_tells_registers_by_whom_what_failed_what_is_silent_and_what_is_missing() {
    let totals = Totals { config_missed: 3, ..Totals::default() };
    let (summary, text) = report(&header(), &totals, events);
    assert_eq!(summary.config_accesses(), (3, 2));
    let expected = [
        "5 accesses to configuration space (3 reads, 2 writes) in 4.0 us on 1 CPU",
        "reads writes device cfg+offset register last value by",
        "1 1 0000:00:05.0 cfg+004 COMMAND 0x0107",
        "1 access to configuration space FAILED",
        "NO ANSWER of 00:05.0: its vendor id read as ones 1 time",
        "not followed, since the kernel has no such function to be probed: pci_mmcfg_write()",
        "3 accesses to configuration space missed",
        "THIS TRACE IS NOT COMPLETE: accesses to configuration space",
    ];
    assert_says(&text, &expected);
}

#[test]
fn a_device_whose_ids_read_as_ones_from_the_beginning_is_not_said_to_give_no_answer() {
    let alarm = |no_ids| {
        let mut header = header();
        let Some(Source::Config(spaces)) = header.sources.first_mut() else { unreachable!() };
        spaces.devices[0].layout.no_ids = no_ids;
        // As a file's header tells it.
        let told = serde_json::to_string(&spaces.devices[0]).unwrap();
        assert_eq!(told.contains("no_ids"), no_ids);
        spaces.devices[0] = serde_json::from_str(&told).unwrap();
        report(&header, &Totals::default(), events).1.contains("NO ANSWER")
    };
    assert_eq!([false, true].map(alarm), [true, false]);
}

#[test]
fn on_a_timeline_an_access_is_named_and_mmiotrace_has_no_words_for_it() {
    let drawn = ["R COMMAND", "W MSIX_FLAGS", "0000:00:05.0"];
    assert_drawn_and_refused(&header(), &drawn, "configuration space", events);
}
