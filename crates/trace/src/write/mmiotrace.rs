//! mmiotrace's text format, version 20070824, byte for byte (kernel/trace/trace_mmiotrace.c):
//! `demmio` and others parse it.

use std::io::{self, Write};

use super::Sink;
use crate::{Device, Event, Header, Totals};

/// The lines of one event.
pub(crate) struct MmiotraceLines<'l> {
    /// Where to.
    pub(crate) out: &'l mut dyn Write,
    /// When it was, as the format has it.
    pub(crate) time: &'l str,
    /// Whether to tell the address of the accessing instruction.
    pub(crate) program_counters: bool,
}

impl MmiotraceLines<'_> {
    /// Why something that is no access can't be written.
    pub(crate) fn refused(what: &str) -> io::Error {
        let text = format!(
            "mmiotrace's format knows accesses to devices only, and this trace has {what}; use human, json or parquet"
        );
        io::Error::new(io::ErrorKind::InvalidInput, text)
    }
}

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
    /// `program_counters` fills in the address of the accessing instruction as mmiotrace does if
    /// started with `trace_pc`; by default it writes 0, as mmiotrace does.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W, header: &Header, program_counters: bool) -> io::Result<Self> {
        out.write_all(b"VERSION 20070824\n")?;
        header.devices.iter().try_for_each(|device| pci_device(&mut out, device))?;
        Ok(Self { out, program_counters, lost: 0, kept: 0 })
    }
}

impl<W: Write> Sink for Mmiotrace<W> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let microseconds = event.time / 1000;
        let time = format!("{}.{:06}", microseconds / 1_000_000, microseconds % 1_000_000);
        self.lost = self.lost.saturating_add(event.what.lost());
        let program_counters = self.program_counters;
        event.mmiotrace(&mut MmiotraceLines { out: &mut self.out, time: &time, program_counters })?;
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

/// `PCIDEV`: bus and devfn, ids, interrupt, where the resources start, how long they are, the
/// driver (`mmio_print_pcidev`).
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
