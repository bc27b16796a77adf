//! A stock Debian kernel in QEMU, and a command run in it.

mod archive;
mod cores;
mod flaw;
mod guest;
mod log;
mod modules;
mod options;
mod ports;
mod qemu;
mod status;

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

pub use cores::{all as host_cores, waited as waited_for_cores};
pub use log::KernelLog;
pub use options::Options;

use crate::setup::{self, Kernel};
use crate::{build, failure, interrupt};
use flaw::Flaw;
use guest::Guest;
use ports::Listener;
use status::{Counted, Received, Status};

/// Where COMMAND's output goes.
#[derive(Clone)]
pub enum Output {
    /// To xtask's own standard output and error, as it happens.
    Terminal,
    /// Into the [`Outcome`].
    Captured,
    /// Into the [`Outcome`], and standard output to a function too as it happens, for progress.
    Watched(Arc<dyn Fn(&str) + Send + Sync>),
}

/// How the run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// COMMAND ended with this status.
    Exited(u8),
    /// The time ran out while COMMAND ran, or before it.
    TimedOut,
    /// Ctrl-C.
    Interrupted,
    /// The machine went down before COMMAND ended: a panic, a reset, a power off.
    Died,
}

/// What a run left.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// COMMAND's standard output, if captured.
    pub stdout: Vec<u8>,
    /// COMMAND's standard error, if captured.
    pub stderr: Vec<u8>,
    /// The whole kernel log if the machine lived to hand it over, else what reached the console.
    pub log: KernelLog,
    /// From power on to the start of COMMAND, if it got there.
    pub boot: Option<Duration>,
}

impl Outcome {
    /// COMMAND's standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// `cargo xtask vm`: runs, says on standard error what a person must know, and returns the exit
/// status.
pub fn command(options: &Options) -> Result<u8> {
    let outcome = run(options, Output::Terminal)?;
    let say_log = |lines| {
        if outcome.log.is_empty() {
            eprintln!("xtask: the kernel printed nothing; --verbose shows its whole console");
        } else {
            eprintln!("xtask: the kernel log ended with:\n{}", crate::exec::tail(&outcome.log.text(), lines));
        }
    };
    if options.verbose {
        eprintln!("{}", outcome.log.text());
    }
    let status = match outcome.ended {
        Ended::Exited(status) => status,
        Ended::TimedOut => {
            let stage =
                if outcome.boot.is_some() { "COMMAND had not ended" } else { "the guest had not booted" };
            eprintln!("xtask: {stage} after {} s, the limit of --timeout", options.limit().as_secs());
            say_log(30);
            return Ok(failure::TIMED_OUT);
        }
        Ended::Interrupted => return Ok(failure::INTERRUPTED),
        Ended::Died => {
            eprintln!("xtask: the virtual machine went down before COMMAND ended");
            say_log(60);
            return Ok(failure::MACHINE_FAILED);
        }
    };
    let reports = outcome.log.reports();
    if !reports.is_empty() {
        let shown = reports.len().min(5);
        eprintln!(
            "xtask: the kernel log is not clean ({shown} of {} reports; --verbose shows all):",
            reports.len()
        );
        reports[..shown].iter().for_each(|line| eprintln!("    {line}"));
        if options.strict_log && status == 0 {
            return Ok(failure::LOG_NOT_CLEAN);
        }
    }
    Ok(status)
}

/// Sets up what is missing, boots the machine, runs COMMAND in it and collects what it left.
///
/// # Errors
/// Set-up failed, or QEMU did not start. What happens in the guest is not an error but an
/// [`Outcome`].
pub fn run(options: &Options, output: Output) -> Result<Outcome> {
    setup::host::ensure()?;
    let kernel = Kernel::ensure(options.series())?;
    let trapline = if options.bare { None } else { Some(build::command()?) };
    let own_modules = if options.bare { Vec::new() } else { build::modules(&kernel)? };

    let folder = folder()?;
    let initramfs = folder.path().join("initramfs");
    let guest = Guest {
        kernel: &kernel,
        modules: &options.modules,
        own_modules: &own_modules,
        trapline: trapline.as_deref(),
        programs: &options.program,
        copy_in: &options.copy_in,
        copy_out: options.copy_out.is_some(),
        command: &options.command,
    };
    guest.write(&initramfs)?;
    if let Some(destination) = &options.copy_out {
        fs::create_dir_all(destination).with_context(|| format!("cannot make {}", destination.display()))?;
    }
    if let Some(record) = &options.record {
        // QEMU would say nothing if it could not write here.
        fs::File::create(record).with_context(|| format!("cannot write {}", record.display()))?;
    }
    let _cores = cores::take(if options.one_thread { 1 } else { options.cpus as usize })?;
    for _ in 1..ATTEMPTS {
        let (outcome, flaw) = boot(options, &kernel, &initramfs, &output)?;
        match flaw::of_qemu(flaw.as_ref(), &outcome, options.patched_by_kernel) {
            Some(what) => eprintln!("xtask: {what}; starting the machine again"),
            None => return Ok(outcome),
        }
    }
    Ok(boot(options, &kernel, &initramfs, &output)?.0)
}

/// A temporary folder, whose path is short.
fn folder() -> Result<TempDir> {
    tempfile::Builder::new().prefix("trapline-vm-").tempdir().context("cannot make a temporary folder")
}

/// How often a machine is started that does not come up. QEMU with a thread for each CPU starts one
/// CPU of some hundred machines dead, and in as many goes on running a breakpoint that the kernel,
/// patching its own code as it boots, has taken away.
const ATTEMPTS: usize = 3;

/// How long a machine may take until COMMAND begins: some 100 times what it takes on a quiet host.
const BOOT_LIMIT: Duration = Duration::from_secs(300);

/// How often the console is looked through for what shows that a machine is stuck.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Starts the machine once; what it left, and what is wrong with it.
fn boot(
    options: &Options,
    kernel: &Kernel,
    initramfs: &Path,
    output: &Output,
) -> Result<(Outcome, Option<Flaw>)> {
    let sockets = folder()?;
    let ports = Listener::all(sockets.path())?;
    let started = Instant::now();
    let child = qemu::start(options, kernel, initramfs, &ports)?;
    let output = output.clone();
    Running { child, started, options, output, sinks: Sinks::default(), threads: Vec::new() }.watch(ports)
}

/// What the threads that read the ports have got.
#[derive(Clone, Default)]
struct Sinks {
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    log: Arc<Mutex<Vec<u8>>>,
    console: Arc<Mutex<Vec<u8>>>,
    status: Arc<Mutex<Status>>,
    received: Received,
}

struct Running<'a> {
    child: Child,
    started: Instant,
    options: &'a Options,
    output: Output,
    sinks: Sinks,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Running<'_> {
    fn watch(mut self, mut ports: Vec<Listener>) -> Result<(Outcome, Option<Flaw>)> {
        let console = self.child.stdout.take().context("QEMU's standard output is a pipe")?;
        let (sink, verbose) = (self.sinks.console.clone(), self.options.verbose);
        self.threads.push(thread::spawn(move || {
            ports::drain(console, |bytes| {
                if verbose {
                    // A closed standard error must not stop the machine.
                    let _ = io::stderr().write_all(bytes);
                }
                append(&sink, bytes);
            });
            Ok(())
        }));

        let mut looked = Instant::now();
        let (mut stuck, mut crashed, mut never_booted) = (false, false, false);
        let cut_short = loop {
            for index in (0..ports.len()).rev() {
                if let Some(stream) = ports[index].accept()? {
                    let name = ports.swap_remove(index).name;
                    self.listen(name, stream);
                }
            }
            if let Some(status) = self.child.try_wait().context("cannot wait for QEMU")? {
                crashed = !self.has_begun() && status.signal().is_some();
                ensure!(crashed || status.success(), "QEMU failed ({status}); what it said is above");
                break None;
            }
            if interrupt::seen() {
                break Some(Ended::Interrupted);
            }
            if looked.elapsed() > LOOK_EVERY {
                looked = Instant::now();
                let console =
                    self.sinks.console.lock().expect("no thread panics while it holds the lock").clone();
                stuck = KernelLog::new(&console).is_stuck_without_us();
                if stuck {
                    break Some(Ended::Died);
                }
            }
            if self.started.elapsed() > self.options.limit() {
                break Some(Ended::TimedOut);
            }
            if self.started.elapsed() > BOOT_LIMIT && !self.has_begun() {
                never_booted = true;
                break Some(Ended::TimedOut);
            }
            thread::sleep(Duration::from_millis(5));
        };
        qemu::stop(&mut self.child)?;
        let join = |thread: JoinHandle<_>| thread.join().expect("a thread that reads a port does not panic");
        // All of them, before the first error: what they have got is complete then.
        let joined: Vec<Result<()>> = self.threads.into_iter().map(join).collect();

        let status = self.sinks.status.lock().expect("no thread panics while it holds the lock").clone();
        let log = take(&self.sinks.log);
        let console = take(&self.sinks.console);
        let ended = match (status.exited, cut_short) {
            (Some(code), None) if status.done => Ended::Exited(code),
            (_, Some(how)) => how,
            (_, None) => Ended::Died,
        };
        // A machine that did not end by itself leaves its ports in any state: that is told by how
        // it ended.
        if matches!(ended, Ended::Exited(_)) {
            joined.into_iter().collect::<Result<()>>()?;
        }
        let outcome = Outcome {
            ended,
            stdout: take(&self.sinks.stdout),
            stderr: take(&self.sinks.stderr),
            log: KernelLog::new(if status.done { &log } else { &console }),
            boot: status.booted.map(|at| at - self.started),
        };
        let flaw = match status.dead {
            Some(cpu) => Some(Flaw::DeadTimer(cpu)),
            None if crashed => Some(Flaw::Crashed),
            None if stuck => Some(Flaw::Stuck),
            None if never_booted => Some(Flaw::NeverBooted),
            None => (outcome.ended == Ended::Died && outcome.log.died_of_a_breakpoint())
                .then_some(Flaw::StaleBreakpoint),
        };
        Ok((outcome, flaw))
    }

    /// Whether init has said that COMMAND begins.
    fn has_begun(&self) -> bool {
        self.sinks.status.lock().expect("no thread panics while it holds the lock").booted.is_some()
    }

    /// Starts a thread that reads a port.
    fn listen(&mut self, name: &'static str, stream: UnixStream) {
        let sinks = self.sinks.clone();
        if name == "status" {
            return self
                .threads
                .push(thread::spawn(move || status::read(stream, &sinks.status, &sinks.received)));
        }
        let stream = Counted { stream, name, received: sinks.received.clone() };
        let to_terminal = matches!(self.output, Output::Terminal);
        let watched = if let Output::Watched(see) = &self.output { Some(see.clone()) } else { None };
        let destination = self.options.copy_out.clone();
        // A broken pipe at our end must not stop the machine: what cannot be shown is dropped.
        self.threads.push(match (name, destination) {
            ("stdout", _) if to_terminal => spawn_copy(stream, |bytes| {
                let mut stdout = io::stdout().lock();
                let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
            }),
            ("stderr", _) if to_terminal => spawn_copy(stream, |bytes| drop(io::stderr().write_all(bytes))),
            ("stdout", _) => spawn_copy(stream, move |bytes| {
                append(&sinks.stdout, bytes);
                if let Some(see) = &watched {
                    see(&String::from_utf8_lossy(bytes));
                }
            }),
            ("stderr", _) => spawn_copy(stream, move |bytes| append(&sinks.stderr, bytes)),
            ("log", _) => spawn_copy(stream, move |bytes| append(&sinks.log, bytes)),
            (_, Some(destination)) => thread::spawn(move || unpack(stream, &destination)),
            (_, None) => spawn_copy(stream, |_| {}),
        });
    }
}

fn spawn_copy(
    stream: impl Read + Send + 'static,
    sink: impl FnMut(&[u8]) + Send + 'static,
) -> JoinHandle<Result<()>> {
    thread::spawn(move || {
        ports::drain(stream, sink);
        Ok(())
    })
}

fn append(sink: &Mutex<Vec<u8>>, bytes: &[u8]) {
    sink.lock().expect("no thread panics while it holds the lock").extend_from_slice(bytes);
}

fn take(sink: &Mutex<Vec<u8>>) -> Vec<u8> {
    std::mem::take(&mut sink.lock().expect("no thread panics while it holds the lock"))
}

/// Unpacks the archive of /out that comes through a port.
fn unpack(stream: impl Read, destination: &Path) -> Result<()> {
    // Nothing comes if the machine went down first, and tar takes that for a broken archive.
    let mut reader = BufReader::new(stream);
    if reader.fill_buf().map_or(0, <[u8]>::len) == 0 {
        return Ok(());
    }
    let mut tar = Command::new("tar")
        // The guest's clock may be ahead of ours by a moment, which is no news.
        .args(["--extract", "--no-same-owner", "--warning=no-timestamp", "--file", "-", "--directory"])
        .arg(destination)
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run `tar`")?;
    let mut input = tar.stdin.take().context("tar's standard input is a pipe")?;
    let copied = io::copy(&mut reader, &mut input);
    drop(input);
    let status = tar.wait().context("cannot wait for `tar`")?;
    let lost = || format!("what COMMAND left in /out did not arrive whole in {}", destination.display());
    copied.with_context(lost)?;
    ensure!(status.success(), "{}: tar ended with {status}", lost());
    Ok(())
}
