use super::*;
use crate::{Access, Direction, Place, Site, Value, What};
use trapline_abi::{Change, Flags, Way};

/// A read or write of `value` at an offset, by a function and a task.
fn access(time: u64, offset: u64, value: u64, function: &'static str, pid: u32) -> Event<'static> {
    let access = Access {
        direction: if value.is_multiple_of(3) { Direction::Write } else { Direction::Read },
        width: 4,
        value: Value::from_u64(value, 4),
        change: Change::None,
        original: None,
        mapping: 1,
        address: 0x1000 + offset,
        physical: Some(0xfeb0_0000 + offset),
        flags: Flags(0),
        way: Some(Way::Emulate),
        ip: 0x100,
        place: Some(Place { device: "0000:00:03.0", bar: 0, offset, register: None }),
        site: Some(Site { function, offset: 0, module: None }),
    };
    Event { time, cpu: (pid % 4) as u16, pid, tgid: pid, comm: "dd", what: What::Access(access) }
}

fn events(timeline: &Timeline) -> u64 {
    timeline.cells.iter().map(|cell| cell.count).sum()
}

#[test]
fn a_trace_that_fits_is_kept_event_by_event() {
    let (mut timeline, mut texts) = (Timeline::with_limit(100), Texts::default());
    for number in 0..100 {
        timeline.add(&access(number * 7, number % 5 * 4, number, "f", 1), &mut texts);
    }
    timeline.finish();
    assert_eq!((timeline.cells.len(), timeline.slot, timeline.detail), (100, 0, Detail::All));
    assert_eq!(timeline.lanes.len(), 5);
    assert!(timeline.cells.iter().all(|cell| cell.begin == cell.end && cell.count == 1));
}

#[test]
fn equal_reads_that_follow_each_other_on_a_cpu_are_one_cell() {
    let (mut timeline, mut texts) = (Timeline::with_limit(100), Texts::default());
    for time in 0..50 {
        timeline.add(&access(time, 8, 1, "f", 1), &mut texts);
    }
    // Another CPU's does not end the loop, one of the same CPU does.
    timeline.add(&access(50, 4, 1, "f", 2), &mut texts);
    timeline.add(&access(51, 8, 1, "f", 1), &mut texts);
    timeline.add(&access(52, 4, 3, "f", 1), &mut texts);
    timeline.add(&access(53, 8, 1, "f", 1), &mut texts);
    timeline.finish();
    let cells: Vec<_> = timeline.cells.iter().map(|cell| (cell.begin, cell.end, cell.count)).collect();
    assert_eq!(cells, [(0, 51, 51), (50, 50, 1), (52, 52, 1), (53, 53, 1)]);
}

#[test]
fn a_long_trace_is_summed_up_by_time_and_nothing_is_left_out() {
    let (mut timeline, mut texts) = (Timeline::with_limit(8_000), Texts::default());
    for number in 0..200_000 {
        timeline.add(&access(number * 1_000, number % 2 * 4, number % 1_000, "f", 1), &mut texts);
    }
    timeline.finish();
    assert!(timeline.cells.len() <= 8_000 && timeline.cells.len() > 3_000, "{}", timeline.cells.len());
    assert_eq!(events(&timeline), 200_000);
    assert_eq!(timeline.detail, Detail::All);
    assert!(timeline.cells.is_sorted_by_key(|cell| cell.begin));
    let widest = timeline.cells.iter().map(|cell| cell.end - cell.begin).max();
    assert!(widest < Some(1 << timeline.slot), "no cell is longer than a slot: {widest:?}");
    let many = timeline.cells.iter().find(|cell| cell.count > 3).unwrap();
    assert!(many.value.is_some_and(|(last, low, high)| low < high && (low..=high).contains(&last)));
}

#[test]
fn of_too_many_functions_and_tasks_when_is_kept_rather_than_who() {
    let functions: Vec<&'static str> =
        (0..100).map(|number| -> &'static str { format!("f{number}").leak() }).collect();
    let (mut timeline, mut texts) = (Timeline::with_limit(4_000), Texts::default());
    let mut random = 1_u64;
    for number in 0..100_000 {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let function = functions[(random >> 40) as usize % functions.len()];
        let pid = 1 + (random >> 50) as u32 % 100;
        timeline.add(&access(number * 100, 0, number | 1, function, pid), &mut texts);
    }
    timeline.finish();
    assert_eq!(timeline.detail, Detail::NoTasks);
    assert!(timeline.sorts.iter().all(|sort| sort.code.is_none() && sort.task.is_none()));
    assert_eq!(events(&timeline), 100_000);
    assert!(timeline.cells.len() as u64 > SLOTS, "{}", timeline.cells.len());
}

#[test]
fn lanes_are_so_many_and_what_there_is_more_shares_one() {
    let (mut timeline, mut texts) = (Timeline::default(), Texts::default());
    for number in 0..10_000 {
        timeline.add(&access(number, number * 4, 1, "f", 1), &mut texts);
    }
    timeline.finish();
    assert_eq!(timeline.lanes.len(), LANES + 1);
    assert_eq!(texts.text(timeline.lanes[LANES].place), OTHERS);
    let shared =
        timeline.cells.iter().filter(|cell| timeline.sorts[cell.sort as usize].lane as usize == LANES);
    assert_eq!(shared.map(|cell| cell.count).sum::<u64>(), 10_000 - LANES as u64);
}

#[test]
fn times_from_one_end_to_the_other_do_no_harm() {
    let (mut timeline, mut texts) = (Timeline::with_limit(2), Texts::default());
    for time in [u64::MAX, 0, 5, u64::MAX, 1 << 63, 7] {
        timeline.add(&access(time, 0, time | 1, "f", 1), &mut texts);
    }
    // Of one polling loop.
    for time in [9, 3] {
        timeline.add(&access(time, 8, 1, "f", 1), &mut texts);
    }
    timeline.finish();
    assert_eq!(events(&timeline), 8);
    assert!(timeline.cells.iter().all(|cell| cell.begin <= cell.end));
}
