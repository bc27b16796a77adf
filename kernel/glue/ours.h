/* SPDX-License-Identifier: GPL-2.0 */
/* For the parts of the glue that allocate: see ours.c. */
#ifndef TRAPLINE_GLUE_OURS_H
#define TRAPLINE_GLUE_OURS_H

#include <linux/types.h>

bool ours_note(const void *start, u64 length);
void ours_forget(const void *start);

#endif
