// SPDX-License-Identifier: GPL-2.0
/*
 * Gives memory to a device by every call of the kernel's DMA interface, on each CPU at once, and
 * keeps a book of it: /sys/kernel/debug/trapline_buffers has a line for each buffer, and for each
 * piece of a scatter list, in the words of trapline_book() below. The device does nothing with it.
 *
 *	insmod trapline_buffers.ko device=0000:00:01.0 rounds=50
 *
 * At the end one buffer is left mapped, of 1111 bytes, and one was unmapped twice, of 2222 bytes.
 * Neither does harm where the device is told the memory's own address.
 */
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/debugfs.h>
#include <linux/dma-mapping.h>
#include <linux/dmapool.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include "compat.h"

static char *device = "";
module_param(device, charp, 0444);
MODULE_PARM_DESC(device, "its PCI address: 0000:00:01.0");

static unsigned int rounds = 50;
module_param(rounds, uint, 0444);
MODULE_PARM_DESC(rounds, "how often each CPU does everything");

static unsigned int mask = 64;
module_param(mask, uint, 0444);
MODULE_PARM_DESC(mask, "bits of an address that the device has");

#define BOOK (16u << 20)
#define SHOWN 16
#define ENTRIES 20
/* Of a list that is in two chunks: a page has room for 128. */
#define LONG_LIST 200

static struct pci_dev *pci;
static struct device *dev;
static struct dentry *file;
static struct debugfs_blob_wrapper book;
static DEFINE_SPINLOCK(book_lock);
static atomic_t failed;
static DECLARE_COMPLETION(ended);

/*
 * What was done; the device's address; the CPU's, physical of what is mapped, linear of what is
 * allocated, 0 if the call does not tell; bytes; direction; piece and pieces; the first bytes, if
 * they change hands.
 */
static void trapline_book(const char *what, u64 dma, u64 cpu, u64 size, int direction, int piece, int pieces, const void *data)
{
	char line[192];
	int length;
	unsigned long flags;

	if (data)
		length = scnprintf(line, sizeof(line), "%s %llx %llx %llu %d %d/%d %*phN\n", what, dma, cpu, size, direction, piece, pieces,
				   (int)min_t(u64, size, SHOWN), data);
	else
		length = scnprintf(line, sizeof(line), "%s %llx %llx %llu %d %d/%d -\n", what, dma, cpu, size, direction, piece, pieces);
	spin_lock_irqsave(&book_lock, flags);
	if (book.size + length <= BOOK) {
		memcpy(book.data + book.size, line, length);
		book.size += length;
	} else {
		atomic_inc(&failed);
	}
	spin_unlock_irqrestore(&book_lock, flags);
}

static bool goes(int direction)
{
	return direction == DMA_TO_DEVICE || direction == DMA_BIDIRECTIONAL;
}

static bool comes(int direction)
{
	return direction == DMA_FROM_DEVICE || direction == DMA_BIDIRECTIONAL;
}

/* As if the device had written: where the kernel copies for it, the copy is out of reach. */
static void write_as_device(void *memory, u64 dma, size_t size, int direction)
{
	if (comes(direction) && dma == virt_to_phys(memory))
		memset(memory, 0x5a + (size & 15), size);
}

static int single(u8 *memory, size_t size, int direction)
{
	dma_addr_t dma;

	memset(memory, size, size);
	dma = dma_map_single(dev, memory, size, direction);
	if (dma_mapping_error(dev, dma))
		return -ENOMEM;
	trapline_book("map", dma, virt_to_phys(memory), size, direction, 0, 0, goes(direction) ? memory : NULL);
	write_as_device(memory, dma, size, direction);
	dma_sync_single_for_cpu(dev, dma, size, direction);
	if (compat_dma_synchronises(dev))
		trapline_book("sync_cpu", dma, 0, size, direction, 0, 0, comes(direction) ? memory : NULL);
	memset(memory, ~size, size);
	dma_sync_single_for_device(dev, dma, size, direction);
	if (compat_dma_synchronises(dev))
		trapline_book("sync_device", dma, 0, size, direction, 0, 0, goes(direction) ? memory : NULL);
	write_as_device(memory, dma, size, direction);
	/* As drivers do that have synchronised before: nothing changes hands any more. */
	if (size & 1) {
		dma_unmap_single_attrs(dev, dma, size, direction, DMA_ATTR_SKIP_CPU_SYNC);
		trapline_book("unmap", dma, 0, size, direction, 0, 0, NULL);
		return 0;
	}
	dma_unmap_single(dev, dma, size, direction);
	trapline_book("unmap", dma, 0, size, direction, 0, 0, comes(direction) ? memory : NULL);
	return 0;
}

static void note_list(const char *what, struct scatterlist *list, int count, int direction, bool changes)
{
	struct scatterlist *piece;
	int i;

	for_each_sg(list, piece, count, i)
		trapline_book(what, sg_dma_address(piece), sg_phys(piece), sg_dma_len(piece), direction, i, count,
			      changes ? sg_virt(piece) : NULL);
}

/* A list of so many entries, of different sizes, in several chunks if there are many. */
static int list(u8 *memory, int count, int direction, bool as_table)
{
	struct sg_table table;
	struct scatterlist *piece;
	size_t at = 0;
	int i, mapped, error;

	error = sg_alloc_table(&table, count, GFP_KERNEL);
	if (error)
		return error;
	for_each_sgtable_sg(&table, piece, i) {
		size_t size = 16 + i % 7 * 24;

		memset(memory + at, i, size);
		sg_set_buf(piece, memory + at, size);
		at += 256;
	}
	if (as_table) {
		error = dma_map_sgtable(dev, &table, direction, 0);
		mapped = error ? 0 : table.nents;
	} else {
		mapped = dma_map_sg(dev, table.sgl, count, direction);
	}
	if (mapped != count) {
		sg_free_table(&table);
		return -ENOMEM;
	}
	note_list("map", table.sgl, count, direction, goes(direction));
	dma_sync_sg_for_cpu(dev, table.sgl, count, direction);
	if (compat_dma_synchronises(dev))
		note_list("sync_cpu", table.sgl, count, direction, comes(direction));
	memset(memory, count, at);
	dma_sync_sg_for_device(dev, table.sgl, count, direction);
	if (compat_dma_synchronises(dev))
		note_list("sync_device", table.sgl, count, direction, goes(direction));
	dma_unmap_sg(dev, table.sgl, count, direction);
	note_list("unmap", table.sgl, count, direction, comes(direction));
	sg_free_table(&table);
	return 0;
}

static int allocated(size_t size)
{
	dma_addr_t dma;
	struct page *pages;
	void *memory = dma_alloc_coherent(dev, size, &dma, GFP_KERNEL);

	if (!memory)
		return -ENOMEM;
	trapline_book("alloc", dma, (u64)(unsigned long)memory, size, DMA_NONE, 0, 0, NULL);
	dma_free_coherent(dev, size, memory, dma);
	trapline_book("free", dma, (u64)(unsigned long)memory, size, DMA_NONE, 0, 0, NULL);

	pages = dma_alloc_pages(dev, size, &dma, DMA_FROM_DEVICE, GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	trapline_book("alloc", dma, page_to_phys(pages), size, DMA_FROM_DEVICE, 0, 0, NULL);
	dma_free_pages(dev, size, pages, dma, DMA_FROM_DEVICE);
	trapline_book("free", dma, page_to_phys(pages), size, DMA_FROM_DEVICE, 0, 0, NULL);
	return 0;
}

static int in_one_piece(size_t size)
{
	struct sg_table *table = dma_alloc_noncontiguous(dev, size, DMA_BIDIRECTIONAL, GFP_KERNEL, 0);
	u64 dma, physical;

	if (!table)
		return -ENOMEM;
	dma = sg_dma_address(table->sgl);
	physical = sg_phys(table->sgl);
	trapline_book("alloc", dma, physical, size, DMA_BIDIRECTIONAL, 0, 0, NULL);
	dma_free_noncontiguous(dev, size, table, DMA_BIDIRECTIONAL);
	trapline_book("free", dma, physical, size, DMA_BIDIRECTIONAL, 0, 0, NULL);
	return 0;
}

/* A region of the device's own, as another device would be given it. */
static int resource(void)
{
	u64 start = pci_resource_start(pci, 0);
	dma_addr_t dma = dma_map_resource(dev, start, 4096, DMA_BIDIRECTIONAL, 0);

	if (dma_mapping_error(dev, dma))
		return -ENOMEM;
	trapline_book("map", dma, start, 4096, DMA_BIDIRECTIONAL, 0, 0, NULL);
	dma_unmap_resource(dev, dma, 4096, DMA_BIDIRECTIONAL, 0);
	trapline_book("unmap", dma, 0, 4096, DMA_BIDIRECTIONAL, 0, 0, NULL);
	return 0;
}

static int everything(u8 *memory, unsigned int round)
{
	static const enum dma_data_direction directions[] = { DMA_TO_DEVICE, DMA_FROM_DEVICE, DMA_BIDIRECTIONAL };
	int i, error = 0;

	for (i = 0; i < ARRAY_SIZE(directions) && !error; i++) {
		error = single(memory, 1 + (round * 37 + i) % 2048, directions[i]);
		error = error ?: list(memory, round % 10 == 9 ? LONG_LIST : 1 + (round + i) % ENTRIES, directions[i], round & 1);
	}
	error = error ?: allocated(64 + round % 64 * 256);
	error = error ?: in_one_piece(PAGE_SIZE * (1 + round % 4));
	return error ?: resource();
}

static int run(void *unused)
{
	u8 *memory = kmalloc(256 * LONG_LIST, GFP_KERNEL);
	unsigned int round;

	for (round = 0; memory && round < rounds; round++) {
		if (everything(memory, round))
			break;
	}
	if (round < rounds)
		atomic_inc(&failed);
	kfree(memory);
	/* It must not run in the module's code once that has been told. */
	kthread_complete_and_exit(&ended, 0);
}

/* What a trace's report has to find. */
static int mistakes(void)
{
	u8 *memory = kzalloc(8192, GFP_KERNEL);
	dma_addr_t dma;

	if (!memory)
		return -ENOMEM;
	dma = dma_map_single(dev, memory, 2222, DMA_TO_DEVICE);
	trapline_book("map", dma, virt_to_phys(memory), 2222, DMA_TO_DEVICE, 0, 0, memory);
	dma_unmap_single(dev, dma, 2222, DMA_TO_DEVICE);
	trapline_book("unmap", dma, 0, 2222, DMA_TO_DEVICE, 0, 0, NULL);
	dma_unmap_single(dev, dma, 2222, DMA_TO_DEVICE);
	trapline_book("unmap", dma, 0, 2222, DMA_TO_DEVICE, 0, 0, NULL);
	dma = dma_map_single(dev, memory, 1111, DMA_TO_DEVICE);
	trapline_book("map", dma, virt_to_phys(memory), 1111, DMA_TO_DEVICE, 0, 0, memory);
	/* The memory is not given back either: the device has it. */
	return 0;
}

/* No part of the initialisation, whose functions have no names any more when it is over. */
static noinline int work(void)
{
	u8 *memory = kmalloc(4096, GFP_KERNEL);
	int cpu, running = 0;

	/* From the first buffer on that it copies the kernel synchronises: let that be this one. */
	if (!memory || single(memory, 4096, DMA_BIDIRECTIONAL))
		atomic_inc(&failed);
	kfree(memory);
	for_each_online_cpu(cpu) {
		struct task_struct *thread = kthread_create(run, NULL, "buffers/%d", cpu);

		if (IS_ERR(thread)) {
			atomic_inc(&failed);
			continue;
		}
		kthread_bind(thread, cpu);
		running++;
		wake_up_process(thread);
	}
	while (running--)
		wait_for_completion(&ended);
	if (!atomic_read(&failed) && mask == 64 && mistakes())
		return -ENOMEM;
	return atomic_read(&failed) ? -EIO : 0;
}

static int __init buffers_init(void)
{
	unsigned int domain, bus, slot, function;
	int error;

	if (sscanf(device, "%x:%x:%x.%u", &domain, &bus, &slot, &function) != 4)
		return -EINVAL;
	pci = pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, function));
	if (!pci)
		return -ENODEV;
	dev = &pci->dev;
	book.data = vzalloc(BOOK);
	error = book.data ? dma_set_mask_and_coherent(dev, DMA_BIT_MASK(mask)) : -ENOMEM;
	if (error)
		goto out;
	error = work();
	if (error)
		goto out;
	file = debugfs_create_blob(KBUILD_MODNAME, 0444, NULL, &book);
	return 0;
out:
	vfree(book.data);
	pci_dev_put(pci);
	return error;
}

static void __exit buffers_exit(void)
{
	debugfs_remove(file);
	vfree(book.data);
	pci_dev_put(pci);
}

module_init(buffers_init);
module_exit(buffers_exit);
MODULE_DESCRIPTION("Gives memory to a device in every way, and keeps a book of it");
MODULE_LICENSE("GPL");
