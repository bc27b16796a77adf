// SPDX-License-Identifier: GPL-2.0
/*
 * The trap side: what a trap asks about the context that it interrupted.
 *
 * Interrupts are off in all of these, and any may run in NMI context: nothing here locks, waits or
 * faults without a fixup. A fault that is fixed up passes through our own hook, which leaves alone
 * what is not on an armed page.
 */
#include <linux/delay.h>
#include <linux/irq_work.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>
#include <asm/cpufeature.h>
#include <asm/fpu/api.h>
#include <asm/fsgsbase.h>
#include <asm/msr.h>
#include <asm/page.h>
#include <asm/sync_core.h>
#include "compat.h"
#include "glue.h"

/* Each CPU's number: Rust reads it by one instruction (src/cpu.rs). */
DEFINE_PER_CPU(u32, glue_cpu);

void glue_number_cpus(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu)
		per_cpu(glue_cpu, cpu) = cpu;
}

u64 notrace glue_local_clock(void)
{
	return local_clock();
}

/* It counts the time stamp counter, or loops, and waits for nobody. */
void notrace glue_udelay(u32 microseconds)
{
	udelay(microseconds);
}

DEFINE_PER_CPU(u32, glue_breakpoints);

void notrace glue_current(struct glue_task *task)
{
	const struct task_struct *current_task_ = current;
	u32 breakpoints = this_cpu_read(glue_breakpoints);

	BUILD_BUG_ON(sizeof(task->name) != TASK_COMM_LEN);
	memcpy(task->name, current_task_->comm, sizeof(task->name));
	task->thread = current_task_->pid;
	task->process = current_task_->tgid;
	/* A breakpoint counts as both of these, whatever it came in. */
	task->interrupt = nmi_count() > breakpoints * NMI_OFFSET || hardirq_count() > breakpoints * HARDIRQ_OFFSET ||
			  in_serving_softirq();
}

/*
 * A kernel address that a load may try without more than a page fault: a non-canonical one is a
 * #GP, of which the fixup warns.
 */
static bool notrace is_kernel_address(u64 address)
{
	return (s64)address < 0 && __is_canonical_address(address, boot_cpu_data.x86_virt_bits);
}

bool notrace glue_get_kernel_nofault(u64 address, u64 *value)
{
	if (!is_kernel_address(address) || !is_kernel_address(address + sizeof(*value) - 1))
		return false;
	__get_kernel_nofault(value, (void *)(unsigned long)address, u64, fault);
	return true;
fault:
	return false;
}

bool notrace glue_get_kernel_byte_nofault(u64 address, u8 *value)
{
	if (!is_kernel_address(address))
		return false;
	__get_kernel_nofault(value, (void *)(unsigned long)address, u8, fault);
	return true;
fault:
	return false;
}

/*
 * Memory that the interrupted instruction addressed. A user address means that it was copying from
 * or to user space, with SMAP open; page faults are disabled meanwhile, so that a page that is not
 * there is an error and not a sleep.
 */
/*
 * Whether user addresses are those of the current process: a kernel thread borrows the memory of
 * whoever ran before it.
 */
static bool notrace has_own_memory(void)
{
	return current->mm && __pa(current->mm->pgd) == read_cr3_pa();
}

static bool notrace get_user_inatomic(u64 address, u32 width, u64 *value)
{
	void __user *from = (void __user *)(unsigned long)address;
	u8 byte;
	u16 word;
	u32 dword;

	if (!has_own_memory() || !user_read_access_begin(from, width))
		return false;
	switch (width) {
	case 1:
		unsafe_get_user(byte, (u8 __user *)from, fault);
		*value = byte;
		break;
	case 2:
		unsafe_get_user(word, (u16 __user *)from, fault);
		*value = word;
		break;
	case 4:
		unsafe_get_user(dword, (u32 __user *)from, fault);
		*value = dword;
		break;
	default:
		unsafe_get_user(*value, (u64 __user *)from, fault);
		break;
	}
	user_read_access_end();
	return true;
fault:
	user_read_access_end();
	return false;
}

static bool notrace put_user_inatomic(u64 address, u32 width, u64 value)
{
	void __user *to = (void __user *)(unsigned long)address;

	if (!has_own_memory() || !user_write_access_begin(to, width))
		return false;
	switch (width) {
	case 1:
		unsafe_put_user((u8)value, (u8 __user *)to, fault);
		break;
	case 2:
		unsafe_put_user((u16)value, (u16 __user *)to, fault);
		break;
	case 4:
		unsafe_put_user((u32)value, (u32 __user *)to, fault);
		break;
	default:
		unsafe_put_user(value, (u64 __user *)to, fault);
		break;
	}
	user_write_access_end();
	return true;
fault:
	user_write_access_end();
	return false;
}

static bool notrace get_kernel_inatomic(void *from, u32 width, u64 *value)
{
	u8 byte;
	u16 word;
	u32 dword;

	switch (width) {
	case 1:
		__get_kernel_nofault(&byte, from, u8, fault);
		*value = byte;
		return true;
	case 2:
		__get_kernel_nofault(&word, from, u16, fault);
		*value = word;
		return true;
	case 4:
		__get_kernel_nofault(&dword, from, u32, fault);
		*value = dword;
		return true;
	default:
		__get_kernel_nofault(value, from, u64, fault);
		return true;
	}
fault:
	return false;
}

static bool notrace put_kernel_inatomic(void *to, u32 width, u64 value)
{
	u8 byte = value;
	u16 word = value;
	u32 dword = value;

	switch (width) {
	case 1:
		__put_kernel_nofault(to, &byte, u8, fault);
		return true;
	case 2:
		__put_kernel_nofault(to, &word, u16, fault);
		return true;
	case 4:
		__put_kernel_nofault(to, &dword, u32, fault);
		return true;
	default:
		__put_kernel_nofault(to, &value, u64, fault);
		return true;
	}
fault:
	return false;
}

bool notrace glue_get_inatomic(u64 address, u32 width, u64 *value)
{
	bool done = false;

	pagefault_disable();
	if ((s64)address >= 0)
		done = get_user_inatomic(address, width, value);
	else if (is_kernel_address(address))
		done = get_kernel_inatomic((void *)(unsigned long)address, width, value);
	pagefault_enable();
	return done;
}

bool notrace glue_put_inatomic(u64 address, u32 width, u64 value)
{
	bool done = false;

	pagefault_disable();
	if ((s64)address >= 0)
		done = put_user_inatomic(address, width, value);
	else if (is_kernel_address(address))
		done = put_kernel_inatomic((void *)(unsigned long)address, width, value);
	pagefault_enable();
	return done;
}

u64 notrace glue_gs_base(void)
{
	/* Kernel code's GS base is its per-CPU area, in the trap as in what it interrupted. */
	return raw_cpu_read(this_cpu_off);
}

u64 notrace glue_fs_base(void)
{
	u64 base;

	rdmsrq(MSR_FS_BASE, base);
	return base;
}

void notrace glue_sync_core(void)
{
	sync_core();
}

unsigned long notrace glue_local_irq_save(void)
{
	unsigned long flags;

	raw_local_irq_save(flags);
	return flags;
}

void notrace glue_local_irq_restore(unsigned long flags)
{
	raw_local_irq_restore(flags);
}

bool notrace glue_has_avx512(void)
{
	return boot_cpu_has(X86_FEATURE_AVX512F);
}

void glue_kernel_fpu_begin(void)
{
	kernel_fpu_begin();
}

void glue_kernel_fpu_end(void)
{
	kernel_fpu_end();
}

/*
 * A repair needs to send interrupts to other CPUs and wait, so it goes from the trap by way of an
 * interrupt to a worker.
 */
static void repair(struct work_struct *unused)
{
	trapline_repair();
}

static DECLARE_WORK(repair_work, repair);

static void queue_repair(struct irq_work *unused)
{
	schedule_work(&repair_work);
}

static struct irq_work repair_irq_work = IRQ_WORK_INIT_HARD(queue_repair);

void notrace glue_request_repair(void)
{
	irq_work_queue(&repair_irq_work);
}

void repair_remove(void)
{
	irq_work_sync(&repair_irq_work);
	cancel_work_sync(&repair_work);
}
