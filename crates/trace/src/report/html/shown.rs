//! What a page shows of an event.

use std::borrow::Cow;

use crate::Site;

/// What a page shows of an event: the lane that it is on, and what it was there.
#[derive(Clone, Debug)]
pub(crate) struct Shown<'e> {
    /// Its kind's name.
    pub(crate) kind: &'static str,
    /// The lane: of an access where it went, as the table of registers says it.
    pub(crate) place: Cow<'e, str>,
    /// What the lane is called beside that.
    pub(crate) name: Option<&'e str>,
    /// `R`, `return`, `user`: what tells events of one lane apart.
    pub(crate) op: &'static str,
    /// Bytes of the value; 0 if there is none.
    pub(crate) width: u8,
    /// What was read or written, or the address that faulted, if it is known and has at most 8
    /// bytes.
    pub(crate) value: Option<u64>,
    /// The function.
    pub(crate) site: Option<&'e Site<'e>>,
    /// Address of the instruction; 0 if it is not known.
    pub(crate) ip: u64,
}

impl Shown<'_> {
    /// An event of this kind, with nothing told of it yet.
    pub(crate) fn of(kind: &'static str) -> Self {
        let (place, name, op, width) = (Cow::Borrowed(""), None, "", 0);
        Self { kind, place, name, op, width, value: None, site: None, ip: 0 }
    }
}
