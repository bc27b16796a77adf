//! What a person asks for in the words of the kernel's own probe events, as
//! `/sys/kernel/tracing/kprobe_events` and `dynamic_events` take them
//! (Documentation/trace/kprobetrace.rst, fprobetrace.rst):
//!
//! ```text
//! p[:[GROUP/][EVENT]] PLACE[%return] [FETCH]...     r[N][:[GROUP/][EVENT]] PLACE [FETCH]...
//! f[N][:[GROUP/][EVENT]] FUNCTION[%return] [FETCH]...
//! ```
//!
//! in one word, as it is pasted between quotes, or in several. Words that begin otherwise are a
//! place and what is to be fetched there.

use std::ops::Range;

use trapline_abi::MAX_ACTIVE;

use super::syntax::is_name;
use crate::mistake::Mistake;

/// What marks a place as the return of its function.
const RETURN: &str = "%return";

/// A probe as it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Definition {
    /// The name that it was given.
    pub(super) event: Option<String>,
    /// Where it is.
    pub(super) place: String,
    /// Whether it is of the function's return.
    pub(super) at_return: bool,
    /// Calls under way at once that are to be followed; 0 for the kernel's own choice.
    pub(super) active: Option<u32>,
    /// What is to be fetched.
    pub(super) fetch: Vec<String>,
}

impl Definition {
    /// Reads `spec` and the words behind it. What begins as the kernel's definitions do is none if
    /// it `is_place`: there are modules called `r8169`.
    pub(super) fn read(
        spec: &str,
        fetch: &[String],
        is_place: impl FnOnce(&str) -> bool,
    ) -> Result<Self, Mistake> {
        let mut words: Vec<&str> = spec.split_whitespace().collect();
        words.extend(fetch.iter().map(String::as_str));
        let text = words.join(" ");
        let mut read = Self::default();
        let mut rest = words.as_slice();
        if let [first, _, ..] = *words
            && is_head(first)
            && !is_place(first)
        {
            read.head(first, &text)?;
            rest = &words[1..];
        }
        let [place, fetch @ ..] = rest else {
            return Ok(Self { place: spec.into(), ..read });
        };
        if let Some(at) = (rest.len() < words.len()).then(|| words[0].len() + 1) {
            check_place(place, &text, at)?;
        }
        let (place, is_return) = place.strip_suffix(RETURN).map_or((*place, false), |place| (place, true));
        read.place = place.into();
        read.at_return |= is_return;
        read.fetch = fetch.iter().map(|word| (*word).to_owned()).collect();
        Ok(read)
    }

    /// Reads what the whole `text` begins with.
    fn head(&mut self, head: &str, text: &str) -> Result<(), Mistake> {
        let mistake = |at: Range<usize>, why: String| Mistake { text: text.into(), at, why };
        let (kind, event) = head.split_once(':').map_or((head, None), |(kind, event)| (kind, Some(event)));
        let (letter, number) = kind.split_at(1);
        let instead = match letter {
            "p" | "r" | "f" => None,
            "t" => Some(
                "a tracepoint is no instruction, which is what Trapline probes: probe the function that it is in, or give this line to the kernel's dynamic_events",
            ),
            "u" => {
                Some("Trapline probes the kernel, not programs: give this line to the kernel's uprobe_events")
            }
            _ => Some(
                "this is made of another event, which Trapline has none of: give this line to the kernel's dynamic_events",
            ),
        };
        if let Some(why) = instead {
            return Err(mistake(0..head.len(), why.into()));
        }
        if !number.is_empty() {
            if letter == "p" {
                let why = "how many calls are followed at once can be said of returns only: r, not p".into();
                return Err(mistake(0..kind.len(), why));
            }
            let active = number.parse().ok().filter(|active| *active <= MAX_ACTIVE);
            let out_of_range = || {
                let why = format!(
                    "calls under way at once that are followed: expected a number up to {MAX_ACTIVE}, or none for the kernel's choice"
                );
                mistake(1..kind.len(), why)
            };
            self.active = Some(active.ok_or_else(out_of_range)?);
        }
        self.at_return = letter == "r";
        if let Some(event) = event {
            self.event = self.named(event, kind.len() + 1, text)?;
        }
        Ok(())
    }

    /// The name in `[GROUP/][EVENT]`, which is at `at`; a group is nothing that Trapline has.
    fn named(&self, event: &str, at: usize, text: &str) -> Result<Option<String>, Mistake> {
        let (group, name) = match event.split_once(['/', '.']) {
            Some((group, name)) => (Some(group), name),
            None => (None, event),
        };
        // A group's name may have dashes.
        let is_group = |group: &str| is_name(&group.replace('-', "_"));
        if group.is_some_and(|group| !is_group(group))
            || !(is_name(name) || name.is_empty() && group.is_some())
        {
            let why =
                "expected the event's name behind the `:`, EVENT or GROUP/EVENT, of letters, digits and _"
                    .into();
            return Err(Mistake { text: text.into(), at: at..at + event.len(), why });
        }
        Ok((!name.is_empty()).then(|| name.to_owned()))
    }
}

/// Whether `word` begins a definition: a letter, perhaps a number, and perhaps `:` and a name.
fn is_head(word: &str) -> bool {
    let kind = word.split(':').next().unwrap_or_default();
    let mut chars = kind.chars();
    chars.next().is_some_and(|letter| "prftesu".contains(letter)) && chars.all(|c| c.is_ascii_digit())
}

/// Refuses a place in a program, whose path has slashes; `place` is at `at`.
fn check_place(place: &str, text: &str, at: usize) -> Result<(), Mistake> {
    if !place.contains('/') {
        return Ok(());
    }
    let why = "this is a place in a program, and Trapline probes the kernel: give this line to the kernel's uprobe_events".into();
    Err(Mistake { text: text.into(), at: at..at + place.len(), why })
}
