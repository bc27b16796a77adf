//! Files of other formats, by their first bytes: what each is, and what opens it.

/// A format that people have files of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFormat {
    /// What a file of it is.
    pub name: &'static str,
    /// What opens it.
    pub opener: Opener,
}

/// What opens a file of some format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opener {
    /// This command writes what is packed in it to its standard output.
    Unpack(&'static str),
    /// This, in words.
    Other(&'static str),
    /// This, in words, of a format that is text.
    Text(&'static str),
    /// Nothing that would help.
    Nothing,
}

use Opener::{Nothing, Other, Text, Unpack};

const FORMATS: &[(&[u8], &str, Opener)] = &[
    (b"\x1f\x8b", "compressed by gzip", Unpack("zcat FILE")),
    (b"\xfd7zXZ\0", "compressed by xz", Unpack("xzcat FILE")),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", Unpack("zstdcat FILE")),
    (b"BZh", "compressed by bzip2", Unpack("bzcat FILE")),
    (b"\x04\x22\x4d\x18", "compressed by lz4", Unpack("lz4cat FILE")),
    (b"PK\x03\x04", "a zip archive", Unpack("unzip -p FILE")),
    (b"\xff\xff\xff\xff", "a trace in Arrow's format", Other("trapline report FILE")),
    (b"VERSION 20070824", "a trace of mmiotrace", Other("trapline report FILE")),
    (b"PAR1", "a Parquet file", Other("DuckDB, Polars and pandas read it")),
    (b"ARROW1", "an Arrow file, not a stream", Other("pyarrow, Polars and pandas read it")),
    (b"\x0a\x04P\x01h\x01", "a trace in Perfetto's format", Other("https://ui.perfetto.dev opens it")),
    (b"PERFILE2", "a recording of perf", Other("perf report -i FILE")),
    (b"\x17\x08\x44tracing", "a recording of trace-cmd", Other("trace-cmd report FILE")),
    (b"\xc1\x1f\xfc\xc1", "a trace in the Common Trace FileFormat", Other("babeltrace2 its folder")),
    (b"\x0a\x0d\x0d\x0a", "a capture of packets", Other("tshark -r FILE")),
    (b"\xd4\xc3\xb2\xa1", "a capture of packets", Other("tshark -r FILE")),
    (b"{\"kind\":\"header\"", "a trace as JSON Lines", Text("jq reads it; `convert` made it from a trace")),
    (b"{", "JSON", Text("jq reads it")),
    (b"<!DOCTYPE html", "a page", Text("a browser opens it")),
    (b"<?xml", "XML", Text("`trapline registers import` reads CMSIS-SVD and rnndb")),
    (b"# tracer: ", "a trace of ftrace", Text("of that, only the text of the tracer mmiotrace is read")),
    (b"KDUMP   ", "a dump of a kernel's memory", Other("crash VMLINUX FILE, and its command `log`")),
    (b"LPKSHHRH", "a journal", Unpack("journalctl --file FILE -k")),
    (b"SQLite format 3\0", "a database of SQLite", Other("sqlite3 FILE")),
    (b"\x7fELF", "a program or an object file", Nothing),
    (b"\x89PNG", "a picture", Nothing),
    (b"\xff\xd8\xff", "a picture", Nothing),
];

impl FileFormat {
    /// The format of a file that starts with these bytes, if it is known; Trapline's own is one.
    pub fn of(start: &[u8]) -> Option<Self> {
        let &(_, name, opener) = FORMATS.iter().find(|(magic, ..)| start.starts_with(magic))?;
        Some(Self { name, opener })
    }
}

/// What a file is that starts with these bytes and is no trace.
pub(super) fn told(start: &[u8]) -> String {
    match FileFormat::of(start) {
        Some(FileFormat { name, opener: Unpack(command) }) => {
            format!("it is {name} ({command} | trapline report /dev/stdin)")
        }
        Some(FileFormat { name, opener: Other(words) | Text(words) }) => format!("it is {name} ({words})"),
        Some(FileFormat { name, opener: Nothing }) => format!("it is {name}"),
        None => match beginning(start) {
            Some(text) => format!(
                "it is a text that begins `{text}` (a kernel's log: trapline explain < FILE; a register file: --registers FILE)"
            ),
            None => {
                let shown = &start[..start.len().min(8)];
                format!("it starts with the bytes {shown:02x?}")
            }
        },
    }
}

/// The beginning of the first line that says something, if it is text.
fn beginning(start: &[u8]) -> Option<&str> {
    /// Bytes that are looked at and characters that are shown.
    const LONGEST: usize = 256;
    const SHOWN: usize = 40;
    let start = start.trim_ascii_start();
    let line = start[..start.len().min(LONGEST)].split(|byte| matches!(byte, b'\n' | b'\r')).next()?;
    // The last character may be cut.
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&line[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let end = text.char_indices().nth(SHOWN).map_or(text.len(), |(end, _)| end);
    let shown = &text[..end];
    (!shown.is_empty() && !shown.contains(|c: char| c.is_control() && c != '\t')).then_some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_told_by_its_first_line_and_what_is_none_by_its_bytes() {
        assert_eq!(beginning(b"\n\nname = \"x\"\r\nmore"), Some("name = \"x\""));
        assert_eq!(beginning("[ 1.0] \u{e9}t\u{e9}".as_bytes()), Some("[ 1.0] \u{e9}t\u{e9}"));
        let long = "\u{e9}".repeat(200);
        assert_eq!(beginning(&long.as_bytes()[..255]), Some("\u{e9}".repeat(40).as_str()));
        for none in [&b""[..], b"\n \n", b"\x1b[2Jx", b"abc\0def", b"\xff\xfe", b"a\xffb"] {
            assert_eq!(beginning(none), None, "{none:02x?}");
        }
    }
}
