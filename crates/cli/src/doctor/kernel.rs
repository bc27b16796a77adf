//! Checks of the running kernel: how it was built, and what is turned on or off in it.

use super::Finding;
use crate::module::{self, options};
use crate::system::System;

/// Functions that the module hooks by ftrace with IPMODIFY, which one user may do at a time: at
/// load (kernel/glue/hook.c), and while mappings are followed (kernel/glue/tracking.c).
const HOOKED: [&str; 4] = ["fixup_exception", "page_fault_oops", "mmiotrace_ioremap", "mmiotrace_iounmap"];

/// The kernel's build configuration.
pub(super) fn config(system: &System) -> Vec<Finding> {
    const WHAT: &str = "kernel config";
    let Some((path, text)) = system.config() else {
        let found = format!("can't be read: no /boot/config-{} and no /proc/config.gz", system.release());
        return vec![Finding::warning(
            WHAT,
            found,
            format!("make sure that {} are on", options::NEEDED.join(", ")),
        )];
    };
    let missing = options::missing(&text);
    if missing.is_empty() {
        return vec![Finding::ok(WHAT, format!("{} has what is needed", path.display()))];
    }
    let advice = "run a kernel built with it; the stock kernels of Debian and Ubuntu are";
    missing.iter().map(|option| Finding::problem(WHAT, format!("{option} is off"), advice)).collect()
}

/// Whether ftrace, by which the module hooks, is on.
pub(super) fn ftrace(system: &System) -> Finding {
    const WHAT: &str = "ftrace";
    match system.read("proc/sys/kernel/ftrace_enabled").as_deref() {
        Ok("0") => Finding::problem(WHAT, "kernel.ftrace_enabled is 0", "sysctl kernel.ftrace_enabled=1"),
        Ok(_) => Finding::ok(WHAT, "enabled"),
        Err(_) => Finding::problem(WHAT, "not in this kernel", "run a kernel with CONFIG_FUNCTION_TRACER"),
    }
}

/// Whether the kernel is locked down against its own administrator.
pub(super) fn lockdown(system: &System) -> Finding {
    const WHAT: &str = "lockdown";
    match system.lockdown().as_deref() {
        None => Finding::ok(WHAT, "not in this kernel, or not shown (securityfs is not mounted)"),
        Some("none") => Finding::ok(WHAT, "off"),
        Some(mode) => Finding::problem(
            WHAT,
            format!("the kernel is locked down ({mode})"),
            "boot without lockdown= and with Secure Boot off, or sign the module with a key that the machine trusts (mokutil --import)",
        ),
    }
}

/// Whether modules must be signed.
pub(super) fn signatures(system: &System) -> Finding {
    const WHAT: &str = "signatures";
    let enforced = system.read("sys/module/module/parameters/sig_enforce").is_ok_and(|value| value == "Y");
    if enforced && !module::is_loaded(system) {
        return Finding::warning(
            WHAT,
            "modules must be signed (module.sig_enforce)",
            "sign trapline.ko with a key that the machine trusts (mokutil --import), or boot without module.sig_enforce",
        );
    }
    Finding::ok(
        WHAT,
        if enforced { "enforced, and the module was accepted" } else { "unsigned modules may be loaded" },
    )
}

/// Whether any module may still be loaded.
pub(super) fn modules_allowed(system: &System) -> Finding {
    const WHAT: &str = "module loading";
    let disabled = system.read("proc/sys/kernel/modules_disabled").is_ok_and(|value| value == "1");
    if disabled && !module::is_loaded(system) {
        return Finding::problem(
            WHAT,
            "kernel.modules_disabled is 1 until the next boot",
            "reboot, and load trapline first",
        );
    }
    Finding::ok(WHAT, "allowed")
}

/// Whether the in-tree tracer, which arms pages as we do, is on.
pub(super) fn mmiotrace(system: &System) -> Finding {
    const WHAT: &str = "mmiotrace";
    match system.current_tracer().as_deref() {
        Some("mmiotrace") => Finding::problem(
            WHAT,
            "the kernel's own mmiotrace is running and would arm the same pages",
            "end the readers of trace_pipe, then: echo nop > /sys/kernel/tracing/current_tracer",
        ),
        Some(tracer) => Finding::ok(WHAT, format!("not running (current_tracer is {tracer})")),
        None => Finding::warning(
            WHAT,
            "can't tell: tracefs is not mounted or not readable",
            "mount -t tracefs nodev /sys/kernel/tracing",
        ),
    }
}

/// Who traces `function`, by ftrace's own list: how many, and whether one of them changes where it
/// goes (IPMODIFY).
fn tracers(system: &System, function: &str) -> Option<(u32, bool)> {
    let list = system.read("sys/kernel/tracing/enabled_functions").ok()?;
    // `fixup_exception (1) R I tramp: ...`: how many, and flags, of which I is IPMODIFY
    // (kernel/trace/ftrace.c, t_show).
    let found = list.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(function)).then(|| {
            let count = words.next().and_then(|count| count.trim_matches(['(', ')']).parse().ok());
            (count.unwrap_or(1), words.take_while(|word| *word != "tramp:").any(|word| word == "I"))
        })
    });
    Some(found.unwrap_or((0, false)))
}

/// Whether the functions that the module hooks are free: only one user may change where a function
/// returns to (IPMODIFY).
pub(super) fn hooks_are_free(system: &System) -> Finding {
    const WHAT: &str = "hook";
    let is_loaded = module::is_loaded(system);
    for function in HOOKED {
        let advice = format!("remove the live patch or the other tool that hooks {function}");
        match tracers(system, function) {
            // ftrace calls a lone user directly, and several through a list that skips nested
            // calls.
            Some((2.., _)) if is_loaded => {
                return Finding::warning(
                    WHAT,
                    format!(
                        "{function} is ours, and another tool traces it too: an access to a traced register inside a probe's handler would be an oops"
                    ),
                    "end that tool: /sys/kernel/tracing/enabled_functions, set_ftrace_filter and kprobes/list tell of it",
                );
            }
            Some((_, true)) if !is_loaded => {
                return Finding::problem(
                    WHAT,
                    format!("another tool has taken {function} (IPMODIFY)"),
                    advice,
                );
            }
            _ => {}
        }
        if let Some(patch) = patch_of(system, function) {
            return Finding::problem(WHAT, format!("the live patch {patch} has replaced {function}"), advice);
        }
    }
    let found = if is_loaded { "fixup_exception is ours" } else { "what the module hooks is free" };
    Finding::ok(WHAT, found)
}

/// The live patch that has replaced `function` of the kernel, if one has.
fn patch_of(system: &System, function: &str) -> Option<String> {
    let has = |patch: &String| {
        let patched = system.list(format!("sys/kernel/livepatch/{patch}/vmlinux"));
        patched.iter().any(|entry| entry.rsplit_once(',').is_some_and(|(name, _)| name == function))
    };
    system.list("sys/kernel/livepatch").into_iter().find(has)
}

/// Whether functions can be named.
pub(super) fn symbols(system: &System) -> Finding {
    const WHAT: &str = "symbols";
    match system.read("proc/sys/kernel/kptr_restrict").as_deref() {
        Ok("2") => Finding::warning(
            WHAT,
            "kernel.kptr_restrict is 2: addresses in /proc/kallsyms are hidden, so functions would have no names",
            "sysctl kernel.kptr_restrict=1",
        ),
        _ => Finding::ok(WHAT, "functions can be named (as root)"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::system::tests::with;

    #[test]
    fn an_option_that_is_off_is_named() {
        let text = "CONFIG_MODULES=y\nCONFIG_MMIOTRACE=y\nCONFIG_KALLSYMS=y\n# CONFIG_DYNAMIC_FTRACE_WITH_REGS is not set\n";
        let (_root, system) = with(&[("boot/config-6.1.0-test", text)]);
        let [finding] = config(&system).try_into().unwrap();
        assert_eq!(finding.level, Level::Problem);
        assert_eq!(finding.found, "CONFIG_DYNAMIC_FTRACE_WITH_REGS is off");
    }

    #[test]
    fn each_obstacle_is_a_problem_with_advice() {
        type Check = fn(&System) -> Finding;
        let cases: [(&str, &str, Check); 9] = [
            ("proc/sys/kernel/ftrace_enabled", "0", ftrace),
            ("sys/kernel/security/lockdown", "none integrity [confidentiality]", lockdown),
            ("proc/sys/kernel/modules_disabled", "1", modules_allowed),
            ("sys/kernel/tracing/current_tracer", "mmiotrace", mmiotrace),
            ("sys/kernel/livepatch/fix/vmlinux/fixup_exception,1/patched", "1", hooks_are_free),
            (
                "sys/kernel/tracing/enabled_functions",
                "fixup_exception (1) R I \ttramp: 0xff (klp+0x0/0x1)",
                hooks_are_free,
            ),
            (
                "sys/kernel/tracing/enabled_functions",
                "page_fault_oops (1) R I \ttramp: 0xff (klp+0x0/0x1)",
                hooks_are_free,
            ),
            ("sys/kernel/livepatch/fix/vmlinux/mmiotrace_iounmap,1/patched", "1", hooks_are_free),
            ("sys/module/other", "", ftrace),
        ];
        for (path, text, check) in cases {
            let (_root, system) = with(&[(path, text)]);
            let finding = check(&system);
            assert_eq!(finding.level, Level::Problem, "{path}: {finding:?}");
            assert!(!finding.advice.is_empty(), "{path}");
        }
    }

    #[test]
    fn a_hook_that_somebody_else_traces_too_is_warned_of() {
        let level = |functions| {
            let list = ("sys/kernel/tracing/enabled_functions", functions);
            let (_root, system) = with(&[("sys/module/trapline/refcnt", "0"), list]);
            hooks_are_free(&system).level
        };
        assert_eq!(level("fixup_exception (1) R I \ttramp: 0xff (on_fixup_exception+0x0/0x1)\n"), Level::Ok);
        assert_eq!(level("fixup_exception (2) R I \tftrace_ops_list_func+0x0/0x1\n"), Level::Warning);
    }

    #[test]
    fn a_kernel_as_it_should_be_has_no_findings_but_good_ones() {
        let (_root, system) = with(&[
            ("proc/sys/kernel/ftrace_enabled", "1\n"),
            ("sys/kernel/security/lockdown", "[none] integrity confidentiality\n"),
            ("sys/module/module/parameters/sig_enforce", "N\n"),
            ("sys/kernel/tracing/current_tracer", "nop\n"),
            ("sys/kernel/tracing/enabled_functions", "schedule (1) R I\nfixup_exception (1) R\n"),
            ("proc/sys/kernel/kptr_restrict", "0\n"),
        ]);
        for check in [ftrace, lockdown, signatures, modules_allowed, mmiotrace, hooks_are_free, symbols] {
            assert_eq!(check(&system).level, Level::Ok, "{:?}", check(&system));
        }
    }
}
