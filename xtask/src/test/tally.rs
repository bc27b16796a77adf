//! How many tests passed, and which did not.

/// The count of a step, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// How many passed.
    pub(super) passed: usize,
    /// What failed, by name.
    pub(super) failures: Vec<String>,
}

impl Tally {
    /// One thing that passed, or failed under this name.
    pub(super) fn one(name: &str, passed: bool) -> Self {
        if passed {
            Self { passed: 1, failures: Vec::new() }
        } else {
            Self { passed: 0, failures: vec![name.to_owned()] }
        }
    }

    pub(super) fn failed(&self) -> usize {
        self.failures.len()
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failures.extend(other.failures.iter().cloned());
    }

    /// Takes note of a line of the Rust test harness: `test NAME ... FAILED`, or its closing `test result:` line.
    pub(super) fn note(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            let count = result.split([' ', '.', ';']).zip(result.split([' ', '.', ';']).skip(1));
            self.passed += count
                .filter(|(_, word)| *word == "passed")
                .find_map(|(number, _)| number.parse::<usize>().ok())
                .unwrap_or(0);
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_harness_is_counted_and_its_failures_named() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: ok. 40 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        ] {
            tally.note(line);
        }
        assert_eq!(tally, Tally { passed: 42, failures: vec!["a::c".to_owned()] });
    }
}
