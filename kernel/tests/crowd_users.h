/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A module of the crowd: 32 code probes of two users on the instruction that every CPU runs, which
 * come, stay until those of the other module are there too, and then come and go at random. Loading
 * it runs the test and fails if it does.
 *
 * 	modprobe trapline_crowd && modprobe trapline_crowd_one changes=500 crowd=64
 *
 * changes   how often each user registers or unregisters one of its probes
 * crowd     how many probes there are to be before the first goes
 *
 * The calls of each CPU are numbered, and the number is the argument. So a probe knows whether it
 * has seen every call between the first and the last it saw, each once and in order; and these must
 * reach to its registration and its removal.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/ptrace.h>
#include <linux/random.h>
#include <linux/slab.h>
#include "code_faults.h"
#include "crowd.h"
#include "trapline.h"

#define USERS 2
#define PROBES 16

static ulong changes = 500;
module_param(changes, ulong, 0444);

static int crowd = 64;
module_param(crowd, int, 0444);

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

static DECLARE_COMPLETION(user_done);

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
	int error, now, most;
	unsigned int cpu;

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
	now = atomic_inc_return(&trapline_crowd_present);
	for (most = atomic_read(&trapline_crowd_most); now > most;)
		if (atomic_try_cmpxchg(&trapline_crowd_most, &most, now))
			break;
	for_each_online_cpu(cpu)
		probe->begun[cpu] = READ_ONCE(trapline_crowd_calls[cpu].begun);
}

static void leave(struct crowd_user *user, struct crowd_probe *probe, int number)
{
	u64 ended[MOST_CPUS] = {}, count = 0, posts = 0;
	struct crowd_probe after;
	unsigned int cpu;

	for_each_online_cpu(cpu)
		ended[cpu] = READ_ONCE(trapline_crowd_calls[cpu].ended);
	trapline_unregister_code_probe(&probe->probe);
	WRITE_ONCE(probe->open, false);
	probe->registered = false;
	atomic_dec(&trapline_crowd_present);
	for_each_online_cpu(cpu) {
		struct seen *seen = &probe->seen[cpu];

		count += seen->count;
		posts += seen->posts;
		if (seen->disorder || (seen->count && seen->last - seen->first + 1 != seen->count))
			COMPLAIN("probe %d on cpu %u: calls %llu to %llu, but %llu hits\n", number, cpu, seen->first, seen->last, seen->count);
		/*
		 * All that began after it was registered, up to what had ended before it was taken
		 * away.
		 */
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

	for (number = 0; number < PROBES; number++)
		come(&user->probes[number], number);
	for (i = 0; i < 12000 && atomic_read(&trapline_crowd_most) < crowd; i++)
		msleep(10);
	if (atomic_read(&trapline_crowd_most) < crowd)
		COMPLAIN("there never were %d probes at once\n", crowd);
	/* So many, for a while. */
	msleep(100);
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

static int __init crowd_init(void)
{
	struct task_struct *threads[USERS];
	u64 checked = 0;
	int i;

	users = kcalloc(USERS, sizeof(*users), GFP_KERNEL);
	if (!users)
		return -ENOMEM;
	for (i = 0; i < USERS; i++)
		threads[i] = start(user_thread, &users[i], -1);
	for (i = 0; i < USERS; i++) {
		if (threads[i])
			wait_for_completion(&user_done);
	}
	for (i = 0; i < USERS; i++) {
		stop(threads[i]);
		checked += users[i].checked;
	}
	if (!checked)
		COMPLAIN("nothing happened\n");
	pr_info("%llu hits, %llu wrong\n", checked, (u64)atomic64_read(&wrong));
	kfree(users);
	return atomic64_read(&wrong) ? -EIO : 0;
}

static void __exit crowd_exit(void)
{
}

module_init(crowd_init);
module_exit(crowd_exit);
MODULE_DESCRIPTION("Trapline: users of many code probes on one instruction");
MODULE_LICENSE("GPL");
