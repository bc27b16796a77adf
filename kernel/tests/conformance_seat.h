/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Running a few bytes of code with given registers.
 *
 * Each CPU has a seat: registers and vectors, and a slot in this module's text that holds `popf`,
 * the code and a jump to the seat's exit. No executable mapping is ever made: slots are written
 * through another mapping of their pages. The way in is a return, since no register is left for the
 * address of an indirect jump, and flags are loaded behind it because a return thunk may change
 * them.
 *
 * Each byte of a slot has an entry in the exception table that leads to the seat's exit, one
 * instruction earlier, where it is noted. So a fault that nobody deals with ends the program as the
 * kernel ends any access that may fail, and what it left in the registers can be looked at.
 */
#ifndef TRAPLINE_TESTS_CONFORMANCE_SEAT_H
#define TRAPLINE_TESTS_CONFORMANCE_SEAT_H

#include <linux/build_bug.h>
#include <linux/linkage.h>
#include <linux/mm.h>
#include <linux/objtool.h>
#include <linux/stringify.h>
#include <linux/vmalloc.h>
#include <asm/extable_fixup_types.h>
#include <asm/fpu/api.h>
#include <asm/sync_core.h>

#include "conformance.h"

#define SEAT_SIZE 1024
#define SLOT_SIZE 256
#define EXIT_SIZE 64
/* From an exit that notes an exception to the one that does not. */
#define EXIT_DONE 16

struct seat {
	/* The stack of whoever runs the program, and the program's when it ended. */
	u64 stack, stack_at_end;
	/* An exception that nobody dealt with ended it. */
	u64 stopped;
	/* Address of its slot. */
	u64 slot;
	struct pt_regs registers;
	u64 padding[3];
	u8 vectors[16][32];
	/* Page faults that no handler claimed, and the last of them. */
	u64 faults, fault_address, fault_error_code, fault_ip;
	/* A page-fault handler claimed one and ended it. */
	bool claimed;
} __aligned(SEAT_SIZE);

/* Named in the assembly below. */
struct seat trapline_conformance_seats[CONFORMANCE_CPUS];
#define seats trapline_conformance_seats

static_assert(sizeof(struct seat) == SEAT_SIZE);
static_assert(offsetof(struct seat, registers) == 32 && offsetof(struct seat, vectors) == 224);
static_assert(offsetof(struct pt_regs, flags) == 144 && sizeof(struct pt_regs) == 168);
static_assert(sizeof(u8[CONFORMANCE_CODE]) + 6 <= SLOT_SIZE);

extern const u8 trapline_conformance_slots[], trapline_conformance_exits[];
void trapline_conformance_enter(struct seat *seat);

/* Copies of vector registers, all sixteen. */
#define VECTOR_MOVES(from, to)											\
	".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\tvmovdqu " from ", " to "\n\t.endr\n\t"

/* CF, PF, AF, ZF, SF, OF and DF are a program's; the rest is the kernel's. */
#define PROGRAM_FLAGS "0xcd5"

asm(".pushsection .text\n"
    ".macro for_each_general what\n\t"
    "\\what r15, 32\n\t\\what r14, 40\n\t\\what r13, 48\n\t\\what r12, 56\n\t\\what rbp, 64\n\t\\what rbx, 72\n\t\\what r11, 80\n\t"
    "\\what r10, 88\n\t\\what r9, 96\n\t\\what r8, 104\n\t\\what rax, 112\n\t\\what rcx, 120\n\t\\what rdx, 128\n\t\\what rsi, 136\n\t"
    ".endm\n"
    ".macro load_general name, at\n\tmovq \\at(%rdi), %\\name\n\t.endm\n"
    ".macro save_general name, at\n\tmovq %\\name, \\at(%rdi)\n\t.endm\n"

    "	.balign 64\n"
    "	.globl trapline_conformance_enter\n"
    "	.type trapline_conformance_enter, @function\n"
    "trapline_conformance_enter:\n\t"
    "pushq %rbp\n\tpushq %rbx\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n\tpushq %rdi\n\t"
    "movq %rsp, (%rdi)\n\t"
    VECTOR_MOVES("224+32*\\n(%rdi)", "%ymm\\n")
    "pushfq\n\tmovq 176(%rdi), %rax\n\tandl $" PROGRAM_FLAGS ", %eax\n\tandq $~" PROGRAM_FLAGS ", (%rsp)\n\torq %rax, (%rsp)\n\t"
    "pushq 24(%rdi)\n\t"
    "for_each_general load_general\n\t"
    "movq 144(%rdi), %rdi\n\t"
    ASM_RET

    "\n	.balign 64\n"
    "trapline_conformance_exits:\n"
    /* Jumped to from the slots, and returned to from traps. */
    ANNOTATE_NOENDBR "\n"
    "	.set seat, 0\n"
    "	.rept " __stringify(CONFORMANCE_CPUS) "\n"
    "	.balign " __stringify(EXIT_SIZE) "\n\t"
    "movb $1, trapline_conformance_seats+" __stringify(SEAT_SIZE) "*seat+16(%rip)\n"
    "	.balign " __stringify(EXIT_DONE) "\n\t"
    ANNOTATE_NOENDBR "\n"
    "movq %rsp, trapline_conformance_seats+" __stringify(SEAT_SIZE) "*seat+8(%rip)\n\t"
    "movq trapline_conformance_seats+" __stringify(SEAT_SIZE) "*seat(%rip), %rsp\n\t"
    "jmp trapline_conformance_leave\n"
    "	.set seat, seat+1\n"
    "	.endr\n"

    "trapline_conformance_leave:\n\t"
    "pushfq\n\tpushq %rdi\n\tmovq 16(%rsp), %rdi\n\t"
    "for_each_general save_general\n\t"
    "popq 144(%rdi)\n\tpopq 176(%rdi)\n\tcld\n\t"
    VECTOR_MOVES("%ymm\\n", "224+32*\\n(%rdi)")
    "vzeroupper\n\t"
    "popq %rdi\n\tpopq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbx\n\tpopq %rbp\n\t"
    ASM_RET
    "\n	.size trapline_conformance_enter, . - trapline_conformance_enter\n"

    "	.balign 4096, 0xcc\n"
    "trapline_conformance_slots:\n"
    /* Reached by a return only, so no landing pad is missing. */
    ANNOTATE_NOENDBR "\n"
    "	.fill 4096, 1, 0xcc\n"
    ".popsection\n"

    ".pushsection __ex_table, \"a\"\n"
    "	.balign 4\n"
    "	.set slot, 0\n"
    "	.rept " __stringify(CONFORMANCE_CPUS) "\n"
    "	.set byte, 0\n"
    "	.rept " __stringify(CONFORMANCE_CODE) "\n"
    "	.long trapline_conformance_slots+" __stringify(SLOT_SIZE) "*slot+1+byte-.\n"
    "	.long trapline_conformance_exits+" __stringify(EXIT_SIZE) "*slot-.\n"
    "	.long " __stringify(EX_TYPE_DEFAULT) "\n"
    "	.set byte, byte+1\n"
    "	.endr\n"
    "	.set slot, slot+1\n"
    "	.endr\n"
    ".popsection\n"
    ".purgem for_each_general\n.purgem load_general\n.purgem save_general\n");
STACK_FRAME_NON_STANDARD(trapline_conformance_enter);

static_assert(CONFORMANCE_CPUS * SLOT_SIZE <= PAGE_SIZE);

/* The slots' page as data. */
static u8 *slots;

static int seats_open(void)
{
	struct page *page = vmalloc_to_page(trapline_conformance_slots);

	slots = page ? vmap(&page, 1, VM_MAP, PAGE_KERNEL) : NULL;
	return slots ? 0 : -ENOMEM;
}

static void seats_close(void)
{
	vunmap(slots);
}

/* The seat whose program `ip` is in, or NULL. */
static struct seat *seat_of(unsigned long ip)
{
	unsigned long offset = ip - (unsigned long)trapline_conformance_slots;

	return offset < CONFORMANCE_CPUS * SLOT_SIZE ? &seats[offset / SLOT_SIZE] : NULL;
}

/* Where the seat's program goes when it ends. */
static unsigned long seat_exit(const struct seat *seat)
{
	return (unsigned long)trapline_conformance_exits + EXIT_SIZE * (seat - seats) + EXIT_DONE;
}

/* Puts code into a seat's slot; on the seat's CPU. */
static void seat_take(struct seat *seat, const u8 *code, u32 length)
{
	u8 *slot = slots + SLOT_SIZE * (seat - seats);
	s32 distance;

	seat->slot = (unsigned long)trapline_conformance_slots + SLOT_SIZE * (seat - seats);
	distance = seat_exit(seat) - (seat->slot + 1 + length + 5);
	slot[0] = 0x9d;
	memcpy(slot + 1, code, length);
	slot[1 + length] = 0xe9;
	memcpy(slot + 2 + length, &distance, sizeof(distance));
	/*
	 * Changed through another address: this CPU fetches it anew after this (Intel SDM volume 3,
	 * 9.1.3).
	 */
	sync_core();
}

/* Runs what is in the seat's slot once; on the seat's CPU. */
static void seat_run(struct seat *seat)
{
	seat->stopped = false;
	seat->claimed = false;
	kernel_fpu_begin();
	trapline_conformance_enter(seat);
	kernel_fpu_end();
	seat->registers.sp = seat->stack_at_end - seat->stack;
}

#endif
