// SPDX-License-Identifier: GPL-2.0
/*
 * Example: pages that are filled when they are first touched.
 *
 * An area from vmalloc() is made not present. Whoever touches a page of it raises a fault, which
 * the handler serves: it fills the page with data of its own, here each word's own offset in the
 * area, makes it present and claims the fault. The area is read through
 * /proc/trapline_example_pages; reading it again finds the pages there.
 *
 * 	insmod trapline.ko; insmod trapline_example_pages.ko; cmp /proc/trapline_example_pages ...
 *
 * The handler is asked about all faults, so it serves the area before the kernel looks at the fault
 * at all. It needs no lock: a page's entry goes from not present to present once, and whoever fills
 * it a second time meanwhile fills it with the same. No other CPU can have kept the old entry: what
 * is not present is not kept.
 */
#include <linux/atomic.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <asm/pgtable.h>
#include "trapline.h"

static unsigned int pages = 256;
module_param(pages, uint, 0444);
MODULE_PARM_DESC(pages, "pages in the area");

static u8 *area;
/* By page: its entry, and the same memory where it is always present. */
static pte_t **entries;
static pte_t *present;
static u64 **content;
static atomic_t served = ATOMIC_INIT(0);

static bool serve(struct trapline_page_fault_handler *self, const struct trapline_page_fault *fault, struct pt_regs *registers)
{
	u64 offset = fault->address - (u64)(unsigned long)area, page = offset / PAGE_SIZE;
	unsigned int word;

	if (offset >= (u64)pages * PAGE_SIZE || (fault->error_code & 1))
		return false;
	for (word = 0; word < PAGE_SIZE / sizeof(u64); word++)
		content[page][word] = page * PAGE_SIZE + word * sizeof(u64);
	set_pte(entries[page], present[page]);
	atomic_inc(&served);
	return true;
}

static struct trapline_page_fault_handler handler = { .handle = serve, .flags = TRAPLINE_ALL_FAULTS, .name = "example: pages on demand" };

static ssize_t area_read(struct file *file, char __user *to, size_t count, loff_t *position)
{
	return simple_read_from_buffer(to, count, position, area, (size_t)pages * PAGE_SIZE);
}

static const struct proc_ops operations = { .proc_read = area_read, .proc_lseek = default_llseek };

static int take_away(void)
{
	unsigned int page, level;

	for (page = 0; page < pages; page++) {
		unsigned long address = (unsigned long)area + page * PAGE_SIZE;
		pte_t *entry = lookup_address(address, &level);

		if (!entry || level != PG_LEVEL_4K)
			return -EOPNOTSUPP;
		content[page] = page_address(vmalloc_to_page((void *)address));
		present[page] = *entry;
		entries[page] = entry;
		set_pte(entry, __pte(0));
	}
	trapline_flush_tlb();
	return 0;
}

static void put_back(void)
{
	unsigned int page;

	for (page = 0; page < pages; page++) {
		if (entries[page])
			set_pte(entries[page], present[page]);
	}
}

static void give_back(void)
{
	kvfree(content);
	kvfree(present);
	kvfree(entries);
	vfree(area);
}

static int __init example_init(void)
{
	int error = -ENOMEM;

	if (!pages || pages > 1 << 16)
		return -EINVAL;
	area = vmalloc((unsigned long)pages * PAGE_SIZE);
	entries = kvcalloc(pages, sizeof(*entries), GFP_KERNEL);
	present = kvcalloc(pages, sizeof(*present), GFP_KERNEL);
	content = kvcalloc(pages, sizeof(*content), GFP_KERNEL);
	if (!area || !entries || !present || !content)
		goto failed;
	error = trapline_register_page_fault_handler(&handler);
	if (error)
		goto failed;
	error = take_away();
	if (error)
		goto no_area;
	error = -ENOMEM;
	if (proc_create("trapline_example_pages", 0444, NULL, &operations))
		return 0;
no_area:
	put_back();
	trapline_unregister_page_fault_handler(&handler);
	trapline_synchronize();
failed:
	give_back();
	return error;
}

static void __exit example_exit(void)
{
	remove_proc_entry("trapline_example_pages", NULL);
	/* Nobody reads any more. */
	put_back();
	trapline_unregister_page_fault_handler(&handler);
	trapline_synchronize();
	pr_info("trapline_example_pages: %d pages served\n", atomic_read(&served));
	give_back();
}

module_init(example_init);
module_exit(example_exit);
MODULE_DESCRIPTION("Trapline: example of pages that are filled on demand");
MODULE_LICENSE("GPL");
