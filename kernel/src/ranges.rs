//! Ranges that other modules probe: what they lie in is found, checked and made known.

use crate::arming::{self, Refusal};
use crate::errno::Errno;
use crate::glue;
use crate::mappings::{Candidate, Mappings, PAGE, errno_of};
use crate::page_tables::{Leaf, leaf_at};
use crate::walk::{physical, size};
use trapline_engine::{Control, Linear, Probe};

/// Longest mapping that is made a second time: 1 GiB.
const LONGEST: u64 = 1 << 30;

/// Makes the mapping that `probe`, whose range does not wrap, lies in known, if it is not.
pub(crate) fn cover(mappings: &mut Mappings, control: &mut Control, probe: &Probe) -> Result<(), Errno> {
    let (start, last) = (probe.start, probe.last());
    if let Some(at) = mappings.at(start) {
        let whole = mappings.known.get(at).is_some_and(|known| known.holds(last));
        return if whole { Ok(()) } else { Err(Errno::FAULT) };
    }
    let refused = |refusal: Refusal| {
        let text = refusal.text();
        // SAFETY: `text` is valid for its length.
        unsafe { glue::glue_warn(text.as_ptr(), text.len()) };
        refusal.errno()
    };
    arming::is_in_reach(start, last).map_err(refused)?;
    let candidate = mapping_around(start)?;
    if last.since(candidate.start) >= candidate.length {
        return Err(Errno::FAULT);
    }
    let armable = arming::check(candidate).map_err(refused)?;
    mappings.adopt(control, &armable).map(|_| ()).map_err(errno_of)
}

/// The whole mapping that holds `address`: as far as it goes without a hole and, for a device, as
/// physical addresses go on. Areas of the vmalloc range are separated by unmapped guard pages.
fn mapping_around(address: Linear) -> Result<Candidate, Errno> {
    let leaf = leaf_at(address).ok_or(Errno::FAULT)?;
    let ram = glue::glue_is_ram(physical(leaf).aligned_down(PAGE), PAGE);
    let behind = |leaf: Leaf| physical(leaf).plus(size(leaf.level));
    let (mut start, mut length) = (address.aligned_down(size(leaf.level)), size(leaf.level));
    let (mut first, mut before, mut after) = (leaf, physical(leaf), behind(leaf));
    while let Some(leaf) = leaf_at(start.minus(1)) {
        if !ram && behind(leaf) != before {
            break;
        }
        first = leaf;
        before = physical(leaf);
        start = start.minus(size(leaf.level));
        length += size(leaf.level);
        limit(length)?;
    }
    while let Some(leaf) = leaf_at(start.plus(length)) {
        if !ram && physical(leaf) != after {
            break;
        }
        after = behind(leaf);
        length += size(leaf.level);
        limit(length)?;
    }
    Ok(Candidate { start, length, physical: (!ram).then_some(before), leaf: first })
}

fn limit(length: u64) -> Result<(), Errno> {
    if length > LONGEST { Err(Errno::TOO_BIG) } else { Ok(()) }
}
