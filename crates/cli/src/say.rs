//! Lines for the person in front of it, on standard error.
//!
//! Not `eprintln!`: that panics if nobody can read standard error any more (a pipe that was closed,
//! a full disk), and a trace has to end well all the same.

use std::fmt;
use std::io::Write;

use crate::style::BAD;

/// Prints a line on standard error, formatted as by `format!`; colours only where they belong.
macro_rules! say {
    ($($text:tt)*) => { $crate::say::line(format_args!($($text)*)) };
}
pub(crate) use say;

/// Prints `text` and a line's end.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    // Nobody is left to be told that it failed.
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// What ends `trapline`, or was in the way of something else: an error, with all it names.
pub(crate) fn error(error: &dyn fmt::Display) {
    // Some of what others say ends with a line's end of its own.
    line(format_args!("{BAD}trapline{BAD:#}: {}", error.to_string().trim_end()));
}
