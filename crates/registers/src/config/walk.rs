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

/// What is no capability's id.
const NO_ID: u16 = 0xff;

/// Where capabilities can lie.
const FIRST: u16 = 0x40;
pub(super) const FIRST_EXTENDED: u16 = 0x100;

/// So many fit: of four bytes each, and of eight.
pub(super) const MOST: usize = ((FIRST_EXTENDED - FIRST) / 4) as usize;
pub(super) const MOST_EXTENDED: usize = ((SIZE - FIRST_EXTENDED) / 8) as usize;

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
    /// It reads as ones, from the beginning or from somewhere on: the device does not answer.
    Silent,
    /// Its header, or what a list leads to, can't be read.
    Unreadable,
    /// A list comes back to the capability at this offset.
    Loop(u16),
    /// A list leads here, where no capability can lie.
    Astray(u16),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("it reads as ones, as of a device that does not answer"),
            Self::Unreadable => f.write_str("not all that tells of its capabilities can be read"),
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
    let header = read(HEADER_TYPE);
    walked.layout.header = (header.unwrap_or(0) >> 16) as u8 & 0x7f;
    let list = if walked.layout.header == 2 { LIST_OF_CARDBUS } else { LIST };
    let has_list = |status: &u32| status & HAS_CAPABILITIES != 0;
    let first = if status.as_ref().is_some_and(has_list) { read(list) } else { Some(0) };
    let (Some(_), Some(_), Some(first)) = (status, header, first) else {
        walked.broken = Some(Broken::Unreadable);
        return walked;
    };
    follow(&mut walked, first as u16 & 0xfc, FIRST..FIRST_EXTENDED, MOST, &mut read, |offset, found| {
        let (id, detail) = (found as u16 & 0xff, (found >> 16) as u16);
        // The kernel's walk ends at such an id too.
        let capability = Capability { offset, id, extended: false, detail };
        (id != NO_ID).then_some((capability, (found >> 8) as u16 & 0xfc))
    });
    match read(FIRST_EXTENDED) {
        // Without extended ones the first is nothing, or can't be read; or it reads as ones, which
        // it also does if the device is gone by now.
        None | Some(0) => {}
        Some(u32::MAX) => {
            if read(COMMAND_AND_STATUS) == Some(u32::MAX) {
                walked.broken = walked.broken.or(Some(Broken::Silent));
            }
        }
        Some(_) => {
            let within = FIRST_EXTENDED..SIZE;
            follow(&mut walked, FIRST_EXTENDED, within, MOST_EXTENDED, &mut read, |offset, found| {
                let (id, detail) = (found as u16, (found >> 16) as u16);
                let capability = Capability { offset, id, extended: true, detail };
                Some((capability, (found >> 20) as u16 & 0xffc))
            });
        }
    }
    // Ids that read as ones are nothing of the device's own if it was going away.
    walked.layout.no_ids &= walked.broken != Some(Broken::Silent);
    walked
}

/// Follows one list from `first` on, with what `parse` makes of the beginning of each capability:
/// that, and where the next is; `None` if the list ends before it.
fn follow(
    walked: &mut Walked,
    first: u16,
    within: std::ops::Range<u16>,
    most: usize,
    mut read: impl FnMut(u16) -> Option<u32>,
    parse: impl Fn(u16, u32) -> Option<(Capability, u16)>,
) {
    let mut offset = first;
    for _ in 0..most {
        if offset == 0 {
            return;
        }
        let known = &mut walked.layout.capabilities;
        let broken = if !within.contains(&offset) {
            Broken::Astray(offset)
        } else if known.iter().any(|one| one.offset == offset) {
            Broken::Loop(offset)
        } else {
            match read(offset) {
                None => Broken::Unreadable,
                Some(u32::MAX) => Broken::Silent,
                Some(found) => {
                    let Some((capability, next)) = parse(offset, found) else { return };
                    // The first of the extended ones may be an empty one that only leads on.
                    known.push(capability);
                    offset = next;
                    continue;
                }
            }
        };
        walked.broken = walked.broken.or(Some(broken));
        return;
    }
}
