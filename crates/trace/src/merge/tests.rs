use std::convert::Infallible;
use std::time::Duration;

use trapline_abi::{AccessPayload, FaultPayload, Kind, MapPayload, Record, ServedPayload, TaskPayload};

use super::*;

fn record(kind: Kind, cpu: u16, time: u64, payload: [u64; 4]) -> Record {
    Record { kind: kind as u8, cpu, time, payload, task: 5, ..Record::EMPTY }
}

fn access(cpu: u16, time: u64) -> Record {
    let payload = AccessPayload { address: 0x1008, ip: 0x42, value: [time, 0] };
    Record { width: 4, mapping: 1, ..record(Kind::Access, cpu, time, payload.to_words()) }
}

const EVER: Duration = Duration::from_secs(3600);

/// Time and CPU of what a round releases.
fn released(merge: &mut Merge) -> Vec<(u64, u16)> {
    let mut out = Vec::new();
    let Ok(()) = merge.release(|event| {
        out.push((event.time, event.cpu));
        Ok::<_, Infallible>(())
    });
    out
}

/// What everything that is left comes to, as text.
fn finished(merge: &mut Merge) -> Vec<String> {
    let mut out = Vec::new();
    let Ok(()) = merge.finish(|event| {
        out.push(format!("{event:?}"));
        Ok::<_, Infallible>(())
    });
    out
}

#[test]
fn events_of_all_cpus_come_out_in_the_order_of_time() {
    let mut merge = Merge::new(2);
    merge.push(0, &[access(0, 1), access(0, 4), access(0, 6)], true);
    merge.push(1, &[access(1, 2), access(1, 3), access(1, 9)], true);
    let mut all = released(&mut merge);
    merge.push(0, &[], true);
    merge.push(1, &[], true);
    all.extend(released(&mut merge));
    assert_eq!(all, [(1, 0), (2, 1), (3, 1), (4, 0), (6, 0), (9, 1)]);
    assert_eq!(merge.late(), 0);
}

#[test]
fn a_cpu_that_still_has_records_holds_back_what_is_newer_than_them() {
    let mut merge = Merge::new(2);
    merge.push(0, &[access(0, 1), access(0, 5)], false);
    merge.push(1, &[access(1, 3), access(1, 8)], true);
    assert_eq!(released(&mut merge), [(1, 0), (3, 1), (5, 0)]);
    merge.push(0, &[access(0, 7)], true);
    merge.push(1, &[], true);
    assert_eq!(released(&mut merge), [(7, 0), (8, 1)]);
}

#[test]
fn a_quiet_cpu_holds_back_nothing_for_longer_than_a_round() {
    let mut merge = Merge::new(2);
    merge.push(0, &[access(0, 5)], true);
    merge.push(1, &[], true);
    assert_eq!(released(&mut merge), []);
    merge.push(0, &[], true);
    merge.push(1, &[], true);
    assert_eq!(released(&mut merge), [(5, 0)]);
}

#[test]
fn an_event_that_comes_too_late_is_released_and_counted() {
    let mut merge = Merge::new(2);
    merge.push(0, &[access(0, 9)], true);
    released(&mut merge);
    merge.push(0, &[], true);
    assert_eq!(released(&mut merge), [(9, 0)]);
    merge.push(0, &[], true);
    merge.push(1, &[access(1, 4)], true);
    assert_eq!(released(&mut merge), [(4, 1)]);
    assert_eq!(merge.late(), 1);
}

/// Rounds in which CPU 0 gives `batch` records each and CPU 1 never ends the one it is in the
/// middle of. What all of them release, and the most that was held after one.
fn with_a_cpu_that_looks_busy(merge: &mut Merge, rounds: u64, batch: u64) -> (Vec<(u64, u16)>, usize) {
    let (mut out, mut held) = (Vec::new(), 0);
    merge.push(1, &[access(1, 0)], false);
    for round in 0..rounds {
        let first = 1 + round * batch;
        let records: Vec<_> = (first..first + batch).map(|time| access(0, time)).collect();
        merge.push(0, &records, true);
        merge.push(1, &[], false);
        out.extend(released(merge));
        held = held.max(merge.held());
    }
    (out, held)
}

#[test]
fn a_cpu_that_looks_busy_for_ever_lets_no_more_be_held_than_the_bounds_allow() {
    let mut merge =
        Merge::new(2).with_bounds(Bounds { wait: EVER, ends: EVER, records: 1000, waiting: 1000 });
    let (mut out, held) = with_a_cpu_that_looks_busy(&mut merge, 100, 100);
    assert_eq!(held, 1000);
    assert!(out.is_sorted() && out.len() as u64 == 1 + 100 * 100 - 1000, "{} released", out.len());
    assert_eq!(merge.late(), 0, "nothing has come late yet");
    // It ends its record after all, and is empty then: all is released, and what is late counted.
    merge.push(0, &[], true);
    merge.push(1, &[access(1, 17), access(1, 9500)], true);
    out.extend(released(&mut merge));
    assert_eq!((merge.late(), merge.held()), (1, 0));
    out.sort_unstable();
    let mut all: Vec<_> = (1..=100 * 100).map(|time| (time, 0)).collect();
    all.extend([(0, 1), (17, 1), (9500, 1)]);
    all.sort_unstable();
    assert_eq!(out, all, "nothing is left out, and nothing told twice");
}

#[test]
fn a_cpu_that_looks_busy_for_longer_than_the_bounds_allow_holds_back_nothing() {
    let bounds = Bounds { wait: Duration::ZERO, ends: EVER, records: usize::MAX, waiting: usize::MAX };
    let mut merge = Merge::new(2).with_bounds(bounds);
    let (out, _) = with_a_cpu_that_looks_busy(&mut merge, 3, 100);
    // As with an empty ring: what a round brings is released in the next.
    assert_eq!((out.len(), merge.held()), (1 + 200, 100));
    let mut merge = Merge::new(2).with_bounds(Bounds { wait: EVER, ..bounds });
    let (out, _) = with_a_cpu_that_looks_busy(&mut merge, 3, 100);
    assert_eq!(out, [(0, 1)], "until then it holds back all that is newer than what it gave");
    // A ring that gives records is not in the middle of one, however long it has more.
    let mut merge = Merge::new(2).with_bounds(bounds);
    merge.push(0, &[access(0, 9)], true);
    merge.push(1, &[access(1, 4)], false);
    assert_eq!(released(&mut merge), [(4, 1)]);
    merge.push(0, &[], true);
    merge.push(1, &[access(1, 5)], false);
    assert_eq!(released(&mut merge), [(5, 1)]);
}

#[test]
fn faults_that_wait_for_their_ends_are_bounded_too() {
    let mut merge = Merge::new(1).with_latency().with_bounds(Bounds {
        wait: EVER,
        ends: EVER,
        records: 1000,
        waiting: 1000,
    });
    let fault = FaultPayload { address: 0x1000, ip: 0, error_code: 6, process: 5, stack: 0 };
    let mut records = vec![record(Kind::Fault, 0, 1, fault.to_words())];
    records.extend((2..=5000).map(|time| access(0, time)));
    merge.push(0, &records, true);
    let mut out = Vec::new();
    for _ in 0..2 {
        out.extend(released(&mut merge));
        assert!(merge.held() <= 1000, "{} held", merge.held());
        merge.push(0, &[], true);
    }
    assert_eq!(out, (1..=5000).map(|time| (time, 0)).collect::<Vec<_>>());
}

#[test]
fn a_fault_whose_end_is_in_the_same_round_has_its_time_however_late_the_reader_comes() {
    let bounds = Bounds { wait: EVER, ends: Duration::ZERO, records: 1000, waiting: 1000 };
    let mut merge = Merge::new(1).with_latency().with_bounds(bounds);
    let fault = FaultPayload { address: 0x1000, ip: 0, error_code: 6, process: 5, stack: 0 };
    let served = ServedPayload { address: 0x1000, result: 0 };
    let end = record(Kind::Served, 0, 7, served.to_words());
    let records = [record(Kind::Fault, 0, 1, fault.to_words()), access(0, 2), end];
    merge.push(0, &records, true);
    let events = finished(&mut merge);
    assert!(events[0].contains("took: Some(6)"), "{events:?}");
}

#[test]
fn equal_times_and_times_that_go_back_keep_the_order_of_their_cpu() {
    let mut merge = Merge::new(1);
    let mut records = [access(0, 5), access(0, 3), access(0, 5)];
    for (number, record) in records.iter_mut().enumerate() {
        record.payload[2] = number as u64;
    }
    merge.push(0, &records, true);
    let values: Vec<_> = finished(&mut merge)
        .iter()
        .map(|event| event.split("value: Some(").nth(1).unwrap()[9..10].to_owned())
        .collect();
    assert_eq!(values, ["0", "1", "2"]);
}

#[test]
fn a_task_names_the_records_after_it_and_a_mapping_gives_their_physical_address() {
    let mut merge = Merge::new(1);
    let task = TaskPayload { name: *b"modprobe\0\0\0\0\0\0\0\0", process: 4 };
    let map = MapPayload { address: 0x1000, physical: 0xfeb0_0000, length: 0x100, caller: 0x77 };
    let map = Record { mapping: 1, ..record(Kind::Map, 0, 2, map.to_words()) };
    merge.push(0, &[record(Kind::Task, 0, 1, task.to_words()), map, access(0, 3)], true);
    let events = finished(&mut merge);
    assert_eq!(events.len(), 2);
    assert!(events[1].contains("pid: 5, tgid: 4, comm: \"modprobe\""), "{}", events[1]);
    assert!(events[1].contains(&format!("physical: Some({})", 0xfeb0_0008_u64)), "{}", events[1]);
}

#[test]
fn idle_tasks_of_two_cpus_are_told_apart() {
    let mut merge = Merge::new(2);
    for cpu in 0..2 {
        let mut name = *b"swapper/0\0\0\0\0\0\0\0";
        name[8] += cpu as u8;
        let task = TaskPayload { name, process: 0 };
        let task = Record { task: 0, ..record(Kind::Task, cpu, 1, task.to_words()) };
        merge.push(usize::from(cpu), &[task, Record { task: 0, ..access(cpu, 2) }], true);
    }
    let events = finished(&mut merge);
    assert!(events[0].contains("swapper/0") && events[1].contains("swapper/1"), "{events:?}");
}

#[test]
fn a_value_wider_than_a_record_is_put_together_again() {
    let mut merge = Merge::new(1);
    let first = Record { width: 64, more: 2, ..access(0, 1) };
    let more = |word: u64| record(Kind::More, 0, 1, [word; 4]);
    merge.push(0, &[first, more(0xaaaa_aaaa_aaaa_aaaa)], true);
    assert_eq!(merge.lanes[0].first(), None, "an access whose continuation is missing waits for it");
    merge.push(0, &[more(0xbbbb_bbbb_bbbb_bbbb)], true);
    let events = finished(&mut merge);
    let value = format!("value: Some(0x{}{}{:032x})", "bb".repeat(16), "aa".repeat(32), 1);
    assert!(events[0].contains(&value), "{}", events[0]);
}

#[test]
fn a_value_whose_continuation_never_comes_is_not_known() {
    let mut merge = Merge::new(1);
    merge.push(0, &[Record { width: 32, more: 1, ..access(0, 1) }], true);
    assert!(finished(&mut merge)[0].contains("value: None"));
}

#[test]
fn a_marker_is_read_with_its_continuation_and_in_its_length() {
    let mut merge = Merge::new(1);
    let text = "link is up now, says the person at the keyboard";
    let mut words = [0; 8];
    for (word, bytes) in words.iter_mut().zip(text.as_bytes().chunks(8)) {
        let mut all = [0; 8];
        all[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_le_bytes(all);
    }
    let [a, b, c, d, e, f, g, h] = words;
    let first = Record { width: text.len() as u8, more: 1, ..record(Kind::Mark, 0, 1, [a, b, c, d]) };
    merge.push(0, &[first, record(Kind::More, 0, 1, [e, f, g, h])], true);
    assert!(finished(&mut merge)[0].contains(&format!("Mark {{ text: {text:?} }}")));
}

#[test]
fn what_was_lost_and_what_may_have_been_missed_are_events_too() {
    let mut merge = Merge::new(1);
    merge.push(
        0,
        &[record(Kind::Lost, 0, 1, [17, 0, 0, 0]), record(Kind::Window, 0, 2, [0x1000, 900, 0, 0])],
        true,
    );
    let events = finished(&mut merge);
    assert!(events[0].contains("Lost { count: 17 }") && events[1].contains("nanoseconds: 900"), "{events:?}");
}

#[test]
fn a_record_that_makes_no_sense_is_counted_and_left_out() {
    let mut merge = Merge::new(1);
    let strange = [
        Record { kind: 77, ..access(0, 1) },
        Record { way: 9, ..access(0, 2) },
        record(Kind::More, 0, 3, [0; 4]),
        access(0, 4),
    ];
    merge.push(0, &strange, true);
    assert_eq!(finished(&mut merge).len(), 1);
    assert_eq!(merge.malformed(), 3);
}
