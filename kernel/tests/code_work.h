/* SPDX-License-Identifier: GPL-2.0 */
/* Threads on all CPUs that run what is probed, and look at what it leaves behind. */
#ifndef TRAPLINE_CODE_WORK_H
#define TRAPLINE_CODE_WORK_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/kthread.h>
#include <linux/math.h>
#include "code_target.h"

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

struct work {
	u64 (*target)(u64);
	u64 (*expected)(u64);
	u64 calls;
	/*
	 * Every other call with interrupts off, preemption off and in an RCU reader: all of that is
	 * to be as before.
	 */
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
			cond_resched_tasks_rcu_qs();
	}
	if (atomic_dec_and_test(&work->running))
		complete(&work->done);
	return 0;
}

/*
 * Calls the target `calls` times on each CPU; returns how many calls there were, or a negative
 * error.
 */
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
