//! The machines that scenarios run on, and what holds of the calls in all of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use trapline_engine::code::Delivery;
use trapline_sim::{Called, CodeMachine, Do, Fix, Handler, Loop, Watch};

pub(crate) const AT: u64 = 0x1000;
pub(crate) const ELSEWHERE: u64 = 0x2000;
pub(crate) const CORES: usize = 4;
pub(crate) const TIMES: u64 = 20;
pub(crate) const HITS: u64 = CORES as u64 * TIMES;
const SEEDS: u64 = 40;

/// How hits at [`AT`] are delivered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// Each, and its step's end.
    Each,
    /// Alone, by a breakpoint.
    Alone,
    /// Alone, by ftrace.
    Ftrace,
}

/// Those with an instruction that is stepped over, and may fault.
pub(crate) const STEPPED: [Way; 2] = [Way::Each, Way::Alone];

pub(crate) fn under_seeds(scenario: impl Fn(&mut CodeMachine)) {
    under_seeds_of(&[Way::Each, Way::Alone, Way::Ftrace], scenario);
}

pub(crate) fn under_seeds_of(ways: &[Way], scenario: impl Fn(&mut CodeMachine)) {
    for &way in ways {
        for seed in 0..SEEDS {
            let shown = Shown(way, seed);
            let delivery = if let Way::Each = way { Delivery::Each } else { Delivery::Alone };
            let mut machine = CodeMachine::new(CORES, seed, delivery);
            if let Way::Ftrace = way {
                machine.by_ftrace(AT);
            }
            scenario(&mut machine);
            assert!(machine.is_idle(), "a core is left inside of a hit");
            drop(shown);
        }
    }
}

/// Tells which run has failed.
struct Shown(Way, u64);

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with {:?}, seed {}", self.0, self.1);
        }
    }
}

pub(crate) fn on_all_cores(machine: &mut CodeMachine, write: impl FnOnce(&mut CodeMachine) + Send) {
    machine.run(&[Loop { address: AT, times: TIMES }; CORES], write);
    for cpu in 0..CORES {
        assert!(machine.executed(cpu) >= TIMES, "the original instruction is executed, whatever handlers do");
    }
}

pub(crate) fn hit_on_all_cores(machine: &mut CodeMachine) {
    on_all_cores(machine, |_| {});
}

pub(crate) fn watch(pre: &[Do], post: &[Do], fix: Option<Fix>) -> Arc<Watch> {
    Arc::new(Watch { pre: Some(pre.to_vec()), post: Some(post.to_vec()), fix, ..Watch::default() })
}

pub(crate) fn posts(watch: &Watch) -> u64 {
    watch.posts.load(Ordering::Relaxed)
}

pub(crate) fn asked(watch: &Watch) -> u64 {
    watch.asked.load(Ordering::Relaxed)
}

/// How often this handler of a probe was called.
pub(crate) fn calls(machine: &CodeMachine, probe: u64, handler: Handler) -> u64 {
    machine.journal().iter().filter(|call| call.probe == probe && call.handler == handler).count() as u64
}

/// In each trap, probes of an instruction are called in the order of their registration: before the
/// instruction, then after it those that were called before. `others`: probes that this is not
/// asked of, as return probes and those without a pre handler.
pub(crate) fn assert_orderly(machine: &CodeMachine, others: &[u64]) {
    let mut traps: BTreeMap<(usize, u64), Vec<Called>> = BTreeMap::new();
    for call in machine.journal() {
        if call.handler != Handler::Fix && !others.contains(&call.probe) {
            traps.entry((call.cpu, call.trap)).or_default().push(call);
        }
    }
    for calls in traps.values() {
        let order: Vec<(Handler, u64)> = calls.iter().map(|call| (call.handler, call.probe)).collect();
        assert!(order.is_sorted_by(|one, next| one < next), "out of order: {order:?}");
        for &(_, probe) in order.iter().filter(|(handler, _)| *handler == Handler::Post) {
            assert!(order.contains(&(Handler::Pre, probe)), "{probe} was not called before: {order:?}");
        }
    }
}

/// The hits that a probe saw of each core follow each other without a gap, and the end of each was
/// told it: but of one whose step has faulted, which came once more; and of the last, if it was
/// removed meanwhile.
pub(crate) fn assert_complete(machine: &CodeMachine, probe: u64) {
    let journal = machine.journal();
    for cpu in 0..CORES {
        let of = |handler| {
            let calls = journal.iter().filter(move |call| call.cpu == cpu && call.probe == probe);
            calls.filter(move |call| call.handler == handler)
        };
        let hits: Vec<&Called> = of(Handler::Pre).collect();
        for two in hits.windows(2) {
            let again = two[1].number == two[0].number;
            let ended = of(Handler::Post).any(|end| end.trap == two[0].trap);
            assert!(again || two[1].number == two[0].number + 1, "probe {probe} missed a hit: {two:?}");
            assert_ne!(again, ended, "what probe {probe} is told of the end of {:?}", two[0]);
        }
    }
}
