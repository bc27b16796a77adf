/* SPDX-License-Identifier: GPL-2.0 */
/* The module's locks, for the glue: whether the current task holds one. */
#ifndef TRAPLINE_LOCKS_H
#define TRAPLINE_LOCKS_H

#include <linux/types.h>

/* As src/locks.rs numbers them, in their order. */
#define GLUE_SESSIONS 0
#define GLUE_PATCHING 1
#define GLUE_CONTROL 2

bool lock_is_mine(u32 lock);

#endif
