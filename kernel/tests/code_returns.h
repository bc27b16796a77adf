/* SPDX-License-Identifier: GPL-2.0 */
/* Return probes: handlers that fault, and what is carried from entry to return. */

static void mess_entry(struct trapline_return_probe *probe, const struct pt_regs *registers, void *carried)
{
	mess_and_fault(kind);
	atomic64_inc(&pre_calls);
}

static void mess_returned(struct trapline_return_probe *probe, const struct pt_regs *registers, void *carried)
{
	mess_and_fault(kind);
	atomic64_inc(&post_calls);
}

static void carry_entry(struct trapline_return_probe *probe, const struct pt_regs *registers, void *carried)
{
	*(u64 *)carried = registers->di;
	atomic64_inc(&pre_calls);
}

/* Only a return that fits what its own entry saw counts. */
static void carry_returned(struct trapline_return_probe *probe, const struct pt_regs *registers, void *carried)
{
	u64 (*of_argument)(u64) = probe->data;

	if (registers->ax == of_argument(*(u64 *)carried))
		atomic64_inc(&post_calls);
}

static void count_returned(struct trapline_return_probe *probe, const struct pt_regs *registers, void *carried)
{
	atomic64_inc(&post_calls);
}

static bool return_fixer(struct trapline_return_probe *probe, struct pt_regs *registers, const struct trapline_exception *exception)
{
	atomic64_inc(&fixer_calls);
	registers->ip += READ_LENGTH;
	return true;
}

static void fixed_returned(struct trapline_return_probe *probe, const struct pt_regs *registers, void *carried)
{
	read_at(fault_address(FAULT_NULL));
	atomic64_inc(&post_calls);
}

static void one_return(const struct site *site, const char *test, const char *which, struct trapline_return_probe probe, struct expected expected)
{
	struct trapline_counts counts = {};
	struct work work = {};
	s64 calls = 0;
	bool ok;

	probe.symbol = site->symbol;
	probe.name = test;
	probe.data = site->of_argument;
	/* So many calls may be under way that none is missed. */
	probe.active = 64;
	if (trapline_register_return_probe(&probe)) {
		say(false, test, "can't be registered", &counts, &work, calls);
		return;
	}
	calls = run(site, &work, hits);
	trapline_return_probe_counts(&probe, &counts);
	trapline_unregister_return_probe(&probe);
	ok = unharmed(&work, calls) && counts.hits == calls && !counts.missed && counts.pre_faults == (expected.pre_faults ? calls : 0) &&
	     counts.post_faults == (expected.post_faults ? calls : 0) && counts.fixed == calls * expected.fixed &&
	     atomic64_read(&pre_calls) == (expected.pre_ends ? calls : 0) &&
	     atomic64_read(&post_calls) == (expected.post_ends ? calls : 0) && atomic64_read(&fixer_calls) == calls * expected.fixed;
	say(ok, test, which, &counts, &work, calls);
}

static void returns(const struct site *site)
{
	for (kind = 0; kind < FAULT_KINDS; kind++) {
		one_return(site, "an entry handler that faults is abandoned, and its return not told of", fault_names[kind],
			   (struct trapline_return_probe){ .entry = mess_entry, .returned = count_returned },
			   (struct expected){ .pre_faults = true });
		one_return(site, "a return handler that faults is abandoned", fault_names[kind],
			   (struct trapline_return_probe){ .returned = mess_returned }, (struct expected){ .post_faults = true });
	}
	kind = FAULT_NULL;
	one_return(site, "a return handler's fault is fixed by its fault handler", site->name,
		   (struct trapline_return_probe){ .returned = fixed_returned, .fault = return_fixer },
		   (struct expected){ .post_ends = true, .fixed = 1 });
	one_return(site, "what an entry handler noted arrives at the return of the same call", site->name,
		   (struct trapline_return_probe){ .entry = carry_entry, .returned = carry_returned, .carried = sizeof(u64) },
		   (struct expected){ .pre_ends = true, .post_ends = true });
}

/*
 * The entry of a return probe comes between a hit of the same instruction and its post handler: the
 * kernel calls the newest kprobe first.
 */
static void return_beside_post(const struct site *site)
{
	struct trapline_code_probe code = { .symbol = site->symbol, .pre = count_pre, .post = count_post };
	struct trapline_return_probe beside = { .symbol = site->symbol, .entry = carry_entry, .carried = sizeof(u64), .active = 64 };
	struct trapline_counts counts = {};
	struct work work = {};
	s64 calls = 0;
	bool ok;

	if (!trapline_register_return_probe(&beside)) {
		if (!trapline_register_code_probe(&code)) {
			calls = run(site, &work, hits);
			trapline_code_probe_counts(&code, &counts);
			trapline_unregister_code_probe(&code);
		}
		trapline_unregister_return_probe(&beside);
	}
	/* Both count the same: a call each before, of which there are two, and one after. */
	ok = unharmed(&work, calls) && counts.hits == calls && atomic64_read(&pre_calls) == 2 * calls && atomic64_read(&post_calls) == calls;
	say(ok, "a return probe beside a code probe leaves its post handler alone", site->name, &counts, &work, calls);
}

/*
 * Registered together; one of them is disabled for a while, and neither is there if a third can't
 * be.
 */
static void returns_switched(const struct site *site)
{
	struct trapline_return_probe both[] = {
		{ .symbol = site->symbol, .returned = count_returned, .active = 64 },
		{ .symbol = site->symbol, .returned = count_returned, .active = 64 },
	};
	struct trapline_return_probe nowhere = { .symbol = "no_such_function_anywhere", .returned = count_returned };
	struct trapline_return_probe *all[] = { &both[0], &both[1], &nowhere };
	struct trapline_counts counts[2] = {};
	struct work work = {};
	s64 calls = 0, first = 0;
	bool ok;

	ok = trapline_register_return_probes(all, 3) == -ENOENT;
	first = run(site, &work, hits / 4);
	ok &= unharmed(&work, first) && !atomic64_read(&post_calls);
	if (!trapline_register_return_probes(all, 2)) {
		trapline_disable_return_probe(&both[1]);
		first = run(site, &work, hits / 4);
		ok &= unharmed(&work, first) && atomic64_read(&post_calls) == first;
		trapline_enable_return_probe(&both[1]);
		calls = run(site, &work, hits / 4);
		trapline_return_probe_counts(&both[0], &counts[0]);
		trapline_return_probe_counts(&both[1], &counts[1]);
		trapline_unregister_return_probes(all, 2);
	}
	ok &= unharmed(&work, calls) && atomic64_read(&post_calls) == 2 * calls && counts[0].hits == first + calls && counts[1].hits == calls;
	say(ok, "return probes are registered together or not at all, and disabled alone", site->name, &counts[1], &work, calls);
}
