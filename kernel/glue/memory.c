// SPDX-License-Identifier: GPL-2.0
/* Memory, the locks and other services of the control side. All in process context; all may sleep. */
#include <linux/cpumask.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <asm/cpufeature.h>
#include "control.h"
#include "glue.h"

static DEFINE_MUTEX(control);
static struct task_struct *control_owner;

void glue_control_lock(void)
{
	mutex_lock(&control);
	WRITE_ONCE(control_owner, current);
}

void glue_control_unlock(void)
{
	WRITE_ONCE(control_owner, NULL);
	mutex_unlock(&control);
}

bool notrace control_is_mine(void)
{
	/* Only the current task can make this true or false for itself. */
	return READ_ONCE(control_owner) == current;
}

/*
 * The code probes' lock, taken with the control lock held or without. A lock of their own: registering a kprobe waits for CPU hotplug, in which a driver may call
 * ioremap(), which takes the control lock.
 */
static DEFINE_MUTEX(code);

void glue_code_lock(void)
{
	mutex_lock(&code);
}

void glue_code_unlock(void)
{
	mutex_unlock(&code);
}

/* Rust's allocations. Sizes that are powers of two are naturally aligned, from kmalloc() as from vmalloc(). */
void *glue_kvmalloc(size_t size, size_t align)
{
	if (align > PAGE_SIZE)
		return NULL;
	if (align > ARCH_KMALLOC_MINALIGN)
		size = roundup_pow_of_two(max(size, align));
	return kvmalloc(size, GFP_KERNEL);
}

void glue_kvfree(void *memory)
{
	kvfree(memory);
}

void *glue_vmalloc(size_t size)
{
	return vzalloc(size);
}

void glue_vfree(void *memory)
{
	vfree(memory);
}

void *glue_vmalloc_user(size_t size)
{
	return vmalloc_user(size);
}

int glue_remap_vmalloc_range(struct vm_area_struct *area, void *memory, u64 page)
{
	return remap_vmalloc_range(area, memory, page);
}

u64 glue_totalram_bytes(void)
{
	return (u64)totalram_pages() << PAGE_SHIFT;
}

/* Whether any byte of the range is on a task's stack, where an exception would push its frame onto the page that raised it. */
bool glue_is_task_stack(u64 first, u64 last)
{
	struct task_struct *process, *thread;
	bool found = false;

	rcu_read_lock();
	for_each_process_thread(process, thread) {
		u64 stack = (u64)(unsigned long)READ_ONCE(thread->stack);

		found |= stack && first < stack + THREAD_SIZE && last >= stack;
	}
	rcu_read_unlock();
	return found;
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
