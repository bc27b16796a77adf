// SPDX-License-Identifier: GPL-2.0
/*
 * Calling a handler that may fault, and getting back from it.
 *
 * Interrupts are off here and stay off, so the CPU is fixed and only NMIs nest. What an abandoned handler may have left behind in the context it runs in is put
 * back: its count of preemption-off sections (and with it those of softirqs), of page faults off, of RCU readers, and the flags, AC among them. Locks that it
 * took stay taken, as no kernel can know what they guard.
 */
#include <linux/bug.h>
#include <linux/preempt.h>
#include <linux/ptrace.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/thread_info.h>
#include <linux/uaccess.h>
#include <asm/irqflags.h>
#include "glue.h"

/* Faults are the handler's own only where they came in the same context: not in an interrupt's that came on top of it. */
#define CONTEXT (NMI_MASK | HARDIRQ_MASK)

static void notrace restore(const struct glue_guard *guard)
{
	while (rcu_preempt_depth() > guard->rcu_depth)
		rcu_read_unlock();
	current->pagefault_disabled = guard->pagefault_disabled + 1;
	preempt_count_set(guard->preempt_count);
}

u64 notrace glue_call_guarded(struct glue_guard *guard, const void *function, u64 first, u64 second, u64 third)
{
	u64 result;

	BUILD_BUG_ON(sizeof(*guard) != GLUE_GUARD_SIZE);
	guard->abandoned = false;
	guard->flags = native_save_fl();
	guard->preempt_count = preempt_count();
	guard->rcu_depth = rcu_preempt_depth();
	guard->pagefault_disabled = current->pagefault_disabled;
	/* A fault on a user address is then an error at once: nothing here may wait for a page. */
	pagefault_disable();
	result = trapline_guarded(guard, function, first, second, third);
	if (unlikely(guard->abandoned))
		restore(guard);
	pagefault_enable();
	return result;
}

bool notrace glue_is_guarded(const struct glue_guard *guard, const struct pt_regs *registers)
{
	return !((preempt_count() ^ guard->preempt_count) & CONTEXT) && guard->stack - registers->sp < THREAD_SIZE;
}

void notrace glue_abandon_guarded(struct glue_guard *guard, struct pt_regs *registers)
{
	guard->abandoned = true;
	registers->ip = (unsigned long)trapline_guarded_end;
	registers->sp = guard->stack;
	registers->flags = guard->flags;
}
