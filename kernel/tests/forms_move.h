/* SPDX-License-Identifier: GPL-2.0 */
/* Moves. No include guard: read once for the functions and once for the table, see form.h. */

/*
 * Immediates, with every shape of address before them: what follows the address must not be taken
 * for the immediate.
 */
FORM(mov_imm8, "movb $0x5a, (%%rbx)", WRITES(1))
FORM(mov_imm16, "movw $0x1234, (%%rbx)", WRITES(2))
FORM(mov_imm32, "movl $0x55667788, (%%rbx)", WRITES(4))
FORM(mov_imm32_to_64, "movq $0x12345678, (%%rbx)", WRITES(8))
FORM(mov_imm32_to_64_negative, "movq $-2, (%%rbx)", WRITES(8))
FORM(mov_imm8_sib, "movb $0x5a, 0x20(%%r8,%%r9,8)", WRITES(1))
FORM(mov_imm16_sib, "movw $0x1234, 0x20(%%r8,%%r9,8)", WRITES(2))
FORM(mov_imm32_sib, "movl $0x55667788, 0x20(%%r8,%%r9,8)", WRITES(4))
FORM(mov_imm32_to_64_sib, "movq $0x12345678, 0x20(%%r8,%%r9,8)", WRITES(8))
FORM(mov_imm32_displacement8, "movl $0x55667788, 0x40(%%r8)", WRITES(4))
FORM(mov_imm32_displacement32, "%{disp32%} movl $0x55667788, 0x40(%%r8)", WRITES(4))
FORM(mov_imm32_sib_displacement32, "%{disp32%} movl $0x55667788, 0x30(%%r8,%%r9,4)", WRITES(4))
FORM(mov_imm32_to_64_displacement32, "%{disp32%} movq $0x12345678, 0x40(%%r8)", WRITES(8))

FORM(mov_store8, "movb %%dl, (%%rbx)", WRITES(1))
FORM(mov_store8_high, "movb %%dh, (%%rbx)", WRITES(1))
FORM(mov_store8_rex, "movb %%sil, (%%rbx)", WRITES(1))
FORM(mov_store16, "movw %%dx, (%%rbx)", WRITES(2))
FORM(mov_store32, "movl %%edx, (%%rbx)", WRITES(4))
FORM(mov_store64, "movq %%rdx, (%%rbx)", WRITES(8))
FORM(mov_store32_sib, "movl %%edx, 0x20(%%r8,%%r9,8)", WRITES(4))
FORM(mov_store32_gs, "movl %%edx, %%gs:(%%r10)", WRITES(4))
/* The address less the base of fs, without a change of flags. */
FORM(mov_store32_fs, "pushq %%rcx\n\trdfsbase %%rcx\n\tnotq %%rcx\n\tleaq 1(%%rbx,%%rcx), %%rcx\n\tmovl %%edx, %%fs:(%%rcx)\n\tpopq %%rcx", WRITES(4))
FORM(movnti32, "movnti %%edx, (%%rbx)", WRITES(4))
FORM(movnti64, "movnti %%rdx, (%%rbx)", WRITES(8))
FORM(movbe_store16, "movbew %%dx, (%%rbx)", WRITES(2))
FORM(movbe_store32, "movbel %%edx, (%%rbx)", WRITES(4))
FORM(movbe_store64, "movbeq %%rdx, (%%rbx)", WRITES(8))

FORM(mov_load8, "movb (%%rbx), %%dl", READS(1))
FORM(mov_load8_high, "movb (%%rbx), %%dh", READS(1))
FORM(mov_load8_rex, "movb (%%rbx), %%sil", READS(1))
FORM(mov_load16, "movw (%%rbx), %%dx", READS(2))
FORM(mov_load32, "movl (%%rbx), %%edx", READS(4))
FORM(mov_load64, "movq (%%rbx), %%rdx", READS(8))
FORM(mov_load32_sib, "movl 0x20(%%r8,%%r9,8), %%edx", READS(4))
FORM(mov_load32_gs, "movl %%gs:(%%r10), %%edx", READS(4))
FORM(mov_load32_fs, "rdfsbase %%rdx\n\tnotq %%rdx\n\tleaq 1(%%rbx,%%rdx), %%rdx\n\tmovl %%fs:(%%rdx), %%edx", READS(4))
FORM(movbe_load16, "movbew (%%rbx), %%dx", READS(2))
FORM(movbe_load32, "movbel (%%rbx), %%edx", READS(4))
FORM(movbe_load64, "movbeq (%%rbx), %%rdx", READS(8))
FORM(movzx_8_to_16, "movzbw (%%rbx), %%dx", READS(1))
FORM(movzx_8_to_32, "movzbl (%%rbx), %%edx", READS(1))
FORM(movzx_8_to_64, "movzbq (%%rbx), %%rdx", READS(1))
FORM(movzx_16_to_32, "movzwl (%%rbx), %%edx", READS(2))
FORM(movzx_16_to_64, "movzwq (%%rbx), %%rdx", READS(2))
FORM(movsx_8_to_16, "movsbw (%%rbx), %%dx", READS(1))
FORM(movsx_8_to_32, "movsbl (%%rbx), %%edx", READS(1))
FORM(movsx_8_to_64, "movsbq (%%rbx), %%rdx", READS(1))
FORM(movsx_16_to_32, "movswl (%%rbx), %%edx", READS(2))
FORM(movsx_16_to_64, "movswq (%%rbx), %%rdx", READS(2))
FORM(movsxd, "movslq (%%rbx), %%rdx", READS(4))

FORM(setc, "setc (%%rbx)", WRITES(1))
FORM(setnle, "setnle (%%rbx)", WRITES(1))
/* The operand is read whether or not the move is made. */
FORM(cmov_taken, "cmpl %%eax, %%eax\n\tcmovel (%%rbx), %%edx", READS(4))
FORM(cmov_not_taken, "cmpl %%eax, %%eax\n\tcmovnel (%%rbx), %%edx", READS(4))
FORM(cmov64_taken, "cmpl %%eax, %%eax\n\tcmovaeq (%%rbx), %%rdx", READS(8))

/*
 * The word goes to where the page fault's own frame lies, so it is the CPU that must push it. The
 * stack at both of its alignments: a frame begins below the next multiple of 16, so that with one
 * of them the word would lie inside of it and with the other beside it.
 */
FORM(push, "pushq (%%rbx)\n\tpopq %%rdx", READS(8), .stepped = true)
FORM(push_other_alignment, "pushq %%rax\n\tpushq (%%rbx)\n\tpopq %%rdx\n\tpopq %%rax", READS(8), .stepped = true)
FORM(push16, "pushw (%%rbx)\n\tpopw %%dx", READS(2), .stepped = true)
FORM(pop, "pushq %%rdx\n\tpopq (%%rbx)", WRITES(8))
FORM(pop16, "pushw %%dx\n\tpopw (%%rbx)", WRITES(2))
