//! The fixed-size record of one thing that happened, as it lies in a ring.
//!
//! A record is one cache line. Its first word is its *stamp*, stored last with release order: a
//! reader that finds the stamp of position `p` (see [`stamp`]) sees the whole record of position
//! `p`. So a writer that is interrupted between reserving and finishing a slot (an NMI that traps
//! as well) needs no lock: the reader simply waits at the unfinished slot.

/// Size of a record in bytes: one cache line.
pub const RECORD_SIZE: usize = 64;

/// One record.
///
/// The meaning of `payload` depends on `kind`; [`Record`] is only ever read through the `*Payload`
/// views.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// [`stamp`] of the record's position once it is complete; any other value before.
    pub stamp: u64,
    /// Nanoseconds on the kernel log's clock (`local_clock()`).
    pub time: u64,
    /// What it is: one of [`Kind`].
    pub kind: u8,
    /// [`Flags`] of an access; 0 for other kinds.
    pub flags: u8,
    /// Bytes accessed (1 to 64, 0 if not known), or bytes of text used.
    pub width: u8,
    /// How the access was performed: one of [`Way`].
    pub way: u8,
    /// CPU it happened on.
    pub cpu: u16,
    /// How many [`Kind::More`] records follow at the next positions.
    pub more: u8,
    /// Of an access: what was made of it, one of [`Change`]; 0 for other kinds.
    pub change: u8,
    /// Thread id of the interrupted task; 0 is the idle task.
    pub task: u32,
    /// Number of the mapping (see [`MapPayload`]).
    pub mapping: u32,
    /// The rest, by kind.
    pub payload: [u64; 4],
}

const _: () = assert!(size_of::<Record>() == RECORD_SIZE);

impl Record {
    /// A record of nothing: what an unused slot holds.
    pub const EMPTY: Record = Record {
        stamp: 0,
        time: 0,
        kind: 0,
        flags: 0,
        width: 0,
        way: 0,
        cpu: 0,
        more: 0,
        change: 0,
        task: 0,
        mapping: 0,
        payload: [0; 4],
    };

    /// As it lies in a ring: its words in order.
    #[inline(always)]
    pub const fn to_words(self) -> [u64; RECORD_SIZE / 8] {
        let Self { stamp, time, kind, flags, width, way, cpu, more, change, task, mapping, payload } = self;
        let [cpu_low, cpu_high] = cpu.to_le_bytes();
        let what = u64::from_le_bytes([kind, flags, width, way, cpu_low, cpu_high, more, change]);
        let whose = task as u64 | (mapping as u64) << 32;
        let [a, b, c, d] = payload;
        [stamp, time, what, whose, a, b, c, d]
    }

    /// From what lies in a ring.
    #[inline(always)]
    pub const fn from_words([stamp, time, what, whose, a, b, c, d]: [u64; RECORD_SIZE / 8]) -> Self {
        let [kind, flags, width, way, cpu_low, cpu_high, more, change] = what.to_le_bytes();
        let cpu = u16::from_le_bytes([cpu_low, cpu_high]);
        let (task, mapping) = (whose as u32, (whose >> 32) as u32);
        Self { stamp, time, kind, flags, width, way, cpu, more, change, task, mapping, payload: [a, b, c, d] }
    }
}

/// The stamp of a complete record at position `position`; never 0.
pub const fn stamp(position: u64) -> u64 {
    position.wrapping_add(1)
}

/// What a record tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// One access: `payload` is [`AccessPayload`].
    Access = 1,
    /// 32 more bytes of what came before it on this CPU (an access's value, lowest address first; a
    /// hit's words).
    More = 2,
    /// The task that the following records of this CPU belong to: `payload` is [`TaskPayload`].
    Task = 3,
    /// A mapping came to be or was found: `payload` is [`MapPayload`]; `task` is who made it, 0 if
    /// it was found.
    Map = 4,
    /// Mapping `mapping` is gone.
    Unmap = 5,
    /// A person's marker: 32 bytes of text in `payload` and more in [`Kind::More`] records; `width`
    /// is its length in bytes.
    Mark = 6,
    /// `payload[0]` records could not be written between the record before this one on this CPU and
    /// this one.
    Lost = 7,
    /// Accesses of other CPUs may have been missed while a page was open for a single step:
    /// `payload[0]` is the page's linear address, `payload[1]` the nanoseconds it was open: 0 if it
    /// stays so until the repair. A CPU that looked the page up meanwhile may go on passing until
    /// then in any case.
    Window = 8,
    /// A code probe was hit: `payload` is [`HitPayload`](crate::HitPayload), and [`Kind::More`]
    /// records hold the words that it has no room for; of `flags` only [`Flags::INTERRUPT`] is
    /// used.
    Hit = 9,
    /// A page fault: `payload` is [`FaultPayload`](crate::FaultPayload); of `flags` only
    /// [`Flags::INTERRUPT`] and [`Flags::CLOSED`] are used.
    Fault = 10,
    /// The kernel's memory management has done what it does about a page fault: `payload` is
    /// [`ServedPayload`](crate::ServedPayload), `time` when that was, on whichever CPU.
    Served = 11,
    /// A mapping of watched memory came to be and could not be watched: accesses to it are missing.
    /// `payload` is [`NotWatchedPayload`].
    NotWatched = 12,
    /// A handler of a device's interrupt is called: `payload` is
    /// [`InterruptPayload`](crate::InterruptPayload), `task` whom it interrupted, or its thread.
    Interrupt = 13,
    /// That handler has returned: `payload` is [`HandledPayload`](crate::HandledPayload).
    Handled = 14,
    /// An access to a device's configuration space, which has ended: `payload` is
    /// [`ConfigPayload`](crate::ConfigPayload), `width` the bytes accessed; [`Kind::More`] records
    /// hold whom the kernel's function returned to, as far as that is known, innermost first, and
    /// zeros behind them. Of `flags` only [`Flags::WRITE`] and [`Flags::INTERRUPT`] are used.
    Config = 15,
    /// An access to an I/O port, which has been made: `payload` is
    /// [`PortPayload`](crate::PortPayload), `width` the bytes accessed. Of `flags` only
    /// [`Flags::WRITE`] and [`Flags::INTERRUPT`] are used.
    Port = 16,
    /// Memory was given to a device, or taken back: `payload` is
    /// [`DmaPayload`](crate::DmaPayload), `width` the bytes of data that follow what is told there
    /// in [`Kind::More`] records. Of `flags` only [`Flags::INTERRUPT`] is used.
    Dma = 17,
    /// A line of the kernel log: `payload[0]` is [`LogLength`](crate::LogLength), its bytes are in
    /// the words from `payload[2]` on. Of `flags` only [`Flags::INTERRUPT`] is used.
    Log = 18,
    /// Something was begun with a device as a whole, or has ended: `payload` is
    /// [`LifecyclePayload`](crate::LifecyclePayload), `width` the bytes of a name that follow what
    /// is told there in [`Kind::More`] records. Of `flags` only [`Flags::INTERRUPT`] is used.
    Lifecycle = 19,
}

impl Kind {
    /// The kind with code `code`, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Access,
            2 => Self::More,
            3 => Self::Task,
            4 => Self::Map,
            5 => Self::Unmap,
            6 => Self::Mark,
            7 => Self::Lost,
            8 => Self::Window,
            9 => Self::Hit,
            10 => Self::Fault,
            11 => Self::Served,
            12 => Self::NotWatched,
            13 => Self::Interrupt,
            14 => Self::Handled,
            15 => Self::Config,
            16 => Self::Port,
            17 => Self::Dma,
            18 => Self::Log,
            19 => Self::Lifecycle,
            _ => return None,
        })
    }

    /// Whether [`Flags::INTERRUPT`] is told of records of this kind: they are of what the CPU did,
    /// in a task or in an interrupt that came in it.
    pub const fn tells_interrupts(self) -> bool {
        match self {
            Self::Access
            | Self::Hit
            | Self::Fault
            | Self::Config
            | Self::Port
            | Self::Dma
            | Self::Log
            | Self::Lifecycle => true,
            Self::More
            | Self::Task
            | Self::Map
            | Self::Unmap
            | Self::Mark
            | Self::Lost
            | Self::Window
            | Self::Served
            | Self::NotWatched
            | Self::Interrupt
            | Self::Handled => false,
        }
    }
}

/// Bits of [`Record::flags`]: in an access record all but [`CLOSED`](Self::CLOSED), in others those
/// that its [`Kind`] names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// It wrote; else it read.
    pub const WRITE: u8 = 1 << 0;
    /// Half of a read-modify-write: the write follows the read as the next access of this CPU.
    pub const MODIFY: u8 = 1 << 1;
    /// The instruction had a lock prefix, or is `xchg`.
    pub const LOCKED: u8 = 1 << 2;
    /// Of a page fault: in kernel mode, at an address of user mode, which was closed to the kernel
    /// (SMAP, with RFLAGS.AC clear; Intel SDM volume 3, 4.6.1).
    pub const CLOSED: u8 = 1 << 2;
    /// One element of a string instruction.
    pub const STRING: u8 = 1 << 3;
    /// A pre handler supplied the value; the device was not read.
    pub const SUPPLIED: u8 = 1 << 4;
    /// A pre handler dropped the write; the device was not written.
    pub const DROPPED: u8 = 1 << 5;
    /// The value is not known (performed by single step).
    pub const UNKNOWN: u8 = 1 << 6;
    /// It was made by an interrupt handler (hard or soft); `task` is whom it interrupted.
    pub const INTERRUPT: u8 = 1 << 7;

    /// Whether `bit` is set.
    pub const fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

/// `payload` of [`Kind::Task`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskPayload {
    /// `comm`, padded with zeros.
    pub name: [u8; 16],
    /// Thread group (process) id.
    pub process: u32,
}

impl TaskPayload {
    /// As it lies in a record.
    pub const fn to_words(self) -> [u64; 4] {
        let [low, high] = halves(self.name);
        [low, high, self.process as u64, 0]
    }

    /// From a record of kind [`Kind::Task`].
    pub const fn from_words(words: [u64; 4]) -> Self {
        let whole = words[0] as u128 | (words[1] as u128) << 64;
        Self { name: whole.to_le_bytes(), process: words[2] as u32 }
    }
}

const fn halves(bytes: [u8; 16]) -> [u64; 2] {
    let whole = u128::from_le_bytes(bytes);
    [whole as u64, (whole >> 64) as u64]
}

/// `payload` of [`Kind::Map`]: where a mapping lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapPayload {
    /// Linear address of its first byte, as the driver was given it.
    pub address: u64,
    /// Physical address of its first byte.
    pub physical: u64,
    /// Length in bytes, as the driver asked for it.
    pub length: u64,
    /// Address in the code that called `ioremap`; 0 if not known (the mapping was found, not
    /// watched being made).
    pub caller: u64,
}

impl MapPayload {
    /// As it lies in a record.
    pub const fn to_words(self) -> [u64; 4] {
        [self.address, self.physical, self.length, self.caller]
    }

    /// From a record of kind [`Kind::Map`].
    pub const fn from_words(words: [u64; 4]) -> Self {
        Self { address: words[0], physical: words[1], length: words[2], caller: words[3] }
    }
}

/// `payload` of [`Kind::NotWatched`]: a mapping that could not be watched, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotWatchedPayload {
    /// Linear address of its first byte, as the driver was given it.
    pub address: u64,
    /// Physical address of its first byte.
    pub physical: u64,
    /// Length in bytes, as the driver asked for it.
    pub length: u64,
    /// A [`WatchError`](crate::WatchError) code.
    pub reason: u32,
}

impl NotWatchedPayload {
    /// As it lies in a record.
    pub const fn to_words(self) -> [u64; 4] {
        [self.address, self.physical, self.length, self.reason as u64]
    }

    /// From a record of kind [`Kind::NotWatched`].
    pub const fn from_words(words: [u64; 4]) -> Self {
        Self { address: words[0], physical: words[1], length: words[2], reason: words[3] as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_records_words_are_its_fields_in_order_and_lead_back() {
        let record = Record {
            stamp: 0x0101_0101_0101_0101,
            time: 0x0202_0202_0202_0202,
            kind: 3,
            flags: 4,
            width: 5,
            way: 6,
            cpu: 0x0807,
            more: 9,
            change: 10,
            task: 0x0e0d_0c0b,
            mapping: 0x1211_100f,
            payload: [19, 20, 21, 22],
        };
        let words = record.to_words();
        assert_eq!(words[..2], [record.stamp, record.time]);
        assert_eq!(words[2..4], [0x0a09_0807_0605_0403, 0x1211_100f_0e0d_0c0b]);
        assert_eq!(words[4..], record.payload);
        assert_eq!(Record::from_words(words), record);
    }

    #[test]
    fn payloads_survive_the_way_through_a_record() {
        let task = TaskPayload { name: *b"kworker/3:2\0\0\0\0\0", process: 4711 };
        assert_eq!(TaskPayload::from_words(task.to_words()), task);
        let map = MapPayload { address: 1, physical: 2, length: 3, caller: 4 };
        assert_eq!(MapPayload::from_words(map.to_words()), map);
        let not = NotWatchedPayload { address: 1, physical: 2, length: 3, reason: 4 };
        assert_eq!(NotWatchedPayload::from_words(not.to_words()), not);
    }

    #[test]
    fn a_slot_of_zeros_holds_no_record_and_each_position_has_a_stamp_of_its_own() {
        assert_eq!([0, 1, 41, u64::MAX - 1].map(stamp), [1, 2, 42, u64::MAX]);
    }

    #[test]
    fn a_flag_is_told_from_the_others() {
        for bit in 0..8 {
            assert!(Flags(1 << bit).has(1 << bit) && !Flags(!(1 << bit)).has(1 << bit));
        }
    }

    #[test]
    fn every_code_names_one_kind() {
        for code in 0..=u8::MAX {
            if let Some(kind) = Kind::from_code(code) {
                assert_eq!(kind as u8, code);
            }
        }
        assert_eq!((0..=u8::MAX).filter_map(Kind::from_code).count(), 19);
    }
}
