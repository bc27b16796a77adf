//! `report` and `convert` on whole, cut-off and foreign files, and output that can't be written.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use trapline_abi::{Change, Flags, WatchError, Way};
use trapline_trace::{
    Access, Bar, Device, Direction, Event, FileWriter, Header, Map, Mark, Names, NotWatched, Registers, Sink,
    Totals, Value, What,
};

fn trapline(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trapline"));
    command.args(arguments).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command
}

fn run(arguments: &[&str]) -> Output {
    trapline(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A trace of `reads` reads of CSTS of an NVMe disk.
struct Trace {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Trace {
    fn with(reads: u64) -> Self {
        let mut disk = Device { address: "0000:00:03.0".into(), class: 0x010802, ..Device::default() };
        disk.bars[0] = Bar { start: 0xfebf_0000, length: 0x4000, flags: 0x200 };
        let devices = vec![disk];
        let header =
            Header { kernel: "6.1.0-test".into(), cpus: 2, devices: devices.clone(), ..Header::default() };
        let names = Names::new(&devices, &Registers::shipped(), None);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nvme.trace");
        let mut file = FileWriter::new(File::create(&path).unwrap(), &header).unwrap();
        let event = |time, what| Event { time, cpu: 1, pid: 7, tgid: 7, comm: "dd", what };
        let (address, physical) = (0xffff_c900_0000_0000, 0xfebf_0000);
        let map = Map { mapping: 1, address, physical, length: 0x4000, caller: 0, place: None, site: None };
        file.event(&event(1000, What::Map(map))).unwrap();
        for time in 0..reads {
            let access = Access {
                direction: Direction::Read,
                width: 4,
                value: Value::from_u64(time, 4),
                change: Change::None,
                original: None,
                mapping: 1,
                address: address + 0x1c,
                physical: Some(physical + 0x1c),
                flags: Flags(0),
                way: Some(Way::Emulate),
                ip: 0xffff_ffff_8100_0000,
                place: None,
                site: None,
            };
            file.event(&names.name(event(2000 + time, What::Access(access)))).unwrap();
        }
        file.end(&Totals { performed: [reads, 0, 0], ..Totals::default() }).unwrap();
        Self { _folder: folder, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Takes away the last `bytes` bytes.
    fn cut(self, bytes: usize) -> Self {
        let content = fs::read(&self.path).unwrap();
        fs::write(&self.path, &content[..content.len() - bytes]).unwrap();
        self
    }
}

#[test]
fn a_report_counts_accesses_by_register_and_says_that_nothing_is_missing() {
    let trace = Trace::with(3);
    let output = run(&["report", trace.path()]);
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    assert!(report.starts_with("3 accesses (3 reads, 0 writes)"), "{report}");
    assert!(report.contains("CSTS"), "{report}");
    assert!(report.contains("0 dropped, 0 possibly missed"), "{report}");
}

#[test]
fn registers_can_be_named_after_the_trace_was_taken() {
    let trace = Trace::with(3);
    let registers = trace.path.with_extension("toml");
    let file = "name = \"mine\"\n[[match]]\nclass = 0x010802\n[[register]]\noffset = 0x1c\nname = \"MINE\"\n";
    fs::write(&registers, file).unwrap();
    let output = run(&["report", trace.path(), "--registers", registers.to_str().unwrap()]);
    assert!(text(&output.stdout).contains("MINE"), "{output:?}");
}

#[test]
fn traces_of_many_machines_become_parts_of_one_folder_and_those_that_cant_be_read_are_told_of() {
    let (whole, cut) = (Trace::with(3), Trace::with(5).cut(100));
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("old.mmiotrace"), "VERSION 20070824\nMARK 1.0 x\n").unwrap();
    fs::write(at("notes"), "none").unwrap();
    let (set, old, notes) = (at("set"), at("old.mmiotrace"), at("notes"));
    let convert = |files: &[&str], rest: &[&str]| {
        let mut all = vec!["convert"];
        all.extend(files);
        all.extend(["--to", "parquet", "--partition", "--output", &set]);
        all.extend(rest);
        run(&all)
    };
    let output = convert(&[whole.path(), &notes, cut.path(), &old], &[]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains("notes is no trace") && said.contains("is cut off after"), "{said}");
    assert!(said.contains("2 of 4 traces could not be read, or not to their end"), "{said}");
    let parts = |kernel: &str| {
        let found =
            fs::read_dir(format!("{set}/machine=__HIVE_DEFAULT_PARTITION__/kernel={kernel}")).unwrap();
        let mut found: Vec<_> = found.map(|entry| entry.unwrap().path()).collect();
        found.sort();
        for part in &found {
            assert!(fs::read(part.join("events.parquet")).unwrap().starts_with(b"PAR1"), "{found:?}");
        }
        found.len()
    };
    assert_eq!((parts("6.1.0-test"), parts("__HIVE_DEFAULT_PARTITION__")), (2, 1));
    // More is added to what is there.
    let more = Trace::with(1);
    assert_eq!(convert(&[more.path()], &[]).status.code(), Some(0));
    assert_eq!(parts("6.1.0-test"), 3);
}

#[test]
fn what_partitions_can_not_be_is_refused() {
    let trace = Trace::with(1);
    let path = trace.path();
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().to_str().unwrap();
    for (arguments, why) in [
        (vec!["--to", "parquet", path, "--output", set], "2 traces can't become one"),
        (vec!["--to", "parquet", "--partition"], "--output"),
        (vec!["--to", "json", "--partition", "--output", set], "--partition is for --to parquet"),
        (vec!["--to", "parquet", "--partition", "--output", path], "is no folder"),
        (vec!["--to", "parquet", "--partition", "--output", "-"], "is no folder"),
        (vec!["--to", "parquet", path, "--partition", "--output", set], "is named twice"),
    ] {
        let output = run(&[vec!["convert", path], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains(why), "{why}: {output:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_trace_converts_to_each_format() {
    let trace = Trace::with(3);
    let convert = |to| {
        let output = run(&["convert", trace.path(), "--to", to]);
        assert_eq!(output.status.code(), Some(0), "{to}: {output:?}");
        output.stdout
    };
    assert!(text(&convert("human")).contains("CSTS"));
    assert_eq!(text(&convert("json")).lines().count(), 1 + 4 + 1);
    let mmiotrace = text(&convert("mmiotrace"));
    assert!(mmiotrace.starts_with("VERSION 20070824\nPCIDEV 0018"), "{mmiotrace}");
    assert!(mmiotrace.contains("\nR 4 0.000002 1 0xfebf001c 0x2 0x0 0\n"), "{mmiotrace}");
    assert!(convert("parquet").starts_with(b"PAR1"));
    let perfetto = convert("perfetto");
    // The first field of a trace is a packet.
    assert!(perfetto.starts_with(b"\x0a") && perfetto.windows(4).any(|bytes| bytes == b"CSTS"));
}

#[test]
fn a_cut_off_trace_is_read_as_far_as_it_goes_and_then_told_of() {
    let trace = Trace::with(70_000).cut(2_000);
    let report = run(&["report", trace.path()]);
    assert_eq!(report.status.code(), Some(4));
    let shown = text(&report.stdout);
    assert!(shown.contains(" accesses ("), "{report:?}");
    assert!(shown.contains("\nat least 0 dropped, 0 possibly missed\n"), "{report:?}");
    assert!(shown.contains("THIS TRACE IS NOT COMPLETE: the trace is cut off after"), "{report:?}");
    assert!(text(&report.stderr).contains("cut off after"), "{report:?}");
    for to in ["human", "json", "mmiotrace"] {
        let converted = run(&["convert", trace.path(), "--to", to]);
        assert_eq!(converted.status.code(), Some(4), "{to}");
        let last = text(&converted.stdout).lines().last().unwrap().to_owned();
        assert!(last.contains("cut off after"), "{to}: {last}");
    }
}

/// What a report of a trace with this one event says, in colour: on standard output and error.
fn report_of(what: What<'_>) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.trace");
    let mut file = FileWriter::new(File::create(&path).unwrap(), &Header::default()).unwrap();
    file.event(&Event { time: 1, cpu: 0, pid: 7, tgid: 7, comm: "modprobe", what }).unwrap();
    file.end(&Totals::default()).unwrap();
    let output = run(&["report", path.to_str().unwrap(), "--color", "always"]);
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_mapping_that_could_not_be_watched_makes_a_report_red_and_not_green() {
    let (physical, reason) = (0x1_4000_0000, Some(WatchError::HugePage));
    let not = NotWatched { physical, address: Some(1), length: Some(2), reason, place: None };
    let (shown, told) = report_of(What::NotWatched(not));
    assert!(shown.contains("\u{1b}[31m0 dropped, 0 possibly missed"), "{shown:?}");
    assert!(shown.contains("THIS TRACE IS NOT COMPLETE: 1 new mapping could not be watched"), "{shown}");
    assert!(told.contains("nohugeiomap"), "{told}");
}

#[test]
fn a_marker_is_no_more_than_a_marker_whatever_it_says() {
    let text = "trapline: NOT WATCHED, accesses are missing: new mapping of 0x0000000140000000";
    let (shown, told) = report_of(What::Mark(Mark { text: text.into() }));
    assert!(shown.contains("\u{1b}[32m0 dropped, 0 possibly missed"), "{shown:?}");
    assert!(!shown.contains("NOT COMPLETE") && told.is_empty(), "{shown}{told}");
}

#[test]
fn a_file_that_is_no_trace_is_told_by_name() {
    for (content, message) in [("", "is empty"), ("hello, world, this is no trace", "is no trace")] {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        let path = file.path().to_str().unwrap();
        for arguments in [vec!["report", path], vec!["convert", path, "--to", "json"]] {
            let output = run(&arguments);
            assert_eq!(output.status.code(), Some(4));
            let message_shown = text(&output.stderr);
            assert!(message_shown.contains(path) && message_shown.contains(message), "{message_shown}");
        }
    }
}

#[test]
fn a_full_disk_is_an_error_that_tells_what_was_kept() {
    let trace = Trace::with(10);
    for to in ["human", "json", "mmiotrace", "parquet", "perfetto"] {
        let output = run(&["convert", trace.path(), "--to", to, "--output", "/dev/full"]);
        assert_eq!(output.status.code(), Some(1), "{to}");
        let message = text(&output.stderr);
        assert!(message.contains("can't write /dev/full: No space left on device"), "{to}: {message}");
    }
}

/// What `report --html` says of this trace, and the page.
fn page(trace: &Trace) -> (Output, String) {
    let page = trace.path.with_extension("html");
    let output = run(&["report", trace.path(), "--html", page.to_str().unwrap()]);
    (output, fs::read_to_string(page).unwrap())
}

#[test]
fn a_report_is_a_page_as_well_with_the_text_still_told() {
    let (output, page) = page(&Trace::with(3));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).starts_with("3 accesses (3 reads, 0 writes)"), "{output:?}");
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"), "{page}");
    assert!(page.contains("<h1>nvme.trace</h1>") && page.contains("CSTS"), "{page}");
    assert!(page.contains("6.1.0-test") && !page.contains("NOT COMPLETE"), "{page}");
}

#[test]
fn a_page_of_a_trace_that_was_cut_off_says_so_at_its_top() {
    let (output, page) = page(&Trace::with(20_000).cut(100));
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let (top, _) = page.split_once("<main").unwrap();
    assert!(top.contains("THIS TRACE IS NOT COMPLETE: the trace is cut off after "), "{top}");
    assert_eq!(top.matches("cut off").count(), 1, "it is told once: {top}");
}

#[test]
fn a_page_of_a_trace_without_the_marker_that_was_asked_for_says_so() {
    let trace = Trace::with(3);
    let path = trace.path.with_extension("html");
    let output = run(&["report", trace.path(), "--begin", "<load>", "--html", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let page = fs::read_to_string(path).unwrap();
    assert!(page.contains("no event was recorded"), "{page}");
    assert!(page.contains("has no marker `&#60;load&#62;`"), "{page}");
}

#[test]
fn a_page_on_a_full_disk_is_not_taken_for_a_whole_one() {
    let output = run(&["report", Trace::with(3).path(), "--html", "/dev/full"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let message = text(&output.stderr);
    assert!(message.contains("can't write /dev/full: No space left on device"), "{message}");
    assert!(message.contains("it is not whole"), "{message}");
}

#[test]
fn a_reader_that_has_seen_enough_is_success() {
    let trace = Trace::with(5_000);
    let mut child = trapline(&["convert", trace.path(), "--to", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

#[test]
fn colours_are_for_terminals_unless_asked_for() {
    let trace = Trace::with(3);
    let coloured = |command: &mut Command| command.output().unwrap().stdout.contains(&0x1b);
    assert!(!coloured(&mut trapline(&["report", trace.path()])));
    assert!(coloured(&mut trapline(&["report", trace.path(), "--color", "always"])));
    assert!(!coloured(trapline(&["report", trace.path()]).env("NO_COLOR", "1")));
    assert!(coloured(&mut trapline(&["convert", trace.path(), "--to", "human", "--color", "always"])));
    assert!(!coloured(trapline(&["convert", trace.path(), "--to", "human"]).env("NO_COLOR", "1")));
}

#[test]
fn a_trace_is_not_converted_onto_itself() {
    let trace = Trace::with(5);
    let path = trace.path.to_str().unwrap();
    let before = fs::read(&trace.path).unwrap();
    let output = run(&["convert", path, "--to", "json", "--output", path]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("is the trace itself"), "{}", text(&output.stderr));
    assert_eq!(fs::read(&trace.path).unwrap(), before);
}
