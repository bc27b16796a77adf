//! The lines of a text that may be anything: bytes that are no text, lines without an end.

use std::io::{self, BufRead, Read as _};

/// Bytes of a line that are kept; a marker is as long as a page at most.
const LONGEST: u64 = 8192;

/// What comes next.
pub(super) enum Next<'l> {
    /// A line, without its end.
    Line(&'l str),
    /// A line that has no end: the file was cut off there.
    Partial,
    /// Nothing.
    End,
}

/// Reads lines.
pub(super) struct Lines<R> {
    reader: R,
    bytes: Vec<u8>,
    /// What is read instead of a line's bytes if those are no text.
    text: String,
    offset: u64,
    /// Set once the last line turned out to have no end.
    is_partial: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, bytes: Vec::new(), text: String::new(), offset: 0, is_partial: false }
    }

    /// Bytes read.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line; of one that is too long, its beginning.
    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        self.bytes.clear();
        self.offset += (&mut self.reader).take(LONGEST).read_until(b'\n', &mut self.bytes)? as u64;
        let has_end = self.bytes.last() == Some(&b'\n')
            || self.bytes.len() as u64 == LONGEST && self.pass_over_the_rest()?;
        self.is_partial |= !has_end && !self.bytes.is_empty();
        if !has_end {
            return Ok(if self.is_partial { Next::Partial } else { Next::End });
        }
        let line = self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes);
        Ok(Next::Line(match std::str::from_utf8(line) {
            Ok(text) => text,
            Err(_) => {
                self.text = String::from_utf8_lossy(line).into_owned();
                &self.text
            }
        }))
    }

    /// Passes over the rest of a line; whether that has an end.
    fn pass_over_the_rest(&mut self) -> io::Result<bool> {
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(false);
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.reader.consume(used);
            self.offset += used as u64;
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<String> {
        let (mut lines, mut found) = (Lines::new(bytes), Vec::new());
        loop {
            match lines.next().unwrap() {
                Next::Line(line) => found.push(line.to_owned()),
                end => {
                    if matches!(end, Next::Partial) {
                        // It stays so, however often it is asked.
                        assert!(matches!(lines.next().unwrap(), Next::Partial));
                        found.push("cut".into());
                    }
                    assert_eq!(lines.offset(), bytes.len() as u64);
                    return found;
                }
            }
        }
    }

    #[test]
    fn lines_are_read_to_the_end_and_one_without_an_end_is_told() {
        assert_eq!(read(b""), [""; 0]);
        assert_eq!(read(b"a\n\nb\n"), ["a", "", "b"]);
        assert_eq!(read(b"a\nb"), ["a", "cut"]);
        assert_eq!(read(b"\xff\n"), ["\u{fffd}"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_one_line_still() {
        let long = LONGEST as usize;
        for length in [long - 1, long, long + 1, 3 * long] {
            let text = [vec![b'x'; length], b"\nnext\n".to_vec()].concat();
            let found = read(&text);
            assert_eq!((found.len(), found[1].as_str()), (2, "next"), "{length}");
            assert_eq!(found[0].len(), length.min(long), "{length}");
        }
    }
}
