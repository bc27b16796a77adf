//! What memory devices are given: by a module that uses every call of the DMA interface (`booked`),
//! and by drivers (`drivers`).

mod booked;
mod drivers;

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::Scenario;
use crate::witnesses::Events;
pub(super) use booked::AS_BOOKED;
pub(super) use drivers::AS_THE_KERNEL;

/// What was done to buffers in a trace, and lines of the kernel log; `None` if the kernel did not
/// deliver all of them, which the trace says. Nothing else may be missing.
fn events(path: &Path) -> Result<Option<Vec<Value>>> {
    let events = Events::read(path)?;
    let missed = events.missed();
    ensure!(!missed.iter().any(|what| what.starts_with("dma_pieces")), "records are missing: {missed:?}");
    let is_ours = |event: &Value| ["dma", "log"].iter().any(|kind| event["kind"] == *kind);
    Ok(missed.is_empty().then(|| events.all.into_iter().filter(is_ours).collect()))
}
