//! Where a device has its capabilities: its lists are followed. A device, or what is left of one,
//! may say anything, so each list ends after as many as fit, and what is wrong with it is told.

use std::fmt;

use super::{Capability, Layout, SIZE};

/// Offsets in the header: who made it and what it is; status, in the upper half, with the bit that
/// tells of a list; its type; where the list begins.
const IDS: u16 = 0x00;
const COMMAND_AND_STATUS: u16 = 0x04;
const HAS_CAPABILITIES: u32 = 1 << 20;
const HEADER_TYPE: u16 = 0x0c;
const LIST: u16 = 0x34;
const LIST_OF_CARDBUS: u16 = 0x14;

/// Where capabilities can lie.
const FIRST: u16 = 0x40;
pub(super) const FIRST_EXTENDED: u16 = 0x100;

/// So many fit: of four bytes each, and of eight.
const MOST: usize = ((FIRST_EXTENDED - FIRST) / 4) as usize;
const MOST_EXTENDED: usize = ((SIZE - FIRST_EXTENDED) / 8) as usize;

/// What a device's lists say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Where it has what.
    pub layout: Layout,
    /// What is wrong with it, if anything is.
    pub broken: Option<Broken>,
}

/// What is wrong with a device's configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It reads as ones throughout: the device does not answer.
    Silent,
    /// A list comes back to the capability at this offset.
    Loop(u16),
    /// A list leads here, where no capability can lie.
    Astray(u16),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("it reads as ones throughout, as of a device that does not answer"),
            Self::Loop(offset) => write!(f, "its list of capabilities comes back to {offset:#x}"),
            Self::Astray(offset) => {
                write!(f, "its list of capabilities leads to {offset:#x}, where none can lie")
            }
        }
    }
}

/// Follows the lists of a device, four bytes of whose configuration space, from an offset that is a
/// multiple of four on, `read` tells; `None` of what can't be read. Nothing is read but the header
/// and the beginning of each capability, since some devices do not like more.
pub fn walk(mut read: impl FnMut(u16) -> Option<u32>) -> Walked {
    let mut walked = Walked::default();
    let status = read(COMMAND_AND_STATUS);
    if read(IDS) == Some(u32::MAX) {
        // Of a virtual function that is as it should be, but its status has zeros always.
        if status.is_none_or(|status| status == u32::MAX) {
            walked.broken = Some(Broken::Silent);
            return walked;
        }
        walked.layout.no_ids = true;
    }
    walked.layout.header = (read(HEADER_TYPE).unwrap_or(0) >> 16) as u8 & 0x7f;
    let list = if walked.layout.header == 2 { LIST_OF_CARDBUS } else { LIST };
    if status.is_some_and(|status| status & HAS_CAPABILITIES != 0) {
        let first = read(list).map_or(0, |first| first as u16 & 0xfc);
        follow(&mut walked, first, FIRST..FIRST_EXTENDED, MOST, |offset| {
            let found = read(offset)?;
            let capability =
                Capability { offset, id: found as u16 & 0xff, extended: false, detail: (found >> 16) as u16 };
            Some((capability, (found >> 8) as u16 & 0xfc))
        });
    }
    // Without extended ones the first is nothing, or can't be read.
    let has_extended = |found: &u32| *found != 0 && *found != u32::MAX;
    if read(FIRST_EXTENDED).filter(has_extended).is_some() {
        follow(&mut walked, FIRST_EXTENDED, FIRST_EXTENDED..SIZE, MOST_EXTENDED, |offset| {
            let found = read(offset)?;
            let (id, detail) = (found as u16, (found >> 16) as u16);
            Some((Capability { offset, id, extended: true, detail }, (found >> 20) as u16 & 0xffc))
        });
    }
    walked
}

/// Follows one list from `first` on, with what `at` finds: a capability, and where the next is.
fn follow(
    walked: &mut Walked,
    first: u16,
    within: std::ops::Range<u16>,
    most: usize,
    mut at: impl FnMut(u16) -> Option<(Capability, u16)>,
) {
    let mut offset = first;
    for _ in 0..most {
        if offset == 0 {
            return;
        }
        let known = &mut walked.layout.capabilities;
        if !within.contains(&offset) {
            walked.broken = walked.broken.or(Some(Broken::Astray(offset)));
            return;
        }
        if known.iter().any(|one| one.offset == offset) {
            walked.broken = walked.broken.or(Some(Broken::Loop(offset)));
            return;
        }
        let Some((capability, next)) = at(offset) else { return };
        // The first of the extended ones may be an empty one that only leads on.
        known.push(capability);
        offset = next;
    }
}
