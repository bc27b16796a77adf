//! Configuration space of PCI devices: where a device has which capability, and what the registers
//! in them are called.
//!
//! The registers of the header and of each capability are in a register file that comes with
//! Trapline (`shipped/pci.toml`), each in the space of its capability, as offsets from where that
//! lies. Where that is, each device says for itself: [`walk`] follows its lists.
//!
//! Rejected: the crate pcics, which makes values of a whole copy of configuration space, where an
//! access is to a few bytes of it that may be a part of a register; a second table of names in Rust
//! beside the format that all other registers are in.

mod capability;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::{DeviceRegisters, Register, RegisterFile};
pub use capability::Capability;
pub use walk::{Broken, Walked, walk};

/// The register file.
static FILE: LazyLock<RegisterFile> =
    LazyLock::new(|| match RegisterFile::parse("pci", include_str!("../../shipped/pci.toml")) {
        Ok(file) => file,
        Err(error) => unreachable!("a shipped register file is wrong, which a test would have told: {error}"),
    });

/// Where a device's configuration space has what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The type of its header: 0 of a device, 1 of a bridge.
    pub header: u8,
    /// Its capabilities, as they are listed.
    pub capabilities: Vec<Capability>,
    /// Its vendor's and device's ids read as ones though it answers: those of a virtual function of
    /// SR-IOV do, whose ids the function that it belongs to tells.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_ids: bool,
}

/// The registers of a device's configuration space.
#[derive(Clone, Debug, Default)]
pub struct ConfigRegisters {
    registers: DeviceRegisters,
    /// What each access is called, by offset and width.
    names: BTreeMap<(u16, u8), Box<str>>,
    /// Where each register lies: by its offset, its bytes.
    widths: BTreeMap<u16, u8>,
}

impl ConfigRegisters {
    /// Those of a device whose space has this layout.
    pub fn new(layout: &Layout) -> Self {
        let header = match layout.header {
            1 => "type 1",
            2 => "type 2",
            _ => "type 0",
        };
        let mut file = RegisterFile::default();
        let mut put = |space: &str, base: u16, most: u16| {
            let end = |one: &Register| one.offset + u64::from(one.width);
            let all = FILE.registers.iter().filter(|one| one.space.as_deref() == Some(space));
            let registers = all.filter(|one| end(one) <= most.into());
            let placed = registers.map(|register| Register {
                space: None,
                offset: register.offset + u64::from(base),
                ..register.clone()
            });
            file.registers.extend(placed);
        };
        put("header", 0, SIZE);
        put(header, 0, SIZE);
        let capabilities = placed(layout);
        let is_root = capabilities.values().any(Capability::is_root);
        for (offset, capability) in &capabilities {
            // A capability does not reach into another one.
            let behind = (Bound::Excluded(offset), Bound::Unbounded);
            let next = capabilities.range(behind).next().map_or(SIZE, |(other, _)| *other);
            let end = next.min(if capability.extended { SIZE } else { walk::FIRST_EXTENDED });
            let most = capability.most(is_root).min(end.saturating_sub(*offset));
            put(&capability.space(), *offset, most);
        }
        let lists = capabilities.values().flat_map(|capability| capability.list_registers());
        file.registers.extend(lists.filter(|one| one.offset + u64::from(one.width) <= SIZE.into()));
        let registers = DeviceRegisters::new(&file);
        let elements = file
            .registers
            .iter()
            .flat_map(|register| register.elements().map(|(_, offset)| (offset, register.width)));
        let within = elements.filter_map(|(offset, width)| Some((u16::try_from(offset).ok()?, width)));
        let widths: BTreeMap<u16, u8> = within.collect();
        let mut names = BTreeMap::new();
        let touched = widths.iter().flat_map(|(offset, width)| *offset..offset + u16::from(*width));
        let words: BTreeSet<u16> = touched.map(|offset| offset & !3).collect();
        for word in words {
            for (width, step) in [(1_u8, 1), (2, 2), (4, 4)] {
                for offset in (word..word + 4).step_by(step) {
                    if let Some(name) = name_of(&registers, offset, width) {
                        names.insert((offset, width), name.into());
                    }
                }
            }
        }
        Self { registers, names, widths }
    }

    /// What an access to `width` bytes at `offset` is to: `COMMAND`, `COMMAND+0x1` of its second
    /// byte, `COMMAND STATUS` of both.
    pub fn name(&self, offset: u16, width: u8) -> Option<&str> {
        self.names.get(&(offset, width)).map(|name| &**name)
    }

    /// The fields of a value of `width` bytes at `offset`, as `MEMORY=1 MASTER=0`; empty if there
    /// are none.
    pub fn fields(&self, offset: u16, width: u8, value: u32) -> String {
        self.fields_by(offset, width, value, DeviceRegisters::fields)
    }

    /// Of these fields those that are not 0.
    pub fn fields_set(&self, offset: u16, width: u8, value: u32) -> String {
        self.fields_by(offset, width, value, DeviceRegisters::fields_set)
    }

    fn fields_by(
        &self,
        offset: u16,
        width: u8,
        value: u32,
        of: impl Fn(&DeviceRegisters, u8, u64, u8, u64) -> String,
    ) -> String {
        if !matches!(width, 1 | 2 | 4) {
            return String::new();
        }
        let end = u32::from(offset) + u32::from(width);
        let inside = self.widths.range(offset..).take_while(|(start, _)| u32::from(**start) < end);
        let whole = inside.filter(|(start, width)| u32::from(**start) + u32::from(**width) <= end);
        let fields = whole.map(|(start, width)| {
            let value = u64::from(value) >> (8 * (start - offset));
            of(&self.registers, 0, u64::from(*start), *width, value)
        });
        fields.filter(|fields| !fields.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

/// The capabilities of a layout by their offsets. A layout may come from a file, which may say
/// anything: none lies behind the space, there is one in one place, and there are no more than fit.
fn placed(layout: &Layout) -> BTreeMap<u16, Capability> {
    let mut placed = BTreeMap::new();
    for capability in layout.capabilities.iter().filter(|one| one.offset < SIZE) {
        if placed.len() == walk::MOST + walk::MOST_EXTENDED {
            break;
        }
        placed.entry(capability.offset).or_insert(*capability);
    }
    placed
}

/// Bytes of the whole space.
pub const SIZE: u16 = 4096;

/// The names of what an access touches, the first wherever it begins, others where they begin.
fn name_of(registers: &DeviceRegisters, offset: u16, width: u8) -> Option<String> {
    let first = registers.name(0, offset.into());
    let others = (offset + 1..offset + u16::from(width))
        .filter_map(|at| registers.name(0, at.into()).filter(|name| !name.contains("+0x")));
    let names: Vec<&str> = first.into_iter().chain(others).collect();
    (!names.is_empty()).then(|| names.join(" "))
}

#[cfg(test)]
mod tests;
