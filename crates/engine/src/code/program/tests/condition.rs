//! Conditions: each comparison, what joins them, and what is not known.

use super::*;
use crate::code::program::glob;

/// What a program with the condition `steps` says on `memory`.
fn holds(memory: &[u8], steps: &[Step]) -> Truth {
    let program = Program::check(steps, steps.len()).unwrap();
    let mut words = vec![u64::MAX; program.words()];
    program.condition(&registers(), &Memory(memory.to_vec()), &mut words)
}

fn number(value: u64) -> Vec<Step> {
    vec![immediate(value), step(Op::Emit, 0, 0)]
}

/// A text as the command has it in a program: as many words as it has in a record.
fn constant(text: &[u8]) -> Vec<Step> {
    let words = string(text).into_iter().map(|word| step(Op::EmitWord, 0, word as i64));
    [immediate(0)].into_iter().chain(words).collect()
}

fn fault() -> Vec<Step> {
    vec![immediate(START), wide(Op::Load, 8, 1 << 20), step(Op::Emit, 0, 0)]
}

fn compare(op: Op, one: Vec<Step>, other: Vec<Step>) -> Vec<Step> {
    [one, other, vec![step(op, 0, 0)]].concat()
}

#[test]
fn numbers_are_compared_with_and_without_their_sign_and_by_their_bits() {
    let minus = -1_i64 as u64;
    for (op, holding, failing) in [
        (Op::Equal, &[(7, 7), (minus, minus)][..], &[(7, 8), (0, minus)][..]),
        (Op::Below, &[(1, 2), (2, minus)], &[(2, 2), (minus, 2)]),
        (Op::Less, &[(1, 2), (minus, 2)], &[(2, 2), (2, minus)]),
        (Op::Test, &[(6, 4), (minus, 1 << 63)], &[(6, 9), (0, minus)]),
    ] {
        for (pairs, expected) in [(holding, true), (failing, false)] {
            for &(a, b) in pairs {
                let steps = compare(op, number(a), number(b));
                assert_eq!(holds(&[], &steps), Some(expected), "{op:?} {a:#x} {b:#x}");
            }
        }
    }
}

#[test]
fn a_number_is_narrowed_to_some_of_its_bits_with_or_without_its_sign() {
    let bits = |width, number, signed| Step { width, ..step(Op::Narrow, number, signed) };
    for (narrow, value, expected) in [
        (bits(32, 0, 0), 0xffff_ffff_8000_0000, 0x8000_0000),
        (bits(32, 0, 1), 0x8000_0000, 0xffff_ffff_8000_0000),
        (bits(3, 4, 0), 0b101_0000, 0b101),
        (bits(3, 4, 1), 0b101_0000, -3_i64 as u64),
        (bits(64, 0, 1), u64::MAX, u64::MAX),
        (bits(1, 63, 0), 1 << 63, 1),
    ] {
        let narrowed = vec![immediate(value), narrow, step(Op::Emit, 0, 0)];
        assert_eq!(run(&[], &narrowed), (vec![expected], 0), "{narrow:?}");
    }
}

#[test]
fn texts_are_the_same_or_as_a_pattern_says() {
    let memory = b"/etc/passwd\0\0\0\0\0";
    let fetched = || vec![immediate(START), step(Op::EmitString, 255, 0)];
    for (op, text, expected) in [
        (Op::Same, &b"/etc/passwd"[..], true),
        (Op::Same, b"/etc/passw", false),
        (Op::Same, b"/etc/passwd\x01", false),
        (Op::Match, b"/etc/*", true),
        (Op::Match, b"*passw?", true),
        (Op::Match, b"*shadow", false),
    ] {
        assert_eq!(holds(memory, &compare(op, fetched(), constant(text))), Some(expected), "{text:?}");
    }
    let comm = vec![step(Op::Comm, 0, 0)];
    assert_eq!(holds(&[], &compare(Op::Match, comm, constant(b"kworker/[0-3]:*"))), Some(true));
    // What the words of two operands are is looked at, not believed.
    assert_eq!(holds(&[], &compare(Op::Match, number(u64::MAX), number(u64::MAX))), Some(true));
}

#[test]
fn what_can_not_be_fetched_is_unknown_and_decides_nothing() {
    let yes = || compare(Op::Equal, number(1), number(1));
    let no = || compare(Op::Equal, number(1), number(2));
    let unknown = || compare(Op::Equal, fault(), number(1));
    let second = || compare(Op::Same, number(1), fault());
    let joined = |one: Vec<Step>, other: Vec<Step>, op| [one, other, vec![step(op, 0, 0)]].concat();
    assert_eq!(holds(&[], &unknown()), None);
    assert_eq!(holds(&[], &second()), None);
    assert_eq!(holds(&[], &[unknown(), vec![step(Op::Not, 0, 0)]].concat()), None);
    assert_eq!(holds(&[], &joined(yes(), unknown(), Op::Or)), Some(true));
    assert_eq!(holds(&[], &joined(unknown(), yes(), Op::Or)), Some(true));
    assert_eq!(holds(&[], &joined(no(), unknown(), Op::And)), Some(false));
    assert_eq!(holds(&[], &joined(unknown(), no(), Op::And)), Some(false));
    assert_eq!(holds(&[], &joined(yes(), unknown(), Op::And)), None);
    assert_eq!(holds(&[], &joined(no(), unknown(), Op::Or)), None);
    // One that faulted says nothing of the next.
    assert_eq!(holds(&[], &joined(unknown(), yes(), Op::And)), None);
    assert_eq!(holds(&[], &joined(joined(unknown(), no(), Op::And), yes(), Op::Or)), Some(true));
}

#[test]
fn every_hit_fulfils_no_condition_and_the_arguments_come_after_one() {
    assert_eq!(holds(&[], &[]), Some(true));
    let condition = compare(Op::Equal, number(1), number(2));
    let steps = [condition.clone(), number(5)].concat();
    let program = Program::check(&steps, condition.len()).unwrap();
    let mut words = vec![0; program.words()];
    assert_eq!(program.condition(&registers(), &Memory(Vec::new()), &mut words), Some(false));
    let fetched = program.run(&registers(), &Memory(Vec::new()), &mut words);
    assert_eq!((fetched.words, words[0], program.words()), (1, 5, 2));
}

#[test]
fn a_condition_that_is_malformed_is_refused_with_its_step() {
    let check = |steps: &[Step]| Program::check(steps, steps.len()).map(|_| ());
    let at = |step| Err(ProgramError::Malformed { step });
    let yes = compare(Op::Equal, number(1), number(1));
    assert_eq!(check(&yes), Ok(()));
    assert_eq!(Program::check(&yes, yes.len() + 1).map(|_| ()), at(yes.len()));
    assert_eq!(check(&number(1)), at(2), "no comparison");
    assert_eq!(check(&[number(1), vec![step(Op::Equal, 0, 0)]].concat()), at(2), "one operand");
    assert_eq!(check(&[number(1), yes.clone()].concat()), at(6), "three operands");
    assert_eq!(check(&[yes.clone(), vec![step(Op::And, 0, 0)]].concat()), at(5), "one truth");
    assert_eq!(check(&[step(Op::Not, 0, 0)]), at(0), "no truth");
    assert_eq!(check(&[yes.clone(), yes.clone()].concat()), at(10), "two truths");
    assert_eq!(check(&[yes.clone(), vec![step(Op::Emit, 0, 0)]].concat()), at(5), "no value");
    let joined = [yes.clone(), number(1), vec![step(Op::Not, 0, 0)]].concat();
    assert_eq!(check(&joined), at(7), "an operand is in the way");
    let odd = [number(1), number(1), vec![Step { reserved: 1, ..step(Op::Equal, 0, 0) }]].concat();
    assert_eq!(check(&odd), at(4));
    let long = vec![immediate(START), step(Op::EmitString, MAX_COMPARED as u16 + 1, 0)];
    assert_eq!(check(&compare(Op::Same, long, number(1))), at(1), "a text that is too long");
    let and = [step(Op::And, 0, 0)];
    let many = |count: usize| [yes.repeat(count), and.repeat(count - 1)].concat();
    assert_eq!(check(&many(MAX_COMPARISONS)), Ok(()));
    assert_eq!(check(&many(MAX_COMPARISONS + 1)), Err(ProgramError::TooLong));
}

/// Whether `text` is as `pattern` says, by trying everything.
fn model(text: &[u8], pattern: &[u8]) -> bool {
    let one = |end: usize| !text.is_empty() && model(&text[1..], &pattern[end..]);
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|taken| model(&text[taken..], rest)),
        [b'?', ..] => one(1),
        [b'\\', char, ..] => text.first() == Some(char) && one(2),
        [b'[', rest @ ..] => {
            let (inverted, rest) = match rest {
                [b'!', rest @ ..] => (true, rest),
                _ => (false, rest),
            };
            let length = 1 + usize::from(inverted);
            let first = usize::from(!rest.is_empty());
            match rest[first..].iter().position(|char| *char == b']') {
                None => text.first() == Some(&b'[') && one(1),
                Some(end) => {
                    let end = first + end;
                    let is_one = text.first().is_some_and(|char| rest[..end].contains(char));
                    is_one != inverted && one(length + end + 1)
                }
            }
        }
        [char, ..] => text.first() == Some(char) && one(1),
    }
}

#[test]
fn classes_have_ranges_and_may_hold_what_ends_them() {
    let matches = |text: &[u8], pattern: &[u8]| {
        let (text, pattern) = (string(text), string(pattern));
        glob::matches(Text::new(&text), Text::new(&pattern))
    };
    for (text, pattern, expected) in [
        ("b", "[a-c]", true),
        ("d", "[a-c]", false),
        ("d", "[!a-c]", true),
        ("]", "[]]", true),
        ("]", "[!]]", false),
        ("-", "[a-]", true),
        ("b", "[a-]", false),
        ("[a-c", "[a-c", true),
        ("a", "[a-", false),
        ("[", "[", true),
        ("*", "\\*", true),
        ("x", "\\*", false),
        ("", "*", true),
        ("", "?", false),
        ("", "[!a]", false),
        ("a\\", "a\\", false),
    ] {
        assert_eq!(matches(text.as_bytes(), pattern.as_bytes()), expected, "{text} {pattern}");
    }
}

/// A condition, and whether each of its comparisons holds, in their order.
#[derive(Clone, Debug)]
enum Tree {
    Leaf(Truth),
    Not(Box<Tree>),
    Two(bool, Box<Tree>, Box<Tree>),
}

impl Tree {
    fn steps(&self) -> Vec<Step> {
        match self {
            Self::Leaf(Some(truth)) => compare(Op::Equal, number(1), number(if *truth { 1 } else { 2 })),
            Self::Leaf(None) => compare(Op::Equal, number(1), fault()),
            Self::Not(tree) => [tree.steps(), vec![step(Op::Not, 0, 0)]].concat(),
            Self::Two(is_and, one, other) => {
                let op = if *is_and { Op::And } else { Op::Or };
                [one.steps(), other.steps(), vec![step(op, 0, 0)]].concat()
            }
        }
    }

    /// What it may be, if what is not known may be either: false, true.
    fn possible(&self) -> [bool; 2] {
        match self {
            Self::Leaf(truth) => [*truth != Some(true), *truth != Some(false)],
            Self::Not(tree) => {
                let [no, yes] = tree.possible();
                [yes, no]
            }
            Self::Two(is_and, one, other) => {
                let mut all = [false; 2];
                let (one, other) = (one.possible(), other.possible());
                for (a, b) in [(false, false), (false, true), (true, false), (true, true)] {
                    let result = if *is_and { a && b } else { a || b };
                    all[usize::from(result)] |= one[usize::from(a)] && other[usize::from(b)];
                }
                all
            }
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![Just(None), Just(Some(false)), Just(Some(true))].prop_map(Tree::Leaf);
    leaf.prop_recursive(6, 48, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|tree| Tree::Not(Box::new(tree))),
            (any::<bool>(), inner.clone(), inner).prop_map(|(is_and, one, other)| Tree::Two(
                is_and,
                Box::new(one),
                Box::new(other)
            )),
        ]
    })
}

proptest! {
    #[test]
    fn a_condition_is_known_if_it_is_the_same_whatever_the_unknown_is(tree in tree()) {
        let expected = match tree.possible() {
            [true, false] => Some(false),
            [false, true] => Some(true),
            _ => None,
        };
        prop_assert_eq!(holds(&[], &tree.steps()), expected);
    }

    #[test]
    fn a_pattern_fits_what_trying_everything_finds(
        text in "[ab\\]!\\[]{0,8}",
        pattern in "[ab*?\\[\\]!]{0,8}",
    ) {
        let (text, pattern) = (text.into_bytes(), pattern.into_bytes());
        let (texts, patterns) = (string(&text), string(&pattern));
        prop_assert_eq!(glob::matches(Text::new(&texts), Text::new(&patterns)), model(&text, &pattern));
    }
}
