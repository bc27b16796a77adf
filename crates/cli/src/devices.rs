//! `trapline devices`: what can be traced, and what each device is called.

use std::io::{self, Write};

use anstream::ColorChoice;
use trapline_registers::Registers;
use trapline_trace::{Bar, Device, DeviceError};

use crate::naming::{RegistersError, load_registers};
use crate::output::{self, OutputError};
use crate::pci;
use crate::say::say;
use crate::system::System;
use crate::table::{self, Side};
use crate::units::format_size;

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DevicesError {
    /// sysfs can't be read.
    #[error("can't list the PCI devices: {0}; is sysfs mounted at /sys?")]
    List(#[from] DeviceError),
    /// A register file can't be read.
    #[error(transparent)]
    Registers(#[from] RegistersError),
    /// It can't be printed.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Prints a line for each device.
pub(crate) fn run(system: &System) -> Result<(), DevicesError> {
    let devices = trapline_trace::devices(&system.path("sys"))?;
    let registers = load_registers(&[])?.whole()?;
    if devices.is_empty() {
        say!(
            "this machine has no PCI devices; --range traces other device memory by its address (/proc/iomem)"
        );
        return Ok(());
    }
    let rows: Vec<_> = devices.iter().map(|device| row(system, &devices, &registers, device)).collect();
    output::print(|out| {
        let colour = out.current_choice() != ColorChoice::Never;
        write(out, colour, &rows)
    })?;
    Ok(())
}

fn write(out: &mut impl Write, colour: bool, rows: &[[String; 6]]) -> io::Result<()> {
    let titles = ["device", "id", "driver", "called", "memory", "registers"].map(|title| (title, Side::Left));
    table::write(out, colour, titles, rows)
}

fn row(system: &System, devices: &[Device], registers: &Registers, device: &Device) -> [String; 6] {
    let or_dash = |text: String| if text.is_empty() { "-".into() } else { text };
    [
        device.address.clone(),
        format!("{:04x}:{:04x}", device.vendor, device.device),
        or_dash(device.driver.clone().unwrap_or_default()),
        or_dash(pci::names_of(system, devices, device).join(", ")),
        memory(device),
        or_dash(registers.file_of(&device.identity()).map(|file| file.name.clone()).unwrap_or_default()),
    ]
}

/// The BARs that can be traced, or why there are none.
fn memory(device: &Device) -> String {
    let one = |(index, bar): (u8, &Bar)| {
        let left_out = if pci::is_frame_buffer(device, bar) { " if asked for" } else { "" };
        format!("BAR {index} {}{left_out}", format_size(bar.length))
    };
    let all: Vec<String> = pci::bars(device).map(one).collect();
    match () {
        () if !all.is_empty() => all.join(", "),
        () if device.memory_bars().next().is_some() => "none: it has no address".into(),
        () if device.bars.iter().any(|bar| bar.length > 0) => "none: ports only".into(),
        () => "none".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::Machine;

    #[test]
    fn each_device_is_a_line_with_its_names_and_what_of_it_can_be_traced() {
        let machine = Machine::new(&[])
            .device("pci0000:00/0000:00:02.0/net/eth0", &["sys/class/net/eth0"])
            .device("pci0000:00/0000:00:01.0/drm/card0", &["sys/class/drm/card0"]);
        let bar = |start, length, flags| Bar { start, length, flags };
        let device = |address: &str, id, driver: Option<&str>, bars: &[(usize, Bar)]| {
            let mut device =
                Device { address: address.into(), vendor: 0x8086, device: id, ..Device::default() };
            device.driver = driver.map(str::to_owned);
            device.class = if driver == Some("bochs-drm") { 0x03_8000 } else { 0x02_0000 };
            bars.iter().for_each(|&(index, bar)| device.bars[index] = bar);
            device
        };
        let (frame_buffer, registers) = (bar(0xfd00_0000, 16 << 20, 0x2208), bar(0xfebf_0000, 4096, 0x200));
        let devices = [
            device("0000:00:00.0", 0x29c0, None, &[]),
            device("0000:00:01.0", 0x1111, Some("bochs-drm"), &[(0, frame_buffer), (2, registers)]),
            device("0000:00:02.0", 0x10d3, Some("e1000e"), &[(0, bar(0xfebc_0000, 128 << 10, 0x200))]),
            device("0000:00:03.0", 0x10d3, None, &[(0, bar(0, 128 << 10, 0x200))]),
            device("0000:00:1f.3", 0x2930, Some("i801_smbus"), &[(4, bar(0x700, 64, 0x101))]),
        ];
        let rows: Vec<_> = devices
            .iter()
            .map(|device| row(&machine.system, &devices, &Registers::shipped(), device))
            .collect();
        let mut out = Vec::new();
        write(&mut out, false, &rows).unwrap();
        let expected = "\
device        id         driver      called     memory                                  registers
0000:00:00.0  8086:29c0  -           -          none                                    -
0000:00:01.0  8086:1111  bochs-drm   drm/card0  BAR 0 16 MiB if asked for, BAR 2 4 KiB  -
0000:00:02.0  8086:10d3  e1000e      eth0       BAR 0 128 KiB                           Intel 82574
0000:00:03.0  8086:10d3  -           -          none: it has no address                 Intel 82574
0000:00:1f.3  8086:2930  i801_smbus  -          none: ports only                        -
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
