// SPDX-License-Identifier: GPL-2.0
/*
 * PCI devices, as a call of the kernel's about a device tells them: for src/sources/dma and
 * src/sources/lifecycle.
 *
 * Called in traps, at the beginning or the end of such a call, with interrupts off. The device is
 * the caller's, who keeps it during the call. A caller that is wrong about that shall fault in the
 * kernel's code, as it would without us: so it is read with care. Nothing here locks, allocates,
 * waits, or loops without a bound.
 */
#include <linux/device.h>
#include <linux/pci.h>
#include "glue.h"

/* From a device of no bus, or another one, up to a PCI device: as many steps are looked at. */
#define PARENTS 8

/* A number of a device has 48 bits. */
#define NO_DEVICE U64_MAX

static bool notrace get(const void *address, u64 *value)
{
	return glue_get_kernel_nofault((u64)(unsigned long)address, value);
}

static bool notrace get_byte(const void *address, u8 *value)
{
	return glue_get_kernel_byte_nofault((u64)(unsigned long)address, value);
}

/* trapline_abi's PciFunction of a device of the PCI bus, if it can be read. */
static u64 notrace number_of(const struct pci_dev *device)
{
	const struct pci_sysdata *data;
	const struct pci_bus *bus;
	u64 at, function, domain;
	u8 number;

	if (!get(&device->bus, &at) || !get(&device->devfn, &function))
		return NO_DEVICE;
	bus = (const void *)(unsigned long)at;
	if (!bus || !get(&bus->sysdata, &at) || !get_byte(&bus->number, &number))
		return NO_DEVICE;
	data = (const void *)(unsigned long)at;
	/* As pci_domain_nr() does. */
	if (!data || !get(&data->domain, &domain))
		return NO_DEVICE;
	return (u64)(u32)domain << 16 | (u64)number << 8 | (function & 0xff);
}

/*
 * The device if it is a PCI device, or its next ancestor that is one; NULL if there is none. (A
 * network card's queue, a disk or a USB device is no PCI device, and what is done for it is done
 * for the PCI device that it belongs to, or for itself.)
 */
static const struct pci_dev *notrace pci_of(u64 device)
{
	const struct device *at = (const void *)(unsigned long)device;
	u64 bus, parent;
	int i;

	for (i = 0; at && i < PARENTS; i++) {
		if (!get(&at->bus, &bus))
			return NULL;
		if (bus == (u64)(unsigned long)&pci_bus_type)
			return to_pci_dev(at);
		if (!get(&at->parent, &parent))
			return NULL;
		at = (const void *)(unsigned long)parent;
	}
	return NULL;
}

/* trapline_abi's PciFunction of the PCI device that a `struct device` is, or belongs to; U64_MAX if
 * there is none.
 */
u64 notrace glue_pci_number(u64 device)
{
	const struct pci_dev *pci = pci_of(device);

	return pci ? number_of(pci) : NO_DEVICE;
}

/* The `struct device` of a `struct pci_dev`. */
u64 notrace glue_device_of_pci(u64 pci)
{
	return (u64)(unsigned long)&((struct pci_dev *)(unsigned long)pci)->dev;
}

/* The power state of the PCI device that this is, or belongs to, as the kernel knows it. */
u32 notrace glue_pci_power(u64 device)
{
	const struct pci_dev *pci = pci_of(device);
	u8 state;

	return pci && get_byte(&pci->current_state, &state) ? state : PCI_UNKNOWN;
}

/* Where the name of the device's driver is; 0 if it has none. */
u64 notrace glue_driver_name(u64 device)
{
	const struct device *at = (const void *)(unsigned long)device;
	u64 driver, name;

	if (!get(&at->driver, &driver) || !driver)
		return 0;
	return get(&((const struct device_driver *)(unsigned long)driver)->name, &name) ? name : 0;
}

/* Whether there is such a device now. Not in traps. */
bool glue_has_pci_device(u64 function)
{
	struct pci_dev *device = pci_get_domain_bus_and_slot(function >> 16, function >> 8 & 0xff, function & 0xff);

	pci_dev_put(device);
	return device;
}
