// SPDX-License-Identifier: GPL-2.0
/*
 * 64 code probes of four users on one instruction, which come and go at random while every CPU runs it. Loading it runs the test and fails if it does.
 *
 *	modprobe trapline_crowd changes=500
 *
 * changes   how often each user registers or unregisters one of its probes
 *
 * The calls of each CPU are numbered, and the number is the argument. So a probe knows whether it has seen every call between the first and the last
 * it saw, each once and in order; and these must reach to its registration and its removal. A kprobe of nobody's comes and goes at the same place.
 */
#define pr_fmt(fmt) "trapline_crowd: " fmt

#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/ptrace.h>
#include <linux/random.h>
#include <linux/slab.h>
#include "code_faults.h"
#include "code_target.h"
#include "trapline.h"

#define USERS 4
#define PROBES 16
#define MOST_CPUS 8

static ulong changes = 500;
module_param(changes, ulong, 0444);

/* The calls of one CPU: begun, and ended. */
static struct calls {
	u64 begun, ended;
} ____cacheline_aligned calls[MOST_CPUS];

/* What a probe has seen of one CPU; changed by that CPU alone. */
struct seen {
	u64 first, last, count, posts, disorder;
};

struct crowd_probe {
	struct trapline_code_probe probe;
	bool registered;
	/* Its handlers may be called. */
	bool open;
	atomic_t late;
	struct seen seen[MOST_CPUS];
	u64 begun[MOST_CPUS];
};

static struct crowd_user {
	struct crowd_probe probes[PROBES];
	u64 checked;
} *users;

static atomic64_t wrong;
static DECLARE_COMPLETION(user_done);
static DECLARE_COMPLETION(foreign_done);
static bool over;

#define COMPLAIN(...) do { if (atomic64_inc_return(&wrong) < 20) pr_err(__VA_ARGS__); } while (0)

static void note(struct crowd_probe *probe, u64 number)
{
	struct seen *seen = &probe->seen[smp_processor_id()];

	if (!READ_ONCE(probe->open))
		atomic_inc(&probe->late);
	if (!seen->count)
		seen->first = number;
	else if (number != seen->last + 1)
		seen->disorder++;
	seen->last = number;
	seen->count++;
}

static void crowd_pre(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	note(container_of(probe, struct crowd_probe, probe), registers->di);
}

static void crowd_faulting_pre(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	u64 number = registers->di;

	note(container_of(probe, struct crowd_probe, probe), number);
	mess_and_fault(number % FAULT_KINDS);
}

static void crowd_post(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	container_of(probe, struct crowd_probe, probe)->seen[smp_processor_id()].posts++;
}

/* Of every four: one plain, two with post handlers, one that faults. */
static struct trapline_code_probe kind_of(int number)
{
	switch (number % 4) {
	case 0:
		return (struct trapline_code_probe){ .pre = crowd_pre };
	case 1:
		return (struct trapline_code_probe){ .pre = crowd_faulting_pre, .post = crowd_post };
	default:
		return (struct trapline_code_probe){ .pre = crowd_pre, .post = crowd_post };
	}
}

static void come(struct crowd_probe *probe, int number)
{
	unsigned int cpu;
	int error;

	memset(probe, 0, sizeof(*probe));
	probe->probe = kind_of(number);
	probe->probe.address = (u64)(unsigned long)trapline_code_target;
	WRITE_ONCE(probe->open, true);
	error = trapline_register_code_probe(&probe->probe);
	if (error) {
		COMPLAIN("a probe can't be registered: error %d\n", error);
		return;
	}
	probe->registered = true;
	for_each_online_cpu(cpu)
		probe->begun[cpu] = READ_ONCE(calls[cpu].begun);
}

static void leave(struct crowd_user *user, struct crowd_probe *probe, int number)
{
	u64 ended[MOST_CPUS] = {}, count = 0, posts = 0;
	struct crowd_probe after;
	unsigned int cpu;

	for_each_online_cpu(cpu)
		ended[cpu] = READ_ONCE(calls[cpu].ended);
	trapline_unregister_code_probe(&probe->probe);
	WRITE_ONCE(probe->open, false);
	probe->registered = false;
	for_each_online_cpu(cpu) {
		struct seen *seen = &probe->seen[cpu];

		count += seen->count;
		posts += seen->posts;
		if (seen->disorder || (seen->count && seen->last - seen->first + 1 != seen->count))
			COMPLAIN("probe %d on cpu %u: calls %llu to %llu, but %llu hits\n", number, cpu, seen->first, seen->last, seen->count);
		/* All that began after it was registered, up to what had ended before it was taken away. */
		if (ended[cpu] > probe->begun[cpu] &&
		    (!seen->count || seen->first > probe->begun[cpu] + 1 || seen->last < ended[cpu]))
			COMPLAIN("probe %d on cpu %u: registered at call %llu, removed at %llu, saw %llu to %llu\n", number, cpu,
				 probe->begun[cpu], ended[cpu], seen->first, seen->last);
	}
	/* Its removal may come between the two, on each CPU once. */
	if (number % 4 < 2 ? posts : posts > count || posts + num_online_cpus() < count)
		COMPLAIN("probe %d: %llu hits, %llu calls of its post handler\n", number, count, posts);
	memcpy(&after, probe, sizeof(after));
	msleep(1);
	if (memcmp(&after, probe, sizeof(after)) || atomic_read(&probe->late))
		COMPLAIN("probe %d: a handler ran after its removal\n", number);
	user->checked += count;
}

static int user_thread(void *data)
{
	struct crowd_user *user = data;
	unsigned long i;
	int number;

	for (i = 0; i < changes; i++) {
		number = get_random_u32() % PROBES;
		if (user->probes[number].registered)
			leave(user, &user->probes[number], number);
		else
			come(&user->probes[number], number);
		if (get_random_u32() % 2)
			usleep_range(100, 2000);
	}
	for (number = 0; number < PROBES; number++) {
		if (user->probes[number].registered)
			leave(user, &user->probes[number], number);
	}
	complete(&user_done);
	return 0;
}

static atomic64_t foreign_hits;

static int foreign_pre(struct kprobe *kprobe, struct pt_regs *registers)
{
	atomic64_inc(&foreign_hits);
	return 0;
}

static void foreign_post(struct kprobe *kprobe, struct pt_regs *registers, unsigned long flags)
{
}

/* An in-tree kprobe at the same place, with a post handler every other time. */
static int foreign_thread(void *data)
{
	struct kprobe kprobe;
	unsigned long i;
	int error;

	for (i = 0; i < changes / 10 && !READ_ONCE(over); i++) {
		memset(&kprobe, 0, sizeof(kprobe));
		kprobe.addr = (kprobe_opcode_t *)trapline_code_target;
		kprobe.pre_handler = foreign_pre;
		kprobe.post_handler = i % 2 ? foreign_post : NULL;
		error = register_kprobe(&kprobe);
		if (error) {
			COMPLAIN("a kprobe can't be registered beside ours: error %d\n", error);
			break;
		}
		usleep_range(100, 5000);
		unregister_kprobe(&kprobe);
	}
	complete(&foreign_done);
	return 0;
}

static int caller(void *data)
{
	unsigned int cpu = (unsigned long)data;
	struct calls *own = &calls[cpu];
	struct context before, after;
	u64 number, result;

	while (!kthread_should_stop()) {
		number = own->begun + 1;
		WRITE_ONCE(own->begun, number);
		before = context_now();
		result = trapline_code_target(number);
		after = context_now();
		WRITE_ONCE(own->ended, number);
		if (result != target_result(number) || memcmp(&before, &after, sizeof(before)))
			COMPLAIN("call %llu on cpu %u: a wrong result or context\n", number, cpu);
		/* The users need some CPU too, and the kernel's optimiser of kprobes waits until every task has slept. */
		if (number % 64 == 0)
			usleep_range(200, 400);
	}
	return 0;
}

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

static int __init crowd_init(void)
{
	struct task_struct *callers[MOST_CPUS] = {}, *threads[USERS + 1];
	const void *text = trapline_code_target;
	u8 before[64], after[64];
	unsigned int cpu;
	u64 checked = 0, sum = 0;
	int i;

	if (nr_cpu_ids > MOST_CPUS)
		return -EOPNOTSUPP;
	users = kcalloc(USERS, sizeof(*users), GFP_KERNEL);
	if (!users)
		return -ENOMEM;
	/* Else the compiler copies from addresses inside of the function, which objtool takes for places to jump to. */
	OPTIMIZER_HIDE_VAR(text);
	memcpy(before, text, sizeof(before));
	for_each_online_cpu(cpu)
		callers[cpu] = start(caller, (void *)(unsigned long)cpu, cpu);
	for (i = 0; i < USERS; i++)
		threads[i] = start(user_thread, &users[i], -1);
	threads[USERS] = start(foreign_thread, NULL, -1);
	for (i = 0; i < USERS; i++) {
		if (threads[i])
			wait_for_completion(&user_done);
	}
	WRITE_ONCE(over, true);
	if (threads[USERS])
		wait_for_completion(&foreign_done);
	for (i = 0; i <= USERS; i++)
		stop(threads[i]);
	for_each_online_cpu(cpu) {
		stop(callers[cpu]);
		sum += calls[cpu].ended;
	}
	for (i = 0; i < USERS; i++)
		checked += users[i].checked;
	memcpy(after, text, sizeof(after));
	if (memcmp(before, after, sizeof(before)))
		COMPLAIN("the text is not as it was\n");
	if (!sum || !checked || !atomic64_read(&foreign_hits))
		COMPLAIN("nothing happened: %llu calls, %llu hits, %llu of the foreign kprobe\n", sum, checked, (u64)atomic64_read(&foreign_hits));
	pr_info("%llu calls, %llu hits, %llu wrong\n", sum, checked, (u64)atomic64_read(&wrong));
	kfree(users);
	return atomic64_read(&wrong) ? -EIO : 0;
}

static void __exit crowd_exit(void)
{
}

module_init(crowd_init);
module_exit(crowd_exit);
MODULE_DESCRIPTION("Trapline: many code probes of many users on one instruction");
MODULE_LICENSE("GPL");
