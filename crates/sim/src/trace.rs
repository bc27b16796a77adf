//! Accesses as the trace tells of them and as a device saw them, in one shape, so that they can be
//! compared.

use std::fmt;
use trapline_abi::{AccessPayload, Change, Flags, Kind, Record, Way};

/// The bytes of one access, up to 64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value {
    bytes: [u8; 64],
    width: u8,
}

impl Value {
    /// These bytes, lowest address first.
    pub fn new(bytes: &[u8]) -> Self {
        let mut all = [0; 64];
        all[..bytes.len()].copy_from_slice(bytes);
        Self { bytes: all, width: bytes.len() as u8 }
    }

    /// The low `width` bytes of `value`.
    pub fn of(value: u64, width: u8) -> Self {
        Self::new(&value.to_le_bytes()[..usize::from(width)])
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.width)]
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.bytes().iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One access, as traced or as seen by the device.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RecordedAccess {
    /// Number of the CPU.
    pub cpu: usize,
    /// Linear address of the first byte in the region; for what the device saw, computed from where
    /// the device is mapped.
    pub address: u64,
    /// Bytes; 0 if not known.
    pub width: u8,
    /// Direction.
    pub write: bool,
    /// What was read or written; `None` if the trace does not know.
    pub value: Option<Value>,
    /// What it was before it was changed between device and driver; `None` if it was not, and in
    /// what a device saw.
    pub original: Option<Value>,
    /// `trapline_abi::Flags`; 0 in what a device saw.
    pub flags: u8,
    /// How it was performed; `None` in what a device saw.
    pub way: Option<Way>,
    /// Address of the accessing instruction; 0 if not known.
    pub ip: u64,
}

impl fmt::Debug for RecordedAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.write { "write" } else { "read" };
        write!(f, "cpu{} {direction}{} {:#x}", self.cpu, self.width, self.address)?;
        match self.value {
            Some(value) => write!(f, " = {value:?}")?,
            None => f.write_str(" = ?")?,
        }
        write!(f, " ip {:#x} flags {:#x}", self.ip, self.flags)
    }
}

impl RecordedAccess {
    /// Whether the trace's `self` tells truly of what the device saw as `seen`: CPU, direction,
    /// address, and width and value as far as they are known.
    pub fn tells_of(&self, seen: &RecordedAccess) -> bool {
        let width = self.width == 0 || self.width == seen.width;
        // A device saw what it said, and what was written in the end.
        let told = if self.write { self.value } else { self.original.or(self.value) };
        let value = told.is_none() || told == seen.value;
        self.cpu == seen.cpu && self.address == seen.address && self.write == seen.write && width && value
    }

    /// Whether this access did not reach the device: a handler supplied or dropped its value.
    pub fn is_held_back(&self) -> bool {
        let dropped = self.flags & Flags::DROPPED != 0;
        dropped || !self.write && self.flags & Flags::SUPPLIED != 0
    }

    /// The access as accesses of one byte each, for what a bus may split.
    pub fn split(&self) -> impl Iterator<Item = RecordedAccess> + '_ {
        (0..self.width).map(move |offset| {
            let byte = self.value.map(|value| Value::new(&[value.bytes()[usize::from(offset)]]));
            let was = self.original.map(|value| Value::new(&[value.bytes()[usize::from(offset)]]));
            let address = self.address + u64::from(offset);
            RecordedAccess { address, width: 1, value: byte, original: was, ..*self }
        })
    }
}

/// What the rings held.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The accesses, each CPU's in order.
    pub accesses: Vec<RecordedAccess>,
    /// Sum of all `Lost` records.
    pub lost: u64,
    /// `Lost` records.
    pub gaps: u64,
    /// `Window` records, and the page of each.
    pub windows: Vec<u64>,
    /// Thread ids that `Task` records told of.
    pub tasks: Vec<u32>,
}

impl Trace {
    /// Adds the records of one ring.
    ///
    /// # Panics
    /// If a record is of no known kind, or `More` records do not follow as their head says.
    pub fn read(&mut self, records: &[Record]) {
        let mut records = records.iter();
        while let Some(record) = records.next() {
            match Kind::from_code(record.kind) {
                Some(Kind::Access) => {
                    let payload = AccessPayload::from_words(record.payload);
                    let mut bytes: Vec<u8> =
                        payload.value.iter().flat_map(|word| word.to_le_bytes()).collect();
                    for _ in 0..record.more {
                        let more = records.next().expect("a record is followed by as many as it says");
                        assert_eq!(more.kind, Kind::More as u8, "only parts of a value follow its head");
                        bytes.extend(more.payload.iter().flat_map(|word| word.to_le_bytes()));
                    }
                    let known = record.flags & Flags::UNKNOWN == 0;
                    self.accesses.push(RecordedAccess {
                        cpu: record.cpu.into(),
                        address: payload.address,
                        width: record.width,
                        write: record.flags & Flags::WRITE != 0,
                        value: known.then(|| Value::new(&bytes[..record.width.into()])),
                        original: (record.change == Change::Known as u8)
                            .then(|| Value::of(payload.value[1], record.width)),
                        flags: record.flags,
                        way: Way::from_code(record.way),
                        ip: payload.ip,
                    });
                }
                Some(Kind::Lost) => {
                    self.lost += record.payload[0];
                    self.gaps += 1;
                }
                Some(Kind::Window) => self.windows.push(record.payload[0]),
                Some(Kind::Task) => self.tasks.push(record.task),
                Some(Kind::Map | Kind::Unmap | Kind::Mark | Kind::Hit | Kind::Fault) => {
                    records.by_ref().take(record.more.into()).for_each(drop);
                }
                Some(
                    Kind::More
                    | Kind::Served
                    | Kind::NotWatched
                    | Kind::Interrupt
                    | Kind::Handled
                    | Kind::Config
                    | Kind::Port
                    | Kind::Dma
                    | Kind::Log
                    | Kind::Lifecycle,
                )
                | None => {
                    panic!("a record of kind {} stands alone", record.kind)
                }
            }
        }
    }
}
