//! The C interface's header is generated from the one Rust module that is the contract, and kept in
//! the tree so that using it needs no generator.

use std::path::Path;

/// `UPDATE_EXPECT=1 cargo test -p xtask --test header` writes it anew.
#[test]
fn the_header_is_what_the_contract_says() {
    let kernel = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel");
    let config = cbindgen::Config::from_file(kernel.join("cbindgen.toml")).expect("cbindgen.toml is read");
    let bindings = cbindgen::Builder::new()
        .with_config(config)
        .with_src(kernel.join("../crates/api/src/raw.rs"))
        .with_src(kernel.join("src/api/mod.rs"))
        .generate();
    let mut generated = Vec::new();
    bindings.expect("the contract is one that C can hold to").write(&mut generated);
    let generated = String::from_utf8(generated).expect("a header is text");
    expect_test::expect_file![kernel.join("include/trapline.h")].assert_eq(&generated);
}
