//! The two columns of a trace file that hold lists: the arguments and the stacks of hits.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, PrimitiveBuilder, StringBuilder, StructBuilder};
use arrow_array::types::UInt64Type;
use arrow_schema::{DataType, Field, Fields};

use super::{Argument, Frame};
use crate::Site;
use crate::file::Items;

/// What a list of `fields` is.
fn list(fields: Fields) -> DataType {
    DataType::List(Arc::new(item(fields)))
}

/// One of a list of `fields`.
fn item(fields: Fields) -> Field {
    Field::new("item", DataType::Struct(fields), false)
}

/// What the column of arguments is.
pub(crate) fn argument_list() -> DataType {
    list(argument_fields())
}

/// What the column of stacks is.
pub(crate) fn stack_list() -> DataType {
    list(frame_fields())
}

/// An argument of a hit. `value` is null if it could not be fetched, `number` too if it is no
/// number; that of a signed one is its 64 bits.
fn argument_fields() -> Fields {
    use DataType::{UInt64, Utf8};
    let columns =
        [("name", Utf8, false), ("type", Utf8, false), ("value", Utf8, true), ("number", UInt64, true)];
    columns.map(|(name, data, null)| Field::new(name, data, null)).into_iter().collect()
}

/// A place on a stack.
fn frame_fields() -> Fields {
    use DataType::{UInt64, Utf8};
    let columns = [
        ("ip", UInt64, false),
        ("function", Utf8, true),
        ("function_offset", UInt64, true),
        ("module", Utf8, true),
    ];
    columns.map(|(name, data, null)| Field::new(name, data, null)).into_iter().collect()
}

fn builder(fields: Fields) -> ListBuilder<StructBuilder> {
    ListBuilder::new(StructBuilder::from_fields(fields.clone(), 0)).with_field(item(fields))
}

/// Fills the column of the arguments of hits.
pub(crate) struct ArgumentsBuilder(pub(crate) ListBuilder<StructBuilder>);

impl Default for ArgumentsBuilder {
    fn default() -> Self {
        Self(builder(argument_fields()))
    }
}

impl ArgumentsBuilder {
    /// Appends the cell of a row.
    pub(crate) fn append(&mut self, arguments: Option<&[Argument<'_>]>) {
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

/// Fills the column of the stacks of hits.
pub(crate) struct StackBuilder(pub(crate) ListBuilder<StructBuilder>);

impl Default for StackBuilder {
    fn default() -> Self {
        Self(builder(frame_fields()))
    }
}

impl StackBuilder {
    /// Appends the cell of a row.
    pub(crate) fn append(&mut self, stack: Option<&[Frame<'_>]>) {
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

/// The arguments of a row; `None` if they make no sense.
pub(crate) fn arguments<'a>(items: &Items<'a>, row: usize) -> Option<Vec<Argument<'a>>> {
    items.get(row, |item| {
        let text = |field| items.text(field, item);
        let number = items.number(3, item);
        Some(Argument { name: text(0)?, form: text(1)?, value: text(2).map(Cow::Borrowed), number })
    })
}

/// The stack of a row; `None` if it makes no sense.
pub(crate) fn stack<'a>(items: &Items<'a>, row: usize) -> Option<Vec<Frame<'a>>> {
    items.get(row, |item| {
        let text = |field| items.text(field, item);
        let offset = items.number(2, item).unwrap_or_default();
        let site = text(1).map(|function| Site { function, offset, module: text(3) });
        Some(Frame { ip: items.number(0, item)?, site })
    })
}
