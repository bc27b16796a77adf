//! Traces are written and read back as Perfetto's trace processor does it: packets in the order of
//! the file tell of names and tracks; events are put in order by time; on each track slices nest.

use std::collections::BTreeMap;

use prost::Message;
use trapline_abi::{Change, ErrorCode, Flags, Way};

use super::proto::{TracePacket, TrackDescriptor, Type};
use super::*;
use crate::{Access, Device, Direction, Lost, Mark, PageFault, Place, Registers, Site, Value, What};

/// `trace.proto`, whose packets are written one by one.
#[derive(Clone, PartialEq, Message)]
struct Trace {
    #[prost(message, repeated, tag = "1")]
    packet: Vec<TracePacket>,
}

/// A slice, or an instant, which takes no time.
#[derive(Debug)]
struct Slice {
    track: u64,
    name: String,
    time: u64,
    took: u64,
    arguments: Vec<(String, String)>,
}

/// What trace processor would have in its tables.
#[derive(Debug, Default)]
struct Loaded {
    tracks: BTreeMap<u64, TrackDescriptor>,
    slices: Vec<Slice>,
    /// Track, time and value.
    counters: Vec<(u64, u64, i64)>,
    /// Names and times of the slices that an arrow leads from and to.
    arrows: Vec<(String, u64, String, u64)>,
}

impl Loaded {
    fn new(bytes: &[u8]) -> Self {
        let (mut loaded, mut names) = (Self::default(), [const { BTreeMap::<u64, String>::new() }; 3]);
        let mut events = Vec::new();
        for packet in Trace::decode(bytes).expect("it is a trace").packet {
            assert_eq!(packet.trusted_packet_sequence_id, Some(1));
            if let Some(data) = packet.interned_data {
                let new =
                    [data.event_names, data.debug_annotation_names, data.debug_annotation_string_values];
                for (names, new) in names.iter_mut().zip(new) {
                    names.extend(new.into_iter().map(|one| (one.iid.unwrap(), one.text.unwrap())));
                }
            }
            if let Some(track) = packet.track_descriptor {
                assert!(track.parent_uuid.is_none_or(|parent| loaded.tracks.contains_key(&parent)));
                assert!(loaded.tracks.insert(track.uuid.unwrap(), track).is_none(), "told once");
            }
            if let Some(event) = packet.track_event {
                let (time, track) = (packet.timestamp.unwrap(), event.track_uuid.unwrap());
                assert!(loaded.tracks.contains_key(&track), "a track is told of before its events");
                let name = event.name.clone().or(event.name_iid.map(|iid| names[0][&iid].clone()));
                let arguments = event.debug_annotations.iter().map(|argument| {
                    let texts = [
                        argument.pointer_value.map(|value| format!("{value:#x}")),
                        argument.uint_value.map(|value| value.to_string()),
                        argument.string_value_iid.map(|iid| names[2][&iid].clone()),
                        argument.string_value.clone(),
                    ];
                    (
                        names[1][&argument.name_iid.unwrap()].clone(),
                        texts.into_iter().flatten().next().unwrap(),
                    )
                });
                let arguments = arguments.collect();
                let (kind, value) = (event.r#type.unwrap(), event.counter_value);
                let (begins, ends) = (event.flow_ids, event.terminating_flow_ids);
                events.push((time, track, kind, name, value, arguments, begins, ends));
            }
        }
        events.sort_by_key(|event| event.0);
        let mut begun = BTreeMap::new();
        for (time, _, _, name, _, _, begins, ends) in &events {
            for flow in begins {
                assert!(
                    begun.insert(*flow, (name.clone().unwrap(), *time)).is_none(),
                    "one number, one arrow"
                );
            }
            for flow in ends {
                let (from, since) = begun.remove(flow).expect("an arrow has begun before it ends");
                loaded.arrows.push((from, since, name.clone().unwrap(), *time));
            }
        }
        let mut open = BTreeMap::<u64, Vec<usize>>::new();
        for (time, track, kind, name, counter, arguments, ..) in events {
            match Type::try_from(kind).unwrap() {
                Type::Counter => loaded.counters.push((track, time, counter.unwrap())),
                Type::Instant => {
                    loaded.slices.push(Slice { track, name: name.unwrap(), time, took: 0, arguments });
                }
                Type::SliceBegin => {
                    open.entry(track).or_default().push(loaded.slices.len());
                    loaded.slices.push(Slice { track, name: name.unwrap(), time, took: u64::MAX, arguments });
                }
                Type::SliceEnd => {
                    let slice = open.get_mut(&track).and_then(Vec::pop).expect("a slice is open");
                    loaded.slices[slice].took = time - loaded.slices[slice].time;
                }
                Type::Unspecified => panic!("what is it?"),
            }
        }
        assert!(open.values().all(Vec::is_empty), "every slice ends");
        loaded
    }

    /// What a track is called, behind what it is below.
    fn track(&self, uuid: u64) -> String {
        let track = &self.tracks[&uuid];
        let parent = track.parent_uuid.map(|parent| self.track(parent) + " / ").unwrap_or_default();
        let thread = track.thread.as_ref();
        let thread =
            thread.map(|thread| format!("{}-{}", thread.thread_name.as_ref().unwrap(), thread.tid.unwrap()));
        parent + &track.name.clone().or(thread).unwrap()
    }

    /// Slices and instants of a track, as name, time, duration.
    fn on(&self, track: &str) -> Vec<(&str, u64, u64)> {
        let of = self.slices.iter().filter(|slice| self.track(slice.track) == track);
        of.map(|slice| (slice.name.as_str(), slice.time, slice.took)).collect()
    }
}

fn event(time: u64, cpu: u16, pid: u32, what: What<'static>) -> Event<'static> {
    let comm = if pid == 7 { "dd" } else { "modprobe" };
    Event { time, cpu, pid, tgid: pid, comm, what }
}

fn access(direction: Direction, offset: u64, value: u64) -> What<'static> {
    let register =
        [(0x8, "STATUS"), (0, "CTRL")].into_iter().find(|(at, _)| *at == offset).map(|(_, name)| name);
    What::Access(Access {
        direction,
        width: 4,
        value: Value::from_u64(value, 4),
        change: Change::None,
        original: None,
        mapping: 1,
        address: 0xffff_c900_0000_0000 + offset,
        physical: Some(0xfeb8_0000 + offset),
        flags: Flags(0),
        way: Some(Way::Emulate),
        ip: 0xffff_ffff_c000_0000,
        place: Some(Place { device: "0000:00:03.0", bar: 0, offset, register }),
        site: Some(Site { function: "e1000_probe", offset: 4, module: Some("e1000e") }),
    })
}

fn fault(took: Option<u64>) -> What<'static> {
    What::Fault(PageFault {
        address: 0x7fff_0000,
        error_code: ErrorCode(6),
        ip: 0x40_1000,
        stack: 0,
        flags: Flags(0),
        took,
        memory: None,
        site: None,
    })
}

fn load(events: &[Event<'_>], totals: &Totals) -> Loaded {
    load_with(Names::default(), events, totals)
}

fn load_with(names: Names, events: &[Event<'_>], totals: &Totals) -> Loaded {
    let mut bytes = Vec::new();
    let mut sink = Perfetto::new(&mut bytes).with_answers(names);
    events.iter().for_each(|event| sink.event(event).unwrap());
    sink.end(totals).unwrap();
    assert_eq!(sink.kept(), events.len() as u64);
    drop(sink);
    Loaded::new(&bytes)
}

#[test]
fn an_access_is_on_the_tracks_of_its_register_its_task_and_its_cpu() {
    let events = [
        event(10, 1, 311, access(Direction::Write, 0, 0x240)),
        event(20, 1, 311, access(Direction::Read, 0x20, 5)),
    ];
    let loaded = load(&events, &Totals::default());
    assert_eq!(loaded.on("0000:00:03.0 / CTRL 0+00000"), [("W CTRL", 10, 0)]);
    assert_eq!(loaded.on("0000:00:03.0 / 0+00020"), [("R 0+00020", 20, 0)]);
    for track in ["modprobe-311", "CPUs / CPU 1"] {
        assert_eq!(loaded.on(track), [("W CTRL", 10, 0), ("R 0+00020", 20, 0)]);
    }
    let text = |text: &str| text.to_owned();
    let arguments = [
        (text("value"), text("0x240")),
        (text("width"), text("4")),
        (text("function"), text("e1000_probe+0x4 [e1000e]")),
        (text("task"), text("modprobe-311")),
    ];
    assert_eq!(loaded.slices[0].arguments, arguments);
    // What is said once is not said on every track.
    assert_eq!(loaded.slices[1].arguments, arguments[..1]);
}

#[test]
fn a_polling_loop_is_one_slice_and_two_at_once_on_one_register_do_not_overlap_on_a_track() {
    let mut events = Vec::new();
    for number in 0..4000 {
        events.push(event(1000 + 100 * number, 0, 7, access(Direction::Read, 0x8, 1)));
        if (1000..3000).contains(&number) {
            events.push(event(1050 + 100 * number, 1, 311, access(Direction::Read, 0x8, 1)));
        }
    }
    events.push(event(401_000, 0, 7, access(Direction::Read, 0x8, 3)));
    let loaded = load(&events, &Totals::default());
    let whole = ("poll STATUS", 1000, 399_900);
    let inner = ("poll STATUS", 101_050, 199_900);
    let last = ("R STATUS", 401_000, 0);
    assert_eq!(loaded.on("dd-7"), [whole, last]);
    assert_eq!(loaded.on("CPUs / CPU 0"), [whole, last]);
    assert_eq!(loaded.on("modprobe-311"), [inner]);
    assert_eq!(loaded.on("0000:00:03.0 / STATUS 0+00008"), [whole, inner, last]);
    let on_register =
        |slice: &&Slice| slice.name == "poll STATUS" && loaded.track(slice.track).contains("STATUS");
    let polls: Vec<_> = loaded.slices.iter().filter(on_register).collect();
    assert_ne!(polls[0].track, polls[1].track, "each has a track of its own");
    let reads: Vec<_> = polls.iter().map(|slice| slice.arguments.last().unwrap().1.as_str()).collect();
    assert_eq!(reads, ["4000", "2000"]);
}

#[test]
fn a_counter_has_each_value_of_a_register_when_it_changes() {
    let values = [1, 1, 1, 2, 2, 1];
    let events: Vec<_> = (0..)
        .zip(values)
        .map(|(number, value)| {
            event(10 * number, (number % 2) as u16, 7, access(Direction::Read, 0x8, value))
        })
        .collect();
    let loaded = load(&events, &Totals::default());
    let counters: Vec<_> = loaded.counters.iter().map(|(_, time, value)| (*time, *value)).collect();
    assert_eq!(counters, [(0, 1), (30, 2), (50, 1)]);
    assert_eq!(loaded.track(loaded.counters[0].0), "0000:00:03.0 / STATUS 0+00008 value");
}

/// A card whose `TDT` is answered by `ICR`, and `MDIC` by itself.
fn card() -> Names {
    let device =
        Device { address: "0000:00:03.0".into(), vendor: 0x8086, device: 0x10d3, ..Device::default() };
    Names::new(&[device], &Registers::shipped(), None)
}

#[test]
fn an_arrow_leads_from_a_doorbell_to_its_answer_unless_nobody_can_tell_which_it_answers() {
    let (tdt, icr, mdic) = (0x3818, 0xc0, 0x20);
    let write = |time, offset| event(time, 0, 7, access(Direction::Write, offset, time));
    let read = |time, offset, value| event(time, 1, 311, access(Direction::Read, offset, value));
    let events = [
        read(1, icr, 0),
        write(10, tdt),
        write(15, 0),
        // Equal to the read before: still an answer, and not a part of a polling loop.
        read(20, icr, 0),
        read(25, icr, 0),
        // Two for one answer.
        write(30, tdt),
        write(31, tdt),
        read(40, icr, 1),
        // Of another queue, and answered by the same register.
        write(50, tdt + 0x100),
        read(60, icr, 2),
        // Read until it tells the answer.
        write(70, mdic),
        read(71, mdic, 0),
        read(72, mdic, 0),
        read(73, mdic, 1),
        // Never answered.
        write(80, tdt),
    ];
    let loaded = load_with(card(), &events, &Totals::default());
    let arrow = |from: &str, since, to: &str, at| (from.to_owned(), since, to.to_owned(), at);
    let expected = [
        arrow("W 0+03818", 10, "poll 0+000c0", 20),
        arrow("W 0+03918", 50, "R 0+000c0", 60),
        arrow("W 0+00020", 70, "poll 0+00020", 71),
    ];
    assert_eq!(loaded.arrows, expected);
    assert_eq!(load(&events, &Totals::default()).arrows, [], "no register file, no arrows");
}

#[test]
fn tables_have_as_many_rows_as_there_are_events_tracks_and_changes() {
    let count = 5_000_u64;
    let events: Vec<_> = (0..count)
        .map(|number| {
            let offset = 0x100 + number % 50 * 4;
            let what = access(Direction::Write, offset, number);
            event(number, (number % 4) as u16, if number % 3 == 0 { 7 } else { 311 }, what)
        })
        .collect();
    let loaded = load(&events, &Totals::default());
    // Each access is on its register's, its task's and its CPU's track, and each changes a value.
    assert_eq!(loaded.slices.len() as u64, 3 * count);
    assert_eq!(loaded.counters.len() as u64, count);
    // The device, 50 registers and their values, two tasks, four CPUs below one track.
    assert_eq!(loaded.tracks.len(), 1 + 50 + 50 + 2 + 4 + 1);
}

#[test]
fn a_fault_lasts_on_its_tasks_track_and_is_an_instant_on_that_of_its_cpu() {
    // The first task waits for its page, meanwhile another one has a fault on the same CPU; in the
    // second one's fault comes another.
    let events = [
        event(100, 0, 7, fault(Some(10_000))),
        event(200, 0, 311, fault(Some(50_000))),
        event(300, 0, 311, fault(Some(100))),
        event(60_000, 0, 311, fault(None)),
    ];
    let loaded = load(&events, &Totals::default());
    assert_eq!(loaded.on("dd-7"), [("not-present", 100, 10_000)]);
    let second = [("not-present", 200, 50_000), ("not-present", 300, 100), ("not-present", 60_000, 0)];
    assert_eq!(loaded.on("modprobe-311"), second);
    assert_eq!(loaded.on("CPUs / CPU 0").iter().filter(|slice| slice.2 == 0).count(), 4);
}

#[test]
fn markers_and_lost_records_are_seen() {
    let events = [
        event(1, 0, 7, What::Mark(Mark { text: "link up".into() })),
        event(2, 0, 7, What::Lost(Lost { count: 3 })),
    ];
    let loaded = load(&events, &Totals { dropped: 5, ..Totals::default() });
    assert_eq!(
        loaded.on("Markers"),
        [("link up", 1, 0), ("LOST records", 2, 0), ("LOST 2 more records", 2, 0)]
    );
}

#[test]
fn what_is_written_grows_with_events_and_what_is_kept_does_not() {
    let mut sink = Perfetto::new(io::sink());
    for number in 0..100_000 {
        let what = access(Direction::Write, number % 64, number);
        sink.event(&event(number, (number % 4) as u16, 7, what)).unwrap();
        assert!(sink.sequence.bytes.len() < 2 * BUFFER);
    }
    assert!(sink.kept() > 90_000);
}

#[test]
fn a_trace_that_was_cut_off_has_its_last_polling_loop() {
    let mut bytes = Vec::new();
    let mut sink = Perfetto::new(&mut bytes);
    for time in 0..3 {
        sink.event(&event(time, 0, 7, access(Direction::Read, 0x8, 1))).unwrap();
    }
    sink.cut().unwrap();
    drop(sink);
    assert_eq!(Loaded::new(&bytes).on("dd-7"), [("poll STATUS", 0, 2)]);
}
