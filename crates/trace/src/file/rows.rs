//! Events become the rows of a batch.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, ListBuilder, PrimitiveBuilder, StringBuilder, StringDictionaryBuilder, StructBuilder,
};
use arrow_array::types::{Int8Type, Int32Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, Schema};

use super::schema::{argument_fields, frame_fields, item, kind, way_name};
use crate::{Access, Argument, Event, Frame, Hit, Map, PageFault, Place, Site, Totals, What};

/// A batch that is being filled. The texts of the dictionaries are kept from batch to batch, so that their numbers stay the same.
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
    text: StringBuilder,
    probe: StringDictionaryBuilder<Int32Type>,
    moment: StringDictionaryBuilder<Int8Type>,
    arguments: Arguments,
    stack: Stack,
}

/// The column of the arguments of hits.
struct Arguments(ListBuilder<StructBuilder>);

impl Default for Arguments {
    fn default() -> Self {
        let fields = argument_fields();
        let builder = ListBuilder::new(StructBuilder::from_fields(fields.clone(), 0));
        Self(builder.with_field(item(fields)))
    }
}

impl Arguments {
    fn append(&mut self, arguments: Option<&[Argument<'_>]>) {
        for argument in arguments.into_iter().flatten() {
            let item = self.0.values();
            text(item, 0, Some(argument.name));
            text(item, 1, Some(argument.form));
            text(item, 2, argument.value.as_deref());
            number(item, 3, argument.number);
            item.append(true);
        }
        self.0.append(arguments.is_some());
    }
}

/// The column of the stacks of hits.
struct Stack(ListBuilder<StructBuilder>);

impl Default for Stack {
    fn default() -> Self {
        let fields = frame_fields();
        let builder = ListBuilder::new(StructBuilder::from_fields(fields.clone(), 0));
        Self(builder.with_field(item(fields)))
    }
}

impl Stack {
    fn append(&mut self, stack: Option<&[Frame<'_>]>) {
        for Frame { ip, site } in stack.into_iter().flatten() {
            let item = self.0.values();
            number(item, 0, Some(*ip));
            text(item, 1, site.map(|site| site.function));
            number(item, 2, site.map(|site| site.offset));
            text(item, 3, site.and_then(|site| site.module));
            item.append(true);
        }
        self.0.append(stack.is_some());
    }
}

/// Appends to the texts that are field `field` of `item`.
fn text(item: &mut StructBuilder, field: usize, value: Option<&str>) {
    match item.field_builder::<StringBuilder>(field) {
        Some(builder) => builder.append_option(value),
        None => unreachable!("the schema has texts there, which every test of a hit would tell"),
    }
}

/// Appends to the numbers that are field `field` of `item`.
fn number(item: &mut StructBuilder, field: usize, value: Option<u64>) {
    match item.field_builder::<PrimitiveBuilder<UInt64Type>>(field) {
        Some(builder) => builder.append_option(value),
        None => unreachable!("the schema has numbers there, which every test of a hit would tell"),
    }
}

/// What a row has beside time, CPU, task and kind; by default nothing.
#[derive(Default)]
struct Rest<'a> {
    access: Option<&'a Access<'a>>,
    mapping: Option<u32>,
    address: Option<u64>,
    physical: Option<u64>,
    place: Option<Place<'a>>,
    ip: Option<u64>,
    site: Option<Site<'a>>,
    amount: Option<u64>,
    text: Option<&'a str>,
    hit: Option<&'a Hit<'a>>,
    fault: Option<&'a PageFault<'a>>,
}

impl Rows {
    /// Rows so far.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Adds a row for `event`.
    pub(crate) fn event(&mut self, event: &Event<'_>) {
        let (kind, rest) = match &event.what {
            What::Access(access) => {
                let &Access { mapping, address, physical, place, ip, site, .. } = access;
                let (mapping, address, ip) = (Some(mapping), Some(address), Some(ip));
                let access = Some(access);
                (
                    kind::ACCESS,
                    Rest { access, mapping, address, physical, place, ip, site, ..Rest::default() },
                )
            }
            What::Map(map) => {
                let &Map { mapping, address, physical, length, caller, place, site } = map;
                let (mapping, address, physical) = (Some(mapping), Some(address), Some(physical));
                let (ip, amount) = (Some(caller), Some(length));
                (kind::MAP, Rest { mapping, address, physical, place, ip, site, amount, ..Rest::default() })
            }
            What::Unmap { mapping } => (kind::UNMAP, Rest { mapping: Some(*mapping), ..Rest::default() }),
            What::Mark { text } => (kind::MARK, Rest { text: Some(text), ..Rest::default() }),
            What::Lost { count } => (kind::LOST, Rest { amount: Some(*count), ..Rest::default() }),
            What::Window { address, nanoseconds } => (
                kind::WINDOW,
                Rest { address: Some(*address), amount: Some(*nanoseconds), ..Rest::default() },
            ),
            What::Hit(hit) => {
                (kind::HIT, Rest { ip: Some(hit.ip), site: hit.site, hit: Some(hit), ..Rest::default() })
            }
            What::Fault(fault) => {
                let (address, ip, site) = (Some(fault.address), Some(fault.ip), fault.site);
                let (amount, text) = (Some(fault.stack), fault.memory.as_deref());
                (kind::FAULT, Rest { address, ip, site, amount, text, fault: Some(fault), ..Rest::default() })
            }
        };
        self.row(event.time, event.cpu, (event.pid, event.tgid, event.comm), kind, &rest);
    }

    /// Adds the last row, with `time` that of the last event.
    pub(crate) fn end(&mut self, time: u64, totals: &Totals) -> serde_json::Result<()> {
        let text = serde_json::to_string(totals)?;
        self.row(time, 0, (0, 0, ""), kind::END, &Rest { text: Some(&text), ..Rest::default() });
        Ok(())
    }

    fn row(&mut self, time: u64, cpu: u16, (pid, tgid, comm): (u32, u32, &str), kind: &str, rest: &Rest<'_>) {
        self.length += 1;
        self.time.append_value(time);
        self.cpu.append_value(cpu);
        self.kind.append_value(kind);
        self.pid.append_value(pid);
        self.tgid.append_value(tgid);
        self.comm.append_value(comm);
        self.access(rest.access, rest.fault);
        self.device.append_option(rest.place.map(|place| place.device));
        self.bar.append_option(rest.place.map(|place| place.bar));
        self.offset.append_option(rest.place.map(|place| place.offset));
        self.register.append_option(rest.place.and_then(|place| place.register));
        self.physical.append_option(rest.physical);
        self.address.append_option(rest.address);
        self.mapping.append_option(rest.mapping);
        self.ip.append_option(rest.ip);
        self.function.append_option(rest.site.map(|site| site.function));
        self.function_offset.append_option(rest.site.map(|site| site.offset));
        self.module.append_option(rest.site.and_then(|site| site.module));
        self.amount.append_option(rest.amount);
        self.took.append_option(rest.fault.and_then(|fault| fault.took));
        self.text.append_option(rest.text);
        self.probe.append_option(rest.hit.map(|hit| hit.probe));
        self.moment.append_option(rest.hit.map(|hit| hit.moment.name()));
        self.arguments.append(rest.hit.map(|hit| hit.arguments.as_slice()));
        self.stack.append(rest.hit.and_then(|hit| hit.stack.as_deref()));
        let flags = rest.access.map(|access| access.flags).or(rest.hit.map(|hit| hit.flags));
        let flags = flags.or(rest.fault.map(|fault| fault.flags));
        self.flags.append_option(flags.map(|flags| flags.0));
    }

    /// The columns that hold a value: an access's, or a fault's error code.
    fn access(&mut self, access: Option<&Access<'_>>, fault: Option<&PageFault<'_>>) {
        let value = access.and_then(|access| access.value.as_ref());
        self.op.append_option(access.map(|access| access.direction.letter()));
        self.width.append_option(access.map(|access| access.width));
        let code = fault.map(|fault| fault.error_code.0.into());
        self.value.append_option(value.map(|value| value.low()).or(code));
        self.value_wide.append_option(value.map(|value| value.bytes()).filter(|bytes| bytes.len() > 8));
        self.way.append_option(access.map(|access| way_name(access.way)));
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
            Arc::new(self.text.finish()),
        ];
        RecordBatch::try_new(Arc::clone(schema), columns)
    }
}
