//! What is said of names of symbols: of those that several have, and of those that nobody has.

use trapline_trace::{Symbol, Symbols};

use crate::nearest::{nearest, suggestion};

/// The one symbol called `name`, of code or data; or why there is none.
pub(in crate::sources) fn symbol<'a>(symbols: &'a Symbols, name: &'a str) -> Result<Symbol<'a>, String> {
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
pub(in crate::sources) fn list(symbols: &[Symbol<'_>]) -> String {
    let line = |symbol: &Symbol<'_>| {
        let module = symbol.module.map_or("the kernel".into(), |module| format!("module {module}"));
        format!("\n  {:#x} in {module}", symbol.address)
    };
    symbols.iter().map(line).collect()
}
