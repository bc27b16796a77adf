//! What of a device's memory can be traced.

use trapline_trace::{Bar, Device};

use crate::units::format_size;

/// Index of the expansion ROM after BARs 0 to 5.
const ROM: u8 = 6;

/// The memory BARs of a device that have an address. The expansion ROM is left out: it holds no
/// registers.
pub(crate) fn bars(device: &Device) -> impl Iterator<Item = (u8, &Bar)> {
    device.memory_bars().filter(|(index, bar)| *index < ROM && bar.start != 0)
}

/// Whether it has any.
pub(crate) fn is_traceable(device: &Device) -> bool {
    bars(device).next().is_some()
}

/// Whether a BAR holds a picture rather than registers: it is memory of a screen that may be read
/// ahead, and large. Registers are prefetchable as well on other devices (virtio's, network
/// cards').
pub(crate) fn is_frame_buffer(device: &Device, bar: &Bar) -> bool {
    device.class >> 16 == DISPLAY && bar.is_prefetchable() && bar.length >= 1 << 20
}

/// The class of display controllers (PCI_BASE_CLASS_DISPLAY).
const DISPLAY: u32 = 0x03;

/// BARs with their sizes, in words.
pub(crate) fn sizes(bars: &[(u8, &Bar)]) -> String {
    let one = |(index, bar): &(u8, &Bar)| format!("BAR {index} ({})", format_size(bar.length));
    bars.iter().map(one).collect::<Vec<_>>().join(", ")
}
