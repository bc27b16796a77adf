// SPDX-License-Identifier: GPL-2.0
/*
 * How fast a device's register can be read: maps the first page of QEMU's edu device, reads its
 * liveness register from some CPUs at once, and says in the kernel log how long that took. Loading
 * it is one measurement, so that whatever traces it can be set up before the mapping is made.
 *
 * 	insmod trapline_pace.ko threads=2 count=100000
 * 	trapline_pace: threads 2 count 100000 nanoseconds 61000000
 *
 * With fault=1 it reads the guard page behind the mapping instead, with an exception table entry:
 * what a page fault costs that goes the way of an armed page as far as fixup_exception(), and is
 * nobody's.
 */
#include <linux/completion.h>
#include <linux/io.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/uaccess.h>

#define EDU_VENDOR 0x1234
#define EDU_DEVICE 0x11e8
#define EDU_LIVENESS 0x04

static unsigned int threads = 1;
module_param(threads, uint, 0444);
MODULE_PARM_DESC(threads, "CPUs that read at once");

static unsigned int count = 100000;
module_param(count, uint, 0444);
MODULE_PARM_DESC(count, "reads by each of them");

static bool fault;
module_param(fault, bool, 0444);
MODULE_PARM_DESC(fault, "read where nothing is mapped, and go on");

static void __iomem *registers;
static atomic_t waiting;
static atomic_t running;
static DECLARE_COMPLETION(begin);
static DECLARE_COMPLETION(done);

static int reader(void *unused)
{
	unsigned int i, value;

	atomic_dec(&waiting);
	wait_for_completion(&begin);
	if (fault)
		for (i = 0; i < count; i++)
			(void)get_kernel_nofault(value, (unsigned int __force *)(registers + PAGE_SIZE));
	else
		for (i = 0; i < count; i++)
			readl(registers + EDU_LIVENESS);
	if (atomic_dec_and_test(&running))
		complete(&done);
	return 0;
}

static int measure(void)
{
	unsigned int cpu, started = 0;
	u64 start;

	for_each_online_cpu(cpu) {
		struct task_struct *task;

		if (started == threads)
			break;
		atomic_inc(&waiting);
		atomic_inc(&running);
		task = kthread_create_on_cpu(reader, NULL, cpu, "pace/%u");
		if (IS_ERR(task)) {
			atomic_dec(&waiting);
			atomic_dec(&running);
			break;
		}
		wake_up_process(task);
		started++;
	}
	while (atomic_read(&waiting))
		cond_resched();
	start = ktime_get_ns();
	complete_all(&begin);
	if (started)
		wait_for_completion(&done);
	pr_info("trapline_pace: threads %u count %u nanoseconds %llu\n", started, count, ktime_get_ns() - start);
	return started == threads ? 0 : -EINVAL;
}

static int __init pace_init(void)
{
	struct pci_dev *device = pci_get_device(EDU_VENDOR, EDU_DEVICE, NULL);
	int error;

	if (!device)
		return -ENODEV;
	error = pci_enable_device(device);
	if (!error) {
		registers = ioremap(pci_resource_start(device, 0), PAGE_SIZE);
		error = registers ? measure() : -ENOMEM;
		if (registers)
			iounmap(registers);
		pci_disable_device(device);
	}
	pci_dev_put(device);
	return error;
}

static void __exit pace_exit(void)
{
}

module_init(pace_init);
module_exit(pace_exit);
MODULE_DESCRIPTION("Measures how fast a device's register can be read");
MODULE_LICENSE("GPL");
