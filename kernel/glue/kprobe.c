// SPDX-License-Identifier: GPL-2.0
/*
 * Probed instructions: the kernel's own kprobes and kretprobes, which know what may be probed,
 * patch the text and step over the original.
 *
 * A site is one kprobe without a post handler, so that the kernel may replace its breakpoint by a
 * jump. While somebody wants to be called after the instruction too, a second kprobe with nothing
 * but a post handler stands at the same address: the kernel's own aggregation calls both, so what
 * comes and goes leaves no gap for the other. Kprobes of others at the address go through the same
 * aggregation.
 *
 * Where the kernel probes a function's entry by ftrace there is no instruction to step over, so the
 * post handlers follow the pre handlers at once. A kprobe with a post handler would there have to
 * redirect the function (IPMODIFY), which excludes live patches, and one that joins another without
 * is not taken down properly by kernels up to 6.12 (arm_kprobe_ftrace() and disarm_kprobe_ftrace()
 * then disagree about which ftrace_ops it is on).
 *
 * Which of these a site needs, what may not be probed and how a return probe goes is decided in
 * src/kprobes.rs.
 */
#include <linux/delay.h>
#include <linux/hashtable.h>
#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <asm/text-patching.h>
#include "glue.h"
#include "guard.h"

struct glue_site {
	struct kprobe main;
	struct kprobe post;
	const void *point;
	bool by_ftrace;
	/* By ftrace: whether somebody wants to be called after the instruction. */
	bool posts_at_entry;
	struct hlist_node node;
	struct rcu_head rcu;
};

/*
 * By address, for those who read instructions; from before its breakpoint is there until after it
 * is gone. Changed under the patching lock.
 */
static DEFINE_HASHTABLE(armed_sites, 8);

/*
 * Whether a breakpoint led here: what one by a jump came in is no NMI, but for code that only runs
 * in NMIs.
 */
static __always_inline bool enter(const struct glue_site *site, const struct glue_guard *guard)
{
	bool by_breakpoint = guard->preempt_count & NMI_MASK && !site->by_ftrace;

	if (by_breakpoint)
		this_cpu_inc(glue_breakpoints);
	return by_breakpoint;
}

static __always_inline void leave(bool by_breakpoint)
{
	if (by_breakpoint)
		this_cpu_dec(glue_breakpoints);
}

/* By ftrace the instruction is a call of its own, which has been made. */
static noinline void notrace step_over_entry(const struct glue_site *site, struct pt_regs *registers, const struct glue_guard *guard)
{
	unsigned long ip = registers->ip;

	registers->ip = (unsigned long)site->main.addr + MCOUNT_INSN_SIZE;
	trapline_stepped(site->point, registers, guard);
	registers->ip = ip;
}

/* The handlers of kprobes have no arrays, and no time for a canary of the stack. */
static int notrace __no_stack_protector on_hit(struct kprobe *kprobe, struct pt_regs *registers)
{
	const struct glue_site *site = container_of(kprobe, struct glue_site, main);
	struct glue_guard guard __uninitialized;
	bool by_breakpoint;

	guard_begin(&guard);
	by_breakpoint = enter(site, &guard);
	trapline_hit(site->point, registers, &guard);
	if (READ_ONCE(site->posts_at_entry))
		step_over_entry(site, registers, &guard);
	leave(by_breakpoint);
	guard_end_in_kprobe(&guard, registers);
	return 0;
}

static void notrace __no_stack_protector on_stepped(struct kprobe *kprobe, struct pt_regs *registers, unsigned long unused)
{
	const struct glue_site *site = container_of(kprobe, struct glue_site, post);
	struct glue_guard guard __uninitialized;
	bool by_breakpoint;

	guard_begin(&guard);
	by_breakpoint = enter(site, &guard);
	trapline_stepped(site->point, registers, &guard);
	leave(by_breakpoint);
	guard_end_in_kprobe(&guard, registers);
}

/* src/kprobes.rs has the kernel's numbers of these. */
static_assert(KPROBE_FLAG_GONE == 1 && KPROBE_FLAG_OPTIMIZED == 4 && KPROBE_FLAG_FTRACE == 8);

bool glue_within_module(u64 address)
{
	return within_module(address, THIS_MODULE);
}

/* Whether the address is in the kernel's function of that name. */
bool glue_is_in_function(u64 address, const char *function)
{
	char name[KSYM_SYMBOL_LEN];

	sprint_symbol_no_offset(name, address);
	return !strcmp(name, function);
}

/* Like all memory of ours, from where a test can refuse it. */
static void *zeroed(size_t size)
{
	void *memory = glue_kvmalloc(size, 8);

	if (memory)
		memset(memory, 0, size);
	return memory;
}

/*
 * Where a kprobe on a symbol stands, as the kernel looks it up for one: it is registered, but never
 * armed.
 */
int glue_kprobe_address(const char *symbol, u32 offset, u64 *address)
{
	struct kprobe kprobe = { .symbol_name = symbol, .offset = offset, .flags = KPROBE_FLAG_DISABLED };
	int error = register_kprobe(&kprobe);

	if (error)
		return error;
	*address = (u64)(unsigned long)kprobe.addr;
	unregister_kprobe(&kprobe);
	return 0;
}

/*
 * What was where a breakpoint is now, if that is one of ours. In traps, where RCU readers need no
 * lock, as interrupts are off; or with the patching lock held, so that no site comes or goes. Its
 * opcode is there before its breakpoint is (prepare_kprobe() before arm_kprobe()). Return probes,
 * which stand at a function's beginning, are not among them.
 */
bool notrace glue_original_byte(u64 address, u8 *byte)
{
	const struct glue_site *site;

	hash_for_each_possible_rcu_notrace(armed_sites, site, node, address) {
		/* One of a module that is gone knows what was there before. */
		if ((u64)(unsigned long)site->main.addr == address && !(READ_ONCE(site->main.flags) & KPROBE_FLAG_GONE)) {
			*byte = READ_ONCE(site->main.opcode);
			return true;
		}
	}
	return false;
}

/* When no hit of it is under way any more. */
void glue_free_site(struct glue_site *site)
{
	hash_del_rcu(&site->node);
	kvfree_rcu(site, rcu);
}

struct glue_site *glue_register_kprobe(u64 address, const void *point, int *error)
{
	struct glue_site *site = zeroed(sizeof(*site));

	if (!site) {
		*error = -ENOMEM;
		return NULL;
	}
	site->point = point;
	site->main.addr = (kprobe_opcode_t *)(unsigned long)address;
	site->main.pre_handler = on_hit;
	/*
	 * As if nothing were known of it, until the kernel has looked: another's breakpoint may be
	 * there.
	 */
	site->main.opcode = INT3_INSN_OPCODE;
	hash_add_rcu(armed_sites, &site->node, address);
	*error = register_kprobe(&site->main);
	if (*error) {
		glue_free_site(site);
		return NULL;
	}
	/* Nobody wants to be called after it yet, so no hit has looked. */
	site->by_ftrace = site->main.flags & KPROBE_FLAG_FTRACE;
	return site;
}

/* For a site that the kernel probes by ftrace. */
void glue_set_posts_at_entry(struct glue_site *site, bool wanted)
{
	WRITE_ONCE(site->posts_at_entry, wanted);
}

/* For any other. */
int glue_register_post_kprobe(struct glue_site *site)
{
	site->post = (struct kprobe){ .addr = site->main.addr, .post_handler = on_stepped };
	return register_kprobe(&site->post);
}

struct kprobe *glue_main_kprobe(struct glue_site *site)
{
	return &site->main;
}

struct kprobe *glue_post_kprobe(struct glue_site *site)
{
	return &site->post;
}

/* When it returns, no hit of theirs is under way. */
void glue_unregister_kprobes(struct kprobe **kprobes, u32 count)
{
	unregister_kprobes(kprobes, count);
}

u64 glue_kprobe_missed(const struct glue_site *site)
{
	return site->main.nmissed;
}

/*
 * KPROBE_FLAG_*. A jump belongs to the aggregate, which is one of the ring that its kprobes form.
 */
static u32 flags_of(const struct kprobe *kprobe)
{
	const struct list_head *at;
	u32 flags = kprobe->flags;
	int i = 0;

	rcu_read_lock();
	for (at = rcu_dereference(list_next_rcu(&kprobe->list)); at != &kprobe->list && i < 4096; i++) {
		flags |= container_of(at, struct kprobe, list)->flags & KPROBE_FLAG_OPTIMIZED;
		at = rcu_dereference(list_next_rcu(at));
	}
	rcu_read_unlock();
	return flags;
}

u32 glue_kprobe_flags(const struct glue_site *site)
{
	return flags_of(&site->main);
}

struct glue_return {
	struct kretprobe kretprobe;
	const void *probe;
	/* Calls whose return is to come, entered on a CPU less returned on it: the sum counts. */
	long __percpu *under_way;
};

/*
 * Return probes are each a kretprobe of its own: what it carries from entry to return is the
 * kernel's to keep.
 */
static int notrace __no_stack_protector on_entry(struct kretprobe_instance *instance, struct pt_regs *registers)
{
	const struct glue_return *site = container_of(get_kretprobe(instance), struct glue_return, kretprobe);
	struct glue_guard guard __uninitialized;
	bool wanted;

	guard_begin(&guard);
	wanted = trapline_entered(site->probe, registers, instance->data, &guard);
	guard_end_in_kprobe(&guard, registers);
	if (!wanted)
		return 1;
	this_cpu_inc(*site->under_way);
	return 0;
}

static int notrace __no_stack_protector on_return(struct kretprobe_instance *instance, struct pt_regs *registers)
{
	/* NULL once it is being unregistered, with calls still under way. */
	const struct kretprobe *kretprobe = get_kretprobe(instance);
	const struct glue_return *site;
	struct glue_guard guard __uninitialized;

	if (!kretprobe)
		return 0;
	site = container_of(kretprobe, struct glue_return, kretprobe);
	guard_begin(&guard);
	trapline_returned(site->probe, registers, instance->data, &guard);
	guard_end_in_kprobe(&guard, registers);
	this_cpu_dec(*site->under_way);
	return 0;
}

/* When none of its handlers is running any more, or if it never was registered. */
void glue_free_return(struct glue_return *site)
{
	free_percpu(site->under_way);
	kvfree(site);
}

s64 glue_calls_under_way(const struct glue_return *site)
{
	s64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(*per_cpu_ptr(site->under_way, cpu));
	return sum;
}

void glue_msleep(u32 milliseconds)
{
	msleep(milliseconds);
}

struct glue_return *glue_register_kretprobe(u64 address, const void *probe, size_t carried, u32 active, int *error)
{
	struct glue_return *site = zeroed(sizeof(*site));

	if (site)
		site->under_way = alloc_percpu(long);
	if (!site || !site->under_way) {
		kvfree(site);
		*error = -ENOMEM;
		return NULL;
	}
	site->probe = probe;
	site->kretprobe.kp.addr = (kprobe_opcode_t *)(unsigned long)address;
	site->kretprobe.entry_handler = on_entry;
	site->kretprobe.handler = on_return;
	site->kretprobe.data_size = carried;
	site->kretprobe.maxactive = active;
	*error = register_kretprobe(&site->kretprobe);
	if (*error) {
		glue_free_return(site);
		return NULL;
	}
	return site;
}

/* No call is entered any more. */
void glue_disable_kretprobe(struct glue_return *site)
{
	disable_kretprobe(&site->kretprobe);
}

struct kretprobe *glue_kretprobe(struct glue_return *site)
{
	return &site->kretprobe;
}

/* When it returns, none of their handlers is running. */
void glue_unregister_kretprobes(struct kretprobe **kretprobes, u32 count)
{
	unregister_kretprobes(kretprobes, count);
}

u64 glue_kretprobe_missed(const struct glue_return *site)
{
	return (u64)site->kretprobe.nmissed + site->kretprobe.kp.nmissed;
}

u32 glue_kretprobe_flags(const struct glue_return *site)
{
	return flags_of(&site->kretprobe.kp);
}
