//! How many tests passed, which did not, and what took long.

use std::fmt;
use std::time::Duration;

/// The count of a step, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// How many passed.
    pub(crate) passed: usize,
    /// What failed.
    pub(crate) failures: Vec<FailedTest>,
    /// How long what was timed took, by name.
    pub(crate) times: Vec<(Duration, String)>,
}

/// One thing that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailedTest {
    pub(crate) name: String,
    /// What it said, if that is not right above already.
    pub(crate) why: String,
}

/// So many lines of what a failure said are shown again at the end.
const SHOWN: usize = 60;

impl fmt::Display for FailedTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed: {}", self.name)?;
        let mut lines = self.why.trim_end().lines();
        for line in lines.by_ref().take(SHOWN) {
            write!(f, "\n    {line}")?;
        }
        match lines.count() {
            0 => Ok(()),
            more => write!(f, "\n    … {more} lines more above"),
        }
    }
}

impl Tally {
    /// One thing that passed, or failed under this name and said why.
    pub(crate) fn one(name: &str, result: Result<(), String>) -> Self {
        match result {
            Ok(()) => Self { passed: 1, ..Self::default() },
            Err(why) => Self { failures: vec![FailedTest { name: name.to_owned(), why }], ..Self::default() },
        }
    }

    /// The same, of which it is known how long it took.
    pub(crate) fn timed(name: &str, result: Result<(), String>, took: Duration) -> Self {
        Self { times: vec![(took, name.to_owned())], ..Self::one(name, result) }
    }

    /// What took longest, the slowest first.
    pub(crate) fn slowest(&self, count: usize) -> Vec<(Duration, &str)> {
        let mut times: Vec<_> = self.times.iter().map(|(took, name)| (*took, name.as_str())).collect();
        times.sort_unstable_by(|one, other| other.cmp(one));
        times.truncate(count);
        times
    }

    /// How many ran.
    pub(crate) fn ran(&self) -> usize {
        self.passed + self.failed()
    }

    pub(crate) fn failed(&self) -> usize {
        self.failures.len()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failures.extend(other.failures.iter().cloned());
        self.times.extend(other.times.iter().cloned());
    }

    /// Takes note of a line of the Rust test harness: `test NAME ... FAILED`, or its closing `test
    /// result:` line.
    pub(crate) fn note(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            let count = result.split([' ', '.', ';']).zip(result.split([' ', '.', ';']).skip(1));
            self.passed += count
                .filter(|(_, word)| *word == "passed")
                .find_map(|(number, _)| number.parse::<usize>().ok())
                .unwrap_or(0);
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(FailedTest { name: name.to_owned(), why: String::new() });
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
        let failure = FailedTest { name: "a::c".to_owned(), why: String::new() };
        assert_eq!(tally, Tally { passed: 42, failures: vec![failure], ..Tally::default() });
    }

    #[test]
    fn what_a_failure_said_is_shown_again_but_not_without_end() {
        let shown = |why: String| FailedTest { name: "6.1: a".to_owned(), why }.to_string();
        assert_eq!(shown(String::new()), "failed: 6.1: a");
        assert_eq!(shown("one\ntwo\n".to_owned()), "failed: 6.1: a\n    one\n    two");
        let long = shown("line\n".repeat(SHOWN + 7));
        assert_eq!(long.lines().count(), 1 + SHOWN + 1);
        assert!(long.ends_with("… 7 lines more above"), "{long}");
    }

    #[test]
    fn the_slowest_are_told_first() {
        let mut tally = Tally::default();
        for (name, seconds) in [("a", 2), ("b", 30), ("c", 7)] {
            tally.add(&Tally::timed(name, Ok(()), Duration::from_secs(seconds)));
        }
        let names: Vec<&str> = tally.slowest(2).iter().map(|(_, name)| *name).collect();
        assert_eq!(names, ["b", "c"]);
    }
}
