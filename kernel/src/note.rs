//! Records that no trap makes: mappings that come and go, markers.

use crate::cpu;
use crate::page_tables::InterruptsOff;
use crate::platform::Kernel;
use trapline_abi::{Kind, MapPayload, NotWatchedPayload, Record};
use trapline_engine::{Engine, Sink, Trap};

/// Writes a record to the session that watches accesses, if there is one.
fn note(engine: &Engine<Kernel>, record: Record, more: &[Record]) {
    let _off = InterruptsOff::new();
    // SAFETY: interrupts are off.
    unsafe { engine.note(record, more) };
}

pub(crate) fn note_map(engine: &Engine<Kernel>, mapping: u32, map: MapPayload) {
    note(engine, Record { kind: Kind::Map as u8, mapping, payload: map.to_words(), ..Record::EMPTY }, &[]);
}

pub(crate) fn note_unmap(engine: &Engine<Kernel>, mapping: u32) {
    note(engine, Record { kind: Kind::Unmap as u8, mapping, ..Record::EMPTY }, &[]);
}

/// Tells that a mapping could not be watched.
pub(crate) fn note_not_watched(engine: &Engine<Kernel>, mapping: NotWatchedPayload) {
    note(engine, Record { kind: Kind::NotWatched as u8, payload: mapping.to_words(), ..Record::EMPTY }, &[]);
}

/// Bytes of text in one record.
const PART: usize = 32;

/// A marker, as records: so many of them are used.
fn mark(text: &[u8]) -> ([Record; 4], usize) {
    let mut parts = [Record::EMPTY; 4];
    for (part, bytes) in parts.iter_mut().zip(text.chunks(PART)) {
        let mut padded = [0; PART];
        for (to, from) in padded.iter_mut().zip(bytes) {
            *to = *from;
        }
        for (word, bytes) in part.payload.iter_mut().zip(padded.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
    }
    let length = text.len().min(parts.len() * PART);
    let [first, ..] = &mut parts;
    (first.kind, first.width) = (Kind::Mark as u8, length as u8);
    (parts, length.div_ceil(PART).max(1))
}

/// Puts `text` into the trace that `sink` writes, as a marker.
pub(crate) fn note_mark_in(sink: &Sink, engine: &Engine<Kernel>, text: &[u8]) {
    let ([first, rest @ ..], used) = mark(text);
    let _off = InterruptsOff::new();
    // SAFETY: interrupts are off until it is dropped, at the end of this function.
    let trap = unsafe { Trap::begin(cpu::lane()) };
    sink.push(&trap, engine.platform(), first, rest.get(..used - 1).unwrap_or(&[]));
}
