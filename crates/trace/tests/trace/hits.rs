//! A trace of code probes in every format, beside what is expected in `tests/data`: made through
//! the same steps as a real one. `UPDATE_EXPECT=1 cargo test -p trapline-trace` writes the expected
//! files anew.

use std::convert::Infallible;

use crate::common::check;
use expect_test::expect_file;
use trapline_abi::{Flags, HitPayload, Kind, LIST_GONE, ListEntry, ProbeCounts, Record, TaskPayload};
use trapline_trace::{
    Ending, Event, FileWriter, Format, Header, Human, Item, JsonLines, Layout, Merge, Mmiotrace, Moment,
    Names, ParquetFile, Probe, ProbeTotals, Registers, Sink, Summary, Symbols, Totals, TraceReader,
};

const OPEN: u64 = 0xffff_ffff_8120_0000;
const CALLER: u64 = 0xffff_ffff_8130_0050;

fn probes() -> Vec<Probe> {
    let layout =
        |name: &str, form: &str, count, item| Layout { name: name.into(), form: form.into(), count, item };
    let entry = Probe {
        id: 7,
        name: "do_sys_openat2".into(),
        address: OPEN,
        moment: Moment::Before,
        stack: true,
        condition: Some("filename ~ \"/etc/*\"".into()),
        arguments: vec![
            layout("dfd", "s32", None, Item::Number(Format::Signed(4))),
            layout("filename", "string", None, Item::Text { limit: 1024 }),
            layout("how", "x64[2]", Some(2), Item::Number(Format::Hex(8))),
            layout("ops", "symbol", None, Item::Number(Format::Symbol)),
            layout("note", "string", None, Item::Constant("fixed".into())),
        ],
    };
    let leave = Probe {
        id: 8,
        moment: Moment::Return,
        stack: false,
        condition: None,
        arguments: vec![layout("arg1", "s64", None, Item::Number(Format::Signed(8)))],
        ..entry.clone()
    };
    vec![entry, leave]
}

fn header() -> Header {
    Header { trapline: "0.1.0".into(), cpus: 2, probes: probes(), ..Header::default() }
}

fn totals() -> Totals {
    let mut probes = ProbeTotals::default();
    let counts = ProbeCounts { hits: 3, missed: 1, fetch_faults: 2, pre_faults: 4, ..ProbeCounts::default() };
    probes.add(&ListEntry { flags: LIST_GONE, counts, ..ListEntry::from(0) });
    Totals { probes, ..Totals::default() }
}

/// A record of `probe` with these words, and what follows it.
fn hit(time: u64, probe: u32, faults: u32, ip: u64, words: &[u64]) -> Vec<Record> {
    let word = |index: usize| words.get(index).copied().unwrap_or(0);
    let payload = HitPayload { probe, faults, ip, words: [word(0), word(1)] }.to_words();
    let rest: Vec<&[u64]> = words.get(2..).unwrap_or_default().chunks(4).collect();
    let first =
        Record { time, kind: Kind::Hit as u8, task: 42, more: rest.len() as u8, payload, ..Record::EMPTY };
    let more = rest.into_iter().map(|words| {
        let mut payload = [0; 4];
        payload[..words.len()].copy_from_slice(words);
        Record { time, kind: Kind::More as u8, task: 42, payload, ..Record::EMPTY }
    });
    [first].into_iter().chain(more).collect()
}

fn records() -> Vec<Record> {
    let mut comm = [0; 16];
    comm[..3].copy_from_slice(b"cat");
    let task = TaskPayload { name: comm, process: 41 }.to_words();
    let mut records = vec![Record { kind: Kind::Task as u8, task: 42, payload: task, ..Record::EMPTY }];
    let minus_100 = u64::from((-100_i32) as u32);
    let path = [11, u64::from_le_bytes(*b"/etc/pas"), u64::from_le_bytes(*b"swd\0\0\0\0\0")];
    let stack = [2, CALLER, 0xffff_ffff_c040_0104];
    let words = [&[minus_100][..], &path, &[1, 2, OPEN + 4], &stack].concat();
    records.extend(hit(1_000_000_000, 7, 0, OPEN, &words));
    // The string could not be fetched, nor could the array.
    let words = [&[3, 0][..], &[0, 0, 0x1234], &[0]].concat();
    let mut faulted = hit(1_000_001_000, 7, 0b0110, OPEN, &words);
    faulted[0].flags = Flags::INTERRUPT;
    records.extend(faulted);
    records.extend(hit(1_000_002_000, 8, 0, CALLER, &[u64::MAX - 1]));
    records
}

/// Hands all hits, named, to `each`.
fn play(mut each: impl FnMut(&Event<'_>)) {
    let proc = tempfile::tempdir().unwrap();
    std::fs::write(proc.path().join("modules"), "ext4 65536 0 - Live 0xffffffffc0400000\n").unwrap();
    let symbols = format!(
        "{OPEN:x} T do_sys_openat2\n{:x} T end_of_it\n{:x} t do_syscall_64\nffffffffc0400100 t ext4_open\t[ext4]\n",
        OPEN + 0x90,
        CALLER - 0x50
    );
    std::fs::write(proc.path().join("kallsyms"), symbols).unwrap();
    let names = Names::new(&[], &Registers::none(), Some(Symbols::load(proc.path()).unwrap()));
    let mut merge = Merge::new(1).with_probes(&probes());
    merge.push(0, &records(), true);
    let Ok(()) = merge.finish(|event| {
        each(&names.name(event));
        Ok::<_, Infallible>(())
    });
    assert_eq!(merge.malformed(), 0);
}

fn run(mut sink: impl Sink) {
    play(|event| sink.event(event).unwrap());
    sink.end(&totals()).unwrap();
}

#[test]
fn a_hit_is_one_line_with_its_arguments_and_its_stack_below() {
    check(expect_file!["../data/hits.human"], |out| run(Human::new(out, false)));
}

#[test]
fn json_lines_of_hits_have_arguments_and_stack() {
    check(expect_file!["../data/hits.jsonl"], |out| run(JsonLines::new(out, &header()).unwrap()));
}

#[test]
fn a_report_of_hits_tells_probes_tasks_what_was_missed_and_what_faulted() {
    let mut summary = Summary::new(&header());
    play(|event| summary.add(event));
    summary.end(&totals());
    check(expect_file!["../data/hits.report"], |out| summary.write(out, false, 8).unwrap());
}

#[test]
fn a_row_of_several_probes_tells_what_its_hits_fulfil() {
    let row = |conditions: &[Option<&str>]| {
        let entry = probes().remove(0);
        let probes = conditions
            .iter()
            .map(|condition| Probe { condition: condition.map(Into::into), ..entry.clone() })
            .collect();
        let mut summary = Summary::new(&Header { probes, ..header() });
        play(|event| summary.add(event));
        let mut out = Vec::new();
        summary.write(&mut out, false, 8).unwrap();
        let said = String::from_utf8(out).unwrap();
        said.lines().find_map(|line| line.strip_prefix("           2  ").map(str::to_owned)).unwrap()
    };
    assert_eq!(row(&[Some("a"), Some("a")]), "do_sys_openat2 if a");
    assert_eq!(row(&[Some("a || b"), Some("c")]), "do_sys_openat2 if (a || b) || (c)");
    // One of them records all hits.
    assert_eq!(row(&[Some("a"), None]), "do_sys_openat2");
}

#[test]
fn a_report_without_a_hit_still_tells_of_hits() {
    let mut out = Vec::new();
    Summary::new(&header()).write(&mut out, false, 8).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "0 hits in 0 ns on 0 CPUs\n0 dropped, 0 missed\n");
}

#[test]
fn mmiotraces_format_refuses_hits() {
    let mut sink = Mmiotrace::new(Vec::new(), &header(), false).unwrap();
    let mut refusals = Vec::new();
    play(|event| refusals.extend(sink.event(event).err()));
    assert_eq!(refusals.len(), 3);
    assert!(refusals[0].to_string().contains("a hit of the code probe do_sys_openat2"), "{}", refusals[0]);
}

#[test]
fn hits_come_back_from_a_file_as_they_went_in() {
    let mut file = Vec::new();
    let mut writer = FileWriter::new(&mut file, &header()).unwrap();
    let mut written = Vec::new();
    play(|event| {
        written.push(format!("{event:?}"));
        writer.event(event).unwrap();
    });
    writer.end(&totals()).unwrap();
    drop(writer);
    let mut reader = TraceReader::new(&*file, "hits").unwrap();
    assert_eq!(*reader.header(), header());
    let mut read = Vec::new();
    let Ok(ending) = reader.read(|event| {
        read.push(format!("{event:?}"));
        Ok::<_, Infallible>(())
    });
    assert_eq!(read, written);
    assert_eq!(ending, Ending::Whole(totals()));
}

#[test]
fn parquet_takes_hits_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hits.parquet");
    let mut parquet = ParquetFile::new(std::fs::File::create(&path).unwrap(), &header()).unwrap();
    play(|event| parquet.event(event).unwrap());
    parquet.end(&totals()).unwrap();
    assert_eq!(parquet.kept(), 3);
}

#[test]
fn a_hit_of_a_probe_that_nobody_knows_and_one_that_is_cut_off_make_no_sense() {
    let mut merge = Merge::new(1).with_probes(&probes());
    let mut records = hit(1, 99, 0, OPEN, &[1]);
    let whole = hit(2, 7, 0, OPEN, &[1, 0, 1, 2, 3, 0]);
    records.extend(&whole[..whole.len() - 1]);
    merge.push(0, &records, true);
    let Ok(()) = merge.finish(|event| -> Result<(), Infallible> { panic!("{event:?}") });
    assert_eq!(merge.malformed(), 2);
}
