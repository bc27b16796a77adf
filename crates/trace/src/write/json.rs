//! JSON Lines: one object a line, one line an event, for `jq` and for programs.
//!
//! Every object has `kind`. The first is the `header`, the last the `end`, whose absence means that
//! the trace was cut off. In between are the events, which all have `time_ns`, `cpu`, `pid`,
//! `tgid`, `comm`; what fields a kind has beside them its module in [`kinds`](crate::kinds) says.
//!
//! What isn't known is left out. How numbers are written, [`json`](crate::json) says; `flags` is an
//! array of names. All of it is in docs/schemas/trace.json, by which the tests check it.

use std::io::{self, Write};

use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};
use trapline_abi::Flags;

use super::Sink;
use crate::json::{hexadecimal, write_json_line};
use crate::{Event, Header, Place, Site, Totals};

/// Writes JSON Lines.
#[derive(Debug)]
pub struct JsonLines<W> {
    out: W,
    kept: u64,
}

/// Flags, and what those are called that its kind of event may have.
pub(crate) struct FlagNames(pub(crate) Flags, pub(crate) &'static [(u8, &'static str)]);

impl Serialize for FlagNames {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut names = serializer.serialize_seq(None)?;
        for &(bit, name) in self.1 {
            if self.0.has(bit) {
                names.serialize_element(name)?;
            }
        }
        names.end()
    }
}

/// Where in a device.
#[derive(Serialize)]
pub(crate) struct JsonPlace<'a> {
    device: &'a str,
    bar: u8,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    register: Option<&'a str>,
}

impl<'a> From<Place<'a>> for JsonPlace<'a> {
    fn from(Place { device, bar, offset, register }: Place<'a>) -> Self {
        Self { device, bar, offset, register }
    }
}

/// Where in the code.
#[derive(Serialize)]
pub(crate) struct JsonSite<'a> {
    function: &'a str,
    function_offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<&'a str>,
}

impl<'a> From<Site<'a>> for JsonSite<'a> {
    fn from(Site { function, offset, module }: Site<'a>) -> Self {
        Self { function, function_offset: offset, module }
    }
}

/// The object of an event; how it is written, [`kinds`](crate::kinds) says.
pub(crate) struct JsonLine<'e>(pub(crate) &'e Event<'e>);

/// The fields of an event: those of all, then those of its kind.
#[derive(Serialize)]
pub(crate) struct Object<'e, T> {
    time_ns: u64,
    cpu: u16,
    pid: u32,
    tgid: u32,
    comm: &'e str,
    kind: &'static str,
    #[serde(flatten)]
    fields: T,
}

impl<'e> JsonLine<'e> {
    /// With the fields of its kind.
    pub(crate) fn with<T>(&self, kind: &'static str, fields: T) -> Object<'e, T> {
        let Event { time, cpu, pid, tgid, comm, .. } = *self.0;
        Object { time_ns: time, cpu, pid, tgid, comm, kind, fields }
    }
}

/// Fields of the header that are addresses, or begin and end of a range of them.
const ADDRESSES: &[&str] = &["address", "addresses", "start"];

/// The first object, or the last.
#[derive(Serialize)]
struct Bound<T> {
    kind: &'static str,
    #[serde(flatten)]
    fields: T,
}

impl<W: Write> JsonLines<W> {
    /// Writes to `out`, the header first.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(out: W, header: &Header) -> io::Result<Self> {
        let mut json = Self { out, kept: 0 };
        let mut fields = serde_json::to_value(header)?;
        // In a file they are numbers, which its own reader takes back exactly.
        hexadecimal(&mut fields, ADDRESSES);
        write_json_line(&mut json.out, &Bound { kind: "header", fields })?;
        Ok(json)
    }
}

impl<W: Write> Sink for JsonLines<W> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        write_json_line(&mut self.out, &JsonLine(event))?;
        self.kept += 1;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn end(&mut self, totals: &Totals) -> io::Result<()> {
        write_json_line(&mut self.out, &Bound { kind: "end", fields: totals })?;
        self.out.flush()
    }

    fn kept(&self) -> u64 {
        self.kept
    }
}
