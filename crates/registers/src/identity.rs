//! What a device is known by, as far as register files ask.

/// Ids of a PCI device, and its driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity<'a> {
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// Class, subclass and programming interface: `0x010802` for NVMe.
    pub class: u32,
    /// Driver that it is bound to.
    pub driver: Option<&'a str>,
}
