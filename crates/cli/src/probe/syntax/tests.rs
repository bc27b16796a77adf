//! What is understood of what a person writes, and what is told of a mistake.

use trapline_trace::Format;

use super::*;
use crate::probe::form::FormKind;

fn fetch(text: &str) -> Fetch {
    parse(text).unwrap_or_else(|error| panic!("{error}")).fetch
}

#[test]
fn every_form_of_the_kernels_syntax_is_understood() {
    let memory = |base, offset, user| Fetch::Memory { base: Box::new(base), offset, user };
    for (text, expected) in [
        ("%di", Fetch::Register(7)),
        ("%rdi", Fetch::Register(7)),
        ("%r8", Fetch::Register(8)),
        ("%ip", Fetch::Register(16)),
        ("$stack", Fetch::StackAddress),
        ("$stack2", Fetch::Stack(2)),
        ("$arg3", Fetch::Parameter(3)),
        ("$retval", Fetch::ReturnValue),
        ("$comm", Fetch::Comm),
        ("filename", Fetch::Named("filename".into())),
        ("@0xffffffff81000000", memory(Fetch::Immediate(0xffff_ffff_8100_0000_u64 as i64), 0, false)),
        ("@jiffies", memory(Fetch::Symbol("jiffies".into(), 0), 0, false)),
        ("@init_task+0x10", memory(Fetch::Symbol("init_task".into(), 0x10), 0, false)),
        ("+8(%si)", memory(Fetch::Register(6), 8, false)),
        ("-0x10(%sp)", memory(Fetch::Register(4), -16, false)),
        ("+u0(+010($arg1))", memory(memory(Fetch::Parameter(1), 8, false), 0, true)),
        ("\\-5", Fetch::Immediate(-5)),
        ("\\\"a=b\"", Fetch::Text("a=b".into())),
    ] {
        assert_eq!(fetch(text), expected, "{text}");
    }
}

#[test]
fn a_name_stands_before_and_a_type_behind() {
    let argument = parse("path=+0(%si):string[2]").unwrap();
    assert_eq!(argument.name.as_deref(), Some("path"));
    let form = argument.form.unwrap();
    assert_eq!((form.kind, form.count), (FormKind::Text { user: false }, Some(2)));
    let kind = |text| Form::parse(text).unwrap().kind;
    assert_eq!(kind("s16"), FormKind::Number(2, Format::Signed(2)));
    assert_eq!(kind("symstr"), FormKind::Number(8, Format::Symbol));
    assert_eq!(kind("b3@4/32"), FormKind::Number(4, Format::Bits { width: 3, offset: 4 }));
}

#[test]
fn a_mistake_is_shown_with_a_mark_under_the_place() {
    let error = parse("name=%dx:u33").unwrap_err().to_string();
    assert!(error.starts_with("there is no type `u33`: expected u8"), "{error}");
    assert!(error.ends_with("\n  name=%dx:u33\n           ^^^"), "{error}");
}

#[test]
fn the_mark_is_under_what_is_wrong() {
    for (text, marked) in [
        ("9a=%di", "9a"),
        ("%rdx2", "%rdx2"),
        ("$arg0", "$arg0"),
        ("$argx", "$argx"),
        ("$stak", "$stak"),
        ("+8%si", "%"),
        ("+8(%si", "("),
        ("+8(%si,", ","),
        ("+0($comm)", "$comm"),
        ("+q(%si)", "q"),
        ("+99999999999999999999(%si)", "99999999999999999999"),
        ("+0xffffffffffffffff(%si)", "+0xffffffffffffffff"),
        ("@", "@"),
        ("\\\"abc", "\""),
        ("\\x", "x"),
        ("%di:u8[0]", "u8[0]"),
        ("%di:u8[65]", "u8[65]"),
        ("%di:b9@0/8", "b9@0/8"),
        ("%di:b1@0/9", "b1@0/9"),
        ("%di:b1@0", "b1@0"),
        ("%di:symbol[2]", "symbol[2]"),
        ("%di,", ","),
        ("%di:", ""),
        ("", ""),
        ("é", "é"),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(&text[error.at.clone()], marked, "{text}: {error}");
    }
}

#[test]
fn nesting_ends_where_no_program_could_hold_it() {
    let nested = |depth| format!("a={}%di{}", "+0(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(MAX_DEPTH)).is_ok());
    for depth in [MAX_DEPTH + 1, 43_000] {
        let error = parse(&nested(depth)).unwrap_err();
        assert_eq!(error.at, 2 + 3 * MAX_DEPTH..4 + 3 * MAX_DEPTH);
        assert!(error.why.contains("nested too deep"), "{error}");
    }
    // One beside the other is not one within the other.
    assert!(parse("+8(+8(%di)").unwrap_err().why.contains("not closed"));
}

#[test]
fn a_mistake_in_a_long_argument_is_shown_with_what_is_around_it() {
    let text = format!("{}%xy{}", "+0(".repeat(100), ")".repeat(100));
    let error = parse(&text).unwrap_err().to_string();
    let shown = format!("\n  …{}%xy{}…\n  {}^^^", "+0(".repeat(20), ")".repeat(60), " ".repeat(61));
    assert!(error.ends_with(&shown), "{error}");
}

#[test]
fn a_number_that_is_too_large_is_told_so() {
    for (text, range) in [
        ("$stack2048", "$stack0 to $stack2047"),
        ("$stack70000", "$stack0 to $stack2047"),
        ("$stack99999999999999999999", "$stack0 to $stack2047"),
        ("$arg129", "$arg1 to $arg128"),
        ("$arg70000", "$arg1 to $arg128"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.why.contains("out of range") && error.why.contains(range), "{text}: {error}");
    }
    assert_eq!(fetch("$stack2047"), Fetch::Stack(2047));
    assert!(parse("$stack-1").unwrap_err().why.contains("not expected"));
    assert!(parse("$stackx").unwrap_err().why.contains("no such variable"));
}

#[test]
fn a_symbol_with_its_module_is_refused_with_what_to_write_instead() {
    for text in ["@ext4:helper", "@ext4:helper:u32", "+8(@ext4:helper)", "@ext4+8:helper"] {
        let error = parse(text).unwrap_err();
        assert!(error.why.contains("MODULE:SYMBOL") && error.why.contains("@0xADDRESS"), "{text}: {error}");
    }
    assert!(!parse("%di:helper").unwrap_err().why.contains("MODULE"));
}

#[test]
fn nothing_that_is_typed_makes_the_parser_panic() {
    let alphabet = [
        "%", "$", "@", "+", "-", "u", "(", ")", "\\", "\"", "=", ":", "[", "]", "b", "/", "0", "9", "é", "di",
    ];
    let mut state = 1_u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(alphabet[(state >> 33) as usize % alphabet.len()]);
        }
        if let Err(error) = parse(&text) {
            let _ = error.to_string();
        }
    }
}
