//! Where a rule is: the place that a person named, found in what is traced.

use std::collections::BTreeMap;
use std::ops::Range;

use trapline_registers::{DeviceRegisters, Field, Place as Register};
use trapline_trace::{Device, Registers};

use super::rule::{Place, Rule, Spanned};
use crate::mistake::Mistake;
use crate::nearest::{nearest, suggestion};
use crate::sources::accesses::Target;

/// Bytes of the widest value that can be given.
const WIDEST: u64 = 8;

/// Where a place is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Located {
    /// The first byte; 0 with all bytes that there are for everything that is traced.
    pub(super) physical: u64,
    /// Bytes.
    pub(super) length: u64,
    /// Bytes of a value, 1 to 8.
    pub(super) size: u32,
    /// The highest and the lowest bit of a field.
    pub(super) field: Option<(u32, u32)>,
    /// The device that it is in, if it is in one.
    pub(super) device: Option<String>,
    /// What it is called in messages: `0000:00:02.0 BAR 0+0x8, 4 bytes`.
    pub(super) name: String,
}

/// What is traced, and what names its registers.
pub(super) struct Map<'a> {
    targets: &'a [Target],
    /// By their addresses.
    devices: BTreeMap<&'a str, (&'a Device, Option<DeviceRegisters>)>,
}

impl<'a> Map<'a> {
    pub(super) fn new(targets: &'a [Target], registers: &Registers) -> Self {
        let devices = targets.iter().filter_map(|target| {
            let (device, _) = target.bar.as_ref()?;
            Some((device.address.as_str(), (device, registers.of(&device.identity()))))
        });
        Self { targets, devices: devices.collect() }
    }

    /// Whether there are several devices.
    pub(super) fn has_several(&self) -> bool {
        self.devices.len() > 1
    }

    /// Where `place` of `rule` is: once in each device that has it.
    pub(super) fn locate(&self, rule: &Rule, place: &Spanned<Place>) -> Result<Vec<Located>, Mistake> {
        let wrong = |why: String| rule.mistake(&place.at, why);
        match &place.value {
            Place::Everything { size } => Ok(vec![Located {
                physical: 0,
                length: u64::MAX,
                size: *size,
                field: None,
                device: None,
                name: "all that is traced".into(),
            }]),
            Place::Physical { range, size } => {
                let is_in = |target: &Target| range.outside(&target.range).is_empty();
                if !self.targets.iter().any(is_in) {
                    return Err(wrong(format!("{range} is not in what is traced: {}", self.traced())));
                }
                let (physical, length) = (range.physical, range.length);
                let name = format!("{range}");
                Ok(vec![Located { physical, length, size: *size, field: None, device: None, name }])
            }
            Place::Bar { bar, offset, length, size } => {
                let place = Bytes { bar: *bar, offset: *offset, length: *length, size: *size, field: None };
                let mut found = Vec::new();
                let mut missing = "no device is traced: name it by PHYS+LEN".to_owned();
                for (device, _) in self.devices.values() {
                    match located(device, &place) {
                        Ok(located) => found.push(located),
                        Err(why) => missing = why,
                    }
                }
                if found.is_empty() { Err(wrong(missing)) } else { Ok(found) }
            }
            Place::Named(name) => self.named(name, &place.at, rule),
        }
    }

    fn traced(&self) -> String {
        self.targets.iter().map(|target| target.name()).collect::<Vec<_>>().join(", ")
    }

    /// A register or field of each device that has one of that name.
    fn named(&self, name: &str, at: &Range<usize>, rule: &Rule) -> Result<Vec<Located>, Mistake> {
        let mut found = Vec::new();
        let mut problem = None;
        for (device, registers) in self.devices.values() {
            let Some(registers) = registers else { continue };
            let bytes = match find(registers, name) {
                Ok(Some((register, field))) => Bytes::new(&register, field),
                Ok(None) => continue,
                Err(why) => {
                    problem = Some(why);
                    continue;
                }
            };
            match located(device, &bytes) {
                Ok(located) => found.push(located),
                Err(why) => problem = Some(why),
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
        let why = problem.unwrap_or_else(|| self.unknown(name));
        Err(rule.mistake(at, why))
    }

    /// Why there is no register called `name`.
    fn unknown(&self, name: &str) -> String {
        const OTHERWISE: &str = "name it by BAR0+OFFSET";
        if self.devices.is_empty() {
            return "registers have names where a device is traced (--device, --driver): name it by PHYS+LEN"
                .into();
        }
        let known: Vec<&DeviceRegisters> =
            self.devices.values().filter_map(|(_, registers)| registers.as_ref()).collect();
        if known.is_empty() {
            let devices: Vec<&str> = self.devices.keys().copied().collect();
            return format!(
                "no register file describes {}: {OTHERWISE}, or give a file that does by --registers",
                devices.join(", ")
            );
        }
        // A field by its register's name, which may be what is misspelt.
        let register = name.rsplit_once('.').map_or(name, |(register, _)| register);
        let near = nearest(register, known.iter().flat_map(|registers| registers.all_names()));
        match suggestion(&near) {
            Some(near) => format!("there is no register `{register}`: {near}"),
            None => format!("there is no register `{register}`: {OTHERWISE}"),
        }
    }
}

/// Bytes of a BAR, or bits of them.
struct Bytes {
    bar: u8,
    offset: u64,
    length: u64,
    size: u32,
    field: Option<(u32, u32)>,
}

impl Bytes {
    /// Those of a register, or of the part of it that a field is in.
    fn new(register: &Register<'_>, field: Option<&Field>) -> Self {
        let &Register { bar, offset, width, .. } = register;
        let size = u64::from(width).min(WIDEST);
        // A field lies within 64 bits; masks would begin anew behind them.
        let length = if field.is_some() { size } else { u64::from(width) };
        let field = field.map(|field| (field.high, field.low));
        Self { bar, offset, length, size: size as u32, field }
    }
}

/// The register called `name`, or the field of one; `None` if there is no such register.
fn find<'a>(
    registers: &'a DeviceRegisters,
    name: &str,
) -> Result<Option<(Register<'a>, Option<&'a Field>)>, String> {
    if let Some(register) = registers.named(name) {
        return Ok(Some((register, None)));
    }
    let Some((of, field)) = name.rsplit_once('.') else { return Ok(None) };
    let Some(register) = registers.named(of) else { return Ok(None) };
    if let Some(field) = register.fields.iter().find(|known| known.name == field) {
        return Ok(Some((register, Some(field))));
    }
    let fields = || register.fields.iter().map(|field| field.name.as_str());
    let near = suggestion(&nearest(field, fields())).unwrap_or_else(|| match register.fields.len() {
        0 => "it has none".into(),
        _ => format!("it has {}", fields().collect::<Vec<_>>().join(", ")),
    });
    Err(format!("{of} has no field `{field}`: {near}"))
}

/// Where `bytes` of a device are.
fn located(device: &Device, bytes: &Bytes) -> Result<Located, String> {
    let &Bytes { bar, offset, length, size, field } = bytes;
    let address = &device.address;
    let memory = device.memory_bars().find(|(index, memory)| *index == bar && memory.start != 0);
    let Some((_, memory)) = memory else {
        return Err(format!("{address} has no memory in BAR {bar}"));
    };
    let end = offset.checked_add(length);
    if end.is_none_or(|end| end > memory.length) {
        return Err(format!("BAR {bar} of {address} has {:#x} bytes: this is not in it", memory.length));
    }
    Ok(Located {
        physical: memory.start + offset,
        length,
        size,
        field,
        device: Some(address.clone()),
        name: name(address, bytes),
    })
}

fn name(address: &str, bytes: &Bytes) -> String {
    let &Bytes { bar, offset, length, field, .. } = bytes;
    let plural = if length == 1 { "" } else { "s" };
    match field {
        Some((high, low)) if high == low => format!("{address} BAR {bar}+{offset:#x} bit {low}"),
        Some((high, low)) => format!("{address} BAR {bar}+{offset:#x} bits {high}:{low}"),
        None => format!("{address} BAR {bar}+{offset:#x}, {length} byte{plural}"),
    }
}

impl Located {
    /// The bits of a value that it is about.
    pub(super) fn mask(&self) -> u64 {
        let (high, low) = self.field.unwrap_or((8 * self.size - 1, 0));
        (u64::MAX >> (63 - (high - low).min(63))) << low
    }

    /// The lowest bit of it in a value.
    pub(super) fn low(&self) -> u32 {
        self.field.map_or(0, |(_, low)| low)
    }

    /// The bits that it has.
    pub(super) fn bits(&self) -> u32 {
        self.field.map_or(8 * self.size, |(high, low)| high - low + 1)
    }
}
