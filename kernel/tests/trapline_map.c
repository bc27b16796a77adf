// SPDX-License-Identifier: GPL-2.0
/*
 * Maps a whole BAR of a device for as long as it is loaded, and reads its first register once: a
 * driver that needs no device of its own.
 *
 * 	insmod trapline_map.ko device=0000:00:04.0 bar=2
 */
#include <linux/io.h>
#include <linux/module.h>
#include <linux/pci.h>

static char *device = "";
module_param(device, charp, 0444);
MODULE_PARM_DESC(device, "its PCI address: 0000:00:04.0");

static int bar;
module_param(bar, int, 0444);
MODULE_PARM_DESC(bar, "number of the BAR");

static struct pci_dev *pci;
static void __iomem *registers;

static int __init map_init(void)
{
	unsigned int domain, bus, slot, function;

	if (sscanf(device, "%x:%x:%x.%u", &domain, &bus, &slot, &function) != 4 || bar < 0 || bar >= PCI_STD_NUM_BARS)
		return -EINVAL;
	pci = pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, function));
	if (!pci)
		return -ENODEV;
	if (!pci_enable_device(pci)) {
		registers = ioremap(pci_resource_start(pci, bar), pci_resource_len(pci, bar));
		if (registers) {
			readl(registers);
			return 0;
		}
		pci_disable_device(pci);
	}
	pci_dev_put(pci);
	return -ENOMEM;
}

static void __exit map_exit(void)
{
	iounmap(registers);
	pci_disable_device(pci);
	pci_dev_put(pci);
}

module_init(map_init);
module_exit(map_exit);
MODULE_DESCRIPTION("Maps a BAR of a device");
MODULE_LICENSE("GPL");
