//! Rules of injection as a person writes them.
//!
//! ```text
//! [read|write] WHERE WHAT [WHEN...]
//! WHERE: REGISTER  REGISTER.FIELD  BAR+OFFSET[:WIDTH]  BAR+FIRST-LAST[:WIDTH]
//!        PHYS+LEN[:WIDTH]  *[:WIDTH]
//! WHAT:  = V  ones  and V  or V  xor V  stale N  withhold  random  drop  twice  gone  delay TIME
//! WHEN:  from N  at N  times N  chance P%  after TIME  after WHERE=V  until WHERE=V
//!        in FUNCTION  pid N  cpu N
//! ```
//!
//! Words, with white space between them; `=` is one wherever it stands. By hand, for the same
//! reason as the syntax of fetch arguments: what takes the lines is what to say about mistakes.

use std::ops::Range;

use trapline_abi::{ALWAYS, MAX_DELAY, MAX_STALE, WATCH_READS, WATCH_WRITES};

use super::rule::{Place, Rule, Spanned, Trigger, What, When};
use crate::mistake::Mistake;
use crate::units::{PhysicalRange, parse_number};

/// Bytes of a value, if nothing says how many.
const USUAL: u32 = 4;

const EXPECTED_WHAT: &str = "expected what to do: = V, ones, and V, or V, xor V, stale N, withhold, random, drop, twice, gone or delay TIME";
const EXPECTED_WHEN: &str = "expected when: from N, at N, times N, chance P%, after TIME, after REGISTER=V, until REGISTER=V, in FUNCTION, pid N or cpu N";
const EXPECTED_PLACE: &str =
    "expected where: a register, REGISTER.FIELD, BAR0+OFFSET[:WIDTH], BAR0+FIRST-LAST, PHYS+LEN or *";

/// Parses one rule.
pub(super) fn parse(text: &str) -> Result<Rule, Mistake> {
    Words { text: text.trim(), at: 0 }.rule()
}

/// What is left to read.
struct Words<'a> {
    text: &'a str,
    at: usize,
}

/// A word, and where it stands; an empty one at the end.
#[derive(Clone, Debug)]
struct Word<'a> {
    text: &'a str,
    at: Range<usize>,
}

impl<'a> Words<'a> {
    fn peek(&self) -> Word<'a> {
        let rest = &self.text[self.at..];
        let start = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
        let word = &rest[start..];
        let length = match word.find(|c: char| c.is_whitespace() || c == '=') {
            Some(0) => 1,
            Some(length) => length,
            None => word.len(),
        };
        let start = self.at + start;
        Word { text: &word[..length], at: start..start + length }
    }

    fn next(&mut self) -> Word<'a> {
        let word = self.peek();
        self.at = word.at.end;
        word
    }

    fn wrong(&self, word: &Word<'_>, why: impl Into<String>) -> Mistake {
        Mistake { text: self.text.into(), at: word.at.clone(), why: why.into() }
    }

    /// What to say of a word that is not what was expected.
    fn unexpected(&self, word: &Word<'_>, expected: &str) -> Mistake {
        let found = if word.text.is_empty() { "the rule ends here" } else { "this is not expected here" };
        self.wrong(word, format!("{found}: {expected}"))
    }

    fn rule(&mut self) -> Result<Rule, Mistake> {
        let said = match self.peek().text {
            "read" => Some(WATCH_READS),
            "write" => Some(WATCH_WRITES),
            _ => None,
        };
        let direction = said.map(|flags| (flags, self.next()));
        let place = self.place()?;
        let what = self.what()?;
        let directions = self.directions(direction, &what)?;
        let when = self.when()?;
        Ok(Rule { text: self.text.into(), directions, place, what, when })
    }

    /// What a rule is about: what was said, if that can be, else what makes sense.
    fn directions(&self, said: Option<(u32, Word<'_>)>, what: &Spanned<What>) -> Result<u32, Mistake> {
        let (possible, usual) = match what.value {
            What::Stale(_) | What::Withhold => (WATCH_READS, WATCH_READS),
            What::Drop | What::Twice => (WATCH_WRITES, WATCH_WRITES),
            What::Gone | What::Delay(_) => (WATCH_READS | WATCH_WRITES, WATCH_READS | WATCH_WRITES),
            _ => (WATCH_READS | WATCH_WRITES, WATCH_READS),
        };
        match said {
            None => Ok(usual),
            Some((flags, _)) if possible & flags != 0 => Ok(flags),
            Some((_, word)) => {
                let of = if possible == WATCH_READS { "reads" } else { "writes" };
                let word_of = what.value.word();
                Err(self.wrong(&word, format!("`{word_of}` is about {of} only: leave `{}` out", word.text)))
            }
        }
    }

    fn number(&mut self, what: &str) -> Result<Spanned<u64>, Mistake> {
        let word = self.next();
        if word.text.is_empty() {
            return Err(self.unexpected(&word, &format!("expected {what}")));
        }
        let value = parse_number(word.text).map_err(|why| self.wrong(&word, why))?;
        Ok(Spanned { value, at: word.at })
    }

    /// A number of at least 1.
    fn nth(&mut self, what: &str) -> Result<u64, Mistake> {
        let Spanned { value, at } = self.number(what)?;
        if value == 0 {
            return Err(
                self.wrong(&Word { text: "0", at }, "accesses are counted from 1: expected 1 or more")
            );
        }
        Ok(value)
    }

    fn id(&mut self, what: &str) -> Result<Spanned<u32>, Mistake> {
        let Spanned { value, at } = self.number(what)?;
        // The highest of 32 bits stands for any.
        match u32::try_from(value).ok().filter(|id| *id != u32::MAX) {
            Some(value) => Ok(Spanned { value, at }),
            None => Err(self.wrong(&Word { text: "", at }, format!("this can't be {what}: it is too large"))),
        }
    }

    /// A length of time in nanoseconds, more than none.
    fn time(&mut self, most: &str) -> Result<Spanned<u64>, Mistake> {
        let word = self.next();
        if word.text.is_empty() {
            return Err(self.unexpected(&word, "expected a time with its unit, as in 50us or 2s"));
        }
        let time = humantime::parse_duration(word.text)
            .map_err(|error| self.wrong(&word, format!("{error}; expected a time, as in 50us or 2s")))?;
        match u64::try_from(time.as_nanos()) {
            Ok(0) => Err(self.wrong(&word, "this is no time at all: expected more than 0")),
            Ok(value) => Ok(Spanned { value, at: word.at }),
            Err(_) => Err(self.wrong(&word, format!("this is too long: expected {most} at most"))),
        }
    }

    fn place(&mut self) -> Result<Spanned<Place>, Mistake> {
        let word = self.next();
        if matches!(word.text, "" | "=") {
            return Err(self.unexpected(&word, EXPECTED_PLACE));
        }
        let value = place(word.text).map_err(|why| self.wrong(&word, why))?;
        Ok(Spanned { value, at: word.at })
    }

    fn what(&mut self) -> Result<Spanned<What>, Mistake> {
        let word = self.next();
        let value = |words: &mut Self| Ok::<_, Mistake>(words.number("a value")?.value);
        let what = match word.text {
            "=" => What::Value(value(self)?),
            "ones" => What::Ones,
            "and" => What::And(value(self)?),
            "or" => What::Or(value(self)?),
            "xor" => What::Xor(value(self)?),
            "stale" => {
                let number = self.number("how many reads ago")?;
                if !(1..=MAX_STALE).contains(&number.value) {
                    let word = Word { text: "", at: number.at };
                    return Err(self.wrong(
                        &word,
                        format!("so many reads are not remembered: expected 1 to {MAX_STALE}"),
                    ));
                }
                What::Stale(number.value)
            }
            "withhold" => What::Withhold,
            "random" => What::Random,
            "drop" => What::Drop,
            "twice" => What::Twice,
            "gone" => What::Gone,
            "delay" => {
                let most = format!("{MAX_DELAY}us");
                let time = self.time(&most)?;
                let word = Word { text: "", at: time.at };
                if time.value % 1000 != 0 {
                    return Err(self.wrong(&word, "a delay is of whole microseconds, as in 50us"));
                }
                match u32::try_from(time.value / 1000).ok().filter(|delay| *delay <= MAX_DELAY) {
                    Some(delay) => What::Delay(delay),
                    None => {
                        let why =
                            format!("this is too long: the CPU waits with interrupts off, {most} at most");
                        return Err(self.wrong(&word, why));
                    }
                }
            }
            "" => {
                return Err(self.unexpected(
                    &word,
                    &format!("{EXPECTED_WHAT} (a rule is one word for the shell: quote it)"),
                ));
            }
            _ => return Err(self.unexpected(&word, EXPECTED_WHAT)),
        };
        Ok(Spanned { value: what, at: word.at.start..self.at })
    }

    fn when(&mut self) -> Result<When, Mistake> {
        let mut when = When::default();
        let mut said: Vec<&str> = Vec::new();
        loop {
            let word = self.next();
            // Names of ours, which nobody is to type.
            if matches!(word.text, "first" | "count" | "begin") {
                return Err(self.unexpected(&word, EXPECTED_WHEN));
            }
            // What says the same as another, or the opposite.
            let kind = match word.text {
                "" => return Ok(when),
                "from" | "at" => "first",
                "times" => "count",
                other => other,
            };
            let is_register = self.is_register();
            let kind = if kind == "after" && is_register { "begin" } else { kind };
            let is_twice = said.contains(&kind) || (kind == "count" && said.contains(&"at"));
            if is_twice || (word.text == "at" && said.contains(&"count")) {
                let why =
                    format!("`{}` and what was said before can't both be: expected each but once", word.text);
                return Err(self.wrong(&word, why));
            }
            match word.text {
                "from" => when.first = Some(self.nth("the number of an access")?),
                "at" => {
                    when.first = Some(self.nth("the number of an access")?);
                    when.count = Some(1);
                    said.push("at");
                }
                "times" => when.count = Some(self.nth("how many accesses")?),
                "chance" => when.chance = Some(self.chance()?),
                "after" if is_register => when.begin = Some(self.trigger()?),
                "after" => when.after = Some(self.time("584 years")?.value),
                "until" if is_register => when.end = Some(self.trigger()?),
                "until" => {
                    let word = self.next();
                    return Err(self.unexpected(
                        &word,
                        "a rule ends with a write, as in `until CTRL.RST=0`, or after so many accesses (`times N`), not at a time",
                    ));
                }
                "in" => {
                    let word = self.next();
                    if word.text.is_empty() || word.text == "=" {
                        return Err(self.unexpected(&word, "expected a function of the kernel"));
                    }
                    when.function = Some(Spanned { value: word.text.into(), at: word.at });
                }
                "pid" => when.task = Some(self.id("a task's number")?),
                "cpu" => when.cpu = Some(self.id("a CPU's number")?),
                _ => return Err(self.unexpected(&word, EXPECTED_WHEN)),
            }
            said.push(kind);
        }
    }

    /// Whether a register and a value are next, not a time.
    fn is_register(&self) -> bool {
        let mut ahead = Words { text: self.text, at: self.at };
        let word = ahead.next();
        let is_name = !word.text.starts_with(|c: char| c.is_ascii_digit()) && !word.text.is_empty();
        ahead.next().text == "=" || is_name
    }

    /// `REGISTER=V`.
    fn trigger(&mut self) -> Result<Trigger, Mistake> {
        let place = self.place()?;
        if matches!(place.value, Place::Everything { .. }) {
            let word = Word { text: "*", at: place.at };
            return Err(
                self.wrong(&word, "expected one register whose write is waited for, as in CTRL.RST=1")
            );
        }
        let word = self.next();
        if word.text != "=" {
            return Err(self
                .unexpected(&word, "expected = and the value whose write is waited for, as in CTRL.RST=1"));
        }
        Ok(Trigger { place, value: self.number("the value whose write is waited for")? })
    }

    /// `P%`, as [`InjectRule::chance`](trapline_abi::InjectRule::chance): 1 of `2^32 / (chance +
    /// 1)`.
    fn chance(&mut self) -> Result<u32, Mistake> {
        let word = self.next();
        let digits =
            word.text.strip_suffix('%').filter(|digits| digits.starts_with(|c: char| c.is_ascii_digit()));
        let percent = digits.and_then(|digits| digits.parse::<f64>().ok());
        let Some(percent) = percent.filter(|percent| percent.is_finite()) else {
            return Err(self.unexpected(&word, "expected a chance in percent, as in 10% or 0.5%"));
        };
        if percent > 100.0 {
            return Err(self.wrong(&word, "there is no such chance: expected 100% at most"));
        }
        let of_all = (percent / 100.0 * 4_294_967_296.0).round() as u64;
        match of_all.checked_sub(1) {
            Some(chance) => Ok(u32::try_from(chance).unwrap_or(ALWAYS)),
            None => Err(self.wrong(&word, "by this chance it would never apply: expected more than 0%")),
        }
    }
}

/// A place; what is no number or range in it is a name.
fn place(text: &str) -> Result<Place, String> {
    let (place, size) = match text.rsplit_once(':') {
        Some((place, size)) => (place, Some(width(size)?)),
        None => (text, None),
    };
    if place == "*" {
        return Ok(Place::Everything { size: size.unwrap_or(USUAL) });
    }
    if let Some((bar, bytes)) = place.split_once('+') {
        if let Some(bar) = bar_number(bar)? {
            return bar_bytes(bar, bytes, size);
        }
        if bar.starts_with(|c: char| c.is_ascii_digit()) {
            let range = place.parse::<PhysicalRange>()?;
            return Ok(Place::Physical { range, size: size.unwrap_or(USUAL) });
        }
    }
    let is_name = place.starts_with(|c: char| c.is_alphabetic() || c == '_');
    if !is_name || place.contains('+') {
        return Err(EXPECTED_PLACE.into());
    }
    match size {
        None => Ok(Place::Named(place.into())),
        Some(_) => {
            Err("a register has the width that its register file says; name other bytes by BAR0+OFFSET:WIDTH"
                .into())
        }
    }
}

/// Bytes of a value: what one access of the CPU may have, and a mask.
fn width(text: &str) -> Result<u32, String> {
    match text {
        "1" => Ok(1),
        "2" => Ok(2),
        "4" => Ok(4),
        "8" => Ok(8),
        _ => Err(format!("`{text}` is no width: expected 1, 2, 4 or 8 bytes")),
    }
}

/// `BAR0`, `bar0` or `0`; `None` if it is something else.
fn bar_number(text: &str) -> Result<Option<u8>, String> {
    let named = text.strip_prefix("BAR").or_else(|| text.strip_prefix("bar"));
    match named.unwrap_or(text).parse::<u8>() {
        // A physical address has more digits, or is 0x….
        Ok(bar) if bar < 6 && (named.is_some() || text.len() == 1) => Ok(Some(bar)),
        _ if named.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) => {
            Err(format!("there is no {text}: a device has BAR0 to BAR5"))
        }
        _ => Ok(None),
    }
}

/// `OFFSET` or `FIRST-LAST`.
fn bar_bytes(bar: u8, text: &str, size: Option<u32>) -> Result<Place, String> {
    let Some((first, last)) = text.split_once('-') else {
        let size = size.unwrap_or(USUAL);
        return Ok(Place::Bar { bar, offset: parse_number(text)?, length: u64::from(size), size });
    };
    let (offset, last) = (parse_number(first)?, parse_number(last)?);
    match last.checked_sub(offset).and_then(|rest| rest.checked_add(1)) {
        Some(length) => Ok(Place::Bar { bar, offset, length, size: size.unwrap_or(USUAL) }),
        None => Err(format!("the range {text} ends before it begins, or is of all bytes that there can be")),
    }
}

#[cfg(test)]
mod tests;
