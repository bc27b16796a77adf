// SPDX-License-Identifier: GPL-2.0
/* Aliases: second mappings of what an armed page maps. */
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <asm/pgtable.h>
#include "compat.h"
#include "glue.h"
#include "ours.h"

static unsigned long protection(u64 entry, u32 level)
{
	return level == PG_LEVEL_2M ? pgprot_val(pgprot_large_2_4k(__pgprot(pmd_flags(__pmd(entry))))) : pte_flags(__pte(entry));
}

/*
 * With the cache attributes of `entry`, the original's: two mappings of one page with different
 * ones are undefined (Intel SDM vol. 3, 12.12.4).
 */
u64 glue_ioremap_prot(u64 physical, u64 length, u64 entry, u32 level)
{
	void __iomem *alias = compat_ioremap_prot(physical, length, __pgprot(protection(entry, level)));

	if (alias && !ours_note((void __force *)alias, length)) {
		iounmap(alias);
		alias = NULL;
	}
	return (u64)(unsigned long)alias;
}

void glue_iounmap(u64 address)
{
	iounmap((void __iomem *)(unsigned long)address);
	ours_forget((void *)(unsigned long)address);
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
	if (alias && !ours_note(alias, pages * PAGE_SIZE)) {
		vunmap(alias);
		alias = NULL;
	}
out:
	kvfree(list);
	return (u64)(unsigned long)alias;
}

void glue_vunmap(u64 address)
{
	vunmap((void *)(unsigned long)address);
	ours_forget((void *)(unsigned long)address);
}

/* Whether any byte of the range is system RAM. */
bool glue_is_ram(u64 physical, u64 length)
{
	return region_intersects(physical, length, IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE) != REGION_DISJOINT;
}
