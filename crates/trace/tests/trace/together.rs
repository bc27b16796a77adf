//! What a report tells of several kinds of events together: what handlers read first, how long it
//! is from doorbells to interrupts, and which function touches what.

use std::sync::LazyLock;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use trapline_abi::{
    Change, ConfigWay, DmaDirection, DmaOp, Flags, INTERRUPT_FIRST, INTERRUPT_LAST, INTERRUPT_THREAD,
    PciFunction, Signal,
};
use trapline_trace::{
    Access, ConfigAccess, Direction, DmaCall, Event, Followed, Header, Interrupt, Lost, Mapped, Names,
    Outcome, Registers, Site, Source, Spaces, Summary, Totals, Value, Watched, What,
};

use crate::common;
use crate::kind::lines;

/// Offsets of registers of the network card.
pub(crate) const ICR: u64 = 0xc0;
const TDT: u64 = 0x3818;
pub(crate) const STATUS: u64 = 8;
const MDIC: u64 = 0x20;

pub(crate) const INTERRUPTS: fn() -> Source = || Source::Interrupt(Followed::default());
pub(crate) const ACCESSES: fn() -> Source = || Source::Access(Watched::default());

fn header(sources: Vec<Source>) -> Header {
    Header { sources, ..common::header() }
}

/// What names the registers of the network card.
fn names() -> Names {
    static SHIPPED: LazyLock<Registers> = LazyLock::new(Registers::shipped);
    Names::new(&common::header().devices, &SHIPPED, None)
}

/// The report of these events, with at most so many rows of a table.
pub(crate) fn text(sources: Vec<Source>, events: &[Event<'_>], rows: usize) -> String {
    let header = header(sources);
    let mut summary = Summary::new(&header).with_names(names());
    let names = names();
    events.iter().for_each(|event| summary.add(&names.name(event.clone())));
    summary.end(&Totals::default());
    let mut out = Vec::new();
    summary.write(&mut out, false, rows).unwrap();
    String::from_utf8(out).unwrap()
}

/// The blocks of lines of a report, without how complete the trace is.
fn tables(report: &str) -> impl Iterator<Item = &str> {
    let end = report.rfind(" dropped").and_then(|end| report[..end].rfind('\n')).map_or(0, |end| end + 1);
    report[..end].split_inclusive("\n\n")
}

/// Its lines, with one blank between words.
fn words(block: &str) -> String {
    let lines = lines(block.trim_matches('\n'));
    lines.into_iter().map(|line| line + "\n").collect()
}

/// Of a report the block of lines that has this in its first line.
pub(crate) fn block(report: &str, first: &str) -> String {
    let is_it = |block: &&str| block.lines().next().is_some_and(|line| line.contains(first));
    tables(report).find(is_it).map(words).unwrap_or_default()
}

fn doorbells(events: &[Event<'_>], expected: Expect) {
    let report = text(vec![INTERRUPTS(), ACCESSES()], events, 20);
    let told = tables(&report).filter(|block| block.contains("  from "));
    expected.assert_eq(&told.map(words).collect::<String>());
}

pub(crate) fn on(cpu: u16, time: u64, what: What<'static>) -> Event<'static> {
    Event { time, cpu, pid: 7, tgid: 7, comm: "dd", what }
}

pub(crate) fn site(function: &'static str) -> Option<Site<'static>> {
    Some(Site { function, offset: 1, module: Some("e1000e") })
}

/// An access to a register of the network card.
pub(crate) fn access(direction: Direction, offset: u64, value: u64) -> What<'static> {
    What::Access(Access {
        direction,
        width: 4,
        value: Value::from_u64(value, 4),
        change: Change::None,
        original: None,
        mapping: 1,
        address: offset,
        physical: Some(0xfeb8_0000 + offset),
        flags: Flags(0),
        way: None,
        ip: 0x10,
        place: None,
        site: site("e1000_access"),
    })
}

pub(crate) fn read(offset: u64, value: u64) -> What<'static> {
    access(Direction::Read, offset, value)
}

pub(crate) fn write(offset: u64) -> What<'static> {
    access(Direction::Write, offset, 1)
}

/// A call of a handler.
pub(crate) fn call(function: &'static str, took: Option<u64>, outcome: Outcome) -> What<'static> {
    What::Interrupt(Interrupt {
        device: PciFunction::new(0, 0, 3, 0).into(),
        irq: 11,
        signal: Signal::Line,
        index: 0,
        flags: Flags(INTERRUPT_FIRST | INTERRUPT_LAST),
        handler: 0x1000,
        site: site(function),
        outcome: took.map(|_| outcome),
        took,
    })
}

pub(crate) fn handled(function: &'static str, took: u64) -> What<'static> {
    call(function, Some(took), Outcome::Handled)
}

pub(crate) fn threaded(took: u64) -> What<'static> {
    let What::Interrupt(interrupt) = handled("e1000_thread", took) else { unreachable!("it is one") };
    What::Interrupt(Interrupt { flags: Flags(INTERRUPT_THREAD), ..interrupt })
}

#[test]
fn a_doorbell_is_timed_to_the_next_interrupt_if_it_is_the_only_one_before_it() {
    let events = [
        on(0, 1_000, write(TDT)),
        on(1, 3_000, handled("e1000_intr", 50)),
        // Nothing is rung.
        on(1, 4_000, handled("e1000_intr", 50)),
        on(0, 10_000, write(TDT)),
        // Not its own, and its thread: no answers.
        on(1, 10_500, call("e1000_intr", Some(50), Outcome::None)),
        on(1, 10_600, threaded(50)),
        on(1, 14_000, handled("e1000_intr", 50)),
        // Two before one interrupt, one of another queue.
        on(0, 20_000, write(TDT)),
        on(0, 21_000, write(TDT + 0x100)),
        on(1, 22_000, handled("e1000_intr", 50)),
        // What was lost may have been the interrupt.
        on(0, 30_000, write(TDT)),
        on(1, 31_000, What::Lost(Lost { count: 1 })),
        on(1, 99_000, handled("e1000_intr", 50)),
        // A command that is answered by the register itself, and a read of a doorbell.
        on(0, 100_000, write(MDIC)),
        on(0, 100_010, read(TDT, 1)),
        on(1, 101_000, handled("e1000_intr", 50)),
        on(0, 110_000, write(TDT)),
    ];
    doorbells(
        &events,
        expect![[r#"
            doorbells from TDT[0] of 00:03.0 to the next interrupt: half within 2.0 us, 99 % within 4.0 us, all within 4.0 us
            1 up to 2.0 us ################################################################
            1 up to 4.1 us ################################################################
            1 is not timed: more than one doorbell was rung before the interrupt
            doorbells from TDT[1] of 00:03.0 to the next interrupt
            1 is not timed: more than one doorbell was rung before the interrupt
        "#]],
    );
}

#[test]
fn doorbells_of_a_device_without_interrupts_and_those_that_nobody_knows_are_not_told() {
    let events = [on(0, 1_000, write(TDT)), on(0, 2_000, write(TDT)), on(0, 3_000, write(TDT))];
    doorbells(&events, expect![""]);
    let events = [on(0, 1_000, write(STATUS)), on(1, 3_000, handled("e1000_intr", 50))];
    doorbells(&events, expect![""]);
    let dropped = |what| match what {
        What::Access(access) => What::Access(Access { flags: Flags(Flags::DROPPED), ..access }),
        what => what,
    };
    let events = [on(0, 1_000, dropped(write(TDT))), on(1, 3_000, handled("e1000_intr", 50))];
    doorbells(&events, expect![""]);
}

#[test]
fn of_many_doorbells_those_are_drawn_that_were_timed_most() {
    let of_disk = |what, physical| match what {
        What::Access(access) => What::Access(Access { physical: Some(physical), ..access }),
        What::Interrupt(interrupt) => {
            What::Interrupt(Interrupt { device: PciFunction::new(0, 2, 0, 1).into(), ..interrupt })
        }
        what => what,
    };
    let rings = (0..10).flat_map(|queue| std::iter::repeat_n(queue, 1 + queue as usize));
    let turn = |(time, queue): (u64, u64)| {
        let doorbell = of_disk(write(0), 0x8_0000_1000 + 8 * queue);
        [on(0, time, doorbell), on(0, time + 500, of_disk(handled("nvme_irq", 50), 0))]
    };
    let events: Vec<_> = (1..).map(|turn| turn * 1_000).zip(rings).flat_map(turn).collect();
    let report = text(vec![INTERRUPTS(), ACCESSES()], &events, 20);
    let drawn: Vec<_> = report.lines().filter(|line| line.contains("to the next interrupt")).collect();
    assert_eq!(drawn.len(), 8, "{report}");
    assert!(drawn[0].contains("from SQ9TDBL of 02:00.1") && drawn[7].contains("SQ2TDBL"), "{drawn:?}");
    assert!(report.contains("and 2 more doorbells"), "{report}");
}

pub(crate) fn config(direction: Direction) -> What<'static> {
    What::Config(ConfigAccess {
        device: PciFunction::new(0, 0, 3, 0).into(),
        direction,
        offset: 6,
        width: 2,
        value: 0x18,
        error: 0,
        way: ConfigWay::Ports,
        flags: Flags(0),
        took: 1,
        register: Some("STATUS"),
        ip: 0x20,
        site: site("e1000_probe"),
        stack: Vec::new(),
    })
}

fn buffer(op: DmaOp, direction: DmaDirection, dma: u64, size: u32) -> What<'static> {
    What::Dma(DmaCall {
        device: PciFunction::new(0, 0, 3, 0).into(),
        op,
        direction,
        dma: (dma != 0).then_some(dma),
        physical: None,
        address: None,
        size,
        piece: 0,
        pieces: 0,
        data: Vec::new().into(),
        flags: Flags(0),
        ip: 0x30,
        site: site("e1000_xmit_frame"),
        stack: Vec::new(),
    })
}

/// What functions do with registers, configuration space and buffers.
fn work() -> Vec<Event<'static>> {
    let of = |function, what| match what {
        What::Access(access) => What::Access(Access { site: site(function), ..access }),
        what => what,
    };
    use DmaDirection::{FromDevice, ToDevice};
    let whats = vec![
        of("e1000_probe", read(STATUS, 1)),
        of("e1000_probe", read(0x5b54, 1)),
        config(Direction::Read),
        config(Direction::Write),
        buffer(DmaOp::Map, ToDevice, 0x1000, 42),
        buffer(DmaOp::Map, ToDevice, 0x2000, 1_500),
        buffer(DmaOp::Map, FromDevice, 0x3000, 2_048),
        buffer(DmaOp::Map, FromDevice, 0, 1 << 20),
        buffer(DmaOp::Alloc, DmaDirection::Both, 0x8000, 4_096),
        buffer(DmaOp::Unmap, ToDevice, 0x1000, 42),
        of("e1000_xmit_frame", write(TDT)),
        of("e1000_xmit_frame", write(TDT)),
    ];
    (1..).zip(whats).map(|(time, what)| on(0, time * 10, what)).collect()
}

#[test]
fn which_function_touches_what_is_one_table_of_a_trace_of_several_kinds() {
    let sources = || vec![ACCESSES(), Source::Config(Spaces::default()), Source::Dma(Mapped::default())];
    let report = text(sources(), &work(), 20);
    expect![[r#"
        registers config dma function touched most
        2 0 6 e1000_xmit_frame [e1000e] TDT[0] 2, map from device 2, map to device 2, alloc both ways 1, 1 more
        2 2 0 e1000_probe [e1000e] cfg STATUS 2, FWSM 1, STATUS 1
    "#]]
    .assert_eq(&block(&report, "touched most"));
    let report = text(sources(), &work(), 1);
    assert!(block(&report, "touched most").contains("and 1 more functions"), "{report}");
}

#[test]
fn buffers_that_a_device_was_given_are_told_by_direction_and_size() {
    let report = text(vec![Source::Dma(Mapped::default())], &work(), 20);
    expect![[r#"
        to device from device allocated buffers mapped or allocated, by size
        1 0 0 up to 64 bytes
        1 1 0 up to 2,048 bytes
        0 0 1 up to 4,096 bytes
    "#]]
    .assert_eq(&block(&report, "by size"));
}

#[test]
fn a_trace_that_was_not_asked_for_both_tells_nothing_of_them_together() {
    let told = ["read first", "next interrupt", "touched most"];
    let of_one_kind = [on(0, 1, read(ICR, 1)), on(0, 2, write(TDT)), on(0, 3, write(STATUS))];
    let and_buffers = vec![ACCESSES(), Source::Dma(Mapped::default())];
    for sources in [vec![], vec![ACCESSES()], vec![ACCESSES(), INTERRUPTS()], and_buffers] {
        let report = text(sources, &of_one_kind, 20);
        assert!(told.iter().all(|words| !report.contains(words)), "{report}");
    }
    // Interrupts alone: that nothing was read would be said of a trace that has no reads.
    let report = text(vec![INTERRUPTS()], &[on(0, 2, handled("e1000_intr", 5))], 20);
    assert!(told.iter().all(|words| !report.contains(words)), "{report}");
}

#[test]
fn a_page_has_the_same_tables() {
    let header = header(vec![ACCESSES(), INTERRUPTS(), Source::Dma(Mapped::default())]);
    let (mut summary, names) = (Summary::new(&header).with_names(names()).with_timeline(), names());
    let more = [on(1, 5_000, handled("e1000_intr", 50)), on(1, 5_010, read(ICR, 4))];
    let first = on(0, 1, write(TDT));
    for event in [first].into_iter().chain(more).chain(work().into_iter().skip(4)) {
        summary.add(&names.name(event));
    }
    let mut page = Vec::new();
    summary.write_html(&mut page, "a.trace", &header, None).unwrap();
    let page = String::from_utf8(page).unwrap();
    let expected =
        ["read first", "LSC=1", "from TDT[0] of 00:03.0 to the next interrupt", "touched most", "by size"];
    for words in expected {
        assert!(page.contains(words), "{words}\n{page}");
    }
}

/// Any of the events above, on few CPUs and in few threads, at any time.
fn anything() -> impl Strategy<Value = Event<'static>> {
    let times = prop_oneof![0..200_u64, any::<u64>()];
    let tooks = prop_oneof![0..100_u64, any::<u64>()];
    (times, 0..3_u16, 79..82_u32, 0..10_u8, tooks, any::<u32>()).prop_map(
        |(time, cpu, pid, what, took, any)| {
            let what = match what {
                0 => read(ICR, any.into()),
                1 => write(TDT),
                2 => handled("e1000_intr", took),
                3 => threaded(took),
                4 => call("e1000_intr", Some(took), Outcome::None),
                5 => call("e1000_intr", None, Outcome::Bad),
                6 => What::Lost(Lost { count: took }),
                7 => config(Direction::Read),
                8 => buffer(DmaOp::Map, DmaDirection::ToDevice, took, any),
                _ => write(TDT + 0x100 * (took % 2)),
            };
            Event { pid, ..on(cpu, time, what) }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_in_whatever_order_no_call_is_counted_twice(
        events in prop::collection::vec(anything(), 0..60),
    ) {
        let sources = vec![INTERRUPTS(), ACCESSES(), Source::Dma(Mapped::default())];
        let table = block(&text(sources, &events, usize::MAX), "read first");
        let rows = table.lines().skip(1).filter_map(|line| line.split_whitespace().next());
        let counted: usize = rows.filter_map(|count| count.parse::<usize>().ok()).sum();
        let with_end = |event: &&Event<'_>| matches!(&event.what, What::Interrupt(call) if call.took.is_some());
        let calls = events.iter().filter(with_end).count();
        prop_assert!(counted <= calls, "{counted} of {calls}\n{table}");
    }
}
