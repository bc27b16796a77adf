/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A form of instruction, and the accesses to the device that it must make: the table is the
 * instruction's contract, by the manual, not by what a tracer prints. The values are not in it:
 * they follow from what memory held before and holds after the same instruction on plain memory.
 */
#ifndef TRAPLINE_TESTS_FORM_H
#define TRAPLINE_TESTS_FORM_H

#include "state.h"

/* Bytes of the device that a form may access, from its operand's address on. */
#define WINDOW 128
/* Where the second operand on the device lies, for forms that have two. */
#define UPPER 64

enum operand {
	/* The register holds data. */
	DATA = 0,
	/* The device, from the operand's address on. */
	DEVICE,
	/* The device, from UPPER on. */
	DEVICE_UPPER,
	/* Plain memory. */
	PLAIN,
};

struct access {
	/* 'R' or 'W'; 0 ends a list. */
	char direction;
	u8 width;
	/* From the operand's address. */
	s16 offset;
};

struct form {
	const char *name;
	void (*run)(struct state *state);
	/* In the order of the instruction; those of one element, for a string instruction. */
	struct access accesses[4];
	/*
	 * String instructions: bytes per element, and how many elements are asked for with a repeat
	 * prefix.
	 */
	u8 element;
	u8 count;
	bool repeated;
	/* String instructions: the direction flag is set, the last element comes first. */
	bool down;
	enum operand rsi, rdi;
	/* The flags that the manual leaves undefined (Intel SDM volume 2, at the instruction). */
	u16 undefined;
	/* Not 0: what the register holds. */
	s16 rcx, rdx;
	/*
	 * What is compared with memory equals it: the accumulator, and the first elements of plain
	 * memory.
	 */
	bool match;
	/* Uses vector registers or the x87, between kernel_fpu_begin and kernel_fpu_end. */
	bool vector;
	/*
	 * Only runs where its operand is aligned to its width: it faults otherwise, or it is
	 * locked, when no driver may do without (and QEMU 7.2 loses the arithmetic flags if such an
	 * access faults: its cpu_exec_step_atomic leaves without cpu_exec_exit).
	 */
	bool aligned;
	/*
	 * Can only be performed by letting the CPU run it where it is, so its values are not known.
	 */
	bool stepped;
};

#define R(offset_, width_) { .direction = 'R', .width = (width_), .offset = (offset_) }
#define W(offset_, width_) { .direction = 'W', .width = (width_), .offset = (offset_) }
#define DOES(...) .accesses = { __VA_ARGS__ }
#define READS(width) DOES(R(0, width))
#define WRITES(width) DOES(W(0, width))
#define MODIFIES(width) DOES(R(0, width), W(0, width))

/* First the functions, then the table of them. */
#define FORM(id, text, ...) RUN_FUNCTION(run_##id, "", text, "")
#define VECTOR(id, text, ...) RUN_FUNCTION(run_##id, LOAD_VECTORS, text, SAVE_VECTORS)
#include "forms_move.h"
#include "forms_arithmetic.h"
#include "forms_string.h"
#include "forms_vector.h"
#undef FORM
#undef VECTOR

#define FORM(id, text, ...) { .name = #id, .run = run_##id, __VA_ARGS__ },
#define VECTOR(id, text, ...) { .name = #id, .run = run_##id, .vector = true, __VA_ARGS__ },
static const struct form forms[] = {
#include "forms_move.h"
#include "forms_arithmetic.h"
#include "forms_string.h"
#include "forms_vector.h"
};
#undef FORM
#undef VECTOR

#endif
