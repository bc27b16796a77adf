// SPDX-License-Identifier: GPL-2.0
/*
 * Configuration space of PCI devices: accesses of our own, by which is seen whether the kernel
 * reaches a device's by the functions that are followed (src/sources/config).
 *
 * On x86 most buses have pci_read() and pci_write() (arch/x86/pci/common.c), which come to those
 * functions. A bus may have other ways to its devices (that of a bridge of Intel's VMD, of a
 * Hyper-V guest), and so may a machine (its firmware's, NumaChip's). Rejected: asking what the
 * bus's functions are called, which tells nothing of the machine.
 */
#include <linux/pci.h>
#include <linux/pm_runtime.h>
#include "glue.h"

/*
 * Reads what every device has, and what has extended configuration space has there: returns how
 * many accesses that were. -ENOENT if there is no such device. Whatever the device answers will do:
 * one that is asleep reads as ones.
 */
int glue_config_touch(u64 function)
{
	struct pci_dev *device;
	struct device *bridge;
	u32 value;
	int touched = 1;

	if (function >> 48)
		return -EINVAL;
	device = pci_get_domain_bus_and_slot(function >> 16, function >> 8 & 0xff, function & 0xff);
	if (!device)
		return -ENOENT;
	/*
	 * As for a program that reads (drivers/pci/pci-sysfs.c): the bridge is awake, and a reset
	 * that is under way is waited for.
	 */
	bridge = device->dev.parent;
	if (bridge)
		pm_runtime_get_sync(bridge);
	pci_user_read_config_dword(device, PCI_VENDOR_ID, &value);
	if (device->cfg_size > PCI_CFG_SPACE_SIZE) {
		pci_user_read_config_dword(device, PCI_CFG_SPACE_SIZE, &value);
		touched++;
	}
	if (bridge)
		pm_runtime_put(bridge);
	pci_dev_put(device);
	return touched;
}
