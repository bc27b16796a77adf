//! A report of page faults as a picture: when they came on which addresses, and how long they took.

use std::error::Error;

use plotters::coord::ranged1d::SegmentedCoord;
use plotters::coord::types::RangedCoordusize;
use plotters::prelude::*;

use super::Tally;
use super::heat::Grid;
use crate::report::Bucket;
use crate::write::{duration, grouped};

/// Pixels.
const WIDTH: u32 = 960;
/// Pixels of a row of the map.
const ROW: u32 = 22;
/// Pixels of a map without its rows: caption, axis and margins.
const AROUND: u32 = 110;
/// Pixels of the histogram.
const BARS: u32 = 320;
/// Many faults, and few.
const DARK: RGBColor = RGBColor(122, 4, 3);
const LIGHT: RGBColor = RGBColor(253, 212, 158);
const BAR: RGBColor = RGBColor(49, 104, 142);

type Drawing<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), Box<dyn Error>>;

impl Tally {
    /// The picture as SVG; `None` if there were no page faults.
    pub(crate) fn picture(&self) -> Option<String> {
        let grid = self.heat.grid()?;
        let buckets = self.latency.buckets();
        let map = AROUND + ROW * grid.rows.len() as u32;
        let height = map + if buckets.is_empty() { 0 } else { BARS };
        let mut text = String::new();
        {
            let all = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
            let (above, below) = all.split_vertically(map);
            all.fill(&WHITE)
                .map_err(Into::into)
                .and_then(|()| self.draw_map(&above, &grid))
                .and_then(|()| if buckets.is_empty() { Ok(()) } else { self.draw_buckets(&below, &buckets) })
                .and_then(|()| all.present().map_err(Into::into))
                .expect("drawing into a text does not fail");
        }
        Some(text)
    }

    fn draw_map(&self, area: &Drawing<'_>, grid: &Grid) -> Drawn {
        let seconds = |column: usize| (grid.column as f64) * column as f64 / 1e9;
        let rows = grid.rows.len();
        let caption = format!("{} page faults: when, and on which addresses", grouped(self.faults()));
        let mut chart = ChartBuilder::on(area)
            .caption(caption, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(150)
            .build_cartesian_2d(0.0..seconds(grid.columns), segments(rows))?;
        // Addresses rise downwards, as in the report.
        let row_of = |row: usize| &grid.rows[rows - 1 - row];
        let address = |at: &SegmentValue<usize>| match at {
            SegmentValue::CenterOf(row) if *row < rows => format!("{:#x}", row_of(*row).0),
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_mesh()
            .x_desc("seconds since the first")
            .y_labels(rows)
            .y_label_formatter(&address)
            .draw()?;
        let cells = (0..rows).flat_map(|row| {
            let counts = row_of(row).1.iter().enumerate().filter(|(_, count)| **count > 0);
            counts.map(move |(column, count)| {
                let corners = [
                    (seconds(column), SegmentValue::Exact(row)),
                    (seconds(column + 1), SegmentValue::Exact(row + 1)),
                ];
                Rectangle::new(corners, between(LIGHT, DARK, grid.share(*count)).filled())
            })
        });
        chart.draw_series(cells)?;
        Ok(())
    }

    fn draw_buckets(&self, area: &Drawing<'_>, buckets: &[Bucket]) -> Drawn {
        let most = buckets.iter().map(|bucket| bucket.count).max().unwrap_or(1);
        let caption = format!("How long they took: {}", self.latency.sentence());
        let mut chart = ChartBuilder::on(area)
            .caption(caption, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(150)
            .build_cartesian_2d(segments(buckets.len()), 0..most + most / 10 + 1)?;
        let upper = |at: &SegmentValue<usize>| match at {
            SegmentValue::CenterOf(bucket) if *bucket < buckets.len() => duration(buckets[*bucket].to),
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_desc("up to")
            .y_desc("faults")
            .x_labels(buckets.len())
            .x_label_formatter(&upper)
            .draw()?;
        chart.draw_series(buckets.iter().enumerate().map(|(at, bucket)| {
            let corners = [(SegmentValue::Exact(at), 0), (SegmentValue::Exact(at + 1), bucket.count)];
            let mut drawn = Rectangle::new(corners, BAR.filled());
            drawn.set_margin(0, 0, 2, 2);
            drawn
        }))?;
        Ok(())
    }
}

/// An axis of so many segments: a range that ends before it begins has none, so there are two at
/// least.
fn segments(count: usize) -> SegmentedCoord<RangedCoordusize> {
    (0..count.max(2) - 1).into_segmented()
}

/// The colour so far on the way from one to the other.
fn between(from: RGBColor, to: RGBColor, share: f64) -> RGBColor {
    let mix = |from: u8, to: u8| (f64::from(from) + (f64::from(to) - f64::from(from)) * share) as u8;
    RGBColor(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}
