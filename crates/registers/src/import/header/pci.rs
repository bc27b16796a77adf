//! Configuration registers of PCI, in the form of Linux's `pci_regs.h`.
//!
//! Offsets of a capability's registers count from where the capability lies, which each device
//! says. So a register of one is put in a space named after the capability's id, and those of the
//! header of configuration space in `config`. None of them names an access to a BAR.

use std::collections::HashSet;

use super::item::Item;

/// Capabilities, from the constants of their ids.
#[derive(Debug)]
pub(super) struct Spaces {
    capabilities: HashSet<String>,
}

/// What registers are called whose capability's id has another name.
const OTHER_NAMES: [(&str, &str); 6] = [
    ("SID", "SLOTID"),
    ("X", "PCIX"),
    ("X_BRIDGE", "PCIX"),
    ("EXP_DPC", "DPC"),
    ("VSEC", "VNDR"),
    ("CAP", "any capability"),
];

impl Spaces {
    /// Of a header that has them; none of any other.
    pub(super) fn of(items: &[Item<'_>]) -> Option<Self> {
        let id = |item: &Item<'_>| {
            let name = item.name.strip_prefix("PCI_CAP_ID_").or(item.name.strip_prefix("PCI_EXT_CAP_ID_"));
            name.map(ToOwned::to_owned)
        };
        let capabilities: HashSet<String> = items.iter().filter_map(id).collect();
        capabilities.contains("PM").then_some(Self { capabilities })
    }

    /// The space of a register.
    pub(super) fn of_register(&self, name: &str) -> String {
        let name = name.strip_prefix("PCI_").unwrap_or(name);
        let ends = name.rmatch_indices('_').map(|(at, _)| &name[..at]);
        let space = |start: &str| {
            let other =
                OTHER_NAMES.iter().find(|(other, _)| *other == start).map(|(_, name)| (*name).to_owned());
            other.or_else(|| self.capabilities.get(start).cloned())
        };
        let mut ends = ends;
        ends.find_map(space).unwrap_or_else(|| "config".into())
    }
}

/// Whether a constant that is not indented is a register, and no size.
pub(super) fn is_register(name: &str, value: i128) -> bool {
    let is_other =
        ["_SIZEOF", "_SIZE", "_NUM_", "CAP_ID", "_LEN", "_MAX"].iter().any(|part| name.contains(part));
    (0..4096).contains(&value) && !is_other
}
