//! What a trace tells of a driver's reads, and of the lies that it was told.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;

use trapline_abi::{Change, Flags};
use trapline_trace::{Access, Direction, Ending, Event, FileError, Registers, TraceReader, What};

use super::experiment::Site;

/// What is gathered of a site.
#[derive(Debug, Default)]
struct Gathered {
    width: u8,
    offsets: Vec<u64>,
    numbers: Vec<u64>,
    seen: u64,
    polled: bool,
}

/// The reads of a trace, in the order of their first ones.
#[derive(Debug, Default)]
struct Sites {
    all: BTreeMap<(String, String), Gathered>,
    /// Accesses so far.
    accesses: u64,
    /// The instruction and the address of the last access.
    last: (u64, u64),
}

impl Sites {
    fn add(&mut self, access: &Access<'_>) {
        self.accesses += 1;
        let last = std::mem::replace(&mut self.last, (access.ip, access.address));
        let Some(place) = place_of(access).filter(|_| access.direction == Direction::Read) else { return };
        let key = (place, function_of(access).unwrap_or_default());
        let gathered = self.all.entry(key).or_default();
        gathered.width = gathered.width.max(access.width);
        gathered.numbers.push(self.accesses);
        gathered.seen |= access.value.map_or(0, |value| value.low());
        gathered.polled |= last == self.last;
        let offset = access.site.map_or(0, |site| site.offset);
        if !gathered.offsets.contains(&offset) {
            gathered.offsets.push(offset);
        }
    }

    fn told(self) -> Vec<Site> {
        let mut sites: Vec<Site> = self
            .all
            .into_iter()
            .map(|((place, function), gathered)| {
                let Gathered { width, offsets, numbers, seen, polled } = gathered;
                let number = |at: usize| numbers.get(at).copied().unwrap_or_default();
                let reads = numbers.len();
                let among_all = [number(0), number((reads - 1) / 2), number(reads - 1)];
                Site { place, width, function, offsets, reads: reads as u64, among_all, seen, polled }
            })
            .collect();
        sites.sort_by_key(|site| site.among_all[0]);
        sites
    }
}

/// How a rule names where an access is: by its register, or by BAR and offset. `None` where it is
/// in no BAR.
fn place_of(access: &Access<'_>) -> Option<String> {
    let place = access.place?;
    // `CAP+0x4` is a part of a register, which has no name.
    let is_name = |name: &&str| !name.contains(|c: char| c == '+' || c.is_whitespace());
    match place.register.filter(is_name) {
        Some(register) => Some(register.to_owned()),
        None if matches!(access.width, 1 | 2 | 4 | 8) => {
            Some(format!("BAR{}+{:#x}:{}", place.bar, place.offset, access.width))
        }
        None => {
            let last = place.offset + u64::from(access.width.max(1)) - 1;
            Some(format!("BAR{}+{:#x}-{last:#x}", place.bar, place.offset))
        }
    }
}

/// The function that accesses, as a rule names it.
fn function_of(access: &Access<'_>) -> Option<String> {
    let site = access.site?;
    Some(match site.module {
        Some(module) => format!("{module}:{}", site.function),
        None => site.function.to_owned(),
    })
}

/// What the driver of `device` reads by the trace in `file`.
pub(crate) fn sites(file: &Path, device: &str, registers: &Registers) -> Result<Vec<Site>, FileError> {
    let mut sites = Sites::default();
    each(file, |access| sites.add(access))?;
    let mut told = sites.told();
    let reader = TraceReader::open(file)?;
    let traced = reader.header().devices.iter().find(|traced| traced.address == device);
    let registers = traced.and_then(|traced| registers.of(&traced.identity()));
    let width = |place: &str| Some(registers.as_ref()?.named(place)?.width);
    told.iter_mut().for_each(|site| no_wider(site, width(&site.place)));
    Ok(told)
}

/// Has a site no wider than its register is, if that is known: no rule about it may be.
fn no_wider(site: &mut Site, width: Option<u8>) {
    let Some(width) = width.filter(|width| *width < site.width.min(8)) else { return };
    site.width = width;
    site.seen &= !(u64::MAX << (8 * u32::from(width)));
}

/// The lies of a trace.
#[derive(Debug, Default)]
pub(crate) struct Lies {
    /// How many.
    pub count: u64,
    /// The function that the last one was told to.
    pub last: Option<String>,
    /// Whether nothing is missing in the trace.
    pub complete: bool,
}

/// The lies in the trace in `file`. A trace that is cut off is read as far as it goes.
pub(crate) fn lies(file: &Path) -> Lies {
    let (mut count, mut last) = (0, None);
    // One that could not even begin has none.
    let ending = each(file, |access| {
        let is_lie = access.change != Change::None
            || access.flags.has(Flags::SUPPLIED)
            || access.flags.has(Flags::DROPPED);
        if is_lie {
            count += 1;
            last = access.site.map(|site| site.function.to_owned()).or_else(|| last.take());
        }
    });
    let complete = matches!(ending, Ok(Ending::Whole(totals)) if totals.dropped == 0);
    Lies { count, last, complete }
}

fn each(file: &Path, mut take: impl FnMut(&Access<'_>)) -> Result<Ending, FileError> {
    let mut reader = TraceReader::open(file)?;
    let Ok(ending) = reader.read(|event: &Event<'_>| {
        if let What::Access(access) = &event.what {
            take(access);
        }
        Ok::<(), Infallible>(())
    });
    Ok(ending)
}

#[cfg(test)]
mod tests {
    use trapline_trace::{Place, Site as Code, Value};

    use super::*;

    fn read<'a>(register: Option<&'a str>, offset: u64, function: &'a str, ip: u64) -> Access<'a> {
        Access {
            direction: Direction::Read,
            width: 4,
            value: Value::from_u64(0x80, 4),
            change: Change::None,
            original: None,
            mapping: 1,
            address: 0x1000 + offset,
            physical: None,
            flags: Flags(0),
            way: None,
            ip,
            place: Some(Place { device: "0000:00:01.0", bar: 0, offset, register }),
            site: Some(Code { function, offset: ip, module: Some("m") }),
        }
    }

    #[test]
    fn reads_come_together_by_register_and_function_with_their_places_among_all_accesses() {
        let mut sites = Sites::default();
        sites.add(&read(Some("STATUS"), 8, "wait", 4));
        sites.add(&read(Some("STATUS"), 8, "wait", 4));
        sites.add(&Access { direction: Direction::Write, ..read(Some("CTRL"), 0, "start", 8) });
        sites.add(&read(Some("CAP+0x4"), 0x24, "start", 12));
        sites.add(&read(Some("STATUS"), 8, "wait", 16));
        let told = sites.told();
        let places: Vec<_> =
            told.iter().map(|site| (&*site.place, &*site.function, site.reads, site.polled)).collect();
        assert_eq!(places, [("STATUS", "m:wait", 3, true), ("BAR0+0x24:4", "m:start", 1, false)]);
        let mut narrow = told[0].clone();
        no_wider(&mut narrow, Some(8));
        no_wider(&mut narrow, None);
        assert_eq!(narrow, told[0]);
        let mut narrow = Site { seen: 0x1_0080, ..told[0].clone() };
        no_wider(&mut narrow, Some(2));
        assert_eq!((narrow.width, narrow.seen), (2, 0x80));
        assert_eq!((told[0].among_all, &*told[0].offsets, told[0].seen), ([1, 2, 5], &[4, 16][..], 0x80));
    }
}
