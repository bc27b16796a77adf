//! Any bytes, as every format: the register importers never panic, and what they write reads back
//! as it was, without a warning. `cargo +nightly fuzz run importers_write_what_reads_back`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/registers/tests/anything/property.rs"]
mod property;

fuzz_target!(|data: &[u8]| property::check(data));
