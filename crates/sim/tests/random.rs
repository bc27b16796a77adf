//! Random programs, random probes coming and going, random interleavings: what the trace tells is
//! what the device saw.

use proptest::prelude::*;
use trapline_abi::Way;
use trapline_engine::PageSize;
use trapline_sim::{
    Arming, Backing, Machine, Options, ProbeSpec, Program, RecordedAccess, Region, Simulated, code,
};

mod refusing_allocator;

/// Which forms a program draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forms {
    /// Those that never open a page.
    Tight,
    /// All.
    All,
}

#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    cpus: usize,
    forms: Forms,
    /// For each CPU: form, offset of the operand, times.
    programs: Vec<Vec<(prop::sample::Index, u64)>>,
    /// Rounds of probes: (start, length) of each.
    probes: Vec<Vec<(u64, u64, bool, bool)>>,
    nmi: bool,
    arming: Arming,
}

const LENGTH: u64 = 0x3000;

/// Where divisors lie: no other instruction comes here, so they stay what they are at first. The
/// model raises no #DE, and a store of another operand could make a divisor 0.
const DIVISORS: u64 = LENGTH - 0x100;

fn case() -> impl Strategy<Value = Case> {
    let instruction = (any::<prop::sample::Index>(), 0x100..LENGTH - 0x200);
    let probe = (0..LENGTH - 1, 1..LENGTH, any::<bool>(), any::<bool>()).prop_map(
        |(start, length, reads, writes)| (start, length.min(LENGTH - start), reads, writes || !reads),
    );
    (
        any::<u64>(),
        1..=4usize,
        prop_oneof![3 => Just(Forms::Tight), 1 => Just(Forms::All)],
        prop::collection::vec(prop::collection::vec(instruction, 1..6), 4),
        prop::collection::vec(prop::collection::vec(probe, 1..4), 1..4),
        any::<bool>(),
        prop::sample::select(&Arming::ALL[..]),
    )
        .prop_map(|(seed, cpus, forms, programs, probes, nmi, arming)| Case {
            seed,
            cpus,
            forms,
            programs,
            probes,
            nmi,
            arming,
        })
}

fn forms(which: Forms) -> Vec<code::Form> {
    let mut all = [code::moves(), code::arithmetic(), code::locked(), code::vectors()].concat();
    all.extend(code::strings().into_iter().filter(|form| !form.name.contains("200")));
    if which == Forms::All {
        all.push(code::Form { name: "divl (%rdi)", code: code::DIVIDE.to_vec(), set: |_| {} });
    }
    // The direction flag would stay set for what follows; `xlatb` wants other registers.
    all.retain(|form| !form.name.contains("down") && form.name != "xlatb");
    all
}

/// `mov $address,%rdi; mov $address + 64,%rsi; mov $5,%ecx; mov $0,%edx` before each instruction.
fn program(
    cpu: usize,
    instructions: &[(prop::sample::Index, u64)],
    all: &[code::Form],
    region: &Region,
) -> Program {
    let mut bytes = Vec::new();
    for (index, offset) in instructions {
        let form = index.get(all);
        let is_division = form.code == code::DIVIDE;
        let address = region.start + if is_division { DIVISORS + offset % 0xf0 } else { *offset };
        bytes.extend([0x48, 0xbf]);
        bytes.extend(address.to_le_bytes());
        bytes.extend([0x48, 0xbe]);
        bytes.extend((address + 64).to_le_bytes());
        bytes.extend([0xb9, 5, 0, 0, 0, 0xba, 0, 0, 0, 0]);
        bytes.extend(&form.code);
    }
    Program { registers: code::registers(region.start, region.start), ..Program::new(cpu, &bytes) }.times(3)
}

/// Whether `told` is what is left of `seen` when some that need not be told are taken out.
fn explains(told: &[&RecordedAccess], seen: &[(RecordedAccess, bool)]) -> Result<(), String> {
    // possible[n]: the first n told explain what was seen so far.
    let mut possible = vec![false; told.len() + 1];
    possible[0] = true;
    for (number, (access, must)) in seen.iter().enumerate() {
        let mut next = vec![false; told.len() + 1];
        for at in 0..=told.len() {
            next[at] = possible[at] && !must || at > 0 && possible[at - 1] && told[at - 1].tells_of(access);
        }
        if next.iter().all(|possible| !possible) {
            return Err(format!("access {number} was not told of as it was: {access:?}; told: {told:#?}"));
        }
        possible = next;
    }
    if possible[told.len()] {
        Ok(())
    } else {
        Err(format!("told of more than was seen: {told:#?} {seen:#?}"))
    }
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let Case { cpus, seed, arming, .. } = *case;
    let options = Options { cpus, seed, arming, ..Options::default() };
    let mut machine = Simulated::new(options);
    let region = machine.map(Backing::Device, &[PageSize::Small; 3]).expect("a device");
    machine.poke(region.start, &[1; LENGTH as usize]);
    let before = machine.entries(&region);
    let all = forms(case.forms);
    if case.nmi {
        let address = region.start + 0x1400;
        machine.set_nmi(&Program {
            registers: code::registers(address, address),
            ..Program::new(0, code::LOAD)
        });
    }
    let programs: Vec<Program> =
        (0..case.cpus).map(|cpu| program(cpu, &case.programs[cpu], &all, &region)).collect();
    let outcomes = machine.run(&programs, &mut |registrar| {
        for round in &case.probes {
            let probes: Vec<ProbeSpec> = round
                .iter()
                .map(|&(start, length, reads, writes)| ProbeSpec {
                    reads,
                    writes,
                    ..ProbeSpec::recording(region.start + start, length)
                })
                .collect();
            let ids = registrar.probe(&probes).expect("the device is mapped");
            registrar.linger();
            // One by one, the first of them last.
            for id in ids.iter().rev() {
                registrar.unprobe(&[*id]);
            }
        }
    });
    for (outcome, program) in outcomes.iter().zip(&programs) {
        prop_assert_eq!(outcome.fault, None);
        prop_assert_eq!(outcome.registers.rip, program.code.len() as u64);
    }
    prop_assert_eq!(machine.entries(&region), before);
    prop_assert_eq!(machine.take_missed(), []);
    let trace = machine.take_trace();
    prop_assert_eq!(trace.lost, 0);
    // A vector access across the border of what is armed has to be stepped: a copy has one operand.
    let crosses = |(_, offset): &(prop::sample::Index, u64)| offset & 0xfff > 0x1000 - 32;
    let may_step = case.forms == Forms::All || case.programs.iter().flatten().any(crosses);
    prop_assert!(may_step || trace.windows.is_empty());
    let seen = machine.take_seen_with_fate();
    for cpu in 0..case.cpus {
        // What an NMI does is in the middle of what it interrupts: each has an order of its own.
        for nmi in [false, true] {
            let is_nmi = |access: &RecordedAccess| (access.ip & 0xfff) >= 0x400;
            let told: Vec<&RecordedAccess> =
                trace.accesses.iter().filter(|a| a.cpu == cpu && is_nmi(a) == nmi).collect();
            let seen: Vec<(RecordedAccess, bool)> = seen
                .iter()
                .filter(|(access, _, stepped)| {
                    access.cpu == cpu && is_nmi(access) == nmi && stepped.is_some()
                })
                // A step is told of afterwards, when its probe may be gone.
                .map(|(access, must, stepped)| (*access, *must && *stepped == Some(false)))
                .collect();
            explains(&told, &seen).map_err(|error| TestCaseError::fail(format!("cpu{cpu}: {error}")))?;
        }
    }
    let steps = trace.accesses.iter().filter(|access| access.way == Some(Way::Step)).count();
    prop_assert!(may_step || steps == 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Apart from the time in which nothing is armed, the trace equals the device's record, per CPU
    /// and in order.
    #[test]
    fn the_trace_equals_the_devices_record(case in case()) {
        check(&case)?;
    }
}
