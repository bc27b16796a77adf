// SPDX-License-Identifier: GPL-2.0
/*
 * Handlers that fault inside of functions whose return somebody waits for: kretprobes of the
 * kernel's, always, and the function_graph tracer, if it is switched on. Their return never comes,
 * and the next function's must not be taken for it.
 *
 * 	modprobe trapline_traced
 * 	echo 1000 >/sys/module/trapline_traced/parameters/rounds
 *
 * And functions that are redirected, as live patches do it, and probed:
 *
 * 	echo 1000 >/sys/module/trapline_traced/parameters/patched
 */
#define pr_fmt(fmt) "trapline_traced: " fmt

#include <linux/ftrace.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/vmalloc.h>
#include "code_faults.h"
#include "code_target.h"
#include "trapline.h"

static u64 *area;
static u64 returns, round, result_of_nothing;

/*
 * Several of them, each with a return of its own; what follows the call keeps the compiler from
 * making a jump of it.
 */
static noinline void traced_innermost(u64 number)
{
	mess_and_fault(number % FAULT_KINDS);
	WRITE_ONCE(result_of_nothing, number);
}

static noinline void traced_inner(u64 number)
{
	traced_innermost(number);
	WRITE_ONCE(result_of_nothing, number);
}

static void code_handler(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	traced_inner(registers->di);
}

/* Outside of any kprobe, so that kretprobes see what it calls. */
static enum trapline_decision access_handler(struct trapline_access_probe *probe, const struct trapline_access *access, u64 *value)
{
	traced_inner(round);
	return TRAPLINE_DECISION_PASS;
}

static noinline u64 traced_outer(u64 number)
{
	u64 result = trapline_code_target(number);

	return result + READ_ONCE(area[0]);
}

static int on_return(struct kretprobe_instance *instance, struct pt_regs *registers)
{
	returns++;
	return 0;
}

static struct trapline_code_probe code = { .address = (u64)(unsigned long)trapline_code_target, .pre = code_handler, .post = code_handler };
static struct trapline_access_probe access = { .length = PAGE_SIZE, .flags = TRAPLINE_READS, .pre = access_handler };
static struct kretprobe outer = { .kp.symbol_name = "traced_outer", .handler = on_return, .maxactive = 4 };
static struct kretprobe inner = { .kp.symbol_name = "traced_inner", .handler = on_return, .maxactive = 4 };

struct waiting {
	struct llist_node *rethooks;
	long graph;
};

static struct waiting waiting_now(void)
{
	struct waiting waiting = {};

#ifdef CONFIG_RETHOOK
	waiting.rethooks = current->rethooks.first;
#endif
#ifdef CONFIG_FUNCTION_GRAPH_TRACER
	waiting.graph = current->curr_ret_stack;
#endif
	return waiting;
}

static int set_rounds(const char *text, const struct kernel_param *parameter)
{
	struct context before = context_now(), after;
	struct waiting begin = waiting_now(), end;
	u64 rounds, i, wrong = 0;
	int error = kstrtou64(text, 0, &rounds);

	if (error || !area)
		return error;
	returns = 0;
	access.pre_faults = 0;
	for (i = 0; i < rounds; i++) {
		round = i;
		wrong += traced_outer(i) != target_result(i) + 0x1234;
	}
	after = context_now();
	end = waiting_now();
	wrong += memcmp(&before, &after, sizeof(before)) || memcmp(&begin, &end, sizeof(begin));
	/* Instances of the kretprobe that an abandoned call took are there for the next. */
	pr_info("%llu rounds: %llu wrong, %llu returns, %lld accesses abandoned, %d calls missed for want of an instance\n", rounds, wrong, returns,
		(s64)access.pre_faults, inner.nmissed + outer.nmissed);
	return wrong || returns != rounds || access.pre_faults != rounds || inner.nmissed || outer.nmissed ? -EIO : 0;
}

static const struct kernel_param_ops rounds_ops = { .set = set_rounds };
module_param_cb(rounds, &rounds_ops, NULL, 0200);

noinline u64 trapline_traced_old(u64 number);

u64 trapline_traced_old(u64 number)
{
	WRITE_ONCE(result_of_nothing, number);
	return number + 1;
}

static noinline u64 traced_new(u64 number)
{
	WRITE_ONCE(result_of_nothing, number);
	return number + 1000;
}

static void redirect(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops, struct ftrace_regs *ftrace_registers)
{
	struct pt_regs *registers = ftrace_get_regs(ftrace_registers);

	if (registers)
		registers->ip = (unsigned long)traced_new;
}

static struct ftrace_ops patch = { .func = redirect, .flags = FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_IPMODIFY };
static u64 pre_calls, post_calls;

static void count_pre(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	pre_calls++;
}

static void count_post(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	post_calls++;
}

/* The probe that is there when the patch comes, and the one that comes after it. */
static int set_patched(const char *text, const struct kernel_param *parameter)
{
	struct trapline_code_probe probes[2] = {
		{ .symbol = "trapline_traced_old", .pre = count_pre, .post = count_post },
		{ .symbol = "trapline_traced_old", .pre = count_pre, .post = count_post },
	};
	u64 calls, i, wrong = 0;
	int error = kstrtou64(text, 0, &calls);

	if (error)
		return error;
	pre_calls = post_calls = 0;
	error = trapline_register_code_probe(&probes[0]);
	if (error)
		return error;
	error = ftrace_set_filter(&patch, "trapline_traced_old", strlen("trapline_traced_old"), 1) ?: register_ftrace_function(&patch);
	if (error)
		goto no_patch;
	error = trapline_register_code_probe(&probes[1]);
	if (error)
		goto no_second;
	for (i = 0; i < calls; i++)
		wrong += trapline_traced_old(i) != i + 1000;
	trapline_unregister_code_probe(&probes[1]);
	pr_info("%llu calls of a patched function: %llu wrong, %llu and %llu of 2 probes\n", calls, wrong, pre_calls, post_calls);
	if (wrong || pre_calls != 2 * calls || post_calls != 2 * calls)
		error = -EIO;
no_second:
	unregister_ftrace_function(&patch);
no_patch:
	trapline_unregister_code_probe(&probes[0]);
	return error;
}

static const struct kernel_param_ops patched_ops = { .set = set_patched };
module_param_cb(patched, &patched_ops, NULL, 0200);

static int __init traced_init(void)
{
	int error = -ENOMEM;

	area = vzalloc(PAGE_SIZE);
	if (!area)
		return error;
	area[0] = 0x1234;
	access.start = (u64)(unsigned long)area;
	error = trapline_register_code_probe(&code);
	if (error)
		goto no_code;
	error = trapline_register_access_probe(&access);
	if (error)
		goto no_access;
	error = register_kretprobe(&outer);
	if (error)
		goto no_outer;
	error = register_kretprobe(&inner);
	if (!error)
		return 0;
	unregister_kretprobe(&outer);
no_outer:
	trapline_unregister_access_probe(&access);
no_access:
	trapline_unregister_code_probe(&code);
no_code:
	vfree(area);
	return error;
}

static void __exit traced_exit(void)
{
	unregister_kretprobe(&inner);
	unregister_kretprobe(&outer);
	trapline_unregister_access_probe(&access);
	trapline_unregister_code_probe(&code);
	vfree(area);
}

module_init(traced_init);
module_exit(traced_exit);
MODULE_DESCRIPTION("Trapline: handlers that fault in traced functions");
MODULE_LICENSE("GPL");
