// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts of PCI devices: the calls of their handlers.
 *
 * Seen by the kernel's own tracepoints irq:irq_handler_entry and irq_handler_exit, which stand
 * around every call of a handler of a device. They are told the interrupt's number; whose it is,
 * the interrupt's own data say: a message (MSI, MSI-X) has a descriptor that names its device, and
 * a line is the device's while that has no messages switched on. That is asked at each interrupt.
 *
 * Rejected: numbers that user space reads from /sys/bus/pci/devices/<device>/msi_irqs, since a
 * driver that is being bound requests its vectors after the trace began, and uses them before
 * anybody can have read that file; probes on request_threaded_irq() and its variants to follow the
 * numbers, since the data are as quick to ask (a lookup in a tree, without a lock) and are never
 * out of date.
 *
 * Why this is safe where it runs: a handler is called with interrupts off, but a broken one may
 * come back with them on, so they are switched off here, which makes this a trap of this CPU like
 * others. An NMI may come in between: the ring is made for that. Other CPUs do the same meanwhile:
 * what is read is not changed but by adding devices, whose number is published last. The
 * interrupt's data, its message's descriptor and its device stay while a handler of it runs:
 * free_irq() waits for that, and all else is given back later. Nothing here locks, allocates,
 * waits, or loops over more than the devices.
 */
#define pr_fmt(fmt) "trapline: " fmt

#include <linux/compiler.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqdesc.h>
#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/msi.h>
#include <linux/pci.h>
#include <linux/printk.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include "glue.h"

/* MAX_INTERRUPT_DEVICES in crates/abi/src/interrupts.rs. */
#define DEVICES 64

/* A session's watch. Tracepoints hand it to what they call. */
struct glue_interrupts {
	/* The engine's Sink. */
	const void *sink;
	/* Devices so far; those before it are not changed any more. */
	u32 count;
	/* trapline_abi's PciFunction of each, and the device, of which a reference is held. */
	u64 functions[DEVICES];
	struct pci_dev *devices[DEVICES];
};

/* trapline_abi's Signal and its flags. */
enum { LINE, MSI, MSI_X };
enum { FIRST = 1, LAST = 2, THREAD = 4 };

static u64 notrace function_of(const struct pci_dev *device)
{
	return (u64)(u32)pci_domain_nr(device->bus) << 16 | pci_dev_id((struct pci_dev *)device);
}

/*
 * By what it is called, not by its address: a device that was unplugged and came back is another
 * object of the same name.
 */
static bool notrace has(const struct glue_interrupts *watch, u64 function)
{
	u32 i, count = smp_load_acquire(&watch->count);

	for (i = 0; i < count; i++) {
		if (watch->functions[i] == function)
			return true;
	}
	return false;
}

/* A message of a device of the watch. */
static bool notrace is_message(const struct glue_interrupts *watch, struct msi_desc *message, u32 irq, struct glue_interrupt *told)
{
	struct pci_dev *device;

	if (!message->dev || !dev_is_pci(message->dev))
		return false;
	device = to_pci_dev(message->dev);
	told->device = function_of(device);
	told->signal = message->pci.msi_attrib.is_msix ? MSI_X : MSI;
	/* A block of several messages of MSI has one descriptor. */
	told->index = message->msi_index + (irq - message->irq);
	return has(watch, told->device);
}

/*
 * Whether the device's number is Linux's: until a driver enables the device it is the firmware's,
 * which may be another device's here.
 */
static bool notrace is_routed(const struct pci_dev *device)
{
	return pci_is_enabled((struct pci_dev *)device);
}

/*
 * The line of a device of the watch. Its number is read each time, since it is given when a driver
 * enables the device. Interrupt 0 is the timer's: what a device without a line has.
 */
static bool notrace is_line(const struct glue_interrupts *watch, u32 irq, struct glue_interrupt *told)
{
	u32 i, count = smp_load_acquire(&watch->count);

	for (i = 0; i < count; i++) {
		const struct pci_dev *device = watch->devices[i];

		if (irq && is_routed(device) && READ_ONCE(device->irq) == irq && !device->msi_enabled && !device->msix_enabled) {
			told->device = watch->functions[i];
			told->signal = LINE;
			told->index = 0;
			return true;
		}
	}
	return false;
}

bool notrace glue_interrupt_of(const struct glue_interrupts *watch, u32 irq, const struct irqaction *action, struct glue_interrupt *told)
{
	struct irq_data *data = irq_get_irq_data(irq);
	struct msi_desc *message;

	if (!data)
		return false;
	message = irq_data_get_msi_desc(data);
	if (!(message ? is_message(watch, message, irq, told) : is_line(watch, irq, told)))
		return false;
	told->irq = irq;
	told->handler = (u64)(unsigned long)action->handler;
	told->flags = (READ_ONCE(irq_data_to_desc(data)->action) == action ? FIRST : 0) | (READ_ONCE(action->next) ? 0 : LAST);
	return true;
}

static void notrace on_handler_entry(void *watch, int irq, struct irqaction *action)
{
	const struct glue_interrupts *own = watch;
	struct glue_interrupt told;
	unsigned long flags;

	local_irq_save(flags);
	if (glue_interrupt_of(own, irq, action, &told))
		trapline_interrupt(own->sink, &told);
	local_irq_restore(flags);
}

static void notrace on_handler_exit(void *watch, int irq, struct irqaction *action, int result)
{
	const struct glue_interrupts *own = watch;
	struct glue_interrupt told;
	unsigned long flags;

	local_irq_save(flags);
	if (glue_interrupt_of(own, irq, action, &told))
		trapline_handled(own->sink, &told, result);
	local_irq_restore(flags);
}

/* What a thread of the kernel's calls for a handler that has one: src/sources/interrupts. */
bool notrace glue_interrupt_of_thread(const struct glue_interrupts *watch, u64 descriptor, u64 action, struct glue_interrupt *told)
{
	const struct irq_desc *desc = (const void *)(unsigned long)descriptor;
	const struct irqaction *own = (const void *)(unsigned long)action;

	if (!glue_interrupt_of(watch, desc->irq_data.irq, own, told))
		return false;
	told->handler = (u64)(unsigned long)own->thread_fn;
	told->flags |= THREAD;
	return true;
}

const void *glue_interrupts_sink(const struct glue_interrupts *watch)
{
	return watch->sink;
}

static struct tracepoint *entries, *exits;

static void find(struct tracepoint *tracepoint, void *unused)
{
	if (!strcmp(tracepoint->name, "irq_handler_entry"))
		entries = tracepoint;
	else if (!strcmp(tracepoint->name, "irq_handler_exit"))
		exits = tracepoint;
}

/* A watch of no device yet. Waits for CPU hotplug. */
int glue_interrupts_begin(const void *sink, struct glue_interrupts **begun)
{
	struct glue_interrupts *watch;
	int error;

	for_each_kernel_tracepoint(find, NULL);
	if (!entries || !exits) {
		pr_err("this kernel has no tracepoints irq_handler_entry and irq_handler_exit\n");
		return -EOPNOTSUPP;
	}
	watch = glue_kvmalloc(sizeof(*watch), __alignof__(*watch));
	if (!watch)
		return -ENOMEM;
	watch->sink = sink;
	watch->count = 0;
	/* The end first: of a handler that runs meanwhile only its end is seen, and is dropped. */
	error = tracepoint_probe_register(exits, on_handler_exit, watch);
	if (error)
		goto no_exits;
	error = tracepoint_probe_register(entries, on_handler_entry, watch);
	if (error)
		goto no_entries;
	*begun = watch;
	return 0;

no_entries:
	tracepoint_probe_unregister(exits, on_handler_exit, watch);
	tracepoint_synchronize_unregister();
no_exits:
	glue_kvfree(watch);
	return error;
}

int glue_interrupts_add(struct glue_interrupts *watch, u64 function)
{
	struct pci_dev *device;

	if (function >> 48)
		return -EINVAL;
	if (has(watch, function))
		return -EEXIST;
	if (watch->count == DEVICES)
		return -E2BIG;
	device = pci_get_domain_bus_and_slot(function >> 16, function >> 8 & 0xff, function & 0xff);
	if (!device)
		return -ENOENT;
	watch->functions[watch->count] = function;
	watch->devices[watch->count] = device;
	/* Release pairs with the acquires above: who sees the number sees the device. */
	smp_store_release(&watch->count, watch->count + 1);
	return 0;
}

/* No interrupt is seen for it any more when this returns. Waits for CPU hotplug. */
void glue_interrupts_end(struct glue_interrupts *watch)
{
	u32 i;

	tracepoint_probe_unregister(entries, on_handler_entry, watch);
	tracepoint_probe_unregister(exits, on_handler_exit, watch);
	tracepoint_synchronize_unregister();
	for (i = 0; i < watch->count; i++)
		pci_dev_put(watch->devices[i]);
	glue_kvfree(watch);
}
