//! A capability of a device, and which registers it has.

use serde::{Deserialize, Serialize};

use crate::{Field, Register};

/// A capability in a device's configuration space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// Where it lies.
    pub offset: u16,
    /// What it is.
    pub id: u16,
    /// Whether it is an extended one, from offset 0x100 on.
    pub extended: bool,
    /// The upper half of its first four bytes: of MSI and MSI-X message control, of PCI Express the
    /// version and type.
    pub detail: u16,
}

/// Names of capabilities by their ids, as the kernel's `PCI_CAP_ID_*` has them.
const STANDARD: [&str; 0x16] = [
    "NULL", "PM", "AGP", "VPD", "SLOTID", "MSI", "CHSWP", "PCIX", "HT", "VNDR", "DBG", "CCRC", "SHPC",
    "SSVID", "AGP3", "SECDEV", "EXP", "MSIX", "SATA", "AF", "EA", "FPB",
];

/// Names of extended capabilities by their ids, as the kernel's `PCI_EXT_CAP_ID_*` has them; the
/// specification's `VSEC` is its `VNDR`, as one of the others is called.
const EXTENDED: [&str; 0x2f] = [
    "NULL", "ERR", "VC", "DSN", "PWR", "RCLD", "RCILC", "RCEC", "MFVC", "VC9", "RCRB", "VSEC", "CAC", "ACS",
    "ARI", "ATS", "SRIOV", "MRIOV", "MCAST", "PRI", "AMD_XXX", "REBAR", "DPA", "TPH", "LTR", "SECPCI",
    "PMUX", "PASID", "LNR", "DPC", "L1SS", "PTM", "MPHY", "FRSQ", "RTR", "DVSEC", "VF_REBAR", "DLF",
    "PL_16GT", "LMR", "HID", "NPEM", "PL_32GT", "AP", "SFI", "SHADOW", "DOE",
];

/// What PCI Express is called among the standard ones, and MSI.
const EXP: u16 = 0x10;
const MSI: u16 = 0x05;

/// What error reporting is called among the extended ones.
const ERR: u16 = 0x01;

/// Of MSI's message control: addresses have 64 bits; each vector has a bit that masks it.
const MSI_64: u16 = 1 << 7;
const MSI_MASKS: u16 = 1 << 8;

/// Where the registers of version 1 of PCI Express end: of an endpoint, and of what has a slot or
/// is a root.
const EXP_OF_ENDPOINT: u16 = 0x14;
const EXP_VERSION_1: u16 = 0x24;

/// Where error reporting ends in what is no root.
const ERR_OF_OTHERS: u16 = 0x2c;

impl Capability {
    /// What it is called, as the kernel does: `MSIX`, `ERR`; `CAP_42` if it is not known.
    pub fn name(&self) -> String {
        let known: &[&str] = if self.extended { &EXTENDED } else { &STANDARD };
        match known.get(usize::from(self.id)) {
            Some(name) => (*name).into(),
            None if self.extended => format!("ECAP_{:02X}", self.id),
            None => format!("CAP_{:02X}", self.id),
        }
    }

    /// The space of the register file that has its registers.
    pub(super) fn space(&self) -> String {
        let name = self.name();
        match (self.extended, self.id) {
            (false, MSI) if self.detail & MSI_64 != 0 => name + " 64",
            _ => name,
        }
    }

    /// Whether it says that its device gathers the errors of others: a root port, or an event
    /// collector of a root complex.
    pub(super) fn is_root(&self) -> bool {
        (self.extended, self.id) == (false, EXP) && matches!(self.detail >> 4 & 0xf, 4 | 10)
    }

    /// How many bytes it has at most, as far as that depends on what it says of itself, or on
    /// whether its device is a root.
    pub(super) fn most(&self, is_root: bool) -> u16 {
        let (version, port) = (self.detail & 0xf, self.detail >> 4 & 0xf);
        match (self.extended, self.id) {
            (false, EXP) if version < 2 && port < 2 => EXP_OF_ENDPOINT,
            (false, EXP) if version < 2 => EXP_VERSION_1,
            (false, MSI) => match (self.detail & MSI_MASKS != 0, self.detail & MSI_64 != 0) {
                (false, false) => 10,
                (false, true) => 14,
                (true, false) => 0x14,
                (true, true) => 0x18,
            },
            (true, ERR) if !is_root => ERR_OF_OTHERS,
            _ => u16::MAX,
        }
    }

    /// What every capability begins with.
    pub(super) fn list_registers(&self) -> Vec<Register> {
        let (name, offset) = (self.name(), u64::from(self.offset));
        if self.extended {
            let mut header = Register::new(format!("{name}_HEADER"), offset, 4);
            header.fields =
                vec![Field::new("NEXT", 31, 20), Field::new("VERSION", 19, 16), Field::new("ID", 15, 0)];
            return vec![header];
        }
        vec![
            Register::new(format!("{name}_ID"), offset, 1),
            Register::new(format!("{name}_NEXT"), offset + 1, 1),
        ]
    }
}
