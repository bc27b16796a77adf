//! Accesses to configuration space, as the command asks for them and as they are recorded.

use crate::PciFunction;

/// Argument of [`CONFIG`](crate::CONFIG): record the accesses to the configuration space of this
/// PCI device, from now on until the session stops; once for each device, up to
/// [`MAX_CONFIG_DEVICES`].
///
/// They are those that the kernel makes, for whomever. They are followed where all of them end, in
/// the functions of [`CONFIG_FUNCTIONS`], and told apart by the device's number: what comes to sit
/// there later is followed too.
///
/// `ENOENT` if there is no such device; `E2BIG` if there are too many; `EEXIST` if the session has
/// it already; `EINVAL` if what must be zero is not; `ENOMEM`; `EOPNOTSUPP` if the kernel reaches
/// this device's configuration space by other functions, which two reads of it tell; `ENOSYS` if it
/// has none of the functions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigWatch {
    /// In: which device.
    pub device: PciFunction,
    /// Out: a bit for each of [`CONFIG_FUNCTIONS`] that is followed.
    pub followed: u32,
    /// Zero.
    pub reserved: u32,
    /// Out: numbers of the probes that follow them, by which [`LIST`](crate::LIST) tells what they
    /// missed.
    pub probes: [u64; CONFIG_FUNCTIONS.len()],
}

/// Devices whose configuration space a session may record.
pub const MAX_CONFIG_DEVICES: usize = 64;

/// The kernel's functions that access configuration space: by ports (arch/x86/pci/direct.c), and by
/// memory that is mapped (arch/x86/pci/mmconfig_64.c).
pub const CONFIG_FUNCTIONS: [&str; 4] =
    ["pci_conf1_read", "pci_conf1_write", "pci_mmcfg_read", "pci_mmcfg_write"];

/// How configuration space was accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ConfigWay {
    /// By the ports 0xcf8 and 0xcfc.
    Ports = 0,
    /// By memory that is mapped (ECAM).
    Memory = 1,
}

impl ConfigWay {
    /// The way with code `code`, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Ports,
            1 => Self::Memory,
            _ => return None,
        })
    }
}

/// Return addresses that an access is recorded with, at most.
pub const MAX_CONFIG_FRAMES: usize = 12;

/// `payload` of [`Kind::Config`](crate::Kind::Config).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigPayload {
    /// Whose configuration space.
    pub device: PciFunction,
    /// What was read or written.
    pub value: u32,
    /// What the kernel's function returned: 0, or a negative error number.
    pub result: i32,
    /// Bytes from the space's start.
    pub offset: u32,
    /// A [`ConfigWay`].
    pub way: u8,
    /// Nanoseconds that the function took.
    pub took: u64,
}

impl ConfigPayload {
    /// As it lies in a record.
    pub const fn to_words(self) -> [u64; 4] {
        let Self { device, value, result, offset, way, took } = self;
        let values = value as u64 | (result as u32 as u64) << 32;
        [device.0, values, offset as u64 | (way as u64) << 32, took]
    }

    /// From a record of kind [`Kind::Config`](crate::Kind::Config).
    pub const fn from_words(words: [u64; 4]) -> Self {
        let [device, values, place, took] = words;
        Self {
            device: PciFunction(device),
            value: values as u32,
            result: (values >> 32) as i32,
            offset: place as u32,
            way: (place >> 32) as u8,
            took,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_survives_the_way_through_a_record() {
        let access = ConfigPayload {
            device: PciFunction::new(0x1_0000, 0xff, 0x1f, 7),
            value: 0x89ab_cdef,
            result: -22,
            offset: u32::MAX,
            way: ConfigWay::Memory as u8,
            took: u64::MAX,
        };
        assert_eq!(ConfigPayload::from_words(access.to_words()), access);
    }

    #[test]
    fn every_code_names_one_way() {
        for code in 0..=u8::MAX {
            if let Some(way) = ConfigWay::from_code(code) {
                assert_eq!(way as u8, code);
            }
        }
        assert_eq!((0..=u8::MAX).filter_map(ConfigWay::from_code).count(), 2);
    }
}
