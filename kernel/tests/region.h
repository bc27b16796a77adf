/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A stretch of a device's registers, how it behaves, and the plain memory that stands for it: the
 * twin.
 */
#ifndef TRAPLINE_TESTS_REGION_H
#define TRAPLINE_TESTS_REGION_H

#include <linux/io.h>
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
	/*
	 * The mapping, and the plain memory that stands for it; both at the same offset within a
	 * page.
	 */
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

/*
 * xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled").
 */
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

static void complain(struct bench *bench, const struct form *form, const struct region *region, const char *what, u64 found, u64 wanted)
{
	if (!bench->mismatches++)
		snprintf(bench->complaint, sizeof(bench->complaint), "%s at 0x%llx left %s = 0x%llx, not 0x%llx", form->name,
			 region->physical, what, found, wanted);
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

/* How many bytes of the window can be written and read as a whole, in words of `word` bytes. */
static size_t region_span(const struct region *region, size_t *word)
{
	*word = region->behaviour == EDU_LIVENESS ? 4 : 8;
	return region->behaviour == EDU_REGISTER || region->behaviour == EDU_LIVENESS ? *word : WINDOW;
}

/* Fills the device's window, and its twin, with random words. */
static void region_fill(struct bench *bench, const struct region *region)
{
	size_t word, at, length = region_span(region, &word);
	void __iomem *device = (void __iomem *)region->device;

	memset(region->twin, 0xff, WINDOW);
	if (region->behaviour == EDU_NOTHING)
		return;
	random_bytes(bench, region->twin, length);
	for (at = 0; at < length; at += word) {
		u8 *value = region->twin + at;

		bench->note(bench, 'W', region->physical + at, word, value);
		if (word == 8)
			writeq(*(u64 *)value, device + at);
		else
			writel(*(u32 *)value, device + at);
	}
	if (region->behaviour == EDU_LIVENESS)
		*(u32 *)region->twin = ~*(u32 *)region->twin;
}

/* Reads the device's window and compares it with its twin. */
static void region_check(struct bench *bench, const struct form *form, const struct region *region)
{
	size_t word, at, length = region_span(region, &word);
	void __iomem *device = (void __iomem *)region->device;

	for (at = 0; at < length; at += word) {
		u8 *wanted = region->twin + at;
		u64 found = word == 8 ? readq(device + at) : readl(device + at);

		bench->note(bench, 'R', region->physical + at, word, (u8 *)&found);
		if (memcmp(&found, wanted, word))
			complain(bench, form, region, "device", found, word == 8 ? *(u64 *)wanted : *(u32 *)wanted);
	}
}

#endif
