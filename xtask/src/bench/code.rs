//! What a hit of a code probe costs, beside the kernel's own kprobes and probe events.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Table, measured};
use crate::setup::Series;
use crate::vm::Options;

const SCRIPT: &str = include_str!("code.sh");
/// The ways in which the kernel has a probed instruction run.
const WAYS: [&str; 3] = ["breakpoint", "jump", "entry"];

/// The quickest of the rounds: nanoseconds for a call of the probed function, by way and by what
/// was measured.
#[derive(Debug, Default)]
pub(super) struct Code(BTreeMap<(String, String), f64>);

impl Code {
    /// Boots the machine and measures.
    pub(super) fn measure(series: Series) -> Result<Self> {
        let said = measured(&Options {
            cpus: 2,
            memory: 2048,
            timeout: Duration::from_secs(1200),
            ..Options::new(series, SCRIPT)
        })?;
        Self::parse(&said)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut code = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["code", way, name, "count", count, "nanoseconds", nanoseconds] = words[..] {
                let understood = || format!("the guest said `{line}`");
                let count: f64 = count.parse().with_context(understood)?;
                let took: f64 = nanoseconds.parse().with_context(understood)?;
                let best = code.0.entry((way.to_owned(), name.to_owned())).or_insert(f64::INFINITY);
                *best = best.min(took / count);
            }
        }
        Ok(code)
    }

    /// Nanoseconds that a hit adds to a call.
    fn cost(&self, way: &str, name: &str) -> Result<f64> {
        let of = |name: &str| {
            let found = self.0.get(&(way.to_owned(), name.to_owned())).copied();
            found.with_context(|| format!("`{name}` by {way} was not measured"))
        };
        Ok(of(name)? - of("nothing")?)
    }

    /// What each adds to a call of the probed function.
    pub(super) fn table(&self) -> Result<Table> {
        let mut table = Table::new([
            "one hit adds, in µs",
            "by a breakpoint",
            "by a jump",
            "by ftrace, at a function's entry",
            "times a bare kprobe",
        ]);
        for (what, name) in [
            ("a kprobe of the kernel's, empty handler", "kprobe"),
            ("Trapline, an empty handler", "empty"),
            ("Trapline, four probes with an empty handler each", "four"),
            ("Trapline, a handler that dereferences NULL", "faulting"),
            ("a kernel probe event with three arguments", "event"),
            ("`trapline probe` with the same three arguments", "record"),
        ] {
            let costs: Vec<f64> = WAYS.iter().map(|way| self.cost(way, name)).collect::<Result<_>>()?;
            let bare: Vec<f64> = WAYS.iter().map(|way| self.cost(way, "kprobe")).collect::<Result<_>>()?;
            let [breakpoint, jump, entry] = [0, 1, 2].map(|at| format!("{:.2}", costs[at] / 1000.0));
            let ratios: Vec<String> =
                costs.iter().zip(&bare).map(|(cost, bare)| format!("{:.1}", cost / bare)).collect();
            table.row([what.to_owned(), breakpoint, jump, entry, ratios.join(", ")]);
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickest_round_counts_less_a_call_without_probe() {
        let said = "code jump nothing count 10 nanoseconds 100
code jump kprobe count 10 nanoseconds 900
code jump kprobe count 10 nanoseconds 500
other words
";
        let code = Code::parse(said).unwrap();
        assert_eq!(code.cost("jump", "kprobe").unwrap(), 40.0);
        let error = code.cost("jump", "event").unwrap_err().to_string();
        assert!(error.contains("`event` by jump"), "{error}");
        assert!(code.table().is_err());
    }
}
