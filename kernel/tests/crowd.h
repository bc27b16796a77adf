/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The place of the crowd: a function that every CPU calls, in `trapline_crowd`, which the modules
 * with the users probe.
 */
#ifndef TRAPLINE_CROWD_H
#define TRAPLINE_CROWD_H

#include <linux/atomic.h>
#include <linux/cache.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/printk.h>
#include <linux/sched/task.h>

#define MOST_CPUS 8

/* The calls of one CPU: begun, and ended. Each call's argument is its number. */
struct calls {
	u64 begun, ended;
} ____cacheline_aligned;

extern struct calls trapline_crowd_calls[MOST_CPUS];
/* Probes that are registered, of all modules; and the most at once. */
extern atomic_t trapline_crowd_present, trapline_crowd_most;
u64 trapline_code_target(u64 value);

static atomic64_t wrong;

#define COMPLAIN(...) do { if (atomic64_inc_return(&wrong) < 20) pr_err(__VA_ARGS__); } while (0)

static struct task_struct *start(int (*function)(void *), void *data, int cpu)
{
	struct task_struct *task = kthread_create(function, data, "crowd/%d", cpu);

	if (IS_ERR(task))
		return NULL;
	if (cpu >= 0)
		kthread_bind(task, cpu);
	/* They end by themselves or when they are told, and are waited for in both cases. */
	get_task_struct(task);
	wake_up_process(task);
	return task;
}

static void stop(struct task_struct *task)
{
	if (!task)
		return;
	kthread_stop(task);
	put_task_struct(task);
}

#endif
