/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What trapline_conformance and the program that runs the conformance suite in user space
 * (crates/guest) say to each other: the other side of this file is crates/guest/src/contract.rs.
 */
#ifndef TRAPLINE_TESTS_CONFORMANCE_H
#define TRAPLINE_TESTS_CONFORMANCE_H

#include <linux/ioctl.h>
#include <linux/ptrace.h>
#include <linux/types.h>

/* CPUs that can run programs; the bytes of one program; pages of one region. */
#define CONFORMANCE_CPUS 8
#define CONFORMANCE_CODE 128
#define CONFORMANCE_PAGES 64
#define CONFORMANCE_VALUE 64

/* A new mapping. */
struct conformance_region {
	/* In: whether it is a device's memory, and where in the device; else it is RAM. */
	u32 is_device;
	/* In: how many pages, and which of them are of 2 MiB. */
	u32 pages;
	/* In: whether they can't be written, if it is RAM. */
	u32 is_read_only, reserved;
	u64 physical;
	u8 is_large[CONFORMANCE_PAGES];
	/* Out. */
	u64 start, length;
};

/* Page-table entries from `start` on. */
struct conformance_entries {
	u64 start, length;
	/* In: where they go, and room for how many; out: how many there are. */
	u64 to;
	u64 count;
};

/* Reads or writes RAM of a region through another mapping of it. */
struct conformance_copy {
	u64 address, length;
	u64 user;
	u32 write, reserved;
};

/* A program for one CPU, and how it ended. */
struct conformance_program {
	u32 cpu, length, repeat;
	/*
	 * Out: 0 if it got to its end, 1 if an exception ended it, 2 if a page-fault handler did.
	 */
	u32 ended;
	/*
	 * In and out; `ip` is relative to the first byte of the code, `sp` to where the stack was.
	 */
	struct pt_regs registers;
	u8 vectors[16][32];
	u8 code[CONFORMANCE_CODE];
	/* Out: the page faults it raised that no handler claimed, and the last of them. */
	u64 faults, fault_address, fault_error_code;
};

/* An array of something. */
struct conformance_array {
	u64 elements;
	u64 count;
};

/*
 * What a pre handler does: 0 nothing is there, 1 lets it pass, 2 supplies `given`, 3 drops it, 4
 * reads four bytes at `given` and lets it pass, 5 adds one to them and lets it pass.
 */
struct conformance_probe {
	u64 start, length;
	u32 flags, label;
	u32 reaction, has_post;
	u64 given;
	/* Out. */
	u64 id;
};

struct conformance_handler {
	u64 start, length;
	u32 label, reserved;
	/* Out. */
	u64 id;
};

/* A call of a handler. */
struct conformance_hit {
	u64 address;
	u32 label, cpu;
	/* 0 pre, 1 post, 2 page fault. */
	u8 kind;
	u8 write, late, length;
	u32 reserved;
	u8 value[CONFORMANCE_VALUE];
};

/* Hits since the last call. */
struct conformance_hits {
	u64 to;
	/* In: room; out: how many were written there. */
	u64 count;
	/* Out: hits that found no room in the module. */
	u64 lost;
};

#define CONFORMANCE_MAP _IOWR('C', 1, struct conformance_region)
#define CONFORMANCE_ENTRIES _IOWR('C', 2, struct conformance_entries)
#define CONFORMANCE_COPY _IOWR('C', 3, struct conformance_copy)
/* Starts programs; waits for them and writes back how they ended. */
#define CONFORMANCE_START _IOWR('C', 4, struct conformance_array)
#define CONFORMANCE_WAIT _IOWR('C', 5, struct conformance_array)
/* Registers all of these probes or none. */
#define CONFORMANCE_PROBE _IOWR('C', 6, struct conformance_array)
/* Removes those of these ids (u64 each) that are known. */
#define CONFORMANCE_UNPROBE _IOWR('C', 7, struct conformance_array)
#define CONFORMANCE_REGISTER _IOWR('C', 8, struct conformance_handler)
/* -ENOENT if it was not registered. */
#define CONFORMANCE_UNREGISTER _IOWR('C', 9, struct conformance_handler)
#define CONFORMANCE_HITS _IOWR('C', 10, struct conformance_hits)

#endif
