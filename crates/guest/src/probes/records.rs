//! What hits record.

use anyhow::{Context, Result, ensure};
use trapline_abi::{
    CODE_POST, CODE_RETURN, CODE_STACK, CodeProbe, HitPayload, Kind, LIST_FTRACE, ListEntry, MAX_ARGUMENTS,
    Op, Record, Step,
};

use crate::session::{Session, listed, on};
use crate::target::Target;

/// What `trapline_target_place` holds.
const VALUE: u64 = 0x1122_3344_5566_7788;
const TEXT: &[u8] = b"the quick brown fox";
/// What `trapline_target_hot()` adds.
const ADDED: u64 = 0x100;
/// Registers by their numbers in programs.
const RDX: u16 = 2;
const RSI: u16 = 6;
const RDI: u16 = 7;
const RIP: u16 = 16;
/// Bytes of records for each CPU: all that is recorded here.
const BUFFER: u64 = 4 << 20;

fn step(op: Op, number: u16, operand: i64) -> Step {
    Step { op: op as u8, width: 0, number, reserved: 0, operand }
}

fn wide(op: Op, width: u8, operand: i64) -> Step {
    Step { width, ..step(op, 0, operand) }
}

/// For `Target::inside`: the number; the low half of the place's value; a fault; the text; the
/// task's name; whether the text is the place's.
pub(crate) fn program(target: &Target) -> Vec<Step> {
    vec![
        step(Op::Register, RDI, 0),
        step(Op::Emit, 0, 0),
        step(Op::Register, RSI, 0),
        wide(Op::EmitMemory, 4, 0),
        step(Op::Immediate, 0, 0),
        wide(Op::Load, 8, 8),
        step(Op::EmitString, 64, 0),
        step(Op::Register, RDX, 0),
        step(Op::EmitString, 1000, 0),
        step(Op::Comm, 0, 0),
        step(Op::Immediate, 0, (target.place + 8) as i64),
        step(Op::Emit, 0, 0),
    ]
}

/// A hit with its words.
#[derive(Debug, PartialEq)]
struct Hit {
    probe: u32,
    faults: u32,
    ip: u64,
    words: Vec<u64>,
}

/// The hits among `records`; other records than tasks' must not be there.
fn hits(records: &[Record]) -> Result<Vec<Hit>> {
    let mut hits: Vec<Hit> = Vec::new();
    for record in records {
        match Kind::from_code(record.kind) {
            Some(Kind::Hit) => {
                let HitPayload { probe, faults, ip, words } = HitPayload::from_words(record.payload);
                hits.push(Hit { probe, faults, ip, words: words.to_vec() });
            }
            Some(Kind::More) => hits.last_mut().context("words of no hit")?.words.extend(record.payload),
            Some(Kind::Task) => {}
            _ => anyhow::bail!("a session of code probes has the record {record:?}"),
        }
    }
    Ok(hits)
}

fn string(text: &[u8]) -> Vec<u64> {
    let word = |part: &[u8]| {
        let mut bytes = [0; 8];
        bytes[..part.len()].copy_from_slice(part);
        u64::from_le_bytes(bytes)
    };
    [text.len() as u64].into_iter().chain(text.chunks(8).map(word)).collect()
}

/// How a record's words are filled up: two of the hit, then four each.
fn padded(mut words: Vec<u64>) -> Vec<u64> {
    let length = if words.len() <= 2 { 2 } else { 2 + (words.len() - 2).next_multiple_of(4) };
    words.resize(length, 0);
    words
}

/// So many as a message can show.
fn few(hits: &[Hit]) -> &[Hit] {
    hits.get(..6).unwrap_or(hits)
}

pub(crate) fn check() -> Result<()> {
    let target = Target::open()?;
    let before = target.text()?;
    arguments(&target)?;
    returns_and_posts(&target)?;
    stacks(&target)?;
    filters(&target)?;
    conditions(&target)?;
    many_arguments(&target)?;
    entries(&target)?;
    ensure!(listed()?.is_empty(), "probes are left: {:?}", listed()?);
    target.becomes(&before)
}

const CALLS: u64 = 100;

fn arguments(target: &Target) -> Result<()> {
    let mut session = Session::start(BUFFER)?;
    let id = session.probe(on(target.inside), &program(target))?;
    target.run(CALLS)?;
    session.stop()?;
    let found = hits(&session.records()?)?;
    let expected = |number| Hit {
        probe: id as u32,
        faults: 0b100,
        ip: target.inside,
        words: padded(
            [number, VALUE & 0xffff_ffff, 0]
                .into_iter()
                .chain(string(TEXT))
                .chain(string(b"trapline-probes"))
                .chain([target.place + 8])
                .collect(),
        ),
    };
    ensure!(found.len() == CALLS as usize, "{} hits", found.len());
    for (number, hit) in (0..).zip(&found) {
        ensure!(*hit == expected(number), "call {number} is told as {hit:x?}, not {:x?}", expected(number));
    }
    let [ListEntry { counts, .. }] = listed()?[..] else { anyhow::bail!("{:?} are listed", listed()?) };
    ensure!((counts.hits, counts.fetch_faults, counts.dropped) == (CALLS, CALLS, 0), "counted {counts:?}");
    Ok(())
}

fn returns_and_posts(target: &Target) -> Result<()> {
    let mut session = Session::start(BUFFER)?;
    let value = [step(Op::ReturnValue, 0, 0), step(Op::Emit, 0, 0)];
    let number =
        [step(Op::Register, RDI, 0), step(Op::Emit, 0, 0), step(Op::Register, RIP, 0), step(Op::Emit, 0, 0)];
    let returned = session.probe(CodeProbe { flags: CODE_RETURN, ..on(target.hot) }, &value)? as u32;
    let after = session.probe(CodeProbe { flags: CODE_POST, ..on(target.inside) }, &number)? as u32;
    let before = session.probe(on(target.inside), &number)? as u32;
    target.run(CALLS)?;
    session.stop()?;
    let found = hits(&session.records()?)?;
    let words = |probe| found.iter().filter(move |hit| hit.probe == probe).map(|hit| &hit.words[..2]);
    for call in 0..CALLS {
        let at = call as usize;
        // A probe's handlers find the instruction pointer behind the breakpoint's byte, whichever
        // way the kernel takes.
        ensure!(
            words(before).nth(at) == Some(&[call, target.inside + 1]),
            "before call {call}: {:x?}",
            few(&found)
        );
        let next = target.inside + 7;
        ensure!(words(after).nth(at) == Some(&[call + ADDED, next]), "after call {call}: {:x?}", few(&found));
        ensure!(
            words(returned).nth(at) == Some(&[(call + ADDED) ^ VALUE, 0]),
            "return {call}: {:x?}",
            few(&found)
        );
    }
    ensure!(found.len() == 3 * CALLS as usize, "{} hits", found.len());
    let mut callers: Vec<u64> = found.iter().filter(|hit| hit.probe == returned).map(|hit| hit.ip).collect();
    callers.dedup();
    let in_module = |ip: u64| ip.abs_diff(target.hot) < 1 << 16;
    ensure!(
        callers.len() == 1 && in_module(callers[0]),
        "returns to {callers:x?}, not to one place of the module"
    );
    Ok(())
}

fn stacks(target: &Target) -> Result<()> {
    let mut session = Session::start(BUFFER)?;
    let entry = session.probe(CodeProbe { flags: CODE_STACK, ..on(target.inside) }, &[])? as u32;
    let back = session.probe(CodeProbe { flags: CODE_STACK | CODE_RETURN, ..on(target.hot) }, &[])? as u32;
    target.run(1)?;
    session.stop()?;
    let found = hits(&session.records()?)?;
    let of = |probe| found.iter().find(|hit| hit.probe == probe).context("a hit is missing");
    let (entry, back) = (of(entry)?, of(back)?);
    let stack = |hit: &Hit| hit.words.get(1..=hit.words[0] as usize).map(<[u64]>::to_vec).context("no stack");
    let (inner, outer) = (stack(entry)?, stack(back)?);
    // The innermost return address is where the function returns to; behind it both stacks are the
    // same.
    ensure!(inner.len() >= 4 && inner.len() <= 64, "{inner:x?}");
    ensure!(inner[0] == back.ip, "{inner:x?} does not begin with {:x}", back.ip);
    ensure!(inner[1..] == outer, "{inner:x?} and {outer:x?}");
    Ok(())
}

fn filters(target: &Target) -> Result<()> {
    let mut session = Session::start(BUFFER)?;
    let own = std::process::id();
    let mine = session.probe(CodeProbe { process: own, ..on(target.inside) }, &[])? as u32;
    session.probe(CodeProbe { process: own + 1, ..on(target.inside) }, &[])?;
    let cpus = [0, 1].map(|cpu| session.probe(CodeProbe { cpu, ..on(target.inside) }, &[]));
    let [first, second] = cpus;
    let cpus = [first? as u32, second? as u32];
    for (count, cpu) in [(3, 0), (5, 1)] {
        let mut set = rustix::thread::CpuSet::new();
        set.set(cpu);
        rustix::thread::sched_setaffinity(None, &set)?;
        target.run(count)?;
    }
    session.stop()?;
    let found = hits(&session.records()?)?;
    let count = |probe| found.iter().filter(|hit| hit.probe == probe).count();
    ensure!([count(mine), count(cpus[0]), count(cpus[1]), found.len()] == [8, 3, 5, 16], "{found:x?}");
    let listed: Vec<u64> = listed()?.iter().map(|entry| entry.counts.hits).collect();
    ensure!(listed == [8, 0, 3, 5], "counted {listed:?}");
    Ok(())
}

/// What does not fulfil the condition is counted and not recorded, by what the function is given
/// and by what it returns; what can't be told as well.
fn conditions(target: &Target) -> Result<()> {
    let number = [step(Op::Register, RDI, 0), step(Op::Emit, 0, 0)];
    let constant = |value: u64| [step(Op::Immediate, 0, value as i64), step(Op::Emit, 0, 0)];
    let name = string(b"trapline-*").into_iter().map(|word| step(Op::EmitWord, 0, word as i64));
    let is_ours = [step(Op::Comm, 0, 0), step(Op::Immediate, 0, 0)].into_iter().chain(name);
    let is_ours: Vec<Step> = is_ours.chain([step(Op::Match, 0, 0)]).collect();
    let below = [&number[..], &constant(10), &[step(Op::Below, 0, 0)]].concat();
    let and = step(Op::And, 0, 0);
    let both = [&below[..], &is_ours, &[and]].concat();
    let returned = [step(Op::ReturnValue, 0, 0), step(Op::Emit, 0, 0)];
    let seventh = [&returned[..], &constant((7 + ADDED) ^ VALUE), &[step(Op::Equal, 0, 0)]].concat();
    let fault = [step(Op::Immediate, 0, 0), wide(Op::Load, 8, 8), step(Op::Emit, 0, 0)];
    let fault = [&fault[..], &constant(0), &[step(Op::Equal, 0, 0)]].concat();
    let either = [&below[..], &fault, &[step(Op::Or, 0, 0)]].concat();

    let mut session = Session::start(BUFFER)?;
    let probe = |flags, address, condition: &[Step], fetch: &[Step]| {
        let condition_of = condition.len() as u32;
        let probe = CodeProbe { flags, condition: condition_of, ..on(address) };
        session.probe(probe, &[condition, fetch].concat())
    };
    let first = probe(0, target.inside, &both, &number)? as u32;
    let back = probe(CODE_RETURN, target.hot, &seventh, &returned)? as u32;
    let partly = probe(0, target.inside, &either, &number)? as u32;
    target.run(CALLS)?;
    session.stop()?;
    let found = hits(&session.records()?)?;
    let of = |probe| found.iter().filter(move |hit| hit.probe == probe).map(|hit| hit.words[0]);
    let ten: Vec<u64> = (0..10).collect();
    ensure!(of(first).eq(ten.iter().copied()), "{:?}", of(first).collect::<Vec<_>>());
    ensure!(of(partly).eq(ten), "{:?}", of(partly).collect::<Vec<_>>());
    ensure!(of(back).eq([(7 + ADDED) ^ VALUE]), "{:?}", of(back).collect::<Vec<_>>());
    let counted: Vec<[u64; 4]> = listed()?
        .iter()
        .map(|ListEntry { counts, .. }| [counts.hits, counts.unfulfilled, counts.undecided, counts.dropped])
        .collect();
    let expected = [[CALLS, CALLS - 10, 0, 0], [CALLS, CALLS - 1, 0, 0], [CALLS, CALLS - 10, CALLS - 10, 0]];
    ensure!(counted == expected, "counted {counted:?}");
    Ok(())
}

/// As many arguments as a probe can have, every tenth of which can't be fetched.
fn many_arguments(target: &Target) -> Result<()> {
    let fetch = |number: usize| {
        let from = if number % 10 == 3 { step(Op::Immediate, 0, 0) } else { step(Op::Register, RSI, 0) };
        [from, wide(Op::EmitMemory, 4, 0)]
    };
    let program: Vec<Step> = (0..MAX_ARGUMENTS).flat_map(fetch).collect();
    let mut session = Session::start(BUFFER)?;
    session.probe(on(target.inside), &program)?;
    target.run(1)?;
    session.stop()?;
    let found = hits(&session.records()?)?;
    let [hit] = &found[..] else { anyhow::bail!("{} hits", found.len()) };
    let faults: u128 = (0..MAX_ARGUMENTS).filter(|number| number % 10 == 3).map(|number| 1 << number).sum();
    let words = (0..MAX_ARGUMENTS).map(|number| if number % 10 == 3 { 0 } else { VALUE & 0xffff_ffff });
    let masks = [(faults >> 32) as u64, (faults >> 96) as u64];
    ensure!(hit.faults == faults as u32, "{:x}", hit.faults);
    ensure!(hit.words == padded(masks.into_iter().chain(words).collect()), "{:x?}", hit.words);
    let [ListEntry { counts, .. }] = listed()?[..] else { anyhow::bail!("{:?} are listed", listed()?) };
    ensure!(counts.fetch_faults == u64::from(faults.count_ones()), "counted {counts:?}");
    Ok(())
}

/// A function's entry, by ftrace.
fn entries(target: &Target) -> Result<()> {
    let mut session = Session::start(BUFFER)?;
    session.probe(on(target.hot), &[step(Op::Register, RDI, 0), step(Op::Emit, 0, 0)])?;
    target.run(CALLS)?;
    let [entry] = listed()?[..] else { anyhow::bail!("{:?} are listed", listed()?) };
    ensure!(entry.flags & LIST_FTRACE != 0, "{entry:?} does not go by ftrace");
    ensure!(entry.owner == std::process::id() && entry.address == target.hot, "{entry:?}");
    session.stop()?;
    let numbers: Vec<u64> = hits(&session.records()?)?.iter().map(|hit| hit.words[0]).collect();
    ensure!(numbers == (0..CALLS).collect::<Vec<_>>(), "{numbers:?}");
    Ok(())
}
