/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Handlers that fault, each in one way; before that they leave a mess behind, as a handler may that
 * is stopped anywhere.
 */
#ifndef TRAPLINE_CODE_FAULTS_H
#define TRAPLINE_CODE_FAULTS_H

#include <linux/objtool.h>
#include <linux/pgtable.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/uaccess.h>
#include <asm/nospec-branch.h>
#include <asm/smap.h>
#include "trapline.h"

enum fault_kind { FAULT_NULL, FAULT_USER, FAULT_HOLE, FAULT_NON_CANONICAL, FAULT_DIVIDE, FAULT_OPCODE, FAULT_CALL, FAULT_KINDS };

static const char *const fault_names[FAULT_KINDS] = { "NULL", "user", "hole", "non-canonical", "divide", "opcode", "call of NULL" };

/*
 * Nothing is mapped there: the process's own memory, the guard hole before the direct map, no
 * address at all.
 */
static u64 fault_address(enum fault_kind kind)
{
	switch (kind) {
	case FAULT_USER:
		return 0x00007e1234567000;
	case FAULT_HOLE:
		/*
		 * The guard hole below the direct map (Documentation/x86/x86_64/mm.rst). With five
		 * levels of tables it is elsewhere: where it is with four, KASAN's shadow may lie.
		 */
		return pgtable_l5_enabled() ? 0xff00000000001000 : 0xffff800000001000;
	case FAULT_NON_CANONICAL:
		return 0x0123456789abcdef;
	default:
		return 0;
	}
}

/* objtool takes "ud2" for the end of the function. */
static noinline void raise_invalid_opcode(void)
{
	asm volatile("ud2");
}
STACK_FRAME_NON_STANDARD(raise_invalid_opcode);

/*
 * A function pointer that is not set: the CPU faults as it fetches from there, by SMEP if something
 * is there that user mode may run.
 */
static noinline void call_nowhere(void)
{
	asm volatile(ANNOTATE_RETPOLINE_SAFE "\n\tcall *%0" : : "r"(0ul) : "memory", "cc");
}

/* Reads the address by an instruction of 3 bytes, so that a fault handler can step over it. */
static noinline u64 read_at(u64 address)
{
	u64 value;

	asm volatile("movq (%%rdi), %%rax" : "=a"(value) : "D"(address) : "memory");
	return value;
}
#define READ_LENGTH 3

/*
 * With user access open (AC), as inside of copy_from_user(): the kernel then takes another way to
 * its exception table.
 */
static noinline u64 read_user_at(u64 address)
{
	u64 value;

	stac();
	asm volatile("movq (%1), %0" : "=r"(value) : "r"(address) : "memory");
	clac();
	return value;
}

static noinline void raise_fault(enum fault_kind kind)
{
	switch (kind) {
	case FAULT_DIVIDE:
		asm volatile("divl %%ecx" : : "a"(1), "d"(0), "c"(0) : "cc");
		break;
	case FAULT_OPCODE:
		raise_invalid_opcode();
		break;
	case FAULT_CALL:
		call_nowhere();
		break;
	case FAULT_USER:
		read_user_at(fault_address(kind));
		break;
	default:
		read_at(fault_address(kind));
	}
}

static noinline void mess_and_fault(enum fault_kind kind)
{
	rcu_read_lock();
	rcu_read_lock();
	migrate_disable();
	preempt_disable();
	/* As local_bh_disable(), which a debugging kernel would not like here. */
	__preempt_count_add(SOFTIRQ_DISABLE_OFFSET);
	pagefault_disable();
	asm volatile("movq $0x55, %%rbx; movq $0x77, %%r12; movq $0x88, %%r13; movq $0x99, %%r14; movq $0xaa, %%r15; std"
		     : : : "rbx", "r12", "r13", "r14", "r15", "memory");
	raise_fault(kind);
	/* Not reached, but for a fault that was fixed. */
	asm volatile("cld");
	pagefault_enable();
	__preempt_count_sub(SOFTIRQ_DISABLE_OFFSET);
	preempt_enable();
	migrate_enable();
	rcu_read_unlock();
	rcu_read_unlock();
}
/* No compiler would call anything with the direction flag set. */
STACK_FRAME_NON_STANDARD(mess_and_fault);

#endif
