//! Any bytes: `explain` never panics, and tells no address, register's value or task that does not
//! stand in the text. `cargo +nightly fuzz run explain_tells_what_the_text_says`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/explain/tests/anything/property.rs"]
mod property;

fuzz_target!(|data: &[u8]| property::check(data));
