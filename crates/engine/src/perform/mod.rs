//! Performs the accesses of a trapped instruction, and shows each to the probes that cover it.
//!
//! [`Performer`] is the memory that an emulated instruction sees: what lies on an armed page is
//! accessed through its alias, once, with the instruction's own width; everything else as the
//! instruction itself would.

mod access;
mod alias;
mod probes;
mod record;
mod span;
mod update;

pub(crate) use span::Span;

use crate::counters::CpuCounters;
use crate::sink::Sink;
use crate::space::{ArmedPage, Space};
use crate::value::truncate;
use crate::{Fault, Linear, Platform, Trap};
use span::Place;
use trapline_abi::Way;
use trapline_insn::{Memory, Registers, Segment};

/// Why an emulated instruction ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// An access to memory that is not ours faulted.
    Fault(Fault),
    /// Somebody kept changing the location: nothing was done, let the instruction fault again.
    Retry,
    /// RAM that is partly armed is to be updated by one instruction, which no alias holds the whole
    /// of: nothing was done, the CPU has to run the instruction itself.
    Step,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// One trapped instruction's memory.
pub(crate) struct Performer<'a, P> {
    pub platform: &'a P,
    pub trap: &'a Trap,
    pub space: &'a Space,
    pub sink: Option<&'a Sink>,
    pub counters: &'a CpuCounters,
    /// The page that the fault was on, where most of the accesses are.
    pub page: &'a ArmedPage,
    /// The registers as they were at the fault, if there are handlers to show them to and they may
    /// be called here.
    pub before: Option<&'a Registers>,
    /// Address of the trapped instruction.
    pub ip: u64,
    /// Of all its events.
    pub flags: u8,
    /// Of all its events.
    pub way: Way,
}

impl<P: Platform> Memory for Performer<'_, P> {
    type Fault = Stop;

    fn read(&mut self, address: u64, width: u8) -> Result<u64, Stop> {
        match self.place(Linear(address), u16::from(width)) {
            Place::Armed(span) => Ok(self.read_word(&span)),
            Place::Other => Ok(self.platform.read_other(Linear(address), width)?),
            Place::Mixed => {
                let mut value = 0;
                for (offset, at) in outer_first(self, address, width) {
                    value |= self.read(at, 1)? << (8 * (offset & 7));
                }
                Ok(value)
            }
        }
    }

    fn write(&mut self, address: u64, width: u8, value: u64) -> Result<(), Stop> {
        match self.place(Linear(address), u16::from(width)) {
            Place::Armed(span) => {
                self.may_write(&span)?;
                self.write_word(&span, truncate(value, u16::from(width)));
                Ok(())
            }
            Place::Other => Ok(self.platform.write_other(Linear(address), width, value)?),
            Place::Mixed => {
                self.armed_parts(Linear(address), width.into())
                    .iter()
                    .flatten()
                    .try_for_each(|s| self.may_write(s))?;
                outer_first(self, address, width)
                    .try_for_each(|(offset, at)| self.write(at, 1, value >> (8 * (offset & 7))))
            }
        }
    }

    fn update(
        &mut self,
        address: u64,
        width: u8,
        locked: bool,
        compute: &mut dyn FnMut(u128) -> u128,
    ) -> Result<u128, Stop> {
        if let Some(span) = self.span(Linear(address), u16::from(width)) {
            self.may_write(&span)?;
            return self.update_span(&span, locked, compute);
        }
        let parts = self.armed_parts(Linear(address), width.into());
        parts.iter().flatten().try_for_each(|span| self.may_write(span))?;
        if parts.iter().flatten().any(Span::is_ram) {
            return Err(Stop::Step);
        }
        // Across the border of what is armed of a device, in words.
        let low = width.min(8);
        let mut old = u128::from(self.read(address, low)?);
        if width > 8 {
            old |= u128::from(self.read(address.wrapping_add(8), 8)?) << 64;
        }
        let new = compute(old);
        self.write(address, low, new as u64)?;
        if width > 8 {
            self.write(address.wrapping_add(8), 8, (new >> 64) as u64)?;
        }
        Ok(old)
    }

    fn segment_base(&self, segment: Segment) -> u64 {
        self.platform.segment_base(segment)
    }
}

/// Offsets and addresses of the bytes of an access that is partly on armed pages: those that are
/// not come first, so that their fault, if they raise one, comes before the device is accessed.
fn outer_first<'a, P: Platform>(
    performer: &Performer<'a, P>,
    address: u64,
    width: u8,
) -> impl Iterator<Item = (u8, u64)> + use<'a, P> {
    let (space, at) = (performer.space, move |offset: u8| address.wrapping_add(offset.into()));
    let bytes = move |armed| {
        (0..width)
            .map(move |offset| (offset, at(offset)))
            .filter(move |&(_, at)| space.find(Linear(at)).is_some() == armed)
    };
    bytes(false).chain(bytes(true))
}
