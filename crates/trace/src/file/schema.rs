//! The columns of a trace file.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{RecordBatch, new_null_array};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema};

use crate::Header;
use crate::kinds::hit::{argument_list, stack_list};

/// Version of the columns, of the kinds of rows and of the metadata.
pub(crate) const FORMAT: &str = "10";

/// The version before, which is read too. It has the same columns, and no rows `lifecycle`.
pub(crate) const FORMAT_9: &str = "9";

/// The version before that, which is read too. It has no rows `dma` and `log` either.
pub(crate) const FORMAT_8: &str = "8";

/// The version before those, which is read too. It has no rows `port` either.
pub(crate) const FORMAT_7: &str = "7";

/// The version before those, which is read too. None of its columns is compressed, and it has no
/// rows `config` either.
pub(crate) const FORMAT_6: &str = "6";

/// The version before those, which is read too. It has no rows `interrupt` either.
pub(crate) const FORMAT_5: &str = "5";

/// The version before those, which is read too. It has no columns `change` and `original`.
pub(crate) const FORMAT_4: &str = "4";

/// The version before those, which is read too. It has the columns of format 4; its header does not
/// tell what was asked for, and it has a marker where later ones have a row `not_watched`.
pub(crate) const FORMAT_3: &str = "3";

/// The versions that are read, for a message.
pub(crate) const FORMATS_READ: &str = "3 to 10";

/// Metadata key of [`FORMAT`].
pub(crate) const FORMAT_KEY: &str = "trapline.format";

/// Metadata key of the header, as JSON.
pub(crate) const HEADER_KEY: &str = "trapline.header";

/// Kind of the last row; the others are events.
pub(crate) const END: &str = "end";

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
    pub(crate) const CHANGE: usize = 29;
    pub(crate) const ORIGINAL: usize = 30;
    pub(crate) const TEXT: usize = 31;
}

/// The columns, which all kinds of events share; what of a kind is in which, its module in
/// [`kinds`](crate::kinds) says. `amount` is a mapping's bytes, the records lost, the nanoseconds
/// that a window was open, a buffer's bytes, the bytes missing of a line of the kernel log, or an
/// error number; `address` is a port's number too; `value` is the low 8 bytes, and `value_wide` has
/// all bytes, lowest address first, of a value that is wider. Of rows `dma`, `value` is the address
/// by which the device finds it, `value_wide` what was recorded of the data, `offset` which piece
/// of a scatter list it is and `mapping` how many that has. Of rows `lifecycle`, `offset` is the
/// power state that the device is in, `mapping` the one that is asked for and `value` what the call
/// returned, of which the sign is extended. `text` is the last, so that a file
/// whose last bytes are lost has lost its end record: columns behind it could be all zeros, as what
/// a machine's crash leaves is.
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
        ("arguments", argument_list(), true),
        ("stack", stack_list(), true),
        ("took_ns", UInt64, true),
        ("change", few(), true),
        ("original", UInt64, true),
        ("text", Utf8, true),
    ];
    columns.map(|(name, data, null)| Field::new(name, data, null)).into_iter().collect()
}

/// The columns of formats 3 and 4.
pub(super) fn fields_4() -> Fields {
    let added = [column::CHANGE, column::ORIGINAL];
    let fields = fields();
    fields
        .iter()
        .enumerate()
        .filter(|(place, _)| !added.contains(place))
        .map(|(_, field)| field.clone())
        .collect()
}

/// A batch of format 3 or 4 with the columns that have been added since, empty.
///
/// # Errors
/// If it has other columns than its format has.
pub(super) fn from_4(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut columns = batch.columns().to_vec();
    let fields = fields();
    for place in [column::CHANGE, column::ORIGINAL] {
        if place > columns.len() {
            return Err(ArrowError::SchemaError("there are columns missing".into()));
        }
        columns.insert(place, new_null_array(fields[place].data_type(), batch.num_rows()));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// The schema of a trace with `header`.
pub(crate) fn schema(header: &Header) -> Result<Arc<Schema>, serde_json::Error> {
    let header = serde_json::to_string(header)?;
    let metadata =
        HashMap::from([(FORMAT_KEY.to_owned(), FORMAT.to_owned()), (HEADER_KEY.to_owned(), header)]);
    Ok(Arc::new(Schema::new_with_metadata(fields(), metadata)))
}
