//! The conformance suite on the simulated machine, each scenario under many seeds, with an
//! allocator that refuses the trap path.

use libtest_mimic::{Arguments, Failed, Trial};
use trapline_sim::{Arming, Options, Simulated, conformance};

mod refusing_allocator;

/// Seeds that a scenario runs under; `TRAPLINE_SEEDS` for another number, `TRAPLINE_SEED` for just
/// one.
fn seeds() -> std::ops::Range<u64> {
    let from_environment = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match from_environment("TRAPLINE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..from_environment("TRAPLINE_SEEDS").unwrap_or(25),
    }
}

fn main() {
    // Each scenario with either way of arming: what a fault of an armed page looks like is the
    // machine's to say.
    let all = Arming::ALL
        .iter()
        .flat_map(|arming| conformance::ALL.iter().map(move |scenario| (*arming, scenario)));
    let trials = all.map(|(arming, scenario)| {
        let name = match arming {
            Arming::NotPresent => scenario.name.to_owned(),
            Arming::Reserved => format!("{}_with_reserved_bits", scenario.name),
        };
        Trial::test(name, move || {
            // A scenario of one CPU has one order of events.
            let seeds = if scenario.cpus == 1 { 0..1 } else { seeds() };
            for seed in seeds {
                let run = std::panic::catch_unwind(|| {
                    let mut machine =
                        Simulated::new(Options { cpus: scenario.cpus, seed, arming, ..Options::default() });
                    let able = (scenario.run)(&mut machine);
                    let missed = machine.take_missed();
                    assert_eq!(missed, [], "passed a probe unseen");
                    able
                });
                match run {
                    Ok(Some(())) => {}
                    Ok(None) => return Err(Failed::from("the simulated machine can set up every scenario")),
                    Err(_) => return Err(Failed::from(format!("TRAPLINE_SEED={seed} shows it again"))),
                }
            }
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}
