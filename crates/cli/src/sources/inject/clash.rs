//! Rules that are about the same accesses: of those that apply to one and do the same kind of thing
//! to it, the module lets the first decide. That is told; a rule that could never apply because of
//! it is refused.

use trapline_abi::{ALWAYS, InjectAction, InjectRule};

/// What becomes of the later of two rules, or of the one that changes a value, where the other
/// decides whether the access is made at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clash {
    /// Number of the rule that decides.
    pub(super) decides: usize,
    /// Number of the one that does not, where both apply.
    pub(super) yields: usize,
    /// Whether it never applies.
    pub(super) never: bool,
}

/// The clashes between `rules`, each with the number of the rule that was typed.
pub(super) fn clashes<'a>(rules: impl Iterator<Item = (usize, &'a InjectRule)> + Clone) -> Vec<Clash> {
    let mut clashes: Vec<Clash> = Vec::new();
    for (number, rule) in rules.clone() {
        for (other, earlier) in rules.clone().take_while(|(other, _)| *other < number) {
            let Some((decides, yields)) = deciding((other, earlier), (number, rule)) else { continue };
            if !meet(earlier, rule) {
                continue;
            }
            let clash = Clash { decides: decides.0, yields: yields.0, never: false };
            if !clashes.contains(&clash) {
                clashes.push(clash);
            }
        }
    }
    for clash in &mut clashes {
        // In each place that it is about, which may be in several devices.
        let of = |number| rules.clone().filter(move |(of, _)| *of == number).map(|(_, rule)| rule);
        clash.never =
            of(clash.yields).all(|rule| of(clash.decides).any(|one| holds_always(one) && covers(one, rule)));
    }
    clashes
}

type Numbered<'a> = (usize, &'a InjectRule);

/// Which of two rules, in their order, decides and which yields where both apply; `None` if both
/// are carried out.
fn deciding<'a>(first: Numbered<'a>, second: Numbered<'a>) -> Option<(Numbered<'a>, Numbered<'a>)> {
    let action = |rule: &InjectRule| InjectAction::from_code(rule.action);
    let changes = |rule| {
        let action = action(rule);
        !matches!(
            action,
            Some(InjectAction::Gone | InjectAction::Drop | InjectAction::Twice | InjectAction::Delay)
        )
    };
    let prevents = |rule| matches!(action(rule), Some(InjectAction::Gone | InjectAction::Drop));
    let waits = |rule| action(rule) == Some(InjectAction::Delay);
    match (first.1, second.1) {
        (one, other) if waits(one) || waits(other) => None,
        (one, other) if changes(one) == changes(other) => Some((first, second)),
        // What is not accessed has no value that could be changed, whichever was said first.
        (one, _) if prevents(one) => Some((first, second)),
        (_, other) if prevents(other) => Some((second, first)),
        _ => None,
    }
}

/// Whether there may be an access to which both apply.
fn meet(one: &InjectRule, other: &InjectRule) -> bool {
    let last = |rule: &InjectRule| rule.physical.saturating_add(rule.length - 1);
    let same = |any: u32, one: u32, other: u32| one == any || other == any || one == other;
    let ends = |rule: &InjectRule| rule.first.saturating_add(rule.count);
    // If they count the same accesses, they may be about others of them.
    let apart = who(one) == who(other) && (ends(one) <= other.first || ends(other) <= one.first);
    one.flags & other.flags != 0
        && one.physical <= last(other)
        && other.physical <= last(one)
        && same(u32::MAX, one.cpu, other.cpu)
        && same(u32::MAX, one.thread, other.thread)
        && one.ip_first <= other.ip_last
        && other.ip_first <= one.ip_last
        && !apart
}

/// What of a rule says which accesses it counts.
fn who(rule: &InjectRule) -> InjectRule {
    let InjectRule { physical, length, flags, cpu, thread, ip_first, ip_last, after, begin, end, .. } = *rule;
    InjectRule {
        physical,
        length,
        flags,
        cpu,
        thread,
        ip_first,
        ip_last,
        after,
        begin,
        end,
        ..InjectRule::default()
    }
}

/// Whether a rule applies to every access that it is about by where it is.
fn holds_always(rule: &InjectRule) -> bool {
    let waits = rule.action == InjectAction::Withhold as u32;
    let none = InjectRule { physical: rule.physical, length: rule.length, flags: rule.flags, ..ANYTHING };
    !waits && rule.first == 1 && rule.count == u64::MAX && rule.chance == ALWAYS && who(rule) == who(&none)
}

/// Of anybody, at any time.
const ANYTHING: InjectRule = InjectRule {
    physical: 0,
    length: u64::MAX,
    action: InjectAction::Change as u32,
    flags: 0,
    and: u64::MAX,
    or: 0,
    xor: 0,
    size: 8,
    delay: 0,
    first: 1,
    count: u64::MAX,
    chance: ALWAYS,
    cpu: u32::MAX,
    thread: u32::MAX,
    reserved: 0,
    ip_first: 0,
    ip_last: u64::MAX,
    after: 0,
    begin: trapline_abi::InjectTrigger { physical: 0, mask: 0, bits: 0 },
    end: trapline_abi::InjectTrigger { physical: 0, mask: 0, bits: 0 },
    seed: 0,
};

/// Whether every access to `other` is one to `rule`.
fn covers(rule: &InjectRule, other: &InjectRule) -> bool {
    let last = |rule: &InjectRule| rule.physical.saturating_add(rule.length - 1);
    other.flags & !rule.flags == 0 && rule.physical <= other.physical && last(other) <= last(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(action: InjectAction, physical: u64, length: u64, flags: u32) -> InjectRule {
        InjectRule { action: action as u32, physical, length, flags, ..ANYTHING }
    }

    /// Decides, yields, never.
    fn told(rules: &[InjectRule]) -> Vec<(usize, usize, bool)> {
        clashes(rules.iter().enumerate())
            .iter()
            .map(|clash| (clash.decides, clash.yields, clash.never))
            .collect()
    }

    #[test]
    fn the_first_of_two_values_decides_and_the_second_never_applies_if_the_first_always_does() {
        use InjectAction::{Change, Random};
        let (first, second) = (rule(Change, 8, 4, 1), rule(Random, 8, 4, 1));
        assert_eq!(told(&[first, second]), [(0, 1, true)]);
        for sometimes in [
            InjectRule { first: 2, ..first },
            InjectRule { count: 1, ..first },
            InjectRule { chance: 7, ..first },
            InjectRule { cpu: 0, ..first },
            InjectRule { thread: 9, ..first },
            InjectRule { ip_first: 1, ..first },
            InjectRule { after: 1, ..first },
            InjectRule { action: InjectAction::Withhold as u32, ..first },
            InjectRule { length: 2, ..first },
        ] {
            assert_eq!(told(&[sometimes, second]), [(0, 1, false)], "{sometimes:?}");
        }
    }

    #[test]
    fn rules_about_other_accesses_don_t_clash() {
        use InjectAction::{Change, Delay, Drop, Twice};
        let first = rule(Change, 8, 4, 1);
        for other in [
            rule(Change, 12, 4, 1),
            rule(Change, 8, 4, 2),
            rule(Delay, 8, 4, 1),
            rule(Twice, 8, 4, 3),
            InjectRule { cpu: 1, ..first },
        ] {
            let first = InjectRule { cpu: 0, ..first };
            let other = if other.action == Change as u32 { other } else { InjectRule { cpu: 0, ..other } };
            assert_eq!(told(&[first, other]), [], "{other:?}");
        }
        assert_eq!(told(&[InjectRule { cpu: 0, ..first }, first]), [(0, 1, false)]);
        let at = |nth| InjectRule { first: nth, count: 1, ..first };
        assert_eq!(told(&[at(1), at(2), at(9)]), []);
        assert_eq!(told(&[at(1), at(1)]), [(0, 1, false)]);
        assert_eq!(told(&[rule(Drop, 8, 4, 2), rule(Change, 8, 4, 1)]), []);
    }

    #[test]
    fn what_is_not_accessed_has_no_value_whichever_rule_comes_first() {
        use InjectAction::{Change, Gone, Twice};
        let (value, gone) = (rule(Change, 8, 4, 1), rule(Gone, 0, u64::MAX, 3));
        assert_eq!(told(&[value, gone]), [(1, 0, true)]);
        assert_eq!(told(&[gone, value]), [(0, 1, true)]);
        assert_eq!(told(&[rule(Twice, 8, 4, 2), gone]), [(0, 1, false)]);
        assert_eq!(told(&[gone, rule(Twice, 8, 4, 2)]), [(0, 1, true)]);
    }

    #[test]
    fn a_rule_of_several_devices_never_applies_only_if_another_decides_in_each() {
        use InjectAction::Change;
        let all = rule(Change, 0, 0x1000, 1);
        let (one, other) = (rule(Change, 8, 4, 1), rule(Change, 0x1008, 4, 1));
        let never = |rules: &[(usize, InjectRule)]| -> Vec<bool> {
            let told = clashes(rules.iter().map(|(number, rule)| (*number, rule)));
            told.iter().map(|clash| clash.never).collect()
        };
        assert_eq!(never(&[(0, all), (1, one), (1, other)]), [false]);
        assert_eq!(never(&[(0, all), (1, one)]), [true]);
    }
}
