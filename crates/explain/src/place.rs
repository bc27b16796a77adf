//! An address in words.

use crate::fault::{Levels, pattern, region};

/// Where `address` lies, or what its value says. `None` for `levels` where nothing tells them.
pub fn describe(address: u64, levels: Levels) -> String {
    let (region, moved) = region(address, levels);
    let moved = if moved {
        "; with KASLR (of memory) direct map, vmalloc area and vmemmap lie elsewhere in this part"
    } else {
        ""
    };
    let said = pattern(address).map(|text| format!("\n{text}")).unwrap_or_default();
    // A field before a null pointer has such an address too.
    let distance = address.wrapping_neg();
    let or = if (1..4096).contains(&distance) {
        format!("; or a null pointer minus {distance:#x}")
    } else {
        String::new()
    };
    format!("{address:#x}: {}{moved}{said}{or}", region.name)
}

/// Where the address of a program's fault lies.
pub(crate) fn of_program(address: u64) -> String {
    format!("{address:#x}: {}", region(address, Levels::Four).0.name)
}

/// Where `address` lies, without what its value could mean: the registers tell otherwise.
pub(crate) fn bare(address: u64, levels: Levels) -> String {
    let (region, _) = region(address, levels);
    format!("{address:#x}: {}", region.name.split(": ").next().unwrap_or(region.name))
}

/// Where an address of a 32-bit kernel lies, with the usual split of 3 GiB for programs; others can
/// be configured.
pub(crate) fn describe_32(address: u64) -> String {
    let name = match address {
        0..0x1000 => "the NULL page: a null pointer, with an offset if it is not 0",
        0x1000..0xc000_0000 => "user space",
        _ => "kernel space",
    };
    format!("{address:#x}: {name}, with the usual split of 3 GiB for programs and 1 GiB for the kernel")
}
