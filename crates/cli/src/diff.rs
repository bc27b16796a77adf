//! `trapline diff`: what differs between two traces of the same work.

use std::convert::Infallible;
use std::path::Path;

use anstream::ColorChoice;
use glob::Pattern;
use trapline_trace::{Ending, Event, Pair, Side, What};

use crate::args::{Diff, DiffFormat};
use crate::naming::RegistersError;
use crate::output::{self, OutputError};
use crate::reading::{Looking, ReadError};

/// Why two traces are not compared, or not all of them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiffError {
    /// A trace can't be read, or not all of it.
    #[error(transparent)]
    Trace(#[from] ReadError),
    /// Registers can't be named.
    #[error(transparent)]
    Registers(#[from] RegistersError),
    /// A trace has nothing to compare.
    #[error("{file} has no accesses to registers{}: there is nothing to compare", if *.is_part { " in what was asked for of it" } else { "" })]
    NoAccesses {
        /// The trace.
        file: String,
        /// Whether only a part of it was looked at, or registers were ignored.
        is_part: bool,
    },
    /// They are of different devices.
    #[error("the two traces have no device in common: {first} accesses {}, {second} accesses {}; compare traces of one device", list(.of_first), list(.of_second))]
    NoCommonDevice {
        /// The first trace.
        first: String,
        /// Its devices.
        of_first: Vec<String>,
        /// The second trace.
        second: String,
        /// Its devices.
        of_second: Vec<String>,
    },
    /// It can't be printed.
    #[error(transparent)]
    Output(#[from] OutputError),
}

fn list(devices: &[String]) -> String {
    if devices.is_empty() { "addresses outside of every device".into() } else { devices.join(", ") }
}

/// Prints what differs; whether nothing does. What can be read of traces that were cut off is
/// compared, and then they are told of.
pub(crate) fn run(args: &Diff) -> Result<bool, DiffError> {
    let looking = Looking::new(&args.selection)?;
    let open = |file| looking.open(file).map_err(ReadError::from);
    let (mut first, mut second) = (open(&args.first)?, open(&args.second)?);
    let mut pair = Pair::new(first.header(), second.header());
    let mut endings = Vec::new();
    for (side, reading) in [(Side::A, &mut first), (Side::B, &mut second)] {
        let Ok(ending) = reading.read(|event| {
            if !is_ignored(&args.ignore, event) {
                pair.add(side, event);
            }
            Ok::<(), Infallible>(())
        });
        if let Ending::Whole(totals) = &ending {
            pair.end(side, totals);
        }
        endings.push(ending);
    }
    let concluded =
        [first, second].into_iter().zip(endings).try_for_each(|(reading, ending)| reading.conclude(ending));
    // A marker that is not there is why there is nothing to compare.
    if let Err(error @ ReadError::NoMark { .. }) = concluded {
        return Err(error.into());
    }
    check(args, &pair)?;
    let diff = trapline_trace::Diff::new(&pair);
    let names = [name(&args.first), name(&args.second)];
    let names = [names[0].as_str(), names[1].as_str()];
    output::print(|out| match args.format {
        DiffFormat::Human => {
            let colour = out.current_choice() != ColorChoice::Never;
            diff.write(out, names, colour, args.rows)
        }
        DiffFormat::Json => diff.write_json(out, names),
    })?;
    concluded?;
    Ok(diff.differences().is_empty())
}

/// Refuses to compare what can't be.
fn check(args: &Diff, pair: &Pair) -> Result<(), DiffError> {
    let selection = &args.selection;
    let is_part = selection.begin.is_some() || selection.end.is_some() || !args.ignore.is_empty();
    for (side, file) in [(Side::A, &args.first), (Side::B, &args.second)] {
        if pair.accesses(side) == 0 {
            return Err(DiffError::NoAccesses { file: name(file), is_part });
        }
    }
    if pair.have_common_ground() {
        return Ok(());
    }
    let devices = |side| pair.devices(side).into_iter().map(ToOwned::to_owned).collect();
    Err(DiffError::NoCommonDevice {
        first: name(&args.first),
        of_first: devices(Side::A),
        second: name(&args.second),
        of_second: devices(Side::B),
    })
}

fn name(file: &Path) -> String {
    file.display().to_string()
}

/// Whether an access is to a register that is left out.
fn is_ignored(ignored: &[Pattern], event: &Event<'_>) -> bool {
    let What::Access(access) = &event.what else { return false };
    let Some(place) = access.place.filter(|_| !ignored.is_empty()) else { return false };
    let offset = format!("{}+{:05x}", place.bar, place.offset);
    ignored
        .iter()
        .any(|pattern| place.register.is_some_and(|name| pattern.matches(name)) || pattern.matches(&offset))
}
