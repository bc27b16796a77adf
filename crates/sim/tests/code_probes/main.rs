//! Code probes on the simulated machine, each scenario under many seeds and however hits are
//! delivered: every path of the state machine, with other cores and the writer in between.

mod hits;
mod modules;
mod races;
#[path = "../refusing_allocator/mod.rs"]
mod refusing_allocator;
mod returns;
mod ways;
