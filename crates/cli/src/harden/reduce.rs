//! What is shorter than an experiment and may show the same.

use super::experiment::{Experiment, Lie};

/// Experiments that are shorter than `experiment`, the shortest first: each rule of several by
/// itself, and each rule without its last condition.
pub(crate) fn shorter(experiment: &Experiment) -> Vec<Experiment> {
    let rules = &experiment.rules;
    let mut all = Vec::new();
    if rules.len() > 1 {
        all.extend(rules.iter().map(|rule| Experiment {
            rules: vec![rule.clone()],
            place: place_of(rule),
            ..experiment.clone()
        }));
    }
    for (number, rule) in rules.iter().enumerate() {
        // `* gone from 3` is about one moment; without it the device is never there at all.
        let Some(rule) = without_condition(rule) else { continue };
        let mut rules = rules.clone();
        if let Some(place) = rules.get_mut(number) {
            *place = rule;
        }
        all.push(Experiment { rules, ..experiment.clone() });
    }
    // Of a rule that is one of a pair the kind is not told; it is in none of the columns.
    all.iter_mut().filter(|shorter| experiment.lie == Lie::Several && shorter.rules.len() == 1).for_each(
        |shorter| {
            shorter.lie = Lie::Several;
        },
    );
    all.sort_by_key(|experiment| (experiment.rules.len(), experiment.text().len()));
    all
}

/// The register that a rule is about.
fn place_of(rule: &str) -> Option<String> {
    rule.split(' ').next().filter(|place| *place != "*").map(str::to_owned)
}

/// A rule without when it applies; `None` if it always does.
fn without_condition(rule: &str) -> Option<String> {
    const WORDS: [&str; 5] = [" from ", " at ", " in ", " chance ", " times "];
    let at = WORDS.iter().filter_map(|word| rule.rfind(word)).max()?;
    Some(rule.get(..at)?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(rules: &[&str]) -> Vec<String> {
        let rules = rules.iter().map(|rule| (*rule).to_owned()).collect();
        shorter(&Experiment { rules, place: None, lie: Lie::Several }).iter().map(Experiment::text).collect()
    }

    #[test]
    fn a_rule_loses_its_condition_and_a_pair_one_of_its_rules() {
        assert_eq!(texts(&["STATUS ones at 3"]), ["STATUS ones"]);
        assert_eq!(texts(&["STATUS ones in m:f"]), ["STATUS ones"]);
        assert_eq!(texts(&["STATUS stale 1"]), [""; 0]);
        assert_eq!(texts(&["A ones at 3", "B = 0"]), ["B = 0", "A ones at 3", "A ones; B = 0"]);
    }
}
