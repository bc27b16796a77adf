use proptest::prelude::*;

use super::*;

fn device(vendor: u16, device: u16, class: u32) -> Identity<'static> {
    Identity { vendor, device, class, driver: None }
}

fn parse(text: &str) -> Result<RegisterFile, String> {
    RegisterFile::parse_for_devices("my.toml", text).map_err(|error| error.to_string())
}

const MATCH: &str = "name = \"x\"\n[[match]]\nvendor = 1\n";

#[test]
fn what_answers_a_register_is_found_by_its_index_and_must_be_there() {
    let text = "name = \"x\"\n[[register]]\noffset = 0x10\nname = \"ASK{}\"\ncount = 3\nstride = 8\nanswer = \"TELL{}\"\n\
                [[register]]\noffset = 0x14\nname = \"TELL{}\"\ncount = 2\nstride = 8\n\
                [[register]]\noffset = 0\nname = \"SELF\"\nanswer = \"SELF\"\n";
    let file = RegisterFile::parse("it", text).unwrap();
    let registers = DeviceRegisters::new(&file);
    let answers = [0x10, 0x18, 0x20, 0, 0x14].map(|offset| registers.answer(0, offset));
    assert_eq!(answers, [Some((0, 0x14)), Some((0, 0x1c)), None, Some((0, 0)), None]);
    let wrong: Vec<_> = file.wrong.iter().map(ToString::to_string).collect();
    assert_eq!(wrong, ["register ASK{} at offset 0x10 is answered by TELL2, which is not there"]);
    let again = RegisterFile::parse("it", &file.to_string()).unwrap();
    assert_eq!(again.registers, file.registers);
}

#[test]
fn the_shipped_files_parse_and_describe_their_devices() {
    let registers = Registers::shipped();
    let named = |device: Identity<'_>, bar, offset| {
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
fn every_name_leads_to_where_it_lies() {
    for (_, file) in Registers::shipped_files() {
        let registers = DeviceRegisters::new(&file);
        for name in registers.all_names() {
            let place = registers.named(name).unwrap();
            assert_eq!(registers.name(place.bar, place.offset), Some(name));
        }
    }
    let e1000e = Registers::shipped().of(&device(0x8086, 0x10d3, 0x020000)).unwrap();
    let place = e1000e.named("RAH[2]").unwrap();
    assert_eq!((place.bar, place.offset, place.width), (0, 0x5414, 4));
    let status = e1000e.named("STATUS").unwrap();
    let link = status.fields.iter().find(|field| field.name == "LU").unwrap();
    assert_eq!((status.offset, link.high, link.low), (8, 1, 1));
    assert_eq!((e1000e.named("RAH"), e1000e.named("status"), e1000e.named("")), (None, None, None));
}

#[test]
fn fields_are_shown_with_what_their_values_mean() {
    let nvme = Registers::shipped().of(&device(0x1b36, 0x10, 0x010802)).unwrap();
    assert_eq!(
        nvme.fields(0, 0x14, 4, 0x0046_0001),
        "EN=1 CSS=0 (NVM) MPS=0 AMS=0 (round robin) SHN=0 (none) IOSQES=6 IOCQES=4 CRIME=0"
    );
    assert_eq!(nvme.fields_set(0, 0x14, 4, 0x0046_0001), "EN=1 IOSQES=6 IOCQES=4");
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
    assert!(file.describes(&Identity { driver: Some("d"), ..Identity::default() }));
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
        let good = "[[register]]\noffset = 0\nname = \"GOOD\"\n";
        let file = parse(&format!("{MATCH}[[register]]\noffset = 8\nname = \"A\"\n{text}\n{good}")).unwrap();
        assert_eq!(file.registers.len(), 1, "the rest is read");
        assert_eq!(told(&file), [format!("register A at offset 0x8 was left out: {problem}")],);
    }
}

fn told(file: &RegisterFile) -> Vec<String> {
    file.wrong.iter().map(ToString::to_string).collect()
}

#[test]
fn registers_that_lie_on_each_other_are_told_with_both_names_and_offsets_unless_that_is_meant() {
    let file = |second: &str| {
        let first = "[[register]]\noffset = 0x10\nname = \"A\"\nwidth = 8\n";
        parse(&format!("{MATCH}{first}[[register]]\nname = \"B\"\n{second}\n")).unwrap()
    };
    let message = |b: &str| {
        format!(
            "register {b} overlaps A (offset 0x10, 8 bytes); correct one of them, or say `overlaps = true` if it \
             is meant"
        )
    };
    assert_eq!(told(&file("offset = 0x14\nwidth = 8")), [message("B (offset 0x14, 8 bytes)")]);
    assert_eq!(told(&file("offset = 0x10\nwidth = 8")), [message("B (offset 0x10, 8 bytes)")]);
    let turned = told(&file("offset = 0x4\nwidth = 8\ncount = 2"));
    assert_eq!(turned.len(), 1);
    assert!(turned[0].starts_with("register A (offset 0x10, 8 bytes) overlaps B[1] (offset 0xc, 8 bytes); "));
    for second in [
        "offset = 0x14",
        "offset = 0x10",
        "offset = 0x18",
        "offset = 0x14\nwidth = 8\noverlaps = true",
        "offset = 0x14\nwidth = 8\nbar = 1",
        "offset = 0x14\nwidth = 8\nspace = \"config\"",
    ] {
        assert_eq!(told(&file(second)), [] as [String; 0], "{second}");
    }
}

#[test]
fn a_file_of_a_few_lines_does_not_fill_the_memory() {
    let array = |number| {
        format!(
            "[[register]]\noffset = {}\nname = \"A{number}\"\nwidth = 64\ncount = 4096\n",
            number * 0x40000
        )
    };
    let file = parse(&format!("{MATCH}{}", (0..300).map(array).collect::<String>())).unwrap();
    assert_eq!(file.registers.len(), 244);
    assert_eq!(
        told(&file)[0],
        "register A244 at offset 0x3d00000 was left out: it would be more than 1000000"
    );
}

#[test]
fn registers_of_another_space_name_no_access() {
    let text =
        format!("{MATCH}[[register]]\noffset = 4\nname = \"COMMAND\"\nwidth = 2\nspace = \"config\"\n");
    assert_eq!(DeviceRegisters::new(&parse(&text).unwrap()).name(0, 4), None);
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
    for text in ["name = \"x\"\n", "name = \"x\"\nmatch = []\n", "name = \"x\"\n[[match]]\n"] {
        assert!(parse(text).unwrap_err().contains("describes no device"));
    }
}

#[test]
fn a_value_of_64_bits_stands_in_quotes() {
    let read = |reset: &str| {
        parse(&format!("{MATCH}[[register]]\noffset = 0\nname = \"A\"\nwidth = 8\nreset = {reset}\n"))
            .map(|file| file.registers[0].reset)
    };
    assert_eq!(read("0x10"), Ok(Some(16)));
    assert_eq!(read("\"0xffffffffffffffff\""), Ok(Some(u64::MAX)));
    for wrong in ["-1", "\"x\""] {
        let error = read(wrong).unwrap_err();
        assert!(
            error.contains("line 8, column 9") && error.contains("expected a number that is not"),
            "{error}"
        );
    }
}

/// Registers that lie anywhere near each other.
fn close_registers() -> impl Strategy<Value = Vec<Register>> {
    let register =
        (0..60_u64, 0..4_u32, 1..4_u32, 0..6_u64, 0..2_u8).prop_map(|(offset, width, count, gap, bar)| {
            let mut register = Register::new("R", offset, 1 << width);
            (register.count, register.stride, register.bar) = (count, Some((1 << width) + gap), bar);
            register
        });
    prop::collection::vec(register, 0..12).prop_map(|mut registers| {
        registers.iter_mut().enumerate().for_each(|(number, register)| register.name = format!("R{number}_"));
        registers
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Byte by byte, as it is told: the first in the file that starts there, else the first of
    /// those that it is inside of.
    #[test]
    fn every_byte_has_the_name_that_a_search_through_all_gives_it(registers in close_registers()) {
        let found = DeviceRegisters::new(&RegisterFile { registers: registers.clone(), ..RegisterFile::default() });
        for (bar, offset) in (0..3).flat_map(|bar| (0..140).map(move |offset| (bar, offset))) {
            let elements = || registers.iter().filter(|register| register.bar == bar).flat_map(|register| {
                register.elements().map(move |(index, start)| (register, register.element_name(index), start))
            });
            let starts = elements().find(|(_, _, start)| *start == offset).map(|(_, name, _)| name);
            let inside = || {
                let mut covering = elements().filter(|(register, _, start)| (*start..start + u64::from(register.width)).contains(&offset));
                covering.next().map(|(_, name, start)| format!("{name}+{:#x}", offset - start))
            };
            let expected = starts.or_else(inside);
            prop_assert_eq!(found.name(bar, offset), expected.as_deref(), "at {:#x} of BAR {}", offset, bar);
        }
    }

    #[test]
    fn what_is_written_reads_back_as_it_was(
        registers in close_registers(),
        texts in prop::collection::vec(any::<String>(), 5),
        reset in prop::option::of(any::<u64>()),
        bits in (0..8_u32, 0..8_u32),
        value in any::<u64>(),
        access in prop::sample::select(vec![AccessRule::Ro, AccessRule::Wo, AccessRule::Rw, AccessRule::Rc, AccessRule::W1c]),
        devices in prop::option::of(prop::collection::vec(any::<u16>(), 0..3)),
    ) {
        let mut file = RegisterFile { name: texts[0].clone(), source: texts[1].clone(), registers, ..RegisterFile::default() };
        let (vendor, class, driver) = (Some(7), reset.map(|reset| reset as u32), Some(texts[2].clone()));
        file.matches.push(Match { vendor, devices, class, driver });
        for register in &mut file.registers {
            let mut field = Field::new(texts[3].clone(), bits.0.max(bits.1), bits.0.min(bits.1));
            field.values.insert(value, texts[4].clone());
            field.description = texts[1].clone();
            (register.reset, register.access, register.overlaps) = (reset, access, true);
            (register.description, register.fields) = (texts[4].clone(), vec![field]);
            register.space = reset.map(|_| texts[3].clone());
        }
        let read = RegisterFile::parse("it", &file.to_string()).unwrap();
        prop_assert_eq!((&read.name, &read.source, &read.matches), (&file.name, &file.source, &file.matches));
        prop_assert_eq!(read.registers.len(), file.registers.len());
        for (read, written) in read.registers.iter().zip(&file.registers) {
            let stride = if written.count == 1 { None } else { written.stride };
            let bar = if written.space.is_some() { 0 } else { written.bar };
            prop_assert_eq!(read, &Register { stride, bar, ..written.clone() });
        }
    }
}
