//! Events become the rows of a batch.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, PrimitiveBuilder, StringBuilder, StringDictionaryBuilder};
use arrow_array::types::{Int8Type, Int32Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, Schema};
use trapline_abi::Flags;

use super::schema::END;
use crate::kinds::hit::{ArgumentsBuilder, StackBuilder};
use crate::{Argument, Frame, Place, Site, Totals};

/// What an event has beside time, CPU, task and kind; by default nothing. What of it goes where is
/// its kind's to say.
#[derive(Default)]
pub(crate) struct Cells<'a> {
    pub(crate) op: Option<&'static str>,
    pub(crate) place: Option<Place<'a>>,
    /// Whose it is, of what has no place in the device.
    pub(crate) device: Option<&'a str>,
    /// Where in something else of the device than a BAR.
    pub(crate) offset: Option<u64>,
    pub(crate) register: Option<&'a str>,
    pub(crate) physical: Option<u64>,
    pub(crate) address: Option<u64>,
    pub(crate) width: Option<u8>,
    pub(crate) value: Option<u64>,
    pub(crate) value_wide: Option<&'a [u8]>,
    pub(crate) mapping: Option<u32>,
    pub(crate) flags: Option<Flags>,
    pub(crate) way: Option<&'static str>,
    pub(crate) ip: Option<u64>,
    pub(crate) site: Option<Site<'a>>,
    pub(crate) amount: Option<u64>,
    pub(crate) took: Option<u64>,
    pub(crate) change: Option<&'static str>,
    pub(crate) original: Option<u64>,
    pub(crate) text: Option<&'a str>,
    pub(crate) probe: Option<&'a str>,
    pub(crate) moment: Option<&'static str>,
    pub(crate) arguments: Option<&'a [Argument<'a>]>,
    pub(crate) stack: Option<&'a [Frame<'a>]>,
}

/// A batch that is being filled. The texts of the dictionaries are kept from batch to batch, so
/// that their numbers stay the same.
#[derive(Default)]
pub(crate) struct Rows {
    length: usize,
    time: PrimitiveBuilder<UInt64Type>,
    cpu: PrimitiveBuilder<UInt16Type>,
    kind: StringDictionaryBuilder<Int8Type>,
    op: StringDictionaryBuilder<Int8Type>,
    pid: PrimitiveBuilder<UInt32Type>,
    tgid: PrimitiveBuilder<UInt32Type>,
    comm: StringDictionaryBuilder<Int32Type>,
    device: StringDictionaryBuilder<Int32Type>,
    bar: PrimitiveBuilder<UInt8Type>,
    offset: PrimitiveBuilder<UInt64Type>,
    register: StringDictionaryBuilder<Int32Type>,
    physical: PrimitiveBuilder<UInt64Type>,
    address: PrimitiveBuilder<UInt64Type>,
    width: PrimitiveBuilder<UInt8Type>,
    value: PrimitiveBuilder<UInt64Type>,
    value_wide: BinaryBuilder,
    mapping: PrimitiveBuilder<UInt32Type>,
    flags: PrimitiveBuilder<UInt8Type>,
    way: StringDictionaryBuilder<Int8Type>,
    ip: PrimitiveBuilder<UInt64Type>,
    function: StringDictionaryBuilder<Int32Type>,
    function_offset: PrimitiveBuilder<UInt64Type>,
    module: StringDictionaryBuilder<Int32Type>,
    amount: PrimitiveBuilder<UInt64Type>,
    took: PrimitiveBuilder<UInt64Type>,
    change: StringDictionaryBuilder<Int8Type>,
    original: PrimitiveBuilder<UInt64Type>,
    text: StringBuilder,
    probe: StringDictionaryBuilder<Int32Type>,
    moment: StringDictionaryBuilder<Int8Type>,
    arguments: ArgumentsBuilder,
    stack: StackBuilder,
}

impl Rows {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Adds the last row, with `time` that of the last event.
    pub(crate) fn end(&mut self, time: u64, totals: &Totals) -> serde_json::Result<()> {
        let text = serde_json::to_string(totals)?;
        self.row(time, 0, (0, 0, ""), END, &Cells { text: Some(&text), ..Cells::default() });
        Ok(())
    }

    /// Adds the row of an event of this kind with these cells; the task is its thread, its process
    /// and its name.
    pub(crate) fn row(
        &mut self,
        time: u64,
        cpu: u16,
        (pid, tgid, comm): (u32, u32, &str),
        kind: &str,
        cells: &Cells<'_>,
    ) {
        self.length += 1;
        self.time.append_value(time);
        self.cpu.append_value(cpu);
        self.kind.append_value(kind);
        self.op.append_option(cells.op);
        self.pid.append_value(pid);
        self.tgid.append_value(tgid);
        self.comm.append_value(comm);
        self.device.append_option(cells.place.map(|place| place.device).or(cells.device));
        self.bar.append_option(cells.place.map(|place| place.bar));
        self.offset.append_option(cells.place.map(|place| place.offset).or(cells.offset));
        self.register.append_option(cells.place.and_then(|place| place.register).or(cells.register));
        self.physical.append_option(cells.physical);
        self.address.append_option(cells.address);
        self.width.append_option(cells.width);
        self.value.append_option(cells.value);
        self.value_wide.append_option(cells.value_wide);
        self.mapping.append_option(cells.mapping);
        self.flags.append_option(cells.flags.map(|flags| flags.0));
        self.way.append_option(cells.way);
        self.ip.append_option(cells.ip);
        self.function.append_option(cells.site.map(|site| site.function));
        self.function_offset.append_option(cells.site.map(|site| site.offset));
        self.module.append_option(cells.site.and_then(|site| site.module));
        self.amount.append_option(cells.amount);
        self.probe.append_option(cells.probe);
        self.moment.append_option(cells.moment);
        self.arguments.append(cells.arguments);
        self.stack.append(cells.stack);
        self.took.append_option(cells.took);
        self.change.append_option(cells.change);
        self.original.append_option(cells.original);
        self.text.append_option(cells.text);
    }

    /// The rows so far as a batch; the next one starts empty.
    pub(crate) fn finish(&mut self, schema: &Arc<Schema>) -> Result<RecordBatch, ArrowError> {
        self.length = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.time.finish()),
            Arc::new(self.cpu.finish()),
            Arc::new(self.kind.finish_preserve_values()),
            Arc::new(self.op.finish_preserve_values()),
            Arc::new(self.pid.finish()),
            Arc::new(self.tgid.finish()),
            Arc::new(self.comm.finish_preserve_values()),
            Arc::new(self.device.finish_preserve_values()),
            Arc::new(self.bar.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.register.finish_preserve_values()),
            Arc::new(self.physical.finish()),
            Arc::new(self.address.finish()),
            Arc::new(self.width.finish()),
            Arc::new(self.value.finish()),
            Arc::new(self.value_wide.finish()),
            Arc::new(self.mapping.finish()),
            Arc::new(self.flags.finish()),
            Arc::new(self.way.finish_preserve_values()),
            Arc::new(self.ip.finish()),
            Arc::new(self.function.finish_preserve_values()),
            Arc::new(self.function_offset.finish()),
            Arc::new(self.module.finish_preserve_values()),
            Arc::new(self.amount.finish()),
            Arc::new(self.probe.finish_preserve_values()),
            Arc::new(self.moment.finish_preserve_values()),
            Arc::new(self.arguments.0.finish()),
            Arc::new(self.stack.0.finish()),
            Arc::new(self.took.finish()),
            Arc::new(self.change.finish_preserve_values()),
            Arc::new(self.original.finish()),
            Arc::new(self.text.finish()),
        ];
        RecordBatch::try_new(Arc::clone(schema), columns)
    }
}
