//! A table in Markdown, aligned, so that it reads as well in a terminal.

use std::fmt;

/// Rows of cells, the first of them the heads; all columns but the first and the last are numbers.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<const N: usize>(heads: [&str; N]) -> Self {
        Self { rows: vec![heads.map(str::to_owned).to_vec()] }
    }

    /// Adds a row of as many cells as there are heads.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows[0].len();
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let is_number = |column: usize| column > 0 && column + 1 < columns;
        for (number, row) in self.rows.iter().enumerate() {
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                if is_number(column) {
                    write!(f, "| {cell:>width$} ")?;
                } else {
                    write!(f, "| {cell:<width$} ")?;
                }
            }
            f.write_str("|\n")?;
            if number == 0 {
                for (column, &width) in widths.iter().enumerate() {
                    let (dashes, end) = ("-".repeat(width + 1), if is_number(column) { ":" } else { "-" });
                    write!(f, "|{dashes}{end}")?;
                }
                f.write_str("|\n")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_with_its_numbers_at_the_right() {
        let mut table = Table::new(["what", "ns", "note"]);
        table.row(["a read", "1234", ""].map(str::to_owned));
        let expected = "| what   |   ns | note |\n|--------|-----:|------|\n| a read | 1234 |      |\n";
        assert_eq!(table.to_string(), expected);
    }
}
