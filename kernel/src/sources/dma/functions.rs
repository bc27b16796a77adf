//! The kernel's functions that drivers call to have memory accessed by a device, and which of them
//! are followed.

use super::super::functions::{Follows, Function, is_called, outer, plain};
use super::super::returns::Returns;
use super::calls::{Carried, begins, called, returned};
use super::{DmaCalls, Watch};
use trapline_abi::{DMA_FUNCTIONS, DmaOp};
use trapline_engine::code::TrustedHandler;

/// Calls of each that may be under way at once. Allocating may wait for memory, so that many tasks
/// may be there. More are counted as missed.
const ACTIVE: u32 = 512;

/// How many functions there are.
pub(super) const COUNT: usize = DMA_FUNCTIONS.len();

/// What a function is called with, behind the device.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::sources) enum Form {
    /// Page, offset, size, direction; returns the device's address.
    MapPage,
    /// Physical address, size, direction; returns the device's address.
    MapPhysical,
    /// Scatter list, entries, direction; returns how many are mapped.
    MapList,
    /// Table of a scatter list, direction; returns 0 or a negative error number.
    MapTable,
    /// The device's address, size, direction.
    Single(DmaOp),
    /// Scatter list, entries, direction.
    List(DmaOp),
    /// Size, where the device's address is put; returns the kernel's address.
    Alloc,
    /// Size, the kernel's address, the device's.
    Free,
    /// Size, where the device's address is put, direction; returns the first page.
    AllocPages,
    /// Size, the first page, the device's address, direction.
    FreePages,
    /// Size, direction; returns the table of a scatter list.
    AllocTable,
    /// Size, table, direction.
    FreeTable,
}

impl Form {
    /// Whether a call is recorded when it has ended: it gives memory to the device.
    pub(super) const fn is_at_return(self) -> bool {
        match self {
            Self::MapPage
            | Self::MapPhysical
            | Self::MapList
            | Self::MapTable
            | Self::Alloc
            | Self::AllocPages
            | Self::AllocTable => true,
            Self::Single(op) | Self::List(op) => matches!(op, DmaOp::SyncForDevice),
            Self::Free | Self::FreePages | Self::FreeTable => false,
        }
    }
}

/// Places in the list.
const MAP_PHYS: usize = 1;
const UNMAP_PHYS: usize = 4;

/// In the order of [`DMA_FUNCTIONS`].
pub(super) static FUNCTIONS: [Function<Form>; COUNT] = [
    outer(c"dma_map_page_attrs", Form::MapPage, MAP_PHYS),
    plain(c"dma_map_phys", Form::MapPhysical),
    outer(c"dma_map_resource", Form::MapPhysical, MAP_PHYS),
    outer(c"dma_unmap_page_attrs", Form::Single(DmaOp::Unmap), UNMAP_PHYS),
    plain(c"dma_unmap_phys", Form::Single(DmaOp::Unmap)),
    outer(c"dma_unmap_resource", Form::Single(DmaOp::Unmap), UNMAP_PHYS),
    plain(c"dma_map_sg_attrs", Form::MapList),
    plain(c"dma_map_sgtable", Form::MapTable),
    plain(c"dma_unmap_sg_attrs", Form::List(DmaOp::Unmap)),
    // From 6.10 on these are inline; should there be a copy of one, it has the other do its work.
    outer(c"dma_sync_single_for_cpu", Form::Single(DmaOp::SyncForCpu), 10),
    plain(c"__dma_sync_single_for_cpu", Form::Single(DmaOp::SyncForCpu)),
    outer(c"dma_sync_single_for_device", Form::Single(DmaOp::SyncForDevice), 12),
    plain(c"__dma_sync_single_for_device", Form::Single(DmaOp::SyncForDevice)),
    outer(c"dma_sync_sg_for_cpu", Form::List(DmaOp::SyncForCpu), 14),
    plain(c"__dma_sync_sg_for_cpu", Form::List(DmaOp::SyncForCpu)),
    outer(c"dma_sync_sg_for_device", Form::List(DmaOp::SyncForDevice), 16),
    plain(c"__dma_sync_sg_for_device", Form::List(DmaOp::SyncForDevice)),
    plain(c"dma_alloc_attrs", Form::Alloc),
    plain(c"dma_free_attrs", Form::Free),
    plain(c"dma_alloc_pages", Form::AllocPages),
    plain(c"dma_free_pages", Form::FreePages),
    plain(c"dma_alloc_noncontiguous", Form::AllocTable),
    plain(c"dma_free_noncontiguous", Form::FreeTable),
];

const _: () = {
    // A bit for each.
    assert!(COUNT <= 32);
    let mut at = 0;
    while at < COUNT {
        assert!(is_called(FUNCTIONS[at].name, DMA_FUNCTIONS[at]));
        at += 1;
    }
};

// SAFETY: `called`, `returned` and what `begins` gives ask for just that, and read all that they
// are told of with care.
unsafe impl Follows for DmaCalls {
    type Watch = Watch;
    type Form = Form;

    const RETURNS: Returns =
        Returns { name: b"DMA", called, returned, carried: size_of::<Carried>(), active: ACTIVE };

    fn begins(form: Form) -> Option<TrustedHandler> {
        (!form.is_at_return()).then_some(begins)
    }
}
