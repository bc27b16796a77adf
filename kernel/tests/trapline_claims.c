// SPDX-License-Identifier: GPL-2.0
/*
 * Handlers of all page faults, for the tests: each load registers one more, so that several are
 * there at once if the module is loaded by several names.
 *
 * By default it claims nothing and counts faults on [first, last], in `seen`. With `claim=1` it
 * claims those in user mode, again and again, and does nothing about them.
 */
#include <linux/atomic.h>
#include <linux/module.h>
#include <linux/ptrace.h>
#include "trapline.h"

static ulong first;
module_param(first, ulong, 0644);
MODULE_PARM_DESC(first, "first address");

static ulong last = ULONG_MAX;
module_param(last, ulong, 0644);
MODULE_PARM_DESC(last, "last address");

static bool claim;
module_param(claim, bool, 0644);
MODULE_PARM_DESC(claim, "claim what is on these addresses in user mode");

static atomic_t seen = ATOMIC_INIT(0);
module_param_named(seen, seen.counter, int, 0444);
MODULE_PARM_DESC(seen, "faults on these addresses so far");

static bool look(struct trapline_page_fault_handler *self, const struct trapline_page_fault *fault, struct pt_regs *registers)
{
	if (fault->address < READ_ONCE(first) || fault->address > READ_ONCE(last))
		return false;
	atomic_inc(&seen);
	return READ_ONCE(claim) && user_mode(registers);
}

static struct trapline_page_fault_handler handler = { .handle = look, .flags = TRAPLINE_ALL_FAULTS, .name = "trapline_claims" };

static int __init claims_init(void)
{
	return trapline_register_page_fault_handler(&handler);
}

static void __exit claims_exit(void)
{
	trapline_unregister_page_fault_handler(&handler);
	trapline_synchronize();
}

module_init(claims_init);
module_exit(claims_exit);
MODULE_DESCRIPTION("Handlers of all page faults, for the tests");
MODULE_LICENSE("GPL");
