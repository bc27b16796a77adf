//! Does a trace equal QEMU's record? Direction, address, width, value, and order within each CPU.
//!
//! QEMU does not always hand a CPU's access to the device as one. What it makes of each is known,
//! so that a trace with a wrong width is not taken for one of QEMU's reshapings:
//!
//! * a wide access is made of operations of 16 bytes (target/i386/tcg/translate.c, gen_ldo_env_A0);
//! * what of these crosses a page is split there, and each part is made of aligned accesses
//!   (accel/tcg/cputlb.c, int_ld_mmio_beN and int_st_mmio_leN): see [`in_page`] and [`aligned`];
//! * each of these is split if it is wider than the device model takes, and widened if it is
//!   narrower (system/memory.c, access_with_adjusted_size): see [`Device`].
//!
//! The simulated machine knows the same for the conformance suite (crates/sim/src/profile.rs),
//! which xtask, the first to be built, does not need otherwise. All names are of QEMU 10.0. Those
//! before 8.1 made bytes of an unaligned write, and of an unaligned read the two aligned ones
//! around it.

use std::collections::BTreeMap;
use std::{fmt, iter};

use crate::access::Access;

/// How many accesses around a difference are shown.
const AROUND: usize = 3;

/// What of the record the trace should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// All of it.
    Whole,
    /// One run of each CPU's accesses: the device was in use before tracing began, or after it
    /// ended.
    Run,
}

/// What the functions of a device model take: `impl.min_access_size` and `impl.max_access_size` in
/// its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Narrower accesses are widened to this many bytes.
    pub narrowest: usize,
    /// Wider accesses are split into this many bytes.
    pub widest: usize,
}

impl Device {
    /// hw/misc/edu.c.
    pub const EDU: Self = Self { narrowest: 4, widest: 8 };
    /// hw/net/e1000e.c, `mmio_ops`.
    pub const E1000E: Self = Self { narrowest: 4, widest: 4 };
    /// hw/nvme/ctrl.c.
    pub const NVME: Self = Self { narrowest: 2, widest: 8 };

    /// The accesses that QEMU makes of one access of a CPU.
    fn pieces(self, access: &Access) -> Vec<Piece> {
        let mut pieces = Vec::with_capacity(1);
        let (mut address, mut left) = (access.address, access.width());
        while left > 0 {
            // One operation of the emulation: of 16 bytes, or of the widest power of two below that
            // is not more than what is left.
            let width = if left >= 16 { 16 } else { 8.min(1 << left.ilog2()) };
            let here = width.min((PAGE - address % PAGE) as usize);
            let parts = in_page(address, here, access.write).chain(in_page(
                address + here as u64,
                width - here,
                access.write,
            ));
            parts.for_each(|(address, width)| self.adjust(address, width, &mut pieces));
            address += width as u64;
            left -= width;
        }
        pieces
    }

    fn adjust(self, address: u64, width: usize, pieces: &mut Vec<Piece>) {
        let size = width.clamp(self.narrowest, self.widest);
        pieces.extend((0..width).step_by(size).map(|at| Piece { address: address + at as u64, width: size }));
    }
}

/// Bytes of a page of the CPU's.
const PAGE: u64 = 4096;

/// The accesses, address and width, that QEMU makes of an operation's part within a page: those of
/// 8 bytes and of the rest, the rest first if it reads (do_ld16_mmio_beN and do_st16_mmio_leN).
fn in_page(address: u64, length: usize, write: bool) -> impl Iterator<Item = (u64, usize)> {
    let first = match length {
        ..=8 => length,
        _ if write => 8,
        _ => length - 8,
    };
    aligned(address, first).chain(aligned(address + first as u64, length - first))
}

/// The accesses, address and width, that QEMU makes of up to 8 bytes within a page: each is as wide
/// as its address is aligned, and as a power of two that the number of bytes left is a multiple of.
fn aligned(mut address: u64, mut left: usize) -> impl Iterator<Item = (u64, usize)> {
    iter::from_fn(move || {
        (left > 0).then(|| {
            let piece = (address, 1 << (left as u64 | address).trailing_zeros());
            address += piece.1 as u64;
            left -= piece.1;
            piece
        })
    })
}

/// One access as the device sees it.
#[derive(Clone, Copy, Debug)]
struct Piece {
    address: u64,
    width: usize,
}

impl Piece {
    /// Whether the record's access is this piece of the trace's.
    fn agrees(self, access: &Access, seen: &Access) -> bool {
        let place = (seen.write, seen.address, seen.width()) == (access.write, self.address, self.width);
        place
            && (self.address..).zip(&seen.bytes).all(|(address, &byte)| {
                match address.checked_sub(access.address).and_then(|at| access.bytes.get(at as usize)) {
                    Some(&traced) => traced == byte,
                    // Beside the access: a widened write is extended with zeros, a read brings what
                    // is there.
                    None => !access.write || byte == 0,
                }
            })
    }
}

/// The result of a comparison.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Accesses of the trace that equal the record's.
    pub equal: usize,
    /// Those of them that QEMU made in several pieces, or widened.
    pub reshaped: usize,
    /// Accesses of the record before and after those traced, with [`Span::Run`].
    pub outside: usize,
    /// Every CPU that made an access, in order.
    pub cpus: Vec<OnCpu>,
    /// The first difference on each CPU that has one.
    pub differences: Vec<Difference>,
}

/// How many accesses of one CPU were compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnCpu {
    /// The CPU.
    pub cpu: u32,
    /// Accesses in the trace.
    pub traced: usize,
    /// Accesses in the record, those outside the trace left out.
    pub recorded: usize,
    /// Accesses, of the trace or of the record, from the first difference on.
    pub unequal: usize,
}

impl Comparison {
    /// Whether the trace is the truth.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Where trace and record part.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The CPU.
    pub cpu: u32,
    /// How many of the CPU's accesses agreed before.
    pub after: usize,
    /// The trace from shortly before the difference.
    pub trace: Vec<Access>,
    /// The record from shortly before the difference.
    pub record: Vec<Access>,
    /// How many of `trace` and of `record` come before the difference.
    pub before: (usize, usize),
}

/// Compares a trace with a record, CPU by CPU.
pub fn compare<'a>(
    trace: impl IntoIterator<Item = &'a Access>,
    record: impl IntoIterator<Item = &'a Access>,
    device: Device,
    span: Span,
) -> Comparison {
    let mut cpus: BTreeMap<u32, (Vec<&Access>, Vec<&Access>)> = BTreeMap::new();
    for access in trace {
        cpus.entry(access.cpu).or_default().0.push(access);
    }
    for access in record {
        cpus.entry(access.cpu).or_default().1.push(access);
    }
    let mut comparison = Comparison::default();
    for (cpu, (trace, record)) in cpus {
        let start = match span {
            Span::Whole => 0,
            Span::Run => best_start(&trace, &record, device),
        };
        let matched = walk(&trace, &record[start..], device);
        comparison.equal += matched.trace;
        comparison.reshaped += matched.reshaped;
        let (at_trace, at_record) = (matched.trace, start + matched.record);
        let complete = at_trace == trace.len() && (span == Span::Run || at_record == record.len());
        let outside = if complete { record.len() - matched.record } else { start };
        comparison.cpus.push(OnCpu {
            cpu,
            traced: trace.len(),
            recorded: record.len() - outside,
            unequal: if complete { 0 } else { (trace.len() - at_trace).max(record.len() - at_record) },
        });
        if complete {
            comparison.outside += outside;
        } else {
            comparison.differences.push(difference(cpu, &trace, at_trace, &record, at_record));
        }
    }
    comparison
}

/// How far a walk got.
#[derive(Clone, Copy, Default)]
struct Matched {
    trace: usize,
    record: usize,
    reshaped: usize,
}

/// Matches accesses one by one until the first that differs.
fn walk(trace: &[&Access], record: &[&Access], device: Device) -> Matched {
    let mut matched = Matched::default();
    for access in trace {
        let pieces = device.pieces(access);
        let recorded = record[matched.record..].get(..pieces.len());
        let agrees = |recorded: &[&Access]| {
            pieces.iter().zip(recorded).all(|(piece, seen)| piece.agrees(access, seen))
        };
        if !recorded.is_some_and(agrees) {
            break;
        }
        matched.trace += 1;
        matched.record += pieces.len();
        matched.reshaped += usize::from(pieces.len() != 1 || pieces[0].width != access.width());
    }
    matched
}

/// Where in the record a trace that begins later is most likely to begin: where most of it matches.
fn best_start(trace: &[&Access], record: &[&Access], device: Device) -> usize {
    let mut best = (0, 0);
    for start in 0..record.len() {
        let matched = walk(trace, &record[start..], device).trace;
        if matched > best.0 {
            best = (matched, start);
        }
        if matched == trace.len() {
            break;
        }
    }
    best.1
}

fn difference(
    cpu: u32,
    trace: &[&Access],
    at_trace: usize,
    record: &[&Access],
    at_record: usize,
) -> Difference {
    let cut = |accesses: &[&Access], at: usize| {
        let from = at.saturating_sub(AROUND);
        let to = accesses.len().min(at + AROUND);
        (accesses[from..to].iter().map(|&access| access.clone()).collect::<Vec<_>>(), at - from)
    };
    let (shown_trace, before_trace) = cut(trace, at_trace);
    let (shown_record, before_record) = cut(record, at_record);
    let before = (before_trace, before_record);
    Difference { cpu, after: at_trace, trace: shown_trace, record: shown_record, before }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} accesses equal", self.equal)?;
        if self.reshaped > 0 {
            write!(f, " ({} of them in other pieces)", self.reshaped)?;
        }
        if self.outside > 0 {
            write!(f, ", {} recorded before or after the trace", self.outside)?;
        }
        match self.differences.len() {
            0 => f.write_str(", no difference"),
            _ => self.differences.iter().try_for_each(|difference| write!(f, "\n{difference}")),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cpu {} differs after {} equal accesses:", self.cpu, self.after)?;
        for (title, accesses, before) in
            [("trace", &self.trace, self.before.0), ("record", &self.record, self.before.1)]
        {
            write!(f, "\n  {title}:")?;
            for (index, access) in accesses.iter().enumerate() {
                let mark = if index == before { '>' } else { ' ' };
                write!(f, "\n  {mark} {access}")?;
            }
            if accesses.len() <= before {
                f.write_str("\n  > (nothing more)")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
