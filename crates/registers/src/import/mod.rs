//! Register files from what others have written registers down in.
//!
//! ```text
//! texts --Format::of--> svd | header | rnndb --> Output --tidy--> Imported: a RegisterFile
//! ```
//!
//! An importer takes what it understands. What it doesn't is listed with file, line and reason
//! ([`LeftOut`]): a vendor's file of ten thousand registers has some that make no sense, and a C
//! header is full of what is no register. What is written must be read back without a warning, so
//! what a register file can't hold is left out here, by the same checks.
//!
//! Formats are told by content, since `.xml` and `.h` say little.

mod format;
mod header;
mod output;
mod place;
mod rnndb;
mod svd;
mod tree;

pub use format::Format;
pub use output::LeftOut;

use output::Output;

use crate::{Match, RegisterFile};

/// A file to import.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name, for messages.
    pub name: String,
    /// What it holds.
    pub text: String,
    /// Whether it only tells of fields, and nothing in it is a register.
    pub only_fields: bool,
}

/// What finds a file that another one imports.
pub type Find<'a> = &'a dyn Fn(&str, &str) -> Option<Source>;

/// What a person says about an import.
#[derive(Default)]
pub struct Options<'a> {
    /// Of what format the files are; told by content if not given.
    pub format: Option<Format>,
    /// Which blocks are taken, `*` for all: an SVD's peripherals, rnndb's domains.
    pub blocks: Vec<String>,
    /// The address at which the BAR begins; what lies below is left out.
    pub base: Option<u64>,
    /// BAR that all registers are put in, 0 to 5.
    pub bar: u8,
    /// For which devices the file is.
    pub matches: Vec<Match>,
    /// What it describes; the first file's own title if not given.
    pub name: Option<String>,
    /// Which names are registers; whatever looks like one if not given.
    pub only: Option<&'a dyn Fn(&str) -> bool>,
    /// For which variants of rnndb's files; all if none is given.
    pub variants: Vec<String>,
    /// A file that another imports, by how that names it and that one's name.
    pub find: Option<Find<'a>>,
    /// Elements of a C macro's array whose length the header does not tell; 8 if not given.
    pub elements: Option<u32>,
}

/// What came of it.
#[derive(Debug)]
pub struct Imported {
    /// The register file. Nothing in it is wrong.
    pub file: RegisterFile,
    /// What was left out, in the order of the files.
    pub left_out: Vec<LeftOut>,
    /// Arrays whose length no file tells, so that it was assumed.
    pub assumed: usize,
    /// Registers that lie on others, which the file says is meant.
    pub on_others: usize,
}

/// Why nothing is imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is no format that is known.
    #[error("{file} is {found}; expected CMSIS-SVD, rnndb's XML, or a C header with #define lines")]
    Format {
        /// The file.
        file: String,
        /// What it is.
        found: String,
    },
    /// It is not well-formed.
    #[error("{file} is no well-formed XML: {source}")]
    Xml {
        /// The file.
        file: String,
        /// What is wrong, with line and column.
        source: roxmltree::Error,
    },
    /// It has several blocks of registers, and none was chosen.
    #[error("{file} has {} {kind}s, of which {option} NAME takes one: {}", names.len(), names.join(", "))]
    Choose {
        /// The file.
        file: String,
        /// What they are: `peripheral`.
        kind: &'static str,
        /// What chooses.
        option: &'static str,
        /// What there is.
        names: Vec<String>,
    },
    /// It has no such block.
    #[error("{file} has no {kind} {wanted:?}; it has {}", names.join(", "))]
    NoBlock {
        /// The file.
        file: String,
        /// What it would be: `peripheral`.
        kind: &'static str,
        /// What was asked for.
        wanted: String,
        /// What there is.
        names: Vec<String>,
    },
    /// There is no such variant.
    #[error("there is no variant {wanted:?}; there are {}", if names.is_empty() { "none".into() } else { names.join(", ") })]
    NoVariant {
        /// What was asked for.
        wanted: String,
        /// What there is.
        names: Vec<String>,
    },
    /// Nothing in it is a register.
    #[error("no register was found in {files}{}", first.as_ref().map(|first| format!("; the first of what was left out: {first}")).unwrap_or_default())]
    Nothing {
        /// The files.
        files: String,
        /// What was left out first.
        first: Option<LeftOut>,
    },
}

/// Makes one register file of `sources`.
///
/// # Errors
/// If one is of no format that is known, or is not well-formed; if a choice is needed; if nothing
/// in them is a register.
pub fn import(sources: &[Source], options: &Options<'_>) -> Result<Imported, ImportError> {
    let mut output = Output::default();
    let mut formats = Vec::new();
    for source in sources {
        formats.push(match options.format {
            Some(format) => format,
            None => Format::of(source)?,
        });
    }
    let of = |format| sources.iter().zip(&formats).filter(move |(_, one)| **one == format);
    for (source, _) in of(Format::Svd) {
        svd::import(source, options, &mut output)?;
    }
    let headers: Vec<&Source> = of(Format::Header).map(|(source, _)| source).collect();
    if !headers.is_empty() {
        header::import(&headers, options, &mut output);
    }
    let databases: Vec<&Source> = of(Format::Rnndb).map(|(source, _)| source).collect();
    if !databases.is_empty() {
        rnndb::import(&databases, options, &mut output)?;
    }
    let imported = output.finish(sources, options);
    if imported.file.registers.is_empty() {
        let files: Vec<&str> = sources.iter().map(|source| &*source.name).collect();
        let first = imported.left_out.into_iter().next();
        return Err(ImportError::Nothing { files: files.join(", "), first });
    }
    Ok(imported)
}
