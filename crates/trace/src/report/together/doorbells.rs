//! From a doorbell to the next interrupt of its device: how long that is. Doorbells are the
//! registers of which a register file tells what answers them, but not those that answer
//! themselves, which are read until they do.
//!
//! Of several doorbells of a device before one interrupt, whichever they are, nobody can tell which
//! it answers: none of them is timed. A handler that says that the interrupt is not its own is no
//! answer.

use std::io;

use hashbrown::HashMap;
use trapline_abi::Flags;

use super::super::{Latency, Page, Texts, counted};
use crate::write::printable;
use crate::{Access, Direction, Interrupt, Names, Outcome, PciAddress};

/// Doorbells that are told apart: the first so many. All others are one.
const MOST_APART: usize = 64;
/// Doorbells of which a report draws how long it was: the most frequent.
const MOST_DRAWN: usize = 8;

/// Which doorbell: device, BAR and offset; `None` of all others.
type Bell = Option<(PciAddress, u8, u64)>;

/// What was rung since the last interrupt.
#[derive(Clone, Copy, Debug, Default)]
enum Rung {
    #[default]
    Nothing,
    Once(Bell, u64),
    Often,
}

/// What is counted of a device.
#[derive(Debug, Default)]
struct Device {
    rung: Rung,
    /// Whether it had interrupts.
    has_interrupts: bool,
}

/// What is counted of a doorbell.
#[derive(Debug)]
struct Row {
    register: Option<u32>,
    latency: Latency,
    /// Those with another one before the interrupt.
    crowded: u64,
}

/// From doorbells to interrupts.
#[derive(Debug, Default)]
pub(super) struct Doorbells {
    /// Of those that have doorbells: no more than the machine has.
    devices: HashMap<PciAddress, Device>,
    rows: HashMap<Bell, Row>,
}

impl Doorbells {
    /// Counts an access, if it rings a doorbell.
    pub(super) fn access(&mut self, time: u64, access: &Access<'_>, names: &Names, texts: &mut Texts) {
        if access.direction == Direction::Read || access.flags.has(Flags::DROPPED) {
            return;
        }
        let Some(place) = &access.place else { return };
        if names.answer(place).is_none_or(|answer| answer == (place.bar, place.offset)) {
            return;
        }
        let Some(device) = PciAddress::from_text(place.device) else { return };
        let mut bell = Some((device, place.bar, place.offset));
        if self.rows.len() >= MOST_APART && !self.rows.contains_key(&bell) {
            bell = None;
        }
        self.rows.entry(bell).or_insert_with(|| Row {
            register: place.register.filter(|_| bell.is_some()).map(|name| texts.number(name)),
            latency: Latency::rough(),
            crowded: 0,
        });
        let state = self.devices.entry(device).or_default();
        let before = match state.rung {
            Rung::Nothing => {
                state.rung = Rung::Once(bell, time);
                return;
            }
            Rung::Once(before, _) => Some(before),
            Rung::Often => None,
        };
        state.rung = Rung::Often;
        for bell in before.into_iter().chain([bell]) {
            if let Some(row) = self.rows.get_mut(&bell) {
                row.crowded += 1;
            }
        }
    }

    /// Takes a call of a handler for an answer, if it is one.
    pub(super) fn interrupt(&mut self, time: u64, interrupt: &Interrupt<'_>) {
        if interrupt.is_in_thread() || interrupt.outcome == Some(Outcome::None) {
            return;
        }
        let Some(state) = self.devices.get_mut(&interrupt.device) else { return };
        state.has_interrupts = true;
        if let Rung::Once(bell, since) = std::mem::take(&mut state.rung)
            && let Some(took) = time.checked_sub(since)
            && let Some(row) = self.rows.get_mut(&bell)
        {
            row.latency.add(took);
        }
    }

    /// Records were lost: an interrupt may be among them, or another doorbell.
    pub(super) fn lost(&mut self) {
        self.devices.values_mut().for_each(|state| state.rung = Rung::Nothing);
    }

    /// Writes a histogram for each doorbell of a device that had interrupts.
    pub(super) fn write(&self, page: &mut Page<'_>) -> io::Result<()> {
        let has_interrupts = |(device, ..): &(PciAddress, u8, u64)| {
            self.devices.get(device).is_some_and(|state| state.has_interrupts)
        };
        let mut rows: Vec<(&Bell, &Row)> = self
            .rows
            .iter()
            .filter(|(bell, row)| {
                bell.as_ref().is_none_or(has_interrupts) && row.latency.count() + row.crowded > 0
            })
            .collect();
        rows.sort_by_key(|(bell, row)| {
            (bell.is_none(), std::cmp::Reverse((row.latency.count(), row.crowded)), **bell)
        });
        let drawn = page.rows.min(MOST_DRAWN);
        for (bell, row) in rows.iter().take(drawn) {
            row.write(&name(bell, row, page.texts), page)?;
        }
        if rows.len() > drawn {
            page.dim(&format!("{:>12}  and {} more doorbells", "", rows.len() - drawn))?;
        }
        Ok(())
    }
}

impl Row {
    fn write(&self, name: &str, page: &mut Page<'_>) -> io::Result<()> {
        if self.latency.count() == 0 {
            page.dim(&format!("\n{:>12}  from {name} to the next interrupt", "doorbells"))?;
        } else {
            let sentence = self.latency.sentence();
            page.dim(&format!("\n{:>12}  from {name} to the next interrupt: {sentence}", "doorbells"))?;
            self.latency.write(&mut page.out)?;
        }
        if self.crowded > 0 {
            let more = counted(self.crowded, "is not timed", "are not timed");
            page.dim(&format!("{:>12}  {more}: more than one doorbell was rung before the interrupt", ""))?;
        }
        Ok(())
    }
}

/// `TDT[0] of 00:05.0`.
fn name(bell: &Bell, row: &Row, texts: &Texts) -> String {
    let Some((device, bar, offset)) = bell else { return "all other doorbells".into() };
    let register = match row.register {
        Some(name) => printable(texts.text(name)),
        None => format!("{bar}+{offset:05x}"),
    };
    format!("{register} of {}", device.short())
}
