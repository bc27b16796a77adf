use super::*;

fn device(vendor: u16, device: u16, class: u32) -> Device {
    Device { vendor, device, class, ..Device::default() }
}

fn parse(text: &str) -> Result<RegisterFile, String> {
    RegisterFile::parse("my.toml", text).map_err(|error| error.to_string())
}

const MATCH: &str = "name = \"x\"\n[[match]]\nvendor = 1\n";

#[test]
fn the_shipped_files_parse_and_describe_their_devices() {
    let registers = Registers::shipped();
    let named = |device: Device, bar, offset| {
        let registers = registers.of(&device).expect("a shipped file describes the device");
        registers.name(bar, offset).map(str::to_owned)
    };
    assert_eq!(named(device(0x1234, 0x11e8, 0xff), 0, 0x20).unwrap(), "STATUS");
    assert_eq!(named(device(0x1b36, 0x10, 0x010802), 0, 0x14).unwrap(), "CC");
    assert_eq!(named(device(0x8086, 0x10d3, 0x020000), 0, 0x20).unwrap(), "MDIC");
    assert_eq!(named(device(0x8086, 0x10d3, 0x020000), 3, 0x1c).unwrap(), "MSIXTVCTRL[1]");
    assert!(registers.of(&device(0x8086, 0x1237, 0x060000)).is_none());
}

#[test]
fn elements_of_an_array_have_their_index_in_the_name() {
    let registers = Registers::shipped();
    let nvme = registers.of(&device(0x1b36, 0x10, 0x010802)).unwrap();
    assert_eq!(nvme.name(0, 0x1000), Some("SQ0TDBL"));
    assert_eq!(nvme.name(0, 0x100c), Some("CQ1HDBL"));
    let e1000e = registers.of(&device(0x8086, 0x10d3, 0x020000)).unwrap();
    assert_eq!(e1000e.name(0, 0x5410), Some("RAL[2]"));
    assert_eq!(e1000e.name(0, 0x5414), Some("RAH[2]"));
}

#[test]
fn an_access_inside_a_register_names_it_with_the_distance() {
    let nvme = Registers::shipped().of(&device(0x1b36, 0x10, 0x010802)).unwrap();
    assert_eq!(nvme.name(0, 0x4), Some("CAP+0x4"));
    assert_eq!(nvme.name(0, 0x70), None);
    assert_eq!(nvme.name(1, 0x0), None);
}

#[test]
fn where_registers_overlap_the_one_that_starts_there_is_named() {
    let text = format!(
        "{MATCH}[[register]]\noffset = 0\nname = \"WIDE\"\nwidth = 8\n[[register]]\noffset = 4\nname = \"HIGH\"\n"
    );
    let registers = DeviceRegisters::new(&parse(&text).unwrap());
    assert_eq!(registers.name(0, 0), Some("WIDE"));
    assert_eq!(registers.name(0, 4), Some("HIGH"));
    assert_eq!(registers.name(0, 5), Some("WIDE+0x5"));
}

#[test]
fn fields_are_shown_with_what_their_values_mean() {
    let nvme = Registers::shipped().of(&device(0x1b36, 0x10, 0x010802)).unwrap();
    assert_eq!(
        nvme.fields(0, 0x14, 4, 0x0046_0001),
        "EN=1 CSS=0 (NVM) MPS=0 AMS=0 (round robin) SHN=0 (none) IOSQES=6 IOCQES=4 CRIME=0"
    );
    assert_eq!(nvme.fields(0, 0x04, 4, 1), "", "an access inside a register has no fields");
    assert!(!nvme.fields(0, 0x00, 4, 1).contains("DSTRD"), "bits beyond the access are not shown");
}

#[test]
fn a_persons_file_is_asked_before_the_shipped_ones() {
    let mut registers = Registers::shipped();
    let text = "name = \"mine\"\n[[match]]\nclass = 0x010802\n[[register]]\noffset = 0x14\nname = \"MINE\"\n";
    registers.add(parse(text).unwrap());
    assert_eq!(registers.of(&device(0x1b36, 0x10, 0x010802)).unwrap().name(0, 0x14), Some("MINE"));
}

#[test]
fn all_that_a_match_gives_must_hold() {
    let file =
        parse("name = \"x\"\n[[match]]\nvendor = 1\ndevices = [2, 3]\n[[match]]\ndriver = \"d\"\n").unwrap();
    assert!(file.describes(&device(1, 3, 0)));
    assert!(!file.describes(&device(1, 4, 0)));
    assert!(file.describes(&Device { driver: Some("d".into()), ..Device::default() }));
}

#[test]
fn a_malformed_file_is_named_with_line_and_column() {
    let error = parse(&format!("{MATCH}[[register]]\noffset = zero\nname = \"A\"\n")).unwrap_err();
    assert!(
        error.starts_with("register file my.toml is malformed: TOML parse error at line 5, column 10"),
        "{error}"
    );
    let error = parse(&format!("{MATCH}[[register]]\noffset = 0\nname = \"A\"\nbits = 3\n")).unwrap_err();
    assert!(error.contains("line 7, column 1") && error.contains("unknown field `bits`"), "{error}");
}

#[test]
fn a_register_that_makes_no_sense_is_named() {
    for (text, problem) in [
        ("width = 3", "width 3 is not 1, 2, 4, 8, 16, 32 or 64 bytes"),
        ("width = 0", "width 0 is not 1, 2, 4, 8, 16, 32 or 64 bytes"),
        ("bar = 6", "bar 6 is not 0 to 5"),
        ("count = 0", "count 0 is not 1 to 4096"),
        ("count = 2\nstride = 2", "stride 2 is less than its width 4"),
        ("count = 3\nstride = 0x7fffffffffffffff", "offset 0x8 and stride go past the end of all addresses"),
        ("fields = [{ bits = \"32\", name = \"F\" }]", "bit 32 of field F is outside of its 4 bytes"),
    ] {
        let error = parse(&format!("{MATCH}[[register]]\noffset = 8\nname = \"A\"\n{text}\n")).unwrap_err();
        assert_eq!(error, format!("register A in register file my.toml: {problem}"));
    }
}

#[test]
fn a_field_whose_bits_make_no_sense_is_named() {
    for bits in ["3:5", "64", "x", ""] {
        let text = format!(
            "{MATCH}[[register]]\noffset = 8\nname = \"A\"\nfields = [{{ bits = \"{bits}\", name = \"F\" }}]\n"
        );
        let error = parse(&text).unwrap_err();
        assert!(error.contains("of field F are not \"bit\" or \"high:low\" within 63:0"), "{error}");
    }
}

#[test]
fn a_file_that_describes_no_device_is_refused() {
    for text in ["name = \"x\"\nmatch = []\n", "name = \"x\"\n[[match]]\n"] {
        assert!(parse(text).unwrap_err().contains("describes no device"));
    }
}
