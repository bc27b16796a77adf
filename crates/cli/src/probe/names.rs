//! What is said of names: those of several symbols, and those that nobody has.

use trapline_trace::{Symbol, Symbols};

/// Names to suggest at most.
pub(super) const SUGGESTIONS: usize = 5;

/// The one symbol called `name`, of code or data; or why there is none.
pub(super) fn symbol<'a>(symbols: &'a Symbols, name: &'a str) -> Result<Symbol<'a>, String> {
    let mut found: Vec<Symbol<'_>> = symbols.named(name).collect();
    found.dedup_by_key(|symbol| symbol.address);
    match &found[..] {
        [one] => Ok(*one),
        [] => {
            let near = nearest(name, symbols.all().map(|symbol| symbol.name));
            let hint = suggestion(&near).map(|near| format!(": {near}")).unwrap_or_default();
            Err(format!("the kernel has no symbol `{name}`{hint}"))
        }
        [first, ..] => Err(format!(
            "`{name}` is the name of several symbols:{}\nfetch one of the addresses, as in @{:#x}",
            list(&found),
            first.address
        )),
    }
}

/// Each of `symbols`, which have one name, on a line: its address and whose it is.
pub(super) fn list(symbols: &[Symbol<'_>]) -> String {
    let line = |symbol: &Symbol<'_>| {
        let module = symbol.module.map_or("the kernel".into(), |module| format!("module {module}"));
        format!("\n  {:#x} in {module}", symbol.address)
    };
    symbols.iter().map(line).collect()
}

/// The question whether one of `near` was meant, if there are any.
pub(super) fn suggestion(near: &[String]) -> Option<String> {
    (!near.is_empty()).then(|| format!("did you mean one of: {}?", near.join(", ")))
}

/// Names that `wanted` may have meant, the likeliest first.
pub(super) fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut alike: Vec<(f64, &str)> = names
        .map(|name| (strsim::jaro_winkler(wanted, name), name))
        .filter(|(likeness, _)| *likeness > 0.85)
        .collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    alike.dedup();
    alike.into_iter().take(SUGGESTIONS).map(|(_, name)| name.into()).collect()
}
