//! The module `trapline_target`: functions whose calls, arguments and code are known.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Instructions of a row, and bytes of each.
const ROW: u64 = 64;
const INSTRUCTION: u64 = 4;
/// How long the kernel may take to undo a jump: it does that by a worker, some time after the probe
/// has gone.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Target {
    folder: PathBuf,
    /// `trapline_target_hot()`.
    pub(crate) hot: u64,
    /// An instruction inside of it: `rdi` the number, `rsi` the place, `rdx` the text.
    pub(crate) inside: u64,
    /// `trapline_target_place`: its value, then its text.
    pub(crate) place: u64,
    /// The first instructions of the rows.
    rows: Vec<u64>,
}

impl Target {
    pub(crate) fn open() -> Result<Self> {
        let folder = Path::new("/sys/kernel/debug/trapline_target").to_owned();
        let places = read(&folder.join("places"))?;
        let numbers: Vec<u64> = places
            .split_whitespace()
            .filter_map(|w| u64::from_str_radix(w.strip_prefix("0x")?, 16).ok())
            .collect();
        let [hot, inside, place, ref rows @ ..] = numbers[..] else {
            anyhow::bail!("trapline_target says: {places}")
        };
        Ok(Self { folder, hot, inside, place, rows: rows.to_vec() })
    }

    /// The instructions of the rows.
    pub(crate) fn row(&self) -> impl Iterator<Item = u64> {
        self.rows.iter().flat_map(|first| (0..ROW).map(move |number| first + number * INSTRUCTION))
    }

    /// The code of the functions.
    pub(crate) fn text(&self) -> Result<String> {
        read(&self.folder.join("text"))
    }

    /// Waits until the code is `text`.
    pub(crate) fn becomes(&self, text: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            let now = self.text()?;
            let Some((was, is)) = text.lines().zip(now.lines()).find(|(was, is)| was != is) else {
                return Ok(());
            };
            ensure!(begun.elapsed() < PATIENCE, "the code is not as it was: {is}, not {was}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Calls all functions `count` times, from this thread.
    pub(crate) fn run(&self, count: u64) -> Result<()> {
        fs::write(self.folder.join("run"), count.to_string()).context("trapline_target's run")
    }

    /// Has Trapline's allocations for this process refused, but for the next `granted`, while the
    /// result lives.
    pub(crate) fn refuse(&self, granted: u32) -> Result<File> {
        let mut file = OpenOptions::new().write(true).open(self.folder.join("refuse"))?;
        file.write_all(granted.to_string().as_bytes()).context("trapline_target's refuse")?;
        Ok(file)
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
