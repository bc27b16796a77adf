//! Conditions as they are written, run by what runs them in the kernel.

use proptest::prelude::*;
use trapline_engine::code::{Program, Reader, Truth};
use trapline_insn::Registers;
use trapline_trace::{Moment, Symbols};

use super::super::fetch::Argument;
use super::super::lower::Place;
use super::super::syntax;
use super::*;

/// A text of 16 bytes at `TEXT`, and nothing else.
struct Memory;

const TEXT: u64 = 0xffff_8880_0000_0000;

impl Reader for Memory {
    fn read(&self, address: u64, width: u8) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(TEXT)?).ok()?;
        let bytes = b"/etc/passwd\0\xff\xff\xff\xff".get(at..at + usize::from(width))?;
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        Some(u64::from_le_bytes(word))
    }

    fn task_name(&self) -> [u64; 2] {
        [u64::from_le_bytes(*b"kworker/"), u64::from_le_bytes(*b"0:1\0\0\0\0\0")]
    }
}

const FETCH: [&str; 4] = ["count=%dx:u32", "error=%ax:s32", "name=+0(%di):string", "four=+8(%di):x8[4]"];

fn try_compile(text: &str, moments: &[Moment]) -> Result<Vec<trapline_abi::Step>, Mistake> {
    let arguments: Vec<Argument> = FETCH.iter().map(|text| syntax::parse(text).unwrap()).collect();
    let symbols = Symbols::default();
    let place = Place { symbols: &symbols, is_entry: true, types: Err("unknown"), function: Err("unknown") };
    parse(text)?.compile(&arguments, moments, 0, &place)
}

/// What `text` says of a hit with the given count (of which the upper half is something else), and
/// error -2.
fn says(text: &str, count: u64) -> Truth {
    let steps = try_compile(text, &[Moment::Before]).unwrap_or_else(|error| panic!("{error}"));
    let program = Program::check(&steps, steps.len()).unwrap();
    let mut words = vec![0; program.words()];
    let rdx = 0xabcd_0000_0000 | count;
    let registers = Registers { rdx, rax: 0xffff_fffe, rdi: TEXT, rsi: 7, ..Registers::default() };
    program.condition(&registers, &Memory, &mut words)
}

#[test]
fn each_comparison_says_what_it_does_in_c() {
    for (text, expected) in [
        ("count == 5", true),
        ("count==0x5", true),
        ("5 == count", true),
        ("count != 5", false),
        ("count < 5", false),
        ("count <= 5", true),
        ("count > 4", true),
        ("4 < count", true),
        ("count >= 6", false),
        ("count & 4", true),
        ("count & 0xa", false),
        ("error < 0", true),
        ("error == -2", true),
        ("error > count", false),
        ("-3 < error", true),
        ("%si:u8 == 7", true),
        ("%ax > 0x7fffffff", true),
        ("+8(%di):u16 == 0x7773", true),
        ("+12(%di):s8 == -1", true),
        ("+12(%di):b3@4/8 == 7", true),
        ("comm == \"kworker/0:1\"", true),
        ("$comm != \"kworker/0:10\"", true),
        ("comm ~ \"kworker/*\"", true),
        ("comm ~ \"kworker\"", false),
        ("name == \"/etc/passwd\"", true),
        ("name == \"/etc/passw\"", false),
        ("name ~ \"*/p[a-c]ss*\"", true),
        ("name != comm", true),
        ("count == 5 && error == 0 || comm ~ \"k*\"", true),
        ("count == 5 || error == -2 && comm == \"x\"", true),
        ("(count == 5 || error == -2) && comm == \"x\"", false),
        ("!(count > 4096) && !!(error < 0)", true),
        ("! count == 4", true),
    ] {
        assert_eq!(says(text, 5), Some(expected), "{text}");
    }
}

#[test]
fn what_can_not_be_fetched_is_not_known_unless_it_does_not_matter() {
    assert_eq!(says("+4096(%di):u8 == 0", 5), None);
    assert_eq!(says("!(+4096(%di):u8 == 0)", 5), None);
    assert_eq!(says("count == 5 || +4096(%di):u8 == 0", 5), Some(true));
    assert_eq!(says("+4096(%di):string == \"x\" && count == 4", 5), Some(false));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, marked, why) in [
        ("", "", "something to compare"),
        ("count", "", "expected a comparison"),
        ("count = 5", "=", "a single ="),
        ("count == ", "", "something to compare"),
        ("count == 5 and error", "a", "expected &&, || or the end"),
        ("count == 5 --stack", "-", "options stand before"),
        ("(count == 5", "(", "not closed"),
        ("count == 5)", ")", "closes nothing"),
        ("(count == 5 error", "e", "expected &&, || or )"),
        ("comm == \"dd", "\"", "no end"),
        ("count == \"5\"", "==", "a number can't be compared with a text"),
        ("comm == 5", "==", "a number can't be compared with a text"),
        ("%di == \"x\"", "==", "give it a type: :string"),
        ("comm < \"x\"", "<", "with ==, != and ~ only"),
        ("comm ~ name", "name", "a pattern in quotes"),
        ("count ~ 5", "~", "these are numbers"),
        (
            "count == -1",
            "-1",
            "`count` is never -1: it is from 0 to 4294967295; for one with a sign write count:s32",
        ),
        ("count < 4294967296", "4294967296", "never 4294967296"),
        ("%ax < error", "<", "has a sign"),
        ("1 == 1", "==", "two numbers that never change"),
        ("\"a\" == \"a\"", "==", "two texts that never change"),
        ("four == 1", "four", "an array can't be compared"),
        ("$retval == 1", "$retval", "add --return"),
        ("%xx == 1", "%xx", "no such register"),
    ] {
        let mistake = try_compile(text, &[Moment::Before]).unwrap_err();
        assert!(mistake.why.contains(why), "{text}: {mistake}");
        assert_eq!(&mistake.text[mistake.at.clone()], marked, "{text}: {mistake}");
    }
    let deep = format!("{}count == 5", "(".repeat(100));
    assert!(try_compile(&deep, &[Moment::Before]).unwrap_err().why.contains("nested too deep"));
    let many = vec!["count == 5"; 65].join(" || ");
    assert!(
        try_compile(&many, &[Moment::Before]).unwrap_err().why.contains("65 comparisons; 64 are possible")
    );
    let long = format!("comm == \"{}\"", "x".repeat(256));
    assert!(try_compile(&long, &[Moment::Before]).unwrap_err().why.contains("this text has 256 bytes"));
}

#[test]
fn a_condition_is_of_one_moment() {
    let both = [Moment::Before, Moment::Return];
    assert!(try_compile("$retval == 1", &[Moment::Return]).is_ok());
    assert!(try_compile("$retval == 1", &both).unwrap_err().why.contains("record at one of the two"));
    assert!(try_compile("count == 1", &both).unwrap_err().why.contains("record at one of the two"));
    assert!(try_compile("comm == \"dd\"", &both).is_ok());
    assert!(try_compile("$arg1 == 1", &[Moment::Return]).unwrap_err().why.contains("leave --return"));
}

#[test]
fn the_condition_is_what_is_behind_if_however_the_words_come() {
    let divided = |spec: &str, fetch: &[&str]| {
        let fetch: Vec<String> = fetch.iter().map(|&word| word.to_owned()).collect();
        split(spec, &fetch)
    };
    let expected = |spec: &str, fetch: &[&str], condition: Option<&str>| {
        let fetch: Vec<String> = fetch.iter().map(|&word| word.to_owned()).collect();
        (spec.to_owned(), fetch, condition.map(str::to_owned))
    };
    assert_eq!(divided("f", &["a", "b"]), expected("f", &["a", "b"], None));
    assert_eq!(divided("f a if a > 1", &[]), expected("f", &["a"], Some("a > 1")));
    assert_eq!(divided("f", &["a", "if", "a", ">", "1"]), expected("f", &["a"], Some("a > 1")));
    assert_eq!(divided("f", &["a", "if", "a > 1"]), expected("f", &["a"], Some("a > 1")));
    assert_eq!(divided("f", &["a", "if a > 1"]), expected("f", &["a"], Some("a > 1")));
    assert_eq!(divided("f", &["if(a > 1)"]), expected("f", &[], Some("(a > 1)")));
    assert_eq!(divided("f x=\\\"an if b\"", &[]), expected("f x=\\\"an if b\"", &[], None));
    assert_eq!(divided("iffy", &["gif"]), expected("iffy", &["gif"], None));
    let text = "comm == \"two  blanks\"";
    assert_eq!(divided(&format!("f if {text}"), &[]), expected("f", &[], Some(text)));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-c%$&|!()<>=~\" 0-9x:+*,-]{0,40}") {
        if let Err(mistake) = try_compile(&text, &[Moment::Before]) {
            prop_assert!(mistake.text.get(mistake.at.clone()).is_some(), "{mistake:?}");
        }
    }

    #[test]
    fn numbers_compare_as_they_do_in_rust(count: u32, constant: u32) {
        for (relation, expected) in [
            ("==", count == constant),
            ("!=", count != constant),
            ("<", count < constant),
            ("<=", count <= constant),
            (">", count > constant),
            (">=", count >= constant),
            ("&", count & constant != 0),
        ] {
            let text = format!("count {relation} {constant}");
            prop_assert_eq!(says(&text, count.into()), Some(expected), "{}", text);
        }
    }
}
