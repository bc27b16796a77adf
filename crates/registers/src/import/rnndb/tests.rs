use crate::import::{ImportError, Imported, Options, Source, import};
use crate::{AccessRule, RegisterFile};

const HEAD: &str = "<?xml version=\"1.0\"?>\n<database xmlns=\"http://nouveau.freedesktop.org/\">\n";

fn database(text: &str) -> Source {
    Source { name: "a.xml".into(), text: format!("{HEAD}{text}</database>"), only_fields: false }
}

fn imported(text: &str, options: &Options<'_>) -> Imported {
    let imported = import(&[database(text)], options).unwrap();
    let read = RegisterFile::parse("it", &imported.file.to_string()).unwrap();
    assert_eq!(read.wrong, [], "what is written reads without a warning");
    assert_eq!(read.registers, imported.file.registers);
    imported
}

fn places(imported: &Imported) -> Vec<String> {
    let place = |r: &crate::Register| match r.count {
        1 => format!("{}@{:#x}/{}", r.name, r.offset, r.width),
        _ => format!("{}@{:#x}/{}*{}by{:#x}", r.name, r.offset, r.width, r.count, r.stride()),
    };
    imported.file.registers.iter().map(place).collect()
}

fn told(imported: &Imported) -> Vec<String> {
    imported.left_out.iter().map(ToString::to_string).collect()
}

#[test]
fn registers_have_fields_by_bitset_and_values_by_enum() {
    let text = "<enum name=\"mode\"><value name=\"SLOW\" value=\"0\"/><value name=\"FAST\"/></enum>
        <bitset name=\"ctl\"><bitfield name=\"EN\" pos=\"0\" type=\"boolean\"/>
        <bitfield name=\"MODE\" low=\"4\" high=\"5\" type=\"mode\"><brief>How fast</brief></bitfield></bitset>
        <domain name=\"DEV\" width=\"32\"><reg32 offset=\"0x10\" name=\"CTL\" type=\"ctl\" access=\"r\"/>
        <reg32 offset=\"0x11\" name=\"ID\"><value name=\"ONE\" value=\"0x1\"/></reg32></domain>";
    let imported = imported(text, &Options::default());
    assert_eq!(
        (&*imported.file.name, places(&imported)),
        ("DEV", vec!["CTL@0x40/4".into(), "ID@0x44/4".into()])
    );
    let control = &imported.file.registers[0];
    assert_eq!(control.access, AccessRule::Ro);
    let fields: Vec<_> = control.fields.iter().map(|field| (&*field.name, field.high, field.low)).collect();
    assert_eq!(fields, [("EN", 0, 0), ("MODE", 5, 4)]);
    assert_eq!(control.fields[1].values, [(0, "SLOW".to_owned()), (1, "FAST".to_owned())].into());
    assert_eq!(control.fields[1].description, "How fast");
    assert_eq!(imported.file.registers[1].fields[0].values[&1], "ONE");
}

#[test]
fn arrays_stripes_and_groups_are_written_out_but_the_innermost() {
    let text = "<group name=\"unit\"><reg32 offset=\"0x0\" name=\"A\"/><reg64 offset=\"0x8\" name=\"B\" length=\"3\"/></group>
        <domain name=\"DEV\"><array name=\"TP\" offset=\"0x1000\" stride=\"0x100\" length=\"2\"><use-group name=\"unit\"/></array>
        <stripe offset=\"0x40\"><reg8 offset=\"1\" name=\"C\"/></stripe>
        <array name=\"AT\" offsets=\"0x80,0x90\" stride=\"0x4\" length=\"2\"><reg32 offset=\"0\" name=\"D\"/></array></domain>";
    assert_eq!(
        places(&imported(text, &Options::default())),
        [
            "C@0x41/1",
            "AT[0].D@0x80/4",
            "AT[1].D@0x90/4",
            "TP[{}].A@0x1000/4*2by0x100",
            "TP[0].B@0x1008/8*3by0x8",
            "TP[1].B@0x1108/8*3by0x8",
        ]
    );
}

#[test]
fn a_variant_leaves_out_what_is_of_others() {
    let text = "<enum name=\"chip\"><value name=\"A1\"/><value name=\"A2\"/></enum>
        <domain name=\"DEV\" varset=\"chip\"><reg32 offset=\"0\" name=\"OLD\" variants=\"A1\"/>
        <reg32 offset=\"0\" name=\"NEW\" variants=\"A2-\"/><reg32 offset=\"4\" name=\"BOTH\"/></domain>";
    assert_eq!(imported(text, &Options::default()).file.registers.len(), 3);
    let options = |variant: &str| Options { variants: vec![variant.into()], ..Options::default() };
    let of_a2 = imported(text, &options("a2"));
    assert_eq!(places(&of_a2), ["NEW@0x0/4", "BOTH@0x4/4"]);
    assert_eq!(told(&of_a2), ["a.xml:4: OLD: it is of other variants: A1"]);
    let error = import(&[database(text)], &options("A3")).unwrap_err();
    assert_eq!(error.to_string(), "there is no variant \"A3\"; there are A1, A2");
}

#[test]
fn what_other_files_have_is_found_and_a_domain_is_chosen() {
    let find = |file: &str, _: &str| {
        let text = "<enum name=\"e\"><value name=\"X\" value=\"7\"/></enum><domain name=\"OTHER\"><reg32 offset=\"0\" name=\"O\"/></domain>";
        (file == "b.xml").then(|| Source { name: "b.xml".into(), ..database(text) })
    };
    let text = "<import file=\"b.xml\"/><import file=\"c.xml\"/><import file=\"copyright.xml\"/>
        <domain name=\"ONE\"><reg32 offset=\"0\" name=\"R\"><bitfield name=\"F\" low=\"0\" high=\"3\" type=\"e\"/></reg32></domain>";
    let options = Options { find: Some(&find), ..Options::default() };
    let one = imported(text, &options);
    assert_eq!(one.file.registers[0].fields[0].values[&7], "X");
    assert_eq!(told(&one), ["a.xml:3: c.xml: a file that it imports was not found"]);
    let two = format!("{text}<domain name=\"TWO\"><reg32 offset=\"0\" name=\"R\"/></domain>");
    let error = import(&[database(&two)], &options).unwrap_err();
    assert_eq!(error.to_string(), "a.xml has 2 domains, of which --domain NAME takes one: ONE, TWO");
    let both = Options { blocks: vec!["one".into(), "other".into()], ..options };
    assert_eq!(places(&imported(&two, &both)), ["ONE.R@0x0/4", "OTHER.O@0x0/4"]);
}

#[test]
fn what_makes_no_sense_is_left_out_with_its_line() {
    let text = "<domain name=\"D\"><reg32 offset=\"zero\" name=\"A\"/>\n<reg32 name=\"B\"/>\n<reg32 offset=\"0\" name=\"C\">
        <bitfield name=\"F\" low=\"0\"/>\n<bitfield name=\"G\" low=\"31\" high=\"32\"/></reg32>
        <use-group name=\"none\"/></domain>";
    let imported = imported(text, &Options::default());
    assert_eq!(places(&imported), ["C@0x0/4"]);
    assert_eq!(
        told(&imported),
        [
            "a.xml:3: A: it is not as the format has it: offset=\"zero\" is no number",
            "a.xml:4: B: it is not as the format has it: there is no offset",
            "a.xml:6: C.F: it is not as the format has it: there is no low, high or pos",
            "a.xml:5: C.G: its bits are outside of the register: 32:31 of 32 bits",
            "a.xml:8: none: a group that is not known",
        ]
    );
}

#[test]
fn groups_that_use_themselves_end() {
    let text = "<group name=\"g\"><reg32 offset=\"0\" name=\"A\"/><stripe length=\"3\" stride=\"4\"><use-group name=\"g\"/></stripe></group>
        <domain name=\"D\"><use-group name=\"g\"/></domain>";
    let error = import(&[database(text)], &Options::default());
    assert!(error.is_ok());
    // Each level has three times as many, of nothing.
    let again = "<use-group name=\"g\"/>".repeat(3);
    let text = format!(
        "<group name=\"g\">{again}</group><domain name=\"D\"><reg32 offset=\"0\" name=\"A\"/><use-group name=\"g\"/></domain>"
    );
    assert_eq!(places(&imported(&text, &Options::default())), ["A@0x0/4"]);
    assert!(matches!(import(&[database("")], &Options::default()), Err(ImportError::Nothing { .. })));
}

#[test]
fn fields_and_values_of_a_register_are_bounded_before_they_are_made() {
    let values: String = (0..5000).map(|number| format!("<value name=\"V{number}\"/>")).collect();
    let field = "<bitfield name=\"F\" low=\"0\" high=\"15\" type=\"many\"/>";
    let text = format!(
        "<enum name=\"many\">{values}</enum><domain name=\"DEV\" width=\"32\">
        <reg32 offset=\"0x10\" name=\"ONE\">{field}</reg32>
        <reg32 offset=\"0x11\" name=\"MORE\">{}</reg32></domain>",
        field.repeat(600)
    );
    let imported = import(&[database(&text)], &Options::default()).unwrap();
    assert_eq!(imported.file.registers[0].fields[0].values.len(), 4096);
    let told = told(&imported);
    let values = "a.xml:3: ONE.F: a field has too many values: at most 4096";
    let fields = "a.xml:5: MORE.F: its register has too many fields: at most 512";
    assert!(told.iter().any(|line| line == values), "{:?}", told.first());
    assert!(told.iter().any(|line| line == fields), "{:?}", told.last());
}
