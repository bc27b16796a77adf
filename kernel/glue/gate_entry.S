/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The page-fault gate of our own: what the CPU runs first in every page fault, while the gate is
 * switched in (gate.c). It calls the recorder and goes on to the kernel's entry, which finds
 * everything as the CPU left it: registers, CR2, GS, the frame, and a stack of which only memory
 * below the frame was used.
 *
 * GS. The kernel's entry tells by the frame's CS whose GS it has, and knows the few places where
 * kernel code runs with the user's (IRET, loading a selector). Those are no module's business, so
 * ours does as the kernel's entry of NMIs does (paranoid_entry): GS is read, set to this CPU's,
 * which the limit of a GDT entry tells, and put back. The write is unconditional: there is no
 * branch that a CPU could take speculatively with the wrong GS, so no fence is needed. An NMI or
 * machine check anywhere in here does the same. Rejected: SWAPGS by the frame's CS and a fence,
 * since it is wrong in those places.
 *
 * The stack. From user mode this is the CPU's entry stack, 4096 bytes with a guard page below; the
 * frame and our registers take 176 bytes, the recorder is held to what docs/soundness.md says. From
 * kernel mode it is the interrupted one. No other stack of ours: nothing in here faults, so nothing
 * here nests but NMIs, #DB and #MC, which have theirs, and page faults inside those, which are
 * interrupted kernel mode.
 *
 * What may not be touched: user memory, and anything else that may be absent. All that the recorder
 * touches (module text and data, per-CPU areas, vmalloc and direct-map memory) is in every page
 * table as long as there is no page-table isolation, under which the gate refuses to be switched
 * in.
 *
 * Interrupts are off from the CPU's exception to the old entry's beginning. AC and DF are the
 * interrupted context's until CLAC and CLD. The other registers are cleared for the recorder, as
 * the kernel's entry does, so that no user value steers its speculation.
 *
 * The way out is a direct jump, whose distance is filled in before the first CPU gets here
 * (gate.rs), through a data mapping of this page. Rejected: an indirect jump, which has to go by a
 * retpoline and needs a register; PUSH and RET, which no return predictor has a match for.
 */
#include <linux/linkage.h>
#include <linux/objtool.h>
#include <asm/asm.h>
#include <asm/segment.h>
#include <asm/smap.h>
#include <asm/unwind_hints.h>

SYM_CODE_START(trapline_gate)
	UNWIND_HINT_IRET_REGS offset=8
	ENDBR
	ASM_CLAC
	cld
	/* With the frame and the error code, a struct pt_regs. */
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%rcx
	pushq	%rax
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	UNWIND_HINT_REGS
	movq	%cr2, %rsi
	xorl	%edx, %edx
	xorl	%ecx, %ecx
	xorl	%r8d, %r8d
	xorl	%r9d, %r9d
	xorl	%r10d, %r10d
	xorl	%r11d, %r11d
	xorl	%ebp, %ebp
	xorl	%r12d, %r12d
	xorl	%r13d, %r13d
	xorl	%r14d, %r14d
	xorl	%r15d, %r15d
	rdgsbase %rbx
	/* As GET_PERCPU_BASE in arch/x86/entry/calling.h. */
	movl	$__CPUNODE_SEG, %eax
	lsl	%eax, %eax
	andl	$VDSO_CPUNODE_MASK, %eax
	movq	__per_cpu_offset(, %rax, 8), %rax
	wrgsbase %rax
	movq	%rsp, %rdi
	call	trapline_gate_seen
	wrgsbase %rbx
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rax
	popq	%rcx
	popq	%rdx
	popq	%rsi
	popq	%rdi
	UNWIND_HINT_IRET_REGS offset=8
	/* In one page, and in one word, whatever comes before. */
	.balign	8, 0x90
SYM_INNER_LABEL(trapline_gate_out, SYM_L_GLOBAL)
	ANNOTATE_NOENDBR
	/*
	 * jmp, 32 bits of distance: to the next instruction as long as nobody has filled in where.
	 */
	.byte	0xe9
	.long	0
	ud2
SYM_CODE_END(trapline_gate)
_ASM_NOKPROBE(trapline_gate)
	.section .note.GNU-stack,"",@progbits
