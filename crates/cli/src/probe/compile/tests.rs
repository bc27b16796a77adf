//! Programs that arguments become, and what is told of those that become none.

use super::super::btf::Shape;
use super::super::syntax::parse;
use super::*;

fn parameters() -> Vec<Parameter> {
    let parameter = |number, name: &str, shape| Parameter { number, name: name.into(), shape };
    vec![
        parameter(1, "dfd", Shape::Integer { bytes: 4, signed: true }),
        parameter(2, "filename", Shape::Text),
        parameter(3, "how", Shape::Pointer),
        parameter(4, "address", Shape::Integer { bytes: 8, signed: false }),
        parameter(5, "whole", Shape::Aggregate),
    ]
}

fn try_compile(texts: &[&str], moment: Moment, is_entry: bool) -> Result<Program, FetchError> {
    let arguments: Vec<Argument> = texts.iter().map(|text| parse(text).unwrap()).collect();
    check(&arguments, &[moment])?;
    let parameters = parameters();
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
        &Place { symbols: &symbols, is_entry, parameters: Ok(&parameters) },
    )
}

fn steps(text: &str) -> Vec<(Op, u8, u16, i64)> {
    let program = try_compile(&[text], Moment::Before, true).unwrap_or_else(|error| panic!("{error}"));
    program.steps.iter().map(|s| (Op::from_code(s.op).unwrap(), s.width, s.number, s.operand)).collect()
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
    told("flename", Before, true, "it has: s32 dfd, string filename");
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
fn what_is_nested_as_deep_as_can_be_is_a_program_as_long_as_can_be() {
    let text = format!("{}%di{}", "+0(".repeat(MAX_STEPS - 1), ")".repeat(MAX_STEPS - 1));
    assert_eq!(steps(&text).len(), MAX_STEPS);
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
    let (symbols, parameters) = (Symbols::default(), parameters());
    let place = Place { symbols: &symbols, is_entry: true, parameters: Ok(&parameters) };
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
fn too_much_is_refused() {
    let error = try_compile(&["+0(%si):string[33]"], Moment::Before, true).unwrap_err();
    assert!(error.why.contains("32 are possible"), "{error}");
    let arrays = vec!["+0(%si):u8[64]"; 4];
    let error = try_compile(&arrays, Moment::Before, true).unwrap_err();
    assert!(error.why.contains("256 are possible"), "{error}");
}
