//! What lies at an offset of a device.
//!
//! Names are worked out once, when a device is matched; looking one up on the way of a trace is a
//! binary search. Registers that lie on each other are made into ranges that don't, so that the
//! search is of one step however they nest. A name for every byte was what came before: a hundred
//! thousand registers had half a million of them. Names of bytes inside of a register are rare, so
//! they are made when first asked for.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use crate::{Field, Register, RegisterFile};

/// The registers of one device.
#[derive(Clone, Debug, Default)]
pub struct DeviceRegisters {
    registers: Vec<Register>,
    names: Vec<Names>,
    /// Sorted by BAR and start; none lies on another.
    ranges: Vec<Range>,
    /// By BAR and offset, those of the register that answers a write there.
    answers: HashMap<(u8, u64), (u8, u64)>,
}

/// Where a register lies, and what is known of its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// BAR.
    pub bar: u8,
    /// Bytes from the BAR's start.
    pub offset: u64,
    /// Bytes, 1 to 64.
    pub width: u8,
    /// Its fields.
    pub fields: &'a [Field],
}

/// Names of an element's bytes.
#[derive(Clone, Debug)]
struct Names {
    register: usize,
    start: u64,
    first: Box<str>,
    /// Those of the others.
    inside: OnceLock<Box<[Box<str>]>>,
}

/// Bytes of which one element is told.
#[derive(Clone, Copy, Debug)]
struct Range {
    bar: u8,
    start: u64,
    end: u64,
    /// Which of the names.
    element: u32,
}

impl DeviceRegisters {
    /// Those of a file.
    pub fn new(file: &RegisterFile) -> Self {
        let registers: Vec<Register> =
            file.registers.iter().filter(|register| register.space.is_none()).cloned().collect();
        let mut names = Vec::new();
        for (number, register) in registers.iter().enumerate() {
            names.extend(register.elements().map(|(index, start)| Names {
                register: number,
                start,
                first: register.element_name(index).into(),
                inside: OnceLock::new(),
            }));
        }
        let ranges = ranges(&registers, &names);
        let answers = answers(&registers, &names);
        Self { registers, names, ranges, answers }
    }

    /// BAR and offset of the register whose next access answers a write to the one that starts at
    /// `offset` in `bar`, if the file tells.
    pub fn answer(&self, bar: u8, offset: u64) -> Option<(u8, u64)> {
        self.answers.get(&(bar, offset)).copied()
    }

    /// What is told of the byte at `offset`: its names, and how far inside it is.
    fn at(&self, bar: u8, offset: u64) -> Option<(&Names, u64)> {
        let after = self.ranges.partition_point(|range| (range.bar, range.start) <= (bar, offset));
        let range = self.ranges.get(after.checked_sub(1)?)?;
        let names = &self.names[range.element as usize];
        (range.bar == bar && offset < range.end).then(|| (names, offset - names.start))
    }

    /// Name of what lies at `offset` in `bar`: `CC`, `RAL[2]`, or `CAP+0x4` inside a register.
    pub fn name(&self, bar: u8, offset: u64) -> Option<&str> {
        let (names, within) = self.at(bar, offset)?;
        let Some(other) = within.checked_sub(1) else { return Some(&names.first) };
        let inside = names.inside.get_or_init(|| {
            let width = self.registers[names.register].width;
            (1..width).map(|within| format!("{}+{within:#x}", names.first).into()).collect()
        });
        inside.get(other as usize).map(|name| &**name)
    }

    /// The register called `name`, or the element of an array, as [`name`](Self::name) tells it;
    /// the first of several.
    pub fn named(&self, name: &str) -> Option<Place<'_>> {
        let names = self.names.iter().find(|names| *names.first == *name)?;
        let Register { bar, width, ref fields, .. } = self.registers[names.register];
        Some(Place { bar, offset: names.start, width, fields })
    }

    /// The names of all registers and of all elements of arrays, in the file's order.
    pub fn all_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|names| &*names.first)
    }

    /// The fields of `value` in the register that starts at `offset` in `bar`, as `EN=1 CSS=0
    /// (NVM)`; empty if there are none.
    pub fn fields(&self, bar: u8, offset: u64, width: u8, value: u64) -> String {
        self.fields_of(bar, offset, width, value, |_| true)
    }

    /// Of these fields those that are not 0.
    pub fn fields_set(&self, bar: u8, offset: u64, width: u8, value: u64) -> String {
        self.fields_of(bar, offset, width, value, |field| value & field.mask() != 0)
    }

    fn fields_of(
        &self,
        bar: u8,
        offset: u64,
        width: u8,
        value: u64,
        which: impl Fn(&Field) -> bool,
    ) -> String {
        let Some((Names { register, .. }, 0)) = self.at(bar, offset) else { return String::new() };
        let fields = self.registers[*register].fields.iter();
        let shown = fields.filter(|field| field.high < u32::from(width) * 8 && which(field));
        shown.map(|field| field.show(value)).collect::<Vec<_>>().join(" ")
    }
}

/// Which register answers which.
fn answers(registers: &[Register], names: &[Names]) -> HashMap<(u8, u64), (u8, u64)> {
    let place = |names: &Names| (registers[names.register].bar, names.start);
    let asks = |names: &&Names| registers[names.register].answer.is_some();
    let mut asking = names.iter().filter(asks).peekable();
    if asking.peek().is_none() {
        return HashMap::new();
    }
    let known: HashMap<&str, (u8, u64)> =
        names.iter().rev().map(|names| (&*names.first, place(names))).collect();
    let answer = |names: &Names| {
        let register = &registers[names.register];
        let index = (names.start - register.offset) / register.stride();
        let name = register.answer_name(u32::try_from(index).ok()?)?;
        Some((place(names), *known.get(&*name)?))
    };
    asking.filter_map(answer).collect()
}

/// For every byte the element that is told of it: the first that starts there, else the first of
/// those that it is inside of.
fn ranges(registers: &[Register], names: &[Names]) -> Vec<Range> {
    let bar = |element: u32| registers[names[element as usize].register].bar;
    let start = |element: u32| names[element as usize].start;
    let end = |element: u32| {
        let names = &names[element as usize];
        names.start + u64::from(registers[names.register].width)
    };
    // The check of a file allows far fewer.
    let mut order: Vec<u32> = (0..names.len() as u32).collect();
    order.sort_by_key(|element| (bar(*element), start(*element), *element));

    let mut ranges: Vec<Range> = Vec::with_capacity(names.len());
    let mut push = |bar, start, end, element| match ranges.last_mut() {
        _ if start >= end => {}
        Some(last) if (last.bar, last.end, last.element) == (bar, start, element) => last.end = end,
        _ => ranges.push(Range { bar, start, end, element }),
    };
    let mut waiting = order.into_iter().peekable();
    while let Some(&first) = waiting.peek() {
        // What lies together, from a byte that nothing reaches into to the next such byte.
        let (bar_here, mut at) = (bar(first), start(first));
        let mut open = BTreeSet::new();
        loop {
            let mut begins = None;
            while let Some(element) = waiting.next_if(|next| bar(*next) == bar_here && start(*next) == at) {
                begins.get_or_insert(element);
                open.insert(element);
            }
            if let Some(element) = begins {
                push(bar_here, at, at + 1, element);
                at += 1;
            }
            let next = waiting.peek().filter(|next| bar(**next) == bar_here).map(|next| start(*next));
            open.retain(|element| end(*element) > at);
            let Some(&element) = open.first() else { break };
            let until = next.map_or(end(element), |next| end(element).min(next));
            push(bar_here, at, until, element);
            at = at.max(until);
            open.retain(|element| end(*element) > at);
            if open.is_empty() && next.is_none_or(|next| next != at) {
                break;
            }
        }
    }
    ranges
}
