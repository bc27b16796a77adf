// SPDX-License-Identifier: GPL-2.0
/* The module's locks. Their order, and what each is for: src/locks.rs. */
#include <linux/compiler.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include "glue.h"
#include "locks.h"

static DEFINE_MUTEX(sessions);
static DEFINE_MUTEX(patching);
static DEFINE_MUTEX(control);

static struct mutex *const locks[] = {
	[GLUE_SESSIONS] = &sessions,
	[GLUE_PATCHING] = &patching,
	[GLUE_CONTROL] = &control,
};

static struct task_struct *owners[ARRAY_SIZE(locks)];

void glue_lock(u32 lock)
{
	mutex_lock(locks[lock]);
	WRITE_ONCE(owners[lock], current);
}

void glue_unlock(u32 lock)
{
	WRITE_ONCE(owners[lock], NULL);
	mutex_unlock(locks[lock]);
}

bool notrace lock_is_mine(u32 lock)
{
	/* Only the current task can make this true or false for itself. */
	return READ_ONCE(owners[lock]) == current;
}
