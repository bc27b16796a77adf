//! Any bytes, and any lines and elements of the formats: the importers never panic, and what they
//! write reads back as it was.

mod property;

use proptest::prelude::*;

/// Words of C headers.
fn header() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "#define ",
        "A",
        "A_B",
        "A_B_SHIFT",
        "A_B_MASK",
        "S_X",
        "M_X",
        "F_X",
        "(",
        ")",
        "(x)",
        "(_a, _b)",
        "x",
        "_a",
        " 0x10",
        " 0x4",
        " 7",
        " 0xffffffffffffffff",
        " << ",
        " + ",
        " * ",
        " ? ",
        " : ",
        "~",
        "-",
        "|",
        "&",
        "BIT",
        "GENMASK",
        "_MMIO",
        "REG_FIELD",
        "FIELD_PREP",
        "REG32",
        "FIELD",
        "enum { ",
        " = ",
        ", ",
        "} ",
        "\n",
        "\n",
        "#if 0",
        "#else",
        "#endif",
        "/* _a=0...7 */",
        " /* 16 bits */",
        "//",
        "\\\n",
        "PCI_CAP_ID_PM",
        "PCI_PM_CTRL",
        "#define A 0x0\n",
        "#define  A_C 0x3\n",
        "#define A_D(n) (0x100 + (n) * 8)\n",
        "#define B 0x2 /* - RO */\n",
    ]);
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

/// Elements of XML of these names, with these texts and attributes.
fn xml(
    root: &'static str,
    tags: &'static [&'static str],
    texts: &'static [&'static str],
    attributes: &'static [&'static str],
) -> impl Strategy<Value = String> {
    let some =
        move || prop::collection::vec((prop::sample::select(attributes), prop::sample::select(texts)), 0..4);
    let start = move |tag: &str, attributes: &[(&str, &str)]| {
        let mut unique: Vec<(&str, &str)> = attributes.to_vec();
        unique.sort();
        unique.dedup_by_key(|(name, _)| *name);
        // Most elements are whole, or nothing would be imported.
        for &(name, value) in needed_attributes(tag) {
            if !unique.iter().any(|(one, _)| *one == name) {
                unique.push((name, value));
            }
        }
        let attributes: String = unique.iter().map(|(name, value)| format!(" {name}=\"{value}\"")).collect();
        // What an element needs comes first.
        let needed = match tag {
            "peripheral" => "<name>P</name><baseAddress>0</baseAddress>",
            "register" | "cluster" => "<name>R%s</name><addressOffset>4</addressOffset>",
            "field" => "<name>F</name><bitOffset>1</bitOffset><bitWidth>3</bitWidth>",
            "enumeratedValue" => "<name>E</name>",
            _ => "",
        };
        format!("<{tag}{attributes}>{needed}")
    };
    let leaf = (prop::sample::select(tags), prop::sample::select(texts), some())
        .prop_map(move |(tag, text, attributes)| format!("{}{text}</{tag}>", start(tag, &attributes)));
    let tree = leaf.prop_recursive(5, 60, 6, move |inner| {
        (prop::sample::select(tags), prop::collection::vec(inner, 0..6), some()).prop_map(
            move |(tag, children, attributes)| {
                format!("{}{}</{tag}>", start(tag, &attributes), children.concat())
            },
        )
    });
    prop::collection::vec(tree, 0..4).prop_map(move |trees| {
        let (before, after) = match root {
            "device" => (
                "<peripherals><peripheral><name>A</name><baseAddress>0</baseAddress><registers>",
                "</registers></peripheral></peripherals>",
            ),
            _ => ("<domain name=\"A\">", "</domain>"),
        };
        format!("<{root}>\n{before}{}{after}</{root}>", trees.concat())
    })
}

/// What an element of rnndb needs.
fn needed_attributes(tag: &str) -> &'static [(&'static str, &'static str)] {
    match tag {
        "reg8" | "reg32" | "reg64" => &[("name", "R"), ("offset", "4")],
        "array" => &[("name", "A"), ("offset", "2"), ("stride", "3"), ("length", "2")],
        "bitfield" => &[("name", "F"), ("low", "3"), ("high", "5")],
        "value" => &[("name", "V")],
        _ => &[],
    }
}

const TEXTS: &[&str] = &[
    "A",
    "B",
    "C%s",
    "D[%s]",
    "0",
    "4",
    "0x10",
    "1",
    "3",
    "31",
    "40",
    "#1x",
    "A,B",
    "0-3",
    "[7:4]",
    "0xffffffff",
    "A.B",
    "0xffffffffffffffff",
    "V1",
    "V1-",
    "boolean",
    "{}",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        property::check(&bytes);
    }

    #[test]
    fn any_header(text in header()) {
        property::check(text.as_bytes());
    }

    #[test]
    fn any_svd(text in xml("device", &[
        "register",
        "register",
        "register",
        "register",
        "register",
        "register",
        "cluster",
        "fields",
        "field",
        "peripherals", "peripheral", "registers", "register", "cluster", "name", "baseAddress", "addressOffset", "dim",
        "dimIncrement", "dimIndex", "size", "fields", "field", "bitRange", "lsb", "msb", "bitOffset", "bitWidth",
        "enumeratedValues", "enumeratedValue", "value", "access", "resetValue",
    ], TEXTS, &["derivedFrom"])) {
        property::check(text.as_bytes());
    }

    #[test]
    fn any_rnndb(text in xml("database", &[
        "reg32",
        "reg32",
        "reg64",
        "array",
        "domain", "reg8", "reg32", "reg64", "array", "stripe", "group", "use-group", "bitset", "bitfield", "enum", "value",
        "import", "doc",
    ], TEXTS, &["name", "offset", "stride", "length", "low", "high", "pos", "type", "variants", "width", "value", "offsets"])) {
        property::check(text.as_bytes());
    }
}
