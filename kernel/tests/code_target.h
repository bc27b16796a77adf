/* SPDX-License-Identifier: GPL-2.0 */
/* What is probed, and what of the context around it must be as before. */
#ifndef TRAPLINE_CODE_TARGET_H
#define TRAPLINE_CODE_TARGET_H

#include <linux/kernel.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <asm/irqflags.h>

/*
 * Not inlined, with an instruction at its beginning that is longer than a jump: the kernel may
 * replace its breakpoint by one.
 */
noinline u64 trapline_code_target(u64 value);

u64 trapline_code_target(u64 value)
{
	u64 result;

	asm volatile("movabsq $0x0102030405060708, %0\n\t"
		     "addq %1, %0\n\t"
		     "rolq $7, %0"
		     : "=&r"(result)
		     : "r"(value));
	return result;
}

static u64 target_result(u64 value)
{
	u64 sum = value + 0x0102030405060708ULL;

	return sum << 7 | sum >> 57;
}

/* What a handler that is abandoned might leave behind. */
struct context {
	unsigned long flags;
	int preempt;
	int rcu;
	int pagefault;
	int migration;
};

static __always_inline struct context context_now(void)
{
	return (struct context){
		/* Interrupts, direction, alignment check (user access), trap. */
		.flags = native_save_fl() & (X86_EFLAGS_IF | X86_EFLAGS_DF | X86_EFLAGS_AC | X86_EFLAGS_TF),
		.preempt = preempt_count(),
		.rcu = rcu_preempt_depth(),
		.pagefault = current->pagefault_disabled,
		.migration = current->migration_disabled,
	};
}

#endif
