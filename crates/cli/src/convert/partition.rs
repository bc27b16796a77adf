//! Many traces as one data set: `FOLDER/machine=…/kernel=…/trace=…/events.parquet`.
//!
//! That is how Hive lays out a table, and what reads Parquet reads such a folder as one table, the
//! keys as columns. What a trace does not tell is Hive's word for null. A folder that is there
//! already gets the new parts, so traces can be added; one that is converted again is replaced.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use trapline_trace::Header;

use super::{ConvertError, convert};
use crate::args::{Convert, ConvertTo};
use crate::output::{Destination, Kind, OutputError};
use crate::reading::Looking;
use crate::say;

/// What stands for a value that is not known (Hive's `hive.exec.default.partition.name`).
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The file with a trace's events.
const EVENTS: &str = "events.parquet";

/// What a value may have in the name of a folder; all else is written as `%2F`, which readers take
/// back.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'+').remove(b'~');

/// Converts each trace into a part. One that can't be read, or not to its end, is told of, and the
/// rest is converted all the same.
pub(super) fn run(args: &Convert, files: &[PathBuf]) -> Result<(), ConvertError> {
    if args.to != ConvertTo::Parquet {
        return Err(ConvertError::OnlyParquet);
    }
    let folder = args.output.as_deref().unwrap_or(Path::new("-"));
    if folder == Path::new("-") || folder.exists() && !folder.is_dir() {
        return Err(ConvertError::NoFolder { path: folder.display().to_string() });
    }
    if let Some((_, file)) = files.iter().enumerate().find(|(at, file)| files[..*at].contains(file)) {
        return Err(ConvertError::Twice { file: file.display().to_string() });
    }
    let looking = Looking::new(&args.selection)?;
    let mut failed = 0;
    for file in files {
        let part = |header: &Header| part(folder, header, file);
        match convert(&looking, file, Kind::Parquet, part) {
            Err(error @ ConvertError::Trace(_)) if files.len() > 1 => {
                say::error(&error);
                failed += 1;
            }
            other => other?,
        }
    }
    let (all, folder) = (files.len(), folder.display().to_string());
    if failed == 0 { Ok(()) } else { Err(ConvertError::Partly { failed, all, folder }) }
}

/// Makes the folder of a trace's part, and tells the file.
fn part(folder: &Path, header: &Header, file: &Path) -> Result<Destination, OutputError> {
    let keys = [
        ("machine", OsStr::new(&header.machine)),
        ("kernel", OsStr::new(&header.kernel)),
        ("trace", file.as_os_str()),
    ];
    let path = keys.iter().fold(folder.to_owned(), |path, (key, value)| path.join(key_and_value(key, value)));
    fs::create_dir_all(&path).map_err(|source| OutputError::Create { path: path.clone(), source })?;
    Ok(Destination::File(path.join(EVENTS)))
}

/// The name of a folder.
fn key_and_value(key: &str, value: &OsStr) -> String {
    match value.as_bytes() {
        [] => format!("{key}={NULL}"),
        bytes => format!("{key}={}", percent_encode(bytes, ESCAPED)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folders_name_holds_any_value() {
        let name = |value: &str| key_and_value("trace", OsStr::new(value));
        assert_eq!(name("6.12.95+deb12-amd64"), "trace=6.12.95+deb12-amd64");
        assert_eq!(name("a/b=c.trace"), "trace=a%2Fb%3Dc.trace");
        assert_eq!(name("../\u{e9} %"), "trace=..%2F%C3%A9%20%25");
        assert_eq!(name(""), "trace=__HIVE_DEFAULT_PARTITION__");
    }
}
