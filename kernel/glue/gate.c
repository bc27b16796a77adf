// SPDX-License-Identifier: GPL-2.0
/*
 * Switching each CPU to a table of interrupts of our own, and back (gate_entry.S, src/gate.rs).
 *
 * CPUs are switched by their own hotplug callbacks: the online ones at once, others when they come,
 * and each back before it goes offline. They run in a thread of that CPU, so that whoever was in
 * trapline_gate() there, with interrupts off, has left it when they have run.
 *
 * A table is put back whatever the CPU has by then: after this no CPU may get to our text. Who put
 * in another meanwhile is told in the log, and counted.
 */
#define pr_fmt(fmt) "trapline: " fmt

#include <linux/cpuhotplug.h>
#include <linux/irqflags.h>
#include <linux/percpu.h>
#include <linux/printk.h>
#include <linux/ptrace.h>
#include <linux/string.h>
#include <asm/cpu_entry_area.h>
#include <asm/cpufeature.h>
#include <asm/desc.h>
#include "glue.h"

static struct desc_ptr ours;
static DEFINE_PER_CPU(struct desc_ptr, before);
static enum cpuhp_state state;
/*
 * Whether the CPUs that are online are being switched: a foreign table is then a reason to give up.
 */
static bool beginning;
/* From before the first CPU is switched until after the last was switched back. */
static bool is_in;
static u32 lost;

/* Called by gate_entry.S: in the exception, before the kernel's entry. */
void trapline_gate_seen(struct pt_regs *registers, unsigned long address);
void notrace trapline_gate_seen(struct pt_regs *registers, unsigned long address)
{
	trapline_look_at(registers, registers->orig_ax, address, user_mode(registers));
}

bool glue_has_page_table_isolation(void)
{
	return boot_cpu_has(X86_FEATURE_PTI);
}

bool glue_has_fred(void)
{
#ifdef X86_FEATURE_FRED
	return cpu_feature_enabled(X86_FEATURE_FRED);
#else
	return false;
#endif
}

/*
 * Whether trapline_gate() does all that this CPU's kernel entry must do before the first return: it
 * sets GS by WRGSBASE, and does nothing against branch predictions that user mode has trained for
 * returns.
 */
bool glue_has_plain_entry(void)
{
#ifdef X86_FEATURE_CALL_DEPTH
	if (boot_cpu_has(X86_FEATURE_CALL_DEPTH))
		return false;
#endif
	return boot_cpu_has(X86_FEATURE_FSGSBASE) && !boot_cpu_has(X86_FEATURE_UNRET) && !boot_cpu_has(X86_FEATURE_ENTRY_IBPB) &&
	       !boot_cpu_has(X86_FEATURE_KERNEL_IBRS);
}

/* The kernel's own table, where all CPUs see it. */
u64 glue_kernel_idt(void)
{
	return CPU_ENTRY_AREA_RO_IDT;
}

static int gate_online(unsigned int cpu)
{
	struct desc_ptr now;
	unsigned long flags;
	bool foreign;

	local_irq_save(flags);
	store_idt(&now);
	foreign = now.address != CPU_ENTRY_AREA_RO_IDT || now.size != ours.size;
	if (!foreign) {
		__this_cpu_write(before.address, now.address);
		__this_cpu_write(before.size, now.size);
		native_load_idt(&ours);
	}
	local_irq_restore(flags);
	if (foreign && READ_ONCE(beginning)) {
		pr_err("cpu %u has a table of interrupts that is not the kernel's, at %#lx\n", cpu, now.address);
		return -EBUSY;
	}
	/* A CPU that comes later must come. */
	if (foreign)
		WRITE_ONCE(lost, lost + 1);
	return 0;
}

static int gate_offline(unsigned int cpu)
{
	struct desc_ptr now, *put_back = this_cpu_ptr(&before);
	unsigned long flags;
	bool replaced = false;

	local_irq_save(flags);
	if (put_back->address) {
		store_idt(&now);
		replaced = now.address != ours.address;
		native_load_idt(put_back);
		put_back->address = 0;
	}
	local_irq_restore(flags);
	if (replaced) {
		WRITE_ONCE(lost, lost + 1);
		pr_warn("somebody else has changed cpu %u's table of interrupts: not all page faults of it were seen\n", cpu);
	}
	return 0;
}

/*
 * KVM on Intel notes the table that it finds as it loads, and puts that in after each exit of a
 * guest, for as long as it is there. It must not note ours.
 */
bool gate_admits(const char *module)
{
	if (!READ_ONCE(is_in) || strcmp(module, "kvm_intel"))
		return true;
	pr_warn("kvm_intel can't be loaded while page faults are seen by a table of interrupts of our own\n");
	return false;
}

/*
 * Switches all CPUs, now and to come, to this table. Returns -EBUSY, and all as before, if one has
 * not the kernel's own.
 */
int glue_gate_switch(u64 table, u16 limit)
{
	int result;

	WRITE_ONCE(is_in, true);
	ours = (struct desc_ptr){ .size = limit, .address = table };
	WRITE_ONCE(lost, 0);
	WRITE_ONCE(beginning, true);
	/* What a callback says undoes those before it. */
	result = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "trapline:gate", gate_online, gate_offline);
	WRITE_ONCE(beginning, false);
	if (result < 0) {
		WRITE_ONCE(is_in, false);
		return result;
	}
	state = result;
	return 0;
}

/*
 * Returns when no CPU has our table and none is in trapline_gate(): on how many another's had been
 * put in meanwhile.
 */
u32 glue_gate_switch_back(void)
{
	cpuhp_remove_state(state);
	WRITE_ONCE(is_in, false);
	return READ_ONCE(lost);
}
