// SPDX-License-Identifier: GPL-2.0
/*
 * An access probe, or with `symbol` a code probe, where none may be: the module is not loaded, for
 * the reason that Trapline gives, unless it is registered all the same.
 *
 * 	insmod trapline_misplaced.ko where=interrupt-stack
 * 	insmod trapline_misplaced.ko address=0xffffc90000000000
 * 	insmod trapline_misplaced.ko symbol=vfs_read offset=1
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/irq_work.h>
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/sched/task_stack.h>
#include <linux/smp.h>
#include <linux/vmalloc.h>
#include <asm/cpu_entry_area.h>
#include <asm/desc.h>
#include <asm/pgtable_areas.h>
#include "trapline.h"

static char *where = "";
module_param(where, charp, 0444);
MODULE_PARM_DESC(where, "what it is, if not at an address: see find()");

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

static ulong on_idle_stack;

static void look_at_idle(void *unused)
{
	if (is_idle_task(current))
		WRITE_ONCE(on_idle_stack, (ulong)task_stack_page(current) + THREAD_SIZE / 2);
}

/* That of any CPU but the first, whose idle task the kernel was linked with. */
static ulong idle_stack(void)
{
	unsigned int cpu, tries;

	for (tries = 0; !READ_ONCE(on_idle_stack) && tries < 10000; tries++) {
		for_each_online_cpu(cpu)
			if (cpu)
				smp_call_function_single(cpu, look_at_idle, NULL, true);
		usleep_range(100, 200);
	}
	return READ_ONCE(on_idle_stack);
}

/* Memory of alloc_percpu() that is not in the area that the kernel began with. */
#define CHUNKS 1024
static void __percpu *areas[CHUNKS];

static ulong percpu_memory(void)
{
	unsigned int number;

	for (number = 0; number < CHUNKS; number++) {
		areas[number] = __alloc_percpu(PAGE_SIZE, PAGE_SIZE);
		if (areas[number] && is_vmalloc_addr(per_cpu_ptr(areas[number], 0)))
			return (ulong)per_cpu_ptr(areas[number], 0);
	}
	return 0;
}

/*
 * A second mapping of the page at an address of the direct map. Not one that code could run from,
 * to see that refused too: vmap() makes all memory not executable, whatever it is asked for.
 */
static void *again;

static ulong mapped_again(void *address)
{
	struct page *page = virt_to_page(address);

	again = vmap(&page, 1, VM_MAP, PAGE_KERNEL);
	return (ulong)again;
}

/* The entry that maps this stack. */
static ulong page_table(void)
{
	unsigned int level;

	return (ulong)lookup_address((ulong)__builtin_frame_address(0), &level);
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

/*
 * Each kind of thing that is registered already, alone and in an array; what is refused is left as
 * it is.
 */
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

/* What `where` names; 0 if there is no such thing here. `stack` is on this task's stack. */
static ulong find(const void *stack)
{
	struct desc_ptr table;
	void *freed;

	if (!strcmp(where, "text"))
		return (ulong)vfree;
	if (!strcmp(where, "module"))
		return (ulong)look;
	if (!strcmp(where, "direct-map"))
		return (ulong)__va(1 << 20);
	if (!strcmp(where, "page-table"))
		return page_table();
	if (!strcmp(where, "gdt"))
		return (ulong)get_cpu_gdt_ro(0);
	if (!strcmp(where, "idt")) {
		store_idt(&table);
		return table.address;
	}
	if (!strcmp(where, "entry-area"))
		return CPU_ENTRY_AREA_BASE;
	if (!strcmp(where, "task-stack"))
		return (ulong)stack & ~7ul;
	if (!strcmp(where, "idle-stack"))
		return idle_stack();
	if (!strcmp(where, "interrupt-stack"))
		return interrupt_stack() & ~7ul;
	if (!strcmp(where, "gdt-again"))
		return mapped_again(get_cpu_gdt_rw(0));
	if (!strcmp(where, "percpu"))
		return percpu_memory();
	if (!strcmp(where, "unmapped")) {
		/* Behind it is a guard page. */
		freed = vmalloc(PAGE_SIZE);
		vfree(freed);
		return (ulong)freed + PAGE_SIZE;
	}
	if (!strcmp(where, "nothing"))
		return VMALLOC_START;
	if (!strcmp(where, "around"))
		return -4ul;
	return 0;
}

/* Gives back what find() made. */
static void forget(void)
{
	unsigned int number;

	for (number = 0; number < CHUNKS; number++)
		free_percpu(areas[number]);
	vunmap(again);
}

static int __init misplaced_init(void)
{
	u64 local = 0;
	int error;

	if (symbol) {
		code_probe.symbol = symbol;
		code_probe.offset = offset;
		return trapline_register_code_probe(&code_probe);
	}

	if (!strcmp(where, "twice"))
		return register_twice();
	probe.start = address ?: find(&local);
	if (!strcmp(where, "nothing"))
		probe.length = 0;
	pr_info("a probe at %#llx, of %llu bytes\n", probe.start, probe.length);
	error = probe.start ? trapline_register_access_probe(&probe) : -ENODEV;
	if (error)
		forget();
	return error;
}

static void __exit misplaced_exit(void)
{
	if (symbol)
		trapline_unregister_code_probe(&code_probe);
	else
		trapline_unregister_access_probe(&probe);
	forget();
}

module_init(misplaced_init);
module_exit(misplaced_exit);
MODULE_DESCRIPTION("An access probe where none may be, for the tests");
MODULE_LICENSE("GPL");
