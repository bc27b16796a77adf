//! Probes and pages in the order of their addresses: what is found, merged and swept in it.

use crate::space::ArmedPage;
use crate::{ControlError, Linear, Probe, ProbeId};
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;

/// Whether one of `probes`, sorted by start, touches a page; to be asked of pages in ascending
/// order, so that all of them take one sweep.
pub(super) fn used_by(probes: &[(ProbeId, Probe)]) -> impl FnMut(&ArmedPage) -> bool {
    let mut rest = probes.iter().map(|(_, probe)| probe).peekable();
    // The highest byte of all probes that begin on the page or before it.
    let mut reach = None;
    move |page| {
        let (first, last) = (page.page().address, page.page().last());
        while let Some(probe) = rest.next_if(|probe| probe.start <= last) {
            reach = reach.max(Some(probe.last()));
        }
        reach >= Some(first)
    }
}

/// Probes with their ids, which are `first` and those that follow, in the order of their starts.
///
/// A heap puts them in order, in place and without recursion. The slice's own sort takes 2.8 KiB of
/// stack a level for values of this size, and a driver that maps its device may call from anywhere
/// in a kernel stack of 16 KiB.
pub(super) fn by_start(first: u64, probes: &[Probe]) -> Result<Vec<(ProbeId, Probe)>, ControlError> {
    let mut order = Vec::new();
    order.try_reserve_exact(probes.len())?;
    order.extend((0..).zip(probes).map(|(number, probe)| (probe.start, number)));
    let mut sorted = Vec::new();
    sorted.try_reserve_exact(probes.len())?;
    let order: Vec<(Linear, usize)> = BinaryHeap::from(order).into_sorted_vec();
    sorted.extend(order.iter().map(|&(_, number)| (ProbeId(first + number as u64), probes[number])));
    Ok(sorted)
}

/// Appends both to `all`, which has room for them, in the order of their keys; each comes in it.
pub(super) fn merge<T: Copy, K: Ord>(all: &mut Vec<T>, first: &[T], second: &[T], key: impl Fn(&T) -> K) {
    let mut rest = first;
    for item in second {
        let before = rest.partition_point(|other| key(other) < key(item));
        all.extend_from_slice(&rest[..before]);
        all.push(*item);
        rest = &rest[before..];
    }
    all.extend_from_slice(rest);
}

/// The page that holds `address`, if it is one of `pages`, sorted by address.
pub(super) fn page_in(pages: &[ArmedPage], address: Linear) -> Option<&ArmedPage> {
    let after = pages.partition_point(|page| page.page().address <= address);
    pages.get(after.checked_sub(1)?).filter(|page| page.page().holds(address))
}
