//! Which scenario runs on which kernels, each with the reason.
//!
//! Every scenario on every kernel takes hours. So the suite runs on every one of its kernels what
//! kernels differ in; on the oldest and the newest what would do most harm if it did not hold; on
//! the newest alone what else needs the kernel, which changes from there on; and on the oldest
//! alone what no kernel has a part in. `cargo xtask test --all` and `--kernel` run everything, by
//! hand and before a release.

use super::{
    Run, Scenario, code, config, conformance, dma, drivers, events, examples, faults, forced, forms, gate,
    hammer, harden, hotplug, inject, interrupts, leftovers, lifecycle, machine, mistakes, mmiotrace, ports,
    probes, reach, record, silence, sources, together, uses,
};
use crate::setup::Series;

/// The kernels that a scenario runs on in the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    /// Every one.
    Every,
    /// The oldest and the newest.
    Ends,
    /// The oldest, which is set up quickest.
    Oldest,
    /// The newest, on which what still holds on the older ones breaks first.
    Newest,
}

/// A scenario, where it runs, and why there.
struct Row {
    scenario: &'static Scenario,
    on: On,
    why: &'static str,
}

const fn row(scenario: &'static Scenario, on: On, why: &'static str) -> Row {
    Row { scenario, on, why }
}

const TABLE: &[Row] = {
    use On::{Ends, Every, Newest, Oldest};
    &[
        // Of CPUs at once: their machines take all cores of the host.
        row(&silence::OF_THE_BUILD, Ends, "each kernel has its own headers and tools"),
        row(&reach::OF_TRAPS, Ends, "what is inlined comes from the kernel's headers"),
        row(&reach::STACKS, Ends, "what is inlined comes from the kernel's headers"),
        row(&record::OF_EDU, Oldest, "QEMU's record, without Trapline"),
        row(&hammer::MILLION, Oldest, "the engine's and the ring's work; conformance has the kernel's part"),
        row(
            &hammer::EVERY_WIDTH,
            Oldest,
            "the engine's and the ring's work; conformance has the kernel's part",
        ),
        row(&hammer::ARMED_AND_DISARMED, Newest, "page tables are changed while CPUs use them"),
        row(&leftovers::STARTED_AND_STOPPED, Newest, "page tables are changed while CPUs use them"),
        row(&leftovers::KILLED, Newest, "what the kernel takes back from a dead command"),
        row(&leftovers::REMOVED, Newest, "what the kernel waits for as a module goes"),
        row(&drivers::TRACED, Every, "drivers, their mappings and the fault's way are the kernel's"),
        row(&conformance::HELD, Every, "each promise of the engine on the kernel's own entry"),
        row(&faults::COUNTED, Newest, "hooks of faults against the kernel's tracepoints"),
        row(&faults::NAMED, Ends, "causes are read from the kernel's tables and mappings"),
        row(&faults::MISTAKEN, Ends, "where the kernel has its regions"),
        row(&gate::COUNTED, Newest, "the kernel's entry code"),
        row(&gate::PUT_BACK, Ends, "the kernel's entry code and its hotplug"),
        // Of CPUs that take turns: two machines and more run side by side, to the end if the
        // longest begin.
        row(&code::FAULTS, Newest, "kprobes, their jumps and ftrace's entries"),
        row(&hotplug::SURVIVED, Ends, "which lock waits for which in the kernel"),
        row(&sources::SHARED, Oldest, "the module's own sessions"),
        row(&probes::STARTED_AND_STOPPED, Newest, "how the kernel patches code"),
        row(&probes::THOUSANDS, Newest, "how the kernel patches code"),
        row(&forms::EQUAL, Oldest, "the decoder's and the engine's work, whatever the kernel"),
        row(&forms::BESIDE, Oldest, "the decoder's and the engine's work, whatever the kernel"),
        row(&forms::STEPPED, Newest, "the kernel's single step and debug exception"),
        row(&code::CROWD, Newest, "how the kernel shares one breakpoint among probes"),
        row(&code::TRACED, Every, "the kernel's tracers of functions and their returns"),
        row(&examples::AS_THEY_SAY, Every, "modules of others are built with the kernel's headers"),
        row(&events::EQUAL, Ends, "the kernel's own probe events"),
        row(&faults::TIMED, Newest, "how the kernel serves a fault"),
        row(&faults::CLAIMED, Newest, "the hook before the kernel serves a fault"),
        row(&faults::LOOPING, Oldest, "the module's own bound"),
        row(&faults::BESIDE_MMIOTRACE, Newest, "the kernel's own mmiotrace"),
        row(&mmiotrace::EQUAL, Ends, "the kernel's own mmiotrace"),
        row(&probes::RECORDED, Every, "registers, stacks and returns as the kernel hands them over"),
        row(&probes::KILLED, Newest, "what the kernel takes back from a dead command"),
        row(&probes::REMOVED, Newest, "what the kernel waits for as a module goes"),
        row(&probes::TARGET_GONE, Newest, "what the kernel tells of a module that goes"),
        row(&probes::REFUSED, Oldest, "which of our allocations is refused"),
        row(&faults::AS_MODELLED, Oldest, "the CPU's paging, without Trapline"),
        row(&gate::REFUSED, Newest, "the kernel's entry code"),
        row(&machine::TOLD, Oldest, "the machine's own behaviour, without Trapline"),
        row(&together::EQUAL, Every, "all sources at once, against QEMU and the kernel's tracepoints"),
        row(&interrupts::EQUAL, Every, "whose an interrupt is, the kernel's own data say"),
        row(&forced::ONCE, Newest, "which function of the kernel calls which"),
        row(&config::EQUAL, Ends, "which functions of the kernel access configuration space"),
        row(&ports::EQUAL, Ends, "the drivers' code, and how the kernel lays out a module"),
        row(&dma::AS_BOOKED, Ends, "which functions of the kernel do the work of the DMA interface"),
        row(&dma::AS_THE_KERNEL, Every, "what drivers call, and the kernel's tracepoints of DMA"),
        row(&lifecycle::EQUAL, Ends, "which functions of the kernel bind, reset, power and load firmware"),
        row(&inject::TOLD, Newest, "a driver that is lied to"),
        row(&harden::PLANTED, Oldest, "what the command finds; the kernel only dies"),
        row(&harden::REFUSED, Oldest, "what the command does and says"),
        row(&uses::OF_TRACES, Oldest, "what the command does and says"),
        row(&uses::OF_PROBES, Oldest, "what the command does and says"),
        row(&mistakes::TOLD, Oldest, "messages of the command"),
        row(&mistakes::PROBES, Newest, "what the kernel refuses to probe"),
        row(&mistakes::FAULTS, Newest, "what the kernel refuses to watch"),
        row(&mistakes::LOCKED_DOWN, Newest, "the kernel's lockdown"),
    ]
};

/// What the debugging kernel runs: what takes locks, changes page tables and code, and comes and
/// goes while CPUs work. Not what compares texts, figures and messages, which do not depend on the
/// kernel; nor what that kernel lacks, types of its functions (BTF) and KVM.
const ON_DEBUGGING: &[&Scenario] = &[
    &hotplug::SURVIVED,
    &hammer::ARMED_AND_DISARMED,
    &leftovers::STARTED_AND_STOPPED,
    &leftovers::KILLED,
    &leftovers::REMOVED,
    &drivers::TRACED,
    &conformance::HELD,
    &code::FAULTS,
    &gate::PUT_BACK,
    &probes::STARTED_AND_STOPPED,
    &probes::THOUSANDS,
    &code::CROWD,
    &code::TRACED,
    &examples::AS_THEY_SAY,
    &faults::CLAIMED,
    &faults::BESIDE_MMIOTRACE,
    &probes::KILLED,
    &probes::REMOVED,
    &probes::TARGET_GONE,
    &probes::REFUSED,
];

impl On {
    /// Whether that is the kernel with this number of `count`, the oldest first.
    fn includes(self, number: usize, count: usize) -> bool {
        match self {
            Self::Every => true,
            Self::Ends => number == 0 || number + 1 == count,
            Self::Oldest => number == 0,
            Self::Newest => number + 1 == count,
        }
    }
}

/// What the suite runs, kernel by kernel.
pub(super) fn runs() -> impl Iterator<Item = Run> {
    let suite = Series::SUITE;
    suite.into_iter().enumerate().flat_map(move |(number, series)| {
        TABLE
            .iter()
            .filter(move |row| row.on.includes(number, suite.len()))
            .map(move |row| Run { scenario: row.scenario, series })
    })
}

/// Everything that is for one kernel.
pub(super) fn runs_on(series: Series) -> impl Iterator<Item = Run> {
    let (all, some): (&[Row], &[&'static Scenario]) =
        if series == Series::Debug { (&[], ON_DEBUGGING) } else { (TABLE, &[]) };
    let scenarios = all.iter().map(|row| row.scenario).chain(some.iter().copied());
    scenarios.map(move |scenario| Run { scenario, series })
}

/// Where the suite runs a scenario, and why.
pub(super) fn reason(scenario: &Scenario) -> String {
    let row = TABLE.iter().find(|row| std::ptr::eq(row.scenario, scenario));
    row.map_or_else(String::new, |Row { on, why, .. }| {
        let kernels = match on {
            On::Every => "every kernel",
            On::Ends => "the oldest and the newest kernel",
            On::Oldest => "the oldest kernel",
            On::Newest => "the newest kernel",
        };
        format!("{kernels}: {why}")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_scenario_has_one_row_and_runs_on_the_kernels_that_it_says() {
        let names: BTreeSet<&str> = TABLE.iter().map(|row| row.scenario.name).collect();
        assert_eq!(names.len(), TABLE.len());
        for row in TABLE {
            let on: Vec<Series> =
                runs().filter(|run| run.scenario.name == row.scenario.name).map(|run| run.series).collect();
            let (first, last) = (Series::SUITE[0], Series::SUITE[Series::SUITE.len() - 1]);
            let expected = match row.on {
                On::Every => Series::SUITE.to_vec(),
                On::Ends => vec![first, last],
                On::Oldest => vec![first],
                On::Newest => vec![last],
            };
            assert_eq!(on, expected, "{}", row.scenario.name);
        }
    }

    #[test]
    fn the_suite_s_kernels_are_stock_ones_from_the_oldest_to_the_newest() {
        assert!(Series::SUITE.is_sorted() && Series::SUITE.iter().all(|one| Series::STOCK.contains(one)));
        assert_eq!(Series::SUITE[0], Series::STOCK[0]);
    }
}
