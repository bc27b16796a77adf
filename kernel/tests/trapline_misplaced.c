// SPDX-License-Identifier: GPL-2.0
/*
 * An access probe, or with `symbol` a code probe, where none may be: the module is not loaded, for the reason that Trapline gives, unless it is registered all the same.
 *
 *	insmod trapline_misplaced.ko where=interrupt-stack
 *	insmod trapline_misplaced.ko address=0xffffc90000000000
 *	insmod trapline_misplaced.ko symbol=vfs_read offset=1
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/irq_work.h>
#include <linux/module.h>
#include <linux/vmalloc.h>
#include "trapline.h"

static char *where = "";
module_param(where, charp, 0444);
MODULE_PARM_DESC(where, "text, module, direct-map, task-stack, interrupt-stack, unmapped, nothing, around or twice, if not at an address");

static ulong address;
module_param(address, ulong, 0444);
MODULE_PARM_DESC(address, "of the first byte");

static char *symbol;
module_param(symbol, charp, 0444);
MODULE_PARM_DESC(symbol, "function of which an instruction is to be probed");

static uint offset;
module_param(offset, uint, 0444);
MODULE_PARM_DESC(offset, "of the instruction in it");

static ulong on_interrupt_stack;

static void look(struct irq_work *work)
{
	WRITE_ONCE(on_interrupt_stack, (ulong)__builtin_frame_address(0));
}

/* An interrupt's handler finds its stack. */
static ulong interrupt_stack(void)
{
	static struct irq_work work;

	init_irq_work(&work, look);
	irq_work_queue(&work);
	irq_work_sync(&work);
	return READ_ONCE(on_interrupt_stack);
}

static struct trapline_access_probe probe = { .length = 8, .flags = TRAPLINE_READS, .name = KBUILD_MODNAME };

static void on_hit(struct trapline_code_probe *self, const struct pt_regs *registers)
{
}

static struct trapline_code_probe code_probe = { .pre = on_hit, .name = KBUILD_MODNAME };

static bool on_fault(struct trapline_page_fault_handler *handler, const struct trapline_page_fault *fault, struct pt_regs *registers)
{
	return false;
}

/* Each kind of thing that is registered already, alone and in an array; what is refused is left as it is. */
static int register_twice(void)
{
	struct trapline_access_probe *both[] = { &probe, &probe };
	struct trapline_page_fault_handler handler = { .handle = on_fault };
	void *area = vmalloc(PAGE_SIZE);
	bool refused;

	if (!area)
		return -ENOMEM;
	probe.start = (ulong)area;
	refused = trapline_register_access_probes(both, 2) == -EINVAL;
	refused &= !trapline_register_access_probe(&probe) && trapline_register_access_probe(&probe) == -EINVAL;
	trapline_unregister_access_probe(&probe);
	refused &= !trapline_register_page_fault_handler(&handler) && trapline_register_page_fault_handler(&handler) == -EINVAL;
	refused &= !trapline_unregister_page_fault_handler(&handler) && trapline_unregister_page_fault_handler(&handler) == -EINVAL;
	trapline_synchronize();
	vfree(area);
	return refused ? -EINVAL : -EIO;
}

static int __init misplaced_init(void)
{
	void *freed;
	u64 local = 0;

	if (symbol) {
		code_probe.symbol = symbol;
		code_probe.offset = offset;
		return trapline_register_code_probe(&code_probe);
	}

	if (!strcmp(where, "twice"))
		return register_twice();
	if (address)
		probe.start = address;
	else if (!strcmp(where, "text"))
		probe.start = (ulong)vfree;
	else if (!strcmp(where, "module"))
		probe.start = (ulong)look;
	else if (!strcmp(where, "direct-map"))
		probe.start = (ulong)__va(1 << 20);
	else if (!strcmp(where, "task-stack"))
		probe.start = (ulong)&local;
	else if (!strcmp(where, "interrupt-stack"))
		probe.start = interrupt_stack() & ~7ul;
	else if (!strcmp(where, "unmapped")) {
		/* Behind it is a guard page. */
		freed = vmalloc(PAGE_SIZE);
		probe.start = (ulong)freed + PAGE_SIZE;
		vfree(freed);
	} else if (!strcmp(where, "nothing")) {
		probe.start = VMALLOC_START;
		probe.length = 0;
	} else if (!strcmp(where, "around"))
		probe.start = -4ul;
	pr_info("a probe at %#llx, of %llu bytes\n", probe.start, probe.length);
	return trapline_register_access_probe(&probe);
}

static void __exit misplaced_exit(void)
{
	if (symbol)
		trapline_unregister_code_probe(&code_probe);
	else
		trapline_unregister_access_probe(&probe);
}

module_init(misplaced_init);
module_exit(misplaced_exit);
MODULE_DESCRIPTION("An access probe where none may be, for the tests");
MODULE_LICENSE("GPL");
