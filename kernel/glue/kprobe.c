// SPDX-License-Identifier: GPL-2.0
/*
 * Probed instructions: the kernel's own kprobes and kretprobes, which know what may be probed, patch the text and step over the original.
 *
 * A site is one kprobe without a post handler, so that the kernel may replace its breakpoint by a jump. While somebody wants to be called after the instruction
 * too, a second kprobe with nothing but a post handler stands at the same address: the kernel's own aggregation calls both, so what comes and goes leaves no gap
 * for the other. Kprobes of others at the address go through the same aggregation.
 *
 * Where the kernel probes a function's entry by ftrace there is no instruction to step over, so the post handlers follow the pre handlers at once. A kprobe with a post
 * handler would there have to redirect the function (IPMODIFY), which excludes live patches, and one that joins another without is not taken down properly by
 * kernels up to 6.12 (arm_kprobe_ftrace() and disarm_kprobe_ftrace() then disagree about which ftrace_ops it is on).
 */
#include <linux/delay.h>
#include <linux/hashtable.h>
#include <linux/jiffies.h>
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
	/* Whether somebody wants to be called after the instruction: by ftrace, and else, where `post` is registered. */
	bool posts_at_entry;
	bool posts;
	struct hlist_node node;
	struct rcu_head rcu;
};

/* By address, for those who read instructions; from before its breakpoint is there until after it is gone. Changed under the code lock. */
static DEFINE_HASHTABLE(armed_sites, 8);

/* Whether a breakpoint led here: what one by a jump came in is no NMI, but for code that only runs in NMIs. */
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
	guard_end(&guard);
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
	guard_end(&guard);
}

/* What recovery hangs on: a tracer there would be called inside of every handler's fault. */
static const char *const vital[] = { "fixup_exception", "page_fault_oops" };

static bool is_own(unsigned long address)
{
	char name[KSYM_SYMBOL_LEN];
	bool own;
	size_t i;

	preempt_disable();
	own = within_module(address, THIS_MODULE);
	preempt_enable();
	sprint_symbol_no_offset(name, address);
	for (i = 0; i < ARRAY_SIZE(vital); i++)
		own |= !strcmp(name, vital[i]);
	return own;
}

/* Like all memory of ours, from where a test can refuse it. */
static void *zeroed(size_t size)
{
	void *memory = glue_kvmalloc(size, 8);

	if (memory)
		memset(memory, 0, size);
	return memory;
}

/* Where a kprobe on a symbol stands, as the kernel looks it up for one: it is registered, but never armed. */
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
 * What was where a breakpoint is now, if that is one of ours. In traps; RCU readers need no lock there, as interrupts are off. Its opcode is there before its breakpoint is
 * (prepare_kprobe() before arm_kprobe()). Return probes, which stand at a function's beginning, are not among them.
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

static void free_site(struct glue_site *site)
{
	hash_del_rcu(&site->node);
	kvfree_rcu(site, rcu);
}

struct glue_site *glue_register_kprobe(u64 address, const void *point, int *error)
{
	struct glue_site *site;

	if (is_own(address)) {
		*error = -EPERM;
		return NULL;
	}
	site = zeroed(sizeof(*site));
	if (!site) {
		*error = -ENOMEM;
		return NULL;
	}
	site->point = point;
	site->main.addr = (kprobe_opcode_t *)(unsigned long)address;
	site->main.pre_handler = on_hit;
	/* As if nothing were known of it, until the kernel has looked: another's breakpoint may be there. */
	site->main.opcode = INT3_INSN_OPCODE;
	hash_add_rcu(armed_sites, &site->node, address);
	*error = register_kprobe(&site->main);
	if (*error) {
		free_site(site);
		return NULL;
	}
	/* Nobody wants to be called after it yet, so no hit has looked. */
	site->by_ftrace = site->main.flags & KPROBE_FLAG_FTRACE;
	return site;
}

int glue_kprobe_set_post(struct glue_site *site, bool wanted)
{
	int error = 0;

	if (site->by_ftrace) {
		WRITE_ONCE(site->posts_at_entry, wanted);
		return 0;
	}
	if (!wanted) {
		site->posts = false;
		unregister_kprobe(&site->post);
		return 0;
	}
	memset(&site->post, 0, sizeof(site->post));
	site->post.addr = site->main.addr;
	site->post.post_handler = on_stepped;
	error = register_kprobe(&site->post);
	site->posts = !error;
	return error;
}

/* Frees the sites, too: when it returns, no hit of theirs is under way. */
void glue_unregister_kprobes(struct glue_site **sites, size_t count)
{
	struct kprobe *kprobes[2 * GLUE_SITES];
	int number = 0;
	size_t i;

	if (WARN_ON_ONCE(count > GLUE_SITES))
		return;
	for (i = 0; i < count; i++) {
		kprobes[number++] = &sites[i]->main;
		if (sites[i]->posts)
			kprobes[number++] = &sites[i]->post;
	}
	unregister_kprobes(kprobes, number);
	for (i = 0; i < count; i++)
		free_site(sites[i]);
}

u64 glue_kprobe_missed(const struct glue_site *site)
{
	return site->main.nmissed;
}

static u32 flags_of(const struct kprobe *kprobe)
{
	const struct list_head *at;
	u32 flags = kprobe->flags;
	int i = 0;

	/* A jump belongs to the aggregate, which is one of the ring that its kprobes form. */
	rcu_read_lock();
	for (at = rcu_dereference(list_next_rcu(&kprobe->list)); at != &kprobe->list && i < 4096; i++) {
		flags |= container_of(at, struct kprobe, list)->flags & KPROBE_FLAG_OPTIMIZED;
		at = rcu_dereference(list_next_rcu(at));
	}
	rcu_read_unlock();
	return (flags & KPROBE_FLAG_OPTIMIZED ? GLUE_OPTIMIZED : 0) | (flags & KPROBE_FLAG_FTRACE ? GLUE_FTRACE : 0) |
	       (flags & KPROBE_FLAG_GONE ? GLUE_GONE : 0);
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

/* Return probes are each a kretprobe of its own: what it carries from entry to return is the kernel's to keep. */
static int notrace __no_stack_protector on_entry(struct kretprobe_instance *instance, struct pt_regs *registers)
{
	const struct glue_return *site = container_of(get_kretprobe(instance), struct glue_return, kretprobe);
	struct glue_guard guard __uninitialized;
	bool wanted;

	guard_begin(&guard);
	wanted = trapline_entered(site->probe, registers, instance->data, &guard);
	guard_end(&guard);
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
	guard_end(&guard);
	this_cpu_dec(*site->under_way);
	return 0;
}

static void return_free(struct glue_return *site)
{
	free_percpu(site->under_way);
	kvfree(site);
}

static bool is_under_way(const struct glue_return *site)
{
	long sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(*per_cpu_ptr(site->under_way, cpu));
	return sum > 0;
}

/*
 * Lets calls return before their probe goes. Up to 6.7 the kernel reads the handler that unregistering takes away twice, to see whether it is there and to call
 * it (rethook_trampoline_handler()), and a return between the two jumps to NULL. So no call begins any more, and those that don't sleep get the time to end; one that
 * returns later still has those few instructions, as with every kretprobe.
 */
static void drain(struct glue_return **sites, size_t count)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(100);
	size_t i;

	for (i = 0; i < count; i++)
		disable_kretprobe(&sites[i]->kretprobe);
	/* Entries that have begun have counted after this. */
	synchronize_rcu();
	for (i = 0; i < count; i++)
		while (is_under_way(sites[i]) && time_before(jiffies, deadline))
			msleep(1);
	/* The last that were counted off are out of the kernel's handler as well. */
	synchronize_rcu();
}

struct glue_return *glue_register_kretprobe(u64 address, const void *probe, size_t carried, u32 active, int *error)
{
	struct glue_return *site;

	if (is_own(address)) {
		*error = -EPERM;
		return NULL;
	}
	site = zeroed(sizeof(*site));
	if (!site) {
		*error = -ENOMEM;
		return NULL;
	}
	site->under_way = alloc_percpu(long);
	if (!site->under_way) {
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
		return_free(site);
		return NULL;
	}
	return site;
}

void glue_unregister_kretprobes(struct glue_return **sites, size_t count)
{
	struct kretprobe *kretprobes[GLUE_SITES];
	size_t i;

	if (WARN_ON_ONCE(count > GLUE_SITES))
		return;
	for (i = 0; i < count; i++)
		kretprobes[i] = &sites[i]->kretprobe;
	drain(sites, count);
	unregister_kretprobes(kretprobes, count);
	for (i = 0; i < count; i++)
		return_free(sites[i]);
}

u64 glue_kretprobe_missed(const struct glue_return *site)
{
	return (u64)site->kretprobe.nmissed + site->kretprobe.kp.nmissed;
}

u32 glue_kretprobe_flags(const struct glue_return *site)
{
	return flags_of(&site->kretprobe.kp);
}
