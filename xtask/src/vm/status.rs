//! What the guest's init reports: that it has booted, how COMMAND ended, what it has sent.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Bytes that came through each port.
pub(super) type Received = Arc<Mutex<BTreeMap<String, u64>>>;

/// What the guest's init reported.
#[derive(Clone, Default)]
pub(super) struct Status {
    /// A CPU without a timer.
    pub(super) dead: Option<usize>,
    pub(super) booted: Option<Instant>,
    pub(super) exited: Option<u8>,
    /// Bytes that it put into each port.
    sent: BTreeMap<String, u64>,
    pub(super) done: bool,
}

/// A port whose bytes are counted as they are taken.
pub(super) struct Counted {
    pub(super) stream: UnixStream,
    pub(super) name: &'static str,
    pub(super) received: Received,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        let mut received = self.received.lock().expect("no thread panics while it holds the lock");
        *received.entry(self.name.to_owned()).or_default() += count as u64;
        Ok(count)
    }
}

/// Notes what the guest's init reports, and when it has said all, tells it as soon as all has
/// arrived: what is still on its way when the machine goes down is lost.
pub(super) fn read(
    mut stream: UnixStream,
    status: &Mutex<Status>,
    received: &Mutex<BTreeMap<String, u64>>,
) -> Result<()> {
    let lines = BufReader::new(stream.try_clone().context("cannot read the guest's status")?).lines();
    // QEMU's end goes away with a reset rather than an end of file if it was killed.
    for line in lines.map_while(Result::ok) {
        let mut status = status.lock().expect("no thread panics while it holds the lock");
        match *line.split(' ').collect::<Vec<_>>() {
            ["exited", code] => status.exited = code.parse().ok(),
            ["sent", port, count] => {
                status.sent.insert(port.to_owned(), count.parse().unwrap_or(u64::MAX));
            }
            ["dead", cpu] => status.dead = cpu.parse().ok(),
            ["booted"] => status.booted = Some(Instant::now()),
            ["done"] => {
                status.done = true;
                let sent = std::mem::take(&mut status.sent);
                drop(status);
                wait_for(&sent, received);
                // A guest that does not listen any more goes down by itself.
                let _ = stream.write_all(b"received\n");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Waits until all that was `sent` is `received`, or nothing has come for a while.
fn wait_for(sent: &BTreeMap<String, u64>, received: &Mutex<BTreeMap<String, u64>>) {
    const PATIENCE: Duration = Duration::from_secs(30);
    let (mut before, mut since) = (BTreeMap::new(), Instant::now());
    loop {
        let now = received.lock().expect("no thread panics while it holds the lock").clone();
        if sent.iter().all(|(port, &count)| now.get(port).copied().unwrap_or(0) >= count) {
            return;
        }
        if now != before {
            (before, since) = (now, Instant::now());
        } else if since.elapsed() > PATIENCE {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
}
