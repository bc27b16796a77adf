/* SPDX-License-Identifier: GPL-2.0 */
/* What is probed, and threads on all CPUs that run it and look at what it leaves behind. */
#ifndef TRAPLINE_CODE_TARGET_H
#define TRAPLINE_CODE_TARGET_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/math.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <asm/irqflags.h>

/* Not inlined, with an instruction at its beginning that is longer than a jump: the kernel may replace its breakpoint by one. */
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

/* The same at the entry of a kernel function that ftrace knows and next to nobody calls. */
static u64 entry_target(u64 value)
{
	return int_pow(value | 1, 3);
}

static u64 cube(u64 base)
{
	return base * base * base;
}

static u64 entry_result(u64 value)
{
	return cube(value | 1);
}

/* What a handler that is abandoned might leave behind. */
struct context {
	unsigned long flags;
	int preempt;
	int rcu;
	int pagefault;
};

static __always_inline struct context context_now(void)
{
	return (struct context){
		/* Interrupts, direction, alignment check (user access), trap. */
		.flags = native_save_fl() & (X86_EFLAGS_IF | X86_EFLAGS_DF | X86_EFLAGS_AC | X86_EFLAGS_TF),
		.preempt = preempt_count(),
		.rcu = rcu_preempt_depth(),
		.pagefault = current->pagefault_disabled,
	};
}

struct work {
	u64 (*target)(u64);
	u64 (*expected)(u64);
	u64 calls;
	/* Every other call with interrupts off, preemption off and in an RCU reader: all of that is to be as before. */
	atomic64_t wrong_results;
	atomic64_t wrong_contexts;
	atomic_t running;
	struct completion done;
};

static void one_call(struct work *work, u64 value)
{
	struct context before, after;
	u64 result;

	before = context_now();
	result = work->target(value);
	after = context_now();
	if (result != work->expected(value))
		atomic64_inc(&work->wrong_results);
	if (memcmp(&before, &after, sizeof(before)))
		atomic64_inc(&work->wrong_contexts);
}

static int worker(void *data)
{
	struct work *work = data;
	unsigned long flags;
	u64 i;

	for (i = 0; i < work->calls; i++) {
		if (i % 2) {
			one_call(work, i);
		} else {
			rcu_read_lock();
			local_irq_save(flags);
			one_call(work, i);
			local_irq_restore(flags);
			rcu_read_unlock();
		}
		if (i % 64 == 0)
			cond_resched();
	}
	if (atomic_dec_and_test(&work->running))
		complete(&work->done);
	return 0;
}

/* Calls the target `calls` times on each CPU; returns how many calls there were, or a negative error. */
static s64 work_on_all_cpus(struct work *work)
{
	struct task_struct *task;
	int started = 0;
	unsigned int cpu;

	init_completion(&work->done);
	atomic_set(&work->running, 1);
	cpus_read_lock();
	for_each_online_cpu(cpu) {
		task = kthread_create_on_node(worker, work, cpu_to_node(cpu), "code/%u", cpu);
		if (IS_ERR(task))
			continue;
		kthread_bind(task, cpu);
		atomic_inc(&work->running);
		started++;
		wake_up_process(task);
	}
	cpus_read_unlock();
	if (!atomic_dec_and_test(&work->running))
		wait_for_completion(&work->done);
	return started == num_online_cpus() ? started * work->calls : -ENOMEM;
}

#endif
