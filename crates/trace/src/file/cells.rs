//! Events become the rows of a batch.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::types::{Int8Type, Int32Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, Schema};
use trapline_abi::Flags;

use super::runs::{Numbers, Texts};
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

impl Cells<'_> {
    /// Bytes that its texts and lists take in a batch, nearly.
    fn bytes(&self) -> usize {
        /// Of an item of a list: its numbers, and where its texts begin.
        const ITEM: usize = 32;
        let arguments = self.arguments.into_iter().flatten().map(|argument| {
            let value = argument.value.as_ref().map_or(0, |value| value.len());
            ITEM + argument.name.len() + argument.form.len() + value
        });
        let stack = self.stack.into_iter().flatten().map(|frame| {
            ITEM + frame.site.map_or(0, |site| site.function.len() + site.module.map_or(0, str::len))
        });
        let single = self.text.map_or(0, str::len) + self.value_wide.map_or(0, <[u8]>::len);
        single + arguments.sum::<usize>() + stack.sum::<usize>()
    }
}

/// A batch that is being filled.
#[derive(Default)]
pub(crate) struct Rows {
    length: usize,
    /// Bytes of texts and lists, which can be of any length.
    bytes: usize,
    time: Numbers<UInt64Type>,
    cpu: Numbers<UInt16Type>,
    kind: Texts<Int8Type>,
    op: Texts<Int8Type>,
    pid: Numbers<UInt32Type>,
    tgid: Numbers<UInt32Type>,
    comm: Texts<Int32Type>,
    device: Texts<Int32Type>,
    bar: Numbers<UInt8Type>,
    offset: Numbers<UInt64Type>,
    register: Texts<Int32Type>,
    physical: Numbers<UInt64Type>,
    address: Numbers<UInt64Type>,
    width: Numbers<UInt8Type>,
    value: Numbers<UInt64Type>,
    value_wide: BinaryBuilder,
    mapping: Numbers<UInt32Type>,
    flags: Numbers<UInt8Type>,
    way: Texts<Int8Type>,
    ip: Numbers<UInt64Type>,
    function: Texts<Int32Type>,
    function_offset: Numbers<UInt64Type>,
    module: Texts<Int32Type>,
    amount: Numbers<UInt64Type>,
    took: Numbers<UInt64Type>,
    change: Texts<Int8Type>,
    original: Numbers<UInt64Type>,
    text: StringBuilder,
    probe: Texts<Int32Type>,
    moment: Texts<Int8Type>,
    arguments: ArgumentsBuilder,
    stack: StackBuilder,
}

impl Rows {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Bytes that their texts and lists take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
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
        self.bytes += cells.bytes();
        self.time.append(Some(time));
        self.cpu.append(Some(cpu));
        self.kind.append(Some(kind));
        self.op.append(cells.op);
        self.pid.append(Some(pid));
        self.tgid.append(Some(tgid));
        self.comm.append(Some(comm));
        self.device.append(cells.place.map(|place| place.device).or(cells.device));
        self.bar.append(cells.place.map(|place| place.bar));
        self.offset.append(cells.place.map(|place| place.offset).or(cells.offset));
        self.register.append(cells.place.and_then(|place| place.register).or(cells.register));
        self.physical.append(cells.physical);
        self.address.append(cells.address);
        self.width.append(cells.width);
        self.value.append(cells.value);
        self.value_wide.append_option(cells.value_wide);
        self.mapping.append(cells.mapping);
        self.flags.append(cells.flags.map(|flags| flags.0));
        self.way.append(cells.way);
        self.ip.append(cells.ip);
        self.function.append(cells.site.map(|site| site.function));
        self.function_offset.append(cells.site.map(|site| site.offset));
        self.module.append(cells.site.and_then(|site| site.module));
        self.amount.append(cells.amount);
        self.probe.append(cells.probe);
        self.moment.append(cells.moment);
        self.arguments.append(cells.arguments);
        self.stack.append(cells.stack);
        self.took.append(cells.took);
        self.change.append(cells.change);
        self.original.append(cells.original);
        self.text.append_option(cells.text);
    }

    /// The rows so far as a batch; the next one starts empty.
    pub(crate) fn finish(&mut self, schema: &Arc<Schema>) -> Result<RecordBatch, ArrowError> {
        (self.length, self.bytes) = (0, 0);
        let columns: Vec<ArrayRef> = vec![
            self.time.finish(),
            self.cpu.finish(),
            self.kind.finish(),
            self.op.finish(),
            self.pid.finish(),
            self.tgid.finish(),
            self.comm.finish(),
            self.device.finish(),
            self.bar.finish(),
            self.offset.finish(),
            self.register.finish(),
            self.physical.finish(),
            self.address.finish(),
            self.width.finish(),
            self.value.finish(),
            Arc::new(self.value_wide.finish()),
            self.mapping.finish(),
            self.flags.finish(),
            self.way.finish(),
            self.ip.finish(),
            self.function.finish(),
            self.function_offset.finish(),
            self.module.finish(),
            self.amount.finish(),
            self.probe.finish(),
            self.moment.finish(),
            Arc::new(self.arguments.0.finish()),
            Arc::new(self.stack.0.finish()),
            self.took.finish(),
            self.change.finish(),
            self.original.finish(),
            Arc::new(self.text.finish()),
        ];
        RecordBatch::try_new(Arc::clone(schema), columns)
    }
}
