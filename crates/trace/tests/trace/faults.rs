//! Page faults, from records to every format and back from a file.

use std::convert::Infallible;

use trapline_abi::{FaultPayload, Flags, Kind, Record, ServedPayload, TaskPayload};
use trapline_trace::fault::Cause;
use trapline_trace::{
    FileWriter, Header, Human, JsonLines, Merge, Mmiotrace, PageFault, Sink, Site, Summary, Totals,
    TraceReader, What,
};

fn records() -> Vec<Record> {
    let task = TaskPayload { name: *b"sort\0\0\0\0\0\0\0\0\0\0\0\0", process: 40 }.to_words();
    let task = Record { time: 1, kind: Kind::Task as u8, task: 41, payload: task, ..Record::EMPTY };
    let fault = |time, error_code, address, flags| {
        let payload =
            FaultPayload { address, ip: 0x40_1000, error_code, process: 40, stack: 0x7ffd_0000 }.to_words();
        Record { time, kind: Kind::Fault as u8, flags, task: 41, payload, ..Record::EMPTY }
    };
    vec![
        task,
        fault(1_000_000_002, 7, 0x55_0000, 0),
        fault(1_000_000_003, 0x14, 0x40_1000, 0),
        fault(1_000_000_004, 7, 0x55_1000, 0),
        fault(1_000_000_005, 0, 0xffff_c900_0000_0000, Flags::INTERRUPT),
    ]
}

/// Hands the events to `each`, the first named.
fn events(mut each: impl FnMut(&trapline_trace::Event<'_>)) {
    let mut merge = Merge::new(1);
    merge.push(0, &records(), true);
    let Ok(()) = merge.finish(|mut event| {
        if let What::Fault(fault) = &mut event.what
            && fault.address == 0x55_0000
        {
            fault.memory = Some("copy on write, heap".into());
            fault.site = Some(Site { function: "sort", offset: 0x1000, module: None });
        }
        each(&event);
        Ok::<(), Infallible>(())
    });
    assert_eq!(merge.malformed(), 0);
}

#[test]
fn a_fault_is_a_line_of_words() {
    let mut text = Vec::new();
    let mut human = Human::new(&mut text, false);
    events(|event| human.event(event).unwrap());
    human.end(&Totals::default()).unwrap();
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["seconds", "cpu", "task", "address", "by", "fault"]);
    let first = "1.000000002 0 sort-41 0x550000 sort+0x1000 write to a present read-only page, in user mode: copy on write, heap";
    assert_eq!(lines[1].join(" "), first);
    let last = "1.000000005 0 sort-41 0xffffc90000000000 0x401000 read of a page that is not present, in kernel mode in an interrupt";
    assert_eq!(lines[4].join(" "), last);
}

#[test]
fn a_fault_is_an_object_with_its_cause() {
    let mut text = Vec::new();
    let mut json = JsonLines::new(&mut text, &Header::default()).unwrap();
    events(|event| json.event(event).unwrap());
    let text = String::from_utf8(text).unwrap();
    let fault = text.lines().nth(1).unwrap();
    assert_eq!(
        fault,
        "{\"time_ns\":1000000002,\"cpu\":0,\"pid\":41,\"tgid\":40,\"comm\":\"sort\",\"kind\":\"fault\",\"address\":\"0x550000\",\
         \"error_code\":\"0x7\",\"cause\":\"not-writable\",\"mode\":\"user\",\"memory\":\"copy on write, heap\",\"sp\":\"0x7ffd0000\",\
         \"flags\":[],\"ip\":\"0x401000\",\"function\":\"sort\",\"function_offset\":4096}"
    );
    assert!(text.lines().nth(4).unwrap().contains("\"flags\":[\"interrupt\"]"), "{text}");
}

#[test]
fn faults_come_back_from_a_file_as_they_were() {
    let mut bytes = Vec::new();
    let mut file = FileWriter::new(&mut bytes, &Header::default()).unwrap();
    let mut written = Vec::new();
    events(|event| {
        file.event(event).unwrap();
        written.push(format!("{event:?}"));
    });
    file.end(&Totals::default()).unwrap();
    drop(file);
    let mut read = Vec::new();
    let mut reader = TraceReader::new(bytes.as_slice(), "faults").unwrap();
    let Ok(_) = reader.read(|event| {
        let what = match &event.what {
            What::Fault(fault) => What::Fault(PageFault {
                memory: fault.memory.as_ref().map(|text| text.to_string().into()),
                ..fault.clone()
            }),
            other => other.clone(),
        };
        read.push(format!("{:?}", trapline_trace::Event { what, ..event.clone() }));
        Ok::<(), Infallible>(())
    });
    assert_eq!(read, written);
}

#[test]
fn mmiotraces_format_refuses_faults() {
    let mut out = Vec::new();
    let mut mmiotrace = Mmiotrace::new(&mut out, &Header::default(), false).unwrap();
    events(|event| assert!(mmiotrace.event(event).unwrap_err().to_string().contains("page faults")));
}

#[test]
fn a_report_counts_faults_by_what_they_were() {
    let mut summary = Summary::default();
    events(|event| summary.add(event));
    assert_eq!(summary.faults(), 4);
    assert_eq!(summary.causes()[0], ("write to a present read-only page, in user mode".into(), 2));
    assert_eq!(summary.causes().len(), 3);
    let memory: Vec<_> = summary.memory().iter().map(|count| (count.name, count.count)).collect();
    assert_eq!(memory, [("copy on write, heap", 1)]);
    let mut text = Vec::new();
    summary.write(&mut text, false, 20).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("4 page faults in 3 ns on 1 CPU"), "{text}");
    assert!(text.contains("0 dropped") && !text.contains("performed"), "{text}");
    assert_eq!(Cause::from_name("not-writable"), Some(Cause::NotWritable));
}

/// The same faults, of which the first and the third have ended.
fn with_latency(mut each: impl FnMut(&trapline_trace::Event<'_>)) {
    let served = |time, address| {
        let payload = ServedPayload { address, result: 0 }.to_words();
        Record { time, kind: Kind::Served as u8, task: 41, payload, ..Record::EMPTY }
    };
    let mut records = records();
    records.insert(2, served(1_000_002_102, 0x55_0000));
    for later in &mut records[3..] {
        later.time += 10_000;
    }
    records.insert(5, served(1_001_250_004, 0x55_1000));
    records[6].time = 1_001_250_005;
    let mut merge = Merge::new(1).with_latency();
    merge.push(0, &records, true);
    let Ok(()) = merge.finish(|event| {
        each(&event);
        Ok::<(), Infallible>(())
    });
    assert_eq!((merge.malformed(), merge.late()), (0, 0));
}

#[test]
fn how_long_a_fault_took_is_in_every_format_and_in_the_report() {
    let (mut text, mut json, mut file) = (Vec::new(), Vec::new(), Vec::new());
    let mut human = Human::new(&mut text, false);
    let mut lines = JsonLines::new(&mut json, &Header::default()).unwrap();
    let mut arrow = FileWriter::new(&mut file, &Header::default()).unwrap();
    let mut summary = Summary::default();
    with_latency(|event| {
        human.event(event).unwrap();
        lines.event(event).unwrap();
        arrow.event(event).unwrap();
        summary.add(event);
    });
    human.end(&Totals::default()).unwrap();
    arrow.end(&Totals::default()).unwrap();
    drop((human, arrow));
    let text = String::from_utf8(text).unwrap();
    let ends: Vec<&str> = text.lines().skip(1).map(|line| line.rsplit(", ").next().unwrap()).collect();
    assert_eq!(ends, ["2.1 us", "in user mode", "1.2 ms", "in kernel mode  in an interrupt"]);
    let json = String::from_utf8(json).unwrap();
    assert_eq!(json.matches("\"took_ns\":").count(), 2, "{json}");
    assert!(json.contains("\"took_ns\":2100,"), "{json}");
    let mut took = Vec::new();
    let mut reader = TraceReader::new(file.as_slice(), "faults").unwrap();
    let Ok(_) = reader.read(|event| {
        let What::Fault(fault) = &event.what else { panic!("no fault") };
        took.push(fault.took);
        Ok::<(), Infallible>(())
    });
    assert_eq!(took, [Some(2_100), None, Some(1_240_000), None]);
    let mut report = Vec::new();
    summary.write(&mut report, false, 20).unwrap();
    let report = String::from_utf8(report).unwrap();
    assert!(
        report.contains("      faults  took: half within 2.1 us, 99 % within 1.2 ms, all within 1.2 ms"),
        "{report}"
    );
}

#[test]
fn a_picture_has_the_addresses_and_the_times_and_there_is_none_without_faults() {
    let mut summary = Summary::default();
    assert_eq!(summary.picture(), None);
    with_latency(|event| summary.add(event));
    let picture = summary.picture().unwrap();
    for text in ["4 page faults", "0x400000", "0xffffc90000000000", "How long they took", "4.1 us", "</svg>"]
    {
        assert!(picture.contains(text), "{text}: {picture}");
    }
    let mut without = Summary::default();
    events(|event| without.add(event));
    assert!(!without.picture().unwrap().contains("How long"));
}

#[test]
fn a_single_fault_is_drawn_too() {
    let mut summary = Summary::default();
    let mut first = true;
    with_latency(|event| {
        if std::mem::take(&mut first) {
            summary.add(event);
        }
    });
    let picture = summary.picture().unwrap();
    assert!(picture.contains("0x400000") && picture.contains("4.1 us"), "{picture}");
}
