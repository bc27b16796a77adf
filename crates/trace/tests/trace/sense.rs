//! Whether records make sense. A module beside `kind`, which tests have that do not ask for this.

use std::convert::Infallible;

use trapline_abi::Record;
use trapline_trace::Merge;

/// How many events records become, and how many of them made no sense.
pub(crate) fn told(records: &[Record]) -> (u64, u64) {
    let mut merge = Merge::new(1);
    merge.push(0, records, true);
    let mut events = 0;
    let Ok(()) = merge.finish(|_| {
        events += 1;
        Ok::<(), Infallible>(())
    });
    (events, merge.malformed())
}
