// SPDX-License-Identifier: GPL-2.0
/*
 * Code probes whose handlers fault, on all CPUs at once. Loading it runs the tests, says how each
 * went, and fails if one did.
 *
 * 	modprobe trapline_code hits=100000 at=jump
 *
 * hits      how often the probed code runs in each test, all CPUs together
 * at        how the kernel comes to the probed code: breakpoint (only if
 *           /proc/sys/debug/kprobes-optimization is 0), jump or entry, by ftrace
 */
#define pr_fmt(fmt) "trapline_code: " fmt

#include <linux/math.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/ptrace.h>
#include <linux/uaccess.h>
#include "code_faults.h"
#include "code_sites.h"
#include "code_work.h"
#include "trapline.h"

static ulong hits = 10000;
module_param(hits, ulong, 0444);

static char *at = "entry";
module_param(at, charp, 0444);

static int failures;
static enum fault_kind kind;
/* Calls of handlers that came to their end. */
static atomic64_t pre_calls, post_calls, fixer_calls;

static void say(bool ok, const char *test, const char *which, const struct trapline_counts *counts, const struct work *work, s64 calls)
{
	if (ok) {
		pr_info("ok %s (%s)\n", test, which);
		return;
	}
	failures++;
	pr_err("FAILED %s (%s): %lld calls, wrong results %lld, wrong contexts %lld; hits %llu missed %llu pre_faults %llu post_faults %llu fixed %llu disabled %d; handlers pre %lld post %lld fault %lld\n",
	       test, which, calls, (s64)atomic64_read(&work->wrong_results), (s64)atomic64_read(&work->wrong_contexts), counts->hits,
	       counts->missed, counts->pre_faults, counts->post_faults, counts->fixed, counts->disabled, (s64)atomic64_read(&pre_calls),
	       (s64)atomic64_read(&post_calls), (s64)atomic64_read(&fixer_calls));
}

static void mess_pre(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	mess_and_fault(kind);
	atomic64_inc(&pre_calls);
}

static void mess_post(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	mess_and_fault(kind);
	atomic64_inc(&post_calls);
}

static void count_pre(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	atomic64_inc(&pre_calls);
}

static void count_post(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	atomic64_inc(&post_calls);
}

/* Uses the kernel's functions that are made to fault, and ours. */
static void careful_pre(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	u64 value = 0, right = 0;

	if (copy_from_kernel_nofault(&value, (void *)fault_address(FAULT_HOLE), sizeof(value)) == -EFAULT &&
	    copy_from_user_nofault(&value, (void __user *)fault_address(FAULT_USER), sizeof(value)) == -EFAULT &&
	    trapline_read_kernel(&value, (void *)fault_address(FAULT_HOLE), sizeof(value)) == -EFAULT &&
	    trapline_read_kernel(&value, (void *)fault_address(FAULT_NON_CANONICAL), sizeof(value)) == -EFAULT &&
	    trapline_read_kernel(&value, NULL, sizeof(value)) == -EFAULT &&
	    trapline_read_user(&value, fault_address(FAULT_USER), sizeof(value)) == -EFAULT &&
	    trapline_read_user(&value, fault_address(FAULT_HOLE), 1) == -EFAULT &&
	    !trapline_read_kernel(&right, (char *)&probe->data + 1, 7) && right == (u64)probe->data >> 8)
		atomic64_inc(&pre_calls);
}

/* Reads where nothing is; its fault handler supplies the value. */
static void fixed_pre(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	if (read_at(fault_address(FAULT_NULL)) == 0x600d && read_at(fault_address(FAULT_HOLE)) == 0x600d)
		atomic64_inc(&pre_calls);
}

static bool fixer(struct trapline_code_probe *probe, struct pt_regs *registers, const struct trapline_exception *exception)
{
	if (exception->vector != 14 || (exception->address != fault_address(FAULT_NULL) && exception->address != fault_address(FAULT_HOLE)))
		return false;
	atomic64_inc(&fixer_calls);
	registers->ax = 0x600d;
	registers->ip += READ_LENGTH;
	return true;
}

static bool faulting_fixer(struct trapline_code_probe *probe, struct pt_regs *registers, const struct trapline_exception *exception)
{
	registers->ip = 0;
	registers->sp = 0;
	mess_and_fault(FAULT_NULL);
	atomic64_inc(&fixer_calls);
	return true;
}

static bool lying_fixer(struct trapline_code_probe *probe, struct pt_regs *registers, const struct trapline_exception *exception)
{
	atomic64_inc(&fixer_calls);
	return true;
}

static bool declining_fixer(struct trapline_code_probe *probe, struct pt_regs *registers, const struct trapline_exception *exception)
{
	atomic64_inc(&fixer_calls);
	registers->ip = 0;
	return false;
}

static void run_nothing(void)
{
	atomic64_set(&pre_calls, 0);
	atomic64_set(&post_calls, 0);
	atomic64_set(&fixer_calls, 0);
}

static s64 run(const struct site *site, struct work *work, u64 calls)
{
	memset(work, 0, sizeof(*work));
	work->target = site->target;
	work->expected = site->expected;
	work->calls = max_t(u64, div_u64(calls, num_online_cpus()), 1);
	run_nothing();
	return work_on_all_cpus(work);
}

static bool unharmed(const struct work *work, s64 calls)
{
	return calls > 0 && !atomic64_read(&work->wrong_results) && !atomic64_read(&work->wrong_contexts);
}

/* What one probe must have counted after `calls` hits. */
struct expected {
	bool pre_faults, post_faults, pre_ends, post_ends;
	u64 fixed;
};

static void one_probe(const struct site *site, const char *test, const char *which, struct trapline_code_probe probe, struct expected expected,
		      u64 fixers, u64 divisor)
{
	struct trapline_counts counts = {};
	struct work work = {};
	s64 calls = 0;
	bool ok;

	/* One with a post handler is stepped over, and so by a breakpoint. */
	if (probe.post && site->way == BY_JUMP)
		return;
	probe.symbol = site->symbol;
	if (!site->symbol)
		probe.address = address_of_site(site);
	probe.name = test;
	if (trapline_register_code_probe(&probe)) {
		say(false, test, "can't be registered", &counts, &work, calls);
		return;
	}
	ok = comes_by(site);
	calls = run(site, &work, div64_u64(hits, divisor));
	ok &= comes_by(site);
	trapline_code_probe_counts(&probe, &counts);
	trapline_unregister_code_probe(&probe);
	ok &= unharmed(&work, calls) && counts.hits == calls && !counts.missed && counts.pre_faults == (expected.pre_faults ? calls : 0) &&
	     counts.post_faults == (expected.post_faults ? calls : 0) && counts.fixed == calls * expected.fixed && !counts.disabled &&
	     atomic64_read(&pre_calls) == (expected.pre_ends ? calls : 0) &&
	     atomic64_read(&post_calls) == (expected.post_ends ? calls : 0) && atomic64_read(&fixer_calls) == calls * fixers;
	say(ok, test, which, &counts, &work, calls);
}

static void faulting_handlers(const struct site *site)
{
	for (kind = 0; kind < FAULT_KINDS; kind++) {
		one_probe(site, "a pre handler that faults is abandoned", fault_names[kind],
			  (struct trapline_code_probe){ .pre = mess_pre, .post = count_post }, (struct expected){ .pre_faults = true }, 0, 1);
		one_probe(site, "a pre handler that faults is abandoned, no post handler", fault_names[kind],
			  (struct trapline_code_probe){ .pre = mess_pre }, (struct expected){ .pre_faults = true }, 0, 1);
		one_probe(site, "a post handler that faults is abandoned", fault_names[kind],
			  (struct trapline_code_probe){ .pre = count_pre, .post = mess_post },
			  (struct expected){ .post_faults = true, .pre_ends = true }, 0, 1);
	}
	kind = FAULT_NULL;
}

static void fault_handlers(const struct site *site)
{
	one_probe(site, "a fault handler that supplies the value has the handler go on", site->name,
		  (struct trapline_code_probe){ .pre = fixed_pre, .post = count_post, .fault = fixer },
		  (struct expected){ .pre_ends = true, .post_ends = true, .fixed = 2 }, 2, 1);
	one_probe(site, "a fault handler that declines changes nothing", site->name,
		  (struct trapline_code_probe){ .pre = mess_pre, .post = count_post, .fault = declining_fixer },
		  (struct expected){ .pre_faults = true }, 1, 1);
	one_probe(site, "a fault handler that faults is abandoned with its handler", site->name,
		  (struct trapline_code_probe){ .pre = count_pre, .post = mess_post, .fault = faulting_fixer },
		  (struct expected){ .post_faults = true, .pre_ends = true }, 0, 1);
	one_probe(site, "a fault handler that lies is not believed for ever", site->name,
		  (struct trapline_code_probe){ .pre = mess_pre, .fault = lying_fixer },
		  (struct expected){ .pre_faults = true, .fixed = 1024 }, 1024, 20000);
	one_probe(site, "functions that are made to fault do so in a handler, and its fault handler is not asked by ours", site->name,
		  (struct trapline_code_probe){ .pre = careful_pre, .data = (void *)0x1122334455667788 },
		  (struct expected){ .pre_ends = true }, 0, 1);
}

static void one_disabled(const struct site *site)
{
	struct trapline_code_probe probe = { .symbol = site->symbol, .pre = mess_pre, .limit = 50 };
	struct trapline_counts counts = {}, enabled = {};
	struct work work = {};
	s64 calls = 0;
	bool ok;

	if (!trapline_register_code_probe(&probe)) {
		calls = run(site, &work, hits);
		trapline_code_probe_counts(&probe, &counts);
		trapline_enable_code_probe(&probe);
		trapline_code_probe_counts(&probe, &enabled);
		trapline_unregister_code_probe(&probe);
	}
	/* Handlers that other CPUs were in when the limit was reached are abandoned too. */
	ok = unharmed(&work, calls) && counts.disabled && !enabled.disabled && counts.pre_faults >= 50 &&
	     counts.pre_faults < 50 + num_online_cpus() && counts.hits == counts.pre_faults;
	say(ok, "a probe whose handler faults too often is disabled, and can be enabled again", site->name, &counts, &work, calls);
}

/* Calls what is probed: that hit is not delivered, but counted. */
static void nested_pre(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	const struct site *site = probe->data;

	if (site->target(5) == site->expected(5))
		atomic64_inc(&pre_calls);
}

static void one_nested(const struct site *site)
{
	struct trapline_code_probe probe = { .symbol = site->symbol, .pre = nested_pre, .post = count_post, .data = (void *)site };
	struct trapline_counts counts = {}, alone = {};
	struct work work = {};
	s64 calls = 0;
	bool ok = true;
	u64 i;

	if (!trapline_register_code_probe(&probe)) {
		calls = run(site, &work, hits / 4);
		trapline_code_probe_counts(&probe, &counts);
		/* Here alone. */
		for (i = 0; i < 1000; i++)
			ok &= site->target(i) == site->expected(i);
		trapline_code_probe_counts(&probe, &alone);
		ok &= alone.missed - counts.missed == 1000 && alone.hits - counts.hits == 1000;
		trapline_unregister_code_probe(&probe);
	}
	/*
	 * The kernel counts what it misses without atomics: those of two CPUs at the same moment
	 * may be one.
	 */
	ok &= unharmed(&work, calls) && counts.hits == calls && counts.missed > calls / 2 && counts.missed <= calls &&
	     atomic64_read(&pre_calls) == calls + 1000 && atomic64_read(&post_calls) == calls + 1000;
	say(ok, "a hit inside of a handler is missed and counted, and the interrupted one goes on", site->name, &counts, &work, calls);
}

static void one_switched(const struct site *site)
{
	struct trapline_code_probe probe = { .symbol = site->symbol, .pre = count_pre };
	struct trapline_counts off = {}, on = {};
	struct work work = {};
	s64 calls = 0, first = 0;
	bool ok = false;

	if (!trapline_register_code_probe(&probe)) {
		trapline_disable_code_probe(&probe);
		first = run(site, &work, hits / 4);
		trapline_code_probe_counts(&probe, &off);
		ok = unharmed(&work, first) && off.disabled && !off.hits && !atomic64_read(&pre_calls);
		trapline_enable_code_probe(&probe);
		calls = run(site, &work, hits / 4);
		trapline_code_probe_counts(&probe, &on);
		trapline_unregister_code_probe(&probe);
	}
	ok &= unharmed(&work, calls) && !on.disabled && on.hits == calls && atomic64_read(&pre_calls) == calls;
	say(ok, "a probe that is disabled is not called until it is enabled", site->name, &on, &work, calls);
}

static void one_of_several(const struct site *site)
{
	struct trapline_code_probe probes[] = {
		{ .pre = mess_pre, .post = count_post },
		{ .pre = count_pre, .post = count_post },
		{ .pre = count_pre, .post = mess_post },
		{ .post = count_post },
	};
	struct trapline_code_probe *all[ARRAY_SIZE(probes)];
	struct trapline_counts counts = {};
	struct work work = {};
	s64 calls = 0;
	bool ok = true;
	int i;

	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		probes[i].symbol = site->symbol;
		all[i] = &probes[i];
	}
	if (trapline_register_code_probes(all, ARRAY_SIZE(all))) {
		say(false, "several", "can't be registered", &counts, &work, calls);
		return;
	}
	calls = run(site, &work, hits);
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		trapline_code_probe_counts(&probes[i], &counts);
		ok &= counts.hits == calls && counts.pre_faults == (i == 0 ? calls : 0) && counts.post_faults == (i == 2 ? calls : 0);
	}
	trapline_unregister_code_probes(all, ARRAY_SIZE(all));
	ok &= unharmed(&work, calls) && atomic64_read(&pre_calls) == 2 * calls && atomic64_read(&post_calls) == 2 * calls;
	say(ok, "a fault in one handler does not keep those of others from running", site->name, &counts, &work, calls);
}

#include "code_access.h"
#include "code_interrupts.h"
#include "code_returns.h"
#include "code_maps.h"
#include "code_order.h"
#include "code_steps.h"

/* Without them a handler could read what it is to be kept from, and nothing would fault. */
static bool user_memory_is_guarded(void)
{
	return (native_read_cr4() & (X86_CR4_SMAP | X86_CR4_SMEP)) == (X86_CR4_SMAP | X86_CR4_SMEP);
}

static int __init code_init(void)
{
	const struct site *site = sites;

	while (site < sites + ARRAY_SIZE(sites) && strcmp(site->name, at))
		site++;
	if (site == sites + ARRAY_SIZE(sites))
		return -EINVAL;
	if (!user_memory_is_guarded()) {
		pr_err("FAILED: SMAP or SMEP is off\n");
		return -EIO;
	}
	faulting_handlers(site);
	fault_handlers(site);
	one_nested(site);
	interrupted_handlers(site);
	one_switched(site);
	one_of_several(site);
	returns(site);
	return_beside_post(site);
	returns_switched(site);
	maps(site);
	in_order(site);
	one_disabled(site);
	registered_twice(site);
	reads_user_memory(site);
	if (site->way == BY_BREAKPOINT) {
		steps();
		other_handlers();
	}
	return failures ? -EIO : 0;
}

static void __exit code_exit(void)
{
}

module_init(code_init);
module_exit(code_exit);
MODULE_DESCRIPTION("Trapline: code probes whose handlers fault");
MODULE_LICENSE("GPL");
