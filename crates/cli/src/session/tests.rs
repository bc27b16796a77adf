//! A session with a module and rings in memory: everything but the kernel.

use std::cell::Cell;
use std::sync::{Arc, Mutex};

use trapline_abi::{
    AccessPayload, CodeProbe, FaultCounts, FaultWatch, Flags, HitPayload, Info, Kind, ListEntry, MapPayload,
    Record, Step, TaskPayload,
};
use trapline_trace::{Event, JsonLines, Names, Registers, Sink, Totals};

use super::*;
use crate::output::Output;
use crate::pump::tests::Queue;
use crate::units::PhysicalRange;
use crate::writer::Finished;

/// A module that does as it is told to, and puts one last record into its ring while it stops.
#[derive(Default)]
struct Module {
    info: Info,
    start: Option<Errno>,
    watch: Option<(Errno, WatchError)>,
    ring: Queue,
    /// Times a page was open in the session.
    windows: u64,
    stopped: Cell<bool>,
}

impl Control for Module {
    fn info(&self) -> io::Result<Info> {
        Ok(self.info)
    }

    fn start(&self, _kind: SessionKind, buffer: u64) -> io::Result<RingGeometry> {
        match self.start {
            Some(errno) => Err(errno.into()),
            None => Ok(RingGeometry { rings: 1, reserved: 0, capacity: buffer / 64 }),
        }
    }

    fn watch(&self, watch: &mut Watch) -> io::Result<()> {
        match self.watch {
            Some((errno, reason)) => {
                (watch.error, watch.failed_at) = (reason as u32, watch.physical);
                Err(errno.into())
            }
            None => Ok(()),
        }
    }

    fn probe(&self, _probe: &mut CodeProbe, _program: &[Step]) -> io::Result<()> {
        Err(Errno::NOSYS.into())
    }

    fn list(&self, _id: u64) -> io::Result<Option<ListEntry>> {
        Ok(None)
    }

    fn faults(&self, _watch: &mut FaultWatch) -> io::Result<()> {
        Err(Errno::NOSYS.into())
    }

    fn fault_counts(&self) -> io::Result<FaultCounts> {
        Err(Errno::NOSYS.into())
    }

    fn stop(&self) -> io::Result<Counters> {
        self.ring.push(read(99));
        self.stopped.set(true);
        Ok(Counters {
            accesses: [self.ring.len() as u64, 0, 0],
            windows: self.windows,
            ..Counters::default()
        })
    }
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
    let output = Output { sink, flush_every: Duration::from_millis(1), exact: true };
    Writer::new(1, names, output, indicatif::ProgressBar::hidden())
}

fn trace(module: &Module, sink: Box<dyn Sink + Send>, deadline: Option<Duration>) -> Finished {
    let (wake, woken) = channel();
    let mut writer = writer(sink);
    let mut waiting = Waiting::new(&woken, None);
    let deadline = deadline.map(|time| Instant::now() + time);
    let wait = || waiting.for_the_end(deadline, || {});
    let counters =
        run(module, &mut [module.ring.clone()], &Backlog::new(None), &mut writer, wake, wait).unwrap();
    assert!(module.stopped.get());
    writer.finish(Some(&Stopped { counters, ..Stopped::default() }))
}

#[test]
fn every_record_is_written_the_last_one_of_the_stopping_session_too() {
    let module = Module::default();
    module.ring.push(map(1));
    (2..5000).for_each(|time| module.ring.push(read(time)));
    let out = Shared::default();
    let sink = JsonLines::new(out.clone(), &Default::default()).unwrap();
    let finished = trace(&module, Box::new(sink), Some(Duration::from_millis(30)));
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
    let module = Module { info: Info { counters, ..Info::default() }, windows: 1, ..Module::default() };
    module.ring.push(map(1));
    let sink = JsonLines::new(Shared::default(), &Default::default()).unwrap();
    let totals = trace(&module, Box::new(sink), Some(Duration::from_millis(1))).totals;
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
        .with_probes(&[probe]);
    let (rounds, received) = channel();
    rounds.send(vec![(records.to_vec(), true)]).unwrap();
    drop(rounds);
    writer.receive(&received, &Backlog::new(None), &channel().0);
    let finished = writer.finish(Some(&Stopped::default()));
    assert_eq!((finished.summary.hits(), finished.own), (2, 1));
}

#[test]
fn no_more_events_are_written_than_asked_for_and_then_the_trace_ends() {
    let module = Module::default();
    module.ring.push(map(1));
    (2..100).for_each(|time| module.ring.push(read(time)));
    let (wake, woken) = channel();
    let sink = JsonLines::new(Shared::default(), &Default::default()).unwrap();
    let mut writer = writer(Box::new(sink)).with_limit(Some(10));
    let mut waiting = Waiting::new(&woken, None);
    let wait = || waiting.for_the_end(None, || {});
    run(&module, &mut [module.ring.clone()], &Backlog::new(None), &mut writer, wake, wait).unwrap();
    assert_eq!(writer.finish(Some(&Stopped::default())).kept, 10);
}

#[test]
fn a_full_disk_ends_the_trace_with_what_was_kept_and_without_an_end() {
    let module = Module::default();
    module.ring.push(map(1));
    (2..100).for_each(|time| module.ring.push(read(time)));
    let finished = trace(&module, Box::new(FullAfter(10, 0)), None);
    assert_eq!(finished.kept, 10);
    assert_eq!(finished.failure.unwrap().kind(), io::ErrorKind::StorageFull);
    assert_eq!(module.ring.len(), 0, "the ring is emptied all the same");
}

#[test]
fn a_running_session_is_told_with_its_owner() {
    let info = Info { session: std::process::id(), ..Info::default() };
    let module = Module { info, start: Some(Errno::BUSY), ..Module::default() };
    let error = start(&module, &System::here(), SessionKind::Accesses, 4096).unwrap_err();
    assert!(matches!(error, Error::Busy { owner, name: Some(_) } if owner == std::process::id()), "{error}");
}

#[test]
fn a_second_watch_of_page_faults_is_told_as_that() {
    let module = Module { start: Some(Errno::BUSY), ..Module::default() };
    let error = start(&module, &System::here(), SessionKind::Faults, 4096).unwrap_err();
    assert!(matches!(error, Error::FaultsTaken), "{error}");
    assert_eq!(error.exit(), 3);
}

#[test]
fn a_session_that_can_not_start_for_another_reason_is_told_with_the_buffer_asked_for() {
    let module = Module { start: Some(Errno::NOMEM), ..Module::default() };
    let error = start(&module, &System::here(), SessionKind::Accesses, 1 << 30).unwrap_err();
    assert!(error.to_string().contains("1 GiB of buffer"), "{error}");
}

#[test]
fn a_refused_range_is_told_with_the_modules_reason() {
    let module = Module { watch: Some((Errno::PERM, WatchError::Ram)), ..Module::default() };
    let target = Target { range: PhysicalRange { physical: 0x10_0000, length: 0x1000 }, bar: None };
    let error = watch(&module, &target, Directions::new(false, false)).unwrap_err();
    assert!(
        matches!(error, Error::Watch { reason: Some(WatchError::Ram), failed_at: 0x10_0000, .. }),
        "{error:?}"
    );
}

#[test]
fn reads_and_writes_are_both_recorded_unless_one_is_asked_for() {
    let flags = |reads, writes| Directions::new(reads, writes).0;
    assert_eq!(flags(false, false), WATCH_READS | WATCH_WRITES);
    assert_eq!(flags(true, true), WATCH_READS | WATCH_WRITES);
    assert_eq!(flags(true, false), WATCH_READS);
    assert_eq!(flags(false, true), WATCH_WRITES);
}

#[test]
fn while_a_trace_runs_it_is_looked_now_and_then_whether_what_is_traced_is_still_there() {
    let (_wake, woken) = channel();
    let mut looks = 0;
    let deadline = Instant::now() + LOOK_EVERY * 5 / 2;
    Waiting::new(&woken, None).for_the_end(Some(deadline), || looks += 1);
    assert!((1..=2).contains(&looks) && Instant::now() >= deadline, "{looks}");
}

fn sleeper(wake: &Sender<Wake>) -> Traced {
    let command = Traced::start(&["sleep".into(), "30".into()]).unwrap();
    let (pid, wake) = (command.pid(), wake.clone());
    thread::spawn(move || {
        crate::command::wait_for_end(pid);
        let _ = wake.send(Wake::CommandEnded);
    });
    command
}

#[test]
fn a_signal_is_passed_to_the_command_whose_end_ends_the_trace() {
    let (wake, woken) = channel();
    let mut command = sleeper(&wake);
    let mut waiting = Waiting::new(&woken, Some(&command));
    wake.send(Wake::Signal(signal_hook::consts::SIGTERM)).unwrap();
    waiting.for_the_end(None, || {});
    assert_eq!(waiting.for_the_command(), None);
    assert_eq!(command.wait().unwrap(), 128 + 15);
}

#[test]
fn a_second_signal_ends_the_trace_without_waiting_for_a_command_that_does_not_listen() {
    let (wake, woken) = channel();
    let command = Traced::start(&["sh".into(), "-c".into(), "trap '' TERM; exec sleep 30".into()]).unwrap();
    thread::sleep(Duration::from_millis(100));
    let mut waiting = Waiting::new(&woken, Some(&command));
    wake.send(Wake::Signal(signal_hook::consts::SIGTERM)).unwrap();
    wake.send(Wake::Signal(signal_hook::consts::SIGTERM)).unwrap();
    waiting.for_the_end(None, || {});
    assert_eq!(waiting.for_the_command(), Some(signal_hook::consts::SIGTERM));
    command.pass_on(signal_hook::consts::SIGTERM);
    rustix::process::kill_process(command.pid(), rustix::process::Signal::KILL).unwrap();
}

#[test]
fn after_its_time_a_trace_ends_and_the_command_is_left_to_finish() {
    let (wake, woken) = channel();
    let mut command = sleeper(&wake);
    let mut waiting = Waiting::new(&woken, Some(&command));
    waiting.for_the_end(Some(Instant::now() + Duration::from_millis(10)), || {});
    command.pass_on(signal_hook::consts::SIGTERM);
    assert_eq!(waiting.for_the_command(), None);
    assert_eq!(command.wait().unwrap(), 128 + 15);
}
