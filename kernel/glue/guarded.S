/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The trampoline that handlers are called through.
 *
 * It notes the stack pointer below which everything that the caller needs is saved. A handler that is abandoned ends here too: its exception returns to
 * trapline_guarded_end with that stack pointer (src/calls.rs), as if the handler had returned. The call goes through the kernel's retpoline.
 */
#include <linux/linkage.h>
#include <linux/objtool.h>
#include <asm/nospec-branch.h>

/* u64 trapline_guarded(struct glue_guard *guard, const void *function, u64 first, u64 second, u64 third); `stack` is the guard's first member. */
SYM_FUNC_START(trapline_guarded)
	pushq	%rbp
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, (%rdi)
	movq	%rsi, %rax
	movq	%rdx, %rdi
	movq	%rcx, %rsi
	movq	%r8, %rdx
	CALL_NOSPEC rax
/* Reached by an exception return too: no ENDBR. */
SYM_INNER_LABEL(trapline_guarded_end, SYM_L_GLOBAL)
	ANNOTATE_NOENDBR
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	popq	%rbp
	RET
SYM_FUNC_END(trapline_guarded)
	.section .note.GNU-stack,"",@progbits
