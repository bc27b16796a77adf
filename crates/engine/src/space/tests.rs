//! The snapshot against a search through everything.

use super::{ActiveProbe, ArmedPage, Space};
use crate::{Alias, Backing, Behind, Handlers, Linear, Mapped, Page, PageSize, Probe, ProbeId, Rights};
use proptest::prelude::*;

const START: Linear = Linear(0xffff_c900_0000_0000);

/// Where the large page begins, right behind eight small ones.
const LARGE: Linear = START.plus(PageSize::Large.bytes());

/// Where the first of these begins.
const FIRST: Linear = START.plus(PageSize::Large.bytes() - 0x8000);

fn probe(start: Linear, length: u64) -> Probe {
    Probe { start, length, reads: true, writes: true, record: true, handlers: Handlers::NONE }
}

fn armed(address: Linear, size: PageSize) -> ArmedPage {
    let rights = Rights { write: true, user: false, execute: false };
    let behind = Behind { backing: Backing::Device, rights, alias: Alias(address.0 ^ 1 << 45) };
    ArmedPage::new(Mapped { page: Page { address, size }, entry: 1 }, behind, 0)
}

/// Eight small pages, a large one behind them, and another small one.
fn pages() -> Vec<ArmedPage> {
    let small = (0..8).map(|number| armed(FIRST.plus(0x1000 * number), PageSize::Small));
    let behind = armed(LARGE.plus(PageSize::Large.bytes()), PageSize::Small);
    small.chain([armed(LARGE, PageSize::Large), behind]).collect()
}

fn build(probes: &[(Linear, u64)]) -> Space {
    let mut probes: Vec<(Linear, u64)> = probes.to_vec();
    probes.sort_unstable();
    let active =
        (0..).zip(probes).map(|(id, (start, length))| ActiveProbe::new(ProbeId(id), probe(start, length)));
    Space::build(pages(), active.collect()).expect("memory")
}

/// The ids of the probes that an access meets, as the performer visits them.
fn visited(space: &Space, address: Linear, width: u64) -> Vec<u64> {
    let mut found = Vec::new();
    let first = space.find(address).expect("armed");
    space.visit(first, address, width, true, |active| found.push(active.id.0));
    let last = address.plus(width - 1);
    let next = space.find(last).expect("armed");
    if next.page() != first.page() {
        let begin = next.page().address;
        space.visit(next, begin, last.since(begin) + 1, false, |active| found.push(active.id.0));
    }
    found
}

fn ranges() -> impl Strategy<Value = Vec<(Linear, u64)>> {
    let near = (0..0xb000u64, prop_oneof![1..40u64, 1..0x4000u64]);
    let within_large = (0x8000..0x20_8000u64, prop_oneof![1..40u64, 1..0x1000u64]);
    let range = prop_oneof![near, within_large].prop_map(|(offset, length)| (FIRST.plus(offset), length));
    prop::collection::vec(range, 0..60)
}

proptest! {
    #[test]
    fn an_access_meets_each_probe_that_covers_a_byte_of_it_once(
        probes in ranges(),
        offset in prop_oneof![0..0xa000u64, (0..10u64, 1..64u64).prop_map(|(page, before)| 0x1000 * page + 0x1000 - before)],
        width in 1..=64u64,
    ) {
        let space = build(&probes);
        let address = FIRST.plus(offset);
        let mut found = visited(&space, address, width);
        found.sort_unstable();
        let covers = |active: &&ActiveProbe| {
            active.probe.start < address.plus(width) && address <= active.probe.last()
        };
        let expected: Vec<u64> = space.probes().iter().filter(covers).map(|active| active.id.0).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_page_is_found_from_each_of_its_bytes_until_it_is_forgotten(
        forgotten in prop::collection::vec(any::<bool>(), 10),
        offset in 0..0x1000u64,
    ) {
        let space = build(&[]);
        for (page, gone) in pages().iter().zip(&forgotten) {
            if *gone {
                space.leave(page.page());
                prop_assert!(!space.stays(page.page()));
                space.forget(page.page());
            }
        }
        for (page, gone) in pages().iter().zip(&forgotten) {
            let page_size = page.page().size.bytes();
            for offset in [offset, page_size - 1 - offset] {
                let address = page.page().address.plus(offset);
                let found = space.find(address).map(|found| found.page());
                prop_assert_eq!(found, (!gone).then_some(page.page()));
            }
            prop_assert_eq!(space.stays(page.page()), !gone);
        }
        prop_assert!(space.find(START.plus(offset)).is_none());
    }
}

#[test]
fn an_ended_probe_is_not_met_any_more() {
    let space = build(&[(FIRST, 8), (FIRST, 4)]);
    assert_eq!(visited(&space, FIRST, 4), [0, 1]);
    space.probes()[0].end();
    assert_eq!(visited(&space, FIRST, 4), [1]);
}

#[test]
fn probes_on_one_byte_are_met_in_the_order_of_their_registration() {
    // Sorted by start, as the writer hands them over; registered the other way round.
    let probes = [(2, FIRST, 16), (1, FIRST.plus(4), 8), (0, FIRST.plus(8), 8)];
    let active = probes.map(|(id, start, length)| ActiveProbe::new(ProbeId(id), probe(start, length)));
    let space = Space::build(pages(), active.into()).expect("memory");
    assert_eq!(visited(&space, FIRST.plus(8), 4), [0, 1, 2]);
}
