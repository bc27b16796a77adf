// SPDX-License-Identifier: GPL-2.0
/*
 * What the conformance suite needs of a machine, for a program in user space:
 * /dev/trapline_conformance maps memory, runs a few bytes of code on given CPUs with given
 * registers, and registers probes and page-fault handlers through Trapline's C interface. Closing
 * the device undoes all of it.
 *
 * Whoever may open it can run any code in the kernel: it is for virtual machines that are thrown
 * away.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/task.h>

#include "conformance_handlers.h"
#include "conformance_region.h"

/* One running program. */
struct runner {
	struct conformance_program program;
	struct task_struct *task;
	struct completion done;
};

static struct runner *runners;
static size_t runner_count;
/* Runners that have not begun: all begin at once. */
static atomic_t waiting;
static DEFINE_MUTEX(lock);
static atomic_t is_open = ATOMIC_INIT(0);

static int run(void *data)
{
	struct runner *runner = data;
	struct conformance_program *program = &runner->program;
	struct seat *seat = &seats[program->cpu];
	u32 number;

	seat_take(seat, program->code, program->length);
	seat->faults = 0;
	atomic_dec(&waiting);
	while (atomic_read(&waiting))
		cond_resched();
	for (number = 0; number < program->repeat; number++) {
		seat->registers = program->registers;
		memcpy(seat->vectors, program->vectors, sizeof(seat->vectors));
		seat_run(seat);
		if (seat->stopped)
			break;
		cond_resched();
	}
	program->ended = seat->stopped ? 1 : seat->claimed ? 2 : 0;
	program->registers = seat->registers;
	program->registers.ip = seat->stopped ? seat->fault_ip - seat->slot - 1 : program->length;
	memcpy(program->vectors, seat->vectors, sizeof(seat->vectors));
	program->faults = seat->faults;
	program->fault_address = seat->fault_address;
	program->fault_error_code = seat->fault_error_code;
	complete(&runner->done);
	return 0;
}

/* Waits for all runners and forgets them; they keep their programs until then. */
static long finish(struct conformance_program __user *user)
{
	size_t number;
	long result = 0;

	for (number = 0; number < runner_count; number++) {
		struct runner *runner = &runners[number];

		wait_for_completion(&runner->done);
		/* It has left this module's code only when it is gone. */
		kthread_stop(runner->task);
		put_task_struct(runner->task);
		if (user && copy_to_user(user + number, &runner->program, sizeof(runner->program)))
			result = -EFAULT;
	}
	runner_count = 0;
	kvfree(runners);
	runners = NULL;
	return result;
}

static bool is_runnable(const struct conformance_program *program)
{
	return program->cpu < CONFORMANCE_CPUS && cpu_online(program->cpu) && program->length <= CONFORMANCE_CODE && program->repeat &&
	       !program->registers.sp;
}

/* Starts an array of struct conformance_program, at most one on each CPU. */
static long start(const struct conformance_array *array)
{
	const struct conformance_program __user *user = (const void __user *)(unsigned long)array->elements;
	size_t number, count = array->count;

	if (runners || count > CONFORMANCE_CPUS)
		return -EBUSY;
	runners = kvcalloc(max_t(size_t, count, 1), sizeof(*runners), GFP_KERNEL);
	if (!runners)
		return -ENOMEM;
	for (number = 0; number < count; number++) {
		struct runner *runner = &runners[number];

		init_completion(&runner->done);
		if (copy_from_user(&runner->program, user + number, sizeof(runner->program)) || !is_runnable(&runner->program))
			goto refused;
		runner->task = kthread_create(run, runner, "conformance/%u", runner->program.cpu);
		if (IS_ERR(runner->task))
			goto refused;
		get_task_struct(runner->task);
		kthread_bind(runner->task, runner->program.cpu);
	}
	atomic_set(&waiting, count);
	runner_count = count;
	for (number = 0; number < count; number++)
		wake_up_process(runners[number].task);
	return 0;

refused:
	/* None of them has run. */
	while (number--) {
		kthread_stop(runners[number].task);
		put_task_struct(runners[number].task);
	}
	kvfree(runners);
	runners = NULL;
	return -EINVAL;
}

/* An ioctl's argument. */
union argument {
	struct conformance_region region;
	struct conformance_entries entries;
	struct conformance_copy copy;
	struct conformance_array array;
	struct conformance_handler handler;
	struct conformance_hits hits;
};

static long command(unsigned int command, union argument *argument)
{
	switch (command) {
	case CONFORMANCE_MAP:
		return region_map(&argument->region);
	case CONFORMANCE_ENTRIES:
		return region_entries(&argument->entries);
	case CONFORMANCE_COPY:
		return region_copy(&argument->copy);
	case CONFORMANCE_START:
		return start(&argument->array);
	case CONFORMANCE_WAIT:
		return finish((struct conformance_program __user *)(unsigned long)argument->array.elements);
	case CONFORMANCE_PROBE:
		return probes_register(&argument->array);
	case CONFORMANCE_UNPROBE:
		return probes_unregister(&argument->array);
	case CONFORMANCE_REGISTER:
		return handler_register(&argument->handler);
	case CONFORMANCE_UNREGISTER:
		return handler_unregister(argument->handler.id);
	case CONFORMANCE_HITS:
		return hits_take(&argument->hits);
	default:
		return -ENOTTY;
	}
}

static long conformance_ioctl(struct file *file, unsigned int number, unsigned long user)
{
	union argument argument;
	size_t size = _IOC_SIZE(number);
	long result;

	if (_IOC_TYPE(number) != 'C' || size > sizeof(argument))
		return -ENOTTY;
	if (copy_from_user(&argument, (void __user *)user, size))
		return -EFAULT;
	mutex_lock(&lock);
	result = command(number, &argument);
	mutex_unlock(&lock);
	if (!result && copy_to_user((void __user *)user, &argument, size))
		return -EFAULT;
	return result;
}

static int conformance_open(struct inode *inode, struct file *file)
{
	return atomic_cmpxchg(&is_open, 0, 1) ? -EBUSY : 0;
}

static int conformance_release(struct inode *inode, struct file *file)
{
	finish(NULL);
	handlers_forget();
	regions_unmap();
	atomic_set(&is_open, 0);
	return 0;
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.open = conformance_open,
	.release = conformance_release,
	.unlocked_ioctl = conformance_ioctl,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = KBUILD_MODNAME,
	.mode = 0600,
	.fops = &operations,
};

static int __init conformance_init(void)
{
	int failed = seats_open();

	if (failed)
		return failed;
	failed = handlers_open();
	if (failed)
		goto no_handlers;
	failed = misc_register(&device);
	if (!failed)
		return 0;
	handlers_close();
no_handlers:
	seats_close();
	return failed;
}

static void __exit conformance_exit(void)
{
	misc_deregister(&device);
	handlers_close();
	seats_close();
}

module_init(conformance_init);
module_exit(conformance_exit);

MODULE_DESCRIPTION("Runs Trapline's conformance suite on this kernel");
MODULE_LICENSE("GPL");
