// SPDX-License-Identifier: GPL-2.0
/*
 * Configuration space of PCI devices: whether the kernel reaches a device's by the functions that
 * are followed (src/sources/config).
 *
 * On x86 a bus's operations are pci_read() and pci_write() (arch/x86/pci/common.c), which come to
 * those functions, as does what ACPI's code and the kernel's own quirks access. A bus that has
 * other operations (that of a bridge of Intel's VMD, of a Hyper-V guest) has ways of its own to its
 * devices.
 */
#include <linux/pci.h>
#include "glue.h"

/* 0; -ENOENT if there is no such device, -EOPNOTSUPP if it is reached in another way. */
int glue_config_space(u64 function)
{
	struct pci_dev *device;
	const struct pci_ops *operations;
	bool followed;

	if (function >> 48)
		return -EINVAL;
	device = pci_get_domain_bus_and_slot(function >> 16, function >> 8 & 0xff, function & 0xff);
	if (!device)
		return -ENOENT;
	operations = device->bus->ops;
	followed = glue_is_in_function((u64)(unsigned long)operations->read, "pci_read") &&
		   glue_is_in_function((u64)(unsigned long)operations->write, "pci_write");
	pci_dev_put(device);
	return followed ? 0 : -EOPNOTSUPP;
}
