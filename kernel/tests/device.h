/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The device that is exercised: one of QEMU's. `edu` has few registers, 4 and 8 bytes wide. `nvme`
 * with a controller memory buffer (`-device nvme,serial=1,cmb_size_mb=4`) has megabytes of them, of
 * every width, that keep what is written; nothing uses them before a driver does.
 */
#ifndef TRAPLINE_TESTS_DEVICE_H
#define TRAPLINE_TESTS_DEVICE_H

#include <linux/err.h>
#include <linux/io.h>
#include <linux/pci.h>
#include <linux/seq_file.h>

struct device_choice {
	const char *name;
	/* Vendor and device, or the class; PCI_ANY_ID for any. */
	unsigned int vendor, device, class;
	int bar;
	bool is_edu;
};

static const struct device_choice choices[] = {
	{ "edu", 0x1234, 0x11e8, PCI_ANY_ID, 0, true },
	{ "nvme", PCI_ANY_ID, PCI_ANY_ID, PCI_CLASS_STORAGE_EXPRESS, 2, false },
};

struct subject {
	const struct device_choice *choice;
	struct pci_dev *pci;
	u64 physical, length;
};

static struct pci_dev *find_pci(const struct device_choice *choice)
{
	struct pci_dev *found = NULL;

	if (choice->class != PCI_ANY_ID)
		return pci_get_class(choice->class, NULL);
	found = pci_get_device(choice->vendor, choice->device, NULL);
	return found;
}

/* Finds and enables the device of that name. */
static int subject_open(struct subject *subject, const char *name)
{
	size_t number;
	int failed;

	for (number = 0; number < ARRAY_SIZE(choices); number++)
		if (!strcmp(choices[number].name, name))
			subject->choice = &choices[number];
	if (!subject->choice) {
		pr_err("no device is called %s: edu and nvme are\n", name);
		return -EINVAL;
	}
	subject->pci = find_pci(subject->choice);
	if (!subject->pci) {
		pr_err("this machine has no %s\n", name);
		return -ENODEV;
	}
	failed = pci_enable_device(subject->pci);
	if (failed) {
		pci_dev_put(subject->pci);
		return failed;
	}
	subject->physical = pci_resource_start(subject->pci, subject->choice->bar);
	subject->length = pci_resource_len(subject->pci, subject->choice->bar);
	return 0;
}

static void subject_close(struct subject *subject)
{
	pci_disable_device(subject->pci);
	pci_dev_put(subject->pci);
}

/*
 * Prints the page-table entries of a mapping, one line for each: they must be the same before and
 * after tracing.
 */
static void __maybe_unused show_entries(struct seq_file *file, const void __iomem *mapping, u64 length)
{
	unsigned long address = (unsigned long)mapping & PAGE_MASK, end = (unsigned long)mapping + length;

	while (address < end) {
		unsigned int level;
		pte_t *entry = lookup_address(address, &level);

		if (entry)
			seq_printf(file, "0x%lx level %u 0x%016llx\n", address, level, (u64)pte_val(READ_ONCE(*entry)));
		else
			seq_printf(file, "0x%lx none\n", address);
		address = entry && level == PG_LEVEL_2M ? ALIGN_DOWN(address, PMD_SIZE) + PMD_SIZE : address + PAGE_SIZE;
	}
}

#endif
