//! Addresses become names: device, BAR, offset and register; function and module.

use std::io;

use trapline_registers::config::ConfigRegisters;
use trapline_registers::{DeviceRegisters, Registers};

use crate::{Access, Bar, Device, Event, Header, Place, PortAccess, Site, Source, Symbols, Value};

/// What is needed to name a trace's addresses.
#[derive(Debug, Default)]
pub struct Names {
    devices: Vec<(Device, Option<DeviceRegisters>)>,
    /// All memory BARs, sorted by start.
    ranges: Vec<Range>,
    /// All BARs of I/O ports, sorted by start.
    ports: Vec<Range>,
    /// Of devices whose configuration space was recorded.
    spaces: Vec<(String, ConfigRegisters)>,
    symbols: Option<Symbols>,
}

#[derive(Clone, Copy, Debug)]
struct Range {
    start: u64,
    length: u64,
    device: usize,
    bar: u8,
}

impl Names {
    /// For these devices. Without `symbols` no function is named, and those that events have
    /// already are kept.
    pub fn new(devices: &[Device], registers: &Registers, symbols: Option<Symbols>) -> Self {
        let mut names = Self { symbols, ..Self::default() };
        for (index, device) in devices.iter().enumerate() {
            let range = |(bar, range): (u8, &Bar)| Range {
                start: range.start,
                length: range.length,
                device: index,
                bar,
            };
            names.ranges.extend(device.memory_bars().map(range));
            names.ports.extend(device.port_bars().map(range));
            names.devices.push((device.clone(), registers.of(&device.identity())));
        }
        names.ranges.sort_by_key(|range| range.start);
        names.ports.sort_by_key(|range| range.start);
        names
    }

    /// Names what lies in configuration spaces too, as far as the header of a trace tells.
    pub fn with_spaces(mut self, header: &Header) -> Self {
        for source in &header.sources {
            if let Source::Config(spaces) = source {
                let named =
                    |space: &crate::Space| (space.device.clone(), ConfigRegisters::new(&space.layout));
                self.spaces.extend(spaces.devices.iter().map(named));
            }
        }
        self
    }

    /// The registers in a device's configuration space, if they are known.
    pub(crate) fn config(&self, device: &str) -> Option<&ConfigRegisters> {
        self.spaces.iter().find(|(known, _)| known == device).map(|(_, registers)| registers)
    }

    /// Learns of modules that were loaded since; whether there were any. To be called before events
    /// are named and after they were recorded: whatever module made one of them is in the list by
    /// then. It reads one small file if there are none.
    ///
    /// # Errors
    /// If the kernel's symbols can't be read any more; the names are as before then.
    pub fn refresh(&mut self) -> io::Result<bool> {
        self.symbols.as_mut().map_or(Ok(false), Symbols::refresh)
    }

    /// `event` with all names that are known.
    pub fn name<'e>(&'e self, event: Event<'e>) -> Event<'e> {
        Event { what: event.what.named(self), ..event }
    }

    /// Device, BAR, offset and register at a physical address.
    pub fn place(&self, physical: u64) -> Option<Place<'_>> {
        self.within(&self.ranges, physical)
    }

    /// Device, BAR, offset and register at an I/O port.
    pub fn port(&self, port: u16) -> Option<Place<'_>> {
        self.within(&self.ports, port.into())
    }

    fn within(&self, ranges: &[Range], address: u64) -> Option<Place<'_>> {
        let after = ranges.partition_point(|range| range.start <= address);
        let range = ranges.get(after.checked_sub(1)?)?;
        let offset = address - range.start;
        if offset >= range.length {
            return None;
        }
        let (device, registers) = &self.devices[range.device];
        let register = registers.as_ref().and_then(|registers| registers.name(range.bar, offset));
        Some(Place { device: &device.address, bar: range.bar, offset, register })
    }

    /// BAR and offset of the register whose next access answers a write to this place, if the
    /// device's register file tells.
    pub(crate) fn answer(&self, place: &Place<'_>) -> Option<(u8, u64)> {
        self.registers(place)?.answer(place.bar, place.offset)
    }

    /// Function at an address in the code.
    pub fn site(&self, ip: u64) -> Option<Site<'_>> {
        self.symbols.as_ref()?.resolve(ip)
    }

    /// The kernel's name for an address: `vfs_read+0x4/0x180`.
    pub(crate) fn symbol(&self, address: u64) -> Option<String> {
        self.symbols.as_ref()?.describe(address)
    }

    /// The fields of what an access read or wrote, as `EN=1 CSS=0 (NVM)`; empty if they are not
    /// known.
    pub fn fields(&self, access: &Access<'_>) -> String {
        self.fields_at(access.place, access.width, access.value)
    }

    /// The fields of what an access to a port read or wrote.
    pub(crate) fn port_fields(&self, access: &PortAccess<'_>) -> String {
        self.fields_at(access.place, access.width, access.value)
    }

    fn fields_at(&self, place: Option<Place<'_>>, width: u8, value: Option<Value>) -> String {
        let (Some(place), Some(value)) = (place, value) else { return String::new() };
        let Some(registers) = self.registers(&place) else { return String::new() };
        registers.fields(place.bar, place.offset, width, value.low())
    }

    /// The fields that are not 0 of what a register in a BAR held; empty if they are not known.
    pub(crate) fn fields_set(&self, place: &Place<'_>, value: &Value) -> String {
        let width = value.bytes().len() as u8;
        let set = |known: &DeviceRegisters| known.fields_set(place.bar, place.offset, width, value.low());
        self.registers(place).map(set).unwrap_or_default()
    }

    /// The fields that are not 0 of what a device's configuration space held at an offset.
    pub(crate) fn config_fields_set(&self, place: &Place<'_>, value: &Value) -> String {
        let (width, low) = (value.bytes().len() as u8, value.low() as u32);
        let known = self.config(place.device).zip(u16::try_from(place.offset).ok());
        known.map(|(known, offset)| known.fields_set(offset, width, low)).unwrap_or_default()
    }

    fn registers(&self, place: &Place<'_>) -> Option<&DeviceRegisters> {
        let known = self.devices.iter().find(|(device, _)| device.address == place.device);
        known?.1.as_ref()
    }
}
