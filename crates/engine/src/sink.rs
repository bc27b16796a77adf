//! Where events go: a session's rings, one per CPU.

use crate::{Lanes, Open, Platform, Task, Trap};
use core::sync::atomic::{AtomicU64, Ordering};
use trapline_abi::{Flags, Kind, Record, TaskPayload};
use trapline_ring::RingWriter;

/// One CPU's ring, and whose task its reader was last told of.
///
/// # Invariants
/// Only the traps of one CPU push to `ring`: those of the CPU at whose index it is in its [`Sink`].
#[derive(Debug)]
pub struct CpuSink {
    ring: RingWriter,
    /// Thread id and name of the task last told of. Changed by this CPU's traps alone; a nested
    /// trap between the loads and the stores costs at most one more task record.
    thread: AtomicU64,
    name: [AtomicU64; 2],
}

/// No thread: thread ids are 32 bits wide.
const NOBODY: u64 = u64::MAX;

impl CpuSink {
    /// A sink that writes to `ring`.
    pub fn new(ring: RingWriter) -> Self {
        Self { ring, thread: AtomicU64::new(NOBODY), name: [AtomicU64::new(0), AtomicU64::new(0)] }
    }

    /// Tells the reader whose records follow; in a trap of this CPU.
    #[cold]
    #[inline(never)]
    fn introduce(&self, _: &Trap, task: Task, time: u64, cpu: u16) {
        let mut name = [0; 16];
        name[..8].copy_from_slice(&task.name[0].to_le_bytes());
        name[8..].copy_from_slice(&task.name[1].to_le_bytes());
        let payload = TaskPayload { name, process: task.process }.to_words();
        let record =
            Record { kind: Kind::Task as u8, time, cpu, task: task.thread, payload, ..Record::EMPTY };
        // SAFETY: the trap is the evidence that this runs on one lane, and it is this CPU's.
        if unsafe { self.ring.push(record, &[]) } {
            self.name[0].store(task.name[0], Ordering::Relaxed);
            self.name[1].store(task.name[1], Ordering::Relaxed);
            self.thread.store(u64::from(task.thread), Ordering::Relaxed);
        }
    }

    #[inline(always)]
    fn knows(&self, thread: u32, name: [u64; 2]) -> bool {
        self.thread.load(Ordering::Relaxed) == u64::from(thread)
            && self.name[0].load(Ordering::Relaxed) == name[0]
            && self.name[1].load(Ordering::Relaxed) == name[1]
    }
}

impl Open for CpuSink {
    type Part = RingWriter;

    fn open(&self) -> &RingWriter {
        &self.ring
    }
}

/// All rings of a session.
#[derive(Debug)]
pub struct Sink {
    lanes: Lanes<CpuSink>,
}

impl Sink {
    /// The rings of all lanes.
    pub fn new(lanes: Lanes<CpuSink>) -> Self {
        Self { lanes }
    }

    /// Writes `record` and the [`Kind::More`] records that belong to it to this CPU's ring, after
    /// telling of its task if that is a new one. Time, CPU and task are filled in here.
    #[inline(always)]
    pub fn push(&self, trap: &Trap, platform: &impl Platform, record: Record, more: &[Record]) {
        if let Some((ring, record)) = self.begin(trap, platform, record) {
            // SAFETY: the trap is the evidence that this runs on one lane, and the ring is its
            // lane's, as `begin` chose it.
            unsafe { ring.push(record, more) };
        }
    }

    /// Writes a hit: `record`, and the words that were fetched ([`RingWriter::push_words`]).
    /// Otherwise as [`Sink::push`]. Returns whether there was room.
    #[inline(always)]
    pub fn push_words(&self, trap: &Trap, platform: &impl Platform, record: Record, words: &[u64]) -> bool {
        // SAFETY: as in `push`.
        let written = |(ring, record): (&RingWriter, _)| unsafe { ring.push_words(record, words) };
        self.begin(trap, platform, record).is_some_and(written)
    }

    /// Completes `record` with time, CPU and task, and tells of the task if that is a new one.
    #[inline(always)]
    fn begin<'t>(
        &'t self,
        trap: &'t Trap,
        platform: &impl Platform,
        record: Record,
    ) -> Option<(&'t RingWriter, Record)> {
        let cpu = self.lanes.of(trap)?;
        let task = platform.task();
        let mut record =
            Record { time: platform.now(), cpu: trap.lane().number() as u16, task: task.thread, ..record };
        if task.interrupt && Kind::from_code(record.kind).is_some_and(Kind::tells_interrupts) {
            record.flags |= Flags::INTERRUPT;
        }
        if !cpu.knows(task.thread, task.name) {
            cpu.introduce(trap, task, record.time, record.cpu);
        }
        Some((&cpu.ring, record))
    }

    /// Records dropped so far, by all CPUs.
    pub fn dropped(&self) -> u64 {
        self.lanes.open().map(RingWriter::dropped).sum()
    }
}
