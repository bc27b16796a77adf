//! Bad input, as a person would meet it: one clear message, the documented exit status, nothing
//! left armed, a clean kernel log.

mod cases;
mod faults;
mod probes;

use anyhow::Result;

use super::Scenario;
use super::account::DEVICES;
use super::rows::play;
use crate::setup::Series;
use crate::vm::Options;
use cases::{LOCKED, MADE};

pub(super) const TOLD: Scenario = Scenario {
    name: "each mistake gets one message that names the thing, its exit status, and leaves nothing armed",
    check: told,
};
pub(super) const PROBES: Scenario = Scenario {
    name: "each mistake with a code probe gets one message that names the thing, its exit status, and leaves nothing armed",
    check: |series| {
        play(probes::MADE, Options { modules: vec!["dummy".into()], ..Options::in_turn(series, "") })
    },
};
pub(super) const FAULTS: Scenario = Scenario {
    name: "each mistake with page faults gets one message that names the thing, its exit status, and everything is put back",
    check: with_faults,
};
pub(super) const LOCKED_DOWN: Scenario = Scenario {
    name: "a kernel that is locked down refuses the module, and the message says so",
    check: locked_down,
};

/// A device with a BAR of 1 GiB, beside the ones of the test modules.
const GIBIBYTE: [&str; 4] =
    ["-object", "memory-backend-ram,id=gibibyte,size=1G", "-device", "ivshmem-plain,memdev=gibibyte,addr=4"];

fn told(series: Series) -> Result<()> {
    let devices = DEVICES.iter().chain(&GIBIBYTE);
    play(MADE, Options { qemu: devices.map(Into::into).collect(), ..Options::in_turn(series, "") })
}

fn with_faults(series: Series) -> Result<()> {
    play(faults::MADE, Options::in_turn(series, ""))?;
    let append = Some("pti=on".to_owned());
    play(faults::ISOLATED, Options { append, ..Options::in_turn(series, "") })
}

fn locked_down(series: Series) -> Result<()> {
    let append = Some("lockdown=integrity".to_owned());
    play(LOCKED, Options { qemu: DEVICES.map(Into::into).into(), append, ..Options::in_turn(series, "") })
}
