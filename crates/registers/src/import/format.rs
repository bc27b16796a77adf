//! Of what format a file is.

use std::fmt;

use super::tree::Tree;
use super::{ImportError, Source};

/// A format that registers are written down in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// CMSIS-SVD: XML of peripherals.
    Svd,
    /// C, of a driver: `#define`, `enum`, `REG_FIELD()`.
    Header,
    /// XML of envytools, Mesa and `drm/msm`.
    Rnndb,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Svd => "CMSIS-SVD",
            Self::Header => "a C header",
            Self::Rnndb => "rnndb's XML",
        })
    }
}

impl Format {
    /// By what it holds.
    ///
    /// # Errors
    /// If it is none that is known.
    pub fn of(source: &Source) -> Result<Self, ImportError> {
        let unknown = |found: String| Err(ImportError::Format { file: source.name.clone(), found });
        let text = source.text.trim_start_matches('\u{feff}').trim_start();
        if text.is_empty() {
            return unknown("empty".into());
        }
        if text.contains('\0') {
            return unknown("binary".into());
        }
        if text.starts_with('<') {
            let tree = Tree::parse(source)?;
            let root = tree.root().tag_name().name().to_owned();
            return match &*root {
                "device" => Ok(Self::Svd),
                "database" => Ok(Self::Rnndb),
                _ => unknown(format!("XML of another kind, with <{root}> outermost")),
            };
        }
        let is_c = |line: &str| {
            let line = line.trim_start();
            let directive = line.strip_prefix('#').map(str::trim_start);
            directive.is_some_and(|word| word.starts_with("define"))
                || line.starts_with("enum ")
                || line.contains("REG_FIELD(")
                || line.starts_with("REG32(")
        };
        if text.lines().any(is_c) {
            return Ok(Self::Header);
        }
        unknown("text of another kind".into())
    }
}
