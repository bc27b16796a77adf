/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Probes and page-fault handlers whose every call is noted.
 *
 * What was registered stays in memory until everything is forgotten, so that a call after its
 * removal is a hit that says so and not a crash.
 */
#ifndef TRAPLINE_TESTS_CONFORMANCE_HANDLERS_H
#define TRAPLINE_TESTS_CONFORMANCE_HANDLERS_H

#include <linux/atomic.h>
#include <linux/container_of.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/smp.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>
#include <asm/trap_pf.h>

#include "conformance_seat.h"
#include "trapline.h"

#define HITS_MAX (1 << 18)

struct probing {
	struct trapline_access_probe probe;
	struct conformance_probe wanted;
	bool removed;
};

struct handling {
	struct trapline_page_fault_handler handler;
	struct conformance_handler wanted;
	bool removed;
};

static DEFINE_XARRAY_ALLOC1(probings);
static DEFINE_XARRAY_ALLOC1(handlings);
static struct conformance_hit *hits;
static atomic_t hit_count = ATOMIC_INIT(0);

static void note_hit(u8 kind, u32 label, u64 address, bool write, bool late, const u8 *value, u32 length)
{
	unsigned int number = atomic_fetch_inc(&hit_count);
	struct conformance_hit *hit = &hits[number];

	if (number >= HITS_MAX)
		return;
	*hit = (struct conformance_hit) {
		.address = address,
		.label = label,
		.cpu = raw_smp_processor_id(),
		.kind = kind,
		.write = write,
		.late = late,
		.length = min_t(u32, length, CONFORMANCE_VALUE),
	};
	memcpy(hit->value, value, hit->length);
}

static void note_access(u8 kind, const struct probing *probing, const struct trapline_access *access)
{
	note_hit(kind, probing->wanted.label, access->address, access->write, READ_ONCE(probing->removed), access->value,
		 access->value_length);
}

static enum trapline_decision before(struct trapline_access_probe *probe, const struct trapline_access *access, u64 *value)
{
	const struct probing *probing = container_of(probe, struct probing, probe);

	note_access(0, probing, access);
	switch (probing->wanted.reaction) {
	case 2:
		*value = probing->wanted.given;
		return TRAPLINE_DECISION_SUPPLY;
	case 3:
		return TRAPLINE_DECISION_DROP;
	case 4:
		readl((const void __iomem *)(unsigned long)probing->wanted.given);
		break;
	case 5:
		/* As this_cpu_inc() does: one instruction, and no lock prefix. */
		asm volatile("incl %0" : "+m"(*(u32 *)(unsigned long)probing->wanted.given));
		break;
	}
	return TRAPLINE_DECISION_PASS;
}

static void after(struct trapline_access_probe *probe, const struct trapline_access *access)
{
	note_access(1, container_of(probe, struct probing, probe), access);
}

/* Claims the fault of a program on its range, and ends the program. */
static bool handle(struct trapline_page_fault_handler *handler, const struct trapline_page_fault *fault, struct pt_regs *registers)
{
	const struct handling *handling = container_of(handler, struct handling, handler);
	struct seat *seat = seat_of(registers->ip);

	note_hit(2, handling->wanted.label, fault->address, fault->error_code & X86_PF_WRITE, READ_ONCE(handling->removed), NULL, 0);
	if (!seat || fault->address - handling->wanted.start >= handling->wanted.length)
		return false;
	seat->claimed = true;
	registers->ip = seat_exit(seat);
	return true;
}

/* Registered before all others, so asked last, and claims nothing. */
static bool witness(struct trapline_page_fault_handler *handler, const struct trapline_page_fault *fault, struct pt_regs *registers)
{
	struct seat *seat = seat_of(registers->ip);

	if (seat) {
		seat->faults++;
		seat->fault_address = fault->address;
		seat->fault_error_code = fault->error_code;
		seat->fault_ip = registers->ip;
	}
	return false;
}

static struct trapline_page_fault_handler first_handler = { .handle = witness };

static int handlers_open(void)
{
	hits = vzalloc(array_size(HITS_MAX, sizeof(*hits)));
	if (!hits)
		return -ENOMEM;
	return trapline_register_page_fault_handler(&first_handler);
}

static long register_all(struct probing **all, size_t count)
{
	struct trapline_access_probe **probes = kvmalloc_array(count, sizeof(*probes), GFP_KERNEL);
	size_t number;
	long result;

	if (!probes)
		return -ENOMEM;
	for (number = 0; number < count; number++)
		probes[number] = &all[number]->probe;
	result = trapline_register_access_probes(probes, count);
	kvfree(probes);
	return result;
}

/* Registers all of an array of struct conformance_probe or none, and fills in their ids. */
static long probes_register(const struct conformance_array *array)
{
	struct conformance_probe __user *user = (void __user *)(unsigned long)array->elements;
	struct probing **all = kvcalloc(array->count, sizeof(*all), GFP_KERNEL);
	size_t number;
	long result = all ? 0 : -ENOMEM;
	u32 id;

	for (number = 0; !result && number < array->count; number++) {
		struct probing *probing = all[number] = kzalloc(sizeof(*probing), GFP_KERNEL);

		if (!probing) {
			result = -ENOMEM;
		} else if (copy_from_user(&probing->wanted, user + number, sizeof(probing->wanted))) {
			result = -EFAULT;
		} else {
			probing->probe.start = probing->wanted.start;
			probing->probe.length = probing->wanted.length;
			probing->probe.flags = probing->wanted.flags;
			probing->probe.pre = probing->wanted.reaction ? before : NULL;
			probing->probe.post = probing->wanted.has_post ? after : NULL;
		}
	}
	if (!result)
		result = register_all(all, array->count);
	if (result) {
		for (number = 0; all && number < array->count; number++)
			kfree(all[number]);
		kvfree(all);
		return result;
	}
	/* From here on they are only freed with everything else. */
	for (number = 0; number < array->count; number++) {
		result = xa_alloc(&probings, &id, all[number], xa_limit_31b, GFP_KERNEL) ?: result;
		if (!result && put_user((u64)id, &user[number].id))
			result = -EFAULT;
	}
	kvfree(all);
	return result;
}

static void probes_remove(struct probing **all, size_t count)
{
	struct trapline_access_probe **probes = (struct trapline_access_probe **)all;
	size_t number;

	/* The probe is the first field. */
	BUILD_BUG_ON(offsetof(struct probing, probe) != 0);
	trapline_unregister_access_probes(probes, count);
	for (number = 0; number < count; number++)
		WRITE_ONCE(all[number]->removed, true);
}

/* Removes those of an array of ids that are registered. */
static long probes_unregister(const struct conformance_array *array)
{
	const u64 __user *user = (const u64 __user *)(unsigned long)array->elements;
	struct probing **all = kvcalloc(array->count, sizeof(*all), GFP_KERNEL);
	size_t number, count = 0;
	u64 id;

	if (!all)
		return -ENOMEM;
	for (number = 0; number < array->count; number++) {
		struct probing *probing;

		if (get_user(id, user + number)) {
			kvfree(all);
			return -EFAULT;
		}
		probing = id <= U32_MAX ? xa_load(&probings, id) : NULL;
		if (probing && !probing->removed)
			all[count++] = probing;
	}
	probes_remove(all, count);
	kvfree(all);
	return 0;
}

static long handler_register(struct conformance_handler *wanted)
{
	struct handling *handling = kzalloc(sizeof(*handling), GFP_KERNEL);
	u32 id;
	int failed;

	if (!handling)
		return -ENOMEM;
	handling->wanted = *wanted;
	handling->handler.handle = handle;
	failed = xa_alloc(&handlings, &id, handling, xa_limit_31b, GFP_KERNEL);
	if (failed) {
		kfree(handling);
		return failed;
	}
	wanted->id = id;
	return trapline_register_page_fault_handler(&handling->handler);
}

static long handler_unregister(u64 id)
{
	struct handling *handling = xa_load(&handlings, id);

	if (!handling || trapline_unregister_page_fault_handler(&handling->handler))
		return -ENOENT;
	trapline_synchronize();
	WRITE_ONCE(handling->removed, true);
	return 0;
}

/* Unregisters and frees everything. */
static void handlers_forget(void)
{
	struct probing *probing;
	struct handling *handling;
	unsigned long id;

	xa_for_each(&probings, id, probing) {
		if (!probing->removed)
			probes_remove(&probing, 1);
		kfree(probing);
	}
	xa_destroy(&probings);
	xa_for_each(&handlings, id, handling)
		handler_unregister(id);
	xa_for_each(&handlings, id, handling)
		kfree(handling);
	xa_destroy(&handlings);
	atomic_set(&hit_count, 0);
}

static void handlers_close(void)
{
	trapline_unregister_page_fault_handler(&first_handler);
	trapline_synchronize();
	vfree(hits);
}

/* Hands over the hits; while no program runs. */
static long hits_take(struct conformance_hits *taken)
{
	unsigned int count = atomic_xchg(&hit_count, 0);

	taken->lost = count > HITS_MAX ? count - HITS_MAX : 0;
	count -= taken->lost;
	if (count > taken->count)
		return -ENOSPC;
	taken->count = count;
	return copy_to_user((void __user *)(unsigned long)taken->to, hits, count * sizeof(*hits)) ? -EFAULT : 0;
}

#endif
