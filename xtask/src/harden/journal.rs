//! The journal of a campaign, `campaign.jsonl`, as far as the host has to know it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// A line that says that the experiment which has begun was broken off.
const LEFT: &str = "{\"kind\":\"left\"}\n";

/// The journal.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
}

impl Journal {
    /// That of the campaign in the folder `state`.
    pub(super) fn of(state: &Path) -> Self {
        Self { path: state.join("campaign.jsonl") }
    }

    fn text(&self) -> Result<String> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", self.path.display())),
        }
    }

    fn count(&self, kind: &str) -> Result<u64> {
        let start = format!("{{\"kind\":\"{kind}\"");
        Ok(self.text()?.lines().filter(|line| line.starts_with(&start)).count() as u64)
    }

    /// Experiments that are made.
    pub(super) fn made(&self) -> Result<u64> {
        self.count("ended")
    }

    /// Experiments that have begun and were not broken off: a machine that adds none was started in
    /// vain.
    pub(super) fn begun(&self) -> Result<u64> {
        Ok(self.count("begun")?.saturating_sub(self.count("left")?))
    }

    /// Whether the last experiment has been silent for longer than one can be: its machine hangs.
    /// Each waits for its limit six times at most, and for what it ends (a minute in all).
    pub(super) fn is_silent(&self) -> Result<bool> {
        let text = self.text()?;
        let reads = text.lines().rev().find(|line| line.starts_with("{\"kind\":\"reads\""));
        let reads = reads.and_then(|line| serde_json::from_str::<Value>(line).ok());
        let Some(limit) = reads.and_then(|reads| reads["limit"].as_u64()) else { return Ok(false) };
        let longest = Duration::from_millis(limit).saturating_mul(6) + Duration::from_secs(60);
        let age =
            fs::metadata(&self.path).and_then(|about| about.modified()).map(|written| written.elapsed());
        let age = age.with_context(|| format!("cannot read {}", self.path.display()))?;
        // A clock that was set back tells nothing.
        Ok(age.is_ok_and(|age| age > longest))
    }

    /// If an experiment has begun and not ended, notes that it was broken off: it has not brought
    /// down its machine, which was ended.
    pub(super) fn leave(&self) -> Result<()> {
        let text = self.text()?;
        // A line that was cut off is none.
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        let last = text.get(..whole).unwrap_or_default().lines().next_back().unwrap_or_default();
        if !last.starts_with("{\"kind\":\"begun\"") {
            return Ok(());
        }
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().append(true).open(&self.path)?;
            file.set_len(whole as u64)?;
            file.write_all(LEFT.as_bytes())
        };
        write().with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(text: &str) -> (tempfile::TempDir, Journal) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("campaign.jsonl"), text).unwrap();
        let journal = Journal::of(folder.path());
        (folder, journal)
    }

    #[test]
    fn experiments_are_counted_by_their_ends() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Journal::of(folder.path()).made().unwrap(), 0);
        let text = "{\"kind\":\"campaign\"}\n{\"kind\":\"begun\",\"x\":1}\n{\"kind\":\"ended\",\"x\":1}\n{\"kind\":\"begun\"";
        let (_folder, journal) = journal(text);
        assert_eq!(journal.made().unwrap(), 1);
    }

    #[test]
    fn a_machine_hangs_that_is_silent_for_longer_than_an_experiment_can_be() {
        let (folder, journal) = journal("{\"kind\":\"reads\",\"sites\":[],\"limit\":10000}\n");
        let file = OpenOptions::new().append(true).open(folder.path().join("campaign.jsonl")).unwrap();
        let ago = |seconds| std::time::SystemTime::now() - Duration::from_secs(seconds);
        file.set_modified(ago(100)).unwrap();
        assert!(!journal.is_silent().unwrap());
        file.set_modified(ago(130)).unwrap();
        assert!(journal.is_silent().unwrap());
    }

    #[test]
    fn an_experiment_whose_machine_was_ended_is_left_and_counts_for_nothing() {
        let begun = "{\"kind\":\"begun\",\"x\":1}\n";
        let (folder, journal) = journal(&format!("{begun}{{\"kind\":\"ended\"}}\n{begun}{{\"ki"));
        journal.leave().unwrap();
        let text = fs::read_to_string(folder.path().join("campaign.jsonl")).unwrap();
        assert_eq!(text, format!("{begun}{{\"kind\":\"ended\"}}\n{begun}{LEFT}"));
        assert_eq!((journal.made().unwrap(), journal.begun().unwrap()), (1, 1));
        // One that has ended is not left, and neither is one that was left before.
        journal.leave().unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("campaign.jsonl")).unwrap(), text);
    }
}
