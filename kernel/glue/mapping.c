// SPDX-License-Identifier: GPL-2.0
/* Aliases: second mappings of what an armed page maps. */
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <asm/pgtable.h>
#include "glue.h"

static unsigned long protection(u64 entry, u32 level)
{
	return level == PG_LEVEL_2M ? pgprot_val(pgprot_large_2_4k(__pgprot(pmd_flags(__pmd(entry))))) : pte_flags(__pte(entry));
}

/* With the cache attributes of `entry`, the original's: two mappings of one page with different ones are undefined (Intel SDM vol. 3, 12.12.4). */
u64 glue_ioremap_prot(u64 physical, u64 length, u64 entry, u32 level)
{
	return (u64)(unsigned long)ioremap_prot(physical, length, protection(entry, level));
}

void glue_iounmap(u64 address)
{
	iounmap((void __iomem *)(unsigned long)address);
}

bool glue_same_cache_attributes(u64 one, u32 one_level, u64 other, u32 other_level)
{
	return ((protection(one, one_level) ^ protection(other, other_level)) & _PAGE_CACHE_MASK) == 0;
}

/* For memory from vmalloc(). */
u64 glue_vmap_alias(u64 address, u64 pages)
{
	struct page **list = kvmalloc_array(pages, sizeof(*list), GFP_KERNEL);
	void *alias = NULL;
	u64 i;

	if (!list)
		return 0;
	for (i = 0; i < pages; i++) {
		list[i] = vmalloc_to_page((void *)(unsigned long)(address + i * PAGE_SIZE));
		if (!list[i])
			goto out;
	}
	alias = vmap(list, pages, VM_MAP, PAGE_KERNEL);
out:
	kvfree(list);
	return (u64)(unsigned long)alias;
}

void glue_vunmap(u64 address)
{
	vunmap((void *)(unsigned long)address);
}

/*
 * Whether this page of RAM is the kernel's own since it booted, so that it was never given out by an allocator: such are the per-CPU areas, in which the stacks
 * for interrupts lie, which are mapped into the vmalloc range too (arch/x86/kernel/irq_64.c, map_irq_stack).
 */
bool glue_is_boot_memory(u64 physical)
{
	unsigned long pfn = physical >> PAGE_SHIFT;

	return pfn_valid(pfn) && PageReserved(pfn_to_page(pfn));
}

/* Whether any byte of the range is system RAM. */
bool glue_is_ram(u64 physical, u64 length)
{
	return region_intersects(physical, length, IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE) != REGION_DISJOINT;
}
