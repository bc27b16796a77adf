//! The command on a machine in a folder and a module in memory: everything but the kernel.

use clap::Parser;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use rustix::io::Errno;
use std::fs;
use trapline_abi::{CODE_RETURN, CODE_STACK, Op, ProbeError, Step};
use trapline_trace::Symbols;

mod several;

use super::compile::Program;
use super::spec::Spot;
use super::*;
use crate::args::{Cli, Command, Probe};
use crate::device::fake::Module;
use crate::system::tests::with;
use crate::trace::tests::quietly;

fn options(line: &str) -> Probe {
    let words = ["trapline", "probe"].into_iter().chain(line.split(' '));
    let Command::Probe(options) = Cli::parse_from(words).command else { panic!("not probe") };
    options
}

fn hits(programs: Vec<(Moment, Program)>) -> Hits {
    let function = Some(("vfs_read".into(), None, 0xffff_ffff_8100_0000));
    let name = String::from("vfs_read+1");
    let point = Point {
        name: name.clone(),
        spot: Spot { name, address: 0xffff_ffff_8100_0001, function },
        pattern: None,
        condition: Vec::new(),
        programs,
        around: Some((0xffff_ffff_8100_0000, 0xffff_ffff_8100_0004)),
        probes: Vec::new(),
        ids: Vec::new(),
    };
    let recorded = Recorded {
        arguments: Vec::new(),
        condition: None,
        moments: Vec::new(),
        stack: true,
        process: Some(7),
        cpu: ANY,
        active: 64,
    };
    Hits { recorded, points: vec![point], notes: Notes::default(), gone: HashSet::new() }
}

#[test]
fn hits_are_recorded_before_the_instruction_unless_another_moment_is_asked_for() {
    use Moment::{After, Before, Return};
    assert_eq!(moments(&options("f").hits, false), [Before]);
    assert_eq!(moments(&options("f --return").hits, false), [Return]);
    assert_eq!(moments(&options("f --post").hits, false), [After]);
    assert_eq!(moments(&options("r:x f").hits, true), [Return]);
    assert_eq!(moments(&options("r:x f --pre").hits, true), [Before, Return]);
    assert_eq!(moments(&options("f --pre --return --post").hits, false), [Before, After, Return]);
}

#[test]
fn options_may_stand_before_between_and_behind_what_is_fetched() {
    let options = options("--stack do_sys_open +8(%si):string --max 3 x=%di -- cat --stack");
    assert_eq!(options.hits.spec, "do_sys_open");
    assert_eq!(options.hits.fetch, ["+8(%si):string", "x=%di"]);
    assert_eq!(options.taking.max, Some(3));
    assert_eq!(options.taking.command, ["cat", "--stack"]);
}

#[test]
fn each_moment_is_a_probe_of_its_own_and_their_counts_are_added() {
    let steps = vec![Step { op: Op::ReturnValue as u8, ..Step::default() }];
    let program = Program { steps: steps.clone(), layouts: Vec::new() };
    let mut hits = hits(vec![(Moment::Before, Program::default()), (Moment::Return, program)]);
    let module = Module::default();
    hits.arm(&module, &quietly(false)).unwrap();
    let taken = module.taken.borrow();
    let flags: Vec<u32> = taken.iter().map(|(probe, _)| probe.flags).collect();
    assert_eq!(flags, [CODE_STACK, CODE_STACK | CODE_RETURN]);
    assert_eq!(taken[1].1, steps);
    assert_eq!((taken[0].0.process, taken[0].0.cpu), (7, ANY));
    assert_eq!((taken[0].0.active, taken[1].0.active), (0, 64));
    assert!(taken[0].0.name.starts_with(b"vfs_read+1\0"));
    let mut header = Header::default();
    hits.describe(&mut header);
    let told: Vec<(u32, Moment)> = header.probes.iter().map(|probe| (probe.id, probe.moment)).collect();
    assert_eq!(told, [(100, Moment::Before), (101, Moment::Return)]);
    assert_eq!(hits.counted(&module).probes, ProbeTotals { hits: 201, missed: 2, ..ProbeTotals::default() });
}

#[test]
fn a_module_that_goes_while_it_is_probed_is_told_once_and_counted() {
    let mut hits = hits(vec![(Moment::Before, Program::default()), (Moment::Return, Program::default())]);
    let spot = &mut hits.points[0].spot;
    spot.name = "dummy:dummy_setup".into();
    spot.function = Some(("dummy_setup".into(), Some("dummy".into()), spot.address));
    let module = Module::default();
    hits.arm(&module, &quietly(false)).unwrap();
    assert_eq!(hits.gone(&module), [""; 0]);
    module.is_gone.set(true);
    let expected = "the module dummy, in which dummy:dummy_setup is probed, is gone";
    assert_eq!(hits.gone(&module), [expected]);
    assert_eq!(hits.gone(&module), [""; 0]);
    assert_eq!(hits.counted(&module).probes.gone, 2);
}

#[test]
fn a_refusal_of_the_kernel_is_told_with_its_reason() {
    let refused = |reason, errno| {
        let module = Module { refusal: Some((reason, errno)), ..Module::default() };
        let error =
            hits(vec![(Moment::Before, Program::default())]).arm(&module, &quietly(false)).unwrap_err();
        error.to_string()
    };
    let text = refused(ProbeError::InsideInstruction, Errno::ILSEQ);
    assert!(text.contains("vfs_read+1") && text.contains("begin at vfs_read+0x0 and vfs_read+0x4"), "{text}");
    assert!(text.contains("a debugger has a breakpoint"), "{text}");
    let text = refused(ProbeError::NotProbeable, Errno::INVAL);
    assert!(
        text.contains("no code") && text.contains("a jump label, a static call, an alternative"),
        "{text}"
    );
    let text = refused(ProbeError::Taken, Errno::BUSY);
    assert!(text.contains("live patch"), "{text}");
    let text = refused(ProbeError::NoMemory, Errno::NOMEM);
    assert!(text.contains("memory"), "{text}");
}

#[test]
fn a_cpu_that_is_not_there_is_told() {
    let (_root, system) = with(&[("sys/devices/system/cpu/possible", "0-3\n")]);
    assert!(system.check_cpu(3).is_ok());
    let text = system.check_cpu(4).unwrap_err().to_string();
    assert!(text.contains("no CPU 4") && text.contains("0-3"), "{text}");
}

/// A kernel with a few functions and their types, a module, and the arguments of a system call.
fn machine() -> (tempfile::TempDir, System) {
    let (root, system) = with(&[
        (
            "proc/kallsyms",
            "ffffffff81000000 T read_it\nffffffff81000100 T end_it\nffffffff81000200 T r\n\
             ffffffff81000300 T __x64_sys_openat\nffffffff82000000 D datum\nffffffffc0400000 t of_module\t[r8169]\n",
        ),
        ("proc/modules", "r8169 4096 0 - Live 0xffffffffc0400000\n"),
        ("sys/module/r8169/refcnt", "0\n"),
        (
            "sys/kernel/tracing/events/syscalls/sys_enter_openat/format",
            "\tfield:int dfd;\toffset:16;\n\tfield:const char * filename;\toffset:24;\n",
        ),
        ("sys/kernel/btf/x", ""),
    ]);
    let mut kernel = btf::tests::kernel();
    let registers = kernel.structure("pt_regs", 168, &[]);
    let to_registers = kernel.pointer(registers);
    kernel.function("__x64_sys_openat", 0, &[("regs", to_registers)]);
    let mut module = kernel.continued();
    let int = module.integer("int", 4, true);
    module.function("of_module", 0, &[("ring", int)]);
    fs::write(root.path().join("sys/kernel/btf/vmlinux"), kernel.bytes()).unwrap();
    fs::write(root.path().join("sys/kernel/btf/r8169"), module.bytes()).unwrap();
    (root, system)
}

/// The hits that the words of a command line ask for on a machine.
fn asked_of(system: &System, words: &[&str]) -> Result<Hits, HitsError> {
    let symbols = Symbols::load(&system.path("proc")).unwrap();
    let Command::Probe(options) = Cli::parse_from(["trapline", "probe"].iter().chain(words)).command else {
        panic!("not probe")
    };
    check_words(system, &options.hits)?;
    Hits::new(&Kernel::new(system, &symbols), &options.hits)
}

fn asked(words: &[&str]) -> Result<Hits, HitsError> {
    let (_root, system) = machine();
    asked_of(&system, words)
}

/// What is fetched at a place first: names and types.
fn fetched(point: &Point) -> Vec<String> {
    let layouts = point.programs[0].1.layouts.iter();
    layouts.map(|layout| format!("{}:{}", layout.name, layout.form)).collect()
}

/// Its name, function, moments, calls that are followed, and what it fetches.
fn told(words: &[&str]) -> (String, String, Vec<&'static str>, u32, Vec<String>) {
    let hits = asked(words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let [point] = &hits.points[..] else { panic!("{words:?}") };
    let function = point.spot.function.clone().unwrap().0;
    let moments = point.programs.iter().map(|(moment, _)| moment.name()).collect();
    (point.name.clone(), function, moments, hits.recorded.active, fetched(point))
}

#[test]
fn definitions_of_the_kernels_probe_events_are_what_they_say() {
    let expected = |name: &str, function: &str, moment, active, fetched: &[&str]| {
        let fetched: Vec<String> = fetched.iter().map(|one| (*one).to_owned()).collect();
        (name.to_owned(), function.to_owned(), vec![moment], active, fetched)
    };
    for (words, is) in [
        (
            &["p:mine read_it a=%di +8(%si):u32"][..],
            expected("mine", "read_it", "before", 0, &["a:x64", "arg2:u32"]),
        ),
        (&["p:mine", "read_it", "a=%di"], expected("mine", "read_it", "before", 0, &["a:x64"])),
        (&["p:group/mine read_it"], expected("mine", "read_it", "before", 0, &[])),
        (&["p:group/ read_it"], expected("read_it", "read_it", "before", 0, &[])),
        (&["p read_it+0"], expected("read_it+0", "read_it", "before", 0, &[])),
        (&["r:mine read_it $retval"], expected("mine", "read_it", "return", 0, &["arg1:x64"])),
        (&["r4:mine read_it got=$retval:s32"], expected("mine", "read_it", "return", 4, &["got:s32"])),
        (&["r64 read_it"], expected("read_it", "read_it", "return", 64, &[])),
        (&["p:mine read_it%return $retval"], expected("mine", "read_it", "return", 0, &["arg1:x64"])),
        (&["f:mine read_it count"], expected("mine", "read_it", "before", 0, &["count:u64"])),
        (&["f:mine read_it%return $retval->f_mode"], expected("mine", "read_it", "return", 0, &["arg1:u32"])),
        (&["read_it%return", "$retval"], expected("read_it", "read_it", "return", 0, &["arg1:x64"])),
        (&["read_it count file"], expected("read_it", "read_it", "before", 0, &["count:u64", "file:x64"])),
        (
            &["read_it", "$arg*"],
            expected(
                "read_it",
                "read_it",
                "before",
                0,
                &["file:x64", "count:u64", "flags:x64", "buf:x64", "dentry:x64", "same:x64"],
            ),
        ),
        (&["p:mine r8169:of_module+0 ring"], expected("mine", "of_module", "before", 0, &["ring:s32"])),
        // What looks like a definition, and is a place: a module's name, a function's.
        (&["r8169:of_module", "ring"], expected("r8169:of_module", "of_module", "before", 0, &["ring:s32"])),
        (&["r", "%di"], expected("r", "r", "before", 0, &["arg1:x64"])),
        (&["p:mine r %di"], expected("mine", "r", "before", 0, &["arg1:x64"])),
        (
            &["sys_openat", "dfd", "filename", "regs"],
            expected(
                "sys_openat",
                "__x64_sys_openat",
                "before",
                0,
                &["dfd:s32", "filename:string", "regs:x64"],
            ),
        ),
    ] {
        assert_eq!(told(words), is, "{words:?}");
    }
}

#[test]
fn what_no_probe_of_ours_can_be_is_told_with_what_to_do_instead() {
    for (words, expected) in [
        (&["t:mine", "sched_switch"][..], "a tracepoint is no instruction"),
        (&["t", "sched_switch"], "dynamic_events\n  t sched_switch\n  ^"),
        (&["t:sched/sched_switch"], "dynamic_events\n  t:sched/sched_switch\n  ^^^^^^^^^^^^^^^^^^^^"),
        (
            &["t:sched/sched_switch"],
            "give the line `t:sched_switch sched_switch` to the kernel's dynamic_events",
        ),
        (
            &["t:sched:sched_switch", "$arg1", "x=%di"],
            "the line `t:sched_switch sched_switch $arg1 x=%di` to",
        ),
        (&["e:mine syscalls/sys_enter_openat $filename"], "made of another event"),
        (&["e:syscalls/sys_enter_openat"], "the line `e:sys_enter_openat syscalls/sys_enter_openat` to"),
        (&["u:/bin/bash:0x4245c0"], "give the line `p /bin/bash:0x4245c0` to the kernel's uprobe_events"),
        (&["u:mine /bin/bash:0x4245c0"], "give the line `p:mine /bin/bash:0x4245c0` to"),
        (
            &["p:read_it"],
            "expected p:EVENT PLACE, as p:read_it vfs_read; if read_it is the place, write it alone",
        ),
        (&["e1000:e1000_probe"], "no module `e1000` is loaded"),
        (&["e1000:e1000_probe", "x=%di"], "no module `e1000` is loaded"),
        (
            &["p:mine /bin/bash:0x4245c0 %ip"],
            "the kernel's uprobe_events\n  p:mine /bin/bash:0x4245c0 %ip\n         ^^^^^^^^^^^^^^^^^^",
        ),
        (&["u:mine /bin/bash:0x4245c0"], "not programs"),
        (&["p4:mine read_it"], "r, not p\n  p4:mine read_it\n  ^^"),
        (
            &["r5000:mine read_it"],
            "a number up to 4096, or none for the kernel's choice\n  r5000:mine read_it\n   ^^^^",
        ),
        (
            &["p:my-name read_it"],
            "the event's name behind the `:`, EVENT or GROUP/EVENT, of letters, digits and _\n  p:my-name read_it\n    ^^^^^^^",
        ),
        (&["p:/mine read_it"], "EVENT or GROUP/EVENT"),
        (&["p: read_it"], "EVENT or GROUP/EVENT"),
        (&["p:mine read(it)"], "`(` is not expected here"),
        (&["r:mine read_it+4"], "--return needs the function itself"),
        (&["r:mine read_it count"], "add --pre"),
        (&["p:mine read_it $retval"], "add --return"),
        (
            &["r:mine end_it $retval"],
            "the function returns nothing: what is in its place can be fetched as %ax\n  $retval\n  ^^^^^^^",
        ),
        (&["p:mine nowhere"], "no function `nowhere`"),
        (&["read_it", "x=$arg*"], "$arg* stands for all arguments"),
        (&["read_it", "$arg*:u8"], "$arg* stands for all arguments"),
        (&["read_it", "+0($arg*)"], "several values"),
        (&["read_it+4", "$arg*"], "this is inside of read_it"),
    ] {
        let error = asked(words).err().unwrap_or_else(|| panic!("{words:?}")).to_string();
        assert!(error.contains(expected), "{words:?}: {error}");
    }
}

#[test]
fn a_probe_is_recorded_and_listed_by_the_name_that_its_definition_gave_it() {
    let mut hits = asked(&["p:mine read_it"]).unwrap();
    let module = Module::default();
    hits.arm(&module, &quietly(false)).unwrap();
    assert!(module.taken.borrow()[0].0.name.starts_with(b"mine\0"));
    let mut header = Header::default();
    hits.describe(&mut header);
    assert_eq!(header.probes[0].name, "mine");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    /// Texts of what definitions are made of, with types there to look members up in.
    #[test]
    fn no_definition_makes_the_command_panic(
        head in select(vec!["p:e", "r4:g/e", "f", "read_it", "sys_openat", "r8169:of_module", "p:e read_it", "t"]),
        place in select(vec!["", " read_it", " sys_openat%return", " r8169:of_module+0"]),
        parts in vec(select(vec![
            " ", " x=", "file", "->", "f_path", ".", "dentry", "d_name", "name", "f_pairs", "[", "3", "]", "f_table", "flags",
            "odd", "(", "file", ",", ")", "%di", "$arg*", "$arg5", "$retval", "+8(", "-0x10(", "@datum", ":string", ":%pD", ":x8[4]",
            ":b3@4/32", "18446744073709551615", "0x7fffffffffffffff", "4294967295", "*", "é",
        ]), 0..14),
    ) {
        thread_local!(static MACHINE: (tempfile::TempDir, System) = machine());
        let text = format!("{head}{place} {}", parts.concat());
        MACHINE.with(|(_, system)| match asked_of(system, &[&text]) {
            // What the module would refuse is refused before it is asked.
            Ok(hits) => for (_, program) in hits.points.iter().flat_map(|point| &point.programs) {
                assert!(program.steps.len() <= trapline_abi::MAX_STEPS, "{text}");
            },
            Err(error) => drop(error.to_string()),
        });
    }
}
