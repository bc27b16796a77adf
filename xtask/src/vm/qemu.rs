//! QEMU's command line, and the process that it becomes.
//!
//! Software emulation always: nested KVM does not work on the usual build machines, and the record
//! of device accesses must not depend on who runs it. Nothing that QEMU adds by itself is in the
//! machine, so that slots of a person's devices are predictable; our one device sits high, at
//! 00:1e.0.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::options::Options;
use super::ports::Listener;
use crate::setup::Kernel;

/// How long QEMU may take to write its record and go, once asked.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Starts the machine. It is killed if xtask goes away.
pub(super) fn start(
    options: &Options,
    kernel: &Kernel,
    initramfs: &Path,
    ports: &[Listener],
) -> Result<Child> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    let accelerator = if options.one_thread { "tcg,thread=single" } else { "tcg,thread=multi" };
    command.args(["-M", "q35", "-accel", accelerator, "-cpu", "max"]);
    command.arg("-smp").arg(options.cpus.to_string());
    command.arg("-m").arg(options.memory.to_string());
    command.arg("-kernel").arg(kernel.image(options.kaslr));
    command.arg("-initrd").arg(initramfs);
    command.arg("-append").arg(kernel_line(options));
    command.args(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
    command.args(["-device", "virtio-serial-pci,addr=0x1e"]);
    command.args(ports.iter().flat_map(Listener::arguments));
    if let Some(record) = &options.record {
        command.args(record_arguments(record));
    }
    command.args(&options.qemu);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().context("cannot run `setpriv` to start QEMU")
}

/// Asks QEMU to go, so that its record is complete on disk, and makes it go if it does not.
pub(super) fn stop(child: &mut Child) -> Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("QEMU has no process number")?;
    // It may have ended by itself just now: that is as good.
    let _ = kill_process(pid, Signal::TERM);
    let deadline = Instant::now() + LAST_WORDS;
    while Instant::now() < deadline {
        if child.try_wait().context("cannot wait for QEMU")?.is_some() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().context("cannot kill QEMU")?;
    child.wait().context("cannot wait for QEMU").map(drop)
}

/// The kernel's command line. Warnings and worse go to the console as they happen, the rest is read
/// at the end: a character on the emulated serial line costs more than most of what it reports. The
/// emulated time stamp counters are one host clock, which the kernel cannot know; it would read the
/// HPET instead, slowly, and fill QEMU's record.
fn kernel_line(options: &Options) -> String {
    let level = if options.verbose { 7 } else { 5 };
    let khz = counter_khz();
    let mut line =
        format!("console=ttyS0 loglevel={level} log_buf_len=1M panic=-1 tsc=reliable tsc_early_khz={khz}");
    if let Some(words) = &options.append {
        line.push(' ');
        line.push_str(words);
    }
    line
}

/// The rate of the host's time stamp counter, which the emulated CPUs show as theirs, in kHz. The
/// kernel would measure it against an emulated timer, and on a busy host has come out wrong by a
/// factor of forty: then its clock runs wild, and its watchdogs bark.
fn counter_khz() -> u128 {
    static KHZ: LazyLock<u128> = LazyLock::new(|| {
        // SAFETY: every x86-64 CPU has the instruction, and user space may execute it unless a task
        // asked otherwise (prctl PR_SET_TSC).
        let now = || (unsafe { core::arch::x86_64::_rdtsc() }, Instant::now());
        let (first, began) = now();
        std::thread::sleep(Duration::from_millis(50));
        let (last, ended) = now();
        u128::from(last.wrapping_sub(first)) * 1_000_000 / (ended - began).as_nanos().max(1)
    });
    *KHZ
}

fn record_arguments(record: &Path) -> [OsString; 4] {
    ["-D".into(), record.into(), "-trace".into(), "memory_region_ops_*".into()]
}
