//! `trapline status`: what the module tells of itself.

use std::io::{self, Write};

use trapline_abi::{Counters, HookState, Info, SelfTest};

use crate::module::{self, ModuleError, self_test_text};
use crate::output::{self, OutputError};
use crate::style::{BAD, GOOD, STRONG};
use crate::system::System;
use crate::units::format_size;

/// Why the state can't be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatusError {
    /// The module can't be asked.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// It can't be printed.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Tells the module's state; that it is not loaded is an answer too.
pub(crate) fn run(system: &System) -> Result<(), StatusError> {
    let info = if module::is_loaded(system) { Some(module::info(&module::open(system)?)?) } else { None };
    output::print(|out| match &info {
        Some(info) => write_info(out, info, system),
        None => write_row(
            out,
            "module",
            "not loaded; `trapline mmio` loads it, `trapline doctor` tells whether it can",
        ),
    })?;
    Ok(())
}

fn write_info(out: &mut impl Write, info: &Info, system: &System) -> io::Result<()> {
    write_row(
        out,
        "module",
        &format!("loaded, interface version {}, kernel {}", info.version, system.release()),
    )?;
    let hook = match info.hook {
        h if h == HookState::FixupException as u32 => "fixup_exception, by ftrace".into(),
        h if h == HookState::Absent as u32 => format!("{BAD}not installed{BAD:#}"),
        other => format!("{BAD}unknown state {other}{BAD:#}"),
    };
    write_row(out, "hook", &hook)?;
    let style = if info.self_test == SelfTest::Passed as u32 { GOOD } else { BAD };
    write_row(out, "self-test", &format!("{style}{}{style:#}", self_test_text(info.self_test)))?;
    let owner = |process| match process {
        0 => "none".into(),
        owner => format!(
            "process {owner}{}",
            system.command_name(owner).map(|name| format!(" ({name})")).unwrap_or_default()
        ),
    };
    write_row(out, "sessions", &info.sessions.to_string())?;
    write_row(out, "access watch", &owner(info.accesses_owner))?;
    write_row(out, "page-fault watch", &owner(info.faults_owner))?;
    write_row(out, "access probes", &info.probes.to_string())?;
    write_row(out, "code probes", &info.code_probes.to_string())?;
    write_row(out, "page-fault handlers", &info.handlers.to_string())?;
    write_row(out, "armed pages", &info.armed_pages.to_string())?;
    write_row(out, "memory", &format_size(info.memory))?;
    let Counters {
        faults,
        accesses: [emulated, redirected, stepped],
        beside,
        dropped,
        windows,
        stale,
        nested,
    } = info.counters;
    writeln!(out, "{STRONG}since the module was loaded, its self-test included{STRONG:#}")?;
    let alarm = |count: u64| if count == 0 { String::from("0") } else { format!("{BAD}{count}{BAD:#}") };
    for (name, count) in [
        ("faults", faults.to_string()),
        ("emulated", emulated.to_string()),
        ("redirected", redirected.to_string()),
        ("stepped", stepped.to_string()),
        ("beside every probe", beside.to_string()),
        ("nested", nested.to_string()),
        ("stale faults", stale.to_string()),
        ("dropped", alarm(dropped)),
        // The self-test steps once; a trace with windows of its own says so itself.
        ("open windows", windows.to_string()),
    ] {
        write_row(out, &format!("  {name}"), &count)?;
    }
    Ok(())
}

fn write_row(out: &mut impl Write, name: &str, value: &str) -> io::Result<()> {
    writeln!(out, "{name:<22}{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_told_line_by_line_with_failures_and_losses_marked() {
        let root = tempfile::tempdir().unwrap();
        let system = System::at(root.path(), "6.1.0-test");
        let counters = Counters { faults: 9, accesses: [5, 3, 1], dropped: 2, ..Counters::default() };
        let (hook, self_test) = (HookState::FixupException as u32, SelfTest::NoFault as u32);
        let info = Info {
            version: 1,
            hook,
            self_test,
            sessions: 2,
            accesses_owner: 812,
            faults_owner: 813,
            code_probes: 3,
            memory: 3 << 20,
            counters,
            ..Info::default()
        };
        let mut out = Vec::new();
        write_info(&mut out, &info, &system).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(&format!("{BAD}a fault on its own page did not reach it{BAD:#}")), "{text}");
        assert!(text.contains(&format!("{:<22}{BAD}2{BAD:#}\n", "  dropped")), "{text}");
        assert!(text.contains(&format!("{:<22}3\n", "  redirected")), "{text}");
        assert!(text.contains("sessions              2\n"), "{text}");
        assert!(text.contains("access watch          process 812\n"), "{text}");
        assert!(text.contains("page-fault watch      process 813\n"), "{text}");
        assert!(text.contains("code probes           3\n"), "{text}");
        assert!(text.contains("memory                3 MiB\n"), "{text}");
    }
}
