/* SPDX-License-Identifier: GPL-2.0 */
/* What trapline_target.c offers to modules that probe its functions themselves. */
#ifndef TARGET_H
#define TARGET_H

#include <linux/types.h>

/* Instructions in the row of trapline_target_many(). */
#define TRAPLINE_TARGET_ROW 2048

/* What trapline_target_hot() is called with a pointer to. */
struct trapline_target_place {
	u64 value;
	char text[24];
};

u64 trapline_target_hot(u64 number, const struct trapline_target_place *place, const char *text);
u64 trapline_target_many(u64 number);

#endif
