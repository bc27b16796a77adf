// SPDX-License-Identifier: GPL-2.0
/*
 * The C half of the example in Rust (src/lib.rs): what a module must have in C, and the function
 * that is probed.
 *
 * 	insmod trapline.ko; insmod trapline_example_rust.ko
 */
#include <linux/module.h>

struct said {
	u64 calls, wrong, null_hits, null_abandoned, fixed, completed, returned, unreadable;
};

int trapline_example_rust_init(void);
void trapline_example_rust_exit(void);
void trapline_example_rust_say(const struct said *said);
noinline u64 trapline_example_rust_probed(u64 number);

u64 trapline_example_rust_probed(u64 number)
{
	/* So that it is called, not computed ahead. */
	barrier();
	return number * number + 1;
}

void trapline_example_rust_say(const struct said *said)
{
	pr_info("trapline_example_rust: %llu calls, %llu wrong; NULL: %llu hits, %llu abandoned; fixed: %llu fixed, %llu completed, %llu unreadable; %llu returned\n",
		said->calls, said->wrong, said->null_hits, said->null_abandoned, said->fixed, said->completed, said->unreadable, said->returned);
}

static int __init example_init(void)
{
	return trapline_example_rust_init();
}

static void __exit example_exit(void)
{
	trapline_example_rust_exit();
}

module_init(example_init);
module_exit(example_exit);
MODULE_DESCRIPTION("Trapline: example of code probes in Rust");
MODULE_LICENSE("Dual MIT/GPL");
