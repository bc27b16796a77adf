//! The rings, and their reader.

use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use trapline_abi::{RECORD_SIZE, Record, RingControl, stamp};
use trapline_engine::{CpuSink, RingWriter};

const WORDS: usize = RECORD_SIZE / 8;

/// One core's ring.
pub(crate) struct Ring {
    control: Box<RingControl>,
    records: Box<[UnsafeCell<Record>]>,
    tail: u64,
}

// SAFETY: a slot is read only once its stamp says that the writer is done with it, and written again only after the tail has passed it.
unsafe impl Send for Ring {}

impl Ring {
    pub(crate) fn new(capacity: usize) -> Self {
        let control = RingControl {
            version: trapline_abi::ABI_VERSION.into(),
            cpu: 0.into(),
            capacity: (capacity as u64).into(),
            head: 0.into(),
            dropped: 0.into(),
            padding: [0; 4],
            tail: 0.into(),
        };
        let records = (0..capacity).map(|_| UnsafeCell::new(Record::EMPTY)).collect();
        Self { control: Box::new(control), records, tail: 0 }
    }

    /// The writing end.
    pub(crate) fn sink(&self) -> CpuSink {
        let records = NonNull::from(&self.records[0]).cast();
        // SAFETY: the machine drops its sinks before its rings, and reads records as the protocol says.
        let writer =
            unsafe { RingWriter::new(NonNull::from(&*self.control), records, self.records.len() as u64) };
        CpuSink::new(writer.expect("the capacity is a power of two, 8 or more"))
    }

    /// Records that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.control.dropped.load(Ordering::Relaxed)
    }

    /// Takes out what is complete, at most `most` records.
    pub(crate) fn drain(&mut self, most: usize) -> Vec<Record> {
        let mut taken = Vec::new();
        while taken.len() < most {
            let slot = self.records[self.tail as usize % self.records.len()].get();
            // SAFETY: a slot is eight words, and its first one is only accessed as an atomic once the ring is in use.
            let first = unsafe { &*slot.cast::<AtomicU64>() };
            if first.load(Ordering::Acquire) != stamp(self.tail) {
                break;
            }
            let words: [u64; WORDS] = core::array::from_fn(|word| {
                // SAFETY: complete, as its stamp says, and not written again before the tail moves on.
                if word == 0 { stamp(self.tail) } else { unsafe { slot.cast::<u64>().add(word).read() } }
            });
            // SAFETY: a record is these eight words, whatever their values.
            taken.push(unsafe { std::mem::transmute::<[u64; WORDS], Record>(words) });
            self.tail += 1;
        }
        self.control.tail.store(self.tail, Ordering::Release);
        taken
    }
}
