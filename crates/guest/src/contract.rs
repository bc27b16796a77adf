//! What the module `trapline_conformance` and this program say to each other: the other side of
//! `kernel/tests/conformance.h`.

use trapline_insn::Registers;

/// Where the module is.
pub(crate) const PATH: &str = "/dev/trapline_conformance";

/// Bytes of one program; pages of one region; bytes of a hit's value.
pub(crate) const CODE: usize = 128;
pub(crate) const PAGES: usize = 64;
pub(crate) const VALUE: usize = 64;
/// Hits that the module keeps.
pub(crate) const HITS: usize = 1 << 18;

/// The commands.
pub(crate) mod command {
    use rustix::ioctl::Opcode;
    use rustix::ioctl::opcode::read_write;

    pub(crate) const MAP: Opcode = read_write::<super::Region>(b'C', 1);
    pub(crate) const ENTRIES: Opcode = read_write::<super::Entries>(b'C', 2);
    pub(crate) const COPY: Opcode = read_write::<super::Copy>(b'C', 3);
    pub(crate) const START: Opcode = read_write::<super::Array>(b'C', 4);
    pub(crate) const WAIT: Opcode = read_write::<super::Array>(b'C', 5);
    pub(crate) const PROBE: Opcode = read_write::<super::Array>(b'C', 6);
    pub(crate) const UNPROBE: Opcode = read_write::<super::Array>(b'C', 7);
    pub(crate) const REGISTER: Opcode = read_write::<super::Handler>(b'C', 8);
    pub(crate) const UNREGISTER: Opcode = read_write::<super::Handler>(b'C', 9);
    pub(crate) const HITS: Opcode = read_write::<super::Hits>(b'C', 10);
}

/// `struct conformance_region`.
#[repr(C)]
pub(crate) struct Region {
    pub(crate) is_device: u32,
    pub(crate) pages: u32,
    pub(crate) is_read_only: u32,
    pub(crate) reserved: u32,
    pub(crate) physical: u64,
    pub(crate) is_large: [u8; PAGES],
    pub(crate) start: u64,
    pub(crate) length: u64,
}

/// `struct conformance_entries`.
#[repr(C)]
pub(crate) struct Entries {
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) to: u64,
    pub(crate) count: u64,
}

/// `struct conformance_copy`.
#[repr(C)]
pub(crate) struct Copy {
    pub(crate) address: u64,
    pub(crate) length: u64,
    pub(crate) user: u64,
    pub(crate) write: u32,
    pub(crate) reserved: u32,
}

/// How a program ended: `ended` of [`Program`].
pub(crate) mod ended {
    pub(crate) const BY_EXCEPTION: u32 = 1;
}

/// `struct conformance_program`.
#[repr(C)]
pub(crate) struct Program {
    pub(crate) cpu: u32,
    pub(crate) length: u32,
    pub(crate) repeat: u32,
    pub(crate) ended: u32,
    pub(crate) registers: Registers,
    pub(crate) vectors: trapline_sim::Vectors,
    pub(crate) code: [u8; CODE],
    pub(crate) faults: u64,
    pub(crate) fault_address: u64,
    pub(crate) fault_error_code: u64,
}

/// `struct conformance_array`.
#[repr(C)]
pub(crate) struct Array {
    pub(crate) elements: u64,
    pub(crate) count: u64,
}

/// Reactions of a pre handler: `reaction` of [`Probe`].
pub(crate) mod reaction {
    pub(crate) const NONE: u32 = 0;
    pub(crate) const PASS: u32 = 1;
    pub(crate) const SUPPLY: u32 = 2;
    pub(crate) const DROP: u32 = 3;
    pub(crate) const TOUCH: u32 = 4;
    pub(crate) const INCREMENT: u32 = 5;
}

/// Flags of a [`Probe`]: `kernel/include/trapline.h`.
pub(crate) mod flags {
    pub(crate) const READS: u32 = 1;
    pub(crate) const WRITES: u32 = 2;
    pub(crate) const RECORD: u32 = 4;
}

/// `struct conformance_probe`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Probe {
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) flags: u32,
    pub(crate) label: u32,
    pub(crate) reaction: u32,
    pub(crate) has_post: u32,
    pub(crate) given: u64,
    pub(crate) id: u64,
}

/// `struct conformance_handler`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Handler {
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) label: u32,
    pub(crate) reserved: u32,
    pub(crate) id: u64,
}

/// `struct conformance_hit`.
#[repr(C)]
#[derive(Clone, std::marker::Copy)]
pub(crate) struct Hit {
    pub(crate) address: u64,
    pub(crate) label: u32,
    pub(crate) cpu: u32,
    pub(crate) kind: u8,
    pub(crate) write: u8,
    pub(crate) late: u8,
    pub(crate) length: u8,
    pub(crate) reserved: u32,
    pub(crate) value: [u8; VALUE],
}

impl Hit {
    pub(crate) const NONE: Self = Self {
        address: 0,
        label: 0,
        cpu: 0,
        kind: 0,
        write: 0,
        late: 0,
        length: 0,
        reserved: 0,
        value: [0; VALUE],
    };
}

/// `struct conformance_hits`.
#[repr(C)]
pub(crate) struct Hits {
    pub(crate) to: u64,
    pub(crate) count: u64,
    pub(crate) lost: u64,
}
