// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings that come and go: ftrace with IPMODIFY on mmiotrace_ioremap() and mmiotrace_iounmap().
 *
 * Every ioremap() and iounmap() calls these two, built in with CONFIG_MMIOTRACE, at the right
 * moments: after the mapping is made but before the driver has its address, and before the mapping
 * is torn down. While a session watches they are redirected to our own functions, which thereby run
 * as ordinary functions of the calling task and may sleep, as a callback of ftrace must not.
 * Otherwise the original runs, so mmiotrace itself goes on working when nobody watches. Rejected:
 * ioremap() itself, of which there are many variants and compilers inline.
 */
#define pr_fmt(fmt) "trapline: " fmt

#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/ftrace.h>
#include <linux/io.h>
#include <linux/kallsyms.h>
#include <linux/kernel.h>
#include <linux/mmiotrace.h>
#include <linux/module.h>
#include <linux/ptrace.h>
#include <linux/rcupdate.h>
#include <linux/stacktrace.h>
#include <linux/string.h>
#include "glue.h"
#include "locks.h"

static bool tracking;
/* Tasks between the decision to redirect and the end of the redirected function. */
static atomic_t inside = ATOMIC_INIT(0);

/* Our own aliases are made and unmapped under the control lock, and are nobody's business. */
static bool notrace wanted(void)
{
	return READ_ONCE(tracking) && !lock_is_mine(GLUE_CONTROL);
}

/* Names that a function which only passes a mapping on may begin with. */
static const char *const passing[] = { "ioremap", "__ioremap", "pci_iomap", "pci_ioremap", "pcim_iomap", "devm_ioremap", "__devm_ioremap",
				       "devm_platform_ioremap", "of_iomap" };

static bool passes_on(unsigned long address)
{
	char name[KSYM_SYMBOL_LEN];
	size_t i;

	sprint_symbol_no_offset(name, address);
	for (i = 0; i < ARRAY_SIZE(passing); i++) {
		if (!strncmp(name, passing[i], strlen(passing[i])))
			return true;
	}
	return false;
}

/* The address in the code that asked for the mapping, 0 if the stack does not tell. */
static unsigned long asking(void)
{
	unsigned long entries[16];
	unsigned int i, count = stack_trace_save(entries, ARRAY_SIZE(entries), 0);

	for (i = 0; i < count; i++) {
		if (!within_module(entries[i], THIS_MODULE) && !passes_on(entries[i]))
			return entries[i];
	}
	return 0;
}

static void tracked_ioremap(resource_size_t physical, unsigned long size, void __iomem *address)
{
	trapline_mapped(physical, size, (u64)(unsigned long)address, asking());
	atomic_dec(&inside);
}

static void tracked_iounmap(volatile void __iomem *address)
{
	trapline_unmapping((u64)(unsigned long)address);
	atomic_dec(&inside);
}

static void notrace redirect(struct ftrace_regs *ftrace_registers, unsigned long to)
{
	struct pt_regs *call = ftrace_get_regs(ftrace_registers);

	if (!call || !wanted())
		return;
	atomic_inc(&inside);
	call->ip = to;
}

static void notrace on_ioremap(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops, struct ftrace_regs *registers)
{
	redirect(registers, (unsigned long)tracked_ioremap);
}

static void notrace on_iounmap(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops, struct ftrace_regs *registers)
{
	redirect(registers, (unsigned long)tracked_iounmap);
}

#define TRACKING_FLAGS (FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_PERMANENT)

static struct ftrace_ops ioremap_hook = { .func = on_ioremap, .flags = TRACKING_FLAGS };
static struct ftrace_ops iounmap_hook = { .func = on_iounmap, .flags = TRACKING_FLAGS };

static int install(struct ftrace_ops *hook, char *name)
{
	int error = ftrace_set_filter(hook, name, strlen(name), 0);

	if (!error)
		error = register_ftrace_function(hook);
	if (error)
		pr_err("can't hook %s (error %d); does this kernel have CONFIG_MMIOTRACE?\n", name, error);
	return error;
}

void glue_set_tracking(bool on)
{
	WRITE_ONCE(tracking, on);
}

int tracking_install(void)
{
	static char ioremap_name[] = "mmiotrace_ioremap", iounmap_name[] = "mmiotrace_iounmap";
	int error = install(&ioremap_hook, ioremap_name);

	if (error)
		return error;
	error = install(&iounmap_hook, iounmap_name);
	if (error)
		unregister_ftrace_function(&ioremap_hook);
	return error;
}

void tracking_remove(void)
{
	/* Each waits until no task is in its callback: whoever was redirected has been counted. */
	unregister_ftrace_function(&iounmap_hook);
	unregister_ftrace_function(&ioremap_hook);
	while (atomic_read(&inside))
		msleep(1);
	/*
	 * And the last instructions after the count went down: no task sleeps there, so tasks' RCU
	 * waits for them.
	 */
	synchronize_rcu_tasks();
}
