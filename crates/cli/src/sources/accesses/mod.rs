//! Accesses to device registers: the ranges that are watched.

mod targets;

use trapline_abi::{WATCH_READS, WATCH_WRITES, Watch, WatchError};
use trapline_trace::{Device, Header, Registers, Symbols, Watched, WatchedRange};

use crate::args;
use crate::device::Control;
use crate::naming::{RegistersError, load_registers};
use crate::refusal::Refusal;
use crate::say::say;
use crate::sources::devices;
use crate::sources::inject::{InjectError, Injection, Rules};
use crate::system::System;
use crate::trace::{Arming, Counted, Source};
use crate::user_mappings;
pub(super) use targets::Target;
pub(crate) use targets::TargetError;
use targets::Targets;

/// Why there is nothing to watch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessesError {
    /// What was asked for is not there.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Registers can't be named.
    #[error(transparent)]
    Registers(#[from] RegistersError),
    /// The in-tree tracer is on.
    #[error(
        "the kernel's own mmiotrace is running, and both would arm the same pages; turn it off: \
         echo nop > /sys/kernel/tracing/current_tracer (end every reader of trace_pipe first, or that fails with EBUSY)"
    )]
    Mmiotrace,
}

/// The accesses to ranges.
pub(crate) struct Accesses {
    /// Knows who it is that traces already.
    system: System,
    devices: Vec<Device>,
    targets: Vec<Target>,
    /// What of the devices is not watched, a sentence each.
    left_out: Vec<String>,
    /// Who has them mapped, so that not all accesses are seen, a sentence each.
    mapped: Vec<String>,
    /// [`WATCH_READS`] and [`WATCH_WRITES`].
    directions: u32,
    registers: Registers,
    /// What is made of them.
    injection: Option<Injection>,
}

impl Accesses {
    /// Finds what is asked for. A device without memory that could be watched is left out if there
    /// is another and `is_enough`: what there is is enough.
    pub(crate) fn new(
        system: &System,
        wanted: &args::Accesses,
        is_enough: bool,
    ) -> Result<Self, AccessesError> {
        let devices = devices::all(system).map_err(TargetError::from)?;
        let Targets { watched: targets, left_out } =
            targets::resolve(system, &devices, &wanted.targets, is_enough)?;
        let registers = load_registers(&wanted.targets.registers)?.whole()?;
        if system.current_tracer().as_deref() == Some("mmiotrace") {
            return Err(AccessesError::Mmiotrace);
        }
        Ok(Self {
            system: system.clone(),
            devices,
            targets,
            left_out,
            mapped: Vec::new(),
            directions: directions(wanted.reads, wanted.writes),
            registers,
            injection: None,
        })
    }

    /// Has `rules` change them. `symbols` are there if a rule names a function.
    pub(super) fn inject(&mut self, rules: Rules, symbols: Option<&Symbols>) -> Result<(), InjectError> {
        let targets = (&self.devices[..], &self.targets[..]);
        self.injection = Some(Injection::new(&self.system, rules, targets, &self.registers, symbols)?);
        Ok(())
    }
}

impl Accesses {
    /// Says which processes have them mapped that were not said yet.
    fn tell_mapped(&mut self) {
        let mappings = user_mappings::all(&self.system);
        for target in &self.targets {
            let bar = target.bar.as_ref().map(|(device, number)| (device, *number));
            for sentence in
                user_mappings::sentences(&mappings, &self.system, target.range, bar, &target.name())
            {
                if !self.mapped.contains(&sentence) {
                    say!("{sentence}");
                    self.mapped.push(sentence);
                }
            }
        }
    }
}

/// As asked for by `--reads` and `--writes`; neither means both.
fn directions(reads: bool, writes: bool) -> u32 {
    match (reads, writes) {
        (true, false) => WATCH_READS,
        (false, true) => WATCH_WRITES,
        _ => WATCH_READS | WATCH_WRITES,
    }
}

impl Source for Accesses {
    fn is_of_accesses(&self) -> bool {
        true
    }

    fn arm(&mut self, control: &dyn Control, arming: &Arming) -> Result<(), Refusal> {
        // Before anything is armed, since it may take a while, and nobody reads events yet. Said in
        // any case: accesses are missing.
        self.tell_mapped();
        // Rules come before the first range.
        if let Some(injection) = &self.injection {
            injection.arm(control)?;
        }
        for target in &self.targets {
            let watch = watch(control, &self.system, target, self.directions)?;
            if !arming.quiet {
                tell(target, &watch);
            }
        }
        if !arming.quiet {
            self.left_out.iter().for_each(|sentence| say!("{sentence}"));
        }
        Ok(())
    }

    fn describe(&self, header: &mut Header) {
        header.devices.clone_from(&self.devices);
        let range =
            |target: &Target| WatchedRange { start: target.range.physical, length: target.range.length };
        header.sources.push(trapline_trace::Source::Access(Watched {
            ranges: self.targets.iter().map(range).collect(),
            reads: self.directions & WATCH_READS != 0,
            writes: self.directions & WATCH_WRITES != 0,
            injected: self.injection.as_ref().map(Injection::injected),
            mapped: self.mapped.clone(),
        }));
    }

    fn registers(&self) -> Option<&Registers> {
        Some(&self.registers)
    }

    fn counted(&mut self, control: &dyn Control) -> Counted {
        // Who has mapped them since.
        self.tell_mapped();
        if let Some(injection) = &mut self.injection {
            injection.count(control);
        }
        Counted::default()
    }

    fn beside(&self, quiet: bool) -> Option<String> {
        self.injection.as_ref()?.table(quiet)
    }

    fn idle(&self) -> Option<&'static str> {
        self.injection.as_ref().filter(|injection| injection.is_idle()).map(|_| "nothing was injected")
    }
}

/// Watches `target`; what the module found of it.
fn watch(control: &dyn Control, system: &System, target: &Target, flags: u32) -> Result<Watch, Refusal> {
    let range = target.range;
    let mut watch = Watch { physical: range.physical, length: range.length, flags, ..Watch::default() };
    match control.watch(&mut watch) {
        Ok(()) => Ok(watch),
        Err(source) => Err(match WatchError::from_code(watch.error) {
            Some(WatchError::Taken) => Refusal::Busy {
                what: "accesses are traced",
                owner: watch.owner,
                name: system.command_name(watch.owner),
            },
            reason => Refusal::Watch { target: target.name(), reason, failed_at: watch.failed_at, source },
        }),
    }
}

/// Says what is being watched.
fn tell(target: &Target, watch: &Watch) {
    let name = target.name();
    let driver = target.bar.as_ref().and_then(|(device, _)| device.driver.as_deref());
    match (watch.mappings, driver) {
        (0, Some(driver)) => say!("watching {name}: not mapped yet; waiting for {driver} to map it"),
        (0, None) => say!("watching {name}: not mapped yet; waiting for a driver to map it"),
        (mappings, _) => {
            let plural =
                |count: u64, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
            say!("watching {name}: {}, {}", plural(mappings.into(), "mapping"), plural(watch.pages, "page"));
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::device::fake::Module;
    use crate::system::tests::with;
    use crate::trace::tests::quietly;
    use crate::units::PhysicalRange;

    fn target() -> Target {
        Target { range: PhysicalRange { physical: 0x10_0000, length: 0x1000 }, bar: None }
    }

    #[test]
    fn a_running_session_is_told_with_its_owner() {
        let module = Module { watch: Some((Errno::BUSY, WatchError::Taken)), ..Module::default() };
        let error = watch(&module, &System::here(), &target(), directions(false, false)).unwrap_err();
        let own = std::process::id();
        assert!(matches!(error, Refusal::Busy { owner, name: Some(_), .. } if owner == own), "{error}");
    }

    #[test]
    fn a_refused_range_is_told_with_the_modules_reason() {
        let module = Module { watch: Some((Errno::PERM, WatchError::Ram)), ..Module::default() };
        let error = watch(&module, &System::here(), &target(), directions(false, false)).unwrap_err();
        assert!(
            matches!(error, Refusal::Watch { reason: Some(WatchError::Ram), failed_at: 0x10_0000, .. }),
            "{error:?}"
        );
    }

    #[test]
    fn who_has_a_range_mapped_is_in_the_header_and_who_maps_it_later_is_found_at_the_end() {
        let (root, system) = with(&[]);
        let maps = |process: u32| {
            let folder = root.path().join(format!("proc/{process}"));
            std::fs::create_dir_all(&folder).unwrap();
            let line = "7f0000000000-7f0000001000 rw-s 00100000 00:05 4      /dev/mem\n";
            std::fs::write(folder.join("maps"), line).unwrap();
            std::fs::write(folder.join("comm"), "poker\n").unwrap();
        };
        let mut accesses = Accesses {
            system,
            devices: Vec::new(),
            targets: vec![target()],
            left_out: Vec::new(),
            mapped: Vec::new(),
            directions: directions(false, false),
            registers: Registers::none(),
            injection: None,
        };
        maps(77);
        let (module, mut header) = (Module::default(), Header::default());
        accesses.arm(&module, &quietly(false)).unwrap();
        accesses.describe(&mut header);
        let [trapline_trace::Source::Access(watched)] = &header.sources[..] else { panic!("{header:?}") };
        let [sentence] = &watched.mapped[..] else { panic!("{watched:?}") };
        assert!(sentence.starts_with("process 77 (poker) has 0x100000"), "{sentence}");
        maps(78);
        accesses.counted(&module);
        assert_eq!(accesses.mapped.len(), 2);
        assert!(accesses.mapped[1].starts_with("process 78 "), "{:?}", accesses.mapped);
    }

    #[test]
    fn reads_and_writes_are_both_recorded_unless_one_is_asked_for() {
        assert_eq!(directions(false, false), WATCH_READS | WATCH_WRITES);
        assert_eq!(directions(true, true), WATCH_READS | WATCH_WRITES);
        assert_eq!(directions(true, false), WATCH_READS);
        assert_eq!(directions(false, true), WATCH_WRITES);
    }
}
