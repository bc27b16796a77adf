/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What kernels from 6.1 on name or declare differently: the one place for it, each with the kernel
 * that changed it. Asked for is the thing itself wherever the preprocessor can see it, and the
 * kernel's version only where it can't, since distributions take changes back into older kernels.
 */
#ifndef TRAPLINE_COMPAT_H
#define TRAPLINE_COMPAT_H

#include <linux/dma-map-ops.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pgtable.h>
#include <linux/version.h>
#include <asm/msr.h>

/* 6.16 renamed them. */
#if defined(rdmsrl) && !defined(rdmsrq)
#define rdmsrq(msr, value) rdmsrl(msr, value)
#define wrmsrq(msr, value) wrmsrl(msr, value)
#endif

/* 6.15 takes the protection as what it is; before, it was a number. */
#define compat_ioremap_prot(physical, length, protection) \
	ioremap_prot(physical, length, \
		     _Generic(&ioremap_prot, \
			      void __iomem *(*)(resource_size_t, unsigned long, unsigned long): pgprot_val(protection), \
			      default: (protection)))

/*
 * 6.16 has mm/percpu.c note a page's chunk elsewhere (pcpu_set_page_chunk()). By version: which
 * member a function writes can't be asked for.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)
#define compat_percpu_chunk(page) ((page)->index)
#else
#define compat_percpu_chunk(page) page_private(page)
#endif

/* 6.4 has a module's memory in a table, by what it is for. */
#ifdef for_each_mod_mem_type
#define compat_module_text(module) ((u64)(module)->mem[MOD_TEXT].base)
#define compat_module_text_length(module) ((u64)(module)->mem[MOD_TEXT].size)
#define compat_module_init_text(module) ((u64)(module)->mem[MOD_INIT_TEXT].base)
#define compat_module_init_text_length(module) ((u64)(module)->mem[MOD_INIT_TEXT].size)
#else
#define compat_module_text(module) ((u64)(module)->core_layout.base)
#define compat_module_text_length(module) ((u64)(module)->core_layout.text_size)
#define compat_module_init_text(module) ((u64)(module)->init_layout.base)
#define compat_module_init_text_length(module) ((u64)(module)->init_layout.text_size)
#endif

/*
 * Whether what a device is told is the memory's own address. 6.12 asks apart whether there is an
 * IOMMU, with a header of that.
 */
#if __has_include(<linux/iommu-dma.h>)
#include <linux/iommu-dma.h>
#define compat_dma_is_direct(device) (!use_dma_iommu(device) && !get_dma_ops(device))
#else
#define compat_dma_is_direct(device) (!get_dma_ops(device))
#endif

/*
 * Whether synchronising a buffer is a call: 6.10 leaves out what would have nothing to do. By
 * version: what is new are inline functions.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
#include <linux/dma-mapping.h>
#define compat_dma_synchronises(device) dma_dev_need_sync(device)
#else
#define compat_dma_synchronises(device) true
#endif

#ifdef CONFIG_RETHOOK
#include <linux/rethook.h>

/* 6.7 keeps the nodes that are free in another kind of list, which came with it. */
#if __has_include(<linux/objpool.h>)
#include <linux/objpool.h>
#define compat_rethook_push(node) objpool_push(node, &(node)->rethook->pool)
#else
#define compat_rethook_push(node) freelist_add(&(node)->freelist, &(node)->rethook->pool)
#endif
#endif

#endif
