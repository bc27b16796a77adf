//! Arrow's messages on their way to Arrow's reader.
//!
//! A compressed buffer begins with how long it will be, and Arrow's reader believes it: it asks for
//! so much memory at once, and the process is aborted if there is not as much. So each message is
//! looked at before: one whose buffers say that they hold more than any of ours is damaged, and an
//! error, as all else that is damaged.

use std::io::{self, Cursor, Read};

use arrow_ipc::{MessageHeader, RecordBatch, root_as_message};

/// Bytes that a message may take, and that all its buffers together may: the batches that are
/// written have less than a quarter (see [`FileWriter`](super::FileWriter)).
const MOST: u64 = 64 << 20;

/// Passes on what a reader gives, message by message.
pub(super) struct Messages<R> {
    reader: R,
    /// What was read of a message to look at it, and is to be passed on.
    ahead: Cursor<Vec<u8>>,
    /// Bytes of its body that are passed on as they come, since they are not compressed.
    body: u64,
}

impl<R: Read> Messages<R> {
    /// Of what `reader` gives.
    pub(super) fn new(reader: R) -> Self {
        Self { reader, ahead: Cursor::default(), body: 0 }
    }

    /// Reads the next message, as far as it is to be looked at. Of what is no message, or ends
    /// early, there is what there is: Arrow's reader says what is wrong with it.
    fn next(&mut self) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.ahead).into_inner();
        bytes.clear();
        self.body = self.look_at(&mut bytes)?;
        self.ahead = Cursor::new(bytes);
        Ok(())
    }

    /// Reads a message to the end of `bytes`; how much of its body was left.
    fn look_at(&mut self, bytes: &mut Vec<u8>) -> io::Result<u64> {
        /// What every message starts with.
        const CONTINUATION: u32 = u32::MAX;
        let Some(mut length) = self.word(bytes)? else { return Ok(0) };
        if length == CONTINUATION {
            let Some(next) = self.word(bytes)? else { return Ok(0) };
            length = next;
        }
        let start = bytes.len();
        if !self.take(u64::from(length), bytes)? {
            return Ok(0);
        }
        let Ok(message) = root_as_message(&bytes[start..]) else { return Ok(0) };
        let Ok(body) = u64::try_from(message.bodyLength()) else { return Ok(0) };
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => {
                message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data())
            }
            _ => None,
        };
        let Some(batch) = batch.filter(|batch| batch.compression().is_some()) else { return Ok(body) };
        let mut compressed = Vec::new();
        if self.take(body, &mut compressed)? && uncompressed(&batch, &compressed) > MOST {
            return Err(too_much());
        }
        bytes.append(&mut compressed);
        Ok(0)
    }

    /// Reads four bytes to the end of `bytes`; `None` if there are no more.
    fn word(&mut self, bytes: &mut Vec<u8>) -> io::Result<Option<u32>> {
        Ok(if self.take(4, bytes)? { bytes.last_chunk().copied().map(u32::from_le_bytes) } else { None })
    }

    /// Reads so much to the end of `bytes`; whether it was there.
    fn take(&mut self, length: u64, bytes: &mut Vec<u8>) -> io::Result<bool> {
        if length > MOST {
            return Err(too_much());
        }
        Ok(self.reader.by_ref().take(length).read_to_end(bytes)? as u64 == length)
    }
}

impl<R: Read> Read for Messages<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.ahead.position() == self.ahead.get_ref().len() as u64 && self.body == 0 {
            self.next()?;
        }
        match self.ahead.read(buffer)? {
            0 => {}
            count => return Ok(count),
        }
        let count = self.reader.by_ref().take(self.body).read(buffer)?;
        self.body = if count == 0 { 0 } else { self.body - count as u64 };
        Ok(count)
    }
}

/// How long the buffers of a batch say that they will be.
fn uncompressed(batch: &RecordBatch<'_>, body: &[u8]) -> u64 {
    let length = |offset: i64| {
        let bytes = body.get(usize::try_from(offset).ok()?..)?.first_chunk()?;
        // -1 says that this one is as it is.
        u64::try_from(i64::from_le_bytes(*bytes)).ok()
    };
    let buffers = batch.buffers().into_iter().flatten().filter(|buffer| buffer.length() > 0);
    buffers.filter_map(|buffer| length(buffer.offset())).fold(0, u64::saturating_add)
}

fn too_much() -> io::Error {
    let most = MOST >> 20;
    io::Error::new(io::ErrorKind::InvalidData, format!("a message says that it has more than {most} MiB"))
}
