//! The modules' build: compilers, objtool and modpost say what is wrong with a module that they
//! build all the same.

use anyhow::{Result, ensure};

use super::Scenario;
use crate::build;
use crate::setup::{Kernel, Series};

pub(super) const OF_THE_BUILD: Scenario =
    Scenario { name: "neither compilers nor objtool nor modpost warn of a module", check: silent };

fn silent(series: Series) -> Result<()> {
    let warnings = build::warnings(&Kernel::ensure(series)?)?;
    ensure!(warnings.is_empty(), "the build warned:\n{}", warnings.join("\n"));
    Ok(())
}
