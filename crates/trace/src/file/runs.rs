//! Columns in which a cell is nearly always equal to the one before: equal cells are only counted
//! until another one comes, which takes a tenth of the time. Most of a trace is so: of thirty
//! columns an access leaves half empty, and one driver's accesses share most of the others.

use std::sync::Arc;

use arrow_array::builder::{PrimitiveBuilder, StringDictionaryBuilder};
use arrow_array::types::{ArrowDictionaryKeyType, ArrowPrimitiveType};
use arrow_array::{Array, ArrayRef};

/// Texts that a dictionary keeps for the next batch: one that has more begins anew. Registers,
/// functions and probes are fewer, but tasks may be called anything.
const MOST_TEXTS: usize = 1 << 14;

/// A column of numbers.
pub(super) struct Numbers<T: ArrowPrimitiveType> {
    cells: PrimitiveBuilder<T>,
    last: Option<T::Native>,
    /// Cells equal to the last one that are not in `cells` yet.
    count: usize,
}

impl<T: ArrowPrimitiveType> Default for Numbers<T> {
    fn default() -> Self {
        Self { cells: PrimitiveBuilder::default(), last: None, count: 0 }
    }
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    #[inline]
    pub(super) fn append(&mut self, cell: Option<T::Native>) {
        if self.last != cell {
            self.settle();
            self.last = cell;
        }
        self.count += 1;
    }

    fn settle(&mut self) {
        match (self.last, std::mem::take(&mut self.count)) {
            (_, 0) => {}
            (Some(value), 1) => self.cells.append_value(value),
            (Some(value), count) => self.cells.append_value_n(value, count),
            (None, count) => self.cells.append_nulls(count),
        }
    }

    /// The cells so far; the next one is the first again.
    pub(super) fn finish(&mut self) -> ArrayRef {
        self.settle();
        Arc::new(self.cells.finish())
    }
}

/// A column of texts that repeat. They are kept from batch to batch, so that their numbers stay the
/// same, until there are very many.
pub(super) struct Texts<K: ArrowDictionaryKeyType> {
    cells: StringDictionaryBuilder<K>,
    /// The last text.
    text: String,
    /// Whether the last cell is that, or empty.
    is_text: bool,
    /// Cells equal to the last one that are not in `cells` yet.
    count: usize,
}

impl<K: ArrowDictionaryKeyType> Default for Texts<K> {
    fn default() -> Self {
        Self { cells: StringDictionaryBuilder::default(), text: String::new(), is_text: false, count: 0 }
    }
}

impl<K: ArrowDictionaryKeyType> Texts<K> {
    #[inline]
    pub(super) fn append(&mut self, cell: Option<&str>) {
        if cell != self.is_text.then_some(&*self.text) {
            self.settle();
            self.is_text = cell.is_some();
            cell.unwrap_or_default().clone_into(&mut self.text);
        }
        self.count += 1;
    }

    fn settle(&mut self) {
        match (self.is_text, std::mem::take(&mut self.count)) {
            (_, 0) => {}
            (true, count) => self.cells.append_values(&self.text, count),
            (false, count) => self.cells.append_nulls(count),
        }
    }

    /// The cells so far; the next one is the first again.
    pub(super) fn finish(&mut self) -> ArrayRef {
        self.settle();
        let cells = self.cells.finish_preserve_values();
        if cells.values().len() > MOST_TEXTS {
            self.cells = StringDictionaryBuilder::default();
        }
        Arc::new(cells)
    }
}
