// SPDX-License-Identifier: GPL-2.0
/*
 * The fault hook: ftrace with IPMODIFY on fixup_exception().
 *
 * The kernel calls fixup_exception() for a fault in kernel mode that nobody resolved, before it gives up on it. So Trapline costs nothing on
 * faults that somebody resolves, user ones first of all, and depends on no configuration but dynamic ftrace. When a fault is ours the traced call returns
 * true without being made: to its caller the fault was fixed up.
 *
 * Rejected: do_kern_addr_fault(), which the compiler may have split so that the traced half is never called (seen on 7.2); kprobes, which skip a
 * probe that is hit inside another one's handler, and a skipped fault is an oops; an interrupt table of our own, which FRED and PTI bypass.
 *
 * Why this is safe where it runs:
 * - Interrupts are off for every fault on a kernel address (exc_page_fault() leaves them off there), so the CPU is fixed and RCU readers need no
 *   lock. For others they are turned off here.
 * - In NMI context it is the same code: it takes no lock and waits for nothing.
 * - It may recurse, when a handler of a probe touches an armed page, so FTRACE_OPS_FL_RECURSION, by which ftrace skips nested calls, is not set.
 *   Recursion is bounded by the engine. Nothing in this file or on the way is itself traced (see Kbuild).
 * - FTRACE_OPS_FL_PERMANENT: kernel.ftrace_enabled=0 is refused rather than letting the next access to an armed page oops.
 */
#define pr_fmt(fmt) "trapline: " fmt

#include <linux/ftrace.h>
#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/ptrace.h>
#include <linux/rcupdate.h>
#include <linux/string.h>
#include <asm/trapnr.h>
#include "glue.h"

static void notrace on_fixup_exception(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
				       struct ftrace_regs *ftrace_registers)
{
	/* The registers of the call: bool fixup_exception(regs, trapnr, error_code, fault_addr). */
	struct pt_regs *call = ftrace_get_regs(ftrace_registers);
	struct trapline_fault_words fault;
	bool enabled;
	u32 verdict;

	if (!call)
		return;
	fault.error_code = call->dx;
	fault.address = call->cx;
	enabled = !raw_irqs_disabled();
	if (enabled)
		raw_local_irq_disable();
	verdict = trapline_trap((struct pt_regs *)call->di, call->si, &fault);
	if (enabled)
		raw_local_irq_enable();
	switch (verdict) {
	case TRAPLINE_RESUME:
		call->ip = (unsigned long)trapline_resume;
		break;
	case TRAPLINE_INSTEAD:
		call->dx = fault.error_code;
		call->cx = fault.address;
		break;
	}
}

static struct ftrace_ops hook = {
	.func = on_fixup_exception,
	.flags = FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_PERMANENT,
};

int hook_install(void)
{
	static char name[] = "fixup_exception";
	int error = ftrace_set_filter(&hook, name, strlen(name), 0);

	if (error) {
		pr_err("can't trace fixup_exception (error %d): this kernel has no dynamic ftrace, or named the function otherwise\n",
		       error);
		return error;
	}
	error = register_ftrace_function(&hook);
	if (error == -EBUSY)
		pr_err("fixup_exception is redirected already, by a live patch or another tracer: remove that first\n");
	else if (error)
		pr_err("can't hook fixup_exception (error %d); is kernel.ftrace_enabled 0?\n", error);
	return error;
}

void hook_remove(void)
{
	unregister_ftrace_function(&hook);
	/* ftrace has waited for its trampoline; this waits for CPUs that have left it and still run trapline_resume(). */
	synchronize_rcu();
}
