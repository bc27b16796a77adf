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
#include "glue.h"

/*
 * Reads what every device has, and what has extended configuration space has there: returns how
 * many accesses that were. -ENOENT if there is no such device. Whatever the device answers will do:
 * one that is asleep reads as ones.
 */
int glue_config_touch(u64 function)
{
	struct pci_dev *device;
	u32 value;
	int touched = 1;

	if (function >> 48)
		return -EINVAL;
	device = pci_get_domain_bus_and_slot(function >> 16, function >> 8 & 0xff, function & 0xff);
	if (!device)
		return -ENOENT;
	pci_bus_read_config_dword(device->bus, device->devfn, PCI_VENDOR_ID, &value);
	if (device->cfg_size > PCI_CFG_SPACE_SIZE) {
		pci_bus_read_config_dword(device->bus, device->devfn, PCI_CFG_SPACE_SIZE, &value);
		touched++;
	}
	pci_dev_put(device);
	return touched;
}
