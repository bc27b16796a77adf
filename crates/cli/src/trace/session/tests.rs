//! A session with a module and rings in memory: everything but the kernel.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::io::Errno;
use trapline_abi::{AccessPayload, Flags, HitPayload, Info, Kind, MapPayload, Record, TaskPayload};
use trapline_trace::{Event, Header, JsonLines, Names, Registers, Sink, Totals};

use super::*;
use crate::device::fake::Module;
use crate::output::{Busy, Output};
use crate::trace::pump::tests::Queue;
use crate::trace::waiting::{Waiting, deadline};
use crate::trace::writer::{Finished, Stopped};

/// A module with a ring, into which it puts one last record while it stops.
fn module_of(ring: &Queue, windows: u64) -> Module {
    let ring = ring.clone();
    let stop = move || {
        ring.push(read(99));
        Counters { accesses: [ring.len() as u64, 0, 0], windows, ..Counters::default() }
    };
    Module { on_stop: Some(Box::new(stop)), ..Module::default() }
}

fn map(time: u64) -> Record {
    let payload =
        MapPayload { address: 0xffff_c900_0000_0000, physical: 0xfebc_0000, length: 0x1000, caller: 0 };
    Record { time, kind: Kind::Map as u8, mapping: 1, payload: payload.to_words(), ..Record::EMPTY }
}

fn read(time: u64) -> Record {
    let payload =
        AccessPayload { address: 0xffff_c900_0000_0010, ip: 0xffff_ffff_8100_0000, value: [time, 0] };
    Record {
        time,
        kind: Kind::Access as u8,
        width: 4,
        mapping: 1,
        payload: payload.to_words(),
        ..Record::EMPTY
    }
}

/// A writer into memory.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A disk that is full after so many events.
struct FullAfter(u64, u64);

impl Sink for FullAfter {
    fn event(&mut self, _event: &Event<'_>) -> io::Result<()> {
        if self.1 == self.0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.1 += 1;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, _totals: &Totals) -> io::Result<()> {
        panic!("a trace that could not be written must not be ended as if it were whole")
    }

    fn kept(&self) -> u64 {
        self.1
    }
}

fn writer(sink: Box<dyn Sink + Send>) -> Writer {
    let names = Names::new(&[], &Registers::none(), None);
    let output = Output { sink, flush_every: Duration::from_millis(1), exact: true, busy: Busy::default() };
    Writer::new(1, names, output, indicatif::ProgressBar::hidden())
}

fn trace(module: &Module, ring: &Queue, sink: Box<dyn Sink + Send>, duration: Option<Duration>) -> Finished {
    let (wake, woken) = channel();
    let mut writer = writer(sink);
    let mut waiting = Waiting::new(&woken, None);
    let wait = || waiting.for_the_end(deadline(duration), || {});
    let counters = run(module, &mut [ring.clone()], &Backlog::new(None), &mut writer, wake, wait).unwrap();
    assert!(module.stopped.get());
    writer.finish(Some(&Stopped { counters, ..Stopped::default() }))
}

#[test]
fn every_record_is_written_the_last_one_of_the_stopping_session_too() {
    let ring = Queue::default();
    let module = module_of(&ring, 0);
    ring.push(map(1));
    (2..5000).for_each(|time| ring.push(read(time)));
    let out = Shared::default();
    let sink = JsonLines::new(out.clone(), &Default::default()).unwrap();
    let finished = trace(&module, &ring, Box::new(sink), Some(Duration::from_millis(30)));
    assert!(finished.failure.is_none());
    assert_eq!(finished.summary.accesses(), (4999, 0));
    let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1 + 5000 + 1, "header, events, end");
    assert!(lines[5000].contains(r#""value":"0x00000063""#), "{}", lines[5000]);
    assert!(lines[5001].contains(r#""kind":"end""#), "{}", lines[5001]);
}

#[test]
fn a_window_of_the_session_is_told_whatever_was_counted_before_it() {
    // The module's self-test at load steps once.
    let counters = Counters { windows: 1, dropped: 7, accesses: [2, 1, 1], ..Counters::default() };
    let ring = Queue::default();
    let module = Module { info: Info { counters, ..Info::default() }, ..module_of(&ring, 1) };
    ring.push(map(1));
    let sink = JsonLines::new(Shared::default(), &Default::default()).unwrap();
    let totals = trace(&module, &ring, Box::new(sink), Some(Duration::from_millis(1))).totals;
    assert_eq!((totals.windows, totals.dropped, totals.performed[2]), (1, 0, 0));
}

#[test]
fn hits_that_we_cause_ourselves_are_left_out_and_counted_but_not_those_of_interrupts() {
    let probe = trapline_trace::Probe {
        id: 1,
        name: "f".into(),
        address: 0,
        moment: trapline_trace::Moment::Before,
        stack: false,
        condition: None,
        arguments: Vec::new(),
    };
    let task = |task, process| {
        let payload = TaskPayload { name: [0; 16], process }.to_words();
        Record { kind: Kind::Task as u8, task, payload, ..Record::EMPTY }
    };
    let hit = |time, task, flags| {
        let payload = HitPayload { probe: 1, faults: 0, ip: 0, words: [0; 2] }.to_words();
        Record { time, kind: Kind::Hit as u8, task, flags, payload, ..Record::EMPTY }
    };
    let records =
        [task(7, 7), task(8, std::process::id()), hit(1, 7, 0), hit(2, 8, 0), hit(3, 8, Flags::INTERRUPT)];
    let mut writer = writer(Box::new(JsonLines::new(Shared::default(), &Default::default()).unwrap()))
        .with_header(&Header { probes: vec![probe], ..Header::default() }, &Registers::none());
    let (rounds, received) = channel();
    rounds.send(vec![(records.to_vec(), true)]).unwrap();
    drop(rounds);
    writer.receive(&received, &Backlog::new(None), &channel().0);
    let finished = writer.finish(Some(&Stopped::default()));
    assert_eq!((finished.summary.hits(), finished.own), (2, 1));
}

#[test]
fn no_more_events_are_written_than_asked_for_and_then_the_trace_ends() {
    let ring = Queue::default();
    let module = module_of(&ring, 0);
    ring.push(map(1));
    (2..100).for_each(|time| ring.push(read(time)));
    let (wake, woken) = channel();
    let sink = JsonLines::new(Shared::default(), &Default::default()).unwrap();
    let mut writer = writer(Box::new(sink)).with_limit(Some(10));
    let mut waiting = Waiting::new(&woken, None);
    let wait = || waiting.for_the_end(None, || {});
    run(&module, &mut [ring.clone()], &Backlog::new(None), &mut writer, wake, wait).unwrap();
    assert_eq!(writer.finish(Some(&Stopped::default())).kept, 10);
}

#[test]
fn a_full_disk_ends_the_trace_with_what_was_kept_and_without_an_end() {
    let ring = Queue::default();
    let module = module_of(&ring, 0);
    ring.push(map(1));
    (2..100).for_each(|time| ring.push(read(time)));
    let finished = trace(&module, &ring, Box::new(FullAfter(10, 0)), None);
    assert_eq!(finished.kept, 10);
    assert_eq!(finished.failure.unwrap().kind(), io::ErrorKind::StorageFull);
    assert_eq!(ring.len(), 0, "the ring is emptied all the same");
}

#[test]
fn a_session_that_can_not_start_for_another_reason_is_told_with_the_buffer_asked_for() {
    let module = Module { start: Some(Errno::NOMEM), ..Module::default() };
    let error = start(&module, 1 << 30).unwrap_err();
    assert!(error.to_string().contains("1 GiB of buffer"), "{error}");
}
