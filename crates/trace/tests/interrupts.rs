//! Interrupts, from records to every format and back from a file.

use std::convert::Infallible;

use trapline_abi::{
    AccessPayload, HandledPayload, INTERRUPT_FIRST, INTERRUPT_LAST, INTERRUPT_THREAD, IRQ_HANDLED, IRQ_NONE,
    IRQ_WAKE_THREAD, InterruptPayload, Kind, PciFunction, Record, Signal, TaskPayload,
};
use trapline_trace::{
    Event, FileWriter, Followed, Header, Human, JsonLines, Merge, Mmiotrace, Outcome, Perfetto, Sink, Site,
    Source, Summary, Totals, TraceReader, What,
};

const ONE: u8 = INTERRUPT_FIRST | INTERRUPT_LAST;
const DEVICE: PciFunction = PciFunction::new(0, 0, 3, 0);

fn header() -> Header {
    let followed = Followed { devices: vec!["0000:00:03.0".into()], threads: true };
    Header { sources: vec![Source::Interrupt(followed)], ..Header::default() }
}

/// A message whose handler wakes a thread, with an access meanwhile; the thread; a line on which
/// nobody claims anything; and a handler whose end is missing.
fn records() -> Vec<Record> {
    let task = TaskPayload { name: *b"irq/26-e1000e\0\0\0", process: 80 }.to_words();
    let task = Record { time: 1, kind: Kind::Task as u8, task: 80, payload: task, ..Record::EMPTY };
    let called = |time, irq, signal, flags, handler: u64, task| {
        let index = if signal == Signal::Line { 0 } else { 2 };
        let payload =
            InterruptPayload { handler, irq, index, signal: signal as u8, flags, device: DEVICE }.to_words();
        Record { time, kind: Kind::Interrupt as u8, task, payload, ..Record::EMPTY }
    };
    let ended = |time, irq, flags, handler: u64, result, task| {
        let payload = HandledPayload { handler, irq, flags, result }.to_words();
        Record { time, kind: Kind::Handled as u8, task, payload, ..Record::EMPTY }
    };
    let access = AccessPayload { address: 0xffff_c900_0000_00c0, ip: 0x1040, value: [0x8000_0004, 0] };
    let access = Record {
        time: 1_000_000_100,
        kind: Kind::Access as u8,
        width: 4,
        payload: access.to_words(),
        ..Record::EMPTY
    };
    vec![
        task,
        called(1_000_000_000, 26, Signal::MsiX, ONE, 0x1000, 0),
        access,
        ended(1_000_003_200, 26, ONE, 0x1000, IRQ_WAKE_THREAD, 0),
        called(1_000_010_000, 26, Signal::MsiX, ONE | INTERRUPT_THREAD, 0x2000, 80),
        ended(1_000_090_000, 26, ONE | INTERRUPT_THREAD, 0x2000, IRQ_HANDLED, 80),
        called(1_000_100_000, 11, Signal::Line, INTERRUPT_FIRST, 0x3000, 0),
        ended(1_000_100_400, 11, INTERRUPT_FIRST, 0x3000, IRQ_NONE, 0),
        called(1_000_100_500, 11, Signal::Line, INTERRUPT_LAST, 0x4000, 0),
        ended(1_000_100_900, 11, INTERRUPT_LAST, 0x4000, IRQ_NONE, 0),
        called(1_000_200_000, 26, Signal::MsiX, ONE, 0x1000, 0),
    ]
}

/// Hands the events to `each`, one handler named.
fn events(mut each: impl FnMut(&Event<'_>)) {
    let mut merge = Merge::new(1).with_handlers();
    merge.push(0, &records(), true);
    let Ok(()) = merge.finish(|mut event| {
        if let What::Interrupt(interrupt) = &mut event.what
            && interrupt.handler == 0x1000
        {
            interrupt.site = Some(Site { function: "e1000_msix_other", offset: 0, module: Some("e1000e") });
        }
        each(&event);
        Ok::<(), Infallible>(())
    });
    assert_eq!((merge.malformed(), merge.late()), (0, 0));
}

#[test]
fn a_call_of_a_handler_is_a_line_before_those_of_what_it_did_in_the_columns_of_accesses() {
    let mut text = Vec::new();
    let mut human = Human::new(&mut text, false);
    events(|event| human.event(event).unwrap());
    human.end(&Totals::default()).unwrap();
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines[1..],
        [
            "1.000000000 0 IRQ 00:03.0 MSI-X 2 irq 26 wakes its thread e1000_msix_other [e1000e] 3.2 us",
            "1.000000100 0 R 4 linear 0xffffc900000000c0 0x80000004 0x1040",
            "1.000010000 0 IRQ t 00:03.0 MSI-X 2 irq 26 handled irq/26-e1000e-80 0x2000 80.0 us",
            "1.000100000 0 IRQ 00:03.0 line irq 11 not its own 0x3000 400 ns",
            "1.000100500 0 IRQ 00:03.0 line irq 11 not its own 0x4000 400 ns",
            "1.000200000 0 IRQ 00:03.0 MSI-X 2 irq 26 no end seen e1000_msix_other [e1000e]",
        ]
    );
    let column = |line: &str, word: &str| line.find(word).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for (title, word) in [("function", "e1000_msix_other"), ("register", "irq 26"), ("device", "00:03.0")] {
        assert_eq!(column(lines[0], title), column(lines[1], word), "{text}");
    }
}

#[test]
fn a_call_is_the_same_in_a_file_and_in_json_says_what_it_is() {
    let (mut bytes, mut json) = (Vec::new(), Vec::new());
    let mut writer = FileWriter::new(&mut bytes, &header()).unwrap();
    let mut lines = JsonLines::new(&mut json, &header()).unwrap();
    let mut written = Vec::new();
    events(|event| {
        writer.event(event).unwrap();
        lines.event(event).unwrap();
        written.push(format!("{:?}", event.what));
    });
    writer.end(&Totals::default()).unwrap();
    drop(writer);
    let mut reader = TraceReader::new(&bytes[..], "test").unwrap();
    assert_eq!(reader.header().sources, header().sources);
    let mut read = Vec::new();
    let Ok(_) = reader.read(|event| {
        read.push(format!("{:?}", event.what));
        Ok::<(), Infallible>(())
    });
    assert_eq!(read, written);
    let json = String::from_utf8(json).unwrap();
    let line: serde_json::Value = serde_json::from_str(json.lines().nth(1).unwrap()).unwrap();
    let field = |name: &str| line[name].to_string();
    assert_eq!(field("device"), "\"0000:00:03.0\"");
    assert_eq!([field("irq"), field("vector"), field("took_ns")], ["26", "2", "3200"]);
    assert_eq!(field("result"), "\"wake_thread\"");
    assert_eq!(field("signal"), "\"msi-x\"");
    assert_eq!(field("function"), "\"e1000_msix_other\"");
    assert_eq!(field("flags"), "[\"first\",\"last\"]");
}

#[test]
fn a_report_tells_vectors_handlers_and_what_nobody_claimed() {
    let mut summary = Summary::new(&header());
    let mut outcomes = Vec::new();
    events(|event| {
        summary.add(event);
        if let What::Interrupt(interrupt) = &event.what {
            outcomes.push(interrupt.outcome);
        }
    });
    use Outcome as O;
    let expected = [Some(O::WakeThread), Some(O::Handled), Some(O::None), Some(O::None), None];
    assert_eq!(outcomes, expected);
    assert_eq!(summary.interrupts(), 3);
    let mut text = Vec::new();
    summary.write(&mut text, false, 20).unwrap();
    let text = String::from_utf8(text).unwrap();
    for words in [
        "3 interrupts in 200.0 us on 1 CPU",
        "  interrupts  vector\n           2  00:03.0 irq 26, MSI-X 2\n           1  00:03.0 irq 11, line: 1 claimed by no handler\n",
        "  e1000_msix_other [e1000e]: wakes its thread 1\n",
        "  0x2000 (thread): handled 1\n",
        "       calls  took: half within",
        "1 call of a handler has no end in the trace\n",
    ] {
        assert!(text.contains(words), "`{words}`:\n{text}");
    }
}

#[test]
fn on_a_timeline_a_call_is_a_slice_on_its_cpu_and_mmiotrace_has_no_words_for_it() {
    let mut bytes = Vec::new();
    let mut perfetto = Perfetto::new(&mut bytes);
    events(|event| perfetto.event(event).unwrap());
    perfetto.end(&Totals::default()).unwrap();
    drop(perfetto);
    let text = String::from_utf8_lossy(&bytes);
    for words in ["e1000_msix_other [e1000e]", "wakes its thread", "0000:00:03.0", "MSI-X 2"] {
        assert!(text.contains(words), "{words}");
    }
    let mut refused = None;
    events(|event| {
        if let What::Interrupt(_) = event.what {
            let mut mmiotrace = Mmiotrace::new(std::io::sink(), &header(), false).unwrap();
            refused = mmiotrace.event(event).err().map(|error| error.to_string());
        }
    });
    assert!(refused.is_some_and(|error| error.contains("interrupts")));
}
