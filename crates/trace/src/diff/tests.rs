//! What counts as a difference, and what does not.

use trapline_abi::{Change, Flags, Way};

use super::*;
use crate::{Access, Device, Direction, Site, Value};

/// An access: direction, offset, value.
type Short = (char, u64, u64);

/// A trace as it is written here: task, flags, accesses.
struct Written<'a> {
    address: &'a str,
    comm: &'a str,
    flags: u8,
    accesses: &'a [Short],
}

fn event<'a>(time: u64, written: &Written<'a>, (op, offset, value): Short) -> Event<'a> {
    let what = What::Access(Access {
        direction: if op == 'R' { Direction::Read } else { Direction::Write },
        width: 4,
        value: Value::from_u64(value, 4),
        change: Change::None,
        original: None,
        mapping: 1,
        address: 0xffff_c900_0000_0000 + offset,
        physical: Some(0xfeb8_0000 + offset),
        flags: Flags(written.flags),
        way: Some(Way::Emulate),
        ip: 0xffff_ffff_c000_0000,
        place: Some(Place {
            device: written.address,
            bar: 0,
            offset,
            register: (offset == 8).then_some("STATUS"),
        }),
        site: Some(Site { function: "e1000_probe", offset: 4, module: Some("e1000e") }),
    });
    Event { time, cpu: 0, pid: 7, tgid: 7, comm: written.comm, what }
}

fn header(address: &str) -> Header {
    let device = Device { address: address.into(), vendor: 0x8086, device: 0x10d3, ..Device::default() };
    Header { devices: vec![device], ..Header::default() }
}

const HERE: &str = "0000:00:03.0";

fn by<'a>(comm: &'a str, accesses: &'a [Short]) -> Written<'a> {
    Written { address: HERE, comm, flags: 0, accesses }
}

/// The pair of two traces, each of parts that follow each other.
fn pair(traces: [&[Written<'_>]; 2]) -> Pair {
    let address = |trace: &[Written<'_>]| trace.first().map_or(HERE, |part| part.address).to_owned();
    let mut pair = Pair::new(&header(&address(traces[0])), &header(&address(traces[1])));
    for (side, trace) in [Side::A, Side::B].into_iter().zip(traces) {
        let mut time = 1_000 * (1 + side as u64);
        for part in trace {
            for access in part.accesses {
                pair.add(side, &event(time, part, *access));
                time += 10;
            }
        }
    }
    pair
}

/// What differs, as `-R 8=1`, `+W 0=2`, `~W 0=1>2`.
fn told(traces: [&[Written<'_>]; 2]) -> Vec<String> {
    let pair = pair(traces);
    let diff = Diff::new(&pair);
    let step = |side: Side, number: usize| {
        let step = pair.step(side, number);
        let steps::Spot::Device { offset, .. } = pair.key(step).spot else { panic!("it is of a device") };
        let steps::StepValue::Number(value) = step.value else { panic!("it is a number") };
        (format!("{} {offset:x}=", pair.key(step).direction.letter()), value)
    };
    let tell = |difference: &Difference| match *difference {
        Difference::Only(side, number) => {
            let (text, value) = step(side, number);
            format!("{}{text}{value:x}", if side == Side::A { '-' } else { '+' })
        }
        Difference::Value(a, b) => {
            let ((text, a), (_, b)) = (step(Side::A, a), step(Side::B, b));
            format!("~{text}{a:x}>{b:x}")
        }
    };
    diff.differences().iter().map(tell).collect()
}

fn alone(a: &[Short], b: &[Short]) -> Vec<String> {
    told([&[by("modprobe", a)], &[by("modprobe", b)]])
}

const NOTHING: [String; 0] = [];

#[test]
fn the_same_work_has_no_difference_however_long_it_polled() {
    let polled = |reads: usize| {
        let mut all = vec![('W', 0, 1)];
        all.extend((0..reads).map(|_| ('R', 8, 0)));
        all.extend([('R', 8, 1), ('W', 0x10, 2)]);
        all
    };
    assert_eq!(alone(&polled(3), &polled(3)), NOTHING);
    assert_eq!(alone(&polled(3), &polled(4000)), NOTHING);
    assert_eq!(alone(&polled(3), &polled(0)), NOTHING);
    assert_eq!(alone(&[], &[]), NOTHING);
}

#[test]
fn a_poll_that_ended_with_another_value_is_told() {
    assert_eq!(alone(&[('R', 8, 0), ('R', 8, 1)], &[('R', 8, 0), ('R', 8, 3)]), ["~R 8=1>3"]);
}

#[test]
fn one_more_write_among_many_to_one_register_is_that_one_and_no_other() {
    let a: Vec<Short> = (0..100).map(|value| ('W', 0x20, value)).collect();
    let mut b = a.clone();
    b.insert(50, ('W', 0x20, 0xbad));
    assert_eq!(alone(&a, &b), ["+W 20=bad"]);
    assert_eq!(alone(&b, &a), ["-W 20=bad"]);
    b[50] = a[50];
    b[51] = ('W', 0x20, 0xbad);
    b.remove(50);
    assert_eq!(alone(&a, &b), ["~W 20=32>bad"]);
}

#[test]
fn what_only_one_did_and_what_has_another_value_are_told_in_the_order_of_time() {
    let a = [('W', 0, 1), ('R', 8, 5), ('W', 4, 4), ('W', 0x10, 1), ('W', 0x14, 9)];
    let b = [('W', 0, 2), ('R', 8, 5), ('W', 0x10, 1), ('W', 0x18, 7), ('W', 0x14, 9)];
    assert_eq!(alone(&a, &b), ["~W 0=1>2", "-W 4=4", "+W 18=7"]);
}

#[test]
fn how_tasks_and_interrupts_took_turns_is_no_difference() {
    let (first, second) = ([('W', 0, 1), ('W', 4, 2)], [('W', 0x20, 3), ('W', 0x24, 4)]);
    let interrupt = || Written { flags: Flags::INTERRUPT, ..by("modprobe", &[('R', 0xc0, 1)]) };
    let a = [by("modprobe", &first), interrupt(), by("kworker/0:1", &second)];
    let b = [
        by("kworker/3:0", &second[..1]),
        by("modprobe", &first),
        by("kworker/1:7", &second[1..]),
        interrupt(),
    ];
    assert_eq!(told([&a, &b]), NOTHING);
}

#[test]
fn the_order_within_a_task_is_a_difference() {
    assert_eq!(alone(&[('W', 0, 1), ('W', 4, 2)], &[('W', 4, 2), ('W', 0, 1)]).len(), 2);
}

#[test]
fn work_by_a_task_of_another_name_is_compared_still() {
    let work = [('W', 0, 1), ('W', 4, 2)];
    assert_eq!(told([&[by("modprobe", &work)], &[by("(udev-worker)", &work)]]), NOTHING);
}

#[test]
fn a_device_that_moved_is_known_by_its_ids() {
    let work = [('W', 0, 1)];
    let moved = Written { address: "0000:05:00.0", ..by("modprobe", &work) };
    assert_eq!(told([&[by("modprobe", &work)], &[moved]]), NOTHING);
}

#[test]
fn two_traces_without_a_common_device_have_no_common_ground() {
    let work = [('W', 0, 1)];
    let mut pair = Pair::new(&Header::default(), &Header::default());
    pair.add(Side::A, &event(1, &by("dd", &work), work[0]));
    let elsewhere = Written { address: "0000:00:04.0", ..by("dd", &work) };
    pair.add(Side::B, &event(1, &elsewhere, work[0]));
    assert!(!pair.have_common_ground());
    assert_eq!((pair.devices(Side::A), pair.devices(Side::B)), (vec![HERE], vec!["0000:00:04.0"]));
    pair.add(Side::B, &event(2, &by("dd", &work), work[0]));
    assert!(pair.have_common_ground());
}

#[test]
fn names_of_registers_do_not_make_a_difference() {
    let mut pair = Pair::new(&header(HERE), &header(HERE));
    let part = by("dd", &[]);
    pair.add(Side::A, &event(1, &part, ('R', 8, 1)));
    let mut unnamed = event(1, &part, ('R', 8, 1));
    if let What::Access(access) = &mut unnamed.what {
        access.place = access.place.map(|place| Place { register: None, ..place });
    }
    pair.add(Side::B, &unnamed);
    assert_eq!(Diff::new(&pair).differences(), []);
}

#[test]
fn two_long_traces_that_have_little_in_common_are_compared_in_time() {
    let long = |seed: u64| -> Vec<Short> {
        let mut random = seed;
        (0..20_000)
            .map(|_| {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                ('W', (random >> 40) % 64 * 4, (random >> 50) % 1000)
            })
            .collect()
    };
    assert!(alone(&long(1), &long(2)).len() > 10_000);
}
