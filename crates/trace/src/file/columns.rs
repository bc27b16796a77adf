//! The rows of a batch become events, which borrow their texts from it.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, ArrowPrimitiveType, Int8Type, Int32Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{
    Array, BinaryArray, DictionaryArray, ListArray, PrimitiveArray, RecordBatch, StringArray, StructArray,
};
use arrow_buffer::ArrowNativeType;
use trapline_abi::{ErrorCode, Flags};

use super::schema::{column, kind, way_from_name};
use crate::{
    Access, Argument, Direction, Event, Frame, Hit, Map, Moment, PageFault, Place, Site, Value, What,
};

/// A column of texts that repeat.
struct Texts<'a, K: ArrowDictionaryKeyType> {
    keys: &'a PrimitiveArray<K>,
    values: &'a StringArray,
}

impl<'a, K: ArrowDictionaryKeyType> Texts<'a, K> {
    fn new(batch: &'a RecordBatch, column: usize) -> Option<Self> {
        let array: &DictionaryArray<K> = batch.column(column).as_dictionary_opt()?;
        Some(Self { keys: array.keys(), values: array.values().as_string_opt()? })
    }

    fn get(&self, row: usize) -> Option<&'a str> {
        let key = get(self.keys, row)?.to_usize().filter(|key| *key < self.values.len())?;
        Some(self.values.value(key))
    }
}

fn get<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    array.is_valid(row).then(|| array.value(row))
}

/// A column of lists of structures, all of which have texts and numbers only.
struct Items<'a> {
    lists: &'a ListArray,
    items: &'a StructArray,
}

impl<'a> Items<'a> {
    fn new(batch: &'a RecordBatch, column: usize) -> Option<Self> {
        let lists = batch.column(column).as_list_opt()?;
        Some(Self { lists, items: lists.values().as_struct_opt()? })
    }

    /// The items of a row, each turned into what `each` makes of its place.
    fn get<T>(&self, row: usize, each: impl Fn(usize) -> Option<T>) -> Option<Vec<T>> {
        let offsets = self.lists.value_offsets();
        let (start, end) = (usize::try_from(offsets[row]).ok()?, usize::try_from(offsets[row + 1]).ok()?);
        (start..end.min(self.items.len())).map(each).collect()
    }

    fn text(&self, field: usize, item: usize) -> Option<&'a str> {
        let array: &StringArray = self.items.column(field).as_string_opt()?;
        array.is_valid(item).then(|| array.value(item))
    }

    fn number(&self, field: usize, item: usize) -> Option<u64> {
        get(self.items.column(field).as_primitive_opt::<UInt64Type>()?, item)
    }
}

/// The columns of a batch.
pub(super) struct Columns<'a> {
    time: &'a PrimitiveArray<UInt64Type>,
    cpu: &'a PrimitiveArray<UInt16Type>,
    kind: Texts<'a, Int8Type>,
    op: Texts<'a, Int8Type>,
    pid: &'a PrimitiveArray<UInt32Type>,
    tgid: &'a PrimitiveArray<UInt32Type>,
    comm: Texts<'a, Int32Type>,
    device: Texts<'a, Int32Type>,
    bar: &'a PrimitiveArray<UInt8Type>,
    offset: &'a PrimitiveArray<UInt64Type>,
    register: Texts<'a, Int32Type>,
    physical: &'a PrimitiveArray<UInt64Type>,
    address: &'a PrimitiveArray<UInt64Type>,
    width: &'a PrimitiveArray<UInt8Type>,
    value: &'a PrimitiveArray<UInt64Type>,
    value_wide: &'a BinaryArray,
    mapping: &'a PrimitiveArray<UInt32Type>,
    flags: &'a PrimitiveArray<UInt8Type>,
    way: Texts<'a, Int8Type>,
    ip: &'a PrimitiveArray<UInt64Type>,
    function: Texts<'a, Int32Type>,
    function_offset: &'a PrimitiveArray<UInt64Type>,
    module: Texts<'a, Int32Type>,
    amount: &'a PrimitiveArray<UInt64Type>,
    took: &'a PrimitiveArray<UInt64Type>,
    text: &'a StringArray,
    probe: Texts<'a, Int32Type>,
    moment: Texts<'a, Int8Type>,
    arguments: Items<'a>,
    stack: Items<'a>,
    rows: usize,
}

/// What a row holds.
#[expect(clippy::large_enum_variant, reason = "nearly every row is an event, so there is nothing to save")]
pub(super) enum Row<'a> {
    Event(Event<'a>),
    /// The last row, with the totals as JSON.
    End(&'a str),
}

impl<'a> Columns<'a> {
    /// The columns of `batch`; `None` if they have other types than a trace's.
    pub(super) fn new(batch: &'a RecordBatch) -> Option<Self> {
        fn numbers<T: ArrowPrimitiveType>(batch: &RecordBatch, column: usize) -> Option<&PrimitiveArray<T>> {
            batch.column(column).as_primitive_opt()
        }
        Some(Self {
            time: numbers(batch, column::TIME)?,
            cpu: numbers(batch, column::CPU)?,
            kind: Texts::new(batch, column::KIND)?,
            op: Texts::new(batch, column::OP)?,
            pid: numbers(batch, column::PID)?,
            tgid: numbers(batch, column::TGID)?,
            comm: Texts::new(batch, column::COMM)?,
            device: Texts::new(batch, column::DEVICE)?,
            bar: numbers(batch, column::BAR)?,
            offset: numbers(batch, column::OFFSET)?,
            register: Texts::new(batch, column::REGISTER)?,
            physical: numbers(batch, column::PHYSICAL)?,
            address: numbers(batch, column::ADDRESS)?,
            width: numbers(batch, column::WIDTH)?,
            value: numbers(batch, column::VALUE)?,
            value_wide: batch.column(column::VALUE_WIDE).as_binary_opt()?,
            mapping: numbers(batch, column::MAPPING)?,
            flags: numbers(batch, column::FLAGS)?,
            way: Texts::new(batch, column::WAY)?,
            ip: numbers(batch, column::IP)?,
            function: Texts::new(batch, column::FUNCTION)?,
            function_offset: numbers(batch, column::FUNCTION_OFFSET)?,
            module: Texts::new(batch, column::MODULE)?,
            amount: numbers(batch, column::AMOUNT)?,
            took: numbers(batch, column::TOOK)?,
            text: batch.column(column::TEXT).as_string_opt()?,
            probe: Texts::new(batch, column::PROBE)?,
            moment: Texts::new(batch, column::MOMENT)?,
            arguments: Items::new(batch, column::ARGUMENTS)?,
            stack: Items::new(batch, column::STACK)?,
            rows: batch.num_rows(),
        })
    }

    /// The rows in order; `None` for one that makes no sense.
    pub(super) fn rows(&self) -> impl Iterator<Item = Option<Row<'a>>> + '_ {
        (0..self.rows).map(|row| self.row(row))
    }

    fn row(&self, row: usize) -> Option<Row<'a>> {
        let what = match self.kind.get(row)? {
            kind::ACCESS => What::Access(self.access(row)?),
            kind::MAP => What::Map(Map {
                mapping: get(self.mapping, row)?,
                address: get(self.address, row)?,
                physical: get(self.physical, row)?,
                length: get(self.amount, row)?,
                caller: get(self.ip, row)?,
                place: self.place(row),
                site: self.site(row),
            }),
            kind::UNMAP => What::Unmap { mapping: get(self.mapping, row)? },
            kind::MARK => What::Mark { text: self.text(row)? },
            kind::LOST => What::Lost { count: get(self.amount, row)? },
            kind::WINDOW => {
                What::Window { address: get(self.address, row)?, nanoseconds: get(self.amount, row)? }
            }
            kind::HIT => What::Hit(self.hit(row)?),
            kind::FAULT => What::Fault(PageFault {
                address: get(self.address, row)?,
                error_code: ErrorCode(get(self.value, row)? as u32),
                ip: get(self.ip, row)?,
                stack: get(self.amount, row)?,
                flags: Flags(get(self.flags, row)?),
                took: get(self.took, row),
                memory: self.text(row).map(Cow::Borrowed),
                site: self.site(row),
            }),
            kind::END => return Some(Row::End(self.text(row)?)),
            _ => return None,
        };
        Some(Row::Event(Event {
            time: get(self.time, row)?,
            cpu: get(self.cpu, row)?,
            pid: get(self.pid, row)?,
            tgid: get(self.tgid, row)?,
            comm: self.comm.get(row)?,
            what,
        }))
    }

    fn access(&self, row: usize) -> Option<Access<'a>> {
        let width = get(self.width, row)?;
        let value = if self.value_wide.is_valid(row) {
            Value::new(self.value_wide.value(row))
        } else {
            get(self.value, row).and_then(|value| Value::from_u64(value, width))
        };
        Some(Access {
            direction: if self.op.get(row)? == "W" { Direction::Write } else { Direction::Read },
            width,
            value,
            mapping: get(self.mapping, row)?,
            address: get(self.address, row)?,
            physical: get(self.physical, row),
            flags: Flags(get(self.flags, row)?),
            way: way_from_name(self.way.get(row)?)?,
            ip: get(self.ip, row)?,
            place: self.place(row),
            site: self.site(row),
        })
    }

    fn hit(&self, row: usize) -> Option<Hit<'a>> {
        let arguments = self.arguments.get(row, |item| {
            let text = |field| self.arguments.text(field, item);
            let number = self.arguments.number(3, item);
            Some(Argument { name: text(0)?, form: text(1)?, value: text(2).map(Cow::Borrowed), number })
        });
        let stack = self.stack.get(row, |item| {
            let text = |field| self.stack.text(field, item);
            let site = text(1).map(|function| Site {
                function,
                offset: self.stack.number(2, item).unwrap_or_default(),
                module: text(3),
            });
            Some(Frame { ip: self.stack.number(0, item)?, site })
        });
        Some(Hit {
            probe: self.probe.get(row)?,
            moment: Moment::from_name(self.moment.get(row)?)?,
            ip: get(self.ip, row)?,
            site: self.site(row),
            flags: Flags(get(self.flags, row)?),
            arguments: arguments?,
            stack: if self.stack.lists.is_valid(row) { Some(stack?) } else { None },
        })
    }

    fn place(&self, row: usize) -> Option<Place<'a>> {
        Some(Place {
            device: self.device.get(row)?,
            bar: get(self.bar, row)?,
            offset: get(self.offset, row)?,
            register: self.register.get(row),
        })
    }

    fn site(&self, row: usize) -> Option<Site<'a>> {
        Some(Site {
            function: self.function.get(row)?,
            offset: get(self.function_offset, row)?,
            module: self.module.get(row),
        })
    }

    fn text(&self, row: usize) -> Option<&'a str> {
        self.text.is_valid(row).then(|| self.text.value(row))
    }
}
