//! mmiotrace's text format, version 20070824, byte for byte (kernel/trace/trace_mmiotrace.c): `demmio` and others parse it.
//!
//! The format knows values of up to 8 bytes, so a wider access becomes several lines, lowest address first. An access whose value is not known is an
//! `UNKNOWN` line, whose three opcode bytes are 0 here. A window (see [`What::Window`]) becomes a `MARK`, since an incomplete trace must not look complete.

use std::io::{self, Write};

use super::Sink;
use super::human::printable;
use crate::{Access, Device, Direction, Event, Header, Map, Totals, What};

/// Bytes of the widest value that the format knows.
const WIDEST: usize = 8;

/// Writes mmiotrace's text format.
#[derive(Debug)]
pub struct Mmiotrace<W> {
    out: W,
    program_counters: bool,
    /// Records that lines have told to be lost.
    lost: u64,
    kept: u64,
}

impl<W: Write> Mmiotrace<W> {
    /// Writes to `out`: first the version and the devices.
    ///
    /// `program_counters` fills in the address of the accessing instruction as mmiotrace does if started with `trace_pc`; by default it
    /// writes 0, as mmiotrace does.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W, header: &Header, program_counters: bool) -> io::Result<Self> {
        out.write_all(b"VERSION 20070824\n")?;
        header.devices.iter().try_for_each(|device| pci_device(&mut out, device))?;
        Ok(Self { out, program_counters, lost: 0, kept: 0 })
    }

    fn access(&mut self, time: &str, access: &Access<'_>) -> io::Result<()> {
        let Access { mapping, ip, .. } = access;
        let pc = if self.program_counters { *ip } else { 0 };
        let Some(physical) = access.physical else {
            let address = access.address;
            return writeln!(self.out, "MARK {time} access to linear 0x{address:x}, whose MAP was lost");
        };
        let Some(value) = access.value else {
            return writeln!(self.out, "UNKNOWN {time} {mapping} 0x{physical:x} 00,00,00 0x{pc:x} 0");
        };
        let letter = if access.direction == Direction::Read { 'R' } else { 'W' };
        for (index, bytes) in value.bytes().chunks(WIDEST).enumerate() {
            let physical = physical + (index * WIDEST) as u64;
            let value = bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
            let width = bytes.len();
            writeln!(self.out, "{letter} {width} {time} {mapping} 0x{physical:x} 0x{value:x} 0x{pc:x} 0")?;
        }
        Ok(())
    }
}

impl<W: Write> Sink for Mmiotrace<W> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let microseconds = event.time / 1000;
        let time = format!("{}.{:06}", microseconds / 1_000_000, microseconds % 1_000_000);
        match &event.what {
            What::Access(access) => self.access(&time, access)?,
            What::Map(Map { mapping, address, physical, length, .. }) => {
                writeln!(self.out, "MAP {time} {mapping} 0x{physical:x} 0x{address:x} 0x{length:x} 0x0 0")?;
            }
            What::Unmap { mapping } => writeln!(self.out, "UNMAP {time} {mapping} 0x0 0")?,
            What::Mark { text } => writeln!(self.out, "MARK {time} {}", printable(text))?,
            What::Lost { count } => {
                self.lost += count;
                writeln!(self.out, "MARK 0.000000 Lost {count} events.")?;
            }
            What::Window { address, nanoseconds } => {
                writeln!(
                    self.out,
                    "MARK {time} possibly missed: page 0x{address:x} open for {nanoseconds} ns"
                )?;
            }
            What::Fault(_) => return Err(refused("page faults")),
            What::Hit(hit) => return Err(refused(&format!("a hit of the code probe {}", hit.probe))),
        }
        self.kept += 1;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn end(&mut self, totals: &Totals) -> io::Result<()> {
        // Those after which nothing was written have no record of their own.
        if let lost @ 1.. = totals.dropped.saturating_sub(self.lost) {
            writeln!(self.out, "MARK 0.000000 Lost {lost} events.")?;
        }
        self.out.flush()
    }

    fn kept(&self) -> u64 {
        self.kept
    }
}

/// Why something that is no access can't be written.
fn refused(what: &str) -> io::Error {
    let text = format!(
        "mmiotrace's format knows accesses to devices only, and this trace has {what}; use human, json or parquet"
    );
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// `PCIDEV`: bus and devfn, ids, interrupt, where the resources start, how long they are, the driver (`mmio_print_pcidev`).
fn pci_device(out: &mut impl Write, device: &Device) -> io::Result<()> {
    /// `PCI_REGION_FLAG_MASK`: the bits of the flags that go with the start.
    const FLAGS: u64 = 0xf;
    let Device { address, vendor, device: id, irq, driver, bars, .. } = device;
    let (bus, function) = bus_and_function(address).unwrap_or_default();
    write!(out, "PCIDEV {bus:02x}{function:02x} {vendor:04x}{id:04x} {irq:x}")?;
    bars.iter().try_for_each(|bar| write!(out, " {:x}", bar.start | (bar.flags & FLAGS)))?;
    bars.iter().try_for_each(|bar| write!(out, " {:x}", bar.length))?;
    writeln!(out, " {}", driver.as_deref().unwrap_or_default())
}

/// Bus, and device and function in one byte, of `0000:00:03.0`.
fn bus_and_function(address: &str) -> Option<(u8, u8)> {
    let (_domain, rest) = address.split_once(':')?;
    let (bus, rest) = rest.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    let hex = |text| u8::from_str_radix(text, 16).ok();
    Some((hex(bus)?, hex(device)? << 3 | hex(function)?))
}
