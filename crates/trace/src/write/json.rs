//! JSON Lines: one object a line, one line an event, for `jq` and for programs.
//!
//! Every object has `kind`. The first is the `header`, the last the `end`, whose absence means that the trace was cut off. In between:
//!
//! | `kind` | fields |
//! |---|---|
//! | `access` | `op` (`"R"`, `"W"`), `device`, `bar`, `offset`, `register`, `physical`, `address`, `width`, `value`, `mapping`, `flags`, `way`, `ip`, `function`, `function_offset`, `module` |
//! | `map` | `mapping`, `device`, `bar`, `offset`, `physical`, `address`, `length`, `ip`, `function`, `function_offset`, `module` (of the caller) |
//! | `unmap` | `mapping` |
//! | `mark` | `text` |
//! | `lost` | `count` |
//! | `window` | `address`, `nanoseconds` |
//! | `hit` | `probe`, `moment` (`"before"`, `"after"`, `"return"`), `ip`, `function`, `function_offset`, `module`, `flags`, `arguments`, `stack` (from `--stack`) |
//! | `fault` | `address`, `error_code`, `cause` (as `--why` takes it), `mode` (`"user"`, `"kernel"`), `memory`, `took_ns` (from `--latency`), `sp`, `flags`, `ip`, `function`, `function_offset`, `module` |
//!
//! All have `time_ns`, `cpu`, `pid`, `tgid`, `comm`. What isn't known is left out. Addresses and values are texts, `"0x1f"`, since JSON's numbers
//! lose bits beyond 2^53 in most readers; times, offsets, widths and counts are numbers. `flags` is an array of names; of a fault `closed` means that user memory was closed to the kernel (SMAP). `arguments` is an array in the
//! order asked for: `name`, `type`, `value`, the text as the kernel's probe events print it but without quotes, left out if it could not be fetched; of `stack`, innermost first: `ip`, `function`, `function_offset`, `module`.

use std::io::{self, Write};

use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};
use trapline_abi::Flags;

use super::Sink;
use crate::file::way_name;
use crate::{Argument, Event, Frame, Header, Moment, Place, Site, Totals, Value, What};

/// Writes JSON Lines.
#[derive(Debug)]
pub struct JsonLines<W> {
    out: W,
    kept: u64,
}

/// A number as text with its digits in hexadecimal.
struct Hex(u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", self.0))
    }
}

struct Number(Value);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Flags, and what those are called that its kind of event may have.
struct FlagNames(Flags, &'static [(u8, &'static str)]);

const OF_ACCESS: &[(u8, &str)] = &[
    (Flags::MODIFY, "modify"),
    (Flags::LOCKED, "locked"),
    (Flags::STRING, "string"),
    (Flags::SUPPLIED, "supplied"),
    (Flags::DROPPED, "dropped"),
    (Flags::UNKNOWN, "unknown"),
    (Flags::INTERRUPT, "interrupt"),
];
const OF_HIT: &[(u8, &str)] = &[(Flags::INTERRUPT, "interrupt")];
const OF_FAULT: &[(u8, &str)] = &[(Flags::CLOSED, "closed"), (Flags::INTERRUPT, "interrupt")];

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

#[derive(Serialize)]
struct Line<'a> {
    time_ns: u64,
    cpu: u16,
    pid: u32,
    tgid: u32,
    comm: &'a str,
    #[serde(flatten)]
    what: Kind<'a>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Kind<'a> {
    Access {
        op: &'static str,
        #[serde(flatten)]
        place: Option<JsonPlace<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        physical: Option<Hex>,
        address: Hex,
        width: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<Number>,
        mapping: u32,
        flags: FlagNames,
        way: &'static str,
        ip: Hex,
        #[serde(flatten)]
        site: Option<JsonSite<'a>>,
    },
    Map {
        mapping: u32,
        #[serde(flatten)]
        place: Option<JsonPlace<'a>>,
        physical: Hex,
        address: Hex,
        length: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        ip: Option<Hex>,
        #[serde(flatten)]
        site: Option<JsonSite<'a>>,
    },
    Unmap {
        mapping: u32,
    },
    Mark {
        text: &'a str,
    },
    Lost {
        count: u64,
    },
    Window {
        address: Hex,
        nanoseconds: u64,
    },
    Hit {
        probe: &'a str,
        moment: Moment,
        ip: Hex,
        #[serde(flatten)]
        site: Option<JsonSite<'a>>,
        flags: FlagNames,
        arguments: Vec<JsonArgument<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        stack: Option<Vec<JsonFrame<'a>>>,
    },
    Fault {
        address: Hex,
        error_code: Hex,
        cause: &'static str,
        mode: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        memory: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        took_ns: Option<u64>,
        sp: Hex,
        flags: FlagNames,
        ip: Hex,
        #[serde(flatten)]
        site: Option<JsonSite<'a>>,
    },
}

#[derive(Serialize)]
struct JsonArgument<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    form: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonFrame<'a> {
    ip: Hex,
    #[serde(flatten)]
    site: Option<JsonSite<'a>>,
}

#[derive(Serialize)]
struct JsonPlace<'a> {
    device: &'a str,
    bar: u8,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    register: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonSite<'a> {
    function: &'a str,
    function_offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Bound<'a> {
    Header(&'a Header),
    End(&'a Totals),
}

fn place<'a>(place: Option<Place<'a>>) -> Option<JsonPlace<'a>> {
    place.map(|Place { device, bar, offset, register }| JsonPlace { device, bar, offset, register })
}

fn site<'a>(site: Option<Site<'a>>) -> Option<JsonSite<'a>> {
    site.map(|Site { function, offset, module }| JsonSite { function, function_offset: offset, module })
}

fn argument<'a>(argument: &'a Argument<'a>) -> JsonArgument<'a> {
    let Argument { name, form, ref value, .. } = *argument;
    JsonArgument { name, form, value: value.as_deref() }
}

fn frame<'a>(frame: &Frame<'a>) -> JsonFrame<'a> {
    JsonFrame { ip: Hex(frame.ip), site: site(frame.site) }
}

impl<W: Write> JsonLines<W> {
    /// Writes to `out`, the header first.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(out: W, header: &Header) -> io::Result<Self> {
        let mut json = Self { out, kept: 0 };
        json.line(&Bound::Header(header))?;
        Ok(json)
    }

    fn line(&mut self, object: &impl Serialize) -> io::Result<()> {
        // serde_json keeps the writer's own error inside; `From` takes it out as it was.
        serde_json::to_writer(&mut self.out, object).map_err(io::Error::from)?;
        self.out.write_all(b"\n")
    }
}

impl<W: Write> Sink for JsonLines<W> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let what = match &event.what {
            What::Access(access) => Kind::Access {
                op: access.direction.letter(),
                place: place(access.place),
                physical: access.physical.map(Hex),
                address: Hex(access.address),
                width: access.width,
                value: access.value.map(Number),
                mapping: access.mapping,
                flags: FlagNames(access.flags, OF_ACCESS),
                way: way_name(access.way),
                ip: Hex(access.ip),
                site: site(access.site),
            },
            What::Map(map) => Kind::Map {
                mapping: map.mapping,
                place: place(map.place),
                physical: Hex(map.physical),
                address: Hex(map.address),
                length: map.length,
                ip: (map.caller != 0).then_some(Hex(map.caller)),
                site: site(map.site),
            },
            What::Unmap { mapping } => Kind::Unmap { mapping: *mapping },
            What::Mark { text } => Kind::Mark { text },
            What::Lost { count } => Kind::Lost { count: *count },
            What::Window { address, nanoseconds } => {
                Kind::Window { address: Hex(*address), nanoseconds: *nanoseconds }
            }
            What::Hit(hit) => Kind::Hit {
                probe: hit.probe,
                moment: hit.moment,
                ip: Hex(hit.ip),
                site: site(hit.site),
                flags: FlagNames(hit.flags, OF_HIT),
                arguments: hit.arguments.iter().map(argument).collect(),
                stack: hit.stack.as_ref().map(|stack| stack.iter().map(frame).collect()),
            },
            What::Fault(fault) => Kind::Fault {
                address: Hex(fault.address),
                error_code: Hex(fault.error_code.0.into()),
                cause: fault.cause().name(),
                mode: fault.mode(),
                memory: fault.memory.as_deref(),
                took_ns: fault.took,
                sp: Hex(fault.stack),
                flags: FlagNames(fault.flags, OF_FAULT),
                ip: Hex(fault.ip),
                site: site(fault.site),
            },
        };
        let Event { time, cpu, pid, tgid, comm, .. } = *event;
        self.line(&Line { time_ns: time, cpu, pid, tgid, comm, what })?;
        self.kept += 1;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn end(&mut self, totals: &Totals) -> io::Result<()> {
        self.line(&Bound::End(totals))?;
        self.out.flush()
    }

    fn kept(&self) -> u64 {
        self.kept
    }
}
