//! The steps of a trace: its accesses, with what repeats folded.

use hashbrown::HashMap;
use trapline_abi::{Change, Flags, Way};

use crate::report::Texts;
use crate::{Access, Direction, Event, Place, Value};

/// What makes a step the same in both traces: register, width, direction. The register's name is
/// not part of it: the traces may have been named by different files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) spot: Spot,
    pub(super) width: u8,
    pub(super) direction: Direction,
}

/// Where a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Spot {
    Device { device: u32, bar: u8, offset: u64 },
    Physical(u64),
    Linear(u64),
}

impl Key {
    pub(super) fn new(access: &Access<'_>, place: Option<&Place<'_>>, texts: &mut Texts) -> Self {
        let spot = match (place, access.physical) {
            (Some(place), _) => {
                Spot::Device { device: texts.number(place.device), bar: place.bar, offset: place.offset }
            }
            (None, Some(physical)) => Spot::Physical(physical),
            (None, None) => Spot::Linear(access.address),
        };
        Self { spot, width: access.width, direction: access.direction }
    }

    /// The number of the device's name.
    pub(super) fn device(&self) -> Option<u32> {
        match self.spot {
            Spot::Device { device, .. } => Some(device),
            Spot::Physical(_) | Spot::Linear(_) => None,
        }
    }
}

/// What was read or written; a number takes less room than a [`Value`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum StepValue {
    Unknown,
    Number(u64),
    Wide(Box<[u8]>),
}

impl StepValue {
    fn new(value: Option<&Value>) -> Self {
        match value {
            None => Self::Unknown,
            Some(value) if value.bytes().len() <= 8 => Self::Number(value.low()),
            Some(value) => Self::Wide(value.bytes().into()),
        }
    }

    /// With all its digits.
    pub(super) fn text(&self, width: u8) -> String {
        let value = match self {
            Self::Unknown => None,
            Self::Number(number) => Value::from_u64(*number, width),
            Self::Wide(bytes) => Value::new(bytes),
        };
        value.map_or_else(|| "unknown".into(), |value| value.to_string())
    }
}

/// An access, or reads of one register that follow each other.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Number of its key.
    pub(super) key: u32,
    /// The last value.
    pub(super) value: StepValue,
    /// Whether that is not what the device said, or not what it was given.
    pub(super) is_lie: bool,
    /// Accesses that it stands for.
    pub(super) count: u64,
    /// Time of the first, since the first access of the trace.
    pub(super) since: u64,
    /// Time of the first.
    pub(super) time: u64,
    /// Whose it is.
    pub(super) stream: Stream,
    /// Function and module by number, or the instruction's address.
    pub(super) code: Code,
}

/// Which function an access is in, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Function { name: u32, module: Option<u32> },
    Address(u64),
}

/// Steps that follow each other in both traces, if they are the same work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Stream {
    pub(super) is_interrupt: bool,
    /// What kind of task, by number.
    pub(super) task: u32,
}

/// The steps of one trace.
#[derive(Debug, Default)]
pub(super) struct Steps {
    pub(super) steps: Vec<Step>,
    pub(super) accesses: u64,
    /// Records that the trace lost, at least.
    pub(super) lost: u64,
    /// Time of the first access.
    first: Option<u64>,
    /// The last step of each stream, in whichever thread.
    last: HashMap<(Stream, u32), usize>,
}

impl Steps {
    /// Adds an access whose key has this number.
    pub(super) fn add(
        &mut self,
        number: u32,
        key: Key,
        event: &Event<'_>,
        access: &Access<'_>,
        texts: &mut Texts,
    ) {
        // It did not take place, or the driver did not make it.
        if access.way == Some(Way::Forbidden) || access.change == Change::Repeated {
            return;
        }
        self.accesses += 1;
        let first = *self.first.get_or_insert(event.time);
        let is_interrupt = access.flags.has(Flags::INTERRUPT);
        let task = if is_interrupt { texts.number("") } else { texts.number(kind_of_task(event.comm)) };
        let stream = Stream { is_interrupt, task };
        let code = match access.site {
            Some(site) => Code::Function {
                name: texts.number(site.function),
                module: site.module.map(|module| texts.number(module)),
            },
            None => Code::Address(access.ip),
        };
        let value = StepValue::new(seen_by_the_driver(access));
        let is_lie = access.change != Change::None || access.flags.has(Flags::SUPPLIED | Flags::DROPPED);
        // An interrupt's reads are its own, whichever task it came into.
        let thread = (stream, if is_interrupt { event.cpu.into() } else { event.pid });
        if key.direction == Direction::Read
            && let Some(step) = self.last.get(&thread).map(|last| &mut self.steps[*last])
            && step.key == number
        {
            step.count += 1;
            step.value = value;
            step.is_lie = is_lie;
            return;
        }
        self.last.insert(thread, self.steps.len());
        let since = event.time.saturating_sub(first);
        self.steps.push(Step { key: number, value, is_lie, count: 1, since, time: event.time, stream, code });
    }
}

/// What the driver read, or wrote: of a write that was changed, what it was before.
fn seen_by_the_driver<'v>(access: &'v Access<'_>) -> Option<&'v Value> {
    match (access.direction, access.change) {
        (Direction::Write, Change::Known | Change::Unknown) => access.original.as_ref(),
        _ => access.value.as_ref(),
    }
}

/// What kind of task one is: workers of the kernel and of udev have numbers in their names that
/// mean nothing.
fn kind_of_task(comm: &str) -> &str {
    let kind = comm.split(['/', ':']).next().unwrap_or(comm);
    kind.trim_end_matches(|char: char| char.is_ascii_digit() || char == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_tasks_name_mean_nothing() {
        for (comm, kind) in [
            ("kworker/3:2", "kworker"),
            ("modprobe", "modprobe"),
            ("irq/24-eth0", "irq"),
            ("dd2", "dd"),
            ("", ""),
        ] {
            assert_eq!(kind_of_task(comm), kind);
        }
    }
}
