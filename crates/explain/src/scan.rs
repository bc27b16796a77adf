//! Small readers of text.

/// What stands behind `mark` in `text`.
pub(crate) fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.split_once(mark).map(|(_, rest)| rest)
}

/// `text` from `mark` on.
pub(crate) fn from<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.find(mark).and_then(|at| text.get(at..))
}

/// The hexadecimal number that `text` begins with, with `0x` or without.
pub(crate) fn hex(text: &str) -> Option<u64> {
    let text = text.trim_start();
    let text = text.strip_prefix("0x").unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(text.len());
    u64::from_str_radix(text.get(..end)?, 16).ok()
}

/// The decimal number that `text` begins with.
pub(crate) fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

/// Whether `text` is `count` hexadecimal digits and nothing else.
pub(crate) fn is_hex(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether `text` is a time of day, `12:34:56` and perhaps a fraction or a zone.
pub(crate) fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits =
        |from: usize| bytes.get(from..from + 2).is_some_and(|two| two.iter().all(u8::is_ascii_digit));
    digits(0) && digits(3) && digits(6) && bytes.get(2) == Some(&b':') && bytes.get(5) == Some(&b':')
}

/// An address as it was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Printed {
    /// Its value.
    pub(crate) value: u64,
    /// Whether it is whole for certain: 64-bit kernels print 16 digits, or `0x` and something
    /// behind the number. One of 8 digits and more is whole if the kernel is no 64-bit x86's.
    pub(crate) is_whole: bool,
}

impl Printed {
    /// The address that `text` begins with; `None` for fewer than 8 digits, but behind `0x`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let text = text.trim_start();
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let count = digits.bytes().take_while(u8::is_ascii_hexdigit).count();
        let followed = digits.len() > count && digits.len() < text.len();
        let is_whole = count == 16 || followed;
        (is_whole || (8..16).contains(&count)).then(|| Some(Self { value: hex(text)?, is_whole }))?
    }
}
