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
#include <asm/asm.h>
#include <asm/irqflags.h>
#include <asm/nospec-branch.h>
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

/*
 * The trampoline. It notes the stack pointer below which everything that the caller needs is saved: the compiler is told that the call changes all registers. A handler that
 * is abandoned ends at trapline_guarded_end too: its exception returns there with that stack pointer, as if the handler had returned. Part of its only caller, and
 * that no inline function: the label is there once.
 */
#define CALL_AND_NOTE_STACK			\
	"pushq %%rbp\n\t"			\
	"movq %%rsp, (%%rcx)\n\t"		\
	CALL_NOSPEC				\
	".globl trapline_guarded_end\n"		\
	"trapline_guarded_end:\n\t"		\
	/* Reached by an exception return: no ENDBR. */ \
	ANNOTATE_NOENDBR			\
	"popq %%rbp\n\t"

noinline u64 notrace glue_call_guarded(struct glue_guard *guard, const void *function, u64 first, u64 second, u64 third)
{
	struct glue_guard *place = guard;
	u64 result = (u64)function;

	BUILD_BUG_ON(sizeof(*guard) != GLUE_GUARD_SIZE);
	BUILD_BUG_ON(offsetof(struct glue_guard, stack));
	guard->abandoned = false;
	guard->flags = native_save_fl();
	guard->preempt_count = preempt_count();
	guard->rcu_depth = rcu_preempt_depth();
	guard->pagefault_disabled = current->pagefault_disabled;
	/* A fault on a user address is then an error at once: nothing here may wait for a page. */
	pagefault_disable();
	asm volatile(CALL_AND_NOTE_STACK
		     : [thunk_target] "+a"(result), "+D"(first), "+S"(second), "+d"(third), "+c"(place), ASM_CALL_CONSTRAINT
		     : : "rbx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory");
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
