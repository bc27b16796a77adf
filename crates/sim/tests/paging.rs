//! The model of paging against a second one that is as naive as can be: the manual's sentences, one
//! after the other, over the raw words of the tables.

use proptest::prelude::*;
use trapline_engine::{Linear, Physical};
use trapline_sim::paging::{AccessKind, Attempt, Mode, Refusal, Rules, Size, Tables, entry, translate};

/// One way through the tables: the flags of each entry, from the root (4) to the last.
#[derive(Clone, Debug)]
struct Case {
    address: Linear,
    size: Size,
    frame: u64,
    flags: [u64; 4],
    rules: Rules,
    attempt: Attempt,
}

/// Flags that leave a translation more often than not; reserved bits are rare.
fn flags() -> impl Strategy<Value = u64> {
    let rarely = |bit: u64| prop_oneof![15 => Just(0), 1 => Just(bit)];
    let often = |bit: u64| prop_oneof![1 => Just(0), 7 => Just(bit)];
    let parts = (
        often(entry::PRESENT),
        often(entry::WRITABLE),
        often(entry::USER),
        prop_oneof![3 => Just(0), 1 => Just(entry::NO_EXECUTE)],
        rarely(1 << 51),
        rarely(1 << 46),
        rarely(1 << 13),
        rarely(entry::LARGE),
        (0..16u8).prop_map(|key| entry::key(key & 0b1001)),
    );
    parts.prop_map(|(a, b, c, d, e, f, g, h, i)| a | b | c | d | e | f | g | h | i)
}

fn rules() -> impl Strategy<Value = Rules> {
    let bits = prop::array::uniform5(any::<bool>());
    (bits, any::<u32>(), prop_oneof![Just(46), Just(52)]).prop_map(|(on, pkru, physical_bits)| Rules {
        write_protect: on[0],
        smep: on[1],
        smap: on[2],
        no_execute: on[3],
        protection_keys: on[4],
        pkru,
        physical_bits,
    })
}

fn case() -> impl Strategy<Value = Case> {
    let kind = prop_oneof![Just(AccessKind::Read), Just(AccessKind::Write), Just(AccessKind::Fetch)];
    let mode = prop_oneof![Just(Mode::User), any::<bool>().prop_map(|ac| Mode::Supervisor { ac })];
    let size = prop::sample::select(Size::ALL.to_vec());
    let address = any::<u64>().prop_map(|address| Linear(((address << 16) as i64 >> 16) as u64));
    (address, size, 0..1u64 << 16, prop::array::uniform4(flags()), rules(), kind, mode).prop_map(
        |(address, size, frame, flags, rules, kind, mode)| {
            let attempt = Attempt { address, kind, mode };
            Case { address, size, frame: frame << 30, flags, rules, attempt }
        },
    )
}

impl Case {
    fn tables(&self) -> Tables {
        let mut tables = Tables::default();
        tables.map(self.address, self.size, self.frame | entry::PRESENT, entry::PRESENT);
        let last = match self.size {
            Size::Small => 1,
            Size::Large => 2,
            Size::Huge => 3,
        };
        // From the last one up, since the way down ends where an entry stops it.
        for level in last..=4 {
            // Bit 7 stays as the size has it but in the root, where it is reserved; where no page
            // is mapped, bit 13 is part of the next table's address.
            let mut mask = if level == 4 { u64::MAX } else { !entry::LARGE };
            if level != last {
                mask &= !(1 << 13);
            }
            let found = tables.entry_mut(self.address, level).expect("the way was made");
            *found = *found & !entry::PRESENT | self.flags[level as usize - 1] & mask;
        }
        tables
    }
}

/// Where a walk stands: an entry of the naive model.
fn word(tables: &Tables, table: u64, number: u64) -> u64 {
    tables.word(Physical((table & 0xf_ffff_ffff_f000) + 8 * number)).unwrap_or(0)
}

/// `Ok`: the physical address. `Err`: the error code.
fn naive(tables: &Tables, rules: &Rules, attempt: Attempt) -> Result<Physical, u32> {
    let Attempt { address: Linear(address), kind, mode } = attempt;
    let is_user = mode == Mode::User;
    let is_write = kind == AccessKind::Write;
    let is_fetch = kind == AccessKind::Fetch;
    // 4.7: W/R, U/S and I/D describe the access.
    let mut access = 0;
    if is_write {
        access += 2;
    }
    if is_user {
        access += 4;
    }
    if is_fetch && (rules.smep || rules.no_execute) {
        access += 16;
    }
    let bit = |value: u64, number: u32| value >> number & 1 == 1;
    // 4.5: PML4E, PDPTE, PDE, PTE.
    let mut way = Vec::new();
    let mut table = 0;
    let mut physical = None;
    for (name, low) in [("PML4E", 39), ("PDPTE", 30), ("PDE", 21), ("PTE", 12)] {
        let e = word(tables, table, address >> low & 0x1ff);
        if !bit(e, 0) {
            return Err(access);
        }
        let maps = name == "PTE" || name != "PML4E" && bit(e, 7);
        let mut wrong = (rules.physical_bits..52).any(|number| bit(e, number));
        wrong |= bit(e, 63) && !rules.no_execute;
        wrong |= name == "PML4E" && bit(e, 7);
        wrong |= maps && name == "PDPTE" && (13..=29).any(|number| bit(e, number));
        wrong |= maps && name == "PDE" && (13..=20).any(|number| bit(e, number));
        if wrong {
            return Err(access + 8 + 1);
        }
        way.push(e);
        if maps {
            let offset = address % (1 << low);
            physical = Some((e & 0xf_ffff_ffff_f000) / (1 << low) * (1 << low) + offset);
            break;
        }
        table = e;
    }
    let physical = physical.expect("a PTE maps");
    // 4.6: a user-mode address has U/S in every entry, and so on.
    let user_address = way.iter().all(|e| bit(*e, 2));
    let writable = way.iter().all(|e| bit(*e, 1));
    let xd = way.iter().any(|e| bit(*e, 63));
    let last = *way.last().expect("there is a PML4E");
    let key = last >> 59 & 15;
    let ac = mode == Mode::Supervisor { ac: true };
    let allowed = if !is_user && kind == AccessKind::Read {
        if user_address && rules.smap { ac } else { true }
    } else if !is_user && is_write {
        let smap = if user_address && rules.smap { ac } else { true };
        if rules.write_protect { smap && writable } else { smap }
    } else if !is_user {
        if user_address && rules.smep { false } else { !(rules.no_execute && xd) }
    } else if !user_address {
        false
    } else if is_write {
        writable
    } else if is_fetch {
        !(rules.no_execute && xd)
    } else {
        true
    };
    let ad = bit(rules.pkru.into(), 2 * key as u32);
    let wd = bit(rules.pkru.into(), 2 * key as u32 + 1);
    let pk = rules.protection_keys
        && !is_fetch
        && user_address
        && (ad || wd && is_write && (is_user || rules.write_protect));
    match (allowed, pk) {
        (true, false) => Ok(Physical(physical)),
        (_, false) => Err(access + 1),
        (_, true) => Err(access + 32 + 1),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_model_agrees_with_the_manuals_sentences(case in case()) {
        let tables = case.tables();
        let said = translate(&tables, &case.rules, case.attempt);
        let expected = naive(&tables, &case.rules, case.attempt);
        let said = said.map_err(|refusal| match refusal {
            Refusal::PageFault(code) => code.0,
            Refusal::NotCanonical => panic!("{:x?} is canonical", case.address),
        });
        prop_assert_eq!(said, expected);
    }

    #[test]
    fn an_address_that_is_not_canonical_is_no_page_fault(address in 0x8000_0000_0000..0xffff_8000_0000_0000u64) {
        let attempt = Attempt { address: Linear(address), kind: AccessKind::Read, mode: Mode::User };
        prop_assert_eq!(
            translate(&Tables::default(), &Rules::default(), attempt),
            Err(Refusal::NotCanonical)
        );
    }

    #[test]
    fn words_that_nobody_made_sense_of_never_end_the_model(words in prop::collection::vec(any::<u64>(), 4), address: u64) {
        let mut tables = Tables::default();
        tables.map(Linear(0), Size::Small, entry::PRESENT, entry::PRESENT);
        for (level, word) in (1..=4).zip(words) {
            *tables.entry_mut(Linear(0), level).expect("the way was made") = word;
        }
        for address in [Linear(0), Linear(address)] {
            let _ = tables.leaf(address);
            let _ = translate(&tables, &Rules::default(), Attempt { address, kind: AccessKind::Read, mode: Mode::User });
        }
    }
}

#[test]
fn the_cases_come_to_every_error_code_that_the_model_knows() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut met = std::collections::BTreeSet::new();
    for _ in 0..6_000 {
        let case = case().new_tree(&mut runner).expect("cases are always made").current();
        let code = match translate(&case.tables(), &case.rules, case.attempt) {
            Err(Refusal::PageFault(code)) => Some(code.0),
            _ => None,
        };
        met.insert(code);
    }
    let code = |code: u32| Some(code);
    let not_present = [0x0, 0x2, 0x4, 0x6, 0x10, 0x14];
    let rights = [0x1, 0x3, 0x5, 0x7, 0x11, 0x15, 0x21, 0x23, 0x25, 0x27];
    let reserved = [0x9, 0xb, 0xd, 0xf, 0x19, 0x1d];
    let mut all: Vec<_> = not_present.into_iter().chain(rights).chain(reserved).map(code).collect();
    all.push(None);
    for code in all {
        assert!(met.contains(&code), "{code:x?} never came: {met:x?}");
    }
}
