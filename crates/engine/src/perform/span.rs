//! Bytes that an instruction accesses, and what of them is armed.

use super::Performer;
use crate::space::ArmedPage;
use crate::{Alias, Backing, Linear, PageSize, Platform};

/// Bytes that lie on one armed page, or on two of one mapping.
#[derive(Clone, Copy)]
pub(crate) struct Span<'a> {
    pub(super) page: &'a ArmedPage,
    pub(super) next: Option<&'a ArmedPage>,
    pub(super) address: Linear,
    pub(super) width: u16,
}

impl Span<'_> {
    pub(crate) fn alias(&self) -> Alias {
        self.page.alias_of(self.address)
    }

    pub(super) fn is_ram(&self) -> bool {
        self.page.behind.backing == Backing::Ram
    }

    /// Its first byte on a page without the right to write, if there is one.
    #[inline(always)]
    pub(super) fn read_only_at(&self) -> Option<Linear> {
        let is_read_only = |page: &&ArmedPage| !page.behind.rights.write;
        let next = || self.next.filter(is_read_only).map(|next| next.page().address);
        if is_read_only(&self.page) { Some(self.address) } else { next() }
    }
}

/// Where some bytes lie.
pub(super) enum Place<'a> {
    Armed(Span<'a>),
    /// Not on any armed page.
    Other,
    /// Partly: each byte is an access of its own.
    Mixed,
}

impl<'a, P: Platform> Performer<'a, P> {
    #[inline(always)]
    pub(super) fn page_of(&self, address: Linear) -> Option<&'a ArmedPage> {
        if self.page.page().holds(address) { Some(self.page) } else { self.space.find(address) }
    }

    #[inline(always)]
    pub(super) fn place(&self, address: Linear, width: u16) -> Place<'a> {
        let last = address.plus(u64::from(width.max(1)) - 1);
        let Some(page) = self.page_of(address) else {
            let page = PageSize::Small.bytes();
            let crosses = address.aligned_down(page) != last.aligned_down(page);
            return if crosses && self.space.find(last).is_some() { Place::Mixed } else { Place::Other };
        };
        if page.page().holds(last) {
            return Place::Armed(Span { page, next: None, address, width });
        }
        match self.space.find(last) {
            // Aliases of one mapping are contiguous, so the access can stay in one piece.
            Some(next) if next.mapping == page.mapping => {
                Place::Armed(Span { page, next: Some(next), address, width })
            }
            _ => Place::Mixed,
        }
    }

    /// The armed bytes at `address`, if all of them are.
    pub(crate) fn span(&self, address: Linear, width: u16) -> Option<Span<'a>> {
        match self.place(address, width) {
            Place::Armed(span) => Some(span),
            Place::Other | Place::Mixed => None,
        }
    }

    /// What of the bytes at `address` is armed: all, one end, both ends on pages of different
    /// mappings, or nothing.
    pub(crate) fn armed_parts(&self, address: Linear, width: u16) -> [Option<Span<'a>>; 2] {
        match self.place(address, width) {
            Place::Armed(span) => [Some(span), None],
            Place::Other => [None, None],
            Place::Mixed => {
                let last = address.plus(u64::from(width) - 1);
                let head = self.page_of(address).map(|page| {
                    let width = page.page().end().since(address) as u16;
                    Span { page, next: None, address, width }
                });
                let tail = self.page_of(last).map(|page| {
                    let address = page.page().address;
                    Span { page, next: None, address, width: (last.since(address) + 1) as u16 }
                });
                [head, tail]
            }
        }
    }
}
