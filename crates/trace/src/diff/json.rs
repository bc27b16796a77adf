//! What differs, as JSON Lines. Fields are named and written as those of accesses.

use std::io::{self, Write};

use serde::Serialize;

use super::human::function;
use super::steps::{Spot, Step, StepValue};
use super::{Diff, Difference, Side};
use crate::json::{Hex, write_json_line};

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Object<'a> {
    Diff {
        a: Trace<'a>,
        b: Trace<'a>,
    },
    Only {
        side: &'static str,
        #[serde(flatten)]
        seen: Seen,
        #[serde(flatten)]
        step: Where<'a>,
    },
    Value {
        a: Seen,
        b: Seen,
        #[serde(flatten)]
        step: Where<'a>,
    },
    End {
        only_a: usize,
        only_b: usize,
        values: usize,
    },
}

#[derive(Serialize)]
struct Trace<'a> {
    file: &'a str,
    accesses: u64,
    steps: usize,
    dropped: u64,
}

#[derive(Serialize)]
struct Seen {
    time_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    count: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    injected: bool,
}

#[derive(Serialize)]
struct Where<'a> {
    op: &'static str,
    width: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bar: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    register: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    physical: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Hex>,
    #[serde(skip_serializing_if = "String::is_empty")]
    function: String,
}

pub(super) fn write(diff: &Diff<'_>, out: &mut dyn Write, names: [&str; 2]) -> io::Result<()> {
    let trace = |side: Side, file| {
        let steps = &diff.pair.sides[side as usize];
        Trace { file, accesses: steps.accesses, steps: steps.steps.len(), dropped: steps.lost }
    };
    let [a, b] = names;
    write_json_line(&mut *out, &Object::Diff { a: trace(Side::A, a), b: trace(Side::B, b) })?;
    for difference in &diff.differences {
        let object = match *difference {
            Difference::Only(side, step) => {
                let step = diff.pair.step(side, step);
                let side = if side == Side::A { "a" } else { "b" };
                Object::Only { side, seen: seen(diff, step), step: place(diff, step) }
            }
            Difference::Value(a, b) => {
                let (a, b) = (diff.pair.step(Side::A, a), diff.pair.step(Side::B, b));
                Object::Value { a: seen(diff, a), b: seen(diff, b), step: place(diff, a) }
            }
        };
        write_json_line(&mut *out, &object)?;
    }
    let [only_a, only_b, values] = diff.counts();
    write_json_line(out, &Object::End { only_a, only_b, values })
}

fn seen(diff: &Diff<'_>, step: &Step) -> Seen {
    let is_known = step.value != StepValue::Unknown;
    let value = is_known.then(|| step.value.text(diff.pair.key(step).width));
    Seen { time_ns: step.time, value, count: step.count, injected: step.is_lie }
}

fn place<'a>(diff: &'a Diff<'_>, step: &Step) -> Where<'a> {
    let (key, texts) = (diff.pair.key(step), &diff.pair.texts);
    let (mut device, mut bar, mut offset, mut physical, mut address) = Default::default();
    match key.spot {
        Spot::Device { device: name, bar: number, offset: bytes } => {
            (device, bar, offset) = (Some(texts.text(name)), Some(number), Some(bytes));
        }
        Spot::Physical(at) => physical = Some(Hex(at)),
        Spot::Linear(at) => address = Some(Hex(at)),
    }
    Where {
        op: key.direction.letter(),
        width: key.width,
        device,
        bar,
        offset,
        register: diff.pair.register(step),
        physical,
        address,
        function: function(diff, step.code),
    }
}
