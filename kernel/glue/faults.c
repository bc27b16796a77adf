// SPDX-License-Identifier: GPL-2.0
/*
 * All page faults, of user and kernel mode, before anybody deals with them.
 *
 * Two places, for two purposes. *Looking*: the kernel's own tracepoints exceptions:page_fault_user
 * and page_fault_kernel, the first thing that handle_page_fault() does; all that the CPU told is
 * there. *Claiming*: ftrace with IPMODIFY on kmmio_handler(), which follows at once and whose
 * answer 1 ends the fault. It is called only while kmmio has probes, so one of length 0 is
 * registered, which watches nothing. It is not told the error code (in the frame orig_ax is -1 by
 * then), so the tracepoint leaves that for it. Each is switched in only while somebody needs it.
 *
 * Rejected: kmmio_handler() for looking too, since a call by way of ftrace with all registers costs
 * several times a tracepoint's; a table of interrupts of our own unless it is asked for (gate.c),
 * since page-table isolation and FRED bypass it.
 *
 * Why this is safe where it runs: interrupts are off from the CPU's exception to here and on to the
 * end of kmmio_handler(), in every context. Nothing here locks, waits, or touches memory that may
 * fault. A fault nested in between (another probe on the same tracepoint reads user memory) has
 * another frame, by which what was left is found.
 */
#define pr_fmt(fmt) "trapline: " fmt

#include <linux/ftrace.h>
#include <linux/irq_work.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/mmiotrace.h>
#include <linux/percpu.h>
#include <linux/printk.h>
#include <linux/ptrace.h>
#include <linux/ratelimit.h>
#include <linux/rcupdate.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <linux/uaccess.h>
#include "glue.h"
#include "locks.h"

/*
 * What the tracepoint leaves for the hook: the last faults of this CPU that may be nested in one
 * another.
 */
#define LEFT 8

struct left {
	struct pt_regs *registers[LEFT];
	unsigned long error_code[LEFT];
	unsigned int next;
};

static DEFINE_PER_CPU(struct left, left);

/*
 * Whether the hook asks handlers, and whether a study looks by the tracepoints: the switches that
 * src/faults.rs sets.
 */
static bool claiming, studying;
/*
 * Whether kmmio has probes of others, so that the original must run; once true its tables are set
 * up, and remain so.
 */
static bool others;
/* Whether the probe of length 0 is registered. */
static bool switched_on;

static void notrace on_fault(unsigned long address, struct pt_regs *registers, unsigned long error_code, bool user)
{
	if (READ_ONCE(claiming)) {
		struct left *here = this_cpu_ptr(&left);
		unsigned int at = here->next++ % LEFT;

		here->registers[at] = registers;
		here->error_code[at] = error_code;
	}
	if (READ_ONCE(studying))
		trapline_look_at(registers, error_code, address, user);
}

static void notrace on_user_fault(void *unused, unsigned long address, struct pt_regs *registers, unsigned long error_code)
{
	on_fault(address, registers, error_code, true);
}

static void notrace on_kernel_fault(void *unused, unsigned long address, struct pt_regs *registers, unsigned long error_code)
{
	on_fault(address, registers, error_code, false);
}

static void warn_of_loop(struct irq_work *unused)
{
	pr_warn_ratelimited("a handler claims the same page fault again and again without progress: its claim is no longer honoured\n");
}

static struct irq_work loop_warning = IRQ_WORK_INIT_HARD(warn_of_loop);

/* The registers of the call: int kmmio_handler(registers, address). */
static void notrace on_kmmio_handler(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops, struct ftrace_regs *ftrace_registers)
{
	struct pt_regs *call = ftrace_get_regs(ftrace_registers);
	struct left *here = this_cpu_ptr(&left);
	struct pt_regs *registers;
	unsigned int i;

	if (!call)
		return;
	registers = (struct pt_regs *)call->di;
	if (!READ_ONCE(switched_on))
		WRITE_ONCE(others, true);
	/*
	 * The newest first: a frame in user mode has the same address each time, and one that
	 * nobody asked about may lie here still.
	 */
	for (i = 0; i < LEFT; i++) {
		unsigned int at = (here->next - 1 - i) % LEFT;

		if (here->registers[at] != registers)
			continue;
		here->registers[at] = NULL;
		switch (trapline_claim(registers, here->error_code[at], call->si)) {
		case TRAPLINE_RESUME:
			call->ip = (unsigned long)trapline_resume;
			return;
		case TRAPLINE_LOOPING:
			irq_work_queue(&loop_warning);
			break;
		}
		break;
	}
	/*
	 * Without probes of others the original must not run: its tables may never have been set
	 * up.
	 */
	if (!READ_ONCE(others))
		call->ip = (unsigned long)trapline_decline;
}

/* Whoever registers a probe with kmmio has set up its tables before: that is mmiotrace. */
static void notrace on_register_kmmio_probe(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops, struct ftrace_regs *registers)
{
	if (!lock_is_mine(GLUE_PATCHING))
		WRITE_ONCE(others, true);
}

static struct ftrace_ops claim_hook = {
	.func = on_kmmio_handler,
	.flags = FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_PERMANENT,
};

static struct ftrace_ops others_hook = { .func = on_register_kmmio_probe, .flags = FTRACE_OPS_FL_PERMANENT };

static int install(struct ftrace_ops *hook, char *name)
{
	int error = ftrace_set_filter(hook, name, strlen(name), 1);

	if (!error)
		error = register_ftrace_function(hook);
	if (error)
		pr_err("can't hook %s (error %d)\n", name, error);
	return error;
}

/*
 * Pages that are ours, for what must have an address: the probe of length 0, and behind them an
 * address that always faults.
 */
static void *page;
static struct kmmio_probe nothing;

/* If kmmio has probes already, the hook is called for this fault, and notes it. */
static void fault_once(void)
{
	char byte;

	if (!copy_from_kernel_nofault(&byte, (char *)page + PAGE_SIZE, 1))
		pr_warn("a guard page of vmalloc() can be read\n");
}

/* Needs the tracepoints, which note what the hook is not told. */
int glue_claim_faults(void)
{
	static char handler_name[] = "kmmio_handler", register_name[] = "register_kmmio_probe";
	int error;

	page = glue_vmalloc(PAGE_SIZE);
	if (!page)
		return -ENOMEM;
	WRITE_ONCE(claiming, true);
	WRITE_ONCE(others, false);
	error = install(&others_hook, register_name);
	if (error)
		goto no_others_hook;
	error = install(&claim_hook, handler_name);
	if (error)
		goto no_claim_hook;
	fault_once();
	WRITE_ONCE(switched_on, true);
	nothing = (struct kmmio_probe){ .addr = (unsigned long)page, .len = 0 };
	error = register_kmmio_probe(&nothing);
	if (!error)
		return 0;
	pr_err("can't switch kmmio_handler in (error %d)\n", error);
	WRITE_ONCE(switched_on, false);
	unregister_ftrace_function(&claim_hook);
no_claim_hook:
	unregister_ftrace_function(&others_hook);
no_others_hook:
	WRITE_ONCE(claiming, false);
	glue_vfree(page);
	return error;
}

void glue_claim_no_faults(void)
{
	unregister_kmmio_probe(&nothing);
	/*
	 * From here on kmmio_handler() is called no more, but for others' probes; this waits for
	 * those who were on their way to it.
	 */
	synchronize_rcu();
	unregister_ftrace_function(&claim_hook);
	unregister_ftrace_function(&others_hook);
	/*
	 * And for CPUs that have left the hook and still run trapline_resume() or
	 * trapline_decline().
	 */
	synchronize_rcu();
	WRITE_ONCE(switched_on, false);
	WRITE_ONCE(claiming, false);
	irq_work_sync(&loop_warning);
	glue_vfree(page);
}

static struct tracepoint *user_faults, *kernel_faults;

static void find(struct tracepoint *tracepoint, void *unused)
{
	if (!strcmp(tracepoint->name, "page_fault_user"))
		user_faults = tracepoint;
	else if (!strcmp(tracepoint->name, "page_fault_kernel"))
		kernel_faults = tracepoint;
}

int glue_look_at_faults(void)
{
	int error;

	for_each_kernel_tracepoint(find, NULL);
	if (!user_faults || !kernel_faults) {
		pr_err("this kernel has no tracepoints page_fault_user and page_fault_kernel\n");
		return -EOPNOTSUPP;
	}
	error = tracepoint_probe_register(user_faults, on_user_fault, NULL);
	if (error)
		return error;
	error = tracepoint_probe_register(kernel_faults, on_kernel_fault, NULL);
	if (error)
		tracepoint_probe_unregister(user_faults, on_user_fault, NULL);
	return error;
}

void glue_look_at_no_faults(void)
{
	tracepoint_probe_unregister(kernel_faults, on_kernel_fault, NULL);
	tracepoint_probe_unregister(user_faults, on_user_fault, NULL);
	tracepoint_synchronize_unregister();
}

/*
 * What serves a fault. Its address, not its name: a kernel that names it otherwise does not link
 * with us.
 */
u64 glue_handle_mm_fault(void)
{
	return (u64)(unsigned long)handle_mm_fault;
}

/* As all that switches, under the patching lock. */
void glue_set_studying(bool on)
{
	WRITE_ONCE(studying, on);
}
