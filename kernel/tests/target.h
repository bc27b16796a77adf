/* SPDX-License-Identifier: GPL-2.0 */
/* What trapline_target.c offers to modules that probe its functions themselves. */
#ifndef TARGET_H
#define TARGET_H

#include <linux/types.h>

/* What trapline_target_hot() is called with a pointer to. */
struct trapline_target_place {
	u64 value;
	char text[24];
};

/*
 * The address of an instruction inside of it. In the read-only data, since a label there would be
 * taken for a function of its own.
 */
extern const u64 trapline_target_inside;

u64 trapline_target_hot(u64 number, const struct trapline_target_place *place, const char *text);

#endif
