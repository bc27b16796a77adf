//! A code probe was hit.

mod columns;
mod human;
mod json;
mod probe;
mod report;

use std::borrow::Cow;
use std::io;

use serde::{Deserialize, Serialize};
use trapline_abi::{Flags, HitPayload};

use super::EventKind;
use crate::file::{Cells, Row};
use crate::merge::Gathered;
use crate::report::{Seen, Shown, Texts};
use crate::write::{Drawing, Line, MmiotraceLines};
use crate::{Event, Names, Site};
pub(crate) use columns::{ArgumentsBuilder, StackBuilder, arguments, argument_list, stack, stack_list};
pub(crate) use json::JsonFrame;
pub use probe::{Format, Item, Layout, Moment, Probe};
pub(crate) use report::Tally;

/// Where in a record's payload the words begin that the probe's program fetched.
const WORDS: usize = 16;

/// What hits are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// Of which probes of the header, by [`Probe::id`].
    pub probes: Vec<u32>,
    /// In which process alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
    /// On which CPU alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
}

/// A hit of a code probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit<'a> {
    /// Name of the probe.
    pub probe: &'a str,
    /// When it was recorded.
    pub moment: Moment,
    /// Address of the probed instruction; of a return, the address returned to.
    pub ip: u64,
    /// Which function that is in, once named.
    pub site: Option<Site<'a>>,
    /// Only [`Flags::INTERRUPT`] is used.
    pub flags: Flags,
    /// What was fetched.
    pub arguments: Vec<Argument<'a>>,
    /// The return addresses on the kernel stack, the innermost first, if they were asked for.
    pub stack: Option<Vec<Frame<'a>>>,
}

/// An argument that a hit fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Its type, as `u32`, `string` or `x8[4]`.
    pub form: &'a str,
    /// Its value as text, without quotes around a string; `None` if it could not be fetched.
    pub value: Option<Cow<'a, str>>,
    /// Its value as a number, if it is one; a signed one extended to 64 bits.
    pub number: Option<u64>,
}

/// A place on a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The return address.
    pub ip: u64,
    /// Which function that is in, once named.
    pub site: Option<Site<'a>>,
}

impl<'a> EventKind<'a> for Hit<'a> {
    const NAME: &'static str = "hit";
    const TITLE: Option<&'static str> = Some(
        "         seconds  cpu  task                   probe                            arguments",
    );

    type Tally = Tally;

    fn decode(from: Gathered<'a>) -> Option<Self> {
        let payload = HitPayload::from_words(from.record.payload);
        let probe = from.known.probes.get(&payload.probe).filter(|_| from.is_whole)?;
        let (arguments, stack) = probe.decode(payload.faults, from.bytes.get(WORDS..)?)?;
        let (ip, flags) = (payload.ip, Flags(from.record.flags));
        Some(Self { probe: &probe.name, moment: probe.moment, ip, site: None, flags, arguments, stack })
    }

    fn named(mut self, names: &'a Names) -> Self {
        self.site = names.site(self.ip).or(self.site);
        for frame in self.stack.iter_mut().flatten() {
            frame.site = names.site(frame.ip).or(frame.site);
        }
        for argument in self.arguments.iter_mut().filter(|one| matches!(one.form, "symbol" | "symstr")) {
            if let (Some(value), Some(address)) = (&mut argument.value, argument.number)
                && let Some(symbol) = names.symbol(address)
            {
                *value = symbol.into();
            }
        }
        self
    }

    fn cells(&self) -> Cells<'_> {
        Cells {
            ip: Some(self.ip),
            site: self.site,
            flags: Some(self.flags),
            probe: Some(self.probe),
            moment: Some(self.moment.name()),
            arguments: Some(&self.arguments),
            stack: self.stack.as_deref(),
            ..Cells::default()
        }
    }

    fn from_row(row: &Row<'_, 'a>) -> Option<Self> {
        Some(Self {
            probe: row.probe()?,
            moment: Moment::from_name(row.moment()?)?,
            ip: row.ip()?,
            site: row.site(),
            flags: row.flags()?,
            arguments: row.arguments()?,
            stack: match row.stack() {
                Some(stack) => Some(stack?),
                None => None,
            },
        })
    }

    fn human(&self, event: &Event<'_>, line: &mut Line<'_>) -> std::fmt::Result {
        human::write(self, event, line)
    }

    fn json(&self) -> impl Serialize {
        json::Fields::new(self)
    }

    fn draw(&self, drawing: &mut Drawing<'_>) {
        drawing.name(self.probe);
        for argument in &self.arguments {
            match (argument.number, &argument.value) {
                (_, None) => drawing.word(argument.name, "(fault)"),
                (Some(number), Some(_)) if argument.form.starts_with('u') => {
                    drawing.number(argument.name, number);
                }
                (_, Some(value)) => drawing.text(argument.name, value),
            }
        }
        drawing.word("when", self.moment.name());
        drawing.origin(self.site.as_ref(), self.ip);
        drawing.on_task();
        drawing.on_cpu();
    }

    fn shown(&self) -> Option<Shown<'_>> {
        let place = report::title(self.probe, self.moment).into();
        let op = self.moment.name();
        Some(Shown { place, op, site: self.site.as_ref(), ip: self.ip, ..Shown::of(Self::NAME) })
    }

    fn mmiotrace(&self, _lines: &mut MmiotraceLines<'_>) -> io::Result<()> {
        Err(MmiotraceLines::refused(&format!("a hit of the code probe {}", self.probe)))
    }

    fn count(&self, seen: &Seen<'_>, tally: &mut Tally, texts: &mut Texts) {
        tally.add(seen, self, texts);
    }
}
