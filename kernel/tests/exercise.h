/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Runs a form twice: on plain memory that holds what the device holds (the twin), and on the
 * device. Everything that the two leave must be equal. The accesses that the form must have made
 * are then told one by one, with their values: read from the twin as it was before, written as it
 * is after.
 */
#ifndef TRAPLINE_TESTS_EXERCISE_H
#define TRAPLINE_TESTS_EXERCISE_H

#include <asm/fpu/api.h>
#include <asm/irqflags.h>
#include <asm/msr.h>

#include "compat.h"
#include "region.h"

/* The twin's first element is the last one for a form that goes down. */
static u64 aimed(enum operand operand, const struct form *form, u64 data, u8 *memory, u8 *plain)
{
	u64 down = form->down ? (form->count - 1) * form->element : 0;

	switch (operand) {
	case DEVICE:
		return (u64)memory + down;
	case DEVICE_UPPER:
		return (u64)memory + UPPER + down;
	case PLAIN:
		return (u64)plain + down;
	default:
		return data;
	}
}

static void aim(struct state *state, const struct form *form, u8 *memory, u8 *plain)
{
	u64 gs;

	rdmsrq(MSR_GS_BASE, gs);
	state->rbx = (u64)memory;
	state->r8 = (u64)memory - 0x40;
	state->r9 = 4;
	state->r10 = (u64)memory - gs;
	state->rsi = aimed(form->rsi, form, state->rsi, memory, plain);
	state->rdi = aimed(form->rdi, form, state->rdi, memory, plain);
}

/* A register that may be an address, without what distinguishes twin and device. */
static u64 unaimed(enum operand operand, u64 value, const u8 *memory, const u8 *plain)
{
	switch (operand) {
	case DEVICE:
	case DEVICE_UPPER:
		return value - (u64)memory;
	case PLAIN:
		return value - (u64)plain;
	default:
		return value;
	}
}

static void prepare(struct bench *bench, const struct form *form, const struct region *region, struct state *state)
{
	random_bytes(bench, state, sizeof(*state));
	random_bytes(bench, bench->plain[0], WINDOW);
	if (form->match) {
		memcpy(&state->rax, region->twin, sizeof(u64));
		if (form->accesses[0].width == 16)
			memcpy(&state->rdx, region->twin + 8, sizeof(u64));
		else if (!strncmp(form->name, "cmpxchg8b", 9) || !strncmp(form->name, "lock_cmpxchg8b", 14))
			state->rdx = state->rax >> 32;
		memcpy(bench->plain[0], region->twin, 3 * max_t(u8, form->element, 1));
	}
	memcpy(bench->plain[1], bench->plain[0], WINDOW);
	if (form->rcx)
		state->rcx = form->rcx;
	if (form->rdx)
		state->rdx = form->rdx;
	if (form->repeated)
		state->rcx = form->count;
	state->flags = (native_save_fl() & ~(ARITHMETIC | DF)) | (state->flags & ARITHMETIC) | (form->down ? DF : 0);
}

static void compare(struct bench *bench, const struct form *form, const struct region *region, const struct state *found,
		    const struct state *wanted)
{
	u64 flags = (ARITHMETIC | DF) & ~form->undefined;
	u64 here, there;
	size_t at;

#define SAME(what, found_, wanted_)									\
	do {												\
		here = (found_);									\
		there = (wanted_);									\
		if (here != there)									\
			complain(bench, form, region, what, here, there);				\
	} while (0)
	SAME("rax", found->rax, wanted->rax);
	SAME("rcx", found->rcx, wanted->rcx);
	SAME("rdx", found->rdx, wanted->rdx);
	SAME("flags", found->flags & flags, wanted->flags & flags);
	SAME("rsi", unaimed(form->rsi, found->rsi, region->device, bench->plain[1]),
	     unaimed(form->rsi, wanted->rsi, region->twin, bench->plain[0]));
	SAME("rdi", unaimed(form->rdi, found->rdi, region->device, bench->plain[1]),
	     unaimed(form->rdi, wanted->rdi, region->twin, bench->plain[0]));
	for (at = 0; at < WINDOW; at += sizeof(u64))
		SAME("plain memory", *(u64 *)&bench->plain[1][at], *(u64 *)&bench->plain[0][at]);
	for (at = 0; at < sizeof(found->x87); at += sizeof(u64))
		SAME("x87", *(u64 *)&found->x87[at], *(u64 *)&wanted->x87[at]);
	for (at = 0; at < sizeof(found->vectors); at += sizeof(u64))
		SAME("vector", *(u64 *)&((u8 *)found->vectors)[at], *(u64 *)&((u8 *)wanted->vectors)[at]);
#undef SAME
}

/* Runs the form once on the region, checks what it left, and tells what it accessed. */
static void exercise(struct bench *bench, const struct form *form, const struct region *region)
{
	const struct access *access, *end = form->accesses + ARRAY_SIZE(form->accesses), *write = NULL;
	struct state wanted, found;
	u8 before[WINDOW];
	u64 elements = 1, element;

	prepare(bench, form, region, &wanted);
	found = wanted;
	aim(&wanted, form, region->twin, bench->plain[0]);
	aim(&found, form, region->device, bench->plain[1]);
	memcpy(before, region->twin, WINDOW);
	if (form->vector)
		kernel_fpu_begin();
	form->run(&wanted);
	form->run(&found);
	if (form->vector)
		kernel_fpu_end();
	compare(bench, form, region, &found, &wanted);

	if (form->repeated)
		elements = form->count - wanted.rcx;
	for (element = 0; element < elements; element++) {
		s64 moved = (form->down ? form->count - 1 - element : element) * form->element;

		for (access = form->accesses; access < end && access->direction; access++) {
			s64 offset = access->offset + moved;
			bool writes = access->direction == 'W';

			bench->note(bench, access->direction, region->physical + offset, access->width,
				    (writes ? region->twin : before) + offset);
			if (writes)
				write = access;
		}
	}
	if (write)
		settle(region, write);
}

#endif
