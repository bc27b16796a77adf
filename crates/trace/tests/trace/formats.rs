//! One trace in every format, beside what is expected in `tests/data`. `UPDATE_EXPECT=1 cargo test
//! -p trapline-trace` writes the expected files anew.

use std::io::{self, Write};

use crate::common::{check, header, names, play, totals};
use expect_test::expect_file;
use trapline_abi::Flags;
use trapline_trace::{
    Access, Event, Header, Human, JsonLines, Mark, Mmiotrace, Sink, Summary, Totals, Value, What,
};

fn run(mut sink: impl Sink) {
    play(|event| sink.event(event).unwrap());
    sink.end(&totals()).unwrap();
}

#[test]
fn text_for_a_person_is_aligned_and_folds_polling_loops() {
    check(expect_file!["../data/all.human"], |out| run(Human::new(out, false)));
}

#[test]
fn text_for_a_terminal_has_colours_and_fields_of_registers() {
    check(expect_file!["../data/all.colour"], |out| run(Human::new(out, true).with_fields(names())));
}

#[test]
fn json_lines_have_one_object_an_event_between_header_and_end() {
    check(expect_file!["../data/all.jsonl"], |out| run(JsonLines::new(out, &header()).unwrap()));
}

#[test]
fn mmiotrace_text_is_as_the_kernel_prints_it() {
    check(expect_file!["../data/all.mmiotrace"], |out| run(Mmiotrace::new(out, &header(), false).unwrap()));
}

#[test]
fn mmiotrace_text_has_program_counters_on_request() {
    let mut out = Vec::new();
    run(Mmiotrace::new(&mut out, &header(), true).unwrap());
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("R 4 12.351851 1 0xfeb80008 0x80080 0xffffffffc0400107 0\n"), "{text}");
}

#[test]
fn a_report_tells_registers_functions_tasks_and_what_is_missing() {
    let mut summary = Summary::default();
    play(|event| summary.add(event));
    summary.end(&totals());
    check(expect_file!["../data/all.report"], |out| summary.write(out, false, 8).unwrap());
}

#[test]
fn a_polling_loop_of_4000_equal_reads_is_one_line_also_while_another_cpu_is_busy() {
    let mut out = Vec::new();
    let mut human = Human::new(&mut out, false);
    play(|event| {
        let What::Access(access) = &event.what else { return };
        if access.place.is_none_or(|place| place.register != Some("STATUS")) {
            return;
        }
        for number in 0..4000 {
            let time = event.time + number * 250;
            human.event(&Event { time, ..event.clone() }).unwrap();
            if number % 1000 == 999 {
                human
                    .event(&Event {
                        time,
                        cpu: 3,
                        what: What::Mark(Mark { text: "other".into() }),
                        ..event.clone()
                    })
                    .unwrap();
                human.flush().unwrap();
            }
        }
        let supplied = Access { flags: Flags(Flags::SUPPLIED), ..access.clone() };
        human
            .event(&Event { time: event.time + 999_900, what: What::Access(supplied), ..event.clone() })
            .unwrap();
        let changed = Access { value: Value::from_u64(1, 4), ..access.clone() };
        human
            .event(&Event { time: event.time + 1_000_000, what: What::Access(changed), ..event.clone() })
            .unwrap();
    });
    assert_eq!(human.kept(), 4005, "what is open yet waits");
    human.end(&Totals::default()).unwrap();
    assert_eq!(human.kept(), 4006);
    let text = String::from_utf8(out).unwrap();
    let polls: Vec<_> = text.lines().filter(|line| line.contains("STATUS")).collect();
    assert_eq!(polls.len(), 3, "a read that a handler supplied is not one of the device: {text}");
    assert!(polls[0].ends_with("x4,000 in 999.8 us"), "{text}");
    assert!(text.lines().skip(1).is_sorted_by_key(|line| &line[..16]), "{text}");
}

#[test]
fn a_report_of_nothing_says_so() {
    let mut out = Vec::new();
    Summary::default().write(&mut out, false, 10).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("0 accesses (0 reads, 0 writes)"), "{text}");
    assert!(text.ends_with("0 dropped, 0 possibly missed\n"), "{text}");
}

/// A pipe whose reader is gone.
#[derive(Debug)]
struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn a_broken_pipe_comes_back_as_one_from_every_format() {
    fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
        result.err().expect("nothing can be written").kind()
    }
    let human = || -> io::Result<()> {
        let mut human = Human::new(Broken, false);
        let mut result = Ok(());
        play(|event| {
            if result.is_ok() {
                result = human.event(event);
            }
        });
        result
    };
    assert_eq!(kind(human()), io::ErrorKind::BrokenPipe);
    assert_eq!(kind(JsonLines::new(Broken, &header())), io::ErrorKind::BrokenPipe);
    assert_eq!(kind(Mmiotrace::new(Broken, &header(), false)), io::ErrorKind::BrokenPipe);
    assert_eq!(kind(trapline_trace::FileWriter::new(Broken, &header())), io::ErrorKind::BrokenPipe);
    assert_eq!(
        kind(trapline_trace::ParquetFile::new(Broken, &header()).and_then(|mut file| file.end(&totals()))),
        io::ErrorKind::BrokenPipe
    );
}

#[test]
fn records_that_were_lost_after_the_last_line_are_told_too() {
    let totals = Totals { dropped: 5, ..Totals::default() };
    let (mut human, mut mmiotrace) = (Vec::new(), Vec::new());
    Human::new(&mut human, false).end(&totals).unwrap();
    Mmiotrace::new(&mut mmiotrace, &Header::default(), false).unwrap().end(&totals).unwrap();
    assert!(String::from_utf8(human).unwrap().contains("LOST 5 more records"));
    assert!(String::from_utf8(mmiotrace).unwrap().ends_with("MARK 0.000000 Lost 5 events.\n"));
}
