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

/// A probe as it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Definition {
    /// The whole text.
    pub(super) text: String,
    /// Whether it is one of the kernel's: then it is of one place.
    pub(super) is_of_kernel: bool,
    /// The name that it was given.
    pub(super) event: Option<String>,
    /// Whether it is of the function's return.
    pub(super) at_return: bool,
    /// Calls under way at once that are to be followed; 0 for the kernel's own choice.
    pub(super) active: Option<u32>,
    /// Where it is, and what is to be fetched; not empty.
    pub(super) words: Vec<String>,
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
        if words.is_empty() {
            words.push(spec);
        }
        words.extend(fetch.iter().map(String::as_str));
        let text = words.join(" ");
        let mut read = Self { text: text.clone(), ..Self::default() };
        let mut rest = words.as_slice();
        if is_head(words[0], words.len() == 1) && !is_place(words[0]) {
            read.head(&words, &text)?;
            read.is_of_kernel = true;
            rest = &words[1..];
            let Some(place) = rest.first() else {
                let (kind, event) = words[0].split_once(':').unwrap_or_default();
                let why = format!(
                    "no place is behind this: expected {kind}:EVENT PLACE, as {kind}:{event} vfs_read; if {event} is the place, write it alone"
                );
                return Err(Mistake { at: 0..text.len(), text, why });
            };
            check_place(place, &text, words[0].len() + 1)?;
        }
        read.words = rest.iter().map(|word| (*word).to_owned()).collect();
        Ok(read)
    }

    /// Reads what the whole `text` begins with.
    fn head(&mut self, words: &[&str], text: &str) -> Result<(), Mistake> {
        let head = words[0];
        let mistake = |at: Range<usize>, why: String| Mistake { text: text.into(), at, why };
        let (kind, event) = head.split_once(':').map_or((head, None), |(kind, event)| (kind, Some(event)));
        let (letter, number) = kind.split_at(1);
        if let Some(why) = instead(letter, event, words.get(1..).unwrap_or_default()) {
            return Err(mistake(0..head.len(), why));
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

/// What to do with a definition that begins with `letter` and `event`, and is no probe of
/// Trapline's: `None` if it is one.
fn instead(letter: &str, event: Option<&str>, behind: &[&str]) -> Option<String> {
    let of_another = "this is made of another event, which Trapline has none of";
    let no_place =
        "a tracepoint is no instruction, which is what Trapline probes: probe the function that it is in";
    let (why, file) = match letter {
        "p" | "r" | "f" => return None,
        "t" => (format!("{no_place}, or give"), "dynamic_events"),
        "u" => ("Trapline probes the kernel, not programs: give".into(), "uprobe_events"),
        _ => (format!("{of_another}: give"), "dynamic_events"),
    };
    // With the event alone it is what other tools call it by; the kernel wants to be told both.
    let is_whole = event.is_none()
        || behind
            .first()
            .is_some_and(|word| !word.contains('=') && !word.starts_with(['$', '%', '+', '-', '@', '\\']));
    let line = match (letter, event) {
        (_, Some(event)) if !is_whole && letter != "s" => {
            let name = event.rsplit(['/', '.', ':']).next().unwrap_or_default();
            let of = match letter {
                "t" => name.to_owned(),
                "u" => event.to_owned(),
                _ => event.replacen([':', '.'], "/", 1),
            };
            let (letter, name) =
                if letter == "u" { ("p", String::new()) } else { (letter, format!(":{name}")) };
            let words: Vec<String> = [format!("{letter}{name}"), of]
                .into_iter()
                .chain(behind.iter().map(|word| (*word).to_owned()))
                .collect();
            format!("the line `{}`", words.join(" "))
        }
        ("u", Some(event)) => format!("the line `p:{event} {}`", behind.join(" ")),
        _ => "this line".into(),
    };
    Some(format!("{why} {line} to the kernel's {file}"))
}

/// Whether `word` begins a definition: a letter, of probes perhaps a number, and perhaps `:` and a
/// name. One that is alone has both letter and name, and no number, as modules' names have.
fn is_head(word: &str, is_alone: bool) -> bool {
    let (kind, event) = word.split_once(':').map_or((word, None), |(kind, event)| (kind, Some(event)));
    let mut chars = kind.chars();
    let letter = chars.next().unwrap_or_default();
    let number = chars.as_str();
    match letter {
        _ if is_alone => "prftesu".contains(letter) && number.is_empty() && event.is_some(),
        'p' | 'r' | 'f' => number.bytes().all(|byte| byte.is_ascii_digit()),
        't' | 'e' | 's' | 'u' => number.is_empty(),
        _ => false,
    }
}

/// Refuses a place in a program, whose path has slashes; `place` is at `at`.
fn check_place(place: &str, text: &str, at: usize) -> Result<(), Mistake> {
    if !place.contains('/') {
        return Ok(());
    }
    let why = "this is a place in a program, and Trapline probes the kernel: give this line to the kernel's uprobe_events".into();
    Err(Mistake { text: text.into(), at: at..at + place.len(), why })
}
