//! Names that a person may have meant by one that nobody has.

/// Names to suggest at most.
pub(crate) const SUGGESTIONS: usize = 5;

/// How alike a name must be to be suggested, by Jaro and Winkler: 1 is the same.
const ALIKE: f64 = 0.8;

/// Names that `wanted` may have meant, the likeliest first. Capitals don't matter.
pub(crate) fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let wanted = wanted.to_lowercase();
    let mut alike: Vec<(f64, &str)> = names
        .map(|name| (strsim::jaro_winkler(&wanted, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness > ALIKE)
        .collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    alike.dedup();
    alike.into_iter().take(SUGGESTIONS).map(|(_, name)| name.into()).collect()
}

/// The question whether one of `near` was meant, if there are any.
pub(crate) fn suggestion(near: &[String]) -> Option<String> {
    (!near.is_empty()).then(|| format!("did you mean one of: {}?", near.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_suggested_whatever_its_capitals_and_nothing_that_is_not_alike() {
        let names = ["STATUS", "CTRL", "CTRL_EXT", "EERD", "RAL[0]", "RAL[1]"];
        let near = |wanted| nearest(wanted, names.into_iter());
        assert_eq!(near("status"), ["STATUS"]);
        assert_eq!(near("CTLR"), ["CTRL"]);
        assert_eq!(near("ral"), ["RAL[0]", "RAL[1]"]);
        assert!(near("MDIC").is_empty());
        assert_eq!(suggestion(&near("MDIC")), None);
    }
}
