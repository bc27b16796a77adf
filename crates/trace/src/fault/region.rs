//! What lies where in the address space: Documentation/arch/x86/x86_64/mm.rst of the kernel.

/// A region of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its first address.
    pub first: u64,
    /// Its last address.
    pub last: u64,
    /// What it is for.
    pub name: &'static str,
}

const fn to(first: u64, last: u64, name: &'static str) -> Region {
    Region { first, last, name }
}

/// With four levels of page tables, the layout of nearly all machines, without randomisation. What the kernel moves about at boot says so.
const LAYOUT: [Region; 28] = [
    to(
        0x0000_0000_0000_0000,
        0x0000_0000_0000_0fff,
        "the NULL page: a null pointer, with an offset if it is not 0",
    ),
    to(
        0x0000_0000_0000_1000,
        0x0000_0000_0000_ffff,
        "user space below vm.mmap_min_addr's usual 64 KiB: a null pointer to something large, or an index from one",
    ),
    to(0x0000_0000_0001_0000, 0x0000_7fff_ffff_efff, "user space"),
    to(0x0000_7fff_ffff_f000, 0x0000_7fff_ffff_ffff, "the guard page at the end of user space"),
    to(
        0x0000_8000_0000_0000,
        0x00ff_ffff_ffff_ffff,
        "the canonical hole (with five levels of page tables: user space)",
    ),
    to(0x0100_0000_0000_0000, 0xfeff_ffff_ffff_ffff, "the canonical hole"),
    to(
        0xff00_0000_0000_0000,
        0xffff_7fff_ffff_ffff,
        "the canonical hole (with five levels of page tables: the kernel's half)",
    ),
    to(0xffff_8000_0000_0000, 0xffff_87ff_ffff_ffff, "the guard hole, reserved for a hypervisor"),
    to(0xffff_8800_0000_0000, 0xffff_887f_ffff_ffff, "LDT remap for page-table isolation"),
    to(0xffff_8880_0000_0000, 0xffff_c87f_ffff_ffff, "direct map of physical memory"),
    to(0xffff_c880_0000_0000, 0xffff_c8ff_ffff_ffff, "an unused hole"),
    to(0xffff_c900_0000_0000, 0xffff_e8ff_ffff_ffff, "vmalloc and ioremap"),
    to(0xffff_e900_0000_0000, 0xffff_e9ff_ffff_ffff, "an unused hole"),
    to(0xffff_ea00_0000_0000, 0xffff_eaff_ffff_ffff, "vmemmap: the array of struct page"),
    to(0xffff_eb00_0000_0000, 0xffff_ebff_ffff_ffff, "an unused hole"),
    to(0xffff_ec00_0000_0000, 0xffff_fbff_ffff_ffff, "KASAN's shadow memory"),
    to(0xffff_fc00_0000_0000, 0xffff_fdff_ffff_ffff, "an unused hole"),
    to(0xffff_fe00_0000_0000, 0xffff_fe7f_ffff_ffff, "cpu_entry_area: entry stacks, IDT, GDT, TSS"),
    to(0xffff_fe80_0000_0000, 0xffff_feff_ffff_ffff, "an unused hole"),
    to(0xffff_ff00_0000_0000, 0xffff_ff7f_ffff_ffff, "espfix stacks"),
    to(0xffff_ff80_0000_0000, 0xffff_ffee_ffff_ffff, "an unused hole"),
    to(0xffff_ffef_0000_0000, 0xffff_fffe_ffff_ffff, "EFI runtime services"),
    to(0xffff_ffff_0000_0000, 0xffff_ffff_7fff_ffff, "an unused hole"),
    to(0xffff_ffff_8000_0000, 0xffff_ffff_bfff_ffff, "the kernel's text and data"),
    to(0xffff_ffff_c000_0000, 0xffff_ffff_feff_ffff, "modules"),
    to(0xffff_ffff_ff00_0000, 0xffff_ffff_ff5f_ffff, "fixmap"),
    to(0xffff_ffff_ff60_0000, 0xffff_ffff_ff60_0fff, "vsyscall page"),
    to(0xffff_ffff_ff60_1000, u64::MAX, "an unused hole at the end: a negative number used as a pointer"),
];

/// Where the kernel puts direct map, vmalloc area and vmemmap in random order and at random addresses, if it randomises (CONFIG_RANDOMIZE_MEMORY).
const RANDOMISED: (u64, u64) = (0xffff_8880_0000_0000, 0xffff_fdff_ffff_ffff);

/// The region that `address` lies in, and whether the kernel may have put another one there at boot: direct map, vmalloc area and vmemmap lie at random addresses in theirs.
pub fn region(address: u64) -> (Region, bool) {
    let at = LAYOUT.partition_point(|region| region.last < address);
    let found = LAYOUT.get(at).copied().unwrap_or(to(address, address, "nothing"));
    (found, (RANDOMISED.0..=RANDOMISED.1).contains(&address))
}

/// Where a boot of the kernel has the regions that it moves about, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// First address of the map of physical memory.
    pub direct_map: u64,
    /// First address of the vmalloc area.
    pub vmalloc: u64,
    /// First address of the array of struct page.
    pub vmemmap: u64,
}

impl Layout {
    /// Bytes of the array of struct page at most, which is with five levels of page tables.
    const VMEMMAP: u64 = 1 << 49;

    /// What lies at `address`; with four levels of page tables where this does not tell.
    pub fn name(&self, address: u64) -> &'static str {
        let first = match address {
            _ if address < self.direct_map => return region(address).0.name,
            _ if address < self.vmalloc => 0xffff_8880_0000_0000,
            _ if address < self.vmemmap => 0xffff_c900_0000_0000,
            _ if address - self.vmemmap < Self::VMEMMAP && address <= RANDOMISED.1 => 0xffff_ea00_0000_0000,
            _ => address,
        };
        region(first).0.name
    }
}

/// Whether a linear address with `bits` bits of translation is canonical.
pub(crate) const fn is_canonical(address: u64, bits: u32) -> bool {
    let unused = 64 - bits;
    ((address << unused) as i64 >> unused) as u64 == address
}

impl Region {
    /// Whether no page fault can be on an address of it with four levels of page tables: the CPU raises a general protection fault there.
    pub fn is_hole(&self) -> bool {
        !is_canonical(self.first, 48)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_regions_cover_the_address_space_without_a_gap() {
        assert_eq!(LAYOUT[0].first, 0);
        assert_eq!(LAYOUT[LAYOUT.len() - 1].last, u64::MAX);
        for pair in LAYOUT.windows(2) {
            assert_eq!(pair[0].last + 1, pair[1].first, "{pair:x?}");
        }
    }

    #[test]
    fn a_region_is_canonical_from_end_to_end_or_nowhere() {
        for region in LAYOUT {
            assert_eq!(is_canonical(region.first, 48), is_canonical(region.last, 48), "{region:x?}");
        }
        assert!(region(0x0000_8000_0000_0000).0.is_hole());
        assert!(!region(0x0000_7fff_ffff_ffff).0.is_hole());
    }

    #[test]
    fn what_the_kernel_has_moved_is_told_by_where_it_is_now() {
        let layout = Layout {
            direct_map: 0xffff_9a40_0000_0000,
            vmalloc: 0xffff_b5c0_0000_0000,
            vmemmap: 0xffff_eb45_c000_0000,
        };
        for (address, word) in [
            (0x18, "NULL page"),
            (0xffff_8000_0000_1000, "guard hole"),
            (0xffff_9a40_0000_1000, "direct map"),
            (0xffff_b5c0_0006_d000, "vmalloc"),
            (0xffff_eb45_c000_0040, "vmemmap"),
            (0xffff_fe00_0000_0000, "cpu_entry_area"),
            (0xffff_ffff_8100_0000, "text"),
            (0xffff_ffff_c022_0098, "modules"),
        ] {
            assert!(layout.name(address).contains(word), "{address:#x}: {}", layout.name(address));
        }
        // Without that it would be taken for another.
        assert!(region(0xffff_b5c0_0006_d000).0.name.contains("direct map"));
    }

    #[test]
    fn well_known_addresses_are_where_they_are() {
        for (address, word, random) in [
            (0, "NULL page", false),
            (0x18, "NULL page", false),
            (0x7ffc_1234_5678, "user space", false),
            (0xffff_8880_0000_1000, "direct map", true),
            (0xffff_c900_0000_0000, "vmalloc", true),
            (0xffff_ffff_8100_0000, "text", false),
            (0xffff_ffff_c022_0098, "modules", false),
            (0xdead_0000_0000_0100, "canonical hole", false),
            (u64::MAX, "negative number", false),
        ] {
            let (region, moved) = region(address);
            assert!(region.name.contains(word) && moved == random, "{address:#x}: {region:x?} {moved}");
        }
    }
}
