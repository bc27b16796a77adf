// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that devices access by themselves: what a call of the kernel's DMA interface names, for
 * src/sources/dma.
 *
 * Called in traps, at the beginning or the end of such a call, with interrupts off, and for every
 * such call on the machine. The device and the scatter list are the caller's, who keeps them during
 * the call. A caller that is wrong about that shall fault in the kernel's code, as it would without
 * us: so what they point to is read with care, but for what the called function reads of the device
 * too (dma_ops, dma_range_map). Nothing here locks, allocates, waits, or loops without a bound.
 */
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include "compat.h"
#include "glue.h"

static bool notrace get(const void *address, u64 *value)
{
	return glue_get_kernel_nofault((u64)(unsigned long)address, value);
}

u64 notrace glue_page_to_phys(u64 page)
{
	return page_to_phys((struct page *)(unsigned long)page);
}

/*
 * The entry of a scatter list at *at, which is moved on to the next, or to 0 behind the last. False
 * if there is none, or it can't be read.
 */
bool notrace glue_dma_piece(u64 *at, struct glue_dma_piece *piece)
{
	const struct scatterlist *entry = (const void *)(unsigned long)*at;
	struct scatterlist copy;
	u64 *words = (u64 *)&copy;
	int i, jumps;

	BUILD_BUG_ON(sizeof(copy) % sizeof(u64));
	/* An entry may lead to where the list goes on, and that is no such entry again. */
	for (jumps = 0; jumps < 2; jumps++) {
		if (!entry)
			return false;
		for (i = 0; i < sizeof(copy) / sizeof(u64); i++) {
			if (!get((const u64 *)entry + i, &words[i]))
				return false;
		}
		if (!(copy.page_link & SG_CHAIN))
			break;
		entry = (const void *)(unsigned long)(copy.page_link & ~SG_PAGE_LINK_MASK);
	}
	if (copy.page_link & SG_CHAIN)
		return false;
	piece->dma = sg_dma_address(&copy);
	piece->mapped = sg_dma_len(&copy);
	piece->physical = page_to_phys((struct page *)(copy.page_link & ~SG_PAGE_LINK_MASK)) + copy.offset;
	piece->length = copy.length;
	*at = copy.page_link & SG_END ? 0 : (u64)(unsigned long)(entry + 1);
	return true;
}

/* What a table of a scatter list has: its list, the entries that are mapped, and all of them. */
bool notrace glue_dma_table(u64 table, u64 *list, u32 *mapped, u32 *all)
{
	const struct sg_table *at = (const void *)(unsigned long)table;
	u64 counts;

	BUILD_BUG_ON(offsetof(struct sg_table, orig_nents) != offsetof(struct sg_table, nents) + 4);
	if (!at || !get(&at->sgl, list) || !get(&at->nents, &counts))
		return false;
	*mapped = counts;
	*all = counts >> 32;
	return true;
}

/* Memory of a device, which can be read at a price: a BAR that is mapped as pages (P2PDMA). */
static bool notrace is_device_memory(u64 physical)
{
#ifdef CONFIG_ZONE_DEVICE
	u64 flags;

	/* The flags are a page's first word. Of what is no RAM there may be no page. */
	if (!get(pfn_to_page(PHYS_PFN(physical)), &flags))
		return true;
	return (flags >> ZONES_PGSHIFT & ZONES_MASK) == ZONE_DEVICE;
#else
	return false;
#endif
}

/*
 * Where the kernel reads what the device finds at `dma`; 0 if that is not known. Behind an IOMMU
 * the address tells nothing, and only a call that names the memory too, as `physical`, can tell.
 * Where the kernel copies for the device (swiotlb) it is the copy, which is what changes hands.
 */
u64 notrace glue_dma_memory(u64 device, u64 dma, u64 physical)
{
	struct device *own = (struct device *)(unsigned long)device;

	if (compat_dma_is_direct(own))
		physical = dma_to_phys(own, dma);
	if (!physical || is_device_memory(physical))
		return 0;
	return (u64)(unsigned long)__va(physical);
}
