//! What is understood of what a person writes, and what is told of a mistake.

use trapline_trace::Format;

use super::*;
use crate::sources::hits::fetch::{Cast, Link, To};
use crate::sources::hits::form::FormKind;

fn fetch(text: &str) -> Fetch {
    parse(text).unwrap_or_else(|error| panic!("{error}")).value.fetch
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
        ("\\+5", Fetch::Immediate(5)),
        ("$arg*", Fetch::Parameters),
        ("\\\"a=b\"", Fetch::Text("a=b".into())),
    ] {
        assert_eq!(fetch(text), expected, "{text}");
    }
}

/// A member of what `base` points to, cast to `cast`, by links as `f`, `2`.
fn member(base: Fetch, cast: Option<(&str, &[&str])>, links: &[&str]) -> Fetch {
    let way = |links: &[&str]| {
        let link = |link: &&str| Link {
            to: link.parse().map_or_else(|_| To::Field((*link).into()), To::Element),
            at: 0..0,
        };
        links.iter().map(link).collect()
    };
    let cast = cast.map(|(name, field)| Cast { structure: name.into(), at: 0..0, field: way(field) });
    Fetch::Member { base: Box::new(base), cast, links: way(links) }
}

/// `fetch` without the places of its parts.
fn without_places(fetch: Fetch) -> Fetch {
    let links = |links: Vec<Link>| links.into_iter().map(|link| Link { at: 0..0, ..link }).collect();
    let inner = |base: Box<Fetch>| Box::new(without_places(*base));
    match fetch {
        Fetch::Member { base, cast, links: way } => {
            let cast = cast.map(|cast| Cast { at: 0..0, field: links(cast.field), ..cast });
            Fetch::Member { base: inner(base), cast, links: links(way) }
        }
        Fetch::Memory { base, offset, user } => Fetch::Memory { base: inner(base), offset, user },
        other => other,
    }
}

#[test]
fn members_are_understood_as_c_and_the_kernel_write_them() {
    let named = |name: &str| Fetch::Named(name.into());
    let di = || Fetch::Register(7);
    for (text, expected) in [
        ("file->f_pos", member(named("file"), None, &["f_pos"])),
        ("file->f_path.dentry", member(named("file"), None, &["f_path", "dentry"])),
        ("a->b->c", member(member(named("a"), None, &["b"]), None, &["c"])),
        ("a->b[3].c[0x10]", member(named("a"), None, &["b", "3", "c", "16"])),
        ("a[2]", member(named("a"), None, &["2"])),
        ("a[2]->b", member(member(named("a"), None, &["2"]), None, &["b"])),
        ("$retval->x", member(Fetch::ReturnValue, None, &["x"])),
        ("$arg2->x", member(Fetch::Parameter(2), None, &["x"])),
        ("(sk_buff)%di->len", member(di(), Some(("sk_buff", &[])), &["len"])),
        ("(sk_buff*)%di->len", member(di(), Some(("sk_buff", &[])), &["len"])),
        ("(struct sk_buff *)%di->len", member(di(), Some(("sk_buff", &[])), &["len"])),
        ("(s,a.b[1])%di->x", member(di(), Some(("s", &["a", "b", "1"])), &["x"])),
        ("(a)(%di)->x", member(di(), Some(("a", &[])), &["x"])),
        ("(a)((b)%di->x)->y", member(member(di(), Some(("b", &[])), &["x"]), Some(("a", &[])), &["y"])),
        (
            "(a)@sym->x",
            member(
                Fetch::Memory { base: Box::new(Fetch::Symbol("sym".into(), 0)), offset: 0, user: false },
                Some(("a", &[])),
                &["x"],
            ),
        ),
        (
            "+8(a->b)",
            Fetch::Memory { base: Box::new(member(named("a"), None, &["b"])), offset: 8, user: false },
        ),
    ] {
        assert_eq!(without_places(fetch(text)), expected, "{text}");
    }
}

#[test]
fn a_value_ends_where_something_else_begins() {
    for (text, end) in [
        ("count > 4096", 5),
        ("count>4096", 5),
        ("a->b>3", 4),
        ("a->b:u8==3", 7),
        ("+0(%si):string == \"x\"", 14),
        ("$comm)", 5),
        ("@jiffies-4&&x", 10),
    ] {
        let mut cursor = Cursor::new(text);
        cursor.value().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(cursor.at, end, "{text}");
    }
}

#[test]
fn a_name_stands_before_and_a_type_behind() {
    let argument = parse("path=+0(%si):string[2]").unwrap();
    assert_eq!(argument.name.as_deref(), Some("path"));
    let form = argument.value.form.unwrap();
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
        ("a->", ""),
        ("a->3", "3"),
        ("a->b.", ""),
        ("a->b..c", "."),
        ("a[x]", "x"),
        ("a[3", "["),
        ("a[3x", "3x"),
        ("a[3)", ")"),
        ("a[4294967296]", "[4294967296"),
        ("a-b", "-"),
        ("(a)%di", "(a)"),
        ("(a", "("),
        ("(a,)%di->x", ")"),
        ("(a;b)%di->x", ";"),
        ("()%di->x", ")"),
        ("(a)(%di->x", "("),
        ("this_cpu_read(x)", "this_cpu_read"),
        ("$current", "$current"),
        ("%di:%px", "%px"),
        ("%di:%pd[2]", "%pd[2]"),
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
    let members = |depth| format!("a{}", "->b".repeat(depth));
    assert!(parse(&members(MAX_DEPTH)).is_ok());
    for depth in [MAX_DEPTH + 1, 43_000] {
        let error = parse(&members(depth)).unwrap_err();
        assert_eq!(error.at, 1 + 3 * MAX_DEPTH..4 + 3 * MAX_DEPTH);
        assert!(error.why.contains("nested too deep"), "{error}");
    }
    let casts = format!("{}%di{}", "(a)(".repeat(43_000), ")->b".repeat(43_000));
    assert!(parse(&casts).unwrap_err().why.contains("nested too deep"));
    // One beside the other is not one within the other.
    assert!(parse("+8(+8(%di)").unwrap_err().why.contains("not closed"));
}

#[test]
fn a_mistake_in_a_long_argument_is_shown_with_what_is_around_it() {
    let text = format!("{}%xy{}", "+0(".repeat(MAX_DEPTH), ")".repeat(100));
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
        "%", "$", "@", "+", "-", "u", "(", ")", "\\", "\"", "=", ":", "[", "]", "b", "/", "0", "9", "é",
        "di", "->", ".", ",", "*", "arg", "pd",
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
