//! Any text is read without a panic, and nothing is told that does not stand in it: addresses,
//! register values and tasks.
//!
//! The fuzz target `explain_tells_what_the_text_says` holds the same property
//! ([`property::check`]).

mod property;

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use trapline_explain::{Explanation, NoSources, lines, read};

/// All that people meet, as the tests of the command have them.
fn reports() -> Vec<String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/tests");
    let files = ["oops", "reports"].map(|folder| std::fs::read_dir(tests.join(folder)).unwrap());
    let files = files.into_iter().flatten().map(|file| file.unwrap().path());
    let texts = files.filter(|path| path.extension().is_some_and(|end| end == "txt"));
    texts.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn every_report_is_told_as_it_stands() {
    let reports = reports();
    assert!(reports.len() > 25, "{}", reports.len());
    for text in reports {
        property::check(text.as_bytes());
    }
}

/// What each report of the kernel in `text` means.
fn told(text: &str) -> Vec<Explanation> {
    read(text).kernel.iter().map(|report| report.explain(&NoSources)).collect()
}

/// Whether a text is one report of one CPU, and nothing that concerns all of them.
fn is_of_one(text: &str) -> bool {
    let of_all = ["Linux version", "Kernel panic", "NMI backtrace", "][ "];
    let reports = read(text);
    reports.kernel.len() == 1 && reports.programs.is_empty() && !of_all.iter().any(|mark| text.contains(mark))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_damaged_report_is_told_as_it_stands(
        which in any::<prop::sample::Index>(),
        damage in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), ".{0,9}|[0-9a-f]{1,20}|[a-zA-Z:\\[\\]<>+/ ]{0,12}"),
            0..8,
        ),
        other in any::<prop::sample::Index>(),
    ) {
        let all = reports();
        // Pieces replaced by others, also by nothing; and the end of another behind it.
        let mut text: Vec<char> = which.get(&all).chars().collect();
        for (from, length, by) in damage {
            let from = from.index(text.len().max(1)).min(text.len());
            let to = (from + length.index(200)).min(text.len());
            text.splice(from..to, by.chars());
        }
        let other = other.get(&all);
        let half: String = other.chars().skip(other.chars().count() / 2).collect();
        let text: String = text.into_iter().collect::<String>() + &half;
        property::check(text.as_bytes());
    }

    #[test]
    fn two_reports_that_are_printed_at_once_are_told_as_each_alone(
        one in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        mut turns in prop::collection::vec(any::<bool>(), 0..300),
    ) {
        static ALL: LazyLock<Vec<String>> =
            LazyLock::new(|| reports().into_iter().filter(|text| is_of_one(text)).collect());
        prop_assert!(ALL.len() > 50, "{}", ALL.len());
        let (one, other) = (one.get(&ALL), other.get(&ALL));
        let (first, second) = (lines(one), lines(other));
        let (mut first, mut second) = (first.iter(), second.iter());
        let mut mixed = String::new();
        // Each comes to its turn.
        turns.extend([true, false]);
        for (time, turn) in turns.iter().cycle().enumerate() {
            let next = if *turn { ("T1", first.next()) } else { ("T2", second.next()) };
            if let (caller, Some(line)) = next {
                mixed += &format!("[{time:5}.000001][{caller:>6}] {line}\n");
            } else if first.len() == 0 && second.len() == 0 {
                break;
            }
        }
        let sorted = |mut told: Vec<Explanation>| {
            told.sort_by_key(|told| format!("{told:?}"));
            told
        };
        let expected: Vec<Explanation> = told(one).into_iter().chain(told(other)).collect();
        prop_assert_eq!(sorted(told(&mixed)), sorted(expected), "{}", mixed);
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        property::check(&bytes);
    }
}
