//! All rings of a session, read and merged.

use trapline_abi::Record;

use super::Merge;
use crate::{Event, RingReader};

/// Records taken from one ring in one round.
const BATCH: usize = 4096;

/// Records of one CPU that may wait for other CPUs before the rest is left in its ring: what bounds the memory.
const HELD: usize = 4 * BATCH;

/// Reads and merges all rings of a session.
#[derive(Debug)]
pub struct Collector<'a> {
    rings: Vec<RingReader<'a>>,
    merge: Merge,
    batch: Vec<Record>,
}

impl<'a> Collector<'a> {
    /// For these rings: all those of the session.
    pub fn new(rings: Vec<RingReader<'a>>) -> Self {
        let merge = Merge::new(rings.len());
        Self { rings, merge, batch: Vec::with_capacity(BATCH) }
    }

    /// One round: takes some records from each ring, hands what is in order by now to `sink`. Returns how many records were taken: 0 means that
    /// it is time to sleep a little. What comes late is at most one round behind, so go on calling it when there is nothing.
    ///
    /// # Errors
    /// Those of `sink`, at once; the event it failed at is not handed out again.
    pub fn poll<E>(&mut self, sink: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<usize, E> {
        let taken = self.take();
        self.merge.release(sink)?;
        Ok(taken)
    }

    /// Takes everything that the rings hold and releases everything. Only after the session was stopped, when nobody writes any more.
    ///
    /// # Errors
    /// As for [`poll`](Self::poll).
    pub fn finish<E>(&mut self, mut sink: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        loop {
            while self.poll(&mut sink)? > 0 {}
            // A slot that was never finished may hold back one CPU and so fill up the others: releasing all makes room for what is left.
            self.merge.finish(&mut sink)?;
            if self.take() == 0 {
                return Ok(());
            }
        }
    }

    /// The merge and what it counted.
    pub fn merge(&self) -> &Merge {
        &self.merge
    }

    /// Records that found a ring full so far.
    pub fn dropped(&self) -> u64 {
        self.rings.iter().map(RingReader::dropped).sum()
    }

    fn take(&mut self) -> usize {
        let mut taken = 0;
        for (index, ring) in self.rings.iter_mut().enumerate() {
            self.batch.clear();
            let room = HELD.saturating_sub(self.merge.held(index)).min(BATCH);
            taken += ring.drain(room, &mut self.batch);
            self.merge.push(index, &self.batch, !ring.is_behind());
        }
        taken
    }
}
