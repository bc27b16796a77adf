// SPDX-License-Identifier: GPL-2.0
/*
 * A driver that maps its device anew whenever a CPU comes or goes: in its CPU hotplug callbacks, as
 * drivers do that keep something for each CPU. Each callback writes a register, reads it back and
 * unmaps it again.
 *
 * 	insmod trapline_hotplug.ko device=nvme
 */
#define pr_fmt(fmt) "trapline_hotplug: " fmt

#include <linux/cpuhotplug.h>
#include <linux/io.h>
#include <linux/module.h>

#include "device.h"

static char *device = "nvme";
module_param(device, charp, 0444);
MODULE_PARM_DESC(device, "the device: nvme");

/* Changed by callbacks, of which there is one at a time. */
static unsigned int callbacks, mismatches;
module_param(callbacks, uint, 0444);
MODULE_PARM_DESC(callbacks, "callbacks so far; each writes a register once and reads it once");
module_param(mismatches, uint, 0444);
MODULE_PARM_DESC(mismatches, "values read that were not those written");

static struct subject subject;
static enum cpuhp_state state;

static int touch(unsigned int cpu)
{
	void __iomem *registers = ioremap(subject.physical, PAGE_SIZE);
	u32 value = callbacks + 1;

	if (!registers)
		return -ENOMEM;
	writel(value, registers);
	if (readl(registers) != value)
		WRITE_ONCE(mismatches, mismatches + 1);
	iounmap(registers);
	WRITE_ONCE(callbacks, value);
	return 0;
}

static int __init hotplug_init(void)
{
	int error = subject_open(&subject, device);

	if (error)
		return error;
	/* Touches it for each CPU that is online. */
	error = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "trapline:hotplug", touch, touch);
	if (error < 0) {
		subject_close(&subject);
		return error;
	}
	state = error;
	return 0;
}

static void __exit hotplug_exit(void)
{
	cpuhp_remove_state(state);
	subject_close(&subject);
}

module_init(hotplug_init);
module_exit(hotplug_exit);
MODULE_DESCRIPTION("Maps a device in its CPU hotplug callbacks");
MODULE_LICENSE("GPL");
