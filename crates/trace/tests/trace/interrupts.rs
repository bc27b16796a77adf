//! Interrupts, from records to every format and back from a file.

use crate::kind::{
    Each, assert_aligned, assert_drawn_and_refused, assert_fields, assert_says, human, lines, merged, report,
    task, through_a_file,
};
use trapline_abi::{
    AccessPayload, HandledPayload, INTERRUPT_FIRST, INTERRUPT_LAST, INTERRUPT_THREAD, IRQ_HANDLED, IRQ_NONE,
    IRQ_WAKE_THREAD, InterruptPayload, Kind, PciFunction, Record, Signal,
};
use trapline_trace::{Followed, Header, Merge, Names, Outcome, Site, Source, Totals, What};

const ONE: u8 = INTERRUPT_FIRST | INTERRUPT_LAST;
const DEVICE: PciFunction = PciFunction::new(0, 0, 3, 0);

fn header() -> Header {
    let followed = Followed { devices: vec!["0000:00:03.0".into()], threads: true };
    Header { sources: vec![Source::Interrupt(followed)], ..Header::default() }
}

/// A message whose handler wakes a thread, with an access meanwhile; the thread; a line on which
/// nobody claims anything; and a handler whose end is missing.
fn records() -> Vec<Record> {
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
        task("irq/26-e1000e"),
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
fn events(each: Each<'_>) {
    merged(Merge::new(1).with_handlers(), &records(), |mut event| {
        if let What::Interrupt(interrupt) = &mut event.what
            && interrupt.handler == 0x1000
        {
            interrupt.site = Some(Site { function: "e1000_msix_other", offset: 0, module: Some("e1000e") });
        }
        each(&event);
    });
}

#[test]
fn a_call_of_a_handler_is_a_line_before_those_of_what_it_did_in_the_columns_of_accesses() {
    let text = human(Names::default(), events);
    assert_eq!(
        lines(&text)[1..],
        [
            "1.000000000 0 IRQ 00:03.0 MSI-X 2 irq 26 wakes its thread e1000_msix_other [e1000e] 3.2 us",
            "1.000000100 0 R 4 linear 0xffffc900000000c0 0x80000004 0x1040",
            "1.000010000 0 IRQ t 00:03.0 MSI-X 2 irq 26 handled irq/26-e1000e-80 0x2000 80.0 us",
            "1.000100000 0 IRQ 00:03.0 line irq 11 not its own 0x3000 400 ns",
            "1.000100500 0 IRQ 00:03.0 line irq 11 not its own 0x4000 400 ns",
            "1.000200000 0 IRQ 00:03.0 MSI-X 2 irq 26 no end seen e1000_msix_other [e1000e]",
        ]
    );
    let words = [("function", "e1000_msix_other"), ("register", "irq 26"), ("device", "00:03.0")];
    assert_aligned(&text, &words);
}

#[test]
fn a_call_is_the_same_in_a_file_and_in_json_says_what_it_is() {
    let json = through_a_file(&header(), events);
    let expected = [
        ("device", "\"0000:00:03.0\""),
        ("irq", "26"),
        ("vector", "2"),
        ("took_ns", "3200"),
        ("result", "\"wake_thread\""),
        ("signal", "\"msi-x\""),
        ("function", "\"e1000_msix_other\""),
        ("flags", "[\"first\",\"last\"]"),
    ];
    assert_fields(&json[0], &expected);
}

#[test]
fn a_report_tells_vectors_handlers_and_what_nobody_claimed() {
    let mut outcomes = Vec::new();
    events(&mut |event| {
        if let What::Interrupt(interrupt) = &event.what {
            outcomes.push(interrupt.outcome);
        }
    });
    use Outcome as O;
    let expected = [Some(O::WakeThread), Some(O::Handled), Some(O::None), Some(O::None), None];
    assert_eq!(outcomes, expected);
    let (summary, text) = report(&header(), &Totals::default(), events);
    assert_eq!(summary.interrupts(), 3);
    let rows = "  interrupts  vector\n           2  00:03.0 irq 26, MSI-X 2\n           1  00:03.0 irq 11, line: 1 claimed by no handler\n";
    assert!(text.contains(rows), "{text}");
    let expected = [
        "3 interrupts in 200.0 us on 1 CPU",
        "e1000_msix_other [e1000e]: wakes its thread 1",
        "0x2000 (thread): handled 1",
        "calls took: half within",
        "1 call of a handler has no end in the trace",
    ];
    assert_says(&text, &expected);
}

#[test]
fn on_a_timeline_a_call_is_a_slice_on_its_cpu_and_mmiotrace_has_no_words_for_it() {
    let drawn = ["e1000_msix_other [e1000e]", "wakes its thread", "0000:00:03.0", "MSI-X 2"];
    assert_drawn_and_refused(&header(), &drawn, "interrupts", events);
}
