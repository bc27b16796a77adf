//! What a report tells of the registers that handlers of interrupts read first.

use expect_test::{Expect, expect};
use trapline_abi::Flags;
use trapline_trace::{Access, Direction, Event, Lost, Outcome, PortAccess, Ports, Source, Value, What};

use crate::kind::assert_aligned;
use crate::together::{
    ACCESSES, ICR, INTERRUPTS, STATUS, block, call, config, handled, on, read, site, text, threaded, write,
};

fn causes(events: &[Event<'_>], expected: Expect) {
    expected.assert_eq(&block(&text(vec![INTERRUPTS(), ACCESSES()], events, 20), "read first"));
}

#[test]
fn a_handler_s_first_read_is_what_its_cpu_reads_until_it_ends_and_no_other() {
    let events = [
        on(0, 100, read(STATUS, 1)),
        on(0, 200, handled("e1000_intr", 50)),
        // Meanwhile on another CPU.
        on(1, 205, read(STATUS, 2)),
        on(0, 206, write(ICR)),
        on(0, 210, read(ICR, 0x8000_0004)),
        on(0, 220, read(STATUS, 3)),
        on(0, 300, handled("e1000_intr", 50)),
        on(0, 350, read(ICR, 0x8000_0004)),
        on(0, 400, call("e1000_intr", Some(20), Outcome::None)),
        on(0, 410, read(ICR, 0)),
        // Too late.
        on(0, 500, handled("e1000_intr_msix_rx", 20)),
        on(0, 521, read(ICR, 1)),
        // Its end is not known, so neither is what it read.
        on(0, 600, call("e1000_intr", None, Outcome::Handled)),
        on(0, 610, read(ICR, 2)),
        // The last of the trace.
        on(0, 700, handled("e1000_intr_msix_rx", 20)),
    ];
    causes(
        &events,
        expect![[r#"
            calls handler read first register value fields that are not 0
            2 e1000_intr [e1000e] 00:03.0 0+000c0 ICR 0x80000004 LSC=1 INT_ASSERTED=1
            2 e1000_intr_msix_rx [e1000e] no read of a register in the trace
            1 e1000_intr [e1000e]: not its own 00:03.0 0+000c0 ICR 0x00000000
        "#]],
    );
}

#[test]
fn a_handler_that_begins_inside_of_another_has_its_own_first_read() {
    let events = [
        on(0, 100, handled("outer", 900)),
        on(0, 200, handled("inner", 100)),
        on(0, 210, read(STATUS, 1)),
        on(0, 220, read(STATUS, 2)),
        on(0, 400, read(ICR, 4)),
        on(0, 2_000, write(STATUS)),
    ];
    causes(
        &events,
        expect![[r#"
            calls handler read first register value fields that are not 0
            1 inner [e1000e] 00:03.0 0+00008 STATUS 0x00000001 FD=1
            1 outer [e1000e] 00:03.0 0+000c0 ICR 0x00000004 LSC=1
        "#]],
    );
}

#[test]
fn what_a_handler_s_thread_reads_is_told_by_the_thread_wherever_it_goes_and_not_by_what_interrupts_it() {
    let What::Access(of_a_tasklet) = read(STATUS, 9) else { unreachable!("it is one") };
    let of_a_tasklet = Access { flags: Flags(Flags::INTERRUPT), ..of_a_tasklet };
    let thread = |cpu, time, what| Event { pid: 80, ..on(cpu, time, what) };
    let events = [
        thread(0, 100, threaded(500)),
        thread(0, 110, handled("e1000_intr", 20)),
        thread(0, 120, read(ICR, 4)),
        thread(0, 150, What::Access(of_a_tasklet)),
        // Of another thread.
        on(0, 160, read(STATUS, 1)),
        thread(1, 170, read(STATUS, 2)),
        thread(1, 700, threaded(100)),
        thread(1, 900, read(STATUS, 3)),
    ];
    causes(
        &events,
        expect![[r#"
            calls handler read first register value fields that are not 0
            1 e1000_intr [e1000e] 00:03.0 0+000c0 ICR 0x00000004 LSC=1
            1 e1000_thread [e1000e] (thread) 00:03.0 0+00008 STATUS 0x00000002 LU=1
            1 e1000_thread [e1000e] (thread) no read of a register in the trace
        "#]],
    );
}

#[test]
fn a_handler_during_which_records_were_lost_is_left_out() {
    let events = [
        on(0, 100, handled("e1000_intr", 50)),
        on(1, 101, handled("e1000_intr", 50)),
        on(0, 110, What::Lost(Lost { count: 1 })),
        on(0, 120, read(STATUS, 1)),
        on(1, 130, read(ICR, 4)),
    ];
    causes(
        &events,
        expect![[r#"
            calls handler read first register value fields that are not 0
            1 e1000_intr [e1000e] 00:03.0 0+000c0 ICR 0x00000004 LSC=1
        "#]],
    );
}

#[test]
fn ports_and_configuration_space_are_read_by_handlers_too() {
    let port = PortAccess {
        direction: Direction::Read,
        port: 0xc044,
        width: 1,
        value: Value::from_u64(0x42, 1),
        flags: Flags(Flags::INTERRUPT),
        place: None,
        ip: 0x10,
        site: site("i801_isr"),
        caller: None,
    };
    let config = config(Direction::Read);
    let events = [
        on(0, 100, handled("i801_isr", 50)),
        on(0, 110, What::Port(port)),
        on(0, 200, handled("other_isr", 50)),
        on(0, 210, config),
    ];
    let report = text(vec![INTERRUPTS(), Source::Port(Ports::default())], &events, 20);
    expect![[r#"
        calls handler read first register value fields that are not 0
        1 i801_isr [e1000e] 00:03.0 2+00004 0x42
        1 other_isr [e1000e] 00:03.0 cfg+006 STATUS 0x0018
    "#]]
    .assert_eq(&block(&report, "read first"));
}

#[test]
fn a_table_of_what_was_read_has_no_more_rows_than_asked_for_and_says_how_many_there_are() {
    let events: Vec<_> = (0..10_000)
        .flat_map(|n| [on(0, n * 100, handled("e1000_intr", 50)), on(0, n * 100 + 10, read(ICR, n))])
        .collect();
    let report = text(vec![INTERRUPTS(), ACCESSES()], &events, 3);
    let table = block(&report, "read first");
    assert_eq!(table.lines().count(), 5, "{table}");
    assert!(table.contains("and 4,094 more rows"), "{table}");
    let report = text(vec![INTERRUPTS(), ACCESSES()], &events, 10_000);
    assert!(block(&report, "read first").contains("\n5,904 all others\n"));
    let table = &report[report.find("       calls  handler  ").unwrap()..];
    assert_aligned(table, &[("handler", "e1000_intr"), ("read first", "00:03.0"), ("register", "ICR")]);
}

#[test]
fn calls_that_are_too_many_to_be_followed_at_once_are_counted() {
    let mut events: Vec<_> = (0..6).map(|n| on(0, 100 + n, handled("e1000_intr", 900))).collect();
    events.push(on(0, 200, read(ICR, 4)));
    let report = text(vec![INTERRUPTS(), ACCESSES()], &events, 20);
    let table = block(&report, "read first");
    assert!(table.ends_with("\n2 calls were not looked at: too many others had not ended\n"), "{table}");
}
