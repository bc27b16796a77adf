// SPDX-License-Identifier: GPL-2.0
/*
 * Probes on trapline_target_hot() whose cost is to be measured, for as long as it is loaded.
 *
 * 	insmod trapline_burden.ko kind=empty inside=1
 *
 * kind    kprobe: the kernel's own, with an empty handler; empty: Trapline's, with an empty
 *         handler; four: four of them; faulting: one whose handler dereferences NULL
 * inside  not at its entry, but at an instruction inside of it
 */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/string.h>

#include "target.h"
#include "trapline.h"

static char *kind = "empty";
module_param(kind, charp, 0444);
MODULE_PARM_DESC(kind, "kprobe, empty, four or faulting");

static bool inside;
module_param(inside, bool, 0444);
MODULE_PARM_DESC(inside, "at an instruction inside of the function");

static int on_kprobe(struct kprobe *probe, struct pt_regs *registers)
{
	return 0;
}

static void nothing(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
}

static void fault(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	*(volatile int *)NULL;
}

static struct kprobe kprobe = { .pre_handler = on_kprobe };
static struct trapline_code_probe probes[4];
static int count;

static int __init burden_init(void)
{
	unsigned long address = inside ? trapline_target_inside : (unsigned long)trapline_target_hot;
	int error = 0;

	if (!strcmp(kind, "kprobe")) {
		kprobe.addr = (kprobe_opcode_t *)address;
		return register_kprobe(&kprobe);
	}
	while (!error && count < (strcmp(kind, "four") ? 1 : 4)) {
		probes[count].address = address;
		probes[count].pre = strcmp(kind, "faulting") ? nothing : fault;
		error = trapline_register_code_probe(&probes[count]);
		count += !error;
	}
	while (error && count)
		trapline_unregister_code_probe(&probes[--count]);
	return error;
}

static void __exit burden_exit(void)
{
	if (kprobe.addr)
		unregister_kprobe(&kprobe);
	while (count)
		trapline_unregister_code_probe(&probes[--count]);
}

module_init(burden_init);
module_exit(burden_exit);

MODULE_DESCRIPTION("Probes whose cost is to be measured");
MODULE_LICENSE("GPL");
