//! Registers by name: which file describes which device, and what lies at an offset.
//!
//! Names are worked out once, when a device is matched, for every byte of every register; looking one up on the way of a trace is a binary search that
//! allocates nothing.

mod file;

use crate::Device;
pub use file::{Field, Register, RegisterError, RegisterFile};

/// Files that come with Trapline.
const SHIPPED: [(&str, &str); 3] = [
    ("edu.toml", include_str!("../../registers/edu.toml")),
    ("nvme.toml", include_str!("../../registers/nvme.toml")),
    ("e1000e.toml", include_str!("../../registers/e1000e.toml")),
];

/// Register files, the most important first.
#[derive(Clone, Debug)]
pub struct Registers {
    files: Vec<RegisterFile>,
}

impl Registers {
    /// The files that come with Trapline: QEMU's edu, NVMe, e1000e.
    pub fn shipped() -> Self {
        let files = SHIPPED.map(|(name, text)| match RegisterFile::parse(name, text) {
            Ok(file) => file,
            Err(error) => {
                unreachable!("a shipped register file is wrong, which a test would have told: {error}")
            }
        });
        Self { files: files.into() }
    }

    /// No files at all: nothing gets a name.
    pub fn none() -> Self {
        Self { files: Vec::new() }
    }

    /// Adds a person's own file, which is asked before all others.
    pub fn add(&mut self, file: RegisterFile) {
        self.files.insert(0, file);
    }

    /// The registers of `device`, from the first file that describes it.
    pub(crate) fn of(&self, device: &Device) -> Option<DeviceRegisters> {
        self.files.iter().find(|file| file.describes(device)).map(DeviceRegisters::new)
    }
}

/// The registers of one device.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeviceRegisters {
    registers: Vec<Register>,
    /// Every byte that has a name, sorted by BAR and offset.
    bytes: Vec<Byte>,
}

#[derive(Clone, Debug)]
struct Byte {
    bar: u8,
    offset: u64,
    name: Box<str>,
    /// Index into `registers`, for a register's first byte.
    register: Option<usize>,
}

impl DeviceRegisters {
    fn new(file: &RegisterFile) -> Self {
        let registers = file.registers().to_vec();
        let mut bytes = Vec::new();
        for (index, register) in registers.iter().enumerate() {
            for (name, start) in register.elements() {
                for within in 0..u64::from(register.width) {
                    let name = if within == 0 { name.clone() } else { format!("{name}+{within:#x}") };
                    bytes.push(Byte {
                        bar: register.bar,
                        offset: start + within,
                        name: name.into(),
                        register: (within == 0).then_some(index),
                    });
                }
            }
        }
        // Where registers overlap, one that starts there comes before the inside of another, then the order of the file decides.
        bytes.sort_by_key(|byte| (byte.bar, byte.offset, byte.register.is_none()));
        bytes.dedup_by_key(|byte| (byte.bar, byte.offset));
        Self { registers, bytes }
    }

    fn at(&self, bar: u8, offset: u64) -> Option<&Byte> {
        let found = self.bytes.binary_search_by_key(&(bar, offset), |byte| (byte.bar, byte.offset)).ok()?;
        Some(&self.bytes[found])
    }

    /// Name of what lies at `offset` in `bar`: `CC`, `RAL[2]`, or `CAP+0x4` inside a register.
    pub(crate) fn name(&self, bar: u8, offset: u64) -> Option<&str> {
        self.at(bar, offset).map(|byte| &*byte.name)
    }

    /// The fields of `value` in the register that starts at `offset` in `bar`, as `EN=1 CSS=0 (NVM)`; empty if there are none.
    pub(crate) fn fields(&self, bar: u8, offset: u64, width: u8, value: u64) -> String {
        let Some(register) = self.at(bar, offset).and_then(|byte| self.registers.get(byte.register?)) else {
            return String::new();
        };
        let shown = register.fields.iter().filter(|field| field.high < u32::from(width) * 8);
        shown.map(|field| field.show(value)).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests;
