// SPDX-License-Identifier: GPL-2.0
/*
 * Page-table entries: finding them, and what "not present" looks like.
 *
 * Entries are changed by compare-and-exchange in Rust (src/page_tables.rs); the layout of an entry
 * is the kernel's business and stays here.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/rcupdate.h>
#include <linux/vmalloc.h>
#include <asm/io.h>
#include <asm/special_insns.h>
#include "glue.h"

u64 *glue_lookup_address(u64 address, u32 *level)
{
	unsigned int found;
	pte_t *entry = lookup_address(address, &found);

	*level = found;
	return (u64 *)entry;
}

/*
 * `entry` without its present bit, as the kernel itself writes such an entry for PROT_NONE: the
 * frame number inverted, so that a speculative walk (L1TF) does not find a line of ours or
 * anybody's, and the PROTNONE bit set, so that all code that looks at the tables takes it for what
 * it is, a mapping: pte_present() holds, pte_pfn() is right, and vunmap() of a mapping that is
 * still armed warns of nothing. (kmmio clears the entry to zero, and then cannot tell an armed page
 * from an unmapped one.)
 */
u64 glue_entry_not_present(u64 entry, u32 level)
{
	if (level == PG_LEVEL_2M) {
		pmd_t pmd = __pmd(entry);
		unsigned long flags = (pmd_flags(pmd) & ~_PAGE_PRESENT) | _PAGE_PROTNONE;

		return pmd_val(pfn_pmd(pmd_pfn(pmd), __pgprot(flags)));
	} else {
		pte_t pte = __pte(entry);
		unsigned long flags = (pte_flags(pte) & ~_PAGE_PRESENT) | _PAGE_PROTNONE;

		return pte_val(pfn_pte(pte_pfn(pte), __pgprot(flags)));
	}
}

/* Physical address of the page, armed or not. */
u64 glue_entry_physical(u64 entry, u32 level)
{
	return level == PG_LEVEL_2M ? PFN_PHYS(pmd_pfn(__pmd(entry))) : PFN_PHYS(pte_pfn(__pte(entry)));
}

/* Expedited: a driver's ioremap() and the person at the terminal wait for it. */
void glue_synchronize_rcu(void)
{
	synchronize_rcu_expedited();
}

/* The kernel half of the current page tables, which every address space shares. */
u64 *glue_page_table_root(u32 *levels)
{
	*levels = pgtable_l5_enabled() ? 5 : 4;
	return (u64 *)__va(read_cr3_pa());
}

/* The table that a present, non-leaf `entry` points to. */
u64 *glue_page_table_below(u64 entry)
{
	return (u64 *)__va(entry & PTE_PFN_MASK);
}

u64 glue_direct_map_start(void)
{
	return PAGE_OFFSET;
}

u64 glue_vmemmap_start(void)
{
	return VMEMMAP_START;
}

u64 glue_vmalloc_start(void)
{
	return VMALLOC_START;
}

u64 glue_vmalloc_end(void)
{
	return VMALLOC_END;
}
