/* SPDX-License-Identifier: GPL-2.0 */
/* A fault handler that maps what its handler wants to read, a page for each CPU. */

#include <linux/vmalloc.h>
#include <asm/pgtable.h>

#define MAPPED_VALUE 0x600d

static u8 *pages_to_map;

static u64 own_page(void)
{
	return (u64)(unsigned long)pages_to_map + smp_processor_id() * PAGE_SIZE;
}

static bool set_present(u64 address, bool present)
{
	unsigned int level;
	pte_t *entry = lookup_address(address, &level);

	if (!entry || level != PG_LEVEL_4K)
		return false;
	set_pte(entry, present ? pte_set_flags(*entry, _PAGE_PRESENT) : pte_clear_flags(*entry, _PAGE_PRESENT));
	asm volatile("invlpg (%0)" : : "r"(address) : "memory");
	return true;
}

static void mapping_pre(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	if (read_at(own_page()) == MAPPED_VALUE && set_present(own_page(), false))
		atomic64_inc(&pre_calls);
}

static bool mapping_fixer(struct trapline_code_probe *probe, struct pt_regs *registers, const struct trapline_exception *exception)
{
	atomic64_inc(&fixer_calls);
	return exception->vector == 14 && exception->address == own_page() && set_present(own_page(), true);
}

static void maps(const struct site *site)
{
	unsigned int cpu;

	pages_to_map = vmalloc(nr_cpu_ids * PAGE_SIZE);
	if (!pages_to_map)
		return;
	for_each_possible_cpu(cpu) {
		*(u64 *)(pages_to_map + cpu * PAGE_SIZE) = MAPPED_VALUE;
		set_present((u64)(unsigned long)pages_to_map + cpu * PAGE_SIZE, false);
	}
	one_probe(site, "a fault handler that maps the page has the handler read it", site->name,
		  (struct trapline_code_probe){ .pre = mapping_pre, .fault = mapping_fixer },
		  (struct expected){ .pre_ends = true, .fixed = 1 }, 1, 1);
	for_each_possible_cpu(cpu)
		set_present((u64)(unsigned long)pages_to_map + cpu * PAGE_SIZE, true);
	vfree(pages_to_map);
}
