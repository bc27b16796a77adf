// SPDX-License-Identifier: GPL-2.0
/*
 * A driver for QEMU's `edu` that believes its device, for `trapline harden` to find out: each flaw
 * is of a kind that drivers have, and each is in a function of its own. It works as long as the
 * device tells the truth.
 *
 * 	modprobe trapline_flaws			all of them
 * 	modprobe trapline_flaws flaws=0		none: it checks what it reads
 *
 * Reading /dev/trapline_flaws has it do its work once.
 */
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

enum {
	FLAW_DIVISOR = 1,	/* a divisor from a register */
	FLAW_FREE = 2,		/* a double free after a failed reset */
	FLAW_POLL = 4,		/* an endless poll */
	FLAW_INDEX = 8,		/* an index from a register, used unchecked */
	FLAW_ONES = 16,		/* no check for all ones */
	FLAW_LENGTH = 32,	/* a length from a register */
};

static unsigned int flaws = 63;
module_param(flaws, uint, 0444);
MODULE_PARM_DESC(flaws, "which it has: 1 divisor, 2 double free, 4 endless poll, 8 index, 16 all ones, 32 length");

enum {
	EDU_ID = 0x00,
	EDU_LIVE = 0x04,	/* reads as what was written to it, inverted */
	EDU_FACTORIAL = 0x08,
	EDU_STATUS = 0x20,
	EDU_EVENTS = 0x24,
	EDU_RAISE = 0x60,
	EDU_ACKNOWLEDGE = 0x64,
	EDU_COUNT = 0x90,
};

#define EDU_BUSY 1
#define EDU_EVENT 1
#define BUFFER_SIZE PAGE_SIZE
#define TEST_PATTERN 0x12345678

struct unit {
	struct miscdevice misc;
	void __iomem *registers;
	void *scratch;
	u8 *buffer;
	unsigned long rate;
	unsigned long weight;
	unsigned long events;
};

static const u32 weights[32] = { [1] = 1, [2] = 2, [6] = 3, [24] = 4 };

/* What the device is: its version divides its clock. */
static noinline int unit_identify(struct unit *unit)
{
	u32 version = readl(unit->registers + EDU_ID) >> 24;

	if (!(flaws & FLAW_DIVISOR) && !version)
		return -ENODEV;
	unit->rate = 100000000 / version;
	return 0;
}

/* Whether it is alive. */
static noinline int unit_reset(struct unit *unit)
{
	writel(TEST_PATTERN, unit->registers + EDU_LIVE);
	if (readl(unit->registers + EDU_LIVE) == (u32)~TEST_PATTERN)
		return 0;
	if (flaws & FLAW_FREE)
		kfree(unit->scratch);
	return -EIO;
}

/* Waits until it has computed. */
static noinline int unit_wait(struct unit *unit)
{
	unsigned long end = jiffies + HZ / 5;

	while (readl(unit->registers + EDU_STATUS) & EDU_BUSY) {
		if (!(flaws & FLAW_POLL)) {
			if (time_after(jiffies, end))
				return -ETIMEDOUT;
			usleep_range(50, 100);
		}
		cpu_relax();
	}
	return 0;
}

/* The weight of what it has computed. */
static noinline int unit_weigh(struct unit *unit)
{
	u32 result = readl(unit->registers + EDU_FACTORIAL);

	if (!(flaws & FLAW_INDEX) && result >= ARRAY_SIZE(weights))
		return -EIO;
	unit->weight += READ_ONCE(weights[result]);
	return 0;
}

static void unit_count(struct unit *unit)
{
	unit->events++;
}

typedef void (*event_handler)(struct unit *unit);
static event_handler handlers[32] = { [0] = unit_count, [1] = unit_count, [2] = unit_count };

/* What has happened. */
static noinline int unit_events(struct unit *unit)
{
	u32 events = readl(unit->registers + EDU_EVENTS);
	unsigned int number;

	/* Nobody is there, or it is not what it was. */
	if (!(flaws & FLAW_ONES) && events == ~0u)
		return -EIO;
	for (number = 0; number < ARRAY_SIZE(handlers); number++) {
		event_handler handler = READ_ONCE(handlers[number]);

		if ((events & BIT(number)) && (handler || (flaws & FLAW_ONES)))
			handler(unit);
	}
	writel(events, unit->registers + EDU_ACKNOWLEDGE);
	return 0;
}

/* Makes room for what it says that it has. */
static noinline int unit_clear(struct unit *unit)
{
	u32 length = readl(unit->registers + EDU_COUNT);

	if (!(flaws & FLAW_LENGTH) && length > BUFFER_SIZE)
		return -EIO;
	memset(unit->buffer, 0, length);
	return 0;
}

static int unit_work(struct unit *unit)
{
	int failed;

	writel(4, unit->registers + EDU_FACTORIAL);
	failed = unit_wait(unit);
	if (!failed)
		failed = unit_weigh(unit);
	if (failed)
		return failed;
	writel(EDU_EVENT, unit->registers + EDU_RAISE);
	failed = unit_events(unit);
	if (failed)
		return failed;
	writel(64, unit->registers + EDU_COUNT);
	return unit_clear(unit);
}

static ssize_t unit_read(struct file *file, char __user *to, size_t size, loff_t *position)
{
	struct unit *unit = container_of(file->private_data, struct unit, misc);
	char text[64];
	int failed;

	if (*position)
		return 0;
	failed = unit_work(unit);
	if (failed)
		return failed;
	snprintf(text, sizeof(text), "rate %lu weight %lu events %lu\n", unit->rate, unit->weight, unit->events);
	return simple_read_from_buffer(to, size, position, text, strlen(text));
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.read = unit_read,
	.llseek = default_llseek,
};

static int unit_probe(struct pci_dev *pci, const struct pci_device_id *id)
{
	struct unit *unit = kzalloc(sizeof(*unit), GFP_KERNEL);
	int failed = -ENOMEM;

	if (!unit)
		return -ENOMEM;
	unit->scratch = kmalloc(256, GFP_KERNEL);
	unit->buffer = vzalloc(BUFFER_SIZE);
	if (!unit->scratch || !unit->buffer)
		goto free;
	failed = pci_enable_device(pci);
	if (failed)
		goto free;
	/* It raises events, and nobody serves its interrupt. */
	pci_intx(pci, 0);
	unit->registers = pci_iomap(pci, 0, 0);
	failed = -ENOMEM;
	if (!unit->registers)
		goto disable;
	failed = unit_identify(unit);
	if (failed)
		goto unmap;
	failed = unit_reset(unit);
	if (failed) {
		kfree(unit->scratch);
		unit->scratch = NULL;
		goto unmap;
	}
	unit->misc = (struct miscdevice) { .minor = MISC_DYNAMIC_MINOR, .name = "trapline_flaws", .fops = &operations };
	failed = misc_register(&unit->misc);
	if (failed)
		goto unmap;
	pci_set_drvdata(pci, unit);
	return 0;
unmap:
	pci_iounmap(pci, unit->registers);
disable:
	pci_disable_device(pci);
free:
	kfree(unit->scratch);
	vfree(unit->buffer);
	kfree(unit);
	return failed;
}

static void unit_remove(struct pci_dev *pci)
{
	struct unit *unit = pci_get_drvdata(pci);

	misc_deregister(&unit->misc);
	pci_iounmap(pci, unit->registers);
	pci_disable_device(pci);
	vfree(unit->buffer);
	kfree(unit->scratch);
	kfree(unit);
}

static const struct pci_device_id ids[] = { { PCI_DEVICE(0x1234, 0x11e8) }, {} };

static struct pci_driver flaws_driver = {
	.name = "trapline_flaws",
	.id_table = ids,
	.probe = unit_probe,
	.remove = unit_remove,
};

module_pci_driver(flaws_driver);
MODULE_DESCRIPTION("A driver with known flaws");
MODULE_LICENSE("GPL");
