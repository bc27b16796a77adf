//! Code probes on the simulated machine, each scenario under many seeds and however hits are delivered: every path of the state machine, with other cores and the writer in between.

mod hits;
mod modules;
mod poison;
mod races;
mod returns;
mod ways;
