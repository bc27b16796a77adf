//! From what a driver reads to the experiments, those first that tell most: each register with each
//! kind of lie, all the time; then from, or at, the first, a middle and the last read; then each
//! function that reads it by itself. Pairs follow without an end ([`Planner::pair`]).

use super::experiment::{Experiment, Lie, Site};

/// Bits of a register that are flipped, and stuck.
const BITS: usize = 4;

/// A register, and who reads it.
#[derive(Debug)]
struct Register {
    place: String,
    width: u8,
    reads: u64,
    among_all: [u64; 3],
    seen: u64,
    polled: bool,
    functions: Vec<String>,
}

/// The registers of `sites`, in the order in which they were first read.
fn registers(sites: &[Site]) -> Vec<Register> {
    let mut all: Vec<Register> = Vec::new();
    for site in sites {
        let [first, middle, last] = site.among_all;
        match all.iter_mut().find(|known| known.place == site.place) {
            Some(known) => {
                known.width = known.width.max(site.width);
                known.reads += site.reads;
                known.seen |= site.seen;
                known.polled |= site.polled;
                known.among_all[0] = known.among_all[0].min(first);
                known.among_all[2] = known.among_all[2].max(last);
                known.functions.push(site.function.clone());
            }
            None => all.push(Register {
                place: site.place.clone(),
                width: site.width,
                reads: site.reads,
                among_all: [first, middle, last],
                seen: site.seen,
                polled: site.polled,
                functions: vec![site.function.clone()],
            }),
        }
    }
    all
}

/// A number that looks random, of `seed` and what it is for (the finaliser of SplitMix64).
fn scatter(seed: u64, what: u64) -> u64 {
    let mut word = seed.wrapping_add(what.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Bits of a register worth a lie: one that was seen set, the lowest, the highest, others by the
/// seed.
fn bits(register: &Register, seed: u64) -> Vec<u32> {
    let count = 8 * u32::from(register.width.clamp(1, 8));
    let set = (register.seen != 0).then(|| register.seen.trailing_zeros());
    let by_seed = register.place.bytes().fold(seed, |word, byte| scatter(word, byte.into()));
    let others = (0..8).map(|number| (scatter(by_seed, number) % u64::from(count)) as u32);
    let mut chosen = Vec::new();
    for bit in set.into_iter().chain([0, count - 1]).chain(others).filter(|bit| *bit < count) {
        if chosen.len() < BITS && !chosen.contains(&bit) {
            chosen.push(bit);
        }
    }
    chosen
}

/// The lies about a register: the kind, and what a rule says after WHERE.
fn lies(register: &Register, seed: u64) -> Vec<(Lie, String)> {
    let mut all = vec![(Lie::Ones, "ones".to_owned()), (Lie::Zero, "= 0".into())];
    if register.polled {
        all.push((Lie::Never, "withhold".into()));
    }
    all.push((Lie::Random, "random".into()));
    if register.reads > 1 {
        all.push((Lie::Stale, "stale 1".into()));
    }
    for bit in bits(register, seed) {
        all.push((Lie::Flip, format!("xor {:#x}", 1_u64 << bit)));
        let is_set = register.seen >> bit & 1 == 1;
        let stuck = if is_set {
            format!("and {:#x}", !(1_u64 << bit) & all_ones(register))
        } else {
            format!("or {:#x}", 1_u64 << bit)
        };
        all.push((Lie::Stuck, stuck));
    }
    all
}

/// All ones of a register's width.
fn all_ones(register: &Register) -> u64 {
    u64::MAX >> (64 - 8 * u32::from(register.width.clamp(1, 8)))
}

/// When a lie about a register is told, beside always.
fn moments(reads: u64) -> Vec<String> {
    let middle = reads.div_ceil(2);
    let mut all = vec!["at 1".to_owned()];
    if reads > 2 {
        all.push(format!("from {middle}"));
        all.push(format!("at {middle}"));
    }
    if reads > 1 {
        all.push(format!("at {reads}"));
    }
    all
}

/// Makes experiments from what a driver reads.
#[derive(Debug)]
pub(crate) struct Planner {
    registers: Vec<Register>,
    /// The lies about each.
    lies: Vec<Vec<(Lie, String)>>,
    seed: u64,
}

impl Planner {
    /// Of the reads at `sites`; `seed` decides bits and pairs.
    pub(crate) fn new(sites: &[Site], seed: u64) -> Self {
        let registers = registers(sites);
        let lies = registers.iter().map(|register| lies(register, seed)).collect();
        Self { registers, lies, seed }
    }

    /// All experiments but pairs.
    pub(crate) fn plan(&self) -> Vec<Experiment> {
        let Self { registers, lies: all_lies, .. } = self;
        let longest = all_lies.iter().map(Vec::len).max().unwrap_or(0);
        let mut plan = Vec::new();
        // The same kind for each register before the next kind: a budget that ends early has told
        // something of each.
        let mut add = |when: &dyn Fn(&Register) -> Vec<String>| {
            for number in 0..longest {
                for (register, lies) in registers.iter().zip(all_lies) {
                    let Some((lie, what)) = lies.get(number) else { continue };
                    for when in when(register) {
                        let rule = format!("{} {what} {when}", register.place);
                        plan.push(Experiment::of(&register.place, *lie, rule.trim_end().to_owned()));
                    }
                }
            }
        };
        add(&|_| vec![String::new()]);
        add(&|register| moments(register.reads));
        add(&|register| match &register.functions[..] {
            [_] => Vec::new(),
            several => {
                several.iter().filter(|name| !name.is_empty()).map(|name| format!("in {name}")).collect()
            }
        });
        // Gone, at the moments of each register: the number of the access is among all of the
        // device.
        let gone = registers.iter().flat_map(|register| {
            let mut moments = register.among_all.to_vec();
            moments.dedup();
            moments
                .into_iter()
                .map(|from| Experiment::of(&register.place, Lie::Gone, format!("* gone from {from}")))
        });
        let gone: Vec<Experiment> = gone.collect();
        let after = registers.len() * 2;
        let at = after.min(plan.len());
        plan.splice(at..at, gone);
        let mut known = std::collections::HashSet::new();
        plan.retain(|experiment| known.insert(experiment.rules.clone()));
        plan
    }

    /// The pair of this number: two lies about two registers, at moments by the seed. `None` if
    /// there are no two registers.
    pub(crate) fn pair(&self, number: u64) -> Option<Experiment> {
        let Self { registers, lies, seed } = self;
        let count = registers.len() as u64;
        if count < 2 {
            return None;
        }
        let choose = |what: u64, of: usize| {
            (scatter(seed ^ 0x7061_6972, number * 16 + what) % of.max(1) as u64) as usize
        };
        let first = choose(0, registers.len());
        let second = (first + 1 + choose(1, registers.len() - 1)) % registers.len();
        let rule = |at: usize, what: u64| {
            let register = registers.get(at)?;
            let lies = lies.get(at)?;
            let (_, lie) = lies.get(choose(what, lies.len()))?;
            let mut moments = moments(register.reads);
            moments.extend(["".to_owned(), "chance 10%".to_owned()]);
            let when = moments.get(choose(what + 1, moments.len()))?;
            Some(format!("{} {lie} {when}", register.place).trim_end().to_owned())
        };
        Some(Experiment { rules: vec![rule(first, 2)?, rule(second, 4)?], place: None, lie: Lie::Several })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(sites: &[Site], seed: u64) -> Vec<Experiment> {
        Planner::new(sites, seed).plan()
    }

    fn pair(sites: &[Site], seed: u64, number: u64) -> Option<Experiment> {
        Planner::new(sites, seed).pair(number)
    }

    pub(crate) fn site(place: &str, function: &str, reads: u64, polled: bool) -> Site {
        let among_all = [1, reads.div_ceil(2), reads];
        Site {
            place: place.into(),
            width: 4,
            function: function.into(),
            offsets: vec![4],
            reads,
            among_all,
            seen: 0x80,
            polled,
        }
    }

    fn texts(plan: &[Experiment]) -> Vec<String> {
        plan.iter().map(Experiment::text).collect()
    }

    #[test]
    fn every_register_has_every_kind_of_lie_before_any_has_moments() {
        let sites = [site("ID", "m:probe", 1, false), site("STATUS", "m:wait", 9, true)];
        let texts = texts(&plan(&sites, 1));
        assert_eq!(texts[..4], ["ID ones", "STATUS ones", "ID = 0", "STATUS = 0"]);
        let at = |rule: &str| {
            texts.iter().position(|text| text == rule).unwrap_or_else(|| panic!("no {rule} in {texts:#?}"))
        };
        assert!(at("STATUS withhold") < at("STATUS ones at 1"));
        for rule in [
            "STATUS xor 0x80",
            "STATUS and 0xffffff7f",
            "STATUS or 0x1",
            "STATUS stale 1",
            "STATUS ones from 5",
            "STATUS ones at 9",
            "* gone from 5",
        ] {
            at(rule);
        }
        assert!(!texts.iter().any(|text| text.starts_with("ID withhold") || text.starts_with("ID stale")));
        assert_eq!(texts.iter().filter(|text| text.contains(" in ")).count(), 0);
    }

    #[test]
    fn functions_that_share_a_register_are_lied_to_one_by_one() {
        let sites = [site("STATUS", "m:wait", 3, false), site("STATUS", "m:link", 2, false)];
        let texts = texts(&plan(&sites, 1));
        for rule in ["STATUS ones in m:wait", "STATUS ones in m:link", "STATUS ones at 5"] {
            assert!(texts.iter().any(|text| text == rule), "no {rule}: {texts:#?}");
        }
    }

    #[test]
    fn nothing_is_tried_twice_and_the_seed_decides_bits_and_pairs() {
        let sites = [site("A", "f", 1, false), site("B", "g", 2, false)];
        let one = plan(&sites, 1);
        let mut texts = texts(&one);
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), one.len());
        assert_eq!(one, plan(&sites, 1));
        assert_ne!(one, plan(&sites, 3));
        let pairs: Vec<_> = (0..20).map(|number| pair(&sites, 1, number).unwrap()).collect();
        assert_eq!(pairs, (0..20).map(|number| pair(&sites, 1, number).unwrap()).collect::<Vec<_>>());
        assert!(pairs.iter().all(|pair| pair.rules.len() == 2 && pair.rules[0][..1] != pair.rules[1][..1]));
        assert!(pair(&sites[..1], 1, 0).is_none());
    }
}
