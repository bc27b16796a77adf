/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory that probes may lie in: a stretch of a device, or RAM from vmalloc with a second mapping
 * to look at it.
 */
#ifndef TRAPLINE_TESTS_CONFORMANCE_REGION_H
#define TRAPLINE_TESTS_CONFORMANCE_REGION_H

#include <linux/io.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "compat.h"
#include "conformance.h"

struct mapped {
	struct list_head list;
	bool is_device;
	u64 start, length;
	/* RAM itself, and another mapping of it. */
	void *memory;
	u8 *alias;
};

static LIST_HEAD(mappings);

static u64 page_bytes(const struct conformance_region *region, u32 page)
{
	return region->is_large[page] ? PMD_SIZE : PAGE_SIZE;
}

/* Whether pages of the sizes that were asked for map the region. */
static bool has_pages(const struct conformance_region *region)
{
	u64 address = region->start;
	unsigned int level;
	u32 page;

	for (page = 0; page < region->pages; page++) {
		if (!lookup_address(address, &level) || level != (region->is_large[page] ? PG_LEVEL_2M : PG_LEVEL_4K))
			return false;
		address += page_bytes(region, page);
	}
	return true;
}

static u8 *map_again(void *start, u64 length, pgprot_t protection)
{
	u64 number, count = length >> PAGE_SHIFT;
	struct page **pages = kvmalloc_array(count, sizeof(*pages), GFP_KERNEL);
	u8 *alias;

	if (!pages)
		return NULL;
	for (number = 0; number < count; number++)
		pages[number] = vmalloc_to_page(start + number * PAGE_SIZE);
	alias = vmap(pages, count, VM_MAP, protection);
	kvfree(pages);
	return alias;
}

/*
 * Has the pages of RAM name what their last owners may have left there. Where a page of per-CPU
 * memory names its chunk, no allocator clears it, so the module must not take these for such pages
 * (glue/ours.c). On the machine of the test the areas of the CPUs are a quarter of a large page
 * apart, so each of that page's quarters is taken for a CPU's.
 */
static void leave_names(const struct mapped *mapped, const struct conformance_region *region)
{
	u64 number, count = mapped->length >> PAGE_SHIFT;
	void *first = page_address(vmalloc_to_page(mapped->memory));

	for (number = 0; number < count; number++) {
		struct page *page = vmalloc_to_page(mapped->memory + number * PAGE_SIZE);

		/* All name what is no slab any more; or only the last CPU's names what is one. */
		if (region->pages > 1)
			compat_percpu_chunk(page) = (unsigned long)first;
		else
			compat_percpu_chunk(page) = number < count / 4 * 3 ? 0 : (unsigned long)mapped;
	}
}

static void region_unmap(struct mapped *mapped)
{
	vunmap(mapped->alias);
	if (mapped->is_device)
		iounmap((void __iomem *)(unsigned long)mapped->start);
	else if (mapped->start != (unsigned long)mapped->memory)
		vunmap((void *)(unsigned long)mapped->start);
	vfree(mapped->memory);
	kfree(mapped);
}

static void regions_unmap(void)
{
	struct mapped *mapped, *next;

	list_for_each_entry_safe(mapped, next, &mappings, list)
		region_unmap(mapped);
	INIT_LIST_HEAD(&mappings);
}

/* -EOPNOTSUPP: the kernel does not map it with such pages. */
static long region_map(struct conformance_region *region)
{
	struct mapped *mapped;
	u32 page;

	if (!region->pages || region->pages > CONFORMANCE_PAGES)
		return -EINVAL;
	region->length = 0;
	for (page = 0; page < region->pages; page++)
		region->length += page_bytes(region, page);
	mapped = kzalloc(sizeof(*mapped), GFP_KERNEL);
	if (!mapped)
		return -ENOMEM;
	mapped->is_device = region->is_device;
	mapped->length = region->length;
	if (region->is_device)
		mapped->start = (unsigned long)ioremap(region->physical, region->length);
	else if (region->is_large[0])
		mapped->memory = vmalloc_huge(region->length, GFP_KERNEL | __GFP_ZERO);
	else
		mapped->memory = vzalloc(region->length);
	if (mapped->memory && region->is_read_only)
		mapped->start = (unsigned long)map_again(mapped->memory, mapped->length, PAGE_KERNEL_RO);
	else if (mapped->memory)
		mapped->start = (unsigned long)mapped->memory;
	region->start = mapped->start;
	if (!mapped->start) {
		vfree(mapped->memory);
		kfree(mapped);
		return -ENOMEM;
	}
	if (!has_pages(region)) {
		region_unmap(mapped);
		return -EOPNOTSUPP;
	}
	if (!mapped->is_device) {
		leave_names(mapped, region);
		mapped->alias = map_again(mapped->memory, mapped->length, PAGE_KERNEL);
		if (!mapped->alias) {
			region_unmap(mapped);
			return -ENOMEM;
		}
	}
	list_add(&mapped->list, &mappings);
	return 0;
}

static long region_copy(const struct conformance_copy *copy)
{
	struct mapped *mapped;

	list_for_each_entry(mapped, &mappings, list) {
		u64 offset = copy->address - mapped->start;
		void __user *user = (void __user *)(unsigned long)copy->user;
		unsigned long left;

		if (mapped->is_device || offset >= mapped->length)
			continue;
		if (copy->length > mapped->length - offset)
			return -EINVAL;
		left = copy->write ? copy_from_user(mapped->alias + offset, user, copy->length) :
				     copy_to_user(user, mapped->alias + offset, copy->length);
		return left ? -EFAULT : 0;
	}
	return -ENOENT;
}

static long region_entries(struct conformance_entries *entries)
{
	u64 __user *to = (u64 __user *)(unsigned long)entries->to;
	unsigned long address = entries->start, end = entries->start + entries->length;
	u64 count = 0;

	while (address < end) {
		unsigned int level;
		pte_t *entry = lookup_address(address, &level);

		if (!entry || count == entries->count)
			return -EINVAL;
		if (put_user((u64)pte_val(READ_ONCE(*entry)), to + count))
			return -EFAULT;
		count++;
		address += level == PG_LEVEL_2M ? PMD_SIZE : PAGE_SIZE;
	}
	entries->count = count;
	return 0;
}

#endif
