//! How numbers are written in JSON: one rule, for everything that Trapline writes as JSON.
//!
//! - What a person counts or measures (times, offsets, lengths, counts, ids) is a number. JSON's
//!   numbers lose bits beyond 53 in most readers, so a greater one is a text of its decimal digits.
//! - Addresses, and what hardware held (values of registers, error codes), are texts of hexadecimal
//!   digits, `"0x1f"`; a value of known width has all its digits.
//!
//! The first half is a property of the writer and not of each field, so no field can forget it.
//! Rejected: texts for all, which `jq` would have to turn into numbers before it can compare them.

use std::io::{self, Write};

use serde::Serialize;
use serde::ser::Serializer;
use serde_json::Value;
use serde_json::ser::Formatter;

/// The greatest number that every reader takes as it is.
const GREATEST: u64 = (1 << 53) - 1;

/// A number as text with its digits in hexadecimal.
pub(crate) struct Hex(pub(crate) u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", self.0))
    }
}

/// Writes `object` on a line of its own.
///
/// # Errors
/// Those of `out`.
pub fn write_json_line(mut out: impl Write, object: &impl Serialize) -> io::Result<()> {
    // serde_json keeps the writer's own error inside; `From` takes it out as it was.
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Exact);
    object.serialize(&mut serializer).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

/// Turns the numbers of these fields into hexadecimal texts, however deep they are.
pub(crate) fn hexadecimal(value: &mut Value, fields: &[&str]) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                if fields.contains(&name.as_str()) { digits(value) } else { hexadecimal(value, fields) }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| hexadecimal(value, fields)),
        _ => {}
    }
}

fn digits(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(digits),
        number => {
            if let Some(bits) = number.as_u64() {
                *number = format!("{bits:#x}").into();
            }
        }
    }
}

/// Numbers that most readers would round are texts.
struct Exact;

impl Formatter for Exact {
    fn write_u64<W: ?Sized + Write>(&mut self, writer: &mut W, value: u64) -> io::Result<()> {
        if value > GREATEST { write!(writer, "\"{value}\"") } else { write!(writer, "{value}") }
    }

    fn write_i64<W: ?Sized + Write>(&mut self, writer: &mut W, value: i64) -> io::Result<()> {
        if value.unsigned_abs() > GREATEST {
            write!(writer, "\"{value}\"")
        } else {
            write!(writer, "{value}")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_beyond_53_bits_is_a_text_and_no_other_is() {
        let mut line = Vec::new();
        write_json_line(&mut line, &(GREATEST, GREATEST + 1, u64::MAX, i64::MIN, -1_i64, 7_u8)).unwrap();
        let expected = "[9007199254740991,\"9007199254740992\",\"18446744073709551615\",\"-9223372036854775808\",-1,7]\n";
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    #[test]
    fn only_numbers_of_the_fields_named_become_hexadecimal() {
        let mut value = json!({ "a": [1, [2, "x"]], "b": [{ "a": 255, "c": 3 }], "c": 4 });
        hexadecimal(&mut value, &["a"]);
        assert_eq!(value, json!({ "a": ["0x1", ["0x2", "x"]], "b": [{ "a": "0xff", "c": 3 }], "c": 4 }));
    }
}
