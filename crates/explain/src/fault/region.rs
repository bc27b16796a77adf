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

/// With four levels of page tables, the layout of nearly all machines, without randomisation. What
/// the kernel moves about at boot says so.
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
    to(
        0xffff_8800_0000_0000,
        0xffff_887f_ffff_ffff,
        "LDT remap for page-table isolation; before 4.20 direct map of physical memory",
    ),
    to(0xffff_8880_0000_0000, 0xffff_c87f_ffff_ffff, "direct map of physical memory"),
    to(0xffff_c880_0000_0000, 0xffff_c8ff_ffff_ffff, HOLE),
    to(0xffff_c900_0000_0000, 0xffff_e8ff_ffff_ffff, "vmalloc and ioremap"),
    to(0xffff_e900_0000_0000, 0xffff_e9ff_ffff_ffff, HOLE),
    to(0xffff_ea00_0000_0000, 0xffff_eaff_ffff_ffff, "vmemmap: the array of struct page"),
    to(0xffff_eb00_0000_0000, 0xffff_ebff_ffff_ffff, HOLE),
    to(0xffff_ec00_0000_0000, 0xffff_fbff_ffff_ffff, "KASAN's shadow memory"),
    to(0xffff_fc00_0000_0000, 0xffff_fdff_ffff_ffff, HOLE),
    to(0xffff_fe00_0000_0000, 0xffff_fe7f_ffff_ffff, "cpu_entry_area: entry stacks, IDT, GDT, TSS"),
    to(0xffff_fe80_0000_0000, 0xffff_feff_ffff_ffff, HOLE),
    to(0xffff_ff00_0000_0000, 0xffff_ff7f_ffff_ffff, "espfix stacks"),
    to(0xffff_ff80_0000_0000, 0xffff_ffee_ffff_ffff, HOLE),
    to(0xffff_ffef_0000_0000, 0xffff_fffe_ffff_ffff, "EFI runtime services"),
    to(0xffff_ffff_0000_0000, 0xffff_ffff_7fff_ffff, HOLE),
    to(0xffff_ffff_8000_0000, 0xffff_ffff_bfff_ffff, "the kernel's text and data"),
    to(0xffff_ffff_c000_0000, 0xffff_ffff_feff_ffff, "modules"),
    to(0xffff_ffff_ff00_0000, 0xffff_ffff_ff5f_ffff, "fixmap"),
    to(0xffff_ffff_ff60_0000, 0xffff_ffff_ff60_0fff, "vsyscall page"),
    to(0xffff_ffff_ff60_1000, u64::MAX, "an unused hole at the end: a negative number used as a pointer"),
];

/// The part below cpu_entry_area with five levels of page tables; above, both are alike.
const LAYOUT_5: [Region; 15] = [
    LAYOUT[0],
    LAYOUT[1],
    to(0x0000_0000_0001_0000, 0x00ff_ffff_ffff_efff, "user space"),
    to(0x00ff_ffff_ffff_f000, 0x00ff_ffff_ffff_ffff, "the guard page at the end of user space"),
    to(0x0100_0000_0000_0000, 0xfeff_ffff_ffff_ffff, "the canonical hole"),
    to(0xff00_0000_0000_0000, 0xff0f_ffff_ffff_ffff, "the guard hole, reserved for a hypervisor"),
    to(0xff10_0000_0000_0000, 0xff10_ffff_ffff_ffff, "LDT remap for page-table isolation"),
    to(0xff11_0000_0000_0000, 0xff90_ffff_ffff_ffff, "direct map of physical memory"),
    to(0xff91_0000_0000_0000, 0xff9f_ffff_ffff_ffff, HOLE),
    to(0xffa0_0000_0000_0000, 0xffd1_ffff_ffff_ffff, "vmalloc and ioremap"),
    to(0xffd2_0000_0000_0000, 0xffd3_ffff_ffff_ffff, HOLE),
    to(0xffd4_0000_0000_0000, 0xffd5_ffff_ffff_ffff, "vmemmap: the array of struct page"),
    to(0xffd6_0000_0000_0000, 0xffde_ffff_ffff_ffff, HOLE),
    to(0xffdf_0000_0000_0000, 0xffff_fbff_ffff_ffff, "KASAN's shadow memory"),
    to(0xffff_fc00_0000_0000, 0xffff_fdff_ffff_ffff, HOLE),
];

/// What a region is called in which nothing lies.
const HOLE: &str = "an unused hole";

/// How many levels of page tables translate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Levels {
    /// Four, as on nearly all machines; what would differ with five is said.
    #[default]
    Four,
    /// Five.
    Five,
}

/// Where the kernel puts direct map, vmalloc area and vmemmap in random order and at random
/// addresses, if it randomises (CONFIG_RANDOMIZE_MEMORY).
const RANDOMISED: (u64, u64) = (0xffff_8880_0000_0000, 0xffff_fdff_ffff_ffff);
const RANDOMISED_5: (u64, u64) = (0xff11_0000_0000_0000, 0xffff_fdff_ffff_ffff);

/// The region that `address` lies in, and whether the kernel may have put another one there at
/// boot: direct map, vmalloc area and vmemmap lie at random addresses in theirs.
pub fn region(address: u64, levels: Levels) -> (Region, bool) {
    let find =
        |layout: &[Region]| layout.get(layout.partition_point(|region| region.last < address)).copied();
    let (five, random) = match levels {
        Levels::Four => (None, RANDOMISED),
        Levels::Five => (find(&LAYOUT_5), RANDOMISED_5),
    };
    let found = five.or_else(|| find(&LAYOUT)).unwrap_or(to(address, address, "nothing"));
    (found, (random.0..=random.1).contains(&address))
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
    /// How many levels of page tables this boot has: with four the kernel's half begins here, and
    /// with five the direct map is put well below (kernel_randomize_memory() gives each of the
    /// three regions at most a third of the room that is over).
    fn levels(&self) -> Levels {
        if self.direct_map < 0xffff_8000_0000_0000 { Levels::Five } else { Levels::Four }
    }

    /// What lies at `address`.
    pub fn name(&self, address: u64) -> &'static str {
        // Where direct map, vmalloc area and vmemmap are if nothing is moved, and how long the
        // array of struct page is at most (Documentation/arch/x86/x86_64/mm.rst).
        let levels = self.levels();
        let (random, regions, vmemmap_bytes) = match levels {
            Levels::Four => {
                (RANDOMISED, [0xffff_8880_0000_0000, 0xffff_c900_0000_0000, 0xffff_ea00_0000_0000], 1 << 40)
            }
            Levels::Five => {
                (RANDOMISED_5, [0xff11_0000_0000_0000, 0xffa0_0000_0000_0000, 0xffd4_0000_0000_0000], 1 << 49)
            }
        };
        let named = |address| region(address, levels).0;
        let last = named(regions[2]).last;
        let moved = match address {
            _ if !(random.0..=random.1).contains(&address) => address,
            _ if address < self.direct_map => return HOLE,
            _ if address < self.vmalloc => regions[0],
            _ if address < self.vmemmap => regions[1],
            _ if address - self.vmemmap < vmemmap_bytes => regions[2],
            // Where one of the three would be if it had not been moved.
            _ if address <= last => return HOLE,
            _ => address,
        };
        named(moved).name
    }
}

/// Whether a linear address with `bits` bits of translation is canonical.
pub(crate) const fn is_canonical(address: u64, bits: u32) -> bool {
    let unused = 64 - bits;
    ((address << unused) as i64 >> unused) as u64 == address
}

impl Region {
    /// Whether no page fault can be on an address of it with four levels of page tables: the CPU
    /// raises a general protection fault there.
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
        for pair in LAYOUT.windows(2).chain(LAYOUT_5.windows(2)) {
            assert_eq!(pair[0].last + 1, pair[1].first, "{pair:x?}");
        }
        // Where the table of five levels ends, that of four has a region's first address.
        assert!(LAYOUT.iter().any(|region| region.first == LAYOUT_5[14].last + 1));
    }

    #[test]
    fn a_region_is_canonical_from_end_to_end_or_nowhere() {
        for region in LAYOUT_5 {
            assert_eq!(is_canonical(region.first, 57), is_canonical(region.last, 57), "{region:x?}");
        }
        for region in LAYOUT {
            assert_eq!(is_canonical(region.first, 48), is_canonical(region.last, 48), "{region:x?}");
        }
        assert!(region(0x0000_8000_0000_0000, Levels::Four).0.is_hole());
        assert!(!region(0x0000_7fff_ffff_ffff, Levels::Four).0.is_hole());
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
        assert!(region(0xffff_b5c0_0006_d000, Levels::Four).0.name.contains("direct map"));
        // Moved away from there.
        assert_eq!(layout.name(0xffff_8880_0000_1000), "an unused hole");
        assert_eq!(layout.name(0xffff_ec80_0000_0000), "KASAN's shadow memory");
    }

    #[test]
    fn what_the_kernel_has_moved_is_told_with_five_levels_too() {
        // The array of struct page where the guard hole is with four.
        let layout = Layout {
            direct_map: 0xff3e_c000_0000_0000,
            vmalloc: 0xff87_4000_0000_0000,
            vmemmap: 0xffff_7e80_0000_0000,
        };
        for (address, name) in [
            (0xff00_0000_0000_1000, "the guard hole, reserved for a hypervisor"),
            (0xff11_0000_0000_1000, "an unused hole"),
            (0xff3e_c000_0000_1000, "direct map of physical memory"),
            (0xff87_4000_0006_d000, "vmalloc and ioremap"),
            (0xffff_8000_0000_1000, "vmemmap: the array of struct page"),
            (0xffff_fe00_0000_0000, "cpu_entry_area: entry stacks, IDT, GDT, TSS"),
            (0xffff_ffff_c022_0098, "modules"),
        ] {
            assert_eq!(layout.name(address), name, "{address:#x}");
        }
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
            let (region, moved) = region(address, Levels::Four);
            assert!(region.name.contains(word) && moved == random, "{address:#x}: {region:x?} {moved}");
        }
    }
}
