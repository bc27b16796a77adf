// SPDX-License-Identifier: GPL-2.0
/*
 * Pages that take their time: /proc/trapline_late can be mapped, and each first touch of a page of
 * it takes `delay` milliseconds at least.
 */
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/proc_fs.h>

static unsigned int delay = 60;
module_param(delay, uint, 0444);
MODULE_PARM_DESC(delay, "milliseconds that a page fault takes");

static vm_fault_t late_fault(struct vm_fault *fault)
{
	/*
	 * By the clock, which is what the fault is timed by. msleep() counts ticks, and where the
	 * count lags behind the clock, as on a busy virtual machine, it ends too early.
	 */
	usleep_range(delay * 1000, delay * 1000 + 1000);
	fault->page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	return fault->page ? 0 : VM_FAULT_OOM;
}

static const struct vm_operations_struct late_operations = { .fault = late_fault };

static int late_mmap(struct file *file, struct vm_area_struct *area)
{
	area->vm_ops = &late_operations;
	return 0;
}

static const struct proc_ops operations = { .proc_mmap = late_mmap };

static int __init late_init(void)
{
	return proc_create(KBUILD_MODNAME, 0444, NULL, &operations) ? 0 : -ENOMEM;
}

static void __exit late_exit(void)
{
	remove_proc_entry(KBUILD_MODNAME, NULL);
}

module_init(late_init);
module_exit(late_exit);
MODULE_DESCRIPTION("Pages that take their time");
MODULE_LICENSE("GPL");
