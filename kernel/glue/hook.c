// SPDX-License-Identifier: GPL-2.0
/*
 * The fault hooks: ftrace with IPMODIFY on fixup_exception() and page_fault_oops().
 *
 * The kernel calls fixup_exception() for a fault in kernel mode that nobody resolved, before it
 * gives up on it. So Trapline costs nothing on faults that somebody resolves, user ones first of
 * all, and depends on no configuration but dynamic ftrace. When a fault is ours the traced call
 * returns true without being made: to its caller the fault was fixed up.
 *
 * A kernel access to a user address without permission (SMAP), and a fetch from one (SMEP), are not
 * given to fixup_exception(): the kernel goes on to page_fault_oops() at once. No armed page is
 * there, but a handler may have dereferenced NULL; so that function is hooked as well, and asked
 * for nothing else.
 *
 * A general protection fault (#GP) that has no fixup the kernel shows to kprobes before it gives
 * up: it may be of an instruction that is being stepped over, whose hit has to be reset. So a
 * handler that raised one is abandoned after that, by a die notifier (gp_try_fixup_and_notify()).
 * For a page fault the kernel asks kprobes first of all (do_kern_addr_fault()); for others never,
 * so a handler must not run into a probed instruction that raises another exception.
 *
 * Order: copies in slots and armed pages, which a handler may touch like anybody; then the fault
 * handler of the probe whose handler faulted; then the kernel's own exception table; then the
 * handler is abandoned.
 *
 * Rejected: do_kern_addr_fault(), which the compiler may have split so that the traced half is
 * never called (seen on 7.2); kprobes, which skip a probe that is hit inside another one's handler,
 * and a skipped fault is an oops; an interrupt table of our own, which FRED and PTI bypass.
 *
 * Why this is safe where it runs:
 * - Interrupts are off for every fault on a kernel address (exc_page_fault() leaves them off
 *   there), so the CPU is fixed and RCU readers need no lock. For others they are turned off here.
 * - In NMI context it is the same code: it takes no lock and waits for nothing.
 * - It may recurse, when a handler of a probe touches an armed page, so FTRACE_OPS_FL_RECURSION, by
 *   which ftrace skips nested calls, is not set. Recursion is bounded by the engine. Nothing in
 *   this file or on the way is itself traced (see Kbuild).
 * - FTRACE_OPS_FL_PERMANENT: kernel.ftrace_enabled=0 is refused rather than letting the next access
 *   to an armed page oops.
 */
#define pr_fmt(fmt) "trapline: " fmt

#include <linux/ftrace.h>
#include <linux/irqflags.h>
#include <linux/kdebug.h>
#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/percpu.h>
#include <linux/ptrace.h>
#include <linux/rcupdate.h>
#include <linux/string.h>
#include <asm/trapnr.h>
#include "glue.h"

/* Where fixup_exception() goes on behind its traced call; the same each time. */
unsigned long trapline_fixup_exception;

static unsigned long notrace irqs_off(void)
{
	unsigned long flags;

	raw_local_irq_save(flags);
	return flags;
}

/*
 * The fault that took the place of the CPU's, if the last one of this CPU that was given to
 * fixup_exception() was so replaced: if that finds nothing, page_fault_oops() is to tell of it and
 * not of a page that was not there. Interrupts stay off from one to the other (bad_area for kernel
 * addresses), and whatever nests in between has another frame.
 */
struct replaced {
	struct pt_regs *registers;
	struct trapline_fault_words raised, fault;
};

static DEFINE_PER_CPU(struct replaced, replaced);

/* Trapline's own text faults only where it has a fixup: no handler's fault. */
static u32 notrace handler_fault(struct pt_regs *registers, u64 trap, const struct trapline_fault_words *fault)
{
	return trapline_handler_fault(registers, trap, fault, !within_module(registers->ip, THIS_MODULE));
}

/* Instead of fixup_exception(), when that has found nothing. */
bool notrace trapline_abandon(struct pt_regs *registers)
{
	unsigned long flags = irqs_off();
	bool done = trapline_handler_abandon(registers);

	raw_local_irq_restore(flags);
	return done;
}

static void notrace on_fixup_exception(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
				       struct ftrace_regs *ftrace_registers)
{
	/* The registers of the call: bool fixup_exception(regs, trapnr, error_code, fault_addr). */
	struct pt_regs *call = ftrace_get_regs(ftrace_registers);
	struct trapline_fault_words fault;
	struct pt_regs *registers;
	struct replaced *here;
	unsigned long flags;
	u32 verdict;

	if (!call)
		return;
	registers = (struct pt_regs *)call->di;
	fault.error_code = call->dx;
	fault.address = call->cx;
	flags = irqs_off();
	verdict = trapline_trap(registers, call->si, &fault);
	here = this_cpu_ptr(&replaced);
	if (here->registers == registers)
		here->registers = NULL;
	if (verdict == TRAPLINE_INSTEAD) {
		*here = (struct replaced) {
			.registers = registers,
			.raised = { .error_code = call->dx, .address = call->cx },
			.fault = fault,
		};
		call->dx = fault.error_code;
		call->cx = fault.address;
	}
	if (verdict != TRAPLINE_RESUME)
		verdict = handler_fault(registers, call->si, &fault);
	raw_local_irq_restore(flags);
	switch (verdict) {
	case TRAPLINE_RESUME:
		call->ip = (unsigned long)trapline_resume;
		break;
	case TRAPLINE_ABANDON:
		if (call->si == X86_TRAP_GP)
			break;
		WRITE_ONCE(trapline_fixup_exception, call->ip);
		call->ip = (unsigned long)trapline_fixup_or_abandon;
		break;
	}
}

static void notrace on_page_fault_oops(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
				       struct ftrace_regs *ftrace_registers)
{
	/* The registers of the call: void page_fault_oops(regs, error_code, address). */
	struct pt_regs *call = ftrace_get_regs(ftrace_registers);
	struct trapline_fault_words fault;
	struct pt_regs *registers;
	struct replaced *here;
	unsigned long flags;
	u32 verdict;

	if (!call)
		return;
	registers = (struct pt_regs *)call->di;
	flags = irqs_off();
	here = this_cpu_ptr(&replaced);
	if (here->registers == registers && here->raised.error_code == call->si && here->raised.address == call->dx) {
		here->registers = NULL;
		call->si = here->fault.error_code;
		call->dx = here->fault.address;
	}
	fault.error_code = call->si;
	fault.address = call->dx;
	verdict = handler_fault(registers, X86_TRAP_PF, &fault);
	if (verdict == TRAPLINE_RESUME || (verdict == TRAPLINE_ABANDON && trapline_handler_abandon(registers)))
		call->ip = (unsigned long)trapline_resume;
	raw_local_irq_restore(flags);
}

static int notrace on_die(struct notifier_block *block, unsigned long event, void *data)
{
	struct die_args *arguments = data;

	return event == DIE_GPF && !user_mode(arguments->regs) && trapline_abandon(arguments->regs) ? NOTIFY_STOP : NOTIFY_DONE;
}

static struct notifier_block die_block = {
	.notifier_call = on_die,
	.priority = INT_MAX,
};

#define HOOK_FLAGS (FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_PERMANENT)

static struct ftrace_ops fixup_hook = { .func = on_fixup_exception, .flags = HOOK_FLAGS };
static struct ftrace_ops oops_hook = { .func = on_page_fault_oops, .flags = HOOK_FLAGS };

static int install(struct ftrace_ops *hook, char *name)
{
	int error = ftrace_set_filter(hook, name, strlen(name), 0);

	if (error) {
		pr_err("can't trace %s (error %d): this kernel has no dynamic ftrace, or named the function otherwise\n", name, error);
		return error;
	}
	error = register_ftrace_function(hook);
	if (error == -EBUSY)
		pr_err("%s is redirected already, by a live patch or another tracer: remove that first\n", name);
	else if (error)
		pr_err("can't hook %s (error %d); is kernel.ftrace_enabled 0?\n", name, error);
	return error;
}

int hook_install(void)
{
	static char fixup_name[] = "fixup_exception", oops_name[] = "page_fault_oops";
	int error = install(&fixup_hook, fixup_name);

	if (error)
		return error;
	error = install(&oops_hook, oops_name);
	if (error)
		goto no_oops_hook;
	error = register_die_notifier(&die_block);
	if (error)
		goto no_notifier;
	return 0;

no_notifier:
	unregister_ftrace_function(&oops_hook);
no_oops_hook:
	unregister_ftrace_function(&fixup_hook);
	return error;
}

void hook_remove(void)
{
	unregister_die_notifier(&die_block);
	unregister_ftrace_function(&oops_hook);
	unregister_ftrace_function(&fixup_hook);
	/*
	 * ftrace has waited for its trampoline; this waits for CPUs that have left it and still run
	 * trapline_resume().
	 */
	synchronize_rcu();
}
