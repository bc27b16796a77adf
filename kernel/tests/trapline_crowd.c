// SPDX-License-Identifier: GPL-2.0
/*
 * A function that every CPU calls as long as this is loaded, for the users of the crowd to probe
 * (crowd_users.h), and for commands. An in-tree kprobe of nobody's comes and goes at the same
 * place.
 *
 * The calls of each CPU are numbered, and the number is the argument. Each must give the right
 * result and leave its context as it was; when the module goes, after all who probed it, so must
 * the function's text be.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include "code_target.h"
#include "crowd.h"

struct calls trapline_crowd_calls[MOST_CPUS];
EXPORT_SYMBOL_GPL(trapline_crowd_calls);
atomic_t trapline_crowd_present, trapline_crowd_most;
EXPORT_SYMBOL_GPL(trapline_crowd_present);
EXPORT_SYMBOL_GPL(trapline_crowd_most);
EXPORT_SYMBOL_GPL(trapline_code_target);

static struct task_struct *callers[MOST_CPUS], *foreign;
static u8 before[64];
static atomic64_t foreign_hits;

static int foreign_pre(struct kprobe *kprobe, struct pt_regs *registers)
{
	atomic64_inc(&foreign_hits);
	return 0;
}

static void foreign_post(struct kprobe *kprobe, struct pt_regs *registers, unsigned long flags)
{
}

/* With a post handler every other time. */
static int foreign_thread(void *data)
{
	struct kprobe kprobe;
	unsigned long i;
	int error;

	for (i = 0; !kthread_should_stop(); i++) {
		memset(&kprobe, 0, sizeof(kprobe));
		kprobe.addr = (kprobe_opcode_t *)trapline_code_target;
		kprobe.pre_handler = foreign_pre;
		kprobe.post_handler = i % 2 ? foreign_post : NULL;
		error = register_kprobe(&kprobe);
		/* Nothing in a module that is being removed can be probed any more. */
		if (error && !module_is_live(THIS_MODULE))
			break;
		if (error) {
			COMPLAIN("a kprobe can't be registered beside ours: error %d\n", error);
			break;
		}
		usleep_range(100, 5000);
		unregister_kprobe(&kprobe);
		/* Its coming and going is not to be all that happens. */
		msleep(20);
	}
	return 0;
}

static int caller(void *data)
{
	struct calls *own = &trapline_crowd_calls[(unsigned long)data];
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
			COMPLAIN("call %llu on cpu %lu: a wrong result or context\n", number, (unsigned long)data);
		/*
		 * The users need some CPU too, and the kernel's optimiser of kprobes waits until
		 * every task has slept.
		 */
		if (number % 64 == 0)
			usleep_range(200, 400);
	}
	return 0;
}

/*
 * Else the compiler copies from addresses inside of the function, which objtool takes for places to
 * jump to.
 */
static const void *text_now(void)
{
	const void *text = trapline_code_target;

	OPTIMIZER_HIDE_VAR(text);
	return text;
}

static int __init crowd_init(void)
{
	unsigned int cpu;

	if (nr_cpu_ids > MOST_CPUS)
		return -EOPNOTSUPP;
	memcpy(before, text_now(), sizeof(before));
	for_each_online_cpu(cpu)
		callers[cpu] = start(caller, (void *)(unsigned long)cpu, cpu);
	foreign = start(foreign_thread, NULL, -1);
	return 0;
}

static void __exit crowd_exit(void)
{
	unsigned int cpu;
	u64 sum = 0;

	stop(foreign);
	for (cpu = 0; cpu < MOST_CPUS; cpu++) {
		stop(callers[cpu]);
		sum += trapline_crowd_calls[cpu].ended;
	}
	if (memcmp(before, text_now(), sizeof(before)))
		COMPLAIN("the text is not as it was\n");
	if (!sum || !atomic64_read(&foreign_hits))
		COMPLAIN("nothing happened\n");
	pr_info("%llu calls, %llu of them seen by a foreign kprobe, up to %d probes at once, %llu wrong\n", sum, (u64)atomic64_read(&foreign_hits),
		atomic_read(&trapline_crowd_most), (u64)atomic64_read(&wrong));
}

module_init(crowd_init);
module_exit(crowd_exit);
MODULE_DESCRIPTION("Trapline: an instruction for many code probes of many users");
MODULE_LICENSE("GPL");
