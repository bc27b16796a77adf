//! Two traces of the same work, compared: what only one of them did, and which values differ.
//!
//! What is compared are *steps*: an access each, with reads of one register that follow each other
//! in one task folded into one, which has the value of the last. So a polling loop is a step
//! however often it went round. Steps of one kind of task, and those in interrupts, are compared
//! among themselves: how tasks took turns is no difference. A step is what the driver did and got:
//! a write that injection has changed counts with what the driver wrote, one that it has repeated
//! not at all.
//!
//! They are aligned twice. First by register, direction and value, so what is equal finds its like
//! even in a long row of writes to one register. Between those, what is left is aligned by register
//! and direction alone: what pairs up is one step with two values, the rest is in one trace only.
//! Rejected: alignment by register alone, which pairs the wrong values of a register that is
//! written many times, as soon as there is one more.

mod align;
mod human;
mod json;
mod steps;

use std::io::{self, Write};

use hashbrown::HashMap;

use crate::report::Texts;
use crate::{Event, Header, Place, Totals, What};
pub use align::Difference;
use align::align;
use steps::{Key, Step, Steps};

/// Which of the two traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

/// Two traces that are compared: both are added, then [`Diff::new`] tells what differs.
#[derive(Debug)]
pub struct Pair {
    texts: Texts,
    keys: Vec<Key>,
    /// The name of each key's register, by number.
    registers: Vec<Option<u32>>,
    numbers: HashMap<Key, u32>,
    sides: [Steps; 2],
    /// Devices of the second trace that have another address than in the first.
    moved: HashMap<String, String>,
}

impl Pair {
    /// Nothing added yet, of traces with these headers.
    ///
    /// A device is the same in both if it has the same address and ids. One that has not is the
    /// same as the only one with its ids in the other trace, if there is one.
    pub fn new(a: &Header, b: &Header) -> Self {
        let mut moved = HashMap::new();
        for device in &b.devices {
            let ids = (device.vendor, device.device);
            let alike = |header: &Header| {
                let found = header.devices.iter().filter(|other| (other.vendor, other.device) == ids);
                found.map(|other| other.address.clone()).collect::<Vec<_>>()
            };
            let (there, here) = (alike(a), alike(b));
            if let [other] = there.as_slice()
                && here.len() == 1
                && *other != device.address
            {
                moved.insert(device.address.clone(), other.clone());
            }
        }
        let (texts, keys, registers, numbers, sides) = Default::default();
        Self { texts, keys, registers, numbers, sides, moved }
    }

    /// Adds an event of one of them, if it is an access that took place; of others, only how many
    /// records they tell to be lost.
    pub fn add(&mut self, side: Side, event: &Event<'_>) {
        let lost = &mut self.sides[side as usize].lost;
        *lost = lost.saturating_add(event.what.lost());
        let What::Access(access) = &event.what else { return };
        let place = access.place.map(|place| match self.moved.get(place.device) {
            Some(other) if side == Side::B => Place { device: other, ..place },
            _ => place,
        });
        let key = Key::new(access, place.as_ref(), &mut self.texts);
        let next = self.keys.len() as u32;
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.keys.push(key);
            self.registers.push(None);
        }
        let register = &mut self.registers[number as usize];
        if register.is_none() {
            *register = place.and_then(|place| place.register).map(|name| self.texts.number(name));
        }
        self.sides[side as usize].add(number, key, event, access, &mut self.texts);
    }

    /// Takes what was counted by the end of one of them: the last records that it lost have no
    /// event.
    pub fn end(&mut self, side: Side, totals: &Totals) {
        let lost = &mut self.sides[side as usize].lost;
        *lost = (*lost).max(totals.dropped);
    }

    /// Records that a trace lost, at least.
    fn lost(&self, side: Side) -> u64 {
        self.sides[side as usize].lost
    }

    /// Accesses of a trace that were added.
    pub fn accesses(&self, side: Side) -> u64 {
        self.sides[side as usize].accesses
    }

    /// The devices that were accessed in a trace, in the order of their addresses; what is outside
    /// of every device is not among them.
    pub fn devices(&self, side: Side) -> Vec<&str> {
        let steps = self.sides[side as usize].steps.iter();
        let mut numbers: Vec<u32> = steps.filter_map(|step| self.keys[step.key as usize].device()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let mut names: Vec<_> = numbers.into_iter().map(|number| self.texts.text(number)).collect();
        names.sort_unstable();
        names
    }

    /// Whether there is an address or a device that both accessed.
    pub fn have_common_ground(&self) -> bool {
        let devices = self.devices(Side::A);
        let outside = |side: Side| {
            self.sides[side as usize].steps.iter().any(|step| self.keys[step.key as usize].device().is_none())
        };
        self.devices(Side::B).iter().any(|device| devices.contains(device))
            || outside(Side::A) && outside(Side::B)
    }

    fn step(&self, side: Side, number: usize) -> &Step {
        &self.sides[side as usize].steps[number]
    }

    fn key(&self, step: &Step) -> &Key {
        &self.keys[step.key as usize]
    }

    /// The name of its register.
    fn register(&self, step: &Step) -> Option<&str> {
        self.registers[step.key as usize].map(|register| self.texts.text(register))
    }
}

/// What differs.
#[derive(Debug)]
pub struct Diff<'p> {
    pair: &'p Pair,
    differences: Vec<Difference>,
}

impl<'p> Diff<'p> {
    /// Compares the two.
    pub fn new(pair: &'p Pair) -> Self {
        Self { pair, differences: align(pair) }
    }

    /// What differs, in the order of time since each trace's first access.
    pub fn differences(&self) -> &[Difference] {
        &self.differences
    }

    /// Writes it for a person, with terminal colours if `colour`, at most `rows` rows of each list;
    /// `names` are what the traces are called.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write, names: [&str; 2], colour: bool, rows: usize) -> io::Result<()> {
        human::Page { diff: self, out, names, colour, rows }.write()
    }

    /// Writes it as JSON Lines: `diff`, then each difference as `only` or `value`, then `end`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, out: &mut dyn Write, names: [&str; 2]) -> io::Result<()> {
        json::write(self, out, names)
    }

    /// How many are in the first only, in the second only, and in both with other values.
    fn counts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for difference in &self.differences {
            counts[match difference {
                Difference::Only(Side::A, _) => 0,
                Difference::Only(Side::B, _) => 1,
                Difference::Value(..) => 2,
            }] += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests;
