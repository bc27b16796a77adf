//! What is kept of a campaign: a folder with a file of JSON lines, to which a line is added, and
//! written to the disk, before and after each experiment. A campaign that was interrupted goes on
//! from there; one that brought down the kernel finds there what was under way.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::campaign::{About, Campaign, Run};
use super::experiment::{Experiment, Site};
use super::log::{of_experiment, shortened};
use super::outcome::{Outcome, died};

/// The file's name.
const FILE: &str = "campaign.jsonl";

/// What the kernel wrote last, if somebody has kept that: a serial console's log, say.
const LAST_WORDS: &str = "last-words";

/// Bytes of its end that are read.
const WORDS: u64 = 4 << 20;

/// Why there is no state.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// A file can't be read or written.
    #[error("can't {what} {}: {source}", path.display())]
    File {
        /// What can't be done.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is none of ours.
    #[error("{}, line {line}, is none of a campaign: {source}; name another folder with --state", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// There is no campaign in it.
    #[error("{} holds no campaign: expected a folder that `trapline harden` has made", path.display())]
    Nothing {
        /// The folder.
        path: PathBuf,
    },
    /// Another process goes on with it.
    #[error("a campaign is under way in {}: let it end, or name another folder with --state", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// It is of something else.
    #[error("{} is of another campaign: {what} was {was} there and is {is} here; name another folder with --state", path.display())]
    Other {
        /// The folder.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// There.
        was: String,
        /// Here.
        is: String,
    },
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    /// What it is about; the first.
    Campaign(About),
    /// What the driver reads.
    Reads { sites: Vec<Site>, limit: u64 },
    /// An experiment begins, in the boot with this id.
    Begun { experiment: Experiment, boot: String },
    /// It was broken off, and is made again.
    Left,
    /// It has ended.
    Ended { experiment: Experiment, boot: String, outcome: Outcome },
}

/// The file, to be added to.
#[derive(Debug)]
pub(crate) struct State {
    folder: PathBuf,
    file: File,
    /// Where the line of an experiment that has begun and not ended is.
    open: Option<u64>,
}

/// What the file holds.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The campaign.
    pub campaign: Campaign,
    /// How long COMMAND may take.
    pub limit: Duration,
    /// The boot in which an outcome asked for a restart, if one did last.
    pub worn: Option<String>,
    /// An experiment that has not ended, and the boot that it was in.
    pub open: Option<(Experiment, String)>,
}

/// Reads what is kept in `folder`; `None` if there is nothing.
pub(crate) fn read(folder: &Path) -> Result<Option<Kept>, StateError> {
    let path = folder.join(FILE);
    let text = match fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StateError::File { what: "read", path, source }),
    };
    replay(&text, &path)
}

fn replay(text: &str, path: &Path) -> Result<Option<Kept>, StateError> {
    let (mut about, mut kept) = (None, None::<Kept>);
    for (number, line) in text.lines().enumerate() {
        let line = match serde_json::from_str(line) {
            Ok(line) => line,
            // The last one may have been cut off as the machine went down.
            Err(_) if number + 1 == text.lines().count() && !text.ends_with('\n') => break,
            Err(source) => return Err(StateError::Line { path: path.into(), line: number + 1, source }),
        };
        match (line, &mut kept) {
            (Line::Campaign(read), _) => about = Some(read),
            (Line::Reads { sites, limit }, _) => {
                let Some(about) = about.clone() else { continue };
                let limit = Duration::from_millis(limit);
                kept = Some(Kept { campaign: Campaign::new(about, sites), limit, worn: None, open: None });
            }
            (Line::Begun { experiment, boot }, Some(kept)) => kept.open = Some((experiment, boot)),
            (Line::Left, Some(kept)) => kept.open = None,
            (Line::Ended { experiment, boot, outcome }, Some(kept)) => {
                kept.open = None;
                kept.worn = outcome.restart.then_some(boot);
                kept.campaign.push(Run { experiment, outcome });
            }
            (_, None) => {}
        }
    }
    Ok(kept)
}

/// Whether what is kept is of what is asked for.
pub(crate) fn is_of(kept: &About, asked: &About, folder: &Path) -> Result<(), StateError> {
    let words = |words: &[String]| {
        shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
    };
    let files = |about: &About| {
        if about.registers.is_empty() { "none".to_owned() } else { words(&about.registers) }
    };
    for (what, was, is) in [
        ("the device", kept.device.clone(), asked.device.clone()),
        ("its ids", kept.ids.clone(), asked.ids.clone()),
        ("the driver", kept.driver.clone(), asked.driver.clone()),
        ("the kernel", kept.kernel.clone(), asked.kernel.clone()),
        ("COMMAND", words(&kept.command), words(&asked.command)),
        ("--seed", kept.seed.to_string(), asked.seed.to_string()),
        ("--registers", files(kept), files(asked)),
    ] {
        if was != is {
            return Err(StateError::Other { path: folder.into(), what, was, is });
        }
    }
    Ok(())
}

impl State {
    /// Opens the folder, makes it if it is not there, and keeps others from it.
    pub(crate) fn open(folder: &Path) -> Result<Self, StateError> {
        let wrong = |what, path: &Path| {
            let path = path.to_owned();
            move |source| StateError::File { what, path, source }
        };
        fs::create_dir_all(folder).map_err(wrong("make", folder))?;
        let path = folder.join(FILE);
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(wrong("write", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::Busy { path: folder.into() }),
            // A file system without locks.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(wrong("lock", &path)(error)),
        }
        Ok(Self { folder: folder.into(), file, open: None })
    }

    /// Takes away a last line that was cut off: it must not be the beginning of the next one.
    pub(crate) fn trim(&mut self) -> Result<(), StateError> {
        let path = self.folder.join(FILE);
        let whole = fs::read(&path)
            .map_or(0, |text| text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
        self.file.set_len(whole as u64).map_err(|source| StateError::File { what: "write", path, source })
    }

    fn length(&self) -> u64 {
        self.file.metadata().map_or(0, |about| about.len())
    }

    fn add(&mut self, line: &Line) -> Result<(), StateError> {
        let wrong = |source| StateError::File { what: "write", path: self.folder.join(FILE), source };
        let mut text = serde_json::to_string(line).map_err(|error| wrong(error.into()))?;
        text.push('\n');
        let before = self.length();
        self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_all()).map_err(|error| {
            // Half a line is none, and what is written next must not stand behind it.
            let _ = self.file.set_len(before);
            wrong(error)
        })
    }

    /// A campaign begins; each run of COMMAND may take `limit`.
    pub(crate) fn begin(&mut self, about: &About, sites: &[Site], limit: Duration) -> Result<(), StateError> {
        self.add(&Line::Campaign(about.clone()))?;
        self.add(&Line::Reads { sites: sites.to_vec(), limit: limit.as_millis() as u64 })
    }

    /// An experiment begins.
    pub(crate) fn begun(&mut self, experiment: &Experiment, boot: &str) -> Result<(), StateError> {
        let at = self.length();
        self.add(&Line::Begun { experiment: experiment.clone(), boot: boot.into() })?;
        self.open = Some(at);
        Ok(())
    }

    /// It has ended.
    pub(crate) fn ended(&mut self, run: &Run, boot: &str) -> Result<(), StateError> {
        let Run { experiment, outcome } = run.clone();
        self.add(&Line::Ended { experiment, boot: boot.into(), outcome })?;
        self.open = None;
        Ok(())
    }

    /// If an experiment has begun and not ended, notes that it was broken off: when the machine is
    /// started anew, that must not look as if the experiment had brought it down.
    pub(crate) fn left(&mut self) -> Result<(), StateError> {
        let Some(at) = self.open.take() else { return Ok(()) };
        self.add(&Line::Left).or_else(|error| {
            // On a full disk its beginning goes; that needs no room.
            self.file.set_len(at).map_err(|_| error)
        })
    }

    /// If an experiment brought down the kernel of another boot than `boot`, notes that. `last`
    /// gives the function that was lied to last.
    pub(crate) fn settle(
        &mut self,
        kept: &mut Kept,
        boot: &str,
        last: impl FnOnce() -> Option<String>,
    ) -> Result<(), StateError> {
        let path = self.folder.join(LAST_WORDS);
        let words = end_of(&path, WORDS);
        // Words of one death are not those of the next.
        let _ = fs::remove_file(&path);
        let Some((experiment, of)) = kept.open.take() else { return Ok(()) };
        if of == boot {
            // It was killed: what it had begun is made again, and not in doubt after a restart.
            return self.add(&Line::Left);
        }
        let number = kept.campaign.runs().len() + 1;
        let log = shortened(of_experiment(&words, number));
        let mut outcome = died(&log, &kept.campaign.about.module, kept.limit);
        outcome.function = outcome.function.or_else(last);
        let run = Run { experiment, outcome };
        self.ended(&run, &of)?;
        kept.campaign.push(run);
        Ok(())
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes away what was made of a campaign that has not begun.
    pub(crate) fn discard(&self) {
        // What is left is in nobody's way: a campaign may begin there.
        for file in [FILE, "said", "stage", "first.trace"] {
            let _ = fs::remove_file(self.folder.join(file));
        }
        // Not if it holds anything else.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// At most `most` bytes of a file's end; nothing if there is none.
fn end_of(path: &Path, most: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests;
