//! The columns of a trace file.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema};
use trapline_abi::Way;

use crate::Header;

/// Version of the columns and of the metadata: readers refuse another one.
pub(crate) const FORMAT: &str = "3";

/// Metadata key of [`FORMAT`].
pub(crate) const FORMAT_KEY: &str = "trapline.format";

/// Metadata key of the header, as JSON.
pub(crate) const HEADER_KEY: &str = "trapline.header";

/// Kinds of rows.
pub(crate) mod kind {
    pub(crate) const ACCESS: &str = "access";
    pub(crate) const MAP: &str = "map";
    pub(crate) const UNMAP: &str = "unmap";
    pub(crate) const MARK: &str = "mark";
    pub(crate) const LOST: &str = "lost";
    pub(crate) const WINDOW: &str = "window";
    pub(crate) const HIT: &str = "hit";
    pub(crate) const FAULT: &str = "fault";
    pub(crate) const END: &str = "end";
}

/// Places of the columns.
pub(crate) mod column {
    pub(crate) const TIME: usize = 0;
    pub(crate) const CPU: usize = 1;
    pub(crate) const KIND: usize = 2;
    pub(crate) const OP: usize = 3;
    pub(crate) const PID: usize = 4;
    pub(crate) const TGID: usize = 5;
    pub(crate) const COMM: usize = 6;
    pub(crate) const DEVICE: usize = 7;
    pub(crate) const BAR: usize = 8;
    pub(crate) const OFFSET: usize = 9;
    pub(crate) const REGISTER: usize = 10;
    pub(crate) const PHYSICAL: usize = 11;
    pub(crate) const ADDRESS: usize = 12;
    pub(crate) const WIDTH: usize = 13;
    pub(crate) const VALUE: usize = 14;
    pub(crate) const VALUE_WIDE: usize = 15;
    pub(crate) const MAPPING: usize = 16;
    pub(crate) const FLAGS: usize = 17;
    pub(crate) const WAY: usize = 18;
    pub(crate) const IP: usize = 19;
    pub(crate) const FUNCTION: usize = 20;
    pub(crate) const FUNCTION_OFFSET: usize = 21;
    pub(crate) const MODULE: usize = 22;
    pub(crate) const AMOUNT: usize = 23;
    pub(crate) const PROBE: usize = 24;
    pub(crate) const MOMENT: usize = 25;
    pub(crate) const ARGUMENTS: usize = 26;
    pub(crate) const STACK: usize = 27;
    pub(crate) const TOOK: usize = 28;
    pub(crate) const TEXT: usize = 29;
}

/// The columns. `amount` is a mapping's bytes, the records lost, or the nanoseconds that a window was open; `value` is the low 8 bytes, and
/// `value_wide` has all bytes, lowest address first, of a value that is wider. `text` is the last, so that
/// a file whose last bytes are lost has lost its end record: columns behind it could be all zeros, as what a machine's crash leaves is.
pub(crate) fn fields() -> Fields {
    use DataType::{Binary, UInt8, UInt16, UInt32, UInt64, Utf8};
    let text = |key| DataType::Dictionary(Box::new(key), Box::new(Utf8));
    let few = || text(DataType::Int8);
    let many = || text(DataType::Int32);
    let columns = [
        ("time_ns", UInt64, false),
        ("cpu", UInt16, false),
        ("kind", few(), false),
        ("op", few(), true),
        ("pid", UInt32, false),
        ("tgid", UInt32, false),
        ("comm", many(), false),
        ("device", many(), true),
        ("bar", UInt8, true),
        ("offset", UInt64, true),
        ("register", many(), true),
        ("physical", UInt64, true),
        ("address", UInt64, true),
        ("width", UInt8, true),
        ("value", UInt64, true),
        ("value_wide", Binary, true),
        ("mapping", UInt32, true),
        ("flags", UInt8, true),
        ("way", few(), true),
        ("ip", UInt64, true),
        ("function", many(), true),
        ("function_offset", UInt64, true),
        ("module", many(), true),
        ("amount", UInt64, true),
        ("probe", many(), true),
        ("moment", few(), true),
        ("arguments", list(argument_fields()), true),
        ("stack", list(frame_fields()), true),
        ("took_ns", UInt64, true),
        ("text", Utf8, true),
    ];
    columns.map(|(name, data, null)| Field::new(name, data, null)).into_iter().collect()
}

/// What a list of `fields` is.
fn list(fields: Fields) -> DataType {
    DataType::List(Arc::new(item(fields)))
}

/// One of a list of `fields`.
pub(crate) fn item(fields: Fields) -> Field {
    Field::new("item", DataType::Struct(fields), false)
}

/// An argument of a hit. `value` is null if it could not be fetched, `number` too if it is no number; that of a signed one is its 64 bits.
pub(crate) fn argument_fields() -> Fields {
    use DataType::{UInt64, Utf8};
    let columns =
        [("name", Utf8, false), ("type", Utf8, false), ("value", Utf8, true), ("number", UInt64, true)];
    columns.map(|(name, data, null)| Field::new(name, data, null)).into_iter().collect()
}

/// A place on a stack.
pub(crate) fn frame_fields() -> Fields {
    use DataType::{UInt64, Utf8};
    let columns = [
        ("ip", UInt64, false),
        ("function", Utf8, true),
        ("function_offset", UInt64, true),
        ("module", Utf8, true),
    ];
    columns.map(|(name, data, null)| Field::new(name, data, null)).into_iter().collect()
}

/// The schema of a trace with `header`.
pub(crate) fn schema(header: &Header) -> Result<Arc<Schema>, serde_json::Error> {
    let header = serde_json::to_string(header)?;
    let metadata =
        HashMap::from([(FORMAT_KEY.to_owned(), FORMAT.to_owned()), (HEADER_KEY.to_owned(), header)]);
    Ok(Arc::new(Schema::new_with_metadata(fields(), metadata)))
}

/// Name of a way in files and in JSON.
pub(crate) fn way_name(way: Way) -> &'static str {
    match way {
        Way::Emulate => "emulate",
        Way::Redirect => "redirect",
        Way::Step => "step",
    }
}

/// The way with this name.
pub(crate) fn way_from_name(name: &str) -> Option<Way> {
    [Way::Emulate, Way::Redirect, Way::Step].into_iter().find(|way| way_name(*way) == name)
}
