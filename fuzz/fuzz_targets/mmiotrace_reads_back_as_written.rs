//! Any bytes: reading them as mmiotrace's text never panics, each line is an event, of nothing that
//! happened, or told to be left out, and what is written of it reads back the same. `cargo +nightly
//! fuzz run mmiotrace_reads_back_as_written`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/trace/tests/trace/property.rs"]
mod property;

fuzz_target!(|data: &[u8]| property::check(data));
