//! Which chips a register is there on.

use std::collections::HashMap;

use roxmltree::Node;

use super::{ImportError, Named, children};

/// The variants that are asked for, and the order of all.
pub(super) struct Variants<'n> {
    /// Of each enum of variants the number of the one that is asked for.
    wanted: HashMap<&'n str, usize>,
    /// Of each enum its variants in their order.
    order: HashMap<&'n str, Vec<&'n str>>,
}

impl<'n> Variants<'n> {
    /// Those that are asked for by name; every variant if none is.
    pub(super) fn of(named: &Named<'n>, wanted: &[String]) -> Result<Self, ImportError> {
        let mut order: HashMap<&str, Vec<&str>> = HashMap::new();
        for ((tag, name), nodes) in &named.all {
            if *tag == "enum" {
                let values = nodes.iter().flat_map(|(_, node)| children(*node, "value"));
                order.insert(*name, values.filter_map(|value| value.attribute("name")).collect());
            }
        }
        let mut found = HashMap::new();
        for variant in wanted {
            let of = order.iter().filter_map(|(name, values)| {
                let at = values.iter().position(|value| value.eq_ignore_ascii_case(variant))?;
                Some((*name, at))
            });
            let of: Vec<_> = of.collect();
            if of.is_empty() {
                let is_chip = |name: &&&str| {
                    order[*name].len() < 200 && (name.contains("chip") || name.contains("variant"))
                };
                let mut names: Vec<String> = order
                    .keys()
                    .filter(is_chip)
                    .flat_map(|name| &order[name])
                    .map(ToString::to_string)
                    .collect();
                names.sort();
                return Err(ImportError::NoVariant { wanted: variant.clone(), names });
            }
            found.extend(of);
        }
        Ok(Self { wanted: found, order })
    }

    /// Whether `node` is there on what is asked for.
    pub(super) fn has(&self, node: Node<'_, '_>) -> bool {
        let Some(listed) = node.attribute("variants").filter(|_| !self.wanted.is_empty()) else {
            return true;
        };
        let ranges = listed.split_whitespace();
        let mut is_about = false;
        for range in ranges {
            for (name, wanted) in &self.wanted {
                match within(&self.order[name], range, *wanted) {
                    Some(true) => return true,
                    Some(false) => is_about = true,
                    None => {}
                }
            }
        }
        // A list that names none of the variants' enum says nothing of it.
        !is_about
    }
}

/// Whether `range` has the variant of number `wanted`; nothing if it is of other variants.
fn within(order: &[&str], range: &str, wanted: usize) -> Option<bool> {
    let at = |name: &str| order.iter().position(|one| *one == name);
    let (first, last, is_open) = match (range.split_once('-'), range.split_once(':')) {
        (Some((first, last)), _) => (first, last, false),
        (None, Some((first, last))) => (first, last, true),
        (None, None) => (range, range, false),
    };
    let from = if first.is_empty() { 0 } else { at(first)? };
    let to = match (last.is_empty(), is_open) {
        (true, _) => order.len(),
        (false, true) => at(last)?.checked_sub(1)?,
        (false, false) => at(last)?,
    };
    Some((from..=to).contains(&wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_variants_are_as_the_format_has_them() {
        let order = ["A", "B", "C", "D"];
        for (range, has) in [
            ("B", [false, true, false, false]),
            ("B-", [false, true, true, true]),
            ("-B", [true, true, false, false]),
            ("B-C", [false, true, true, false]),
            ("B:D", [false, true, true, false]),
            (":C", [true, true, false, false]),
        ] {
            for (number, has) in has.into_iter().enumerate() {
                assert_eq!(within(&order, range, number), Some(has), "{range} {number}");
            }
        }
        assert_eq!(within(&order, "X-", 0), None);
    }
}
