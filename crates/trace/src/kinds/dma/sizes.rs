//! Buffers that devices were given, by size: those that were mapped by which way their data go,
//! those that were allocated apart.

use std::io;

use trapline_abi::{DmaDirection, DmaOp};

use super::DmaCall;
use crate::report::Page;
use crate::write::grouped;

/// The narrowest row: up to so many bytes, as a power of two.
const FIRST: usize = 6;
/// Rows, one for each doubling: the last is of all from 2 GiB on, of which no more is known.
const ROWS: usize = 33 - FIRST;

/// The columns: mapped, by direction, and allocated.
const COLUMNS: [&str; 5] = ["to device", "from device", "both ways", "no way", "allocated"];

/// What is counted of sizes.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    rows: [[u64; COLUMNS.len()]; ROWS],
}

impl Sizes {
    /// Counts a buffer if the device was given it.
    pub(super) fn add(&mut self, call: &DmaCall<'_>) {
        let column = match (call.op, call.direction) {
            _ if call.dma.is_none() => return,
            (DmaOp::Map, DmaDirection::ToDevice) => 0,
            (DmaOp::Map, DmaDirection::FromDevice) => 1,
            (DmaOp::Map, DmaDirection::Both) => 2,
            (DmaOp::Map, DmaDirection::None) => 3,
            (DmaOp::Alloc, _) => 4,
            (DmaOp::Unmap | DmaOp::SyncForCpu | DmaOp::SyncForDevice | DmaOp::Free, _) => return,
        };
        self.rows[row(call.size)][column] += 1;
    }

    /// Writes a row for each doubling of size that occurred, with a column for each way that did.
    pub(super) fn write(&self, page: &mut Page<'_>) -> io::Result<()> {
        let has = |column: &usize| self.rows.iter().any(|row| row[*column] > 0);
        let columns: Vec<usize> = (0..COLUMNS.len()).filter(has).collect();
        if columns.is_empty() {
            return Ok(());
        }
        let line = |cells: Vec<String>| -> String {
            cells.iter().map(|cell| format!("{cell:>12} ")).collect::<String>()
        };
        let titles = line(columns.iter().map(|column| COLUMNS[*column].into()).collect());
        page.dim(&format!("\n{titles} buffers mapped or allocated, by size"))?;
        let rows: Vec<_> =
            self.rows.iter().enumerate().filter(|(_, counts)| counts.iter().any(|count| *count > 0)).collect();
        for (number, counts) in rows.iter().take(page.rows) {
            let cells = line(columns.iter().map(|column| grouped(counts[*column])).collect());
            writeln!(page.out, "{cells} {}", words(*number))?;
        }
        page.rest(rows.len(), "sizes")
    }
}

/// The row of buffers of this size.
fn row(size: u32) -> usize {
    let power = u64::from(size).next_power_of_two().trailing_zeros() as usize;
    power.saturating_sub(FIRST).min(ROWS - 1)
}

/// What a row is called.
fn words(row: usize) -> String {
    if row == ROWS - 1 {
        return "more".into();
    }
    format!("up to {} bytes", grouped(1 << (row + FIRST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_has_its_row_and_the_largest_has_no_end() {
        let told = [0, 64, 65, 1_522, 4_096, 4_097, 1 << 31, (1 << 31) + 1, u32::MAX];
        let expected = [
            "up to 64 bytes",
            "up to 64 bytes",
            "up to 128 bytes",
            "up to 2,048 bytes",
            "up to 4,096 bytes",
            "up to 8,192 bytes",
            "up to 2,147,483,648 bytes",
            "more",
            "more",
        ];
        assert_eq!(told.map(|size| words(row(size))), expected);
    }
}
