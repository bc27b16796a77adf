// SPDX-License-Identifier: GPL-2.0
/*
 * Taking translations away from CPUs: what each keeps of the page tables in its TLB.
 *
 * Done here by the CPU's own instructions, since no kernel function does it everywhere: until 7.1
 * __flush_tlb_all() is exported, to whoever declares it himself; from 7.2 on only KVM may call it.
 * Instructions are the same on every kernel. Xen PV guests, which may not run them, are refused
 * when the module is loaded (module.c).
 */
#include <linux/smp.h>
#include <asm/cpufeature.h>
#include <asm/invpcid.h>
#include <asm/processor-flags.h>
#include <asm/special_insns.h>
#include "glue.h"

/*
 * native_write_cr4() is not exported. What it does besides, keeping the bits that the kernel has
 * pinned, is kept here too: only PGE changes, which is none of them.
 */
static void notrace write_cr4(unsigned long value)
{
	asm volatile("mov %0, %%cr4" : : "r"(value) : "memory");
}

/*
 * All that this CPU keeps, of all address spaces, global entries among them. INVLPG would not do:
 * under PTI kernel pages are not global, and it leaves what other PCIDs hold of them.
 *
 * Interrupts are off (on_each_cpu()), so between a read and a write of a control register nothing
 * else runs here that changes it: no context switch (CR3), no IPI that sets a bit of CR4. An NMI or
 * a machine check in between changes neither for good; one that runs while PGE is clear runs with
 * fewer entries kept, no more.
 *
 * Which instruction takes what away: Intel SDM vol. 3, 4.10.4.1; AMD APM vol. 2, 5.5.3.
 */
static void notrace flush_this_cpu(void *unused)
{
	unsigned long cr4;

	/*
	 * One instruction for all PCIDs and global entries, whether CR4.PCIDE is set or not. The
	 * kernel's own question: the bit is clear where the CPU lacks it on any CPU, or a person
	 * said noinvpcid.
	 */
	if (boot_cpu_has(X86_FEATURE_INVPCID)) {
		invpcid_flush_all();
		return;
	}
	/*
	 * A write that changes CR4.PGE takes everything away, of all PCIDs. It is as it was at the
	 * end, so the kernel's copy of CR4 (cpu_tlbstate.cr4) stays true.
	 */
	cr4 = native_read_cr4();
	if (cr4 & X86_CR4_PGE) {
		write_cr4(cr4 & ~X86_CR4_PGE);
		write_cr4(cr4);
		return;
	}
	/*
	 * No global entries, and then no PCIDs either: the kernel uses them only with PGE
	 * (setup_pcid()). So writing CR3 leaves nothing.
	 */
	native_write_cr3(__native_read_cr3());
}

void glue_flush_tlb_all_cpus(void)
{
	on_each_cpu(flush_this_cpu, NULL, 1);
}
