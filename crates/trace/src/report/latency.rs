//! How long something took: a histogram, in characters.

use std::io::{self, Write};

use hdrhistogram::Histogram;

use crate::write::duration;

/// The narrowest bucket: up to so many nanoseconds.
const FIRST: u64 = 256;
/// Characters of the longest bucket.
const WIDTH: u64 = 64;

/// Times by how often they were seen, to three digits if nothing else is said.
#[derive(Debug)]
pub(crate) struct Latency {
    times: Histogram<u64>,
}

impl Default for Latency {
    fn default() -> Self {
        Self { times: Histogram::new(3).expect("three digits are among those allowed") }
    }
}

/// So many took longer than the bucket before says and up to this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Nanoseconds.
    pub(crate) to: u64,
    pub(crate) count: u64,
}

impl Latency {
    /// To two digits: so a report can have many, each of at most 60 KiB whatever the times.
    pub(crate) fn rough() -> Self {
        Self { times: Histogram::new(2).expect("two digits are among those allowed") }
    }

    /// Counts one that took so many nanoseconds.
    pub(crate) fn add(&mut self, nanoseconds: u64) {
        self.times.record(nanoseconds).expect("it grows as it must, and 64 bits are enough to count in");
    }

    /// How many were counted.
    pub(crate) fn count(&self) -> u64 {
        self.times.len()
    }

    /// A bucket for each doubling of time, from the first that is not empty to the last.
    pub(crate) fn buckets(&self) -> Vec<Bucket> {
        let mut buckets: Vec<Bucket> = Vec::new();
        for step in self.times.iter_recorded() {
            let to =
                step.value_iterated_to().checked_next_power_of_two().map_or(u64::MAX, |to| to.max(FIRST));
            // Times come in order; those that nothing took in between have buckets too.
            while let Some(Bucket { to: before, .. }) = buckets.last().copied()
                && before < to
            {
                buckets.push(Bucket { to: before.saturating_mul(2), count: 0 });
            }
            if buckets.is_empty() {
                buckets.push(Bucket { to, count: 0 });
            }
            if let Some(bucket) = buckets.last_mut() {
                bucket.count += step.count_at_value();
            }
        }
        buckets
    }

    /// "half within 2.1 us, 99 % within 14.2 us, all within 1.2 ms".
    pub(crate) fn sentence(&self) -> String {
        let within = |share| duration(self.times.value_at_quantile(share));
        format!(
            "half within {}, 99 % within {}, all within {}",
            within(0.5),
            within(0.99),
            duration(self.times.max())
        )
    }

    /// Draws the histogram: a row for each bucket.
    ///
    /// # Errors
    /// Those of `out`.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let buckets = self.buckets();
        let most = buckets.iter().map(|bucket| bucket.count).max().unwrap_or(1);
        for Bucket { to, count } in buckets {
            // Whatever was seen shows.
            let length = (count * WIDTH).div_ceil(most) as usize;
            writeln!(
                out,
                "{:>12}  up to {:>9}  {}",
                crate::write::grouped(count),
                duration(to),
                "#".repeat(length)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_doubling_of_time_has_a_bar_and_nothing_is_lost() {
        let mut latency = Latency::default();
        for _ in 0..100 {
            latency.add(1_000);
        }
        latency.add(300);
        latency.add(5_000);
        let buckets = latency.buckets();
        assert_eq!(buckets.iter().map(|bucket| bucket.count).sum::<u64>(), latency.count());
        let counts: Vec<_> = buckets.iter().map(|bucket| (bucket.to, bucket.count)).collect();
        assert_eq!(counts, [(512, 1), (1024, 100), (2048, 0), (4096, 0), (8192, 1)]);
        let mut text = Vec::new();
        latency.write(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "           1  up to    512 ns  #");
        assert_eq!(lines[1].matches('#').count(), WIDTH as usize);
        assert_eq!(latency.sentence(), "half within 1.0 us, 99 % within 1.0 us, all within 5.0 us");
    }

    #[test]
    fn times_of_any_length_are_counted() {
        let mut latency = Latency::default();
        for time in [0, 1, 3_600_000_000_000, u64::MAX] {
            latency.add(time);
        }
        assert_eq!(latency.count(), 4);
        assert_eq!(latency.buckets().iter().map(|bucket| bucket.count).sum::<u64>(), 4);
    }
}
