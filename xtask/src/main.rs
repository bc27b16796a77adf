//! What a person types to try, test and measure Trapline.
fn main() {}
