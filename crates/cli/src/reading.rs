//! Reading a trace as it was asked for: named by the register files given, from one marker to
//! another.
//!
//! What can be read is read, and only then is told of what is wrong with the trace
//! ([`Reading::conclude`]). The register files are read once, however many traces are.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use trapline_trace::{
    Cut, Ending, Event, FileError, Header, Mark, Names, Registers, Strays, TraceReader, What,
};

use crate::args::Selection;
use crate::naming::{Loaded, RegistersError, Senseless, load_registers};

/// Markers that a message names.
const MOST: usize = 8;

/// Why a trace is not read, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The trace can't be read.
    #[error(transparent)]
    Trace(#[from] FileError),
    /// The trace ends early.
    #[error("{file}: {cut}; all before that was read")]
    Cut {
        /// The file.
        file: String,
        /// Where and why.
        cut: Cut,
    },
    /// The trace holds what makes no sense.
    #[error("{file}: {strays}; all else was read")]
    Strays {
        /// The file.
        file: String,
        /// What.
        strays: Strays,
    },
    /// There is no such marker, or none behind the beginning.
    #[error("{file} has no marker `{text}`{}; {}", if *.is_behind { " behind that of --begin" } else { "" }, known(.marks))]
    NoMark {
        /// The file.
        file: String,
        /// What was looked for.
        text: String,
        /// Whether only behind another one.
        is_behind: bool,
        /// What is there.
        marks: Vec<String>,
    },
    /// Registers can't be named.
    #[error(transparent)]
    Registers(#[from] Senseless),
}

fn known(marks: &[String]) -> String {
    match marks {
        [] => "it has none at all".into(),
        marks => format!("it has: {}", marks.join(", ")),
    }
}

/// What of traces is looked at, with what names their registers.
pub(crate) struct Looking<'a> {
    selection: &'a Selection,
    loaded: Loaded,
}

impl<'a> Looking<'a> {
    /// Reads the register files that were given, and those that are found by themselves.
    pub(crate) fn new(selection: &'a Selection) -> Result<Self, RegistersError> {
        Ok(Self { selection, loaded: load_registers(&selection.registers)? })
    }

    /// All that names registers.
    pub(crate) fn registers(&self) -> &Registers {
        &self.loaded.registers
    }

    /// Opens a trace.
    pub(crate) fn open(&'a self, file: &'a Path) -> Result<Reading<'a>, FileError> {
        let Self { selection, loaded } = self;
        let reader = TraceReader::open(file)?;
        // Without files that were given, registers are called what they were called when traced.
        let is_given = !selection.registers.is_empty();
        let header = reader.header();
        let names =
            is_given.then(|| Names::new(&header.devices, &loaded.registers, None).with_spaces(header));
        let span = Span::new(selection.begin.as_deref(), selection.end.as_deref());
        Ok(Reading { file, reader, names, wrong: loaded.wrong.clone(), span })
    }
}

/// A trace that is read.
pub(crate) struct Reading<'a> {
    file: &'a Path,
    reader: TraceReader<BufReader<File>>,
    names: Option<Names>,
    /// What makes no sense in the register files given.
    wrong: Option<Senseless>,
    span: Span<'a>,
}

impl Reading<'_> {
    /// What the trace says of itself.
    pub(crate) fn header(&self) -> &Header {
        self.reader.header()
    }

    /// Hands what was asked for of the trace to `each`, and tells how the trace ended.
    pub(crate) fn read<E>(&mut self, mut each: impl FnMut(&Event<'_>) -> Result<(), E>) -> Result<Ending, E> {
        let Self { reader, names, span, .. } = self;
        reader.read(|event| match names {
            _ if !span.admits(event) => Ok(()),
            Some(names) => each(&names.name(event.clone())),
            None => each(event),
        })
    }

    /// Tells what is wrong with a trace that ended so.
    pub(crate) fn conclude(self, ending: Ending) -> Result<(), ReadError> {
        let file = self.file.display().to_string();
        let Span { begin, end, marks, .. } = self.span;
        let is_behind = begin.is_none();
        if let Some(text) = begin.or(end) {
            let is_behind = is_behind && self.span.had_begin;
            return Err(ReadError::NoMark { file, text: text.into(), is_behind, marks });
        }
        match (ending, self.reader.strays()) {
            (Ending::Cut(cut), _) => Err(ReadError::Cut { file, cut }),
            (Ending::Whole(_), Some(strays)) => Err(ReadError::Strays { file, strays: strays.clone() }),
            (Ending::Whole(_), None) => self.wrong.map_or(Ok(()), |wrong| Err(wrong.into())),
        }
    }
}

/// From one marker to another, both included.
struct Span<'a> {
    /// What is still looked for.
    begin: Option<&'a str>,
    end: Option<&'a str>,
    had_begin: bool,
    /// Set behind the end.
    is_over: bool,
    /// The first of the markers that are there, for a message.
    marks: Vec<String>,
}

impl<'a> Span<'a> {
    fn new(begin: Option<&'a str>, end: Option<&'a str>) -> Self {
        Self { begin, end, had_begin: begin.is_some(), is_over: false, marks: Vec::new() }
    }

    /// Whether `event`, the next one of the trace, is within.
    fn admits(&mut self, event: &Event<'_>) -> bool {
        if let What::Mark(Mark { text }) = &event.what {
            let text = text.trim();
            if self.marks.len() < MOST && self.marks.iter().all(|mark| mark != text) {
                self.marks.push(text.into());
            }
            if self.begin.is_some_and(|begin| begin.trim() == text) {
                self.begin = None;
                return true;
            }
            if self.begin.is_none() && self.end.is_some_and(|end| end.trim() == text) {
                self.end = None;
                self.is_over = true;
                return true;
            }
        }
        self.begin.is_none() && !self.is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of these markers are within.
    fn within(begin: Option<&str>, end: Option<&str>, marks: &[&str]) -> Vec<usize> {
        let mut span = Span::new(begin, end);
        let mut admits = |text: &str| {
            let what = What::Mark(Mark { text: text.to_owned().into() });
            span.admits(&Event { time: 0, cpu: 0, pid: 0, tgid: 0, comm: "", what })
        };
        (0..marks.len()).filter(|index| admits(marks[*index])).collect()
    }

    #[test]
    fn a_span_is_from_its_first_marker_to_the_first_end_behind_that() {
        let marks = ["b", "a", "x", "a", "b", "y", "b"];
        assert_eq!(within(None, None, &marks), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(within(Some("a"), Some("b"), &marks), [1, 2, 3, 4]);
        assert_eq!(within(Some("a"), None, &marks), [1, 2, 3, 4, 5, 6]);
        assert_eq!(within(None, Some("x"), &marks), [0, 1, 2]);
        assert_eq!(within(Some("x"), Some("x"), &["x", "1", "x", "2"]), [0, 1, 2]);
        assert_eq!(within(Some("none"), None, &marks), [0; 0]);
    }
}
