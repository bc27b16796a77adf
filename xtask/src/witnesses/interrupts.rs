//! Calls of interrupt handlers, as a trace and as the kernel's own tracepoints tell them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{ByCpu, number};

/// The call of a handler: of which interrupt, and whether it claimed that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The number in `/proc/interrupts`.
    pub irq: u32,
    /// The handler said that it was its own.
    pub claimed: bool,
}

/// Whether an event has a flag.
pub fn has(event: &Value, flag: &str) -> bool {
    event["flags"].as_array().is_some_and(|flags| flags.iter().any(|known| known == flag))
}

/// Those of events of a trace, without what threads of handlers run.
///
/// # Errors
/// A call that lacks something.
pub fn traced<'a>(events: impl IntoIterator<Item = &'a Value>) -> Result<ByCpu<Call>> {
    let mut all = ByCpu::default();
    for event in events.into_iter().filter(|event| !has(event, "thread")) {
        let irq = u32::try_from(number(event, "irq")?)?;
        let call = Call { irq, claimed: event["result"] != "none" };
        all.push(u32::try_from(number(event, "cpu")?)?, call);
    }
    Ok(all)
}

/// The calls in ftrace's text of interrupts of these numbers: `<idle>-0 [002] d.h1. 12.3:
/// irq_handler_entry: irq=26 name=eth0-rx-0`, and `irq_handler_exit: irq=26 ret=handled`.
///
/// # Errors
/// A line of this kind that has another form, or an end without its beginning.
pub fn recorded(ftrace: &str, irqs: &BTreeSet<u32>) -> Result<ByCpu<Call>> {
    let mut calls = ByCpu::default();
    let mut under_way: BTreeMap<u32, u32> = BTreeMap::new();
    for line in ftrace.lines().filter(|line| !line.starts_with('#')) {
        let Some((head, event)) = line.split_once(": irq_handler_") else { continue };
        let told = || format!("ftrace says: {line}");
        let cpu = head.rsplit_once(" [").and_then(|(_, rest)| rest.split(']').next()?.parse().ok());
        let cpu: u32 = cpu.with_context(told)?;
        let word = |name: &str| Some(event.split_once(name)?.1.split(' ').next().unwrap_or_default());
        let irq: u32 = word("irq=").and_then(|word| word.parse().ok()).with_context(told)?;
        if !irqs.contains(&irq) {
            continue;
        }
        if event.starts_with("entry") {
            under_way.insert(cpu, irq);
        } else {
            ensure!(under_way.remove(&cpu) == Some(irq), "an end without its beginning: {line}");
            calls.push(cpu, Call { irq, claimed: word("ret=").with_context(told)? == "handled" });
        }
    }
    Ok(calls)
}

/// The numbers of interrupts, in ftrace's text, whose handlers' names begin so.
pub fn numbers(ftrace: &str, name: &str) -> BTreeSet<u32> {
    let number = |line: &str| {
        let (_, event) = line.split_once(": irq_handler_entry: irq=")?;
        let (irq, handler) = event.split_once(" name=")?;
        handler.starts_with(name).then(|| irq.parse().ok())?
    };
    ftrace.lines().filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_as_the_kernel_prints_them() {
        let text = "# tracer: nop
          <idle>-0       [002] d.h1.    12.345678: irq_handler_entry: irq=26 name=eth0-rx-0
          <idle>-0       [002] d.h1.    12.345680: irq_handler_exit: irq=26 ret=handled
              sh-70      [000] d.h..    12.345690: irq_handler_entry: irq=4 name=ttyS0
              sh-70      [000] d.h..    12.345691: irq_handler_exit: irq=4 ret=unhandled
";
        let one = |cpu, irq, claimed| {
            let mut calls = ByCpu::default();
            calls.push(cpu, Call { irq, claimed });
            calls
        };
        assert_eq!(recorded(text, &[26].into()).unwrap(), one(2, 26, true));
        assert_eq!(recorded(text, &[4].into()).unwrap(), one(0, 4, false));
        assert_eq!(numbers(text, "eth0"), [26].into());
        assert_eq!(numbers(text, "eth1"), [].into());
    }
}
