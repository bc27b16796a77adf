// SPDX-License-Identifier: GPL-2.0
/*
 * Looks at the page-fault gate from outside: what each CPU's IDT register holds, and how many page
 * faults the kernel's own tracepoints tell of.
 *
 * Files in debugfs, trapline_gate/: tables read: a line for each CPU that is online: its table's
 * address and limit, and where its page-fault gate leads count write a process's number: counts
 * from 0 what page faults of it the tracepoints tell of; read: user and kernel faults nmis write a
 * number: sends all other CPUs that many NMIs, in each of which a page fault is raised and
 * survived; read: how many faults that were so far depth write anything: paints each CPU's entry
 * stack, where faults from user mode begin; read: how many bytes of one were used since, at most
 * foreign write a CPU's number: gives it a copy of the table that it has, or the kernel's own again
 * if it has that copy
 */
#include <linux/atomic.h>
#include <linux/cpu.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/smp.h>
#include <linux/tracepoint.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <asm/apic.h>
#include <asm/cpu_entry_area.h>
#include <asm/desc.h>
#include <asm/nmi.h>
#include <asm/trapnr.h>
#include "compat.h"

static struct dentry *folder;
static struct tracepoint *user_faults, *kernel_faults;
static pid_t counted;
static atomic64_t user_count, kernel_count, nmi_count;
/* A page, and behind it one that is never there. */
static char *page;

static void read_register(void *result)
{
	store_idt((struct desc_ptr *)result);
}

static int tables_show(struct seq_file *file, void *unused)
{
	int cpu;

	cpus_read_lock();
	for_each_online_cpu(cpu) {
		struct desc_ptr now;
		const gate_desc *gate;

		smp_call_function_single(cpu, read_register, &now, 1);
		gate = (const gate_desc *)now.address + X86_TRAP_PF;
		seq_printf(file, "cpu %d table %#lx limit %#x gate %#lx\n", cpu, now.address, now.size, gate_offset(gate));
	}
	cpus_read_unlock();
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(tables);

static void on_user(void *unused, unsigned long address, struct pt_regs *registers, unsigned long error_code)
{
	if (current->tgid == READ_ONCE(counted))
		atomic64_inc(&user_count);
}

static void on_kernel(void *unused, unsigned long address, struct pt_regs *registers, unsigned long error_code)
{
	if (current->tgid == READ_ONCE(counted))
		atomic64_inc(&kernel_count);
}

static int count_show(struct seq_file *file, void *unused)
{
	seq_printf(file, "%lld %lld\n", atomic64_read(&user_count), atomic64_read(&kernel_count));
	return 0;
}

static ssize_t count_write(struct file *file, const char __user *text, size_t length, loff_t *offset)
{
	u64 process;
	int error = kstrtoull_from_user(text, length, 10, &process);

	if (error)
		return error;
	WRITE_ONCE(counted, 0);
	atomic64_set(&user_count, 0);
	atomic64_set(&kernel_count, 0);
	WRITE_ONCE(counted, process);
	return length;
}

static int count_open(struct inode *inode, struct file *file)
{
	return single_open(file, count_show, NULL);
}

static const struct file_operations count_operations = {
	.owner = THIS_MODULE, .open = count_open, .read = seq_read, .write = count_write, .llseek = seq_lseek, .release = single_release,
};

static struct desc_ptr copy = { .size = IDT_ENTRIES * sizeof(gate_desc) - 1 };

static void change_table(void *unused)
{
	const struct desc_ptr kernels = { .size = copy.size, .address = CPU_ENTRY_AREA_RO_IDT };
	struct desc_ptr now;

	store_idt(&now);
	if (now.address == copy.address) {
		native_load_idt(&kernels);
		return;
	}
	memcpy((void *)copy.address, (void *)now.address, PAGE_SIZE);
	native_load_idt(&copy);
}

static int foreign_set(void *unused, u64 cpu)
{
	return smp_call_function_single(cpu, change_table, NULL, 1);
}
DEFINE_DEBUGFS_ATTRIBUTE(foreign_operations, NULL, foreign_set, "%llu\n");

#define PAINT 0x5aa55aa55aa55aa5UL
#define STACK_WORDS (sizeof(struct entry_stack) / sizeof(u64))

static u64 *entry_stack_of(int cpu)
{
	return (u64 *)get_cpu_entry_area(cpu)->entry_stack_page.stack.stack;
}

/* In an interrupt, on a stack of its own or the task's: nobody is on the entry stack. */
static void paint(void *unused)
{
	u64 *stack = entry_stack_of(smp_processor_id());
	size_t i;

	for (i = 0; i < STACK_WORDS; i++)
		WRITE_ONCE(stack[i], PAINT);
}

static int depth_set(void *unused, u64 ignored)
{
	on_each_cpu(paint, NULL, 1);
	return 0;
}

static int depth_get(void *unused, u64 *bytes)
{
	size_t deepest = STACK_WORDS, i;
	int cpu;

	for_each_online_cpu(cpu) {
		u64 *stack = entry_stack_of(cpu);

		for (i = 0; i < deepest && READ_ONCE(stack[i]) == PAINT; i++)
			;
		deepest = i;
	}
	*bytes = (STACK_WORDS - deepest) * sizeof(u64);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(depth_operations, depth_get, depth_set, "%llu\n");

static int on_nmi(unsigned int command, struct pt_regs *registers)
{
	char byte;

	if (copy_from_kernel_nofault(&byte, page + PAGE_SIZE, 1))
		atomic64_inc(&nmi_count);
	return NMI_HANDLED;
}

static void send_nmi_to_others(void)
{
	u32 command = APIC_DEST_ALLBUT | APIC_DM_NMI;

	if (x2apic_enabled())
		wrmsrq(APIC_BASE_MSR + (APIC_ICR >> 4), command);
	else
		native_apic_mem_write(APIC_ICR, command);
}

static void nothing(void *unused)
{
}

static int nmis_set(void *unused, u64 count)
{
	for (; count; count--) {
		preempt_disable();
		send_nmi_to_others();
		preempt_enable();
		usleep_range(100, 1000);
	}
	/* An NMI that a CPU has not taken yet comes before this. */
	smp_call_function(nothing, NULL, true);
	return 0;
}

static int nmis_get(void *unused, u64 *count)
{
	*count = atomic64_read(&nmi_count);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(nmis_operations, nmis_get, nmis_set, "%llu\n");

static void find(struct tracepoint *tracepoint, void *unused)
{
	if (!strcmp(tracepoint->name, "page_fault_user"))
		user_faults = tracepoint;
	else if (!strcmp(tracepoint->name, "page_fault_kernel"))
		kernel_faults = tracepoint;
}

static int __init gate_init(void)
{
	int error = -ENOENT;

	page = vzalloc(PAGE_SIZE);
	if (!page)
		return -ENOMEM;
	copy.address = get_zeroed_page(GFP_KERNEL);
	if (!copy.address) {
		vfree(page);
		return -ENOMEM;
	}
	for_each_kernel_tracepoint(find, NULL);
	if (user_faults && kernel_faults)
		error = tracepoint_probe_register(user_faults, on_user, NULL);
	if (error)
		goto no_user;
	error = tracepoint_probe_register(kernel_faults, on_kernel, NULL);
	if (error)
		goto no_kernel;
	error = register_nmi_handler(NMI_LOCAL, on_nmi, 0, "trapline_gate");
	if (error)
		goto no_nmi;
	folder = debugfs_create_dir("trapline_gate", NULL);
	debugfs_create_file("tables", 0400, folder, NULL, &tables_fops);
	debugfs_create_file("count", 0600, folder, NULL, &count_operations);
	debugfs_create_file("depth", 0600, folder, NULL, &depth_operations);
	debugfs_create_file("foreign", 0200, folder, NULL, &foreign_operations);
	debugfs_create_file("nmis", 0600, folder, NULL, &nmis_operations);
	return 0;

no_nmi:
	tracepoint_probe_unregister(kernel_faults, on_kernel, NULL);
no_kernel:
	tracepoint_probe_unregister(user_faults, on_user, NULL);
	tracepoint_synchronize_unregister();
no_user:
	free_page(copy.address);
	vfree(page);
	return error;
}

static void __exit gate_exit(void)
{
	debugfs_remove_recursive(folder);
	unregister_nmi_handler(NMI_LOCAL, "trapline_gate");
	tracepoint_probe_unregister(kernel_faults, on_kernel, NULL);
	tracepoint_probe_unregister(user_faults, on_user, NULL);
	tracepoint_synchronize_unregister();
	free_page(copy.address);
	vfree(page);
}

module_init(gate_init);
module_exit(gate_exit);
MODULE_DESCRIPTION("Looks at the page-fault gate from outside");
MODULE_LICENSE("GPL");
