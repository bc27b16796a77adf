//! Which functions only pass on that memory is mapped, allocated or given back.

use crate::kinds::caller::Passing;

/// Those of the DMA core that call each other, pools of small buffers, memory that is freed with
/// its device, and the helpers of subsystems that map for their drivers: pools of pages for
/// networking, requests of disks, rings of virtio, buffers of SCSI, USB, SPI and sound.
pub(super) const PASSING: Passing = Passing {
    names: &[
        "dma_map_page_attrs",
        "dma_map_phys",
        "dma_map_resource",
        "dma_unmap_page_attrs",
        "dma_unmap_phys",
        "dma_unmap_resource",
        "dma_map_sg_attrs",
        "dma_map_sgtable",
        "dma_unmap_sg_attrs",
        "dma_alloc_attrs",
        "dma_free_attrs",
        "dma_alloc_pages",
        "dma_free_pages",
        "dma_alloc_noncontiguous",
        "dma_free_noncontiguous",
        "pool_alloc_page",
        "pool_free_page",
        "scsi_dma_map",
        "scsi_dma_unmap",
        "usb_alloc_coherent",
        "usb_free_coherent",
        "usb_hcd_map_urb_for_dma",
        "usb_hcd_unmap_urb_for_dma",
        "usb_hcd_unmap_urb_setup_for_dma",
        "xhci_map_urb_for_dma",
        "xhci_unmap_urb_for_dma",
        "vring_alloc_queue",
        "vring_free_queue",
    ],
    families: &[
        "__dma_",
        "blk_dma_",
        "blk_rq_dma_",
        "dma_common_",
        "dma_pool_",
        "dmam_",
        "hcd_buffer_",
        "page_pool_",
        "__page_pool_",
        "snd_devm_",
        "snd_dma_",
        "__snd_dma_",
        "spi_map_buf",
        "spi_unmap_buf",
        "virtqueue_dma_",
        "virtqueue_map_",
        "virtqueue_unmap_",
        "vring_map_",
        "vring_unmap_",
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::caller::tests::{Called, asked};

    #[test]
    fn who_asked_is_behind_pools_and_the_helpers_of_subsystems() {
        let asked = |functions: &[Called]| asked(&PASSING, functions);
        let driver = ("xhci_mem_init", Some("xhci_hcd"));
        assert_eq!(asked(&[("dma_pool_alloc", None), driver]), (2, None));
        assert_eq!(asked(&[("pool_alloc_page.part.0", None), ("dma_pool_alloc", None), driver]), (3, None));
        assert_eq!(asked(&[("dmam_alloc_attrs", None), ("ahci_port_start", Some("libahci"))]), (2, None));
        let urb = [("usb_hcd_map_urb_for_dma", Some("usbcore")), ("usb_hcd_submit_urb", Some("usbcore"))];
        assert_eq!(asked(&urb), (2, None));
        let sound = [("snd_dma_alloc_dir_pages", Some("snd_pcm")), ("azx_create", Some("snd_hda_intel"))];
        assert_eq!(asked(&sound), (2, None));
        let command = [("scsi_dma_map", None), ("sd_own", None), ("queue_rq", Some("virtio_scsi"))];
        assert_eq!(asked(&command), (2, Some(3)));
        // Its own name begins like that of the kernel's, and it is none of those.
        assert_eq!(asked(&[("dma_map_buffers", Some("driver")), driver]), (1, None));
    }
}
