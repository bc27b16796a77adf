use crate::import::{ImportError, Imported, Options, Source, import};
use crate::{AccessRule, Match, Register, RegisterFile};

/// A device with these peripherals.
fn device(peripherals: &str) -> Source {
    let text = format!(
        "<?xml version=\"1.0\"?>\n<device><name>CHIP</name><size>32</size><access>read-write</access>\n\
         <peripherals>{peripherals}</peripherals></device>"
    );
    Source { name: "chip.svd".into(), text, only_fields: false }
}

fn peripheral(name: &str, base: u64, registers: &str) -> String {
    format!(
        "<peripheral><name>{name}</name><baseAddress>{base:#x}</baseAddress><registers>{registers}</registers>\
         </peripheral>"
    )
}

fn register(name: &str, offset: u64, rest: &str) -> String {
    format!("<register><name>{name}</name><addressOffset>{offset:#x}</addressOffset>{rest}</register>")
}

fn imported(source: Source, options: &Options<'_>) -> Imported {
    let imported = import(&[source], options).unwrap();
    let read = RegisterFile::parse("it", &imported.file.to_string()).unwrap();
    assert_eq!(read.wrong, [], "what is written reads without a warning");
    assert_eq!(read.registers, imported.file.registers);
    imported
}

fn places(imported: &Imported) -> Vec<(&str, u64, u32, u64)> {
    let place = |register: &'_ Register| (register.offset, register.count, register.stride());
    imported
        .file
        .registers
        .iter()
        .map(|register| {
            let (offset, count, stride) = place(register);
            (&*register.name, offset, count, stride)
        })
        .collect()
}

fn told(imported: &Imported) -> Vec<String> {
    imported.left_out.iter().map(ToString::to_string).collect()
}

#[test]
fn a_register_has_its_fields_values_access_and_reset() {
    let fields = "<description>Control\n   register</description><size>16</size><resetValue>0x80</resetValue>
        <modifiedWriteValues>oneToClear</modifiedWriteValues><fields>
        <field><name>EN</name><bitOffset>0</bitOffset><bitWidth>1</bitWidth><enumeratedValues>
          <name>ONOFF</name>
          <enumeratedValue><name>OFF</name><value>0</value></enumeratedValue>
          <enumeratedValue><name>ON</name><value>0x1</value></enumeratedValue></enumeratedValues></field>
        <field><name>MODE</name><bitRange>[6:4]</bitRange></field>
        <field><name>ACK</name><lsb>8</lsb><msb>9</msb>
          <enumeratedValues derivedFrom=\"ONOFF\"></enumeratedValues></field></fields>";
    let spi = peripheral("SPI", 0x4000_0000, &register("CR", 8, fields));
    let imported = imported(device(&spi), &Options { matches: vec![Match::default()], ..Options::default() });
    assert_eq!((&*imported.file.name, told(&imported)), ("CHIP SPI", vec![]));
    let register = &imported.file.registers[0];
    assert_eq!((&*register.name, register.offset, register.width), ("CR", 8, 2));
    assert_eq!((&*register.description, register.reset), ("Control register", Some(0x80)));
    assert_eq!(register.access, AccessRule::W1c);
    let bits: Vec<_> = register.fields.iter().map(|field| (&*field.name, field.high, field.low)).collect();
    assert_eq!(bits, [("EN", 0, 0), ("MODE", 6, 4), ("ACK", 9, 8)]);
    let values = [(0, "OFF".to_owned()), (1, "ON".to_owned())].into();
    assert_eq!((&register.fields[0].values, &register.fields[2].values), (&values, &values));
}

#[test]
fn several_peripherals_are_told_by_name_and_chosen_by_it() {
    let (a, b) =
        (peripheral("A", 0x1000, &register("X", 4, "")), peripheral("B", 0x1100, &register("Y", 0, "")));
    let source = device(&(a + &b));
    let error = import(std::slice::from_ref(&source), &Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "chip.svd has 2 peripherals, of which --peripheral NAME takes one: A, B");
    let chosen = |names: &[&str], base| {
        let blocks = names.iter().map(|&name| name.into()).collect();
        let imported = imported(source.clone(), &Options { blocks, base, ..Options::default() });
        places(&imported).iter().map(|place| format!("{}@{:#x}", place.0, place.1)).collect::<Vec<_>>()
    };
    assert_eq!(chosen(&["b"], None), ["Y@0x0"]);
    assert_eq!(chosen(&["B"], Some(0x1000)), ["Y@0x100"]);
    assert_eq!(chosen(&["A", "B"], None), ["A.X@0x4", "B.Y@0x100"]);
    assert_eq!(chosen(&["*"], Some(0x1080)), ["B.Y@0x80"], "what lies before the base is left out");
    let error = import(&[source], &Options { blocks: vec!["C".into()], ..Options::default() }).unwrap_err();
    assert_eq!(error.to_string(), "chip.svd has no peripheral \"C\"; it has A, B");
}

#[test]
fn arrays_of_clusters_and_registers_are_arrays_of_the_file() {
    let dim = |count: u32, step: u32| format!("<dim>{count}</dim><dimIncrement>{step:#x}</dimIncrement>");
    let data = register("DATA%s", 4, &dim(4, 4));
    let status = register("STATUS", 0, "");
    let cluster = format!(
        "<cluster>{}<name>CH[%s]</name><addressOffset>0x100</addressOffset>{status}{data}</cluster>",
        dim(2, 0x40)
    );
    let named = register("PORT%s", 0, &format!("{}<dimIndex>A,B</dimIndex>", dim(2, 8)));
    let imported = imported(device(&peripheral("P", 0, &(cluster + &named))), &Options::default());
    assert_eq!(
        places(&imported),
        [
            ("PORTA", 0, 1, 4),
            ("PORTB", 8, 1, 4),
            ("CH[{}].STATUS", 0x100, 2, 0x40),
            ("CH[0].DATA{}", 0x104, 4, 4),
            ("CH[1].DATA{}", 0x144, 4, 4),
        ]
    );
}

#[test]
fn what_is_derived_has_what_it_does_not_say_itself() {
    let uart =
        peripheral("UART0", 0x1000, &register("CTL", 4, "<size>8</size><description>One</description>"));
    let like =
        "<peripheral derivedFrom=\"UART0\"><name>UART1</name><baseAddress>0x2000</baseAddress></peripheral>";
    let other = peripheral(
        "OTHER",
        0x3000,
        "<register derivedFrom=\"UART0.CTL\"><name>CTL2</name><addressOffset>8</addressOffset></register>",
    );
    let source = device(&(uart + like + &other));
    let take = |name: &str| {
        let options = Options { blocks: vec![name.into()], ..Options::default() };
        imported(source.clone(), &options).file.registers.remove(0)
    };
    let one = take("UART1");
    assert_eq!((&*one.name, one.offset, one.width, &*one.description), ("CTL", 4, 1, "One"));
    let other = take("OTHER");
    assert_eq!((&*other.name, other.offset, other.width, &*other.description), ("CTL2", 8, 1, "One"));
}

#[test]
fn what_makes_no_sense_is_left_out_with_its_line_and_the_rest_is_taken() {
    let field =
        |name: &str, range: &str| format!("\n<field><name>{name}</name><bitRange>{range}</bitRange></field>");
    let fields =
        format!("<fields>{}{}{}</fields>", field("F", "[32:31]"), field("G", "7"), field("H", "[1:0]"));
    let registers = [
        register("GOOD", 0, &fields),
        "\n<register><name>NOWHERE</name></register>".into(),
        format!("\n{}", register("MANY%s", 8, "<dim>5000</dim><dimIncrement>4</dimIncrement>")),
        format!("\n{}", register("WIDE", 8, "<size>0xffffffff</size>")),
        "\n<register><name>CIRCLE</name><addressOffset>x</addressOffset></register>".into(),
    ];
    let imported = imported(device(&peripheral("P", 0, &registers.concat())), &Options::default());
    assert_eq!(places(&imported), [("GOOD", 0, 1, 4)]);
    assert_eq!(imported.file.registers[0].fields.len(), 1);
    assert_eq!(
        told(&imported),
        [
            "chip.svd:5: GOOD.G: it is not as the format has it: Bit range invalid, Syntax",
            "chip.svd:3: GOOD.F: its bits are outside of the register: 32:31 of 32 bits",
            "chip.svd:7: NOWHERE: it is not as the format has it: there is no <addressOffset>",
            "chip.svd:8: MANY{}: a register file can't hold it: count 5000 is not 1 to 4096",
            "chip.svd:9: WIDE: a register file can't hold it: width 255 is not 1, 2, 4, 8, 16, 32 or 64 bytes",
            "chip.svd:10: CIRCLE: it is not as the format has it: <addressOffset> is no number: \"x\"",
        ]
    );
}

#[test]
fn what_lies_on_others_is_said_to_be_meant() {
    let registers = register("A", 0, "") + &register("B", 0, "") + &register("C", 2, "");
    let imported = imported(device(&peripheral("P", 0, &registers)), &Options::default());
    assert_eq!(imported.on_others, 2);
    let overlaps: Vec<_> = imported.file.registers.iter().map(|register| register.overlaps).collect();
    assert_eq!(overlaps, [false, true, true]);
}

#[test]
fn circles_and_huge_arrays_end() {
    let circle = "<register derivedFrom=\"B\"><name>A</name></register>\
                  <register derivedFrom=\"A\"><name>B</name><addressOffset>0</addressOffset></register>";
    let huge = register(
        "H%s",
        0,
        "<dim>4294967295</dim><dimIncrement>4</dimIncrement><dimIndex>0-4294967294</dimIndex>",
    );
    let nested = "<cluster><dim>4000</dim><dimIncrement>4</dimIncrement><name>C%s</name><addressOffset>0\
                  </addressOffset>"
        .repeat(12)
        + &"</cluster>".repeat(12);
    let imported =
        imported(device(&peripheral("P", 0, &(circle.to_owned() + &huge + &nested))), &Options::default());
    let told = told(&imported);
    assert!(
        told[0].contains("H%s: its array makes no sense: more than 4096 names in 0-4294967294"),
        "{told:?}"
    );
}

#[test]
fn what_is_no_svd_is_told() {
    let error = |text: &str| {
        let source = Source { name: "x".into(), text: text.into(), only_fields: false };
        import(&[source], &Options::default()).unwrap_err()
    };
    assert!(matches!(error("<device><a></device>"), ImportError::Xml { .. }));
    assert!(
        error("<html/>").to_string().starts_with("x is XML of another kind, with <html> outermost; expected")
    );
    assert!(error("").to_string().starts_with("x is empty; expected CMSIS-SVD"));
    assert_eq!(error("<device/>").to_string(), "no register was found in x");
}

#[test]
fn fields_and_values_of_a_register_are_bounded_before_they_are_made() {
    let value = |number| format!("<enumeratedValue><name>V</name><value>{number}</value></enumeratedValue>");
    let values: String = (0..5000).map(value).collect();
    let field = "<field><name>F</name><bitRange>[15:0]</bitRange>";
    let one = format!(
        "<fields>{field}<enumeratedValues>{values}</enumeratedValues></field>{}</fields>",
        format!("{field}</field>").repeat(600)
    );
    let spi = peripheral("SPI", 0x4000_0000, &(register("CR", 8, &one) + &register("DR", 12, "")));
    let imported = import(&[device(&spi)], &Options::default()).unwrap();
    let told = told(&imported);
    let values = "chip.svd:3: CR.F: a field has too many values: at most 4096";
    let fields = "chip.svd:3: CR: its register has too many fields: at most 512";
    assert!(told.iter().any(|line| line == values), "{:?}", told.first());
    assert!(told.iter().any(|line| line == fields), "{:?}", told.last());
}
