// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps Trapline's fault hook from hearing of its own page: what the self-test at load is there to
 * notice.
 *
 * It stands for any tool, or any future kernel, that resolves a fault on an armed page before
 * fixup_exception() is called. It is asked first of all, by redirecting kmmio_handler(), and makes
 * a vmalloc page that is mapped but not present accessible again, so that the access goes on as if
 * nothing had been armed.
 */
#include <linux/ftrace.h>
#include <linux/gfp.h>
#include <linux/mmiotrace.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <asm/pgtable.h>

static noinline int claim(void)
{
	return 1;
}

static void notrace on_kmmio_handler(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
				     struct ftrace_regs *ftrace_registers)
{
	/* The registers of the call: int kmmio_handler(regs, addr). */
	struct pt_regs *call = ftrace_get_regs(ftrace_registers);
	struct pt_regs *faulted = (struct pt_regs *)call->di;
	unsigned long address = call->si;
	unsigned int level;
	pte_t *entry;

	/*
	 * Never called for itself: nothing registers a kmmio probe but us, whose own is of length
	 * 0.
	 */
	call->ip = (unsigned long)claim;
	call->ax = 0;
	if (!user_mode(faulted) && is_vmalloc_addr((void *)address)) {
		entry = lookup_address(address, &level);
		if (entry && level == PG_LEVEL_4K && !pte_none(*entry) && !(pte_flags(*entry) & _PAGE_PRESENT)) {
			set_pte(entry, pfn_pte(pte_pfn(*entry), __pgprot(pte_flags(*entry) | _PAGE_PRESENT)));
			return;
		}
	}
	/* Not ours: to the function itself, which finds nothing. */
	call->ip = ip + MCOUNT_INSN_SIZE;
}

static struct ftrace_ops hook = {
	.func = on_kmmio_handler,
	.flags = FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_IPMODIFY,
};

/* Of length 0: the kernel calls kmmio_handler() while one is registered. */
static struct kmmio_probe none;

static int __init deaf_init(void)
{
	static char name[] = "kmmio_handler";
	int error;

	none.addr = __get_free_page(GFP_KERNEL);
	if (!none.addr)
		return -ENOMEM;
	error = ftrace_set_filter(&hook, name, strlen(name), 0);
	if (!error)
		error = register_ftrace_function(&hook);
	if (!error) {
		error = register_kmmio_probe(&none);
		if (error)
			unregister_ftrace_function(&hook);
	}
	if (error)
		free_page(none.addr);
	return error;
}

static void __exit deaf_exit(void)
{
	unregister_kmmio_probe(&none);
	/*
	 * The last calls of kmmio_handler() have begun before this returns, and with them those of
	 * claim().
	 */
	synchronize_rcu();
	unregister_ftrace_function(&hook);
	synchronize_rcu();
	free_page(none.addr);
}

module_init(deaf_init);
module_exit(deaf_exit);
MODULE_DESCRIPTION("Resolves faults on armed pages before Trapline is asked");
MODULE_LICENSE("GPL");
