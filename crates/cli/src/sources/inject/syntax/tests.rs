//! Each kind of rule, and each kind of mistake with its place.

use proptest::prelude::*;

use super::*;

/// Direction, place, what.
fn read(text: &str) -> (u32, Place, What) {
    let rule = parse(text).unwrap_or_else(|mistake| panic!("{mistake}"));
    (rule.directions, rule.place.value, rule.what.value)
}

fn when(text: &str) -> When {
    parse(&format!("R ones {text}")).unwrap_or_else(|mistake| panic!("{mistake}")).when
}

const READS: u32 = WATCH_READS;
const WRITES: u32 = WATCH_WRITES;
const BOTH: u32 = READS | WRITES;

fn named(name: &str) -> Place {
    Place::Named(name.into())
}

#[test]
fn each_action_is_about_what_it_makes_sense_for_unless_it_is_said() {
    for (text, directions, what) in [
        ("R = 7", READS, What::Value(7)),
        ("R=0x7", READS, What::Value(7)),
        ("write R = 1_000", WRITES, What::Value(1000)),
        ("R ones", READS, What::Ones),
        ("write R ones", WRITES, What::Ones),
        ("R and 0xffffffffffffffff", READS, What::And(u64::MAX)),
        ("R or 0x80", READS, What::Or(0x80)),
        ("  write\tR  xor 1 ", WRITES, What::Xor(1)),
        ("R stale 15", READS, What::Stale(15)),
        ("read R stale 1", READS, What::Stale(1)),
        ("R withhold", READS, What::Withhold),
        ("R random", READS, What::Random),
        ("R drop", WRITES, What::Drop),
        ("write R twice", WRITES, What::Twice),
        ("R gone", BOTH, What::Gone),
        ("read R gone", READS, What::Gone),
        ("R delay 50us", BOTH, What::Delay(50)),
        ("write R delay 1ms", WRITES, What::Delay(1000)),
    ] {
        assert_eq!(read(text), (directions, named("R"), what), "{text}");
    }
}

#[test]
fn each_way_to_name_a_place_is_understood() {
    let bar = |bar, offset, length, size| Place::Bar { bar, offset, length, size };
    let physical =
        |physical, length, size| Place::Physical { range: PhysicalRange { physical, length }, size };
    for (text, place) in [
        ("STATUS", named("STATUS")),
        ("STATUS.LU", named("STATUS.LU")),
        ("RAL[2]", named("RAL[2]")),
        ("_x", named("_x")),
        ("BAR0+0x8", bar(0, 8, 4, 4)),
        ("bar5+16:8", bar(5, 16, 8, 8)),
        ("0+0x8:1", bar(0, 8, 1, 1)),
        ("BAR1+0x100-0x1ff", bar(1, 0x100, 0x100, 4)),
        ("1+0-0:2", bar(1, 0, 1, 2)),
        ("0xfebc0000+4K", physical(0xfebc_0000, 0x1000, 4)),
        ("0xfebc0000+8:8", physical(0xfebc_0000, 8, 8)),
        ("4096+1", physical(4096, 1, 4)),
        ("*", Place::Everything { size: 4 }),
        ("*:8", Place::Everything { size: 8 }),
    ] {
        assert_eq!(read(&format!("{text} ones")).1, place, "{text}");
    }
}

#[test]
fn each_condition_is_understood_and_they_may_be_together() {
    let none = When::default();
    assert_eq!(when(""), none);
    assert_eq!(when("from 3"), When { first: Some(3), ..none.clone() });
    assert_eq!(when("at 3"), When { first: Some(3), count: Some(1), ..none.clone() });
    assert_eq!(when("times 2 from 3"), When { first: Some(3), count: Some(2), ..none.clone() });
    assert_eq!(when("after 2s").after, Some(2_000_000_000));
    let all = when("after 1ms after CTRL.RST=1 until BAR0+0x8:8=0x10 in e1000_reset pid 7 cpu 0 chance 50%");
    let begin = all.begin.unwrap();
    assert_eq!((begin.place.value, begin.value.value), (named("CTRL.RST"), 1));
    let end = all.end.unwrap();
    assert_eq!(end.place.value, Place::Bar { bar: 0, offset: 8, length: 8, size: 8 });
    assert_eq!((end.value.value, all.after), (0x10, Some(1_000_000)));
    assert_eq!(all.function.unwrap().value, "e1000_reset");
    assert_eq!((all.task.unwrap().value, all.cpu.unwrap().value), (7, 0));
}

#[test]
fn a_chance_is_told_to_the_module_as_so_many_of_2_to_the_32() {
    for (text, chance) in [
        ("100%", ALWAYS),
        ("100.0%", ALWAYS),
        ("50%", (1 << 31) - 1),
        ("25%", (1 << 30) - 1),
        ("0.1%", 4_294_966),
        ("0.0000001%", 3),
    ] {
        assert_eq!(when(&format!("chance {text}")).chance, Some(chance), "{text}");
    }
}

/// The mistakes of a rule, each with a mark under its place, and some words of what is said.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("", "", "the rule ends here: expected where"),
    ("read", "", "the rule ends here: expected where"),
    ("STATUS", "", "quote it"),
    ("read STATUS", "", "the rule ends here: expected what to do"),
    ("= 1", "=", "expected where"),
    ("STATUS one", "one", "this is not expected here: expected what to do"),
    ("STATUS =", "", "the rule ends here: expected a value"),
    ("STATUS = x", "x", "`x` is not a number"),
    ("STATUS = -1", "-1", "`-1` is not a number"),
    ("STATUS = 18446744073709551616", "18446744073709551616", "does not fit into 64 bits"),
    ("STATUS and", "", "expected a value"),
    ("STATUS stale 0", "0", "expected 1 to 15"),
    ("STATUS stale 16", "16", "expected 1 to 15"),
    ("STATUS delay", "", "expected a time with its unit"),
    ("STATUS delay 50", "50", "expected a time, as in 50us"),
    ("STATUS delay 0us", "0us", "expected more than 0"),
    ("STATUS delay 2ms", "2ms", "1000us at most"),
    ("STATUS delay 1500ns", "1500ns", "whole microseconds"),
    ("STATUS delay 300000000000y", "300000000000y", "expected"),
    ("read STATUS drop", "read", "`drop` is about writes only: leave `read` out"),
    ("read STATUS twice", "read", "`twice` is about writes only"),
    ("write STATUS stale 1", "write", "`stale` is about reads only"),
    ("write STATUS withhold", "write", "`withhold` is about reads only"),
    ("STATUS ones now", "now", "this is not expected here: expected when"),
    ("STATUS ones from", "", "expected the number of an access"),
    ("STATUS ones from 0", "0", "counted from 1"),
    ("STATUS ones times 0", "0", "counted from 1"),
    ("STATUS ones from 2 at 3", "at", "expected each but once"),
    ("STATUS ones from 3 first", "first", "expected"),
    ("STATUS ones at 3 from 2", "from", "expected each but once"),
    ("STATUS ones at 3 times 2", "times", "expected each but once"),
    ("STATUS ones times 2 at 3", "at", "expected each but once"),
    ("STATUS ones cpu 1 cpu 2", "cpu", "expected each but once"),
    ("STATUS ones after 1s after 2s", "after", "expected each but once"),
    ("STATUS ones after A=1 after B=2", "after", "expected each but once"),
    ("STATUS ones after", "", "expected a time with its unit"),
    ("STATUS ones after 2", "2", "expected a time"),
    ("STATUS ones after 600y", "600y", "584 years at most"),
    ("STATUS ones after CTRL", "", "expected = and the value whose write is waited for"),
    ("STATUS ones after CTRL=", "", "expected the value whose write is waited for"),
    ("STATUS ones after *=1", "*", "expected one register"),
    ("STATUS ones until", "", "a rule ends with a write"),
    ("STATUS ones until 5s", "5s", "a rule ends with a write"),
    ("STATUS ones chance", "", "expected a chance in percent"),
    ("STATUS ones chance 10", "10", "expected a chance in percent"),
    ("STATUS ones chance inf%", "inf%", "expected a chance in percent"),
    ("STATUS ones chance 101%", "101%", "100% at most"),
    ("STATUS ones chance 0%", "0%", "it would never apply"),
    ("STATUS ones chance 0.00000001%", "0.00000001%", "it would never apply"),
    ("STATUS ones in", "", "expected a function"),
    ("STATUS ones pid 4294967295", "4294967295", "this can't be a task's number"),
    ("STATUS ones cpu 99999999999", "99999999999", "this can't be a CPU's number"),
    ("STATUS:8 ones", "STATUS:8", "has the width that its register file says"),
    ("BAR0+8:3 ones", "BAR0+8:3", "`3` is no width: expected 1, 2, 4 or 8 bytes"),
    ("BAR6+8 ones", "BAR6+8", "a device has BAR0 to BAR5"),
    ("BAR0+x ones", "BAR0+x", "`x` is not a number"),
    ("BAR0+9-8 ones", "BAR0+9-8", "ends before it begins"),
    ("BAR0+0-0xffffffffffffffff ones", "BAR0+0-0xffffffffffffffff", "of all bytes that there can be"),
    ("0x1000+0 ones", "0x1000+0", "length 0"),
    ("0xffffffffffffffff+2 ones", "0xffffffffffffffff+2", "wraps"),
    ("STATUS+4 ones", "STATUS+4", "expected where"),
    ("0x1000 ones", "0x1000", "expected where"),
    ("? ones", "?", "expected where"),
];

#[test]
fn each_mistake_is_told_with_its_place() {
    for (text, marked, word) in MISTAKES {
        let mistake = parse(text).unwrap_err();
        assert_eq!(mistake.text.get(mistake.at.clone()), Some(*marked), "{text}: {mistake}");
        assert!(mistake.why.contains(word), "{text}: {mistake}");
        if marked.is_empty() {
            assert_eq!(mistake.at.start, text.len(), "{text}: {mistake}");
        }
    }
}

#[test]
fn a_mistake_has_a_mark_under_it() {
    let mistake = parse("STATUS ones chance 101%").unwrap_err().to_string();
    let expected = "there is no such chance: expected 100% at most
  STATUS ones chance 101%
                     ^^^^";
    assert_eq!(mistake, expected);
}

/// Words of rules, numbers of every size, and anything else.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "read", "write", "STATUS", "STATUS.LU", "BAR0+0x8:4", "BAR1+0-7", "*", "0x1000+4K", "=", "ones", "and",
            "or", "xor", "stale", "withhold", "random", "drop", "twice", "gone", "delay", "50us", "from", "at",
            "times", "chance", "10%", "after", "2s", "until", "CTRL=1", "in", "f", "pid", "cpu", "1", "0x80",
        ]).prop_map(str::to_owned),
        1 => any::<u128>().prop_map(|number| number.to_string()),
        1 => any::<u64>().prop_map(|number| format!("{number:#x}")),
        1 => "[A-Z*0-9.+:=%-]{0,12}",
        1 => any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_text_is_a_rule_or_has_a_mistake_that_lies_in_it(
        words in prop::collection::vec((word(), "[ \t\u{a0}\u{2003}=]{0,3}"), 0..12)
    ) {
        let text: String = words.into_iter().flat_map(|(word, space)| [word, space]).collect();
        match parse(&text) {
            Ok(rule) => prop_assert_eq!(parse(&rule.text), Ok(rule)),
            Err(mistake) => {
                prop_assert!(mistake.text.get(mistake.at.clone()).is_some(), "{:?}", mistake);
                prop_assert!(!mistake.to_string().is_empty());
            }
        }
    }
}
