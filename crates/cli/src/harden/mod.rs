//! `trapline harden`: a campaign of experiments on a driver, each a run of `trapline inject`.
//!
//! Each experiment is a process of its own, of this very program: one that gets stuck in the kernel
//! can be left behind, and when it is killed the kernel ends its lies. What is to be tried, what is
//! found and what is told are plain data ([`plan`], [`campaign`], [`report`]); only
//! [`experiments`], [`process`] and [`log`] touch the machine.

mod binding;
mod campaign;
mod error;
mod experiment;
mod experiments;
mod log;
mod outcome;
mod plan;
mod process;
mod reads;
mod reduce;
mod report;
mod state;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use trapline_trace::write_json_line;

use crate::args::{Harden, HardenFormat};
use crate::exit::Exit;
use crate::held;
use crate::module;
use crate::output::{self, OutputError};
use crate::say::say;
use crate::sources::{devices_called, refuse_held};
use crate::style::{STRONG, WARNING};
use crate::system::System;
use binding::Binding;
pub(crate) use binding::BindingError;
use campaign::{About, Bounds, Campaign, Run};
pub(crate) use error::HardenError;
use experiment::{Experiment, Lie, Site};
use experiments::Experiments;
use state::{State, StateError};

/// Has this process end when process `parent` does, which has started it.
pub(crate) fn end_with_parent(parent: u32) -> Result<(), HardenError> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| HardenError::own("follow the process that started this")(error.into()))?;
    // It may have ended before that.
    if getppid().map(Pid::as_raw_pid) != i32::try_from(parent).ok() {
        return Err(HardenError::own("follow the process that started this")(io::ErrorKind::NotFound.into()));
    }
    Ok(())
}

/// Makes the campaign that is asked for, or tells of one that was made.
pub(crate) fn run(system: &System, args: &Harden) -> Result<Exit, HardenError> {
    if let Some(folder) = &args.report {
        let kept = state::read(folder)?.ok_or_else(|| StateError::Nothing { path: folder.clone() })?;
        print(&kept.campaign, args.format)?;
        return Ok(Exit::Success);
    }
    let asked = before_the_first_run(system, args)?;
    // Each experiment opens it for itself.
    let device = module::open(system)?;
    module::require_self_test(&module::info(&device)?)?;
    drop(device);
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The second one ends it on the spot.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&interrupted))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&interrupted)))
            .map_err(HardenError::own("catch signals"))?;
    }
    let boot = system
        .read("proc/sys/kernel/random/boot_id")
        .map_err(HardenError::own("read the kernel's boot id"))?;
    announce(&asked);
    let ended = if args.rules.is_empty() {
        campaign(system, args, &asked, &boot, &interrupted)?
    } else {
        trial(system, args, &asked, &interrupted)?
    };
    Ok(ended)
}

/// What is asked for, once it is clear that it may be done.
#[derive(Debug)]
pub(crate) struct Asked {
    binding: Binding,
    ids: String,
    command: Vec<String>,
    held: Vec<String>,
}

/// All that can be wrong before the module is asked for anything.
pub(crate) fn before_the_first_run(system: &System, args: &Harden) -> Result<Asked, HardenError> {
    let Some(name) = &args.device else {
        // clap asks for one; a report needs none.
        return Err(HardenError::Several { name: "no device".into(), count: 0, addresses: String::new() });
    };
    let devices = devices_called(system, name)?;
    let [device] = &devices[..] else {
        let addresses: Vec<&str> = devices.iter().map(|device| device.address.as_str()).collect();
        let addresses = addresses.join(", ");
        return Err(HardenError::Several { name: name.to_string(), count: devices.len(), addresses });
    };
    let held = held::by(system, &device.address);
    if !args.yes {
        refuse_held(&device.address, &held)?;
    }
    let binding = Binding::of(system, device)?;
    let ids = format!("{:04x}:{:04x}", device.vendor, device.device);
    Ok(Asked {
        binding,
        ids,
        command: args.command.clone(),
        held: held.iter().map(ToString::to_string).collect(),
    })
}

/// Says what will be done, to which device.
fn announce(asked: &Asked) {
    let Binding { device, driver, .. } = &asked.binding;
    say!(
        "{WARNING}lying{WARNING:#} to {STRONG}{driver}{STRONG:#} about {STRONG}{device}{STRONG:#}: its driver is unbound and bound again and again, \
         and what it reads is changed; this can crash the machine"
    );
    asked.held.iter().for_each(|held| say!("{WARNING}warning{WARNING:#}: {device} holds {held}"));
    if !asked.binding.can_reset() {
        say!("{device} can't be reset by itself: its driver is only bound anew");
    }
}

fn about(system: &System, args: &Harden, asked: &Asked, seed: u64) -> About {
    // The command that repeats a finding may be typed anywhere.
    let whole = |file: &PathBuf| word(&file.canonicalize().unwrap_or_else(|_| file.clone()));
    let Binding { device, driver, module, .. } = asked.binding.clone();
    About {
        trapline: env!("CARGO_PKG_VERSION").into(),
        kernel: system.release().into(),
        device,
        ids: asked.ids.clone(),
        driver,
        module,
        command: asked.command.clone(),
        seed,
        registers: args.registers.iter().map(whole).collect(),
        limit: args.limit.map(|limit| limit.as_millis() as u64),
        yes: args.yes,
        can_reset: asked.binding.can_reset(),
    }
}

/// A seed that nobody has chosen, short enough to be typed again.
fn any_seed() -> u64 {
    RandomState::new().hash_one(0) >> 32
}

/// A campaign, from its beginning or from where it was.
fn campaign(
    system: &System,
    args: &Harden,
    asked: &Asked,
    boot: &str,
    interrupted: &AtomicBool,
) -> Result<Exit, HardenError> {
    let folder =
        args.state.clone().unwrap_or_else(|| PathBuf::from(format!("harden-{}", asked.binding.device)));
    let mut state = State::open(&folder)?;
    let kept = state::read(&folder)?;
    let seed =
        args.seed.or_else(|| kept.as_ref().map(|kept| kept.campaign.about.seed)).unwrap_or_else(any_seed);
    let about = about(system, args, asked, seed);
    let bounds = Bounds { budget: args.budget, most: args.most, repeat: args.repeat as usize };
    let (mut experiments, mut campaign);
    if let Some(mut kept) = kept {
        state::is_of(&kept.campaign.about, &about, &folder)?;
        state.trim()?;
        let last = || reads::lies(&folder.join(experiments::TRACE)).last;
        state.settle(&mut kept, boot, last)?;
        let command = asked.command.clone();
        experiments =
            Experiments::new(system, args, &asked.binding, command, seed, state.folder(), interrupted)?;
        experiments.limit = args.limit.unwrap_or(kept.limit);
        experiments.resets &= kept.campaign.about.can_reset;
        say!("going on with {}: {} experiments are made", folder.display(), kept.campaign.runs().len());
        if kept.campaign.next(&bounds).is_some() {
            if kept.worn.as_deref() == Some(boot) && !args.go_on {
                let why = "the last experiment has left this machine as nothing should be tried on".into();
                return Err(HardenError::Restart { why, may_go_on: true });
            }
            refuse_oopsed(system, args)?;
            experiments.must_work()?;
        }
        campaign = kept.campaign;
    } else {
        let learn = || -> Result<(Experiments<'_>, Campaign), HardenError> {
            refuse_oopsed(system, args)?;
            state.trim()?;
            let command = asked.command.clone();
            let mut experiments =
                Experiments::new(system, args, &asked.binding, command, seed, &folder, interrupted)?;
            let sites = first(args, &mut experiments)?;
            let about = About { can_reset: experiments.resets, ..about };
            state.begin(&about, &sites, experiments.limit)?;
            Ok((experiments, Campaign::new(about, sites)))
        };
        // What was written before anything was learnt is of no use.
        let learnt = learn();
        (experiments, campaign) = learnt.inspect_err(|_| state.discard())?;
    }
    say!("{} experiments are planned, and pairs after them", campaign.planned());
    let went = go(args, &mut campaign, &mut experiments, &mut state, boot, &bounds);
    // Also after a mistake, which is what is told then.
    let left = state.left();
    let must_restart = match &went {
        Ok(must_restart) => *must_restart,
        Err(error) => matches!(error, HardenError::Restart { .. }),
    };
    if !must_restart {
        experiments.restore();
    }
    went?;
    left?;
    let is_done = campaign.next(&bounds).is_none();
    print(&campaign, args.format)?;
    if interrupted.load(Ordering::Relaxed) {
        return Ok(Exit::Interrupted);
    }
    if !is_done {
        let why = "after this the kernel or the device is not what it was".into();
        return Err(HardenError::Restart { why, may_go_on: !args.go_on });
    }
    Ok(if campaign.findings().is_empty() { Exit::Success } else { Exit::Found })
}

/// Makes experiments until all within `bounds` are made, or no more can be; whether the machine has
/// to be started anew.
fn go(
    args: &Harden,
    campaign: &mut Campaign,
    experiments: &mut Experiments<'_>,
    state: &mut State,
    boot: &str,
    bounds: &Bounds,
) -> Result<bool, HardenError> {
    let mut must_restart = false;
    while !experiments.is_interrupted()
        && let Some(experiment) = campaign.next(bounds)
    {
        let number = campaign.runs().len() + 1;
        state.begun(&experiment, boot)?;
        let Some(outcome) = experiments.run(number, &experiment)? else { break };
        tell(number, &experiment, &outcome);
        must_restart = outcome.restart;
        let run = Run { experiment, outcome };
        state.ended(&run, boot)?;
        campaign.push(run);
        if must_restart && !args.go_on {
            break;
        }
    }
    Ok(must_restart)
}

/// The first run of a campaign: what the driver reads.
fn first(args: &Harden, experiments: &mut Experiments<'_>) -> Result<Vec<Site>, HardenError> {
    let (sites, took) = experiments.first()?;
    if args.budget < took {
        experiments.restore();
        return Err(HardenError::Budget { budget: args.budget, took });
    }
    let reads: u64 = sites.iter().map(|site| site.reads).sum();
    let took = humantime::format_duration(Duration::from_millis(took.as_millis() as u64));
    say!("without lies it took {took}: {reads} reads at {} sites", sites.len());
    Ok(sites)
}

/// Rules that a person gives, tried a number of times.
fn trial(
    system: &System,
    args: &Harden,
    asked: &Asked,
    interrupted: &AtomicBool,
) -> Result<Exit, HardenError> {
    refuse_oopsed(system, args)?;
    let seed = args.seed.unwrap_or_else(any_seed);
    let folder = tempfile::tempdir().map_err(HardenError::own("make a temporary folder"))?;
    let mut experiments = Experiments::new(
        system,
        args,
        &asked.binding,
        asked.command.clone(),
        seed,
        folder.path(),
        interrupted,
    )?;
    let took = experiments.must_work()?;
    experiments.limit = args.limit.unwrap_or_else(|| experiments::limit(took));
    let about = About { can_reset: experiments.resets, ..about(system, args, asked, seed) };
    let mut campaign = Campaign::new(about, Vec::new());
    let experiment = Experiment { rules: args.rules.clone(), place: None, lie: Lie::Several };
    let mut must_restart = false;
    for number in 1..=args.repeat as usize {
        let outcome = match experiments.run(number, &experiment) {
            Ok(Some(outcome)) => outcome,
            Ok(None) => break,
            Err(error) => {
                if !matches!(error, HardenError::Restart { .. }) {
                    experiments.restore();
                }
                return Err(error);
            }
        };
        tell(number, &experiment, &outcome);
        must_restart = outcome.restart;
        campaign.push(Run { experiment: experiment.clone(), outcome });
        if must_restart && !args.go_on {
            break;
        }
    }
    if !must_restart {
        experiments.restore();
    }
    print(&campaign, args.format)?;
    if interrupted.load(Ordering::Relaxed) {
        return Ok(Exit::Interrupted);
    }
    Ok(if campaign.findings().is_empty() { Exit::Success } else { Exit::Found })
}

/// Refuses a kernel that has oopsed already (`D` of its taint flags, kernel/panic.c).
fn refuse_oopsed(system: &System, args: &Harden) -> Result<(), HardenError> {
    if has_oopsed(system) && !args.go_on { Err(HardenError::Oopsed) } else { Ok(()) }
}

/// Whether the kernel says that it has oopsed since it was started.
fn has_oopsed(system: &System) -> bool {
    const OOPSED: u64 = 1 << 7;
    let taint: u64 =
        system.read("proc/sys/kernel/tainted").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    taint & OOPSED != 0
}

/// Says what came of an experiment.
fn tell(number: usize, experiment: &Experiment, outcome: &outcome::Outcome) {
    let style = report::style(Some(outcome.trouble));
    let place = outcome.function.as_ref().map(|function| format!(" in {function}")).unwrap_or_default();
    say!("{number:>5}  {style}{:<7}{style:#}  {}{place}", outcome.trouble.name(), experiment.text());
}

/// Prints what a campaign has come to.
fn print(campaign: &Campaign, format: HardenFormat) -> Result<(), OutputError> {
    output::print(|out| match format {
        HardenFormat::Human => report::human(out, campaign),
        HardenFormat::Json => write_json_line(out, &report::json(campaign)),
        HardenFormat::Html => report::page(out, campaign),
    })
}

/// A path as a word of a command line.
fn word(path: &Path) -> String {
    path.display().to_string()
}
