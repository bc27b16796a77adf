//! Aligned columns.

use std::io::{self, Write};

use crate::style::STRONG;

/// Where a column's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// Writes `rows` under `titles`, two blanks between the columns.
pub(crate) fn write<const N: usize>(
    out: &mut impl Write,
    colour: bool,
    titles: [(&str, Side); N],
    rows: &[[String; N]],
) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(titles[column].0.chars().count())
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let cells = (0..N).map(|column| {
            let (cell, width) = (cells[column], widths[column]);
            match titles[column].1 {
                Side::Left => format!("{cell:width$}"),
                Side::Right => format!("{cell:>width$}"),
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let title = line(std::array::from_fn(|column| titles[column].0));
    if colour {
        writeln!(out, "{STRONG}{title}{STRONG:#}")?;
    } else {
        writeln!(out, "{title}")?;
    }
    rows.iter().try_for_each(|row| writeln!(out, "{}", line(std::array::from_fn(|column| &*row[column]))))
}
