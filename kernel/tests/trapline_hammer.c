// SPDX-License-Identifier: GPL-2.0
/*
 * All CPUs at once on the same page of a device, with every kind of instruction.
 *
 * A thread on each CPU runs forms at random, from a seed, on registers of its own, so that it knows
 * what each must read. What it should have accessed is counted and checksummed, so that a trace can
 * be held against it without any other witness.
 *
 * /sys/kernel/debug/trapline_hammer/
 *   run      write "COUNT SEED": each CPU makes at least COUNT accesses; returns when they are
 *            made. COUNT 0: until the writer is interrupted
 *   results  for each CPU: accesses, by direction and width too; mismatches; the checksum, 64-bit
 *            FNV-1a of each access's direction ('R' or 'W'), offset (4 bytes, little endian), width
 *            (1 byte) and value (lowest byte first)
 *   page     the page's physical address
 *   entries  the page-table entries of the whole mapping
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/debugfs.h>
#include <linux/kthread.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "device.h"
#include "exercise.h"

static char *device = "edu";
module_param(device, charp, 0444);
MODULE_PARM_DESC(device, "edu, or nvme with a controller memory buffer");

static ulong span = PAGE_SIZE;
module_param(span, ulong, 0444);
MODULE_PARM_DESC(span, "bytes that are mapped, from the page on: by larger pages too if it is so long");

static bool locked = true;
module_param(locked, bool, 0444);
/*
 * QEMU 7.2 retries a locked access to a device alone, with all other CPUs stopped
 * (cpu_exec_step_atomic), and leaves that with the flags lost if the access then faults: garbage in
 * EFLAGS, NT among it, at which the kernel dies in its next iret. So no locked forms while pages
 * become not present under them.
 */
MODULE_PARM_DESC(locked, "whether locked forms and xchg are among those that are run");

/* With a window for each. */
#define CPUS_MAX (PAGE_SIZE / WINDOW)
/* Of 1, 2, 4, 8, 16 and 32 bytes, and of the 10 of the x87. */
#define WIDTHS 7

#define FNV_BASIS 0xcbf29ce484222325ULL
#define FNV_PRIME 0x100000001b3ULL

static const u8 widths[WIDTHS] = { 1, 2, 4, 8, 16, 32, 10 };

struct hammer {
	struct bench bench;
	/*
	 * What is this CPU's own, and for edu what takes accesses of every width that edu knows;
	 * its twin NULL if there is none.
	 */
	struct region own, wide;
	/* A page for each of them. */
	u8 *twins;
	u64 goal, accesses, checksum;
	u64 counts[2][WIDTHS];
	struct completion done;
};

static struct subject subject;
static void __iomem *page;
static struct hammer *hammers[CPUS_MAX];
static bool stop;
static DEFINE_MUTEX(lock);

static u64 fnv(u64 checksum, const void *bytes, size_t length)
{
	const u8 *byte = bytes;

	while (length--)
		checksum = (checksum ^ *byte++) * FNV_PRIME;
	return checksum;
}

static void note(struct bench *bench, char direction, u64 physical, u8 width, const u8 *value)
{
	struct hammer *hammer = container_of(bench, struct hammer, bench);
	u32 offset = physical - subject.physical;
	size_t kind = 0;

	while (widths[kind] != width)
		kind++;
	hammer->counts[direction == 'W'][kind]++;
	hammer->accesses++;
	hammer->checksum = fnv(hammer->checksum, &direction, 1);
	hammer->checksum = fnv(hammer->checksum, &offset, sizeof(offset));
	hammer->checksum = fnv(hammer->checksum, &width, 1);
	hammer->checksum = fnv(hammer->checksum, value, width);
}

static struct region region_at(u64 offset, enum behaviour behaviour, u8 *twins)
{
	return (struct region){
		.behaviour = behaviour,
		.device = (u8 __force *)page + offset,
		.twin = twins + offset,
		.physical = subject.physical + offset,
	};
}

static bool form_locks(const struct form *form)
{
	return !strncmp(form->name, "lock_", 5) || !strncmp(form->name, "xchg_", 5);
}

static int hammer_cpu(void *data)
{
	static const struct form whole = { .name = "the whole" };
	struct hammer *hammer = data;
	unsigned int turn = 0;

	/* It is the load, not the subject: whoever traces it, or arms and disarms, goes first. */
	set_user_nice(current, MAX_NICE);
	region_fill(&hammer->bench, &hammer->own);
	if (hammer->wide.twin)
		region_fill(&hammer->bench, &hammer->wide);
	while (!READ_ONCE(stop) && (!hammer->goal || hammer->accesses < hammer->goal)) {
		const struct form *form = &forms[random_word(&hammer->bench) % ARRAY_SIZE(forms)];
		bool wide = hammer->wide.twin && (random_word(&hammer->bench) & 1);
		const struct region *region = wide ? &hammer->wide : &hammer->own;

		if (form->stepped || (!locked && form_locks(form)) || !form_fits(form, region))
			continue;
		exercise(&hammer->bench, form, region);
		/*
		 * Not cond_resched(): removing an ftrace hook waits until each task has said that
		 * it is between two instructions that may be traced. At once when asked: whoever
		 * arms and disarms waits for this CPU each time.
		 */
		if (++turn % 64 == 0 || need_resched())
			cond_resched_tasks_rcu_qs();
	}
	region_check(&hammer->bench, &whole, &hammer->own);
	kthread_complete_and_exit(&hammer->done, 0);
}

static void hammer_prepare(struct hammer *hammer, unsigned int cpu, u64 goal, u64 seed)
{
	memset(&hammer->bench, 0, sizeof(hammer->bench));
	hammer->bench.random = (seed + 1) * 0x9e3779b97f4a7c15ULL + cpu;
	hammer->bench.note = note;
	memset(hammer->counts, 0, sizeof(hammer->counts));
	hammer->accesses = 0;
	hammer->checksum = FNV_BASIS;
	hammer->goal = goal;
	init_completion(&hammer->done);
	if (!subject.choice->is_edu) {
		hammer->own = region_at(cpu * WINDOW, MEMORY, hammer->twins);
		return;
	}
	/*
	 * Three registers of 64 bits (source, destination and count of its DMA, which is not
	 * started) and the liveness register; no more keep a value.
	 */
	hammer->wide = region_at(0x100, EDU_NOTHING, hammer->twins);
	if (cpu < 3)
		hammer->own = region_at(0x80 + cpu * 8, EDU_REGISTER, hammer->twins);
	else if (cpu == 3)
		hammer->own = region_at(0x04, EDU_LIVENESS, hammer->twins);
	else
		hammer->own = hammer->wide;
}

/* Runs all CPUs; the CPUs must not come or go. */
static int hammer_all(u64 goal, u64 seed)
{
	struct task_struct *tasks[CPUS_MAX] = {};
	unsigned int cpu;
	int result = 0;

	WRITE_ONCE(stop, false);
	for_each_online_cpu(cpu) {
		if (cpu >= CPUS_MAX)
			continue;
		hammer_prepare(hammers[cpu], cpu, goal, seed);
		tasks[cpu] = kthread_create(hammer_cpu, hammers[cpu], "hammer/%u", cpu);
		if (IS_ERR(tasks[cpu])) {
			result = PTR_ERR(tasks[cpu]);
			tasks[cpu] = NULL;
			goto out;
		}
		kthread_bind(tasks[cpu], cpu);
	}
out:
	for (cpu = 0; cpu < CPUS_MAX; cpu++) {
		if (!tasks[cpu])
			continue;
		if (result)
			kthread_stop(tasks[cpu]);
		else
			wake_up_process(tasks[cpu]);
	}
	for (cpu = 0; cpu < CPUS_MAX && !result; cpu++)
		if (tasks[cpu])
			result = wait_for_completion_interruptible(&hammers[cpu]->done) ? -EINTR : 0;
	if (result == -EINTR) {
		WRITE_ONCE(stop, true);
		/* The one whose wait was interrupted, and those after it. */
		for (cpu--; cpu < CPUS_MAX; cpu++)
			if (tasks[cpu])
				wait_for_completion(&hammers[cpu]->done);
	}
	return result;
}

static ssize_t run_write(struct file *file, const char __user *from, size_t length, loff_t *position)
{
	char *command = memdup_user_nul(from, length);
	unsigned long long goal, seed;
	int result = -EINVAL;

	if (IS_ERR(command))
		return PTR_ERR(command);
	mutex_lock(&lock);
	if (sscanf(command, "%llu %llu", &goal, &seed) == 2) {
		cpus_read_lock();
		result = hammer_all(goal, seed);
		cpus_read_unlock();
	}
	mutex_unlock(&lock);
	kfree(command);
	return result ?: length;
}

static const struct file_operations run_operations = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = run_write,
};

static int results_show(struct seq_file *file, void *unused)
{
	unsigned int cpu, kind, writes;

	mutex_lock(&lock);
	for_each_online_cpu(cpu) {
		const struct hammer *hammer = cpu < CPUS_MAX ? hammers[cpu] : NULL;

		if (!hammer)
			continue;
		seq_printf(file, "cpu %u accesses %llu mismatches %llu checksum 0x%016llx", cpu, hammer->accesses,
			   hammer->bench.mismatches, hammer->checksum);
		for (writes = 0; writes < 2; writes++)
			for (kind = 0; kind < WIDTHS; kind++)
				if (hammer->counts[writes][kind])
					seq_printf(file, " %c%u %llu", "RW"[writes], widths[kind], hammer->counts[writes][kind]);
		seq_putc(file, '\n');
		if (hammer->bench.mismatches)
			seq_printf(file, "first: %s\n", hammer->bench.complaint);
	}
	mutex_unlock(&lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(results);

static int page_show(struct seq_file *file, void *unused)
{
	seq_printf(file, "0x%llx\n", subject.physical);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(page);

static int entries_show(struct seq_file *file, void *unused)
{
	show_entries(file, page, span);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(entries);

static struct dentry *directory;

static void hammers_free(void)
{
	unsigned int cpu;

	for (cpu = 0; cpu < CPUS_MAX; cpu++) {
		if (hammers[cpu])
			vfree(hammers[cpu]->twins);
		kfree(hammers[cpu]);
	}
}

static int hammers_make(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu) {
		if (cpu >= CPUS_MAX)
			continue;
		hammers[cpu] = kzalloc(sizeof(*hammers[cpu]), GFP_KERNEL);
		if (!hammers[cpu])
			return -ENOMEM;
		hammers[cpu]->twins = vzalloc(PAGE_SIZE);
		if (!hammers[cpu]->twins)
			return -ENOMEM;
	}
	return 0;
}

static int __init hammer_init(void)
{
	int failed = subject_open(&subject, device);

	if (failed)
		return failed;
	failed = hammers_make();
	if (!failed) {
		page = ioremap(subject.physical, span);
		failed = page ? 0 : -ENOMEM;
	}
	if (failed) {
		hammers_free();
		subject_close(&subject);
		return failed;
	}
	directory = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_file("run", 0200, directory, NULL, &run_operations);
	debugfs_create_file("results", 0400, directory, NULL, &results_fops);
	debugfs_create_file("page", 0400, directory, NULL, &page_fops);
	debugfs_create_file("entries", 0400, directory, NULL, &entries_fops);
	return 0;
}

static void __exit hammer_exit(void)
{
	debugfs_remove(directory);
	iounmap(page);
	hammers_free();
	subject_close(&subject);
}

module_init(hammer_init);
module_exit(hammer_exit);

MODULE_DESCRIPTION("All CPUs at once on the same page of a device, with every kind of instruction");
MODULE_LICENSE("GPL");
