use crate::import::{Imported, Options, Source, import};
use crate::{AccessRule, RegisterFile};

fn header(text: &str) -> Source {
    Source { name: "a.h".into(), text: text.into(), only_fields: false }
}

fn imported_of(sources: &[Source], options: &Options<'_>) -> Imported {
    let imported = import(sources, options).unwrap();
    let read = RegisterFile::parse("it", &imported.file.to_string()).unwrap();
    assert_eq!(read.wrong, [], "what is written reads without a warning");
    assert_eq!(read.registers, imported.file.registers);
    imported
}

fn imported(text: &str) -> Imported {
    imported_of(&[header(text)], &Options::default())
}

/// `OFFSET/WIDTH NAME*COUNT FIELD[high:low] ...`
fn registers(imported: &Imported) -> Vec<String> {
    let line = |register: &crate::Register| {
        let mut line = format!("{:#x}/{} {}", register.offset, register.width, register.name);
        if register.count > 1 {
            line += &format!("*{}by{:#x}", register.count, register.stride());
        }
        for field in &register.fields {
            line += &format!(" {}[{}:{}]", field.name, field.high, field.low);
            for (value, meaning) in &field.values {
                line += &format!("{value}={meaning},");
            }
        }
        line
    };
    imported.file.registers.iter().map(line).collect()
}

fn told(imported: &Imported) -> Vec<String> {
    imported.left_out.iter().map(ToString::to_string).collect()
}

#[test]
fn a_header_of_offsets_with_fields_by_shift_and_mask() {
    let text = "#ifndef _A_H\n#define _A_H\n#define BIT(n) (1UL << (n))\n\
        #define DEV_CTRL 0x00000 /* Control - RW */\n\
        #define DEV_CTRL_EN_SHIFT 0\n#define DEV_CTRL_EN_MASK DEV_MASK(0x1, DEV_CTRL_EN_SHIFT)\n\
        #define DEV_CTRL_LEN_S 4\n#define DEV_CTRL_LEN_M (0xf << DEV_CTRL_LEN_S)\n\
        #define DEV_CTRL_EXT 0x0004 /* More - RO */\n\
        #define DEV_STATUS 0x8\n#define DEV_STATUS_UP BIT(31)\n#define DEV_STATUS_SPEED GENMASK(6, 4)\n\
        #define DEV_QUEUES 16\n#define DEV_BUFFER_SIZE 0xffffffffUL\n#endif\n";
    let imported = imported(text);
    assert_eq!(
        registers(&imported),
        ["0x0/4 DEV_CTRL LEN[7:4] EN[0:0]", "0x4/4 DEV_CTRL_EXT", "0x8/4 DEV_STATUS UP[31:31] SPEED[6:4]"]
    );
    assert_eq!(imported.file.registers[1].access, AccessRule::Ro);
    assert_eq!(imported.file.registers[1].description, "More - RO");
    assert_eq!(
        told(&imported),
        [
            "a.h:3: BIT: a macro of whose bits it does not say how many",
            "a.h:13: DEV_QUEUES: a decimal number, taken for a count: 16",
            "a.h:14: DEV_BUFFER_SIZE: too large for an offset: 0xffffffff",
        ]
    );
}

#[test]
fn indentation_tells_registers_fields_and_values() {
    let text = "#define FOO _MMIO(0x1000 + 0x10)\n#define   ENABLE REG_BIT(31)\n#define   MODE_MASK REG_GENMASK(5, 4)\n\
        #define   MODE_SLOW REG_FIELD_PREP(MODE_MASK, 0)\n#define   MODE_FAST REG_FIELD_PREP(MODE_MASK, 2)\n\
        #define BAR 0x20\n#define  BAR_TYPE 0x00f0\n#define   BAR_TYPE_A 0x1\n#define   BAR_TYPE_B 0x20\n";
    assert_eq!(
        registers(&imported(text)),
        [
            "0x20/4 BAR TYPE[7:4]1=TYPE_A,2=TYPE_B,",
            "0x1010/4 FOO ENABLE[31:31] MODE[5:4]0=MODE_SLOW,2=MODE_FAST,",
        ]
    );
}

#[test]
fn numbers_that_continue_a_registers_name_are_bits_unless_something_says_otherwise() {
    let text = "#define A 0x0\n#define A_HI 0x4\n#define A_X 0x8000\n#define A_NOT 0x14\n\
        #define B 0x100\n#define B_LOCK 0x200 /* B lock register */\n#define B_SPEED 0x300\n#define B_SPEED_10 0x100\n";
    assert_eq!(
        registers(&imported(text)),
        [
            "0x0/4 A X[15:15]",
            "0x4/4 A_HI",
            "0x14/4 A_NOT",
            "0x100/4 B SPEED[9:8]1=SPEED_10,",
            "0x200/4 B_LOCK"
        ]
    );
}

#[test]
fn macros_with_a_parameter_are_arrays() {
    let text = "#define STAT(_i) (0x100 + ((_i) * 8)) /* _i=0...3 */\n#define STAT_MAX_INDEX 3\n\
        #define QUEUE(n) ((n) < 2 ? (0x1000 + (n) * 0x40) : (0x2000 + (n) * 0x40))\n#define QUEUE_EN BIT(0)\n\
        #define PAIR(_a, _b) (0x4000 + (_a) * 0x100 + (_b) * 4) /* _a=0...1, _b=0...2 */\n\
        #define WHICH(a, b) (0x5000 + (a) * 64 + (b) * 4)\n#define ADD(x) (0x10 + (x))\n#define NEXT 0x20c0\n\
        #define GET_X(value) (((value) >> 8) & 0xff)\n";
    let options = Options { elements: Some(4), ..Options::default() };
    let imported = imported_of(&[header(text)], &options);
    assert_eq!(
        registers(&imported),
        [
            "0x100/4 STAT*4by0x8",
            "0x1000/4 QUEUE*2by0x40 EN[0:0]",
            "0x2080/4 QUEUE[2] EN[0:0]",
            "0x20c0/4 NEXT",
            "0x4000/4 PAIR[0]*3by0x4",
            "0x4100/4 PAIR[1]*3by0x4",
        ]
    );
    let told = told(&imported);
    assert!(!told.iter().any(|line| line.contains("MAX_INDEX")), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("a.h:6: WHICH: several parameters")), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("a.h:7: ADD: a macro that gives no array")), "{told:?}");
}

#[test]
fn enums_reg_field_and_qemus_macros_are_read() {
    let text = "enum regs {\n\tCAP = 0x00, /* Capabilities */\n#if 0\n\tNEVER = 0x40,\n#endif\n\tCTL = CAP + 0x4,\n\tCTL_EN = 1 << 3,\n};\n\
        static const struct reg_field all[] = {\n\t[F_EN] = REG_FIELD(0x30, 7, 7),\n\t[F_MODE] = REG_FIELD(0x30, 0, 2),\n\
        \t[F_GO] = REG_FIELD(CTL, 4, 4),\n};\nREG32(CONF, 0x80)\n    FIELD(CONF, MODE, 4, 2)\nREG8(BYTE, 0x84)\n";
    assert_eq!(
        registers(&imported(text)),
        [
            "0x0/4 CAP",
            "0x4/4 CTL F_GO[4:4] EN[3:3]",
            "0x30/4 REG_30 F_EN[7:7] F_MODE[2:0]",
            "0x80/4 CONF MODE[5:4]",
            "0x84/1 BYTE",
        ]
    );
}

#[test]
fn configuration_registers_lie_in_the_header_or_in_their_capability() {
    let text = "#define PCI_COMMAND 0x04 /* 16 bits */\n#define  PCI_COMMAND_IO 0x1 /* Enable response */\n\
        #define PCI_CAP_LIST_ID 0\n#define  PCI_CAP_ID_PM 0x01\n#define  PCI_CAP_ID_EXP 0x10\n\
        #define PCI_CAP_SIZEOF 4\n#define PCI_PM_PMC 2\n#define PCI_PM_CTRL 4\n#define PCI_EXP_FLAGS 0x02\n";
    let imported = imported(text);
    let spaces: Vec<_> =
        imported.file.registers.iter().map(|r| (r.space.as_deref().unwrap(), &*r.name)).collect();
    assert_eq!(
        spaces,
        [
            ("EXP", "PCI_EXP_FLAGS"),
            ("PM", "PCI_PM_PMC"),
            ("PM", "PCI_PM_CTRL"),
            ("any capability", "PCI_CAP_LIST_ID"),
            ("config", "PCI_COMMAND"),
        ]
    );
    let command = imported.file.registers.last().unwrap();
    assert_eq!((command.width, &*command.fields[0].name, command.fields[0].high), (2, "IO", 0));
    assert_eq!(imported.file.registers[1].width, 2, "up to the next one");
}

#[test]
fn a_header_of_fields_alone_gives_no_registers() {
    let fields = "#define DEV_CTRL_FD 0x1\n#define DEV_OTHER 0x4\n";
    let sources = [
        header("#define DEV_CTRL 0x0\n"),
        Source { only_fields: true, name: "b.h".into(), ..header(fields) },
    ];
    let imported = imported_of(&sources, &Options::default());
    assert_eq!(registers(&imported), ["0x0/4 DEV_CTRL FD[0:0]"]);
    assert_eq!(told(&imported), ["b.h:2: DEV_OTHER: a number of no register that is known"]);
}

#[test]
fn only_decides_what_a_register_is() {
    let only = |name: &str| name.starts_with("REG_");
    let text = "#define REG_A 16\n#define CMD 0x8\n#define REG_A_EN BIT(2)\n";
    let options = Options { only: Some(&only), base: Some(8), ..Options::default() };
    assert_eq!(registers(&imported_of(&[header(text)], &options))[0], "0x8/4 REG_A");
}

#[test]
fn what_never_ends_ends() {
    for text in [
        "#define A B\n#define B A\n#define C 0x4\n".to_owned(),
        format!("#define A {}1{}\n#define C 0x4\n", "(".repeat(100_000), ")".repeat(100_000)),
        "#define D(x) D(x) + D(x)\n#define E(x) D(x) * D(x)\n#define C 0x4\n".into(),
        format!("#define C 0x4\n{}", "REG_FIELD(".repeat(20_000)),
        format!("#define C 0x4\n#define A {}1\n", "~ - ! + ".repeat(50_000)),
        "#define C 0x4\nenum {".into(),
        "#define C 0x4\n#define X(n) ((n) << 1 ? 0x10".into(),
    ] {
        assert_eq!(registers(&imported(&text))[0], "0x4/4 C");
    }
}

#[test]
fn a_field_beyond_all_bits_is_none() {
    let text = "#define C 0x4\nREG32(A, 0x10)\nFIELD(A, F, 0xffffffff, 1)\nFIELD(A, G, 3, 2)\n";
    assert_eq!(registers(&imported(text)), ["0x4/4 C", "0x10/4 A G[4:3]"]);
}

#[test]
fn offsets_in_reg_field_are_counted_from_the_base_as_all_are() {
    let text = "#define REG_A 0x110\n#define REG_B 0x210\n[F_X] = REG_FIELD(0x110, 0, 3),\n";
    let options = Options { base: Some(0x100), ..Options::default() };
    let found = registers(&imported_of(&[header(text)], &options));
    assert_eq!(found, ["0x10/4 REG_A F_X[3:0]", "0x110/4 REG_B"]);
}
