// SPDX-License-Identifier: GPL-2.0
/*
 * Who called the probed code: the kernel's own unwinder.
 *
 * stack_trace_save_regs() is not exported; what it is made of is. The unwinder reads with care
 * whatever it finds, takes no lock, and is made for NMI context, where perf calls it. The walk is
 * bounded by the room that there is.
 */
#include <linux/sched.h>
#include <asm/unwind.h>
#include "glue.h"

/*
 * The return addresses on the current stack from these registers outwards, the innermost first;
 * returns how many.
 */
u32 notrace glue_unwind(const struct pt_regs *registers, u64 *entries, u32 room)
{
	struct unwind_state state;
	u32 count = 0;

	/*
	 * From registers the walk begins with their caller: theirs is the first frame, and is left.
	 */
	for (unwind_start(&state, current, (struct pt_regs *)registers, NULL); count < room && !unwind_done(&state);
	     unwind_next_frame(&state)) {
		unsigned long address = unwind_get_return_address(&state);

		if (!address)
			break;
		entries[count++] = address;
	}
	return count;
}
