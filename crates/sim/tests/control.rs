//! The writer's side at its limits: many probes, and no memory.

use refusing_allocator::without_memory;
use std::time::{Duration, Instant};
use trapline_engine::{ControlError, PageSize};
use trapline_sim::{Backing, Machine, Options, ProbeSpec, Program, Registrar, Simulated, code};

mod refusing_allocator;

#[test]
fn thirty_thousand_probes_on_pages_of_their_own_are_registered_and_removed_soon() {
    const PAGES: u64 = 30_000;
    let mut machine = Simulated::new(Options { cpus: 1, ..Options::default() });
    let region = machine.map(Backing::Device, &[PageSize::Small; PAGES as usize]).expect("a device");
    // From the last to the first: no order is expected of a caller.
    let probes: Vec<_> =
        (0..PAGES).rev().map(|page| ProbeSpec::recording(region.start + (page << 12), 4)).collect();
    let begin = Instant::now();
    machine.probe(&probes).expect("probes");
    assert_eq!(machine.armed_pages() as u64, PAGES);
    machine.remove_mapping(&region);
    assert_eq!(machine.armed_pages(), 0);
    // In a test build linear work takes a twentieth of that, and quadratic work 8 s.
    assert!(begin.elapsed() < Duration::from_secs(4), "it took {:?}", begin.elapsed());
}

#[test]
fn a_removal_without_memory_still_removes() {
    const PROBES: u64 = 1000;
    let mut machine = Simulated::new(Options { cpus: 1, ..Options::default() });
    let region = machine.map(Backing::Device, &[PageSize::Small; 3]).expect("a device");
    let before = machine.entries(&region);
    let on =
        |page: u64| (0..PROBES).map(move |n| ProbeSpec::recording(region.start + (page << 12) + 4 * n, 4));
    let many = machine.probe(&on(0).chain(on(1)).collect::<Vec<_>>()).expect("probes");
    let (first, second) = many.split_at(PROBES as usize);

    without_memory(|| machine.unprobe(first));
    assert_eq!(machine.armed_pages(), 1);
    for (page, told) in [(0, 0), (1, 1)] {
        let registers = code::registers(region.start + (page << 12) + 0x400, 0);
        let outcome = machine.run(&[Program { registers, ..Program::new(0, code::LOAD) }], &mut |_| {});
        assert_eq!(outcome[0].fault, None);
        assert_eq!(machine.take_trace().accesses.len(), told, "page {page}");
    }

    // Nor does a registration that fails change anything.
    let refused = without_memory(|| machine.probe(&[ProbeSpec::recording(region.start + 0x2000, 4)]));
    assert_eq!(refused, Err(ControlError::OutOfMemory));
    assert_eq!(machine.armed_pages(), 1);
    without_memory(|| machine.unprobe(second));
    assert_eq!((machine.armed_pages(), machine.entries(&region)), (0, before));
}
