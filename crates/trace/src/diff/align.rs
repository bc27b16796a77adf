//! Alignment of two traces' steps.

use std::collections::BTreeMap;
use std::hash::Hash;

use imara_diff::{Algorithm, Hunk, InternedInput, Interner};

use super::steps::{Step, Stream};
use super::{Pair, Side};

/// Something that differs; steps are told by their numbers in their traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A step is in one trace only.
    Only(Side, usize),
    /// A step has one value in the first trace and another in the second.
    Value(usize, usize),
}

/// Everything that differs, in the order of time since each trace's first access.
pub(super) fn align(pair: &Pair) -> Vec<Difference> {
    let mut found = Vec::new();
    for [a, b] in streams(pair) {
        let step = |side: Side| move |number: &usize| pair.step(side, *number);
        let exact = |step: &'_ Step| (step.key, step.value.clone());
        let before: Vec<_> = a.iter().map(step(Side::A)).map(exact).collect();
        let after: Vec<_> = b.iter().map(step(Side::B)).map(exact).collect();
        for hunk in hunks(&before, &after) {
            let a = &a[hunk.before.start as usize..hunk.before.end as usize];
            let b = &b[hunk.after.start as usize..hunk.after.end as usize];
            by_register(pair, a, b, &mut found);
        }
    }
    found.sort_by_key(|difference| match *difference {
        Difference::Only(side, step) => (pair.step(side, step).since, side as usize),
        Difference::Value(step, _) => (pair.step(Side::A, step).since, 0),
    });
    found
}

/// What differs of steps of which none is equal to its like.
fn by_register(pair: &Pair, a: &[usize], b: &[usize], found: &mut Vec<Difference>) {
    let keys = |side: Side, steps: &[usize]| -> Vec<u32> {
        steps.iter().map(|number| pair.step(side, *number).key).collect()
    };
    let (mut next_a, mut next_b) = (0, 0);
    let pairs = |a: &[usize], b: &[usize]| {
        // The alignment by value may leave two that are equal on both sides of one that moved.
        let differ =
            |(a, b): &(&usize, &usize)| pair.step(Side::A, **a).value != pair.step(Side::B, **b).value;
        a.iter().zip(b).filter(differ).map(|(a, b)| Difference::Value(*a, *b)).collect::<Vec<_>>()
    };
    for Hunk { before, after } in hunks(&keys(Side::A, a), &keys(Side::B, b)) {
        let (before, after) =
            (before.start as usize..before.end as usize, after.start as usize..after.end as usize);
        found.extend(pairs(&a[next_a..before.start], &b[next_b..after.start]));
        (next_a, next_b) = (before.end, after.end);
        found.extend(a[before].iter().map(|step| Difference::Only(Side::A, *step)));
        found.extend(b[after].iter().map(|step| Difference::Only(Side::B, *step)));
    }
    found.extend(pairs(&a[next_a..], &b[next_b..]));
}

/// Where two sequences are not equal.
fn hunks<T: Eq + Hash + Clone>(before: &[T], after: &[T]) -> Vec<Hunk> {
    let interner = Interner::new(before.len());
    let mut input = InternedInput { before: Vec::new(), after: Vec::new(), interner };
    input.update_before(before.iter().cloned());
    input.update_after(after.iter().cloned());
    imara_diff::Diff::compute(Algorithm::Histogram, &input).hunks().collect()
}

/// The numbers of the steps of both traces, by stream. Streams that only one trace has are one
/// together, so that the same work by a task of another name is compared still.
fn streams(pair: &Pair) -> Vec<[Vec<usize>; 2]> {
    let of = |side: Side| pair.sides[side as usize].steps.iter().map(|step| step.stream);
    let mut both = BTreeMap::<Stream, [bool; 2]>::new();
    for side in [Side::A, Side::B] {
        of(side).for_each(|stream| both.entry(stream).or_default()[side as usize] = true);
    }
    let mut streams = BTreeMap::<Option<Stream>, [Vec<usize>; 2]>::new();
    for side in [Side::A, Side::B] {
        for (number, stream) in of(side).enumerate() {
            let stream = Some(stream).filter(|stream| both[stream] == [true, true]);
            streams.entry(stream).or_default()[side as usize].push(number);
        }
    }
    streams.into_values().collect()
}
