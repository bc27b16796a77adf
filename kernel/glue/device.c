// SPDX-License-Identifier: GPL-2.0
/* /dev/trapline: what the file operations are called with, handed to Rust (src/device.rs). */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include "glue.h"

static u64 number(struct file *file)
{
	return (u64)(unsigned long)file->private_data;
}

static int device_open(struct inode *inode, struct file *file)
{
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	file->private_data = (void *)(unsigned long)trapline_open();
	return 0;
}

static int device_release(struct inode *inode, struct file *file)
{
	trapline_release(number(file));
	return 0;
}

static long device_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	return trapline_ioctl(number(file), command, argument);
}

static int device_mmap(struct file *file, struct vm_area_struct *area)
{
	return trapline_mmap(number(file), area, (u64)area->vm_pgoff << PAGE_SHIFT, area->vm_end - area->vm_start);
}

static const struct file_operations operations = {
	/* An open file keeps the module loaded. */
	.owner = THIS_MODULE,
	.open = device_open,
	.release = device_release,
	.unlocked_ioctl = device_ioctl,
	.mmap = device_mmap,
	.llseek = noop_llseek,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "trapline",
	.fops = &operations,
	.mode = 0600,
};

int device_install(void)
{
	return misc_register(&device);
}

void device_remove(void)
{
	misc_deregister(&device);
}
