//! COMMAND: started once everything is armed, waited for, passed signals that it did not get
//! itself.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpgrp, kill_process, pidfd_open, waitid,
};

/// Why COMMAND, or its end, can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// It can't be started.
    #[error("can't run {command}: {source}")]
    Start {
        /// Its name.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// Its status can't be had.
    #[error("can't tell how the command ended: {source}")]
    Lost {
        /// Why.
        source: io::Error,
    },
}

/// The running COMMAND.
#[derive(Debug)]
pub(super) struct Traced {
    child: Child,
}

/// Looks whether COMMAND can be started, before anything is done for its sake.
pub(super) fn check(words: &[OsString]) -> Result<(), CommandError> {
    use rustix::io::Errno;
    let Some(name) = words.first() else { return Ok(()) };
    if which::which(name).is_ok() {
        return Ok(());
    }
    let is_there = name.to_string_lossy().contains('/') && Path::new(name).exists();
    let source = if is_there { Errno::ACCESS } else { Errno::NOENT };
    Err(cannot_run(name, source.into()))
}

fn cannot_run(name: &OsStr, source: io::Error) -> CommandError {
    CommandError::Start { command: name.to_string_lossy().into_owned(), source }
}

impl Traced {
    /// Starts it; `None` if there are no words.
    pub(super) fn start(words: &[OsString]) -> Result<Option<Self>, CommandError> {
        let [name, arguments @ ..] = words else { return Ok(None) };
        let child = Command::new(name).args(arguments).spawn().map_err(|source| cannot_run(name, source))?;
        Ok(Some(Self { child }))
    }

    /// Its process id, valid until [`wait`](Self::wait).
    pub(super) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits for it and takes it off the process table; its status as a shell tells it.
    pub(super) fn wait(&mut self) -> Result<u8, CommandError> {
        self.child.wait().map(status).map_err(|source| CommandError::Lost { source })
    }

    /// Passes `signal` on.
    ///
    /// Not if it is an interrupt from our terminal: that went to COMMAND as well, and a second one
    /// makes many programs give up their cleaning up.
    pub(super) fn pass_on(&self, signal: i32) {
        let from_terminal = signal == signal_hook::consts::SIGINT && is_foreground();
        if let (false, Some(signal)) = (from_terminal, Signal::from_named_raw(signal)) {
            // It may have ended meanwhile, and then there is nobody to tell.
            let _ = kill_process(self.pid(), signal);
        }
    }
}

/// Waits until process `pid`, a child of ours, has ended, and leaves it on the process table.
///
/// So that its id stays its own until [`Traced::wait`], and a signal can't go to a stranger.
pub(super) fn wait_for_end(pid: Pid) {
    while let Err(rustix::io::Errno::INTR) =
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
    {}
}

/// Waits until process `pid`, whosever child it is, has ended; returns whether it has, which may
/// not be to be known.
pub(super) fn wait_for_stranger(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return true };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => loop {
            match poll(&mut [PollFd::new(&process, PollFlags::IN)], None) {
                Err(rustix::io::Errno::INTR) => {}
                polled => return polled.is_ok(),
            }
        },
        Err(error) => error == rustix::io::Errno::SRCH,
    }
}

/// Whether our process group has the terminal, so that Ctrl-C went to all of it.
fn is_foreground() -> bool {
    let terminal = std::fs::File::open("/dev/tty");
    terminal.is_ok_and(|terminal| rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp()))
}

/// As shells tell it: 128 and the signal's number for one that a signal ended.
fn status(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str) -> u8 {
        Traced::start(&["sh".into(), "-c".into(), script.into()]).unwrap().unwrap().wait().unwrap()
    }

    #[test]
    fn the_status_is_the_commands_own_or_128_and_the_signal() {
        assert_eq!(run("exit 0"), 0);
        assert_eq!(run("exit 7"), 7);
        assert_eq!(run("kill -TERM $$"), 128 + 15);
    }

    #[test]
    fn a_command_that_is_not_there_is_told_from_one_that_can_not_run() {
        use io::ErrorKind::{NotFound, PermissionDenied};
        for (command, kind) in [
            ("/nonexistent/command", NotFound),
            ("no-such-command-anywhere", NotFound),
            ("/etc/passwd", PermissionDenied),
        ] {
            let words = [command.into()];
            let (started, checked) = (Traced::start(&words).unwrap_err(), check(&words).unwrap_err());
            for error in [&started, &checked] {
                let CommandError::Start { source, .. } = error else { panic!("{error}") };
                assert_eq!(source.kind(), kind, "{command}");
            }
            assert_eq!(started.to_string(), checked.to_string(), "told in the same words");
        }
        assert!(check(&["sh".into()]).is_ok());
        assert!(check(&[]).is_ok());
    }

    #[test]
    fn the_end_of_a_process_is_waited_for_and_one_that_has_ended_is_not() {
        let mut traced = Traced::start(&["sh".into(), "-c".into(), "read line < /dev/null; exit 3".into()])
            .unwrap()
            .unwrap();
        let pid = traced.pid().as_raw_nonzero().get().cast_unsigned();
        assert!(wait_for_stranger(pid));
        assert_eq!(traced.wait().unwrap(), 3);
        assert!(wait_for_stranger(pid));
        assert!(wait_for_stranger(u32::MAX));
    }

    #[test]
    fn a_signal_is_passed_on_even_when_the_command_was_seen_to_end() {
        let mut traced = Traced::start(&["sleep".into(), "30".into()]).unwrap().unwrap();
        traced.pass_on(signal_hook::consts::SIGTERM);
        wait_for_end(traced.pid());
        traced.pass_on(signal_hook::consts::SIGTERM);
        assert_eq!(traced.wait().unwrap(), 128 + 15);
    }
}
