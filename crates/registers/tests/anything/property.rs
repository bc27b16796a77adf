//! The property that tests and the fuzz target share.

use trapline_registers::RegisterFile;
use trapline_registers::import::{Format, Options, Source, import};

/// Files as large as that are imported, so that one of them takes no minutes.
const MOST: usize = 64 << 10;

/// Imports `bytes` as every format.
///
/// # Panics
///
/// If what is written is not read back as it was, or not without a warning.
pub(crate) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MOST)]).into_owned();
    let source = Source { name: "it".into(), text, only_fields: false };
    let all = || vec!["*".to_owned()];
    // Files that import themselves, and so on.
    let find = |_: &str, _: &str| Some(source.clone());
    for format in [None, Some(Format::Svd), Some(Format::Header), Some(Format::Rnndb)] {
        for blocks in [Vec::new(), all()] {
            let options = Options { format, blocks, find: Some(&find), ..Options::default() };
            let Ok(imported) = import(std::slice::from_ref(&source), &options) else { continue };
            let written = imported.file.to_string();
            let read = match RegisterFile::parse("it", &written) {
                Ok(read) => read,
                Err(error) => panic!("what was written is no register file: {error}\n{written}"),
            };
            assert!(read.wrong.is_empty(), "{:?} is wrong with\n{written}", read.wrong);
            assert_eq!(read.registers, imported.file.registers, "{written}");
            let lines = u32::try_from(source.text.lines().count()).unwrap_or(u32::MAX);
            for one in &imported.left_out {
                assert!((1..=lines.max(1)).contains(&one.line), "{one} is in no line");
            }
        }
    }
}
