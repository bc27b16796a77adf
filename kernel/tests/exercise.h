/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Runs a form twice: on plain memory that holds what the device holds (the twin), and on the device. Everything that the two leave must be equal. The
 * accesses that the form must have made are then told one by one, with their values: read from the twin as it was before, written as it is after.
 */
#ifndef TRAPLINE_TESTS_EXERCISE_H
#define TRAPLINE_TESTS_EXERCISE_H

#include <asm/fpu/api.h>
#include <asm/irqflags.h>
#include <asm/msr.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/string.h>

#include "form.h"

/* How a stretch of registers behaves. */
enum behaviour {
	/* As memory does, for every width. */
	MEMORY,
	/* edu's 64-bit registers: 4 and 8 bytes wide; the upper half is cleared by a write of 4. */
	EDU_REGISTER,
	/* edu's liveness register: reads what was written, inverted; 4 bytes wide. */
	EDU_LIVENESS,
	/* Where edu has no register: reads all ones, ignores writes; 4 and 8 bytes wide. */
	EDU_NOTHING,
};

/* A stretch of a device that one caller has for itself. */
struct region {
	enum behaviour behaviour;
	/* The mapping, and the plain memory that stands for it; both at the same offset within a page. */
	u8 *device;
	u8 *twin;
	/* The device's physical address. */
	u64 physical;
};

struct bench {
	/* The random numbers' state; not 0. */
	u64 random;
	/* The plain memory that string instructions copy from and to: the twin's, the device's. */
	u8 plain[2][WINDOW] __aligned(64);
	/* Told of every access. */
	void (*note)(struct bench *bench, char direction, u64 physical, u8 width, const u8 *value);
	u64 mismatches;
	/* The first mismatch. */
	char complaint[200];
};

/* xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled"). */
static u64 random_word(struct bench *bench)
{
	bench->random ^= bench->random >> 12;
	bench->random ^= bench->random << 25;
	bench->random ^= bench->random >> 27;
	return bench->random * 0x2545f4914f6cdd1dULL;
}

static void random_bytes(struct bench *bench, void *to, size_t length)
{
	size_t at;

	for (at = 0; at < length; at += sizeof(u64))
		*(u64 *)(to + at) = random_word(bench);
}

static bool edu_takes(const struct access *access)
{
	return (access->width == 4 || access->width == 8 || access->width == 16 || access->width == 32) &&
	       access->offset % min_t(int, access->width, 8) == 0;
}

/* Whether the form can be run on the region, and what it does there is known. */
static bool form_fits(const struct form *form, const struct region *region)
{
	const struct access *access;

	if (form->vector && !(boot_cpu_has(X86_FEATURE_AVX2) && boot_cpu_has(X86_FEATURE_XSAVE)))
		return false;
	for (access = form->accesses; access < form->accesses + ARRAY_SIZE(form->accesses) && access->direction; access++) {
		bool first = access->offset == 0 && !form->repeated && form->rdi != DEVICE_UPPER;

		if (form->aligned && ((unsigned long)region->device + access->offset) % access->width)
			return false;
		switch (region->behaviour) {
		case MEMORY:
			break;
		case EDU_REGISTER:
			if (!first || access->width > 8 || !edu_takes(access))
				return false;
			break;
		case EDU_LIVENESS:
			if (!first || access->width != 4)
				return false;
			break;
		case EDU_NOTHING:
			if (!edu_takes(access))
				return false;
			break;
		}
	}
	return true;
}

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

	rdmsrl(MSR_GS_BASE, gs);
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

static void complain(struct bench *bench, const struct form *form, const struct region *region, const char *what, u64 found, u64 wanted)
{
	if (!bench->mismatches++)
		snprintf(bench->complaint, sizeof(bench->complaint), "%s at 0x%llx left %s = 0x%llx, not 0x%llx", form->name,
			 region->physical, what, found, wanted);
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

/* Makes of the twin what the device makes of a write that memory would have kept. */
static void settle(const struct region *region, const struct access *write)
{
	switch (region->behaviour) {
	case MEMORY:
		break;
	case EDU_REGISTER:
		if (write->width == 4)
			memset(region->twin + 4, 0, 4);
		break;
	case EDU_LIVENESS:
		*(u32 *)region->twin = ~*(u32 *)region->twin;
		break;
	case EDU_NOTHING:
		memset(region->twin, 0xff, WINDOW);
		break;
	}
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
