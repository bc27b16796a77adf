/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One instruction, run between a known state of the registers and the state that it leaves.
 *
 * Registers with a fixed meaning: rbx is the operand's address, r8 is that less 0x40 and r9 is 4,
 * for operands with base, index and displacement; r10 is the address less the base of gs; rsi and
 * rdi are string operands where a form says so. The rest holds data.
 */
#ifndef TRAPLINE_TESTS_STATE_H
#define TRAPLINE_TESTS_STATE_H

#include <linux/stddef.h>
#include <linux/stringify.h>
#include <linux/types.h>

#define VECTORS 4
#define VECTOR_BYTES 32

struct state {
	u64 rax, rcx, rdx, rbx, rsi, rdi, r8, r9, r10;
	u64 flags;
	/* What an x87 or MMX form loads or leaves. */
	u8 x87[16];
	u8 vectors[VECTORS][VECTOR_BYTES];
};

/* The flags that an instruction may change: CF, PF, AF, ZF, SF, OF. */
#define CF 0x001
#define PF 0x004
#define AF 0x010
#define ZF 0x040
#define SF 0x080
#define OF 0x800
#define DF 0x400
#define ARITHMETIC (CF | PF | AF | ZF | SF | OF)

/* Beside an operand's name: where it lies in struct state. */
#define AT(field) [field] "i"(offsetof(struct state, field))

/*
 * A function that loads the registers from its argument, runs `text`, and stores them there. The
 * direction flag is cleared for the compiler's code; not by `cld`, since objtool, which saw no
 * `std`, takes that for a mistake. `text` may use %c[x87](%%r15).
 */
#define RUN_FUNCTION(name, load, text, save)								\
	static noinline void name(struct state *state)							\
	{												\
		register struct state *here asm("r15") = state;						\
													\
		asm volatile(load									\
			     "movq %c[rax](%%r15), %%rax\n\tmovq %c[rcx](%%r15), %%rcx\n\t"		\
			     "movq %c[rdx](%%r15), %%rdx\n\tmovq %c[rbx](%%r15), %%rbx\n\t"		\
			     "movq %c[rsi](%%r15), %%rsi\n\tmovq %c[rdi](%%r15), %%rdi\n\t"		\
			     "movq %c[r8](%%r15), %%r8\n\tmovq %c[r9](%%r15), %%r9\n\t"			\
			     "movq %c[r10](%%r15), %%r10\n\t"						\
			     "pushq %c[flags](%%r15)\n\tpopfq\n\t"					\
			     text "\n\t"								\
			     "pushfq\n\tpopq %c[flags](%%r15)\n\t"					\
			     "pushfq\n\tandq $~" __stringify(DF) ", (%%rsp)\n\tpopfq\n\t"		\
			     "movq %%rax, %c[rax](%%r15)\n\tmovq %%rcx, %c[rcx](%%r15)\n\t"		\
			     "movq %%rdx, %c[rdx](%%r15)\n\tmovq %%rbx, %c[rbx](%%r15)\n\t"		\
			     "movq %%rsi, %c[rsi](%%r15)\n\tmovq %%rdi, %c[rdi](%%r15)\n\t"		\
			     "movq %%r8, %c[r8](%%r15)\n\tmovq %%r9, %c[r9](%%r15)\n\t"			\
			     "movq %%r10, %c[r10](%%r15)\n\t"						\
			     save									\
			     : "+r"(here), ASM_CALL_CONSTRAINT						\
			     : AT(rax), AT(rcx), AT(rdx), AT(rbx), AT(rsi), AT(rdi), AT(r8), AT(r9),	\
			       AT(r10), AT(flags), AT(x87), AT(vectors)					\
			     : "rax", "rcx", "rdx", "rbx", "rsi", "rdi", "r8", "r9", "r10", "cc", "memory");	\
	}

/* Between kernel_fpu_begin and kernel_fpu_end only. */
#define LOAD_VECTORS											\
	"fninit\n\t"											\
	"vmovdqu %c[vectors](%%r15), %%ymm0\n\tvmovdqu %c[vectors]+32(%%r15), %%ymm1\n\t"		\
	"vmovdqu %c[vectors]+64(%%r15), %%ymm2\n\tvmovdqu %c[vectors]+96(%%r15), %%ymm3\n\t"
#define SAVE_VECTORS											\
	"vmovdqu %%ymm0, %c[vectors](%%r15)\n\tvmovdqu %%ymm1, %c[vectors]+32(%%r15)\n\t"		\
	"vmovdqu %%ymm2, %c[vectors]+64(%%r15)\n\tvmovdqu %%ymm3, %c[vectors]+96(%%r15)\n\t"		\
	"vzeroupper\n\t"

#endif
