/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The context that handlers are called in: interrupts are off, and what one that is abandoned may
 * have left behind is noted.
 */
#ifndef TRAPLINE_GUARD_H
#define TRAPLINE_GUARD_H

#include <linux/preempt.h>
#include <linux/ptrace.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/types.h>
#include <asm/cpufeature.h>
#include <asm/irqflags.h>

/* calls.rs's Guard, of which that reads the first alone. */
struct glue_guard {
	/* The direction, AC; interrupts as they were before. */
	u64 flags;
	/*
	 * Calls that are under way whose return somebody waits for: return probes, and the
	 * function_graph tracer.
	 */
	struct llist_node *rethooks;
	int graph_stack;
	int graph_depth;
	/*
	 * Counts, of preemption-off sections (and with it those of softirqs), page faults off, RCU
	 * readers, migration off.
	 */
	u32 preempt_count;
	u32 pagefault_disabled;
	int rcu_depth;
	u16 migration_disabled;
	bool irqs_were_on;
};

/*
 * Interrupts are off by a breakpoint, and as the probed code has them by ftrace and by a jump. One
 * look at the flags tells all, but where interrupts are the hypervisor's matter. From here a fault
 * on a user address is an error at once: no handler waits for a page.
 */
static __always_inline void guard_begin(struct glue_guard *guard)
{
	struct task_struct *task = current;

	guard->flags = native_save_fl();
	guard->irqs_were_on = cpu_feature_enabled(X86_FEATURE_XENPV) ? !raw_irqs_disabled() : guard->flags & X86_EFLAGS_IF;
	if (guard->irqs_were_on)
		raw_local_irq_disable();
	guard->preempt_count = preempt_count();
	guard->rcu_depth = rcu_preempt_depth();
	guard->migration_disabled = task->migration_disabled;
#ifdef CONFIG_FUNCTION_GRAPH_TRACER
	guard->graph_stack = task->curr_ret_stack;
	guard->graph_depth = task->curr_ret_depth;
#endif
#ifdef CONFIG_RETHOOK
	guard->rethooks = task->rethooks.first;
#endif
	guard->pagefault_disabled = task->pagefault_disabled;
	pagefault_disable();
}

static __always_inline void guard_end(const struct glue_guard *guard)
{
	/* As pagefault_enable() would, had every handler left the count as it was. */
	barrier();
	current->pagefault_disabled = guard->pagefault_disabled;
	if (guard->irqs_were_on)
		raw_local_irq_enable();
}

/*
 * The end of a handler of kprobes, which leaves interrupts off where they are switched on soon: by
 * ftrace, by a jump, at a function's return and of course by a breakpoint the flags of `registers`
 * are put back as the last deed, by POPF or IRET. Until shortly before that the kernel takes the
 * CPU to be serving a hit, and only counts those that an interrupt leads to: any interrupt that
 * came while the handler ran would find it so.
 *
 * Nothing is done in between that needs them on. Should a task be due to run, then the interrupt
 * that says so comes when they are on again. A guest of Xen has them elsewhere than in the flags.
 */
static __always_inline void guard_end_in_kprobe(const struct glue_guard *guard, const struct pt_regs *registers)
{
	barrier();
	current->pagefault_disabled = guard->pagefault_disabled;
	if (guard->irqs_were_on && (cpu_feature_enabled(X86_FEATURE_XENPV) || !(registers->flags & X86_EFLAGS_IF)))
		raw_local_irq_enable();
}

#endif
