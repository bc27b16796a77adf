/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What fixup_exception() becomes for a fault of ours, and kmmio_handler(). C takes their addresses,
 * so they are SYM_TYPED_FUNC_START: from 6.15 on SYM_FUNC_START has no landing pad for IBT.
 */
#include <linux/cfi_types.h>
#include <linux/linkage.h>
#include <linux/objtool.h>

/* Dealt with: it returns true. page_fault_oops(), which returns nothing, becomes this as well. */

SYM_TYPED_FUNC_START(trapline_resume)
	movl	$1, %eax
	RET
SYM_FUNC_END(trapline_resume)

/* Not dealt with: kmmio_handler() returns 0. */
SYM_TYPED_FUNC_START(trapline_decline)
	xorl	%eax, %eax
	RET
SYM_FUNC_END(trapline_decline)

/*
 * A handler's, and its probe has no remedy: fixup_exception() runs, since the handler may have used
 * a function that is made to fault (copy_from_kernel_nofault()), and if it finds nothing the
 * handler is abandoned. It is entered behind its traced call, so that the hook is not called for it
 * again, and by a return, since kernels with IBT let nobody enter there, or at a function's
 * beginning that they sealed, by an indirect call.
 */
SYM_TYPED_FUNC_START(trapline_fixup_or_abandon)
	pushq	%rdi
	call	.Lfixup_exception
	popq	%rdi
	testb	%al, %al
	je	trapline_abandon
	RET
.Lfixup_exception:
	pushq	trapline_fixup_exception(%rip)
	RET
SYM_FUNC_END(trapline_fixup_or_abandon)
STACK_FRAME_NON_STANDARD trapline_fixup_or_abandon
	.section .note.GNU-stack,"",@progbits
