/* SPDX-License-Identifier: GPL-2.0 */
/* Where the tests put their probes, and how the kernel comes to them. */
#ifndef TRAPLINE_CODE_SITES_H
#define TRAPLINE_CODE_SITES_H

#include <linux/delay.h>
#include <linux/math.h>
#include "code_work.h"

/*
 * The first byte of what the kernel puts there: INT3, JMP, and the CALL that ftrace makes of a NOP.
 */
enum way { BY_BREAKPOINT = 0xcc, BY_JUMP = 0xe9, BY_FTRACE = 0xe8 };

/* Where: in our own code, by symbol or by address, or at the entry of a kernel function. */
struct site {
	const char *name;
	const char *symbol;
	const void *address;
	u64 (*target)(u64);
	u64 (*expected)(u64);
	/* What it returns for its own first argument. */
	u64 (*of_argument)(u64);
	enum way way;
};

static const struct site sites[] = {
	{ "breakpoint", "trapline_code_target", trapline_code_target, trapline_code_target, target_result, target_result, BY_BREAKPOINT },
	{ "jump", "trapline_code_target", trapline_code_target, trapline_code_target, target_result, target_result, BY_JUMP },
	{ "entry", "int_pow", int_pow, entry_target, entry_result, cube, BY_FTRACE },
};

/*
 * Whether hits come in the site's own way: by a jump from some time after the last probe came, so
 * that is waited for. Behind an ENDBR, in kernels that have those.
 */
static bool comes_by(const struct site *site)
{
	const u8 *text = site->address;
	int tries;

	OPTIMIZER_HIDE_VAR(text);
	for (tries = 0; tries < 500; tries++) {
		if (READ_ONCE(text[0]) == site->way || READ_ONCE(text[4]) == site->way)
			return true;
		msleep(10);
	}
	return false;
}

static u64 address_of_site(const struct site *site)
{
	return (u64)(unsigned long)site->address;
}

#endif
