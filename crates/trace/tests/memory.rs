//! Whatever comes, little memory is taken, and a file is small: measured with made-up records that
//! pass through merge, names, summary and writer, as the command has them.

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard};

use peak_alloc::PeakAlloc;
use trapline_abi::{
    AccessPayload, Change, Counters, FaultPayload, Flags, HitPayload, INTERRUPT_THREAD, Kind, PciFunction,
    Record, Signal, TaskPayload,
};
use trapline_trace::{
    Access, Bar, Device, Direction, Ending, Event, FileWriter, Followed, Header, Interrupt, Mapped, Merge,
    Mmiotrace, Moment, Names, Outcome, Probe, RegisterFile, Registers, Sink, Source, Summary, Totals,
    TraceReader, Value, Watched, What,
};

#[path = "../examples/made/records.rs"]
mod records;

use records::Load;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// What merge, names, summary and writer may take together. The rest of the 64 MiB that a command
/// may have are the program, the kernel's symbols and the records that wait to be merged.
const MOST: usize = 28 << 20;

/// Records of a CPU in one round, as the command takes them from a ring.
const ROUND: usize = 8192;

/// What is allocated counts for the whole process: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A file of which only the length is kept.
#[derive(Default)]
struct Length(u64);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Passes rounds of records, one of each CPU, through everything; the most that was allocated
/// meanwhile, and the summary.
fn pass(
    header: &Header,
    mut merge: Merge,
    sink: &mut dyn Sink,
    mut round: impl FnMut(usize) -> Option<Vec<Vec<Record>>>,
) -> (usize, Summary) {
    let names = Names::new(&header.devices, &Registers::shipped(), None);
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let mut summary = Summary::new(header);
    let mut each = |event: Event<'_>| {
        let event = names.name(event);
        summary.add(&event);
        sink.event(&event)
    };
    for records in (0..).map_while(&mut round) {
        for (cpu, records) in records.iter().enumerate() {
            merge.push(cpu, records, false);
        }
        merge.release(&mut each).unwrap();
    }
    merge.finish(&mut each).unwrap();
    sink.end(&Totals::new(&Counters::default(), &merge)).unwrap();
    summary.write(&mut io::sink(), false, 20).unwrap();
    (ALLOCATED.peak_usage() - before, summary)
}

/// So many records of a load, in rounds.
fn rounds(load: Load, records: u64) -> impl FnMut(usize) -> Option<Vec<Vec<Record>>> {
    let mut rounds = load.rounds(records);
    move |_| {
        if rounds.is_over() {
            return None;
        }
        let next = |cpu| {
            let mut records = Vec::new();
            rounds.fill(cpu, ROUND, &mut records);
            records
        };
        Some((0..load.cpus()).map(next).collect())
    }
}

#[test]
fn a_frame_buffer_that_is_drawn_takes_little_memory_and_is_counted_whole() {
    let _alone = alone();
    let (header, records) = (Load::Drawing.header(), 1_000_000);
    for text in [false, true] {
        let mut sink: Box<dyn Sink> = match text {
            false => Box::new(FileWriter::new(Length::default(), &header).unwrap()),
            true => Box::new(Mmiotrace::new(Length::default(), &header, false).unwrap()),
        };
        let merge = Merge::new(Load::Drawing.cpus());
        let (most, summary) = pass(&header, merge, sink.as_mut(), rounds(Load::Drawing, records));
        assert!(most <= MOST, "{most} bytes were allocated, text: {text}");
        let registers = summary.registers();
        let counted: u64 = registers.iter().map(|register| register.reads + register.writes).sum();
        assert_eq!(counted, records);
        assert_eq!(registers[0].place, "0000:00:03.0 0 all others");
        assert!(registers.len() < 5_000, "{} rows", registers.len());
    }
}

#[test]
fn an_event_takes_no_more_than_20_bytes_in_a_file_and_all_are_read() {
    let _alone = alone();
    for load in [Load::Drawing, Load::Network] {
        let (header, records) = (load.header(), 300_000);
        let mut file = Vec::new();
        let mut writer = FileWriter::new(&mut file, &header).unwrap();
        pass(&header, Merge::new(load.cpus()), &mut writer, rounds(load, records));
        drop(writer);
        assert!(file.len() as u64 <= 20 * records, "{} bytes of {records} events", file.len());
        let mut read = Summary::new(&header);
        let Ok(ending) = TraceReader::new(&*file, "test").unwrap().read(|event| {
            read.add(event);
            Ok::<_, Infallible>(())
        });
        assert!(matches!(ending, Ending::Whole(_)), "{ending:?}");
        let (reads, writes) = read.accesses();
        assert_eq!(reads + writes, records);
    }
}

/// An access of CPU `cpu` at `time`, by a task of this number.
fn access(cpu: u16, task: u32, time: u64) -> Record {
    let payload = AccessPayload { address: time, ip: time, value: [time, 0] }.to_words();
    Record { kind: Kind::Access as u8, time, cpu, task, width: 4, payload, ..Record::EMPTY }
}

#[test]
fn a_cpu_that_stands_still_makes_the_merge_hold_no_more_than_its_bound() {
    let _alone = alone();
    let header = Header::default();
    let mut sink = FileWriter::new(Length::default(), &header).unwrap();
    let round = |round: usize| {
        let times = round as u64 * 2 * ROUND as u64..;
        let busy = |cpu: u16| times.clone().take(ROUND).map(|time| access(cpu, 7, 1 + time)).collect();
        // It gave something old once, and has been in the middle of a record ever since.
        let still = if round == 0 { vec![access(2, 8, 1)] } else { Vec::new() };
        (round < 60).then(|| vec![busy(0), busy(1), still])
    };
    let (most, summary) = pass(&header, Merge::new(3), &mut sink, round);
    assert!(most <= MOST, "{most} bytes were allocated");
    assert_eq!(summary.events(), 60 * 2 * ROUND as u64 + 1);
}

#[test]
fn a_page_fault_that_does_not_end_makes_the_merge_hold_no_more_than_its_bound() {
    let _alone = alone();
    let header = Header { probes: vec![probe()], ..Header::default() };
    let mut sink = FileWriter::new(Length::default(), &header).unwrap();
    let payload = FaultPayload { address: 0x1000, ip: 0, error_code: 6, process: 7, stack: 0 };
    let fault = Record { kind: Kind::Fault as u8, task: 7, payload: payload.to_words(), ..access(0, 7, 1) };
    let round = |round: usize| {
        let first = if round == 0 { vec![fault] } else { Vec::new() };
        let hits = (0..100).flat_map(|hit| stack_of(1 + round as u64 * 100 + hit));
        (round < 60).then(|| vec![first.into_iter().chain(hits).collect()])
    };
    let merge = Merge::new(1).with_latency().with_probes(&header.probes);
    let (most, summary) = pass(&header, merge, &mut sink, round);
    assert!(most <= MOST, "{most} bytes were allocated");
    assert_eq!((summary.hits(), summary.faults()), (6_000, 1));
}

fn probe() -> Probe {
    Probe {
        id: 7,
        name: "vfs_read".into(),
        address: 0xffff_ffff_8120_0000,
        moment: Moment::Before,
        stack: true,
        condition: None,
        arguments: Vec::new(),
    }
}

/// A hit with the longest stack that a record can have: its continuations follow it.
fn stack_of(time: u64) -> Vec<Record> {
    let payload = HitPayload { probe: 7, faults: 0, ip: 0xffff_ffff_8120_0000, words: [1000, 2] }.to_words();
    let first = Record { kind: Kind::Hit as u8, time, more: u8::MAX, payload, task: 9, ..Record::EMPTY };
    let more = Record { kind: Kind::More as u8, payload: [3, 4, 5, 6], ..first };
    std::iter::once(first).chain(std::iter::repeat_n(more, usize::from(u8::MAX))).collect()
}

#[test]
fn tasks_without_end_and_their_names_take_little_memory() {
    let _alone = alone();
    let header = Header::default();
    let mut sink = FileWriter::new(Length::default(), &header).unwrap();
    let round = |round: usize| {
        let tasks = (0..ROUND / 2).flat_map(|number| {
            let (time, mut name) = (1 + (round * ROUND + number) as u64, [0; 16]);
            name[..15].copy_from_slice(format!("{time:015}").as_bytes());
            let payload = TaskPayload { name, process: 1 }.to_words();
            let task = time as u32;
            [Record { kind: Kind::Task as u8, payload, ..access(0, task, time) }, access(0, task, time)]
        });
        (round < 60).then(|| vec![tasks.collect()])
    };
    let (most, summary) = pass(&header, Merge::new(1), &mut sink, round);
    assert!(most <= MOST, "{most} bytes were allocated");
    assert_eq!(summary.events(), 60 * ROUND as u64 / 2);
}

#[test]
fn handlers_doorbells_and_functions_without_end_take_little_memory_in_a_report() {
    let _alone = alone();
    let (header, registers) = (related(), doorbells());
    let names = || Names::new(&header.devices, &registers, None);
    let (naming, of_report) = (names(), names());
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let mut summary = Summary::new(&header).with_names(of_report);
    for number in 0..400_000_u64 {
        // From a doorbell to an interrupt it takes whatever time, and its handler does not end. On
        // another CPU one reads something else each time.
        let cpu = (number / 4 % 1_024) as u16;
        let (cpu, time, what) = match number % 4 {
            0 => (cpu, number, register(Direction::Write, 4 * (number / 4 % 4_096), number)),
            1 => (cpu, u64::MAX / (1 + number % 4_096), handler(number, u64::MAX)),
            2 => (2_000, number, handler(number, 1)),
            _ => (2_000, number, register(Direction::Read, 0x20_000 + 4 * (number / 4 % 0x3_0000), number)),
        };
        let pid = number as u32;
        summary.add(&naming.name(Event { time, cpu, pid, tgid: 7, comm: "dd", what }));
    }
    summary.write(&mut io::sink(), false, usize::MAX).unwrap();
    let most = ALLOCATED.peak_usage() - before;
    // Each bound of what is related has its part of it, and less than one is to spare.
    assert!(most <= 14 << 20, "{most} bytes were allocated");
}

/// Of a trace of a device's accesses, interrupts and buffers.
fn related() -> Header {
    let mut device = Device { address: "0000:00:03.0".into(), vendor: 1, ..Device::default() };
    device.bars[0] = Bar { start: 0x1_0000_0000, length: 0x10_0000, flags: 0x200 };
    let sources = vec![
        Source::Access(Watched::default()),
        Source::Interrupt(Followed::default()),
        Source::Dma(Mapped::default()),
    ];
    Header { devices: vec![device], sources, ..Header::default() }
}

/// A register file with 4,096 doorbells.
fn doorbells() -> Registers {
    let text = "name = \"x\"\n[[match]]\nvendor = 1\n[[register]]\noffset = 0\nname = \"BELL{}\"\n\
                count = 4096\nstride = 4\nanswer = \"TOLD\"\n\
                [[register]]\noffset = 0x20000\nname = \"TOLD\"\n";
    let mut registers = Registers::none();
    registers.add(RegisterFile::parse("x", text).unwrap());
    registers
}

fn register(direction: Direction, offset: u64, value: u64) -> What<'static> {
    What::Access(Access {
        direction,
        width: 8,
        value: Value::from_u64(value, 8),
        change: Change::None,
        original: None,
        mapping: 1,
        address: offset,
        physical: Some(0x1_0000_0000 + offset),
        flags: Flags(0),
        way: None,
        ip: 1 + value,
        place: None,
        site: None,
    })
}

/// A call of one of few handlers, in a thread or not.
fn handler(number: u64, took: u64) -> What<'static> {
    What::Interrupt(Interrupt {
        device: PciFunction::new(0, 0, 3, 0).into(),
        irq: 11,
        signal: Signal::Line,
        index: 0,
        flags: if number % 8 == 1 { Flags(INTERRUPT_THREAD) } else { Flags(0) },
        handler: 1 + number % 3,
        site: None,
        outcome: Some(Outcome::Handled),
        took: Some(took),
    })
}
