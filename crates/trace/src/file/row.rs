//! The rows of a batch become events, which borrow their texts from it.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, ArrowPrimitiveType, Int8Type, Int32Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{
    Array, BinaryArray, DictionaryArray, ListArray, PrimitiveArray, RecordBatch, StringArray, StructArray,
};
use arrow_buffer::ArrowNativeType;
use trapline_abi::Flags;

use super::schema::{END, column};
use crate::kinds::hit;
use crate::{Argument, Event, Frame, Place, Site, What};

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

    #[inline]
    fn get(&self, row: usize) -> Option<&'a str> {
        let key = get(self.keys, row)?.to_usize().filter(|key| *key < self.values.len())?;
        Some(self.values.value(key))
    }
}

fn get<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    array.is_valid(row).then(|| array.value(row))
}

/// A column of lists of structures, all of which have texts and numbers only.
pub(crate) struct Items<'a> {
    lists: &'a ListArray,
    items: &'a StructArray,
}

impl<'a> Items<'a> {
    fn new(batch: &'a RecordBatch, column: usize) -> Option<Self> {
        let lists = batch.column(column).as_list_opt()?;
        Some(Self { lists, items: lists.values().as_struct_opt()? })
    }

    /// The items of a row, each turned into what `each` makes of its place.
    pub(crate) fn get<T>(&self, row: usize, each: impl Fn(usize) -> Option<T>) -> Option<Vec<T>> {
        let offsets = self.lists.value_offsets();
        let (start, end) = (usize::try_from(offsets[row]).ok()?, usize::try_from(offsets[row + 1]).ok()?);
        (start..end.min(self.items.len())).map(each).collect()
    }

    /// Of an item, the text in this field.
    pub(crate) fn text(&self, field: usize, item: usize) -> Option<&'a str> {
        let array: &StringArray = self.items.column(field).as_string_opt()?;
        array.is_valid(item).then(|| array.value(item))
    }

    /// Of an item, the number in this field.
    pub(crate) fn number(&self, field: usize, item: usize) -> Option<u64> {
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
    change: Texts<'a, Int8Type>,
    original: &'a PrimitiveArray<UInt64Type>,
    text: &'a StringArray,
    probe: Texts<'a, Int32Type>,
    moment: Texts<'a, Int8Type>,
    arguments: Items<'a>,
    stack: Items<'a>,
    rows: usize,
}

/// What is read of a row.
#[expect(clippy::large_enum_variant, reason = "nearly every row is an event, so there is nothing to save")]
pub(super) enum Found<'a> {
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
            change: Texts::new(batch, column::CHANGE)?,
            original: numbers(batch, column::ORIGINAL)?,
            text: batch.column(column::TEXT).as_string_opt()?,
            probe: Texts::new(batch, column::PROBE)?,
            moment: Texts::new(batch, column::MOMENT)?,
            arguments: Items::new(batch, column::ARGUMENTS)?,
            stack: Items::new(batch, column::STACK)?,
            rows: batch.num_rows(),
        })
    }

    /// What the rows hold, in order; `None` for one that makes no sense.
    pub(super) fn rows(&self) -> impl Iterator<Item = Option<Found<'a>>> + '_ {
        (0..self.rows).map(|row| self.row(row))
    }

    fn row(&self, row: usize) -> Option<Found<'a>> {
        let cells = Row { columns: self, row };
        let kind = self.kind.get(row)?;
        if kind == END {
            return Some(Found::End(cells.text()?));
        }
        Some(Found::Event(Event {
            time: get(self.time, row)?,
            cpu: get(self.cpu, row)?,
            pid: get(self.pid, row)?,
            tgid: get(self.tgid, row)?,
            comm: self.comm.get(row)?,
            what: What::from_row(kind, &cells)?,
        }))
    }
}

/// The cells of one row, each of which may be empty; texts borrow from the batch.
///
/// What asks for them is in other modules, and asks a dozen times an event: they are inlined.
pub(crate) struct Row<'c, 'a> {
    columns: &'c Columns<'a>,
    row: usize,
}

/// Cells that are one column each, by its name.
macro_rules! cells {
    ($($column:ident: $cell:ty,)*) => {
        impl<'a> Row<'_, 'a> {
            $(#[inline]
            pub(crate) fn $column(&self) -> Option<$cell> {
                get(self.columns.$column, self.row)
            })*
        }
    };
}

cells! {
    physical: u64,
    address: u64,
    width: u8,
    value: u64,
    mapping: u32,
    ip: u64,
    amount: u64,
    took: u64,
    original: u64,
}

impl<'a> Row<'_, 'a> {
    #[inline]
    pub(crate) fn op(&self) -> Option<&'a str> {
        self.columns.op.get(self.row)
    }

    #[inline]
    pub(crate) fn way(&self) -> Option<&'a str> {
        self.columns.way.get(self.row)
    }

    #[inline]
    pub(crate) fn change(&self) -> Option<&'a str> {
        self.columns.change.get(self.row)
    }

    #[inline]
    pub(crate) fn probe(&self) -> Option<&'a str> {
        self.columns.probe.get(self.row)
    }

    #[inline]
    pub(crate) fn moment(&self) -> Option<&'a str> {
        self.columns.moment.get(self.row)
    }

    #[inline]
    pub(crate) fn flags(&self) -> Option<Flags> {
        get(self.columns.flags, self.row).map(Flags)
    }

    #[inline]
    pub(crate) fn value_wide(&self) -> Option<&'a [u8]> {
        let column = self.columns.value_wide;
        column.is_valid(self.row).then(|| column.value(self.row))
    }

    #[inline]
    pub(crate) fn text(&self) -> Option<&'a str> {
        let column = self.columns.text;
        column.is_valid(self.row).then(|| column.value(self.row))
    }

    #[inline]
    pub(crate) fn device(&self) -> Option<&'a str> {
        self.columns.device.get(self.row)
    }

    #[inline]
    pub(crate) fn offset(&self) -> Option<u64> {
        get(self.columns.offset, self.row)
    }

    #[inline]
    pub(crate) fn register(&self) -> Option<&'a str> {
        self.columns.register.get(self.row)
    }

    #[inline]
    pub(crate) fn place(&self) -> Option<Place<'a>> {
        Some(Place {
            device: self.columns.device.get(self.row)?,
            bar: get(self.columns.bar, self.row)?,
            offset: get(self.columns.offset, self.row)?,
            register: self.columns.register.get(self.row),
        })
    }

    #[inline]
    pub(crate) fn site(&self) -> Option<Site<'a>> {
        Some(Site {
            function: self.columns.function.get(self.row)?,
            offset: get(self.columns.function_offset, self.row)?,
            module: self.columns.module.get(self.row),
        })
    }

    /// The arguments of a hit; `None` if they make no sense.
    pub(crate) fn arguments(&self) -> Option<Vec<Argument<'a>>> {
        hit::arguments(&self.columns.arguments, self.row)
    }

    /// The stack of a hit, if it has one; the inner `None` if that makes no sense.
    pub(crate) fn stack(&self) -> Option<Option<Vec<Frame<'a>>>> {
        let column = &self.columns.stack;
        column.lists.is_valid(self.row).then(|| hit::stack(column, self.row))
    }
}
