//! The command on a machine in a folder and a module in memory: everything but the kernel.

use std::cell::{Cell, RefCell};

use clap::Parser;
use rustix::io::Errno;
use trapline_abi::{
    Counters, FaultCounts, FaultWatch, Info, ListEntry, ListKind, Op, ProbeCounts, RingGeometry, Step, Watch,
};

use super::*;
use crate::args::{Cli, Command};
use crate::system::tests::with;

fn options(line: &str) -> Options {
    let words = ["trapline", "probe"].into_iter().chain(line.split(' '));
    let Command::Probe(options) = Cli::parse_from(words).command else { panic!("not probe") };
    options
}

/// A module that takes what it is given, or refuses everything for one reason.
#[derive(Default)]
struct Module {
    refusal: Option<(ProbeError, Errno)>,
    taken: RefCell<Vec<(CodeProbe, Vec<Step>)>>,
    /// Whether the module that is probed has gone.
    is_gone: Cell<bool>,
}

impl Control for Module {
    fn info(&self) -> io::Result<Info> {
        Ok(Info::default())
    }

    fn start(&self, _kind: SessionKind, _buffer: u64) -> io::Result<RingGeometry> {
        Err(Errno::NOSYS.into())
    }

    fn watch(&self, _watch: &mut Watch) -> io::Result<()> {
        Err(Errno::NOSYS.into())
    }

    fn probe(&self, probe: &mut CodeProbe, program: &[Step]) -> io::Result<()> {
        if let Some((error, errno)) = self.refusal {
            probe.error = error as u32;
            return Err(errno.into());
        }
        let mut taken = self.taken.borrow_mut();
        probe.id = 100 + taken.len() as u64;
        taken.push((*probe, program.to_vec()));
        Ok(())
    }

    fn list(&self, id: u64) -> io::Result<Option<ListEntry>> {
        let counts = ProbeCounts { hits: id, missed: 1, ..ProbeCounts::default() };
        let flags = if self.is_gone.get() { LIST_GONE } else { 0 };
        Ok(Some(ListEntry { kind: ListKind::Code as u32, flags, counts, ..ListEntry::from(id) }))
    }

    fn faults(&self, _watch: &mut FaultWatch) -> io::Result<()> {
        Err(Errno::NOSYS.into())
    }

    fn fault_counts(&self) -> io::Result<FaultCounts> {
        Err(Errno::NOSYS.into())
    }

    fn stop(&self) -> io::Result<Counters> {
        Err(Errno::NOSYS.into())
    }
}

fn hits(programs: Vec<(Moment, Program)>) -> Hits {
    let function = Some(("vfs_read".into(), None, 0xffff_ffff_8100_0000));
    Hits {
        spot: Spot { name: "vfs_read+1".into(), address: 0xffff_ffff_8100_0001, function },
        programs,
        around: Some((0xffff_ffff_8100_0000, 0xffff_ffff_8100_0004)),
        stack: true,
        process: Some(7),
        cpu: ANY,
        active: 64,
        limit: None,
        symbols: None,
        registers: Registers::none(),
        is_gone: false,
        probes: Vec::new(),
        ids: Vec::new(),
    }
}

#[test]
fn hits_are_recorded_before_the_instruction_unless_another_moment_is_asked_for() {
    use Moment::{After, Before, Return};
    assert_eq!(moments(&options("f")), [Before]);
    assert_eq!(moments(&options("f --return")), [Return]);
    assert_eq!(moments(&options("f --post")), [After]);
    assert_eq!(moments(&options("f --pre --return --post")), [Before, After, Return]);
}

#[test]
fn options_may_stand_before_between_and_behind_what_is_fetched() {
    let options = options("--stack do_sys_open +8(%si):string --max 3 x=%di -- cat --stack");
    assert_eq!(options.spec, "do_sys_open");
    assert_eq!(options.fetch, ["+8(%si):string", "x=%di"]);
    assert_eq!(options.max, Some(3));
    assert_eq!(options.trace.command, ["cat", "--stack"]);
}

#[test]
fn each_moment_is_a_probe_of_its_own_and_their_counts_are_added() {
    let steps = vec![Step { op: Op::ReturnValue as u8, ..Step::default() }];
    let program = Program { steps: steps.clone(), layouts: Vec::new() };
    let mut hits = hits(vec![(Moment::Before, Program::default()), (Moment::Return, program)]);
    let module = Module::default();
    hits.arm(&module, true).unwrap();
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
    assert_eq!(hits.counted(&module), ProbeTotals { hits: 201, missed: 2, ..ProbeTotals::default() });
}

#[test]
fn a_module_that_goes_while_it_is_probed_is_told_once_and_counted() {
    let mut hits = hits(vec![(Moment::Before, Program::default()), (Moment::Return, Program::default())]);
    hits.spot.name = "dummy:dummy_setup".into();
    hits.spot.function = Some(("dummy_setup".into(), Some("dummy".into()), hits.spot.address));
    let module = Module::default();
    hits.arm(&module, true).unwrap();
    assert_eq!(hits.gone(&module), None);
    module.is_gone.set(true);
    let expected = "the module dummy, in which dummy:dummy_setup is probed, is gone";
    assert_eq!(hits.gone(&module).as_deref(), Some(expected));
    assert_eq!(hits.gone(&module), None);
    assert_eq!(hits.counted(&module).gone, 2);
}

#[test]
fn a_refusal_of_the_kernel_is_told_with_its_reason() {
    let refused = |reason, errno| {
        let module = Module { refusal: Some((reason, errno)), ..Module::default() };
        let error = hits(vec![(Moment::Before, Program::default())]).arm(&module, true).unwrap_err();
        (error.to_string(), error.exit())
    };
    let (text, exit) = refused(ProbeError::InsideInstruction, Errno::ILSEQ);
    assert!(text.contains("vfs_read+1") && text.contains("begin at vfs_read+0x0 and vfs_read+0x4"), "{text}");
    assert!(text.contains("a debugger has a breakpoint"), "{text}");
    assert_eq!(exit, 2);
    let (text, exit) = refused(ProbeError::NotProbeable, Errno::INVAL);
    assert!(
        text.contains("no code") && text.contains("a jump label, a static call, an alternative"),
        "{text}"
    );
    assert_eq!(exit, 2);
    let (text, exit) = refused(ProbeError::Taken, Errno::BUSY);
    assert!(text.contains("live patch"), "{text}");
    assert_eq!(exit, 3);
    let (text, exit) = refused(ProbeError::NoMemory, Errno::NOMEM);
    assert!(text.contains("memory"), "{text}");
    assert_eq!(exit, 1);
}

#[test]
fn a_cpu_that_is_not_there_is_told() {
    let (_root, system) = with(&[("sys/devices/system/cpu/possible", "0-3\n")]);
    assert!(check_cpu(&system, Some(3)).is_ok());
    let text = check_cpu(&system, Some(4)).unwrap_err().to_string();
    assert!(text.contains("no CPU 4") && text.contains("0-3"), "{text}");
}
