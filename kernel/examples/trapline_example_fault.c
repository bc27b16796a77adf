// SPDX-License-Identifier: GPL-2.0
/*
 * Example: a page-fault handler.
 *
 * The page after an area from vmalloc() is never mapped. Reading it is a fault that nobody
 * resolves: an oops. Here a handler claims such faults, gives the reader a value, and lets it go on
 * behind the instruction.
 *
 * 	insmod trapline.ko; insmod trapline_example_fault.ko
 */
#include <linux/atomic.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/ptrace.h>
#include <linux/vmalloc.h>
#include "trapline.h"

#define BEYOND 0xeeeeeeeeUL

static void *area;
static atomic_t claimed = ATOMIC_INIT(0);

/* "movq (%rdi), %rax" is 3 bytes long. */
#define READ_LENGTH 3

static u64 read_word(const void *from)
{
	u64 value;

	asm volatile("movq (%%rdi), %%rax" : "=a"(value) : "D"(from));
	return value;
}

/*
 * Runs in the fault, with interrupts off: it decides by what it is given, and changes nothing but
 * the registers.
 */
static bool beyond(struct trapline_page_fault_handler *self, const struct trapline_page_fault *fault, struct pt_regs *registers)
{
	u64 end = (u64)(unsigned long)self->data + PAGE_SIZE;

	if (fault->address < end || fault->address >= end + PAGE_SIZE)
		return false;
	atomic_inc(&claimed);
	registers->ax = BEYOND;
	registers->ip += READ_LENGTH;
	return true;
}

static struct trapline_page_fault_handler handler = { .handle = beyond, .name = "example: beyond the end" };

static int __init example_init(void)
{
	u64 inside, outside;
	int error;

	area = vzalloc(PAGE_SIZE);
	if (!area)
		return -ENOMEM;
	handler.data = area;
	error = trapline_register_page_fault_handler(&handler);
	if (error) {
		vfree(area);
		return error;
	}
	inside = read_word(area);
	outside = read_word(area + PAGE_SIZE + 8);
	pr_info("trapline_example_fault: inside 0x%llx, beyond 0x%llx, faults claimed %d\n", inside, outside, atomic_read(&claimed));
	return 0;
}

static void __exit example_exit(void)
{
	trapline_unregister_page_fault_handler(&handler);
	/* It may still be running on another CPU. */
	trapline_synchronize();
	vfree(area);
}

module_init(example_init);
module_exit(example_exit);
MODULE_DESCRIPTION("Trapline: example of a page-fault handler");
MODULE_LICENSE("GPL");
