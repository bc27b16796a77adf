//! A rule that was typed becomes rules as the module takes them: one for each place that it is
//! about.

use trapline_abi::{ALWAYS, InjectAction, InjectRule, InjectTrigger};
use trapline_trace::{Symbol, Symbols};

use super::place::{Located, Map};
use super::rule::{Place, Rule, Spanned, Trigger, What};
use crate::mistake::Mistake;
use crate::nearest::{nearest, suggestion};

/// Bytes behind the last function of a module, or of the kernel, which has no next one: to the end
/// of its page.
const PAGE: u64 = 4096;

/// A rule for the module, and what it is about in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compiled {
    /// The rule, without its seed.
    pub(super) rule: InjectRule,
    /// Where, in words.
    pub(super) place: String,
}

/// What `rule` is for the module. `symbols` are there if it names a function.
pub(super) fn compile(
    rule: &Rule,
    map: &Map<'_>,
    symbols: Option<&Symbols>,
) -> Result<Vec<Compiled>, Mistake> {
    let when = &rule.when;
    let (ip_first, ip_last) = match &when.function {
        Some(name) => function(symbols, &name.value).map_err(|why| rule.mistake(&name.at, why))?,
        None => (0, u64::MAX),
    };
    let common = InjectRule {
        flags: rule.directions,
        and: u64::MAX,
        first: when.first.unwrap_or(1),
        count: when.count.unwrap_or(u64::MAX),
        chance: when.chance.unwrap_or(ALWAYS),
        cpu: when.cpu.as_ref().map_or(u32::MAX, |cpu| cpu.value),
        thread: when.task.as_ref().map_or(u32::MAX, |task| task.value),
        ip_first,
        ip_last,
        after: when.after.unwrap_or(0),
        ..InjectRule::default()
    };
    let places = map.locate(rule, &rule.place)?;
    let compile = |place: Located| {
        let place = narrowed(rule, place)?;
        let begin = trigger(rule, map, when.begin.as_ref(), &place)?;
        let end = trigger(rule, map, when.end.as_ref(), &place)?;
        let (physical, length, size) = (place.physical, place.length, place.size);
        let acting = act(rule, &place, InjectRule { physical, length, size, begin, end, ..common })?;
        Ok(Compiled { rule: acting, place: place.name })
    };
    places.into_iter().map(compile).collect()
}

/// The bytes of a field, for what is done with whole bytes.
fn narrowed(rule: &Rule, place: Located) -> Result<Located, Mistake> {
    let Some((high, low)) = place.field else { return Ok(place) };
    let what = rule.what.value;
    match what {
        What::Value(_) | What::Ones | What::And(_) | What::Or(_) | What::Xor(_) => Ok(place),
        What::Stale(_) | What::Withhold | What::Random if low % 8 == 0 && (high + 1) % 8 == 0 => {
            Ok(Located {
                physical: place.physical + u64::from(low / 8),
                length: u64::from((high + 1 - low) / 8),
                ..place
            })
        }
        What::Stale(_) | What::Withhold | What::Random => {
            let why = format!(
                "`{}` is of whole bytes, and this field has bits {high}:{low}: name the register, or BAR0+OFFSET:1 for a byte of it",
                what.word()
            );
            Err(rule.mistake(&rule.place.at, why))
        }
        What::Drop | What::Twice | What::Gone | What::Delay(_) => {
            let why = format!("`{}` is of a whole access, not of a field: name the register", what.word());
            Err(rule.mistake(&rule.place.at, why))
        }
    }
}

/// With what the rule does.
fn act(rule: &Rule, place: &Located, base: InjectRule) -> Result<InjectRule, Mistake> {
    let (mask, low) = (place.mask(), place.low());
    let is_register = matches!(rule.place.value, Place::Named(_)) && place.field.is_none();
    let fit = |value: u64| {
        if is_register && place.length > 8 {
            // It would begin anew in the middle.
            let why = format!(
                "this register has {} bytes, a value 8 at most: name some of them by BAR0+OFFSET:8",
                place.length
            );
            return Err(rule.mistake(&rule.place.at, why));
        }
        fits(value, place).map_err(|why| rule.mistake(&rule.what.at, why))?;
        Ok(value << low)
    };
    let changed = |and, or, xor| InjectRule { action: InjectAction::Change as u32, and, or, xor, ..base };
    let plain = |action: InjectAction| InjectRule { action: action as u32, ..base };
    Ok(match rule.what.value {
        What::Value(value) => changed(!mask, fit(value)?, 0),
        What::Ones => changed(u64::MAX, mask, 0),
        What::And(value) => changed(!mask | fit(value)?, 0, 0),
        What::Or(value) => changed(u64::MAX, fit(value)?, 0),
        What::Xor(value) => changed(u64::MAX, 0, fit(value)?),
        What::Stale(reads) => InjectRule { and: reads, ..plain(InjectAction::Stale) },
        What::Withhold => plain(InjectAction::Withhold),
        What::Random => plain(InjectAction::Random),
        What::Drop => plain(InjectAction::Drop),
        What::Twice => plain(InjectAction::Twice),
        What::Gone => plain(InjectAction::Gone),
        What::Delay(delay) => InjectRule { delay, ..plain(InjectAction::Delay) },
    })
}

/// Whether `value` has no more bits than `place`.
fn fits(value: u64, place: &Located) -> Result<(), String> {
    let bits = place.bits();
    let has = 64 - value.leading_zeros();
    if has <= bits {
        return Ok(());
    }
    let plural = if bits == 1 { "" } else { "s" };
    Err(format!("{value:#x} has {has} bits: {} has room for {bits} bit{plural}", place.name))
}

/// The write that is waited for, in the device that `place` is in.
fn trigger(
    rule: &Rule,
    map: &Map<'_>,
    trigger: Option<&Trigger>,
    place: &Located,
) -> Result<InjectTrigger, Mistake> {
    let Some(Trigger { place: waited, value: Spanned { value, at } }) = trigger else {
        return Ok(InjectTrigger::default());
    };
    let mut found = map.locate(rule, waited)?;
    if let (Some(device), true) = (&place.device, map.has_several()) {
        found.retain(|located| located.device.as_ref().is_none_or(|of| of == device));
        if found.is_empty() {
            return Err(rule.mistake(&waited.at, format!("{device}, which the rule is about, has none such")));
        }
    }
    let [located] = &found[..] else {
        let why =
            "several devices have this: which of them the rule waits for can't be told; trace one alone";
        return Err(rule.mistake(&waited.at, why));
    };
    if located.length > 8 {
        let why = format!("{} bytes are more than can be compared: name 8 at most", located.length);
        return Err(rule.mistake(&waited.at, why));
    }
    let mut compared = located.clone();
    if located.field.is_none() {
        // A range has no value but of all its bytes.
        compared.size = located.length as u32;
    }
    fits(*value, &compared).map_err(|why| rule.mistake(at, why))?;
    // From the first byte that has some of it: a write of others is none of it.
    let (mask, bits) = (compared.mask(), *value << compared.low());
    let bytes = mask.trailing_zeros() / 8;
    let physical = located.physical + u64::from(bytes);
    Ok(InjectTrigger { physical, mask: mask >> (8 * bytes), bits: bits >> (8 * bytes) })
}

/// The first and the last byte of the function called `name`, or `MODULE:NAME`.
fn function(symbols: Option<&Symbols>, name: &str) -> Result<(u64, u64), String> {
    let symbols = symbols.ok_or("the kernel's functions are not known")?;
    let (module, function) = match name.split_once(':') {
        Some((module, function)) => (Some(module.replace('-', "_")), function),
        None => (None, name),
    };
    let is_in = |symbol: &Symbol<'_>| module.is_none() || symbol.module == module.as_deref();
    let mut found: Vec<Symbol<'_>> =
        symbols.named(function).filter(|symbol| symbol.is_code && is_in(symbol)).collect();
    found.dedup_by_key(|symbol| symbol.address);
    match &found[..] {
        [Symbol { address, size, .. }] => {
            let last = match size {
                Some(size) => address.saturating_add(size.saturating_sub(1)),
                None => address | (PAGE - 1),
            };
            Ok((*address, last))
        }
        [] => {
            let all = symbols.all().filter(|symbol| symbol.is_code && is_in(symbol));
            let near = suggestion(&nearest(function, all.map(|symbol| symbol.name)));
            Err(format!(
                "the kernel has no function `{name}`: {}a module must be loaded before its functions can be named, and one that is inlined is in its callers",
                near.map(|near| near + " ").unwrap_or_default()
            ))
        }
        several => Err(format!(
            "`{name}` is the name of {} functions, and which is meant can't be told; if they are in several modules, name one, as in MODULE:{function}",
            several.len()
        )),
    }
}

#[cfg(test)]
mod tests;
