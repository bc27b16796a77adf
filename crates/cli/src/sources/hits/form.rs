//! Types of what is fetched, as a person writes them.

use trapline_trace::Format;

/// Elements of an array at most, as in the kernel (`MAX_ARRAY_LEN`).
pub(super) const MAX_ARRAY: u32 = 64;

/// A type as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// The text.
    pub(super) text: String,
    /// Of one element.
    pub(super) kind: FormKind,
    /// Elements, if it is an array.
    pub(super) count: Option<u32>,
}

/// A type of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FormKind {
    /// A number of so many bytes, which reads so.
    Number(u8, Format),
    /// A zero-terminated string.
    Text {
        /// In user space whatever the address.
        user: bool,
    },
    /// The name that a `struct dentry`, or the one of a `struct file`, has.
    Name {
        /// Whether it is a file's.
        of_file: bool,
    },
}

impl Form {
    /// Some bits of a number of so many bytes.
    pub(super) fn bits(width: u8, offset: u8, bytes: u8) -> Self {
        let kind = FormKind::Number(bytes, Format::Bits { width, offset });
        Self { text: format!("b{width}@{offset}/{}", 8 * bytes), kind, count: None }
    }

    /// So many of this type.
    pub(super) fn times(self, count: u32) -> Self {
        Self { text: format!("{}[{count}]", self.text), count: Some(count), ..self }
    }

    /// The type called `name`, one of those that need no further words.
    pub(super) fn simple(name: &str) -> Option<Self> {
        let kind = match name {
            "char" => FormKind::Number(1, Format::Char),
            "symbol" | "symstr" => FormKind::Number(8, Format::Symbol),
            "string" => FormKind::Text { user: false },
            "ustring" => FormKind::Text { user: true },
            "%pd" => FormKind::Name { of_file: false },
            "%pD" => FormKind::Name { of_file: true },
            _ => {
                let bytes = match name.get(1..)? {
                    "8" => 1,
                    "16" => 2,
                    "32" => 4,
                    "64" => 8,
                    _ => return None,
                };
                let format = match name.get(..1)? {
                    "u" => Format::Unsigned(bytes),
                    "s" => Format::Signed(bytes),
                    "x" => Format::Hex(bytes),
                    _ => return None,
                };
                FormKind::Number(bytes, format)
            }
        };
        Some(Self { text: name.into(), kind, count: None })
    }

    /// Whether a type may be written with `c`.
    pub(super) fn holds(c: char) -> bool {
        c.is_ascii_alphanumeric() || matches!(c, '@' | '/' | '[' | ']' | '%')
    }

    /// The type as written; what is wrong with it, if it is none.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let unknown = || {
            format!(
                "there is no type `{text}`: expected u8, u16, u32, u64, the same with s (signed) or x (hexadecimal), char, string, ustring, \
                 symbol, symstr, %pd or %pD for the name of a dentry or a file, or bits as b3@4/32; and [N] behind it for an array"
            )
        };
        let (base, count) = match text.split_once('[') {
            None => (text, None),
            Some((base, rest)) => {
                let count = rest.strip_suffix(']').and_then(|count| count.parse().ok());
                let wrong = || format!("an array is TYPE[N] with N from 1 to {MAX_ARRAY}");
                (base, Some(count.filter(|count| (1..=MAX_ARRAY).contains(count)).ok_or_else(wrong)?))
            }
        };
        let form = match Self::simple(base) {
            Some(form) => form,
            None if base.starts_with('b') && base.contains(['@', '/']) => parse_bits(base)?,
            None => return Err(unknown()),
        };
        match (count, form.kind) {
            (Some(count), FormKind::Number(8, Format::Symbol)) => {
                return Err(format!("an array of symbols can't be; fetch x64[{count}] instead"));
            }
            (Some(_), FormKind::Name { .. }) => {
                return Err("this is the name of one: an array of them can't be".into());
            }
            _ => {}
        }
        Ok(Self { text: text.into(), count, ..form })
    }
}

/// `b<width>@<offset>/<container>`, all in bits.
fn parse_bits(text: &str) -> Result<Form, String> {
    let parse = || {
        let (width, rest) = text.strip_prefix('b')?.split_once('@')?;
        let (offset, container) = rest.split_once('/')?;
        Some((width.parse::<u8>().ok()?, offset.parse::<u8>().ok()?, container.parse::<u8>().ok()?))
    };
    let (width, offset, container) = parse().ok_or_else(|| {
        format!("`{text}` is no bit field: expected bWIDTH@OFFSET/CONTAINER in bits, as in b3@4/32")
    })?;
    if !matches!(container, 8 | 16 | 32 | 64) {
        return Err(format!("the container of `{text}` has {container} bits; it must have 8, 16, 32 or 64"));
    }
    if width == 0 || u16::from(width) + u16::from(offset) > u16::from(container) {
        return Err(format!(
            "{width} bits from bit {offset} on do not lie in a container of {container} bits"
        ));
    }
    Ok(Form { text: text.into(), ..Form::bits(width, offset, container / 8) })
}
