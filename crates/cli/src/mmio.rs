//! `trapline mmio`: trace accesses to device registers.

use std::fs;
use std::path::PathBuf;

use trapline_abi::SessionKind;
use trapline_trace::{Device, Header, RegisterFile, Registers};

use crate::args::Mmio;
use crate::device::Control;
use crate::error::{Error, Result};
use crate::session::{self, Directions};
use crate::system::System;
use crate::targets::{self, Target, Wanted};
use crate::tell;
use crate::trace::{self, Subject, choose_output};

/// Traces; gives the exit status, which is COMMAND's if there is one.
pub(crate) fn run(system: &System, args: &Mmio) -> Result<u8> {
    let devices = trapline_trace::devices(&system.path("sys"))?;
    let wanted =
        Wanted { devices: args.devices.clone(), drivers: args.drivers.clone(), ranges: args.ranges.clone() };
    let targets = targets::resolve(system, &devices, &wanted)?;
    let registers = load_registers(&args.registers)?;
    choose_output(&args.trace, SessionKind::Accesses)?;
    if system.current_tracer().as_deref() == Some("mmiotrace") {
        return Err(Error::Mmiotrace);
    }
    let directions = Directions::new(args.reads, args.writes);
    trace::run(system, &args.trace, &mut Accesses { devices, targets, directions, registers })
}

/// The accesses to ranges.
struct Accesses {
    devices: Vec<Device>,
    targets: Vec<Target>,
    directions: Directions,
    registers: Registers,
}

impl Subject for Accesses {
    const KIND: SessionKind = SessionKind::Accesses;

    fn arm(&mut self, control: &impl Control, quiet: bool) -> Result<()> {
        for target in &self.targets {
            let watch = session::watch(control, target, self.directions)?;
            if !quiet {
                tell::watching(target, &watch);
            }
        }
        Ok(())
    }

    fn describe(&self, header: &mut Header) {
        header.devices.clone_from(&self.devices);
    }

    fn registers(&self) -> &Registers {
        &self.registers
    }
}

/// The register files that Trapline comes with, and those given, the last one first.
pub(crate) fn load_registers(files: &[PathBuf]) -> Result<Registers> {
    let mut registers = Registers::shipped();
    for path in files {
        let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.clone(), source })?;
        registers.add(RegisterFile::parse(&path.display().to_string(), &text)?);
    }
    Ok(registers)
}
