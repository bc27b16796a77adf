// SPDX-License-Identifier: GPL-2.0
/*
 * Lines of the kernel log, as whoever writes them does, by the kernel's own tracepoint
 * printk:console. It stands where a line is stored, not where a console shows it, which may be
 * later and in another task (kernel/printk/printk.c, printk_sprint()).
 *
 * Rejected: reading /dev/kmsg, which tells neither CPU nor task on most kernels, and whose times
 * are of another clock than the trace's.
 *
 * Why this is safe where it runs: the kernel writes its log from anywhere, an NMI and the middle of
 * a trap of ours included. Interrupts are switched off here, which makes this a trap of this CPU
 * like others; the ring is made for NMIs in between. Nothing here locks, allocates, waits or loops.
 */
#include <linux/irqflags.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include "glue.h"

static struct tracepoint *console;

static void notrace on_line(void *sink, const char *text, size_t length)
{
	unsigned long flags;

	local_irq_save(flags);
	trapline_line(sink, text, length);
	local_irq_restore(flags);
}

static void find(struct tracepoint *tracepoint, void *unused)
{
	if (!strcmp(tracepoint->name, "console"))
		console = tracepoint;
}

/* Each line is told to `sink` from here on. Waits for CPU hotplug. */
int glue_log_begin(void *sink)
{
	for_each_kernel_tracepoint(find, NULL);
	if (!console)
		return -EOPNOTSUPP;
	return tracepoint_probe_register(console, on_line, sink);
}

/* None is told any more when this returns. Waits for CPU hotplug. */
void glue_log_end(void *sink)
{
	tracepoint_probe_unregister(console, on_line, sink);
	tracepoint_synchronize_unregister();
}
