//! The crate against two judges: a second decoder (`iced-x86`) for what instructions access, and
//! the CPU for what they do.
//!
//! The number of random cases is `TRAPLINE_INSN_CASES`, the seed `TRAPLINE_INSN_SEED`; both are
//! printed.

mod agreement;
mod anything;
mod branch;
mod cases;
mod copies;
mod cpu;
mod forms;
mod interrupted;
mod machine;
mod methods;
mod ports;
mod steer;
mod systematic;
mod undefined;

fn from_environment(name: &str, otherwise: u64) -> u64 {
    let value = match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: expected a decimal number")),
        Err(_) => otherwise,
    };
    println!("{name}={value}");
    value
}

/// Random cases of each test that takes cases at random.
pub(crate) fn cases() -> u64 {
    from_environment("TRAPLINE_INSN_CASES", 100_000)
}

/// The seed of everything random; another one each run unless set.
pub(crate) fn seed() -> u64 {
    from_environment("TRAPLINE_INSN_SEED", fastrand::u64(..))
}
