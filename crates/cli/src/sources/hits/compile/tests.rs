//! Programs that arguments become, and what is told of those that become none.

use trapline_trace::Symbols;

use super::super::btf::{self, Btf, Function, Parameter, Shape, Slot};
use super::super::syntax::parse;
use super::*;

mod members;

/// The types of the test's kernel, and a function that takes something of each kind.
fn types() -> (Btf, Function) {
    let types = Btf::new(btf::tests::kernel().bytes()).unwrap();
    let integer = |bytes, signed| Shape::Integer { bytes, signed };
    let to = |name| Shape::Pointer { to: types.structure(name), is_text: false };
    let shapes = [
        ("dfd", integer(4, true)),
        ("filename", Shape::Pointer { to: None, is_text: true }),
        ("how", Shape::Pointer { to: None, is_text: false }),
        ("address", integer(8, false)),
        ("file", to("file")),
        ("flags", to("flags")),
        ("dentry", to("dentry")),
        ("pair", to("pair")),
    ];
    let mut parameters: Vec<Parameter> = (1..)
        .zip(shapes)
        .map(|(number, (name, shape))| Parameter { name: name.into(), shape, slot: Slot::Argument(number) })
        .collect();
    let (saved, nowhere) = (Slot::Saved(104), Slot::Nowhere("it is passed as a whole"));
    let more = [
        ("whole", to("pair"), nowhere),
        ("called", Shape::Pointer { to: None, is_text: true }, saved),
        ("fd", integer(4, false), saved),
    ];
    parameters.extend(more.map(|(name, shape, slot)| Parameter { name: name.into(), shape, slot }));
    (types, Function { parameters, returns: Some(to_file()) })
}

fn to_file() -> Shape {
    let types = Btf::new(btf::tests::kernel().bytes()).unwrap();
    Shape::Pointer { to: types.structure("file"), is_text: false }
}

fn try_compile(texts: &[&str], moment: Moment, is_entry: bool) -> Result<Program, Mistake> {
    let arguments: Vec<Argument> = texts.iter().map(|text| parse(text).unwrap()).collect();
    check(&arguments, &[moment])?;
    let (types, function) = types();
    let proc = tempfile::tempdir().unwrap();
    let kallsyms = "\
ffffffff81000080 t helper
ffffffff82000000 D jiffies
ffffffffc0400000 t helper\t[ext4]
";
    std::fs::write(proc.path().join("kallsyms"), kallsyms).unwrap();
    let symbols = Symbols::load(proc.path()).unwrap();
    compile(
        &arguments,
        (moment, &[moment]),
        false,
        &Place { symbols: &symbols, is_entry, types: Ok(&types), function: Ok(&function) },
    )
}

fn steps(text: &str) -> Vec<(Op, u8, u16, i64)> {
    let program = try_compile(&[text], Moment::Before, true).unwrap_or_else(|error| panic!("{error}"));
    program.steps.iter().map(|s| (Op::from_code(s.op).unwrap(), s.width, s.number, s.operand)).collect()
}

/// A value's steps, and the type that it has.
fn value(text: &str) -> (Vec<(Op, u8, u16, i64)>, String) {
    let moment = if text.contains("$retval") { Moment::Return } else { Moment::Before };
    let program = try_compile(&[text], moment, true).unwrap_or_else(|error| panic!("{error}"));
    let steps = program.steps.iter();
    let steps = steps.map(|s| (Op::from_code(s.op).unwrap(), s.width, s.number, s.operand)).collect();
    (steps, program.layouts[0].form.clone())
}

fn error(text: &str, moment: Moment, is_entry: bool) -> String {
    try_compile(&[text], moment, is_entry).unwrap_err().to_string()
}

#[test]
fn the_last_access_is_as_wide_as_its_type_and_those_before_it_are_pointers() {
    assert_eq!(steps("%di:u8"), [(Op::Register, 0, 7, 0), (Op::Emit, 0, 0, 0)]);
    assert_eq!(
        steps("+4(-8(%si)):s16"),
        [(Op::Register, 0, 6, 0), (Op::Load, 8, 0, -8), (Op::EmitMemory, 2, 0, 4)]
    );
    assert_eq!(
        steps("+u4(+u8(%si))"),
        [(Op::Register, 0, 6, 0), (Op::LoadUser, 8, 0, 8), (Op::EmitUser, 8, 0, 4)]
    );
    assert_eq!(
        steps("@jiffies:u32"),
        [(Op::Immediate, 0, 0, 0xffff_ffff_8200_0000_u64 as i64), (Op::EmitMemory, 4, 0, 0)]
    );
    assert_eq!(steps("$arg7"), [(Op::Stack, 0, 1, 0), (Op::Emit, 0, 0, 0)]);
    assert_eq!(steps("$comm"), [(Op::Comm, 0, 0, 0)]);
    assert_eq!(steps("\\\"abc\""), []);
}

#[test]
fn an_array_of_numbers_lies_in_a_row_and_one_of_strings_behind_pointers() {
    assert_eq!(
        steps("+8(%si):u32[2]"),
        [(Op::Register, 0, 6, 0), (Op::EmitMemory, 4, 0, 8), (Op::EmitMemory, 4, 0, 12)]
    );
    let limit = MAX_STRING as u16;
    assert_eq!(
        steps("+8(%si):string[2]"),
        [
            (Op::Register, 0, 6, 0),
            (Op::Load, 8, 0, 8),
            (Op::EmitString, 0, limit, 0),
            (Op::Register, 0, 6, 0),
            (Op::Load, 8, 0, 16),
            (Op::EmitString, 0, limit, 0)
        ]
    );
}

#[test]
fn a_parameter_is_fetched_by_its_type_and_a_text_is_followed() {
    assert_eq!(steps("dfd"), [(Op::Register, 0, 7, 0), (Op::Emit, 0, 0, 0)]);
    assert_eq!(steps("filename"), [(Op::Register, 0, 6, 0), (Op::EmitString, 0, MAX_STRING as u16, 0)]);
    assert_eq!(steps("filename:x64"), [(Op::Register, 0, 6, 0), (Op::Emit, 0, 0, 0)]);
    assert_eq!(steps("+8(how):u64"), [(Op::Register, 0, 2, 0), (Op::EmitMemory, 8, 0, 8)]);
    let program = try_compile(&["dfd", "x=filename"], Moment::Before, true).unwrap();
    let told: Vec<_> = program.layouts.iter().map(|layout| (&*layout.name, &*layout.form)).collect();
    assert_eq!(told, [("dfd", "s32"), ("x", "string")]);
}

#[test]
fn what_does_not_fit_is_told_under_its_place() {
    let told = |text, moment, is_entry, expected: &str| {
        let error = error(text, moment, is_entry);
        assert!(error.contains(expected), "{text}: {error}");
    };
    use Moment::{After, Before, Return};
    told("%si:string", Before, true, "write +0(%si):string\n  %si:string\n      ^^^^^^");
    told("%si:u8[4]", Before, true, "write +0(%si):u8[4]");
    told("$comm:u8", Before, true, "its type can only be string\n  $comm:u8\n        ^^");
    told("$retval", Before, true, "add --return\n  $retval\n  ^^^^^^^");
    told("$arg1", Return, true, "add --pre");
    told("+0(filename):string", After, true, "add --pre");
    told("$arg1", Before, false, "first instruction only");
    told("flename", Before, true, "it has: s32 dfd, string filename, x64 how");
    told("whole", Before, true, "passed as a whole");
    told("@no_such", Before, true, "no symbol `no_such`\n");
    told("+8(@jifies)", Before, true, "no symbol `jifies`: did you mean one of: jiffies?\n");
    told(
        "dfd:string",
        Before,
        true,
        "`dfd` is an integer of 4 bytes, not a pointer: its type can't be string\n",
    );
    told("dfd:u8[2]", Before, true, "its type can't be u8[2]\n  dfd:u8[2]\n      ^^^^^");
    told("address:string", Before, true, "if it holds an address, write +0(address):string\n");
}

#[test]
fn a_symbol_that_there_are_several_of_is_refused_with_all_of_them() {
    let error = error("@helper+8:u32", Moment::Before, true);
    let expected = "\
`helper` is the name of several symbols:
  0xffffffff81000080 in the kernel
  0xffffffffc0400000 in module ext4
fetch one of the addresses, as in @0xffffffff81000080
  @helper+8:u32
  ^^^^^^^^^";
    assert_eq!(error, expected);
}

#[test]
fn what_is_nested_is_a_step_for_each_level() {
    let text = format!("{}%di{}", "+0(".repeat(60), ")".repeat(60));
    assert_eq!(steps(&text).len(), 61);
}

#[test]
fn a_name_is_given_once() {
    let error = try_compile(&["a=%di", "a=%si"], Moment::Before, true).unwrap_err();
    assert_eq!((error.text.as_str(), error.at), ("a=%si", 0..1));
}

#[test]
fn an_argument_is_fetched_at_the_moments_at_which_it_can_be() {
    let arguments = ["dfd", "r=$retval:s32", "who=$comm", "at=%si"].map(|text| parse(text).unwrap());
    let moments = [Moment::Before, Moment::Return];
    assert_eq!(check(&arguments, &moments), Ok(()));
    let (symbols, (types, function)) = (Symbols::default(), types());
    let place = Place { symbols: &symbols, is_entry: true, types: Ok(&types), function: Ok(&function) };
    let names = |moment| {
        let program = compile(&arguments, (moment, &moments), false, &place).unwrap();
        program.layouts.into_iter().map(|layout| layout.name).collect::<Vec<_>>()
    };
    assert_eq!(names(Moment::Before), ["dfd", "who", "at"]);
    assert_eq!(names(Moment::Return), ["r", "who"]);
}

#[test]
fn strings_share_the_room_of_a_record() {
    let many = vec!["+0(%si):string[16]"];
    let program = try_compile(&many, Moment::Before, true).unwrap();
    let [Layout { item: Item::Text { limit }, .. }] = &program.layouts[..] else { panic!("{program:?}") };
    assert_eq!(16 * (1 + limit / 8), 16 * (MAX_WORDS as u32 / 16));
    assert!(
        program.steps.iter().filter(|s| s.op == Op::EmitString as u8).all(|s| u32::from(s.number) == *limit)
    );
}

#[test]
fn bits_of_arguments_beyond_the_32nd_take_room_of_a_record() {
    // 73 texts of 14 words each would fill one.
    let texts = ["+0(%si):string[64]", "+0(%si):string[9]"];
    let program = try_compile(&texts, Moment::Before, true).unwrap();
    let [Layout { item: Item::Text { limit }, .. }, _] = &program.layouts[..] else { panic!("{program:?}") };
    assert_eq!(*limit, 8 * 12, "a word less for each");
}

#[test]
fn too_much_is_refused() {
    let most = ["+0(%si):string[64]"; 2];
    assert!(try_compile(&most, Moment::Before, true).is_ok());
    let error = try_compile(&[&most[..], &["%si"]].concat(), Moment::Before, true).unwrap_err();
    assert!(error.why.contains("128 are possible"), "{error}");
    let arrays = vec!["+0(%si):u8[64]"; 8];
    let error = try_compile(&arrays, Moment::Before, true).unwrap_err();
    assert!(error.why.contains("512 are possible"), "{error}");
}
