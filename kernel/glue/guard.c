// SPDX-License-Identifier: GPL-2.0
/*
 * The context of handlers that may fault (calls.rs calls them): whose fault it is, and putting back
 * what one has left behind that was abandoned.
 *
 * Interrupts are off here and stay off, so the CPU is fixed and only NMIs nest. Locks that the
 * handler took stay taken, as no kernel can know what they guard; so does the FPU, if it was
 * between kernel_fpu_begin() and its end.
 */
#include <linux/bug.h>
#include <linux/llist.h>
#include <linux/ptrace.h>
#include <linux/thread_info.h>
#include "compat.h"
#include "glue.h"
#include "guard.h"

/*
 * Faults are the handler's own only where they came in the same context: not in an interrupt's that
 * came on top of it.
 */
#define CONTEXT (NMI_MASK | HARDIRQ_MASK)

void notrace glue_guard_begin(struct glue_guard *guard)
{
	BUILD_BUG_ON(sizeof(*guard) != GLUE_GUARD_SIZE || offsetof(struct glue_guard, flags));
	guard_begin(guard);
}

void notrace glue_guard_end(const struct glue_guard *guard)
{
	guard_end(guard);
}

bool notrace glue_is_guarded(const struct glue_guard *guard, u64 stack, const struct pt_regs *registers)
{
	return !((preempt_count() ^ guard->preempt_count) & CONTEXT) && stack - registers->sp < THREAD_SIZE;
}

#ifdef CONFIG_RETHOOK
/*
 * As rethook_recycle(), which modules can't call. One whose return probe is being removed stays
 * allocated.
 */
static void notrace recycle(struct rethook_node *node)
{
	if (!READ_ONCE(node->rethook->handler))
		return;
	compat_rethook_push(node);
}
#endif

/*
 * The functions that the handler was in will not return: whoever keeps their return addresses would
 * take the next function's return for theirs.
 */
static void notrace forget_returns(const struct glue_guard *guard)
{
#ifdef CONFIG_RETHOOK
	struct llist_node *first;

	while ((first = current->rethooks.first) && first != guard->rethooks) {
		current->rethooks.first = first->next;
		recycle(llist_entry(first, struct rethook_node, llist));
	}
#endif
#ifdef CONFIG_FUNCTION_GRAPH_TRACER
	current->curr_ret_stack = guard->graph_stack;
	current->curr_ret_depth = guard->graph_depth;
#endif
}

void notrace glue_restore(const struct glue_guard *guard)
{
	forget_returns(guard);
	while (rcu_preempt_depth() > guard->rcu_depth)
		rcu_read_unlock();
	current->pagefault_disabled = guard->pagefault_disabled + 1;
	preempt_count_set(guard->preempt_count);
	/* Nothing was scheduled meanwhile, so this does no more than count. */
	while (current->migration_disabled > guard->migration_disabled)
		migrate_enable();
}
