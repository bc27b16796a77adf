/* SPDX-License-Identifier: GPL-2.0 */
/* Handlers of access probes and of page faults that fault themselves. */

#include <linux/mm.h>
#include <linux/vmalloc.h>

static enum trapline_decision access_pre(struct trapline_access_probe *probe, const struct trapline_access *access, u64 *value)
{
	/* What it stored before it was abandoned does not count. */
	*value = 0xbad;
	mess_and_fault(kind);
	return TRAPLINE_DECISION_SUPPLY;
}

static void access_post(struct trapline_access_probe *probe, const struct trapline_access *access)
{
	mess_and_fault(kind);
}

static bool fault_fault(struct trapline_page_fault_handler *handler, const struct trapline_page_fault *fault, struct pt_regs *registers)
{
	registers->ip = 0;
	mess_and_fault(kind);
	return true;
}

/* Gives the reader of what lies behind the area a value. */
static bool fault_claim(struct trapline_page_fault_handler *handler, const struct trapline_page_fault *fault, struct pt_regs *registers)
{
	u64 end = (u64)(unsigned long)handler->data + PAGE_SIZE;

	if (fault->address < end || fault->address >= end + PAGE_SIZE)
		return false;
	registers->ax = 0x600d;
	registers->ip += READ_LENGTH;
	return true;
}

static void other_handlers(void)
{
	struct trapline_access_probe probe = { .length = PAGE_SIZE, .flags = TRAPLINE_READS, .pre = access_pre, .post = access_post };
	struct trapline_page_fault_handler claims = { .handle = fault_claim }, faults = { .handle = fault_fault };
	struct trapline_counts counts = {};
	struct context before, after;
	struct work work = {};
	int i, rounds = 50;
	bool ok = true, registered;
	u64 *area;

	area = vmalloc(PAGE_SIZE);
	if (!area)
		return;
	*area = 0x1234;
	probe.start = (u64)(unsigned long)area;
	claims.data = area;
	for (kind = 0; ok && kind < FAULT_KINDS; kind++) {
		probe.pre_faults = probe.post_faults = 0;
		registered = !trapline_register_access_probe(&probe);
		ok = registered;
		for (i = 0; ok && i < rounds; i++) {
			before = context_now();
			ok = read_at(probe.start) == 0x1234;
			after = context_now();
			ok &= !memcmp(&before, &after, sizeof(before));
		}
		if (registered)
			trapline_unregister_access_probe(&probe);
		ok &= probe.pre_faults == rounds && probe.post_faults == rounds;
	}
	say(ok, "handlers of an access probe that fault are abandoned, and the access passes", "vmalloc", &counts, &work, rounds);
	trapline_register_page_fault_handler(&claims);
	trapline_register_page_fault_handler(&faults);
	for (kind = 0, ok = true; ok && kind < FAULT_KINDS; kind++) {
		before = context_now();
		ok = read_at(probe.start + PAGE_SIZE + 8) == 0x600d;
		after = context_now();
		ok &= !memcmp(&before, &after, sizeof(before));
	}
	trapline_unregister_page_fault_handler(&faults);
	trapline_unregister_page_fault_handler(&claims);
	trapline_synchronize();
	say(ok && faults.faults >= FAULT_KINDS, "a page-fault handler that faults is abandoned, and the next one asked", "vmalloc", &counts, &work, 0);
	kind = FAULT_NULL;
	vfree(area);
}
