// SPDX-License-Identifier: GPL-2.0
/*
 * What must not be armed (src/arming.rs): memory of ours in the vmalloc area, and what can be told
 * of other memory there by looking at it.
 *
 * Whatever of ours lies in the vmalloc area was allocated by one of the functions of memory.c and
 * mapping.c, so they note it here: rings, code slots, aliases, and whatever kvmalloc() could not
 * get elsewhere, as the tables of a long watch. Rejected: each owner saying what is its own, since
 * the next one would forget to.
 */
#include <linux/align.h>
#include <linux/list.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/thread_info.h>
#include <linux/vmalloc.h>
#include "compat.h"
#include "glue.h"
#include "ours.h"

struct area {
	struct list_head list;
	u64 start, length;
};

static LIST_HEAD(areas);
static DEFINE_SPINLOCK(lock);

/*
 * Notes memory that was allocated just now, if it is in the vmalloc area; false if there is no
 * memory for that.
 */
bool ours_note(const void *start, u64 length)
{
	struct area *area;

	if (!is_vmalloc_addr(start))
		return true;
	area = kmalloc(sizeof(*area), GFP_KERNEL);
	if (!area)
		return false;
	area->start = (unsigned long)start;
	area->length = PAGE_ALIGN(length);
	spin_lock(&lock);
	list_add(&area->list, &areas);
	spin_unlock(&lock);
	return true;
}

/*
 * Forgets memory that was given back just now: not before, since until then none of it may be
 * armed. If the place is ours again already, that came later.
 */
void ours_forget(const void *start)
{
	struct area *area, *found = NULL;

	if (!is_vmalloc_addr(start))
		return;
	spin_lock(&lock);
	list_for_each_entry_reverse(area, &areas, list) {
		if (area->start == (unsigned long)start) {
			found = area;
			list_del(&area->list);
			break;
		}
	}
	spin_unlock(&lock);
	kfree(found);
}

/* Whether any byte of the range is ours. */
bool glue_is_ours(u64 first, u64 last)
{
	struct area *area;
	bool found = false;

	spin_lock(&lock);
	list_for_each_entry(area, &areas, list)
		found |= first < area->start + area->length && last >= area->start;
	spin_unlock(&lock);
	return found;
}

/*
 * Whether a whole mapping is a task's stack. By what every stack has, as fork() makes it: its size,
 * its alignment, and the mark at its end (set_task_stack_end_magic()). Rejected: the list of tasks,
 * in which neither idle tasks are nor those that are being made.
 */
bool glue_is_task_stack(u64 start, u64 length)
{
	return length == THREAD_SIZE && IS_ALIGNED(start, THREAD_ALIGN) && READ_ONCE(*(unsigned long *)start) == STACK_END_MAGIC;
}

/*
 * The chunk of alloc_percpu() that the page of RAM at an address names, or 0: nothing is mapped
 * there, or it names nothing that can be a chunk, which are made by kzalloc() (mm/percpu.c,
 * pcpu_mem_zalloc()). What a page names stays when the page is given back, and no allocator clears
 * it for the next owner: slabs leave a pointer to their free objects there, and those lie in the
 * slab itself, which is none any more.
 */
static unsigned long chunk_at(u64 address)
{
	const void *place = (const void *)(unsigned long)address;
	const struct page *page = is_vmalloc_addr(place) ? vmalloc_to_page(place) : NULL;
	unsigned long chunk;

	if (!page || !pfn_valid(page_to_pfn(page)))
		return 0;
	chunk = compat_percpu_chunk(page);
	return virt_addr_valid((void *)chunk) && PageSlab(virt_to_head_page((void *)chunk)) ? chunk : 0;
}

static bool is_percpu_of(u64 address, unsigned int cpu)
{
	unsigned long chunk = chunk_at(address);
	unsigned int other;

	if (!chunk)
		return false;
	for_each_possible_cpu(other) {
		if (chunk_at(address - per_cpu_offset(cpu) + per_cpu_offset(other)) != chunk)
			return false;
	}
	return true;
}

/*
 * Whether an address is memory of alloc_percpu(), of some CPU. Then every other CPU has the like,
 * as far from it as the areas of the two CPUs are apart, in pages of the same chunk.
 */
bool glue_is_percpu(u64 address)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu) {
		if (is_percpu_of(address, cpu))
			return true;
	}
	return false;
}

/*
 * Whether this page of RAM is the kernel's own since it booted, so that it was never given out by
 * an allocator: such are the kernel's own per-CPU areas, in which the stacks for interrupts lie and
 * the descriptor tables, and which may be mapped into the vmalloc area too
 * (arch/x86/kernel/irq_64.c, map_irq_stack()).
 */
bool glue_is_boot_memory(u64 physical)
{
	unsigned long pfn = physical >> PAGE_SHIFT;

	return pfn_valid(pfn) && PageReserved(pfn_to_page(pfn));
}
