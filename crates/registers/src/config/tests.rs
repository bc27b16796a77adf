use super::*;

/// A space of which some bytes are given.
fn space(bytes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut all = vec![0; usize::from(SIZE)];
    for (offset, bytes) in bytes {
        let offset = usize::from(*offset);
        all[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    all
}

fn walked(space: &[u8]) -> Walked {
    walk(|offset| {
        let bytes = space.get(usize::from(offset)..usize::from(offset) + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    })
}

/// What QEMU's e1000e has: PM, MSI with 64 bits, PCI Express, MSI-X; AER and a serial number.
fn card() -> Vec<u8> {
    space(&[
        (0x00, &[0x86, 0x80, 0xd3, 0x10, 0x07, 0x01, 0x10, 0x00]),
        (0x34, &[0xc8]),
        (0xc8, &[0x01, 0xd0, 0x23, 0x00]),
        (0xd0, &[0x05, 0xe0, 0x80, 0x00]),
        (0xe0, &[0x10, 0xa0, 0x01, 0x00]),
        (0xa0, &[0x11, 0x00, 0x04, 0x80]),
        (0x100, &[0x01, 0x00, 0x02, 0x14]),
        (0x140, &[0x03, 0x00, 0x01, 0x00]),
    ])
}

#[test]
fn capabilities_are_found_where_the_lists_lead() {
    let Walked { layout, broken } = walked(&card());
    assert_eq!((layout.header, broken), (0, None));
    let found: Vec<(u16, String)> = layout.capabilities.iter().map(|one| (one.offset, one.name())).collect();
    let expected =
        [(0xc8, "PM"), (0xd0, "MSI"), (0xe0, "EXP"), (0xa0, "MSIX"), (0x100, "ERR"), (0x140, "DSN")];
    assert_eq!(found, expected.map(|(offset, name)| (offset, name.to_owned())));
}

/// A virtual function of SR-IOV: its ids read as ones, by its specification.
fn virtual_function() -> Vec<u8> {
    space(&[
        (0x00, &[0xff, 0xff, 0xff, 0xff, 0x04, 0x00, 0x10, 0x00]),
        (0x34, &[0x70]),
        (0x70, &[0x11, 0xa0, 0x02, 0x80]),
        (0xa0, &[0x10, 0x00, 0x02, 0x00]),
        (0x100, &[0x01, 0x00, 0x01, 0x00]),
    ])
}

#[test]
fn ids_that_read_as_ones_are_not_those_of_a_device_that_does_not_answer() {
    let Walked { layout, broken } = walked(&virtual_function());
    let found: Vec<(u16, String)> = layout.capabilities.iter().map(|one| (one.offset, one.name())).collect();
    let expected = [(0x70, "MSIX"), (0xa0, "EXP"), (0x100, "ERR")];
    assert_eq!(found, expected.map(|(offset, name)| (offset, name.to_owned())));
    assert_eq!((broken, layout.no_ids), (None, true));
    assert!(!walked(&card()).layout.no_ids && !walked(&[0xff; 4096]).layout.no_ids);
}

#[test]
fn an_access_is_called_by_what_it_touches_with_the_fields_of_what_it_has_whole() {
    let registers = ConfigRegisters::new(&walked(&card()).layout);
    for (offset, width, name) in [
        (0x00, 4, "VENDOR_ID DEVICE_ID"),
        (0x04, 2, "COMMAND"),
        (0x05, 1, "COMMAND+0x1"),
        (0x04, 4, "COMMAND STATUS"),
        (0x18, 4, "BAR2"),
        (0xcc, 2, "PM_CTRL"),
        (0xd8, 4, "MSI_ADDRESS_HI"),
        (0xdc, 2, "MSI_DATA_64"),
        (0xa2, 2, "MSIX_FLAGS"),
        (0xa0, 2, "MSIX_ID MSIX_NEXT"),
        (0xf0, 2, "EXP_LNKCTL"),
        (0x100, 4, "ERR_HEADER"),
        (0x104, 4, "ERR_UNCOR_STATUS"),
        (0x144, 4, "DSN_LOW"),
    ] {
        assert_eq!(registers.name(offset, width), Some(name), "{offset:#x} {width}");
    }
    // An endpoint's PCI Express capability of version 1 has nothing there; and there is none.
    assert_eq!((registers.name(0xe0 + 0x18, 2), registers.name(0x308, 4)), (None, None));
    let command = registers.fields(0x04, 2, 0x0106);
    assert!(command.starts_with("IO=0 MEMORY=1 MASTER=1 "), "{command}");
    let both = registers.fields(0x04, 4, 0x0010_0106);
    assert!(both.starts_with(&command) && both.contains("CAP_LIST=1"), "{both}");
    assert_eq!(registers.fields(0x05, 1, 1), "", "half of a register");
    assert!(
        registers.fields(0xcc, 2, 0x8103).starts_with("STATE=3 (D3hot)"),
        "{}",
        registers.fields(0xcc, 2, 3)
    );
    assert!(registers.fields(0xa2, 2, 0xc004).contains("MASKALL=1 ENABLE=1"));
}

#[test]
fn a_bridge_has_the_registers_of_one() {
    let bridge = walked(&space(&[(0x00, &[0x36, 0x1b, 0x0c, 0x00]), (0x0e, &[0x81])])).layout;
    assert_eq!(bridge.header, 1);
    let registers = ConfigRegisters::new(&bridge);
    assert_eq!(
        registers.name(0x18, 4).unwrap(),
        "PRIMARY_BUS SECONDARY_BUS SUBORDINATE_BUS SEC_LATENCY_TIMER"
    );
    assert_eq!(registers.name(0x3e, 2), Some("BRIDGE_CONTROL"));
}

#[test]
fn lists_that_make_no_sense_end_and_that_is_told() {
    let with = |bytes: &[(u16, &[u8])]| {
        let mut all = card();
        let given = space(bytes);
        for (offset, bytes) in bytes {
            let range = usize::from(*offset)..usize::from(*offset) + bytes.len();
            all[range.clone()].copy_from_slice(&given[range]);
        }
        walked(&all)
    };
    let back = with(&[(0xa1, &[0xd0])]);
    assert_eq!((back.broken, back.layout.capabilities.len()), (Some(Broken::Loop(0xd0)), 6));
    let low = with(&[(0xa1, &[0x10])]);
    assert_eq!((low.broken, low.layout.capabilities.len()), (Some(Broken::Astray(0x10)), 6));
    let extended = with(&[(0x142, &[0x01, 0x10])]);
    assert_eq!(extended.broken, Some(Broken::Loop(0x100)));
    assert_eq!(with(&[(0x06, &[0])]).layout.capabilities.len(), 2, "the status has no list");
    let silent = walked(&[0xff; 4096]);
    assert_eq!((silent.broken, silent.layout), (Some(Broken::Silent), Layout::default()));
    let users = walked(&card()[..64]);
    assert_eq!((users.layout.capabilities.len(), users.broken), (0, Some(Broken::Unreadable)));
    // Whatever it says, it ends, and has no more than fit.
    for byte in 0..=u8::MAX {
        let Walked { layout, .. } = walked(&[byte; 4096]);
        assert!(layout.capabilities.len() <= 48 + 480);
        let _ = ConfigRegisters::new(&layout);
    }
}

#[test]
fn a_device_that_vanishes_or_can_not_be_read_is_told_as_what_it_is() {
    // From a read on, all is ones.
    for after in 0..9 {
        let (space, mut reads) = (card(), 0);
        let found = walk(|offset| {
            reads += 1;
            let bytes = &space[usize::from(offset)..usize::from(offset) + 4];
            Some(if reads > after { u32::MAX } else { u32::from_le_bytes(bytes.try_into().unwrap()) })
        });
        assert_eq!(found.broken, Some(Broken::Silent), "after {after} reads");
    }
    let mut gone = card();
    gone[0x140..0x144].fill(0xff);
    assert_eq!(walked(&gone).broken, Some(Broken::Silent));
    // The kernel's walk ends at such an id too.
    let mut ends = card();
    ends[0xd0] = 0xff;
    let ends = walked(&ends);
    assert_eq!((ends.broken, ends.layout.capabilities.len()), (None, 3));
    for readable in [0, 4, 0x0c, 0x30, 0x40, 0xe0] {
        assert_eq!(walked(&card()[..readable]).broken, Some(Broken::Unreadable), "{readable:#x}");
    }
    assert_eq!(walked(&card()[..0x100]).broken, None, "one of conventional PCI");
}

#[test]
fn registers_that_the_device_does_not_have_have_no_name() {
    let named = |at: u16, id, extended, detail, port: u16| {
        let one = |offset, id, extended, detail| Capability { offset, id, extended, detail };
        let capabilities = vec![one(at, id, extended, detail), one(0xc0, 0x10, false, port << 4 | 2)];
        let registers = ConfigRegisters::new(&Layout { capabilities, ..Layout::default() });
        (at..at + 0x38).rfind(|offset| registers.name(*offset, 1).is_some()).map(|last| last + 1 - at)
    };
    // MSI: with 32 bits, with 64, with masks of each.
    let msi = [0x000, 0x080, 0x100, 0x180].map(|flags| named(0x50, 0x05, false, flags, 0));
    assert_eq!(msi, [10, 14, 0x14, 0x18].map(Some));
    // Errors: of an endpoint, a switch's port, a root port, a root complex's event collector.
    let errors = [0, 6, 4, 10].map(|port| named(0x100, 1, true, 2, port));
    assert_eq!(errors, [0x2c, 0x2c, 0x38, 0x38].map(Some));
}

#[test]
fn a_layout_that_no_device_has_names_what_fits() {
    let one = |offset, id, extended| Capability { offset, id, extended, detail: u16::MAX };
    let mut capabilities = vec![one(u16::MAX, 0x10, true), one(SIZE - 2, 1, true), one(0xfe, 5, false)];
    capabilities.extend((0..=u16::MAX).flat_map(|id| [one(0x500, id, true), one(id.max(0x40), 0x10, false)]));
    let registers = ConfigRegisters::new(&Layout { header: 0xff, capabilities, no_ids: false });
    // Those behind the space have none; of two in one place the first is told.
    assert_eq!(registers.name(0xfff, 1), None);
    assert_eq!(registers.name(0xff0, 4), None);
    assert_eq!(registers.name(0x500, 4), Some("NULL_HEADER"));
    assert_eq!(registers.name(0x04, 2), Some("COMMAND"));
    assert!(registers.names.keys().all(|(offset, width)| offset + u16::from(*width) <= SIZE));
    // Each has a name for each width in each of its four bytes at most.
    assert!(registers.widths.len() < 40 * 528, "{}", registers.widths.len());
}

#[test]
fn a_value_of_a_width_that_no_access_has_has_no_fields() {
    let registers = ConfigRegisters::new(&walked(&card()).layout);
    for width in [0, 3, 5, 8, 64, u8::MAX] {
        for offset in [0, 4, 0xfe, SIZE - 1, SIZE, u16::MAX - 1, u16::MAX] {
            assert_eq!(registers.fields(offset, width, u32::MAX), "", "{offset:#x} {width}");
            assert_eq!(registers.name(offset, width), None);
        }
    }
    assert_eq!(registers.fields(u16::MAX, 4, 1), "");
}

#[test]
fn the_register_file_has_nothing_wrong_and_no_space_that_is_no_capability() {
    assert_eq!(FILE.wrong, []);
    let named = |extended, most: u16| {
        (0..most).map(move |id| Capability { id, extended, ..Capability::default() }.space())
    };
    let known: Vec<String> = named(false, 0x16)
        .chain(named(true, 0x2f))
        .chain(["header", "type 0", "type 1", "type 2", "MSI 64"].map(String::from))
        .collect();
    for register in &FILE.registers {
        assert!(known.iter().any(|space| Some(&**space) == register.space.as_deref()), "{register:?}");
    }
}
