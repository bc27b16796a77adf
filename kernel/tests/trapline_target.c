// SPDX-License-Identifier: GPL-2.0
/*
 * Functions to probe, whose arguments, results and number of calls are known.
 *
 * /sys/kernel/debug/trapline_target/
 *   run     write "COUNT": calls all functions COUNT times, from the writer, on its CPU; 0: until
 *           it gets a signal. Fails if a result was wrong
 *   time    write "COUNT": calls trapline_target_hot() COUNT times without a pause; reads as the
 *           nanoseconds that took
 *   calls   "hot N row M": how often trapline_target_hot(), and each of the others, was called
 *           since the module was loaded
 *   places  addresses: of trapline_target_hot(), of an instruction inside of it that has room for a
 *           jump, of trapline_target_place, and of the first instruction of each row
 *   text    the code, byte for byte
 *   refuse  write "N": Trapline's own allocations for the writer's process are granted N times and
 *           refused after that, until the file is closed
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/compiler.h>
#include <linux/debugfs.h>
#include <linux/kprobes.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/objtool.h>
#include <linux/percpu.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include "target.h"

/*
 * What trapline_target_hot() adds to its first argument: so much that the instruction that does it
 * is seven bytes long.
 */
#define ADDED 0x100
/* Bytes of trapline_target_hot() that `text` shows. */
#define HOT_BYTES 32
/* Instructions of a row, and bytes of each. */
#define ROW_LENGTH 64
#define INSTRUCTION 4
/* Calls between two looks at whether to stop. */
#define BURST 64
/* And between two naps. */
#define NAP (64 * BURST)

const struct trapline_target_place trapline_target_place = {
	.value = 0x1122334455667788,
	.text = "the quick brown fox",
};

noinline __noclone u64 trapline_target_hot(u64 number, const struct trapline_target_place *place, const char *text)
{
	asm volatile("1: " ANNOTATE_NOENDBR "\n\tlea %c1(%0), %0\n"
		     ".pushsection .rodata\n"
		     ".balign 8\n"
		     ".globl trapline_target_inside\n"
		     "trapline_target_inside: .quad 1b\n"
		     ".popsection\n"
		     : "+D"(number)
		     : "i"(ADDED), "S"(place), "d"(text));
	return number ^ READ_ONCE(place->value);
}
EXPORT_SYMBOL_GPL(trapline_target_hot);
EXPORT_SYMBOL_GPL(trapline_target_inside);

/*
 * Functions without a place for ftrace, of a row of instructions each, of four bytes, each of which
 * adds one. Many functions, since the kernel decodes one from its start for each probe.
 */
#define ROW(number)                                                                                 \
	static noinline notrace u64 row_##number(u64 sum)                                         \
	{                                                                                           \
		asm volatile(".rept %c1\nlea 1(%0), %0\n.endr" : "+D"(sum) : "i"(ROW_LENGTH)); \
		return sum;                                                                         \
	}
#define EIGHT(each, tens) each(tens##0) each(tens##1) each(tens##2) each(tens##3) each(tens##4) each(tens##5) each(tens##6) each(tens##7)
#define ALL(each) EIGHT(each, 0) EIGHT(each, 1) EIGHT(each, 2) EIGHT(each, 3)

ALL(ROW)

#define NAME(number) row_##number,
static u64 (*const rows[])(u64) = { ALL(NAME) };

/* The first instruction of a row, which is the function's first as well, but for a landing pad. */
static const u8 *first_of(u64 (*function)(u64))
{
	static const u8 instruction[] = { 0x48, 0x8d, 0x7f, 0x01 };
	const u8 *code = (const u8 *)function;
	int i;

	for (i = 0; i < 32; i++)
		if (!memcmp(code + i, instruction, sizeof(instruction)))
			return code + i;
	return NULL;
}

static DEFINE_PER_CPU(u64, hot_calls);
static DEFINE_PER_CPU(u64, row_calls);

/* Calls each once; returns whether both gave what they must. */
static bool call(u64 first)
{
	const struct trapline_target_place *place = &trapline_target_place;
	bool right = trapline_target_hot(first, place, place->text) == ((first + ADDED) ^ place->value);
	u64 number = first;
	size_t i;

	this_cpu_inc(hot_calls);
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		number = rows[i](number);
	right &= number == first + ARRAY_SIZE(rows) * ROW_LENGTH;
	this_cpu_inc(row_calls);
	return right;
}

static ssize_t run_write(struct file *file, const char __user *from, size_t length, loff_t *position)
{
	u64 count, i;
	int error = kstrtoull_from_user(from, length, 0, &count);

	if (error)
		return error;
	for (i = 0; i < count || !count; i++) {
		if (!call(i)) {
			pr_err("a function gave a wrong result\n");
			return -EIO;
		}
		if (i % BURST)
			continue;
		if (signal_pending(current))
			return -EINTR;
		/*
		 * Sleeps now and then: the kernel's kprobes wait, with their lock held, for each
		 * task to do so.
		 */
		if (i % NAP)
			cond_resched();
		else
			schedule_timeout_interruptible(1);
	}
	return length;
}

static const struct file_operations run_operations = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = run_write,
};

static u64 took;

static ssize_t time_write(struct file *file, const char __user *from, size_t length, loff_t *position)
{
	const struct trapline_target_place *place = &trapline_target_place;
	u64 count, i, start;
	int error = kstrtoull_from_user(from, length, 0, &count);

	if (error)
		return error;
	start = ktime_get_ns();
	for (i = 0; i < count; i++)
		trapline_target_hot(i, place, place->text);
	took = ktime_get_ns() - start;
	return length;
}

static int time_show(struct seq_file *file, void *unused)
{
	seq_printf(file, "%llu\n", took);
	return 0;
}

static int time_open(struct inode *inode, struct file *file)
{
	return single_open(file, time_show, NULL);
}

static const struct file_operations time_operations = {
	.owner = THIS_MODULE,
	.open = time_open,
	.read = seq_read,
	.write = time_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static int calls_show(struct seq_file *file, void *unused)
{
	u64 hot = 0, row = 0;
	unsigned int cpu;

	for_each_possible_cpu(cpu) {
		hot += READ_ONCE(per_cpu(hot_calls, cpu));
		row += READ_ONCE(per_cpu(row_calls, cpu));
	}
	seq_printf(file, "hot %llu row %llu\n", hot, row);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(calls);

static int places_show(struct seq_file *file, void *unused)
{
	size_t i;

	seq_printf(file, "0x%lx 0x%llx 0x%lx", (unsigned long)trapline_target_hot, trapline_target_inside,
		   (unsigned long)&trapline_target_place);
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		seq_printf(file, " 0x%lx", (unsigned long)first_of(rows[i]));
	seq_putc(file, '\n');
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(places);

static void show_bytes(struct seq_file *file, const void *from, size_t length)
{
	size_t at;

	/*
	 * Else the compiler computes addresses inside of functions, which objtool takes for places
	 * to jump to.
	 */
	OPTIMIZER_HIDE_VAR(from);
	for (at = 0; at < length; at += 16)
		seq_printf(file, "%16ph\n", from + at);
}

static int text_show(struct seq_file *file, void *unused)
{
	size_t i;

	show_bytes(file, trapline_target_hot, HOT_BYTES);
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		show_bytes(file, first_of(rows[i]), ROW_LENGTH * INSTRUCTION);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(text);

static DEFINE_MUTEX(refusing);
static pid_t refused;
static atomic_t granted;

/*
 * glue_kvmalloc() of trapline.ko is about to be called: with an instruction pointer of ours it is
 * not, and its caller gets NULL.
 */
static int on_allocation(struct kprobe *kprobe, struct pt_regs *registers)
{
	if (current->tgid != READ_ONCE(refused) || atomic_dec_return(&granted) >= 0)
		return 0;
	registers->ax = 0;
	registers->ip = *(unsigned long *)registers->sp;
	registers->sp += sizeof(unsigned long);
	return 1;
}

/* Only there so that the kernel does not use a jump, which could not be answered so. */
static void after_allocation(struct kprobe *kprobe, struct pt_regs *registers, unsigned long unused)
{
}

static struct kprobe allocation;

static ssize_t refuse_write(struct file *file, const char __user *from, size_t length, loff_t *position)
{
	int count, error = kstrtoint_from_user(from, length, 0, &count);

	if (error)
		return error;
	mutex_lock(&refusing);
	if (!file->private_data) {
		error = refused ? -EBUSY : 0;
		if (!error) {
			memset(&allocation, 0, sizeof(allocation));
			allocation.symbol_name = "glue_kvmalloc";
			allocation.pre_handler = on_allocation;
			allocation.post_handler = after_allocation;
			error = register_kprobe(&allocation);
		}
		if (!error)
			file->private_data = &allocation;
	}
	if (!error) {
		atomic_set(&granted, count);
		WRITE_ONCE(refused, current->tgid);
	}
	mutex_unlock(&refusing);
	return error ?: length;
}

static int refuse_release(struct inode *inode, struct file *file)
{
	mutex_lock(&refusing);
	if (file->private_data) {
		WRITE_ONCE(refused, 0);
		unregister_kprobe(&allocation);
	}
	mutex_unlock(&refusing);
	return 0;
}

static int refuse_open(struct inode *inode, struct file *file)
{
	file->private_data = NULL;
	return 0;
}

static const struct file_operations refuse_operations = {
	.owner = THIS_MODULE,
	.open = refuse_open,
	.write = refuse_write,
	.release = refuse_release,
};

static struct dentry *directory;

static int __init target_init(void)
{
	directory = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_file("run", 0200, directory, NULL, &run_operations);
	debugfs_create_file("time", 0600, directory, NULL, &time_operations);
	debugfs_create_file("calls", 0400, directory, NULL, &calls_fops);
	debugfs_create_file("places", 0400, directory, NULL, &places_fops);
	debugfs_create_file("text", 0400, directory, NULL, &text_fops);
	debugfs_create_file("refuse", 0200, directory, NULL, &refuse_operations);
	return 0;
}

static void __exit target_exit(void)
{
	debugfs_remove(directory);
}

module_init(target_init);
module_exit(target_exit);

MODULE_DESCRIPTION("Functions to probe, whose arguments, results and number of calls are known");
MODULE_LICENSE("GPL");
