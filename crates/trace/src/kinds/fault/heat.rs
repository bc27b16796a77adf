//! Where and when page faults came: a map of addresses over time, in characters.
//!
//! The address space is nearly empty, so rows are the parts of it that had faults, 2 MiB each, in
//! order; when there are too many, neighbours share a row. Counts are kept by part and by a slot of
//! time that doubles when there are too many of them, so memory grows with the parts that are
//! touched and not with time.

use std::collections::BTreeMap;
use std::io::{self, Write};

use hashbrown::HashMap;

/// Bits of a part of the address space: 2 MiB.
const PART: u32 = 21;
/// Bits of the shortest slot of time: about a millisecond.
const SLOT: u32 = 20;
/// Cells after which slots are doubled.
const CELLS: usize = 1 << 16;
/// Columns of the drawing.
const COLUMNS: usize = 64;
/// Rows of the drawing.
const ROWS: usize = 16;
/// From few faults to many.
const SHADES: [char; 7] = ['.', ':', '-', '=', '+', '#', '@'];

/// Counts of faults by part of the address space and slot of time.
#[derive(Debug)]
pub(super) struct Heat {
    cells: HashMap<(u64, u64), u64>,
    slot: u32,
}

impl Default for Heat {
    fn default() -> Self {
        Self { cells: HashMap::new(), slot: SLOT }
    }
}

impl Heat {
    /// Counts a fault.
    pub(super) fn add(&mut self, time: u64, address: u64) {
        *self.cells.entry((address >> PART, time >> self.slot)).or_default() += 1;
        // With more parts than cells, doubling the slots without end would not help.
        while self.cells.len() > CELLS && self.slot < 40 {
            self.slot += 1;
            let finer = std::mem::take(&mut self.cells);
            for ((part, slot), count) in finer {
                *self.cells.entry((part, slot >> 1)).or_default() += count;
            }
        }
    }

    /// The map, as large as can be looked at; `None` without faults.
    pub(super) fn grid(&self) -> Option<Grid> {
        let slots = || self.cells.keys().map(|(_, slot)| *slot);
        let (first, last) = (slots().min()?, slots().max()?);
        let wide = ((last - first) / COLUMNS as u64) + 1;
        let mut rows = BTreeMap::<u64, [u64; COLUMNS]>::new();
        for ((part, slot), count) in &self.cells {
            let column = ((slot - first) / wide) as usize;
            rows.entry(*part).or_insert([0; COLUMNS])[column.min(COLUMNS - 1)] += count;
        }
        let rows: Vec<_> = rows.into_iter().collect();
        let rows: Vec<(u64, [u64; COLUMNS])> = rows.chunks(rows.len().div_ceil(ROWS)).map(together).collect();
        let most = rows.iter().flat_map(|(_, row)| row).copied().max().unwrap_or(1);
        let columns = ((last - first) / wide) as usize + 1;
        let rows = rows.into_iter().map(|(part, row)| (part << PART, row[..columns].to_vec())).collect();
        Some(Grid { column: wide << self.slot, columns, rows, most })
    }

    /// Draws the map: a row for each part, time from left to right, the first address of each row
    /// before it.
    ///
    /// # Errors
    /// Those of `out`.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let Some(grid) = self.grid() else { return Ok(()) };
        for (address, row) in &grid.rows {
            let cells: String = row.iter().map(|count| shade(grid.share(*count))).collect();
            writeln!(out, "{address:>#20x}  |{cells}|")?;
        }
        Ok(())
    }
}

/// The map as it is drawn.
#[derive(Debug)]
pub(super) struct Grid {
    /// Nanoseconds of a column.
    pub(super) column: u64,
    pub(super) columns: usize,
    /// First address, and counts by time, of each row, in order of addresses.
    pub(super) rows: Vec<(u64, Vec<u64>)>,
    most: u64,
}

impl Grid {
    /// How dark a cell is, from 0 for none to 1. By the logarithm, since most cells are far below
    /// the largest.
    pub(super) fn share(&self, count: u64) -> f64 {
        (count as f64).ln_1p() / (self.most as f64).ln_1p()
    }
}

/// Neighbouring rows as one, called by the first.
fn together(rows: &[(u64, [u64; COLUMNS])]) -> (u64, [u64; COLUMNS]) {
    let first = rows.first().map_or(0, |(part, _)| *part);
    (first, std::array::from_fn(|column| rows.iter().map(|(_, row)| row[column]).sum()))
}

/// A share as a character, each shade twice to several times as many as the one before.
fn shade(share: f64) -> char {
    if share <= 0.0 {
        return ' ';
    }
    SHADES[((share * SHADES.len() as f64).ceil() as usize).clamp(1, SHADES.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(heat: &Heat) -> Vec<String> {
        let mut text = Vec::new();
        heat.write(&mut text).unwrap();
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn time_runs_to_the_right_and_addresses_down() {
        let mut heat = Heat::default();
        heat.add(0, 0x40_0000);
        for _ in 0..1000 {
            heat.add(3 << SLOT, 0x7f00_0000_0000);
        }
        assert_eq!(draw(&heat), ["            0x400000  |.   |", "      0x7f0000000000  |   @|"]);
    }

    #[test]
    fn a_large_map_is_drawn_small_and_nothing_of_it_is_lost() {
        let mut heat = Heat::default();
        for fault in 0..300_000 {
            heat.add(fault << SLOT, (fault % 100) << PART);
        }
        assert!(heat.cells.len() <= CELLS, "{}", heat.cells.len());
        assert_eq!(heat.cells.values().sum::<u64>(), 300_000);
        let rows = draw(&heat);
        assert!(rows.len() <= ROWS && rows.len() > ROWS / 2, "{rows:?}");
        assert!(rows.iter().all(|row| row.len() <= 24 + COLUMNS && !row[23..].contains("  ")), "{rows:?}");
    }

    #[test]
    fn no_faults_draw_nothing() {
        assert_eq!(draw(&Heat::default()), Vec::<String>::new());
    }
}
