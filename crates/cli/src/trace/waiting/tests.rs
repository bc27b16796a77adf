use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::*;

#[test]
fn while_a_trace_runs_it_is_looked_now_and_then_whether_what_is_traced_is_still_there() {
    let (_wake, woken) = channel();
    let mut looks = 0;
    let deadline = Instant::now() + LOOK_EVERY * 5 / 2;
    Waiting::new(&woken, None).for_the_end(Some(deadline), || looks += 1);
    assert!((1..=2).contains(&looks) && Instant::now() >= deadline, "{looks}");
}

fn sleeper(wake: &Sender<Wake>) -> Traced {
    let command = Traced::start(&["sleep".into(), "30".into()]).unwrap().unwrap();
    let (pid, wake) = (command.pid(), wake.clone());
    thread::spawn(move || {
        crate::trace::command::wait_for_end(pid);
        let _ = wake.send(Wake::CommandEnded);
    });
    command
}

#[test]
fn a_signal_is_passed_to_the_command_whose_end_ends_the_trace() {
    let (wake, woken) = channel();
    let mut command = sleeper(&wake);
    let mut waiting = Waiting::new(&woken, Some(&command));
    wake.send(Wake::Signal(signal_hook::consts::SIGTERM)).unwrap();
    waiting.for_the_end(None, || {});
    assert_eq!(waiting.for_the_command(), None);
    assert_eq!(command.wait().unwrap(), 128 + 15);
}

#[test]
fn a_second_signal_ends_the_trace_without_waiting_for_a_command_that_does_not_listen() {
    let (wake, woken) = channel();
    let command =
        Traced::start(&["sh".into(), "-c".into(), "trap '' TERM; exec sleep 30".into()]).unwrap().unwrap();
    thread::sleep(Duration::from_millis(100));
    let mut waiting = Waiting::new(&woken, Some(&command));
    wake.send(Wake::Signal(signal_hook::consts::SIGTERM)).unwrap();
    wake.send(Wake::Signal(signal_hook::consts::SIGTERM)).unwrap();
    waiting.for_the_end(None, || {});
    assert_eq!(waiting.for_the_command(), Some(signal_hook::consts::SIGTERM));
    command.pass_on(signal_hook::consts::SIGTERM);
    rustix::process::kill_process(command.pid(), rustix::process::Signal::KILL).unwrap();
}

#[test]
fn after_its_time_a_trace_ends_and_the_command_is_left_to_finish() {
    let (wake, woken) = channel();
    let mut command = sleeper(&wake);
    let mut waiting = Waiting::new(&woken, Some(&command));
    waiting.for_the_end(Some(Instant::now() + Duration::from_millis(10)), || {});
    command.pass_on(signal_hook::consts::SIGTERM);
    assert_eq!(waiting.for_the_command(), None);
    assert_eq!(command.wait().unwrap(), 128 + 15);
}

#[test]
fn a_trace_may_be_asked_to_last_longer_than_the_clock_can_tell() {
    // `--duration 300000000000y`, which panicked once everything was armed.
    assert_eq!(deadline(Some(Duration::from_secs(u64::MAX))), None);
    assert_eq!(deadline(None), None);
    assert!(deadline(Some(Duration::from_secs(1))).is_some());
}
