// SPDX-License-Identifier: GPL-2.0
/*
 * The end of a single step: a debug exception (#DB) with the BS bit in DR6.
 *
 * In kernel mode it comes in NMI-like context (exc_debug_kernel()), so nothing here or behind it
 * waits. Our priority is the highest, so that the in-tree kmmio, which complains about steps that
 * are not its own, is not asked about ours.
 */
#include <linux/err.h>
#include <linux/kdebug.h>
#include <linux/limits.h>
#include <linux/notifier.h>
#include <asm/debugreg.h>
#include "glue.h"

static int notrace on_die(struct notifier_block *block, unsigned long event, void *data)
{
	struct die_args *arguments = data;
	unsigned long *dr6;

	if (event != DIE_DEBUG)
		return NOTIFY_DONE;
	/*
	 * The exception's caller passes DR6 by a pointer dressed up as an error: see
	 * notify_debug().
	 */
	dr6 = (unsigned long *)ERR_PTR(arguments->err);
	if (!(*dr6 & DR_STEP) || !trapline_debug_exception(arguments->regs))
		return NOTIFY_DONE;
	*dr6 &= ~DR_STEP;
	return NOTIFY_STOP;
}

static struct notifier_block die_block = {
	.notifier_call = on_die,
	.priority = INT_MAX,
};

int step_install(void)
{
	return register_die_notifier(&die_block);
}

void step_remove(void)
{
	/* Waits for readers of the chain itself (atomic notifier: synchronize_rcu()). */
	unregister_die_notifier(&die_block);
}
