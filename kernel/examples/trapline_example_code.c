// SPDX-License-Identifier: GPL-2.0
/*
 * Example: code probes whose handlers fault.
 *
 * Two probes stand on one function. The handler of the first dereferences NULL at every hit: it is
 * abandoned each time, and counted. The second reads where nothing is mapped, too, but its fault
 * handler supplies the value, so it goes on to its end. The function does not notice either of
 * them.
 *
 * 	insmod trapline.ko; insmod trapline_example_code.ko
 */
#include <linux/atomic.h>
#include <linux/module.h>
#include <linux/ptrace.h>
#include "trapline.h"

#define SUPPLIED 0x5eedUL
#define CALLS 1000

static atomic_t good = ATOMIC_INIT(0);

/* "movq (%rdi), %rax" is 3 bytes long. */
#define READ_LENGTH 3

static noinline u64 read_word(const void *from)
{
	u64 value;

	asm volatile("movq (%%rdi), %%rax" : "=a"(value) : "D"(from));
	return value;
}

static void dereferences_null(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	read_word(NULL);
	/* Never reached. */
	atomic_set(&good, -1);
}

static void reads_nothing(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	if (read_word(NULL) == SUPPLIED)
		atomic_inc(&good);
}

/* Runs in the fault: `registers` are those of reads_nothing() at its read. */
static bool supplies(struct trapline_code_probe *probe, struct pt_regs *registers, const struct trapline_exception *exception)
{
	if (exception->vector != 14 || exception->address)
		return false;
	registers->ax = SUPPLIED;
	registers->ip += READ_LENGTH;
	return true;
}

static struct trapline_code_probe null = {
	.symbol = "trapline_example_function",
	.pre = dereferences_null,
	.name = "example: dereferences NULL",
};

static struct trapline_code_probe fixed = {
	.symbol = "trapline_example_function",
	.pre = reads_nothing,
	.fault = supplies,
	.name = "example: fixes its own fault",
};

noinline u64 trapline_example_function(u64 number);

u64 trapline_example_function(u64 number)
{
	/* So that it is called, not computed ahead. */
	barrier();
	return number * number + 1;
}

static struct trapline_code_probe *const probes[] = { &null, &fixed };

static int __init example_init(void)
{
	struct trapline_counts of_null, of_fixed;
	u64 number, wrong = 0;
	int error = trapline_register_code_probes(probes, ARRAY_SIZE(probes));

	if (error)
		return error;
	for (number = 0; number < CALLS; number++)
		wrong += trapline_example_function(number) != number * number + 1;
	trapline_code_probe_counts(&null, &of_null);
	trapline_code_probe_counts(&fixed, &of_fixed);
	pr_info("trapline_example_code: %d calls, %llu wrong; NULL: %llu hits, %llu abandoned; fixed: %llu hits, %llu fixed, %d completed\n", CALLS, wrong,
		of_null.hits, of_null.pre_faults, of_fixed.hits, of_fixed.fixed, atomic_read(&good));
	return 0;
}

static void __exit example_exit(void)
{
	trapline_unregister_code_probes(probes, ARRAY_SIZE(probes));
}

module_init(example_init);
module_exit(example_exit);
MODULE_DESCRIPTION("Trapline: example of code probes whose handlers fault");
MODULE_LICENSE("GPL");
