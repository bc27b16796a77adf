/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Probes on an instruction that loads: its step faults, with a fixup, on a page to come, and on
 * memory with an access probe.
 */

#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/objtool.h>
#include <linux/vmalloc.h>
#include <asm/asm.h>
#include <asm/smap.h>

extern const u8 trapline_code_load_at[];

/* Once, since the label is there once. With user access open, as in copy_from_user(). */
static noinline __attribute__((noclone)) s64 load_probed(u64 address, u64 *value)
{
	s64 error = 0;

	stac();
	asm volatile(".globl trapline_code_load_at\n"
		     "trapline_code_load_at:\n\t"
		     ANNOTATE_NOENDBR "\n\t"
		     "movq (%[address]), %[value]\n\t"
		     "jmp 2f\n"
		     "1:\tmovq %[fault], %[error]\n"
		     "2:\n\t"
		     _ASM_EXTABLE(trapline_code_load_at, 1b)
		     : [value] "=&r"(*value), [error] "+r"(error)
		     : [address] "r"(address), [fault] "i"(-EFAULT)
		     : "memory");
	clac();
	return error;
}

static u64 *step_area;

static u64 faulting_target(u64 value)
{
	u64 loaded;

	return load_probed(fault_address(FAULT_HOLE), &loaded);
}

static u64 faulting_result(u64 value)
{
	return -EFAULT;
}

static u64 loading_target(u64 value)
{
	u64 loaded = 0;

	return load_probed((u64)(unsigned long)step_area + value % 64 * 8, &loaded) ? 0 : loaded;
}

static u64 loading_result(u64 value)
{
	return 0x1234 + value % 64;
}

static const struct site faulting_site = { "by its fixup", NULL, trapline_code_load_at, faulting_target, faulting_result, NULL, BY_BREAKPOINT };
static const struct site loading_site = { "no fault", NULL, trapline_code_load_at, loading_target, loading_result, NULL, BY_BREAKPOINT };

/*
 * The kernel brings the page and executes the instruction again: it is reached twice and executed
 * once.
 */
static void step_on_page_to_come(void)
{
	struct trapline_code_probe probe = { .address = (u64)(unsigned long)trapline_code_load_at, .pre = count_pre, .post = count_post,
					     .fault = declining_fixer };
	struct trapline_counts counts = {};
	struct work work = {};
	u64 value = 1, i, pages = 64;
	unsigned long area;
	bool ok = false;

	run_nothing();
	area = vm_mmap(NULL, 0, pages * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, 0);
	if (!IS_ERR_VALUE(area) && !trapline_register_code_probe(&probe)) {
		for (i = 0, ok = true; i < pages; i++)
			ok &= !load_probed(area + i * PAGE_SIZE, &value) && !value;
		trapline_code_probe_counts(&probe, &counts);
		trapline_unregister_code_probe(&probe);
		vm_munmap(area, pages * PAGE_SIZE);
	}
	ok &= counts.hits == 2 * pages && !counts.missed && !counts.pre_faults && !counts.post_faults &&
	      atomic64_read(&pre_calls) == 2 * pages && atomic64_read(&post_calls) == pages && !atomic64_read(&fixer_calls);
	say(ok, "a step that faults on a page to come begins anew", "user memory", &counts, &work, pages);
}

/* Runs into another probed instruction, which is missed and stepped over, and faults as that is. */
static void stepping_pre(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	u64 loaded;

	if (load_probed((u64)probe->data, &loaded) == -EFAULT)
		atomic64_inc(&pre_calls);
}

static void nested_step(enum fault_kind fault, struct expected expected)
{
	struct trapline_code_probe inner = { .address = (u64)(unsigned long)trapline_code_load_at, .post = count_post };
	struct trapline_counts counts = {};
	struct work work = {};

	if (trapline_register_code_probe(&inner)) {
		say(false, "a probe inside", "can't be registered", &counts, &work, 0);
		return;
	}
	one_probe(&sites[0], "a handler runs into a probed instruction whose step faults", fault_names[fault],
		  (struct trapline_code_probe){ .pre = stepping_pre, .data = (void *)fault_address(fault) }, expected, 0, 1);
	trapline_code_probe_counts(&inner, &counts);
	trapline_unregister_code_probe(&inner);
	say(!counts.hits && counts.missed, "that is counted as missed", fault_names[fault], &counts, &work, 0);
}

static atomic64_t accesses;

static void see_access(struct trapline_access_probe *probe, const struct trapline_access *access)
{
	u64 index = (access->address - probe->start) / 8;

	if (access->ip == (u64)(unsigned long)trapline_code_load_at && access->width == 8 && !access->write && access->value_length == 8 &&
	    *(const u64 *)access->value == 0x1234 + index)
		atomic64_inc(&accesses);
}

/*
 * Both kinds of probes at once: the access is performed for the instruction, whose step has
 * faulted, so that it has no end.
 */
static void step_on_armed_page(void)
{
	struct trapline_access_probe access = { .start = (u64)(unsigned long)step_area, .length = PAGE_SIZE, .flags = TRAPLINE_READS,
						.post = see_access };
	struct trapline_counts counts = {};
	struct work work = {};
	s64 calls = hits / 10;

	atomic64_set(&accesses, 0);
	if (trapline_register_access_probe(&access)) {
		say(false, "an access probe", "can't be registered", &counts, &work, 0);
		return;
	}
	one_probe(&loading_site, "an instruction that is probed, and whose memory is, is seen once by each", "vmalloc",
		  (struct trapline_code_probe){ .pre = count_pre }, (struct expected){ .pre_ends = true }, 0, 10);
	trapline_unregister_access_probe(&access);
	calls = div64_u64(calls, num_online_cpus()) * num_online_cpus();
	say(atomic64_read(&accesses) == calls, "the access probe beside it sees each access with its value", "vmalloc", &counts, &work,
	    atomic64_read(&accesses));
}

static void steps(void)
{
	u64 i;

	step_area = vmalloc(PAGE_SIZE);
	if (!step_area)
		return;
	for (i = 0; i < 64; i++)
		step_area[i] = 0x1234 + i;
	one_probe(&faulting_site, "a fault of the instruction itself goes to the system, which has a fixup", faulting_site.name,
		  (struct trapline_code_probe){ .pre = count_pre, .post = count_post, .fault = declining_fixer },
		  (struct expected){ .pre_ends = true }, 0, 1);
	one_probe(&loading_site, "the same instruction where it does not fault", loading_site.name,
		  (struct trapline_code_probe){ .pre = count_pre, .post = count_post, .fault = declining_fixer },
		  (struct expected){ .pre_ends = true, .post_ends = true }, 0, 1);
	nested_step(FAULT_HOLE, (struct expected){ .pre_ends = true });
	/* The kernel looks for a fixup before kprobes have told it which instruction it is. */
	nested_step(FAULT_NON_CANONICAL, (struct expected){ .pre_faults = true });
	step_on_page_to_come();
	step_on_armed_page();
	vfree(step_area);
}
