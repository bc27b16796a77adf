// SPDX-License-Identifier: GPL-2.0
/*
 * Memory and other services of the control side. All in process context; all may sleep.
 */
#include <linux/cpumask.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <asm/cpufeature.h>
#include "glue.h"
#include "ours.h"

/* Memory that was allocated just now, noted as ours; NULL if that can't be. */
static void *noted(void *memory, size_t size)
{
	if (!memory || ours_note(memory, size))
		return memory;
	kvfree(memory);
	return NULL;
}

/*
 * Rust's allocations. Sizes that are powers of two are naturally aligned, from kmalloc() as from
 * vmalloc().
 */
void *glue_kvmalloc(size_t size, size_t align)
{
	if (align > PAGE_SIZE)
		return NULL;
	if (align > ARCH_KMALLOC_MINALIGN)
		size = roundup_pow_of_two(max(size, align));
	return noted(kvmalloc(size, GFP_KERNEL), size);
}

void glue_kvfree(void *memory)
{
	kvfree(memory);
	ours_forget(memory);
}

void *glue_vmalloc(size_t size)
{
	return noted(vzalloc(size), size);
}

void glue_vfree(void *memory)
{
	vfree(memory);
	ours_forget(memory);
}

void *glue_vmalloc_user(size_t size)
{
	return noted(vmalloc_user(size), size);
}

int glue_remap_vmalloc_range(struct vm_area_struct *area, void *memory, u64 page)
{
	return remap_vmalloc_range(area, memory, page);
}

u64 glue_totalram_bytes(void)
{
	return (u64)totalram_pages() << PAGE_SHIFT;
}

u32 glue_nr_cpu_ids(void)
{
	return nr_cpu_ids;
}

bool glue_has_smap(void)
{
	return boot_cpu_has(X86_FEATURE_SMAP);
}

u32 glue_current_tgid(void)
{
	return current->tgid;
}

/* In a long loop, in process context. */
void glue_let_others_run(void)
{
	cond_resched();
}

bool glue_copy_from_user(void *to, u64 from, size_t length)
{
	return copy_from_user(to, (void __user *)(unsigned long)from, length) == 0;
}

bool glue_copy_to_user(u64 to, const void *from, size_t length)
{
	return copy_to_user((void __user *)(unsigned long)to, from, length) == 0;
}

void glue_warn(const u8 *text, size_t length)
{
	pr_warn("%.*s\n", (int)length, text);
}

void glue_warn_number(const u8 *text, size_t length, u64 number)
{
	pr_warn("%.*s%llu\n", (int)length, text, number);
}
