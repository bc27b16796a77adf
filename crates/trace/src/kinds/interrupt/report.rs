//! Interrupts in a report: by vector, by handler with what it returned; how long handlers took;
//! what nobody claimed, and storms.

use std::collections::BTreeMap;
use std::io;

use hashbrown::HashMap;
use trapline_abi::{INTERRUPT_FIRST, INTERRUPT_LAST, Signal};

use super::{Interrupt, Outcome, vector_name};
use crate::PciAddress;
use crate::kinds::EventKind;
use crate::report::{Activity, Code, Count, Latency, Page, Section, Seen, Texts, counted, function, plain};
use crate::write::{duration, grouped};

/// How a report calls interrupts, and calls of their handlers.
const UNIT: &str = "interrupts";
const CALLS: &str = "calls";

/// The time in which interrupts are counted to see whether they are a storm, in nanoseconds.
const WINDOW: u64 = 100_000_000;

/// So many of one vector in a [`WINDOW`] are a storm: 50,000 in a second, which leaves 20
/// microseconds from one to the next. What devices do at most under load is below, since they
/// moderate it.
const STORM: u64 = 5_000;

/// So many that no handler claimed are one: the kernel switches a line off when nearly all of
/// 100,000 were not claimed (note_interrupt() in kernel/irq/spurious.c).
const UNCLAIMED_STORM: u64 = 500;

/// Counts in windows of time, of which the fullest is kept.
#[derive(Debug, Default)]
struct Rate {
    window: u64,
    count: u64,
    /// The most, and when that window began.
    peak: (u64, u64),
}

impl Rate {
    fn add(&mut self, time: u64) {
        let window = time / WINDOW;
        if window != self.window {
            (self.window, self.count) = (window, 0);
        }
        self.count += 1;
        if self.count > self.peak.0 {
            self.peak = (self.count, window * WINDOW);
        }
    }
}

/// What is counted of one vector.
#[derive(Debug, Default)]
struct Vector {
    all: Rate,
    count: u64,
    unclaimed: Rate,
    /// Interrupts that no handler claimed.
    nobodys: u64,
}

/// What is counted of interrupts.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    activity: Activity,
    /// By device, number, and how it comes: a driver that binds anew may get a number for another
    /// message than before.
    vectors: BTreeMap<(PciAddress, u32, Signal, u16), Vector>,
    /// Interrupts, however many handlers each has.
    interrupts: u64,
    /// Whether a handler has claimed the interrupt that is under way, by CPU and number.
    claimed: HashMap<(u16, u32), bool>,
    /// Calls of a handler by what it returned, those in threads apart.
    handlers: HashMap<(Code, bool), [u64; Outcome::COUNT]>,
    latency: Latency,
    /// Calls whose end was not seen.
    unended: u64,
}

impl Tally {
    pub(super) fn add(&mut self, seen: &Seen<'_>, interrupt: &Interrupt<'_>, texts: &mut Texts) {
        let event = seen.event;
        self.activity.add(event, interrupt.site.as_ref(), interrupt.handler, texts);
        match interrupt.outcome {
            Some(outcome) => {
                if let Some(code) = Code::of(interrupt.site.as_ref(), interrupt.handler, texts) {
                    let counts = self.handlers.entry((code, interrupt.is_in_thread())).or_default();
                    counts[outcome as usize] += 1;
                }
            }
            None => self.unended += 1,
        }
        if let Some(took) = interrupt.took {
            self.latency.add(took);
        }
        if interrupt.is_in_thread() {
            return;
        }
        let key = (interrupt.device, interrupt.irq, interrupt.signal, interrupt.index);
        let vector = self.vectors.entry(key).or_default();
        if interrupt.flags.has(INTERRUPT_FIRST) {
            self.interrupts += 1;
            vector.count += 1;
            vector.all.add(event.time);
            self.claimed.insert((event.cpu, interrupt.irq), false);
        }
        // Of one that had begun before the trace it is not known whether it was claimed.
        let Some(claimed) = self.claimed.get_mut(&(event.cpu, interrupt.irq)) else { return };
        *claimed |= interrupt.outcome != Some(Outcome::None);
        if interrupt.flags.has(INTERRUPT_LAST) {
            if !*claimed {
                vector.nobodys += 1;
                vector.unclaimed.add(event.time);
            }
            self.claimed.remove(&(event.cpu, interrupt.irq));
        }
    }

    /// Interrupts.
    pub(crate) fn interrupts(&self) -> u64 {
        self.interrupts
    }

    /// Of each device's vectors, the most frequent first: what it is and how often it came.
    pub(crate) fn vectors(&self) -> Vec<(String, u64)> {
        let mut rows: Vec<_> = self
            .vectors
            .iter()
            .filter(|(_, vector)| vector.count > 0)
            .map(|((device, irq, signal, index), vector)| {
                let mut name = format!("{} irq {irq}, {}", device.short(), vector_name(*signal, *index));
                if vector.nobodys > 0 {
                    name += &format!(": {} claimed by no handler", grouped(vector.nobodys));
                }
                (name, vector.count)
            })
            .collect();
        rows.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        rows
    }

    /// What must not be overlooked, a sentence each.
    pub(crate) fn storms(&self) -> Vec<String> {
        let mut storms = Vec::new();
        for ((device, irq, signal, index), vector) in &self.vectors {
            for (rate, least, what) in
                [(&vector.all, STORM, ""), (&vector.unclaimed, UNCLAIMED_STORM, ", claimed by no handler")]
            {
                let (count, from) = rate.peak;
                if count >= least {
                    let seconds = from as f64 / 1e9;
                    storms.push(format!(
                        "INTERRUPT STORM: irq {irq} of {}, {}, came {} times within {} from {seconds:.1} s on{what}",
                        device.short(),
                        vector_name(*signal, *index),
                        grouped(count),
                        duration(WINDOW),
                    ));
                }
            }
        }
        storms
    }

    /// By handler: how often it returned what.
    fn handlers(&self, texts: &Texts) -> Vec<(String, u64)> {
        let mut rows: Vec<_> = self
            .handlers
            .iter()
            .map(|((code, in_thread), counts)| {
                let all = counts.iter().sum();
                let outcomes = [Outcome::Handled, Outcome::None, Outcome::WakeThread, Outcome::Bad];
                let told: Vec<_> = outcomes
                    .into_iter()
                    .filter(|outcome| counts[*outcome as usize] > 0)
                    .map(|outcome| format!("{} {}", outcome.words(), grouped(counts[outcome as usize])))
                    .collect();
                let thread = if *in_thread { " (thread)" } else { "" };
                (format!("{}{thread}: {}", function(&code.count(all, texts)), told.join(", ")), all)
            })
            .collect();
        rows.sort_by(|(one, fewer), (other, more)| more.cmp(fewer).then_with(|| one.cmp(other)));
        rows
    }
}

fn rows(texts: &[(String, u64)]) -> Vec<Count<'_>> {
    texts.iter().map(|(name, count)| Count { name, count: *count, ..Count::default() }).collect()
}

impl Section for Tally {
    fn kind(&self) -> &'static str {
        Interrupt::NAME
    }

    fn activity(&self) -> Option<&Activity> {
        Some(&self.activity)
    }

    fn headline(&self) -> String {
        counted(self.interrupts, "interrupt", "interrupts")
    }

    fn tables(&self, page: &mut Page<'_>) -> io::Result<()> {
        page.table((UNIT, "vector", "vectors"), &rows(&self.vectors()), plain)?;
        page.table((CALLS, "handler", "handlers"), &rows(&self.handlers(page.texts)), plain)?;
        if self.latency.count() > 0 {
            page.dim(&format!("\n{CALLS:>12}  took: {}", self.latency.sentence()))?;
            self.latency.write(&mut page.out)?;
        }
        page.cpus(CALLS, &self.activity)?;
        if self.unended > 0 {
            let calls = counted(self.unended, "call of a handler has", "calls of handlers have");
            writeln!(page.out, "{calls} no end in the trace")?;
        }
        self.storms().iter().try_for_each(|storm| page.alarm(storm))
    }
}

#[cfg(test)]
mod tests {
    use trapline_abi::{Flags, PciFunction};

    use super::*;
    use crate::{Event, What};

    const ONE: u8 = INTERRUPT_FIRST | INTERRUPT_LAST;

    fn tally(calls: impl IntoIterator<Item = (u64, u8, Option<Outcome>)>) -> (Tally, Texts) {
        let (mut tally, mut texts) = Default::default();
        for (time, flags, outcome) in calls {
            let interrupt = Interrupt {
                device: PciFunction::new(0, 0, 3, 0).into(),
                irq: 11,
                signal: Signal::Line,
                index: 0,
                flags: Flags(flags),
                handler: 0x1000 + u64::from(flags),
                site: None,
                outcome,
                took: outcome.map(|_| 800),
            };
            let what = What::Interrupt(interrupt.clone());
            let event = Event { time, cpu: 1, pid: 0, tgid: 0, comm: "swapper/1", what };
            Tally::add(&mut tally, &Seen { event: &event, nth: 0 }, &interrupt, &mut texts);
        }
        (tally, texts)
    }

    #[test]
    fn an_interrupt_is_claimed_if_one_of_its_handlers_claims_it() {
        use Outcome as O;
        let (tally, texts) = tally([
            // The end of one that had begun before.
            (1, INTERRUPT_LAST, Some(O::None)),
            (2, INTERRUPT_FIRST, Some(O::None)),
            (3, 0, Some(O::Handled)),
            (4, INTERRUPT_LAST, Some(O::None)),
            (5, INTERRUPT_FIRST, Some(O::None)),
            (6, INTERRUPT_LAST, Some(O::None)),
            (7, ONE, Some(O::WakeThread)),
            (8, super::super::INTERRUPT_THREAD, Some(O::Handled)),
            // Not known, so not said.
            (9, ONE, None),
        ]);
        assert_eq!(tally.interrupts(), 4);
        assert_eq!(tally.vectors(), [("00:03.0 irq 11, line: 1 claimed by no handler".into(), 4)]);
        assert_eq!(tally.unended, 1);
        assert_eq!(tally.storms(), [] as [String; 0]);
        let handlers = tally.handlers(&texts);
        assert_eq!(handlers[0], ("0x1002: not its own 3".into(), 3));
        assert!(handlers.contains(&("0x1004 (thread): handled 1".into(), 1)), "{handlers:?}");
    }

    #[test]
    fn a_number_that_is_given_to_another_message_is_another_vector() {
        let (mut tally, mut texts) = tally([(1, ONE, Some(Outcome::Handled))]);
        let message = Interrupt {
            device: PciFunction::new(0, 0, 3, 0).into(),
            irq: 11,
            signal: Signal::MsiX,
            index: 2,
            flags: Flags(ONE),
            handler: 0x1000,
            site: None,
            outcome: Some(Outcome::Handled),
            took: Some(800),
        };
        for time in [2, 3] {
            let what = What::Interrupt(message.clone());
            let event = Event { time, cpu: 1, pid: 0, tgid: 0, comm: "swapper/1", what };
            Tally::add(&mut tally, &Seen { event: &event, nth: 0 }, &message, &mut texts);
        }
        let expected = [("00:03.0 irq 11, MSI-X 2".into(), 2), ("00:03.0 irq 11, line".into(), 1)];
        assert_eq!(tally.vectors(), expected);
    }

    #[test]
    fn a_storm_is_told_with_when_it_was_at_its_worst_and_what_is_frequent_is_none() {
        let every = |step: u64, count: u64| (0..count).map(move |n| (3_000_000_000 + n * step, ONE, Some(Outcome::Handled)));
        // 40,000 a second for a second, and 100,000 a second for a fifth of one.
        assert!(tally(every(25_000, 40_000)).0.storms().is_empty());
        let storms = tally(every(10_000, 20_000)).0.storms();
        let expected = "INTERRUPT STORM: irq 11 of 00:03.0, line, came 10,000 times within 100.0 ms from 3.0 s on";
        assert_eq!(storms, [expected]);
        let nobodys = (0..600).map(|n| (3_000_000_000 + n * 100_000, ONE, Some(Outcome::None)));
        let storms = tally(nobodys).0.storms();
        assert!(storms[0].ends_with("600 times within 100.0 ms from 3.0 s on, claimed by no handler"), "{storms:?}");
    }
}
