//! Memory that a device accesses by itself (DMA), as the command asks for it and as it is recorded.

use crate::PciFunction;

/// Argument of [`DMA`](crate::DMA): record the calls of the kernel's DMA interface for this PCI
/// device, from now on until the session stops; once for each device, up to [`MAX_DMA_DEVICES`].
///
/// They are followed where drivers call them, in the functions of [`DMA_FUNCTIONS`]. A call for a
/// device that is no PCI device is its next PCI ancestor's. Devices are told apart by their
/// numbers: what comes to sit there later is followed too.
///
/// `ENOENT` if there is no such device; `E2BIG` if there are too many; `EEXIST` if the session has
/// it already; `EINVAL` if what must be zero is not, for more than [`MAX_DMA_DATA`] bytes of data,
/// or other than the session's first device was asked for with; `ENOMEM`; `ENOSYS` if the kernel
/// has none of the functions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DmaWatch {
    /// In: which device.
    pub device: PciFunction,
    /// In: how many of a buffer's first bytes are recorded when it changes hands; 0 for none.
    pub data: u32,
    /// Zero.
    pub reserved: u32,
    /// Out: a bit for each of [`DMA_FUNCTIONS`] that is followed.
    pub followed: u32,
    /// Out: a bit for each of [`DMA_FUNCTIONS`] that is not, and should be: it is there, and can't
    /// be probed.
    pub refused: u32,
}

/// What [`DMA_COUNTS`](crate::DMA_COUNTS) tells.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DmaCounts {
    /// Calls, for whatever device, that the kernel could not deliver: inside of another probe's
    /// handler, or with too many under way.
    pub missed: u64,
    /// Pieces of scatter lists that were too long or could not be read.
    pub pieces: u64,
}

/// Devices whose DMA a session may record.
pub const MAX_DMA_DEVICES: usize = 64;

/// Bytes of a buffer that may be recorded.
pub const MAX_DMA_DATA: usize = 224;

/// Pieces of one scatter list that are recorded. Of a longer list the others are counted as missed.
pub const MAX_DMA_PIECES: usize = 256;

/// Return addresses that a call is recorded with, at most.
pub const MAX_DMA_FRAMES: usize = 4;

/// The kernel's functions that drivers call (kernel/dma/mapping.c). A kernel has some of them: the
/// names of those that map one buffer changed with 6.18, those that synchronise with 6.10.
pub const DMA_FUNCTIONS: [&str; 23] = [
    "dma_map_page_attrs",
    "dma_map_phys",
    "dma_map_resource",
    "dma_unmap_page_attrs",
    "dma_unmap_phys",
    "dma_unmap_resource",
    "dma_map_sg_attrs",
    "dma_map_sgtable",
    "dma_unmap_sg_attrs",
    "dma_sync_single_for_cpu",
    "__dma_sync_single_for_cpu",
    "dma_sync_single_for_device",
    "__dma_sync_single_for_device",
    "dma_sync_sg_for_cpu",
    "__dma_sync_sg_for_cpu",
    "dma_sync_sg_for_device",
    "__dma_sync_sg_for_device",
    "dma_alloc_attrs",
    "dma_free_attrs",
    "dma_alloc_pages",
    "dma_free_pages",
    "dma_alloc_noncontiguous",
    "dma_free_noncontiguous",
];

/// What was done to memory for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DmaOp {
    /// A buffer was given to the device.
    Map = 0,
    /// It was taken back, for good.
    Unmap = 1,
    /// It was taken back for a while.
    SyncForCpu = 2,
    /// It was given to the device again.
    SyncForDevice = 3,
    /// Memory that both may access at any time was allocated.
    Alloc = 4,
    /// It was freed.
    Free = 5,
}

impl DmaOp {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Map, Self::Unmap, Self::SyncForCpu, Self::SyncForDevice, Self::Alloc, Self::Free];

    /// The operation with code `code`, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Map,
            1 => Self::Unmap,
            2 => Self::SyncForCpu,
            3 => Self::SyncForDevice,
            4 => Self::Alloc,
            5 => Self::Free,
            _ => return None,
        })
    }
}

/// Which way data go (`enum dma_data_direction`, include/linux/dma-direction.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DmaDirection {
    /// Both ways.
    Both = 0,
    /// From memory to the device.
    ToDevice = 1,
    /// From the device to memory.
    FromDevice = 2,
    /// None, or one that the kernel does not tell at a call.
    None = 3,
}

impl DmaDirection {
    /// The direction with code `code`, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Both,
            1 => Self::ToDevice,
            2 => Self::FromDevice,
            3 => Self::None,
            _ => return None,
        })
    }
}

/// `payload` of [`Kind::Dma`](crate::Kind::Dma): one buffer, or one piece of a scatter list.
///
/// Up to [`MAX_DMA_FRAMES`] return addresses follow in a record of kind
/// [`Kind::More`](crate::Kind::More), and zeros, then `width` bytes of data in as many records as
/// they take.
/// A call that takes memory away from the device is recorded before it is carried out, one that
/// gives memory to it afterwards, so that whoever gets the same address next comes behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaPayload {
    /// For which device.
    pub device: PciFunction,
    /// A [`DmaOp`].
    pub op: u8,
    /// A [`DmaDirection`].
    pub direction: u8,
    /// Where the device finds it; [`DMA_FAILED`] if the call failed.
    pub dma: u64,
    /// Where the CPU finds it: of what is mapped, the physical address; of what is allocated or
    /// freed, the kernel's address, or the first page's physical one. 0 if the call does not tell.
    pub cpu: u64,
    /// Bytes; `u32::MAX` for that many or more.
    pub size: u32,
    /// Which piece of a scatter list, from 0 on.
    pub piece: u16,
    /// How many pieces the list has, [`u16::MAX`] for that many or more; 0 if it is none.
    pub pieces: u16,
}

/// A device's number.
const DEVICE: u64 = (1 << 48) - 1;

/// [`DmaPayload::dma`] of a call that failed (`DMA_MAPPING_ERROR`, include/linux/dma-mapping.h).
pub const DMA_FAILED: u64 = u64::MAX;

impl DmaPayload {
    /// As it lies in a record. The device's number has 48 bits.
    pub const fn to_words(self) -> [u64; 4] {
        let Self { device, op, direction, dma, cpu, size, piece, pieces } = self;
        let whose = device.0 & DEVICE | (op as u64 & 0xf) << 48 | (direction as u64 & 0xf) << 52;
        let rest = size as u64 | (piece as u64) << 32 | (pieces as u64) << 48;
        [whose, dma, cpu, rest]
    }

    /// From a record of kind [`Kind::Dma`](crate::Kind::Dma).
    pub const fn from_words(words: [u64; 4]) -> Self {
        let [whose, dma, cpu, rest] = words;
        Self {
            device: PciFunction(whose & DEVICE),
            op: (whose >> 48) as u8 & 0xf,
            direction: (whose >> 52) as u8 & 0xf,
            dma,
            cpu,
            size: rest as u32,
            piece: (rest >> 32) as u16,
            pieces: (rest >> 48) as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_survives_the_way_through_a_record() {
        let call = DmaPayload {
            device: PciFunction::new(0xffff_ffff, 0xff, 0x1f, 7),
            op: DmaOp::Free as u8,
            direction: DmaDirection::None as u8,
            dma: DMA_FAILED,
            cpu: u64::MAX - 1,
            size: u32::MAX - 2,
            piece: 0xfffe,
            pieces: 0xfffd,
        };
        assert_eq!(DmaPayload::from_words(call.to_words()), call);
    }

    #[test]
    fn every_code_names_one_operation_and_one_direction() {
        for code in 0..=u8::MAX {
            assert!(DmaOp::from_code(code).is_none_or(|op| op as u8 == code));
            assert!(DmaDirection::from_code(code).is_none_or(|direction| direction as u8 == code));
        }
        assert_eq!(DmaOp::ALL.map(|op| DmaOp::from_code(op as u8)), DmaOp::ALL.map(Some));
        assert_eq!((0..=u8::MAX).filter_map(DmaDirection::from_code).count(), 4);
    }
}
