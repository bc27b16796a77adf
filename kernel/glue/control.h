/* SPDX-License-Identifier: GPL-2.0 */
/* The control lock: one writer of the engine's tables at a time. */
#ifndef TRAPLINE_CONTROL_H
#define TRAPLINE_CONTROL_H

#include <linux/types.h>

/* Whether the current task holds the lock. */
bool control_is_mine(void);

#endif
