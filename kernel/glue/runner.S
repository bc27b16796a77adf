/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Running a copy of an instruction with an interrupted context's registers, and the slots that such
 * copies live in.
 *
 * The slots are part of this module's text, so no executable mapping is ever made; they are written
 * through a data mapping of the same pages, by their own CPU alone (src/slots.rs). A slot is: popf;
 * the copy; jmp trapline_slot_done. The jump is direct. The way in is a return, through the
 * kernel's return thunk, since after it no register is left for the address of an indirect jump;
 * flags are loaded behind it because the thunk may change them (call depth tracking counts by a
 * shift).
 *
 * A fault in a slot is sent to trapline_slot_fault by the fault hook: the stack is then as it is at
 * trapline_slot_done.
 */
#include <linux/linkage.h>
#include <linux/objtool.h>
#include <asm/ptrace-abi.h>

/* CF, PF, AF, ZF, SF and OF. */
#define ARITHMETIC_FLAGS 0x8d5

/*
 * u32 trapline_run_slot(struct pt_regs *registers, const u8 *slot): 1 if the copy ran, 0 if it
 * faulted.
 */
SYM_FUNC_START(trapline_run_slot)
	pushq	%rbp
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	pushq	%rdi
	pushfq
	movq	EFLAGS(%rdi), %rax
	andl	$ARITHMETIC_FLAGS, %eax
	andq	$~ARITHMETIC_FLAGS, (%rsp)
	orq	%rax, (%rsp)
	pushq	%rsi
	movq	R15(%rdi), %r15
	movq	R14(%rdi), %r14
	movq	R13(%rdi), %r13
	movq	R12(%rdi), %r12
	movq	RBP(%rdi), %rbp
	movq	RBX(%rdi), %rbx
	movq	R11(%rdi), %r11
	movq	R10(%rdi), %r10
	movq	R9(%rdi), %r9
	movq	R8(%rdi), %r8
	movq	RAX(%rdi), %rax
	movq	RCX(%rdi), %rcx
	movq	RDX(%rdi), %rdx
	movq	RSI(%rdi), %rsi
	movq	RDI(%rdi), %rdi
	RET

/* Reached by direct jumps and by exception returns: no ENDBR. */
SYM_INNER_LABEL(trapline_slot_done, SYM_L_GLOBAL)
	ANNOTATE_NOENDBR
	pushfq
	pushq	%rdi
	movq	16(%rsp), %rdi
	movq	%r15, R15(%rdi)
	movq	%r14, R14(%rdi)
	movq	%r13, R13(%rdi)
	movq	%r12, R12(%rdi)
	movq	%rbp, RBP(%rdi)
	movq	%rbx, RBX(%rdi)
	movq	%r11, R11(%rdi)
	movq	%r10, R10(%rdi)
	movq	%r9, R9(%rdi)
	movq	%r8, R8(%rdi)
	movq	%rax, RAX(%rdi)
	movq	%rcx, RCX(%rdi)
	movq	%rdx, RDX(%rdi)
	movq	%rsi, RSI(%rdi)
	popq	RDI(%rdi)
	popq	%rax
	andl	$ARITHMETIC_FLAGS, %eax
	andq	$~ARITHMETIC_FLAGS, EFLAGS(%rdi)
	orq	%rax, EFLAGS(%rdi)
	movl	$1, %eax
	jmp	.Lleave

SYM_INNER_LABEL(trapline_slot_fault, SYM_L_GLOBAL)
	ANNOTATE_NOENDBR
	xorl	%eax, %eax

.Lleave:
	popq	%rdi
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	popq	%rbp
	RET
SYM_FUNC_END(trapline_run_slot)
STACK_FRAME_NON_STANDARD trapline_run_slot

/* On pages of their own, one cache line for each CPU and level: CPUS and LEVELS of src/slots.rs. */
	.balign	4096, 0xcc
SYM_CODE_START_NOALIGN(trapline_slots)
	ANNOTATE_NOENDBR
	.fill	256 * 4 * 64, 1, 0xcc
SYM_CODE_END(trapline_slots)
	.balign	4096, 0xcc

	.section .rodata
SYM_DATA(trapline_slots_size, .quad 256 * 4 * 64)
	.section .note.GNU-stack,"",@progbits
