//! What an event is on a timeline: the figure that its kind draws.

use super::flow::Flow;
use super::proto::{DebugAnnotation, TrackEvent, Type};
use super::sequence::{Name, Sequence, Spot};
use crate::write::{place, printable, site, task};
use crate::{Event, Place, Site};

/// An event that is being drawn. It is on some tracks; the first of them has all its arguments, the
/// others the first argument only: what is told three times makes a file three times as long.
pub(crate) struct Drawing<'d> {
    pub(super) sequence: &'d mut Sequence,
    pub(super) event: &'d Event<'d>,
    pub(super) figure: Figure,
}

/// What was drawn.
#[derive(Debug, Default)]
pub(super) struct Figure {
    on: Vec<On>,
    /// Number of the name.
    name: u64,
    /// Number of the name that many of it have, one behind the other.
    name_of_many: u64,
    /// The name itself, if that occurs once.
    text: Option<String>,
    arguments: Vec<DebugAnnotation>,
    took: Option<u64>,
    /// What of an arrow is at it.
    flow: Option<Flow>,
}

/// A track.
#[derive(Debug)]
enum On {
    /// A track on which slices nest.
    Track(u64),
    /// A track on which those that take time may overlap: they are instants there.
    Instants(u64),
    /// That of a register, with its label.
    Register(Spot, String),
}

impl Drawing<'_> {
    /// Names it.
    pub(crate) fn name(&mut self, name: &str) {
        self.figure.name = self.sequence.name(Name::Event, &printable(name));
    }

    /// Names it and what many of it are, which follow each other without a difference.
    pub(crate) fn names(&mut self, one: &str, many: &str) {
        self.name(one);
        self.figure.name_of_many = self.sequence.name(Name::Event, &printable(many));
    }

    /// Names it by a text that hardly occurs again.
    pub(crate) fn text_as_name(&mut self, text: &str) {
        self.figure.text = Some(printable(text));
    }

    /// Puts it on the track of its CPU.
    pub(crate) fn on_cpu(&mut self) {
        let track = self.sequence.cpu(self.event.cpu);
        // A task that waits for a page gives its CPU to another one, which may have a fault too.
        let on = if self.figure.took.is_some() { On::Instants(track) } else { On::Track(track) };
        self.figure.on.push(on);
    }

    /// Puts it on the track of its CPU, which does nothing else that takes time meanwhile.
    pub(crate) fn on_cpu_alone(&mut self) {
        let track = self.sequence.cpu(self.event.cpu);
        self.figure.on.push(On::Track(track));
    }

    /// Puts it on the track of its task, if that is known.
    pub(crate) fn on_task(&mut self) {
        if let Some(track) = self.sequence.task(self.event) {
            self.figure.on.push(On::Track(track));
        }
    }

    /// Puts it on the track of what is of no CPU.
    pub(crate) fn on_markers(&mut self) {
        let track = self.sequence.markers();
        self.figure.on.push(On::Track(track));
    }

    /// Puts it on the track of a register, which has `value` now if that is known.
    pub(crate) fn on_register(
        &mut self,
        at: Option<&Place<'_>>,
        physical: Option<u64>,
        linear: u64,
        value: Option<u64>,
    ) {
        let (device, bar, offset) = match at {
            Some(place) => (place.device, place.bar, place.offset),
            None => ("outside of every device", 0, physical.unwrap_or(linear)),
        };
        let spot = Spot { device: self.sequence.device(device), bar, offset };
        let label = register(at, physical, linear);
        if let Some(value) = value {
            self.sequence.value(self.event.time, spot, &label, value);
        }
        self.figure.on.push(On::Register(spot, label));
    }

    /// It took so many nanoseconds. To be said before the tracks are named.
    pub(crate) fn took(&mut self, nanoseconds: u64) {
        self.figure.took = Some(nanoseconds);
    }

    /// Adds a count.
    pub(crate) fn number(&mut self, name: &str, number: u64) {
        self.argument(name, DebugAnnotation { uint_value: Some(number), ..Default::default() });
    }

    /// Adds an address or a value, which is shown in hexadecimal.
    pub(crate) fn hex(&mut self, name: &str, number: u64) {
        self.argument(name, DebugAnnotation { pointer_value: Some(number), ..Default::default() });
    }

    /// Adds a text of which there are few different ones.
    pub(crate) fn word(&mut self, name: &str, text: &str) {
        let iid = self.sequence.name(Name::Text, &printable(text));
        self.argument(name, DebugAnnotation { string_value_iid: Some(iid), ..Default::default() });
    }

    /// Adds a text.
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        let text = Some(printable(text));
        self.argument(name, DebugAnnotation { string_value: text, ..Default::default() });
    }

    /// Adds who did it: the function, or the address of its instruction, and the task.
    pub(crate) fn origin(&mut self, at: Option<&Site<'_>>, ip: u64) {
        if at.is_some() {
            self.word("function", &site(at, ip));
        } else if ip != 0 {
            self.hex("ip", ip);
        }
        if self.event.has_task() {
            self.word("task", &task(self.event));
        }
    }

    fn argument(&mut self, name: &str, value: DebugAnnotation) {
        let argument = self.sequence.argument(name, value);
        self.figure.arguments.push(argument);
    }
}

/// What a register is called: `CTRL 0+00000`, or where it is.
pub(crate) fn register(at: Option<&Place<'_>>, physical: Option<u64>, linear: u64) -> String {
    match at {
        Some(Place { bar, offset, register: Some(name), .. }) => format!("{name} {bar}+{offset:05x}"),
        Some(Place { bar, offset, register: None, .. }) => format!("{bar}+{offset:05x}"),
        None => place(None, physical, linear),
    }
}

impl Figure {
    /// With what of an arrow is at it.
    pub(super) fn with_flow(self, flow: Option<Flow>) -> Self {
        Self { flow, ..self }
    }

    /// Writes it: `count` of it, which began at `begin` and of which the last was at `last`.
    pub(super) fn write(mut self, sequence: &mut Sequence, begin: u64, last: u64, count: u64) {
        if count > 1 {
            self.name = self.name_of_many;
            let reads = DebugAnnotation { uint_value: Some(count), ..Default::default() };
            self.arguments.push(sequence.argument("reads", reads));
        }
        let end = match self.took {
            Some(took) => Some(begin.saturating_add(took)),
            None => (count > 1).then_some(last),
        };
        let Self { on, name, text, mut arguments, mut flow, .. } = self;
        for on in on {
            let (track, end) = match (on, end) {
                (On::Track(track), end) => (track, end),
                (On::Instants(track), _) => (track, None),
                (On::Register(spot, label), Some(end)) => {
                    (sequence.lane(spot, &label, begin, end), Some(end))
                }
                (On::Register(spot, label), None) => (sequence.register(spot, &label), None),
            };
            let event = TrackEvent {
                debug_annotations: arguments.clone(),
                name_iid: text.is_none().then_some(name),
                name: text.clone(),
                flow_ids: flow.into_iter().filter_map(Flow::begins).collect(),
                terminating_flow_ids: flow.into_iter().filter_map(Flow::ends).collect(),
                ..TrackEvent::default()
            };
            // One track tells of them.
            arguments.truncate(1);
            flow = None;
            match end {
                None => sequence.event(begin, track, Type::Instant, event),
                Some(end) => {
                    sequence.event(begin, track, Type::SliceBegin, event);
                    sequence.event(end, track, Type::SliceEnd, TrackEvent::default());
                }
            }
        }
    }
}
