//! The kinds of events: a folder or a file for each, and the one list of them all.
//!
//! Everything that is particular to a kind is in its module: how it comes out of records, what is
//! named in it, its cells in a file, its text, its JSON, its lines in mmiotrace's format, what it
//! is on a timeline, and what a report says of it. They meet in the trait [`EventKind`]. The list
//! below makes of them the enum [`What`], and hands each call on to the module of the kind, so
//! whoever adds a kind writes its module and a line here.
//!
//! Rejected: trait objects, which would need an allocation for each event; and a macro that derives
//! the formats from the fields: what a person reads is not the list of the fields.

mod caller;
mod kind;

use serde::{Deserialize, Serialize, Serializer};
use trapline_abi::{Kind, Record};

use crate::file::{Row, Rows};
use crate::merge::{Gathered, Known};
use crate::mmiotrace::{Mappings, TextLine};
use crate::report::{Section, Seen, Shown, Texts, Touch};
use crate::write::{Drawing, JsonLine, Line, MmiotraceLines};
use crate::{Event, Names};
pub(crate) use kind::EventKind;

/// Makes `What`, `Source` and `Tallies` of the list: for each kind its name, which is that of its
/// record in [`Kind`] too, its type, its module, and if a person can ask for it, with what.
macro_rules! kinds {
    ($event:lifetime; $(
        $(#[$doc:meta])* $kind:ident($type:ty) in $module:ident $(, asked for with $(#[$asked:meta])* $source:ty)?;
    )*) => {
        $(pub(crate) mod $module;)*

        /// What happened.
        #[derive(Clone, Debug, PartialEq)]
        pub enum What<$event> {
            $($(#[$doc])* $kind($type),)*
        }

        /// Something that a trace was asked to record, and with what parameters.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "lowercase")]
        pub enum Source {
            $($($(#[$asked])* $kind($source),)?)*
        }

        /// What a report counts, by kind.
        #[derive(Debug, Default)]
        pub(crate) struct Tallies {
            $(pub(crate) $module: $module::Tally,)*
        }

        impl Tallies {
            /// What a report says of each kind, in the order of the list.
            pub(crate) fn sections(&self) -> Vec<&dyn Section> {
                vec![$(&self.$module),*]
            }
        }

        impl Source {
            /// The name of the kind that was asked for.
            pub(crate) fn kind(&self) -> &'static str {
                match self {
                    $($(Self::$kind(source) => {
                        type Of<$event> = $type;
                        let _: &$source = source;
                        <Of<'_> as EventKind<'_>>::NAME
                    })?)*
                }
            }
        }

        impl<$event> What<$event> {
            /// What a record says that later ones need.
            pub(crate) fn learn(kind: Kind, record: &Record, known: &mut Known) {
                match kind {
                    $(Kind::$kind => <$type as EventKind>::learn(record, known),)*
                    Kind::More | Kind::Task | Kind::Served | Kind::Handled => {}
                }
            }

            /// What a record of this kind, with its continuations, tells of.
            pub(crate) fn decode(kind: Kind, from: Gathered<$event>) -> Option<Self> {
                match kind {
                    $(Kind::$kind => <$type as EventKind>::decode(from).map(Self::$kind),)*
                    Kind::More | Kind::Task | Kind::Served | Kind::Handled => None,
                }
            }

            /// What a row of a file with this name of a kind tells of.
            pub(crate) fn from_row(name: &str, row: &Row<'_, $event>) -> Option<Self> {
                $(if name == <$type as EventKind>::NAME {
                    return <$type as EventKind>::from_row(row).map(Self::$kind);
                })*
                None
            }

            /// What a line in mmiotrace's format tells of, and in which thread.
            pub(crate) fn from_mmiotrace(
                line: &TextLine<$event>,
                mappings: &mut Mappings,
            ) -> Option<(Self, u32)> {
                $(if let Some((what, pid)) = <$type as EventKind>::from_mmiotrace(line, mappings) {
                    return Some((Self::$kind(what), pid));
                })*
                None
            }

            /// With all names that are known.
            pub(crate) fn named(self, names: &$event Names) -> Self {
                match self {
                    $(Self::$kind(what) => Self::$kind(what.named(names)),)*
                }
            }

            /// What its columns are for a person.
            pub(crate) fn title(&self) -> Option<&'static str> {
                match self {
                    $(Self::$kind(_) => <$type as EventKind>::TITLE,)*
                }
            }

            /// Records that it tells to be lost.
            pub(crate) fn lost(&self) -> u64 {
                match self {
                    $(Self::$kind(what) => what.lost(),)*
                }
            }
        }

        impl<$event> Event<$event> {
            /// Adds its row of a file.
            pub(crate) fn append_to(&self, rows: &mut Rows) {
                let (time, cpu, task) = (self.time, self.cpu, (self.pid, self.tgid, self.comm));
                match &self.what {
                    $(What::$kind(what) => {
                        rows.row(time, cpu, task, <$type as EventKind>::NAME, &what.cells());
                    })*
                }
            }

            /// Appends what a person reads, behind time and CPU.
            pub(crate) fn human(&self, line: &mut Line<'_>) -> std::fmt::Result {
                match &self.what {
                    $(What::$kind(what) => what.human(self, line),)*
                }
            }

            /// Writes its lines in mmiotrace's format.
            pub(crate) fn mmiotrace(&self, lines: &mut MmiotraceLines<'_>) -> std::io::Result<()> {
                match &self.what {
                    $(What::$kind(what) => what.mmiotrace(lines),)*
                }
            }

            /// Draws it on a timeline.
            pub(crate) fn draw(&self, drawing: &mut Drawing<'_>) {
                match &self.what {
                    $(What::$kind(what) => what.draw(drawing),)*
                }
            }

            /// What it is on the timeline of a page.
            pub(crate) fn shown(&self) -> Option<Shown<'_>> {
                match &self.what {
                    $(What::$kind(what) => what.shown(),)*
                }
            }

            /// What code touched of a device by it.
            pub(crate) fn touch(&self) -> Option<Touch<'_>> {
                match &self.what {
                    $(What::$kind(what) => what.touch(),)*
                }
            }

            /// Counts it for a report.
            pub(crate) fn count(&self, nth: u64, tallies: &mut Tallies, texts: &mut Texts) {
                let seen = Seen { event: self, nth };
                match &self.what {
                    $(What::$kind(what) => what.count(&seen, &mut tallies.$module, texts),)*
                }
            }
        }

        impl Serialize for JsonLine<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                fn name<$event, T: EventKind<$event>>(_: &T) -> &'static str {
                    T::NAME
                }
                match &self.0.what {
                    $(What::$kind(what) => self.with(name(what), what.json()).serialize(serializer),)*
                }
            }
        }
    };
}

kinds! { 'a;
    /// An access to a watched range.
    Access(access::Access<'a>) in access, asked for with
        /// Accesses to ranges.
        access::Watched;
    /// A mapping came to be or was found.
    Map(mapping::Map<'a>) in mapping;
    /// A mapping is gone.
    Unmap(unmap::Unmap) in unmap;
    /// A mapping came to be and could not be watched.
    NotWatched(not_watched::NotWatched<'a>) in not_watched;
    /// Records could not be written here.
    Lost(lost::Lost) in lost;
    /// Other CPUs' accesses may have been missed while a page was open for a single step.
    Window(window::Window) in window;
    /// A code probe was hit.
    Hit(hit::Hit<'a>) in hit, asked for with
        /// Hits of code probes.
        hit::Probed;
    /// A page fault.
    Fault(fault::PageFault<'a>) in fault, asked for with
        /// Page faults.
        fault::Studied;
    /// A handler of a device's interrupt was called.
    Interrupt(interrupt::Interrupt<'a>) in interrupt, asked for with
        /// Interrupts of devices.
        interrupt::Followed;
    /// An access to a device's configuration space.
    Config(config::ConfigAccess<'a>) in config, asked for with
        /// Accesses to configuration spaces.
        config::Spaces;
    /// An access to an I/O port.
    Port(port::PortAccess<'a>) in port, asked for with
        /// Accesses to I/O ports.
        port::Ports;
    /// Memory was given to a device, or taken back.
    Dma(dma::DmaCall<'a>) in dma, asked for with
        /// Memory that devices access by themselves.
        dma::Mapped;
    /// The kernel does something with a device as a whole, or has done it.
    Lifecycle(lifecycle::Lifecycle<'a>) in lifecycle, asked for with
        /// What the kernel does with devices as a whole.
        lifecycle::Lived;
    /// A line of the kernel log.
    Log(log::LogLine<'a>) in log, asked for with
        /// Lines of the kernel log.
        log::Logged;
    /// A person's marker. The last: in mmiotrace's format others are told of by markers too.
    Mark(mark::Mark<'a>) in mark;
}
