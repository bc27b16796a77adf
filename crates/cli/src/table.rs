//! Aligned columns.

use std::io::{self, Write};

use anstyle::Style;

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
    let strong = if colour { STRONG } else { Style::new() };
    write_styled(out, strong, titles, rows, |_, _| Style::new())
}

/// The same, each cell in the style that `style` says of its row and column.
pub(crate) fn write_styled<const N: usize>(
    out: &mut impl Write,
    of_titles: Style,
    titles: [(&str, Side); N],
    rows: &[[String; N]],
    style: impl Fn(usize, usize) -> Style,
) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(titles[column].0.chars().count())
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N], style: &dyn Fn(usize) -> Style| {
        // Nothing stands behind the last cell that has a text.
        let last = cells.iter().rposition(|cell| !cell.is_empty());
        let cells = cells.iter().enumerate().take(last.map_or(0, |last| last + 1)).map(|(column, cell)| {
            let blanks = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            let style = style(column);
            match titles[column].1 {
                Side::Left if Some(column) == last => format!("{style}{cell}{style:#}"),
                Side::Left => format!("{style}{cell}{style:#}{blanks}"),
                Side::Right => format!("{blanks}{style}{cell}{style:#}"),
            }
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    let title = line(std::array::from_fn(|column| titles[column].0), &|_| Style::new());
    writeln!(out, "{of_titles}{title}{of_titles:#}")?;
    rows.iter().enumerate().try_for_each(|(row, cells)| {
        writeln!(out, "{}", line(std::array::from_fn(|column| &*cells[column]), &|column| style(row, column)))
    })
}
