/* SPDX-License-Identifier: GPL-2.0 */
/* Interrupts that come while a handler runs, and lead to a probe: none of those hits is missed. */

#include <linux/irq_work.h>

#define INTERRUPTED 1000

static const struct site *interrupted;
/* Whether the interrupt is being served: its own hits raise none. */
static bool in_interrupt_of_ours;

static void hit_in_interrupt(struct irq_work *unused)
{
	WRITE_ONCE(in_interrupt_of_ours, true);
	interrupted->target(5);
	WRITE_ONCE(in_interrupt_of_ours, false);
}

static struct irq_work interrupt = IRQ_WORK_INIT_HARD(hit_in_interrupt);

/* It is served as soon as interrupts are on again. */
static void raise_interrupt(void)
{
	if (!READ_ONCE(in_interrupt_of_ours))
		irq_work_queue(&interrupt);
}

static void interrupted_pre(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	raise_interrupt();
	atomic64_inc(&pre_calls);
}

static void interrupted_returned(struct trapline_return_probe *probe, const struct pt_regs *registers, void *carried)
{
	raise_interrupt();
	atomic64_inc(&post_calls);
}

/* On one CPU: each call's interrupt has been served before the next. */
static bool all_right(const struct site *site)
{
	bool ok = true;
	u64 i;

	interrupted = site;
	run_nothing();
	migrate_disable();
	for (i = 0; i < INTERRUPTED; i++) {
		ok &= site->target(i) == site->expected(i);
		irq_work_sync(&interrupt);
	}
	migrate_enable();
	return ok;
}

static void interrupted_handlers(const struct site *site)
{
	struct trapline_code_probe probe = { .symbol = site->symbol, .pre = interrupted_pre };
	struct trapline_return_probe returned = { .symbol = site->symbol, .returned = interrupted_returned, .active = 64 };
	struct trapline_counts counts = {};
	struct work work = {};
	bool ok = false;

	if (!trapline_register_code_probe(&probe)) {
		ok = comes_by(site) && all_right(site);
		trapline_code_probe_counts(&probe, &counts);
		trapline_unregister_code_probe(&probe);
	}
	ok &= counts.hits == 2 * INTERRUPTED && !counts.missed && atomic64_read(&pre_calls) == 2 * INTERRUPTED;
	say(ok, "an interrupt that comes while a handler runs misses no hit", site->name, &counts, &work, INTERRUPTED);

	ok = false;
	counts = (struct trapline_counts){};
	if (!trapline_register_return_probe(&returned)) {
		ok = all_right(site);
		trapline_return_probe_counts(&returned, &counts);
		trapline_unregister_return_probe(&returned);
	}
	ok &= counts.hits == 2 * INTERRUPTED && !counts.missed && atomic64_read(&post_calls) == 2 * INTERRUPTED;
	say(ok, "an interrupt that comes while a return handler runs misses no hit", site->name, &counts, &work, INTERRUPTED);
}
