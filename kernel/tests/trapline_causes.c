// SPDX-License-Identifier: GPL-2.0
/*
 * Page faults that only the kernel can raise, and only by mistake: each is raised once when its
 * name is written to `provoke`, with an address of the writer's if it is about user memory; a
 * handler of this module claims it, and puts right what was wrong or steps over it (one it leaves
 * to the kernel's exception table).
 *
 * 	echo smap-read 0x7f0000001000 > /sys/module/trapline_causes/parameters/provoke
 *
 * `address`, `instruction` and `error_code` tell what the handler was given. `user-reserved` only
 * prepares the writer's page: the fault is its next access there.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <asm/nospec-branch.h>
#include <asm/pgtable.h>
#include <asm/processor.h>
#include "trapline.h"

/*
 * Beyond every physical address of a CPU that has fewer than 52 bits of them: reserved in a
 * paging-structure entry (Intel SDM volume 3, 4.5.4).
 */
#define RESERVED BIT_ULL(51)
#define RET 0xc3

/*
 * The last by a reader that returns an error instead of faulting: the fault is looked at and left
 * to it.
 */
enum kind { A_READ, A_WRITE, A_FETCH, A_SAFE_READ };

/* The fault that is expected, while `task` is set. */
static struct {
	struct task_struct *task;
	unsigned long address, resume;
	enum kind kind;
	/* What maps the address, if a bit in it is what is wrong. */
	pte_t *entry;
} expected;

static ulong address, instruction, error_code;
module_param(address, ulong, 0444);
MODULE_PARM_DESC(address, "of the last fault");
module_param(instruction, ulong, 0444);
MODULE_PARM_DESC(instruction, "that raised it");
module_param(error_code, ulong, 0444);
MODULE_PARM_DESC(error_code, "that the CPU pushed");

static void flush(unsigned long where)
{
	asm volatile("invlpg (%0)" : : "r"(where) : "memory");
}

static bool claim(struct trapline_page_fault_handler *self, const struct trapline_page_fault *fault, struct pt_regs *registers)
{
	if (READ_ONCE(expected.task) != current || fault->address != expected.address)
		return false;
	WRITE_ONCE(expected.task, NULL);
	address = fault->address;
	instruction = registers->ip;
	error_code = fault->error_code;
	if (expected.kind == A_SAFE_READ)
		return false;
	if (expected.entry) {
		*expected.entry = __pte(pte_val(*expected.entry) & ~RESERVED);
		flush(fault->address);
	} else if (expected.kind == A_FETCH) {
		/* Back to behind the call. */
		registers->ip = *(unsigned long *)registers->sp;
		registers->sp += sizeof(unsigned long);
	} else {
		registers->ip = expected.resume;
	}
	return true;
}

static struct trapline_page_fault_handler handler = { .handle = claim, .flags = TRAPLINE_ALL_FAULTS, .name = KBUILD_MODNAME };

static noinline u8 attempt_read(unsigned long where)
{
	unsigned long value;

	asm volatile("leaq 1f(%%rip), %0\n\tmovq %0, %1\n\tmovb (%2), %b0\n1:" : "=&r"(value), "=m"(expected.resume) : "r"(where) : "memory");
	return value;
}

static noinline void attempt_write(unsigned long where, u8 byte)
{
	unsigned long scratch;

	asm volatile("leaq 1f(%%rip), %0\n\tmovq %0, %1\n\tmovb %b3, (%2)\n1:"
		     : "=&r"(scratch), "=m"(expected.resume) : "r"(where), "q"(byte) : "memory");
}

static noinline void attempt_fetch(unsigned long where)
{
	asm volatile(ANNOTATE_RETPOLINE_SAFE "\n\tcall *%0" : : "r"(where) : "memory");
}

/*
 * Between user and kernel memory, before the direct map: the guard hole. Nothing is mapped there.
 * With five levels of tables it is elsewhere: where it is with four, the kernel may have put the
 * array of struct page.
 */
#define HOLE (pgtable_l5_enabled() ? 0xff00000000001000 : 0xffff800000001000)

/* Of the kernel's page faults, once one is looked for. */
static struct tracepoint *kernel_faults;

static void find(struct tracepoint *tracepoint, void *unused)
{
	if (!strcmp(tracepoint->name, "page_fault_kernel"))
		kernel_faults = tracepoint;
}

/*
 * Raises another fault, a read, in the tracepoint of the one that is expected: after what notes
 * that one, which has a higher priority, and before what asks handlers.
 */
static void fault_in_between(void *unused, unsigned long where, struct pt_regs *registers, unsigned long code)
{
	u8 byte;

	if (READ_ONCE(expected.task) == current && where == expected.address && !copy_from_kernel_nofault(&byte, (void *)(HOLE + PAGE_SIZE), 1))
		pr_warn("the guard hole could be read\n");
}

static int attempt(enum kind kind, unsigned long where, u8 byte, pte_t *entry)
{
	expected.address = where;
	expected.kind = kind;
	expected.entry = entry;
	WRITE_ONCE(expected.task, current);
	switch (kind) {
	case A_READ:
		attempt_read(where);
		break;
	case A_WRITE:
		attempt_write(where, byte);
		break;
	case A_FETCH:
		attempt_fetch(where);
		break;
	case A_SAFE_READ:
		if (!trapline_read_kernel(&byte, (const void *)where, 1))
			pr_warn("%#lx could be read\n", where);
		break;
	}
	if (!READ_ONCE(expected.task))
		return 0;
	WRITE_ONCE(expected.task, NULL);
	pr_warn("no fault at %#lx\n", where);
	return -ENODATA;
}

/* A write, with a read that faults as well between the tracepoint of its fault and the handlers. */
static int nested(void)
{
	int error;

	for_each_kernel_tracepoint(find, NULL);
	if (!kernel_faults)
		return -ENOENT;
	error = tracepoint_probe_register_prio(kernel_faults, fault_in_between, NULL, 0);
	if (error)
		return error;
	error = attempt(A_WRITE, HOLE, RET, NULL);
	tracepoint_probe_unregister(kernel_faults, fault_in_between, NULL);
	tracepoint_synchronize_unregister();
	return error;
}

/*
 * A byte that the kernel may not change, and memory that it may not run: `RET` in each, which does
 * no harm if it is changed or run all the same.
 */
static const u8 constant = RET;
static u8 *data;

static void make_reserved(pte_t *entry, unsigned long where)
{
	*entry = __pte(pte_val(*entry) | RESERVED);
	flush(where);
}

static int kernel_reserved(void)
{
	unsigned int level;
	pte_t *entry = lookup_address((unsigned long)data, &level);

	if (!entry || level != PG_LEVEL_4K)
		return -EINVAL;
	make_reserved(entry, (unsigned long)data);
	return attempt(A_READ, (unsigned long)data, 0, entry);
}

static int reserve(pte_t *entry, unsigned long where, void *unused)
{
	if (!pte_present(*entry))
		return -EINVAL;
	expected.address = where + offset_in_page(expected.address);
	expected.entry = entry;
	make_reserved(entry, where);
	WRITE_ONCE(expected.task, current);
	return 0;
}

/* The handler gets it only from this task, which keeps the page until then. */
static int user_reserved(unsigned long where)
{
	int error;

	expected.address = where;
	mmap_write_lock(current->mm);
	error = apply_to_page_range(current->mm, where & PAGE_MASK, PAGE_SIZE, reserve, NULL);
	mmap_write_unlock(current->mm);
	return error;
}

static int provoke(const char *text, const struct kernel_param *parameter)
{
	char name[32];
	unsigned long user = 0;

	if (boot_cpu_data.x86_phys_bits > 51 || sscanf(text, "%31s %lx", name, &user) < 1)
		return -EINVAL;
	if (!strcmp(name, "smap-read"))
		return attempt(A_READ, user, 0, NULL);
	if (!strcmp(name, "smap-write"))
		return attempt(A_WRITE, user, RET, NULL);
	if (!strcmp(name, "smep"))
		return attempt(A_FETCH, user, 0, NULL);
	if (!strcmp(name, "user-reserved"))
		return user_reserved(user);
	if (!strcmp(name, "kernel-reserved"))
		return kernel_reserved();
	if (!strcmp(name, "kernel-read-only"))
		return attempt(A_WRITE, (unsigned long)&constant, RET, NULL);
	if (!strcmp(name, "kernel-text-write"))
		return attempt(A_WRITE, (unsigned long)vfree, *(u8 *)vfree, NULL);
	if (!strcmp(name, "kernel-execute"))
		return attempt(A_FETCH, (unsigned long)data, 0, NULL);
	if (!strcmp(name, "safe-reader"))
		return attempt(A_SAFE_READ, HOLE, 0, NULL);
	/*
	 * The page behind, which vmalloc() leaves unmapped: it has an entry in the page tables, so
	 * kmmio's own handler would look it up in tables that nobody has set up.
	 */
	if (!strcmp(name, "safe-reader-beside"))
		return attempt(A_SAFE_READ, (unsigned long)data + PAGE_SIZE, 0, NULL);
	if (!strcmp(name, "kernel-hole"))
		return attempt(A_READ, HOLE, 0, NULL);
	if (!strcmp(name, "nested"))
		return nested();
	return -EINVAL;
}

static const struct kernel_param_ops provoke_ops = { .set = provoke };
module_param_cb(provoke, &provoke_ops, NULL, 0200);
MODULE_PARM_DESC(provoke, "the cause, and an address if it is about user memory");

static int __init causes_init(void)
{
	int error;

	data = vzalloc(PAGE_SIZE);
	if (!data)
		return -ENOMEM;
	*data = RET;
	error = trapline_register_page_fault_handler(&handler);
	if (error)
		vfree(data);
	return error;
}

static void __exit causes_exit(void)
{
	trapline_unregister_page_fault_handler(&handler);
	trapline_synchronize();
	vfree(data);
}

module_init(causes_init);
module_exit(causes_exit);
MODULE_DESCRIPTION("Raises page faults that only the kernel can raise, for the tests");
MODULE_LICENSE("GPL");
