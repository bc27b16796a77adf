// SPDX-License-Identifier: GPL-2.0
/*
 * Example: access probes with handlers.
 *
 * Three probes on memory of this module's own: one that watches, one that supplies what is read,
 * one that drops what is written. On a device's registers it is the same, with what ioremap()
 * returned.
 *
 * 	insmod trapline.ko; insmod trapline_example_probe.ko
 */
#include <linux/atomic.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/vmalloc.h>
#include "trapline.h"

struct fields {
	u32 watched;
	u32 supplied;
	u32 guarded;
};

static struct fields *fields;
static atomic_t reads = ATOMIC_INIT(0), writes = ATOMIC_INIT(0);
static u32 last_written;

static void watch(struct trapline_access_probe *self, const struct trapline_access *access)
{
	if (!access->write) {
		atomic_inc(&reads);
		return;
	}
	atomic_inc(&writes);
	if (access->value_length == sizeof(last_written))
		WRITE_ONCE(last_written, *(const u32 *)access->value);
}

static enum trapline_decision supply(struct trapline_access_probe *self, const struct trapline_access *access, u64 *value)
{
	*value = 4711;
	return TRAPLINE_DECISION_SUPPLY;
}

static enum trapline_decision protect(struct trapline_access_probe *self, const struct trapline_access *access, u64 *value)
{
	return TRAPLINE_DECISION_DROP;
}

static struct trapline_access_probe watching = { .flags = TRAPLINE_READS | TRAPLINE_WRITES, .post = watch, .name = "example: watching" };
static struct trapline_access_probe supplying = { .flags = TRAPLINE_READS, .pre = supply, .name = "example: supplying" };
static struct trapline_access_probe guarding = { .flags = TRAPLINE_WRITES, .pre = protect, .name = "example: guarding" };
static struct trapline_access_probe *all[] = { &watching, &supplying, &guarding };

static void cover(struct trapline_access_probe *probe, u32 *field)
{
	probe->start = (u64)(unsigned long)field;
	probe->length = sizeof(*field);
}

static int __init example_init(void)
{
	int error;

	fields = vzalloc(sizeof(*fields));
	if (!fields)
		return -ENOMEM;
	cover(&watching, &fields->watched);
	cover(&supplying, &fields->supplied);
	cover(&guarding, &fields->guarded);
	error = trapline_register_access_probes(all, ARRAY_SIZE(all));
	if (error) {
		vfree(fields);
		return error;
	}
	WRITE_ONCE(fields->watched, 7);
	WRITE_ONCE(fields->watched, READ_ONCE(fields->watched) + 1);
	WRITE_ONCE(fields->guarded, 9);
	pr_info("trapline_example_probe: %d reads, %d writes, last written %u; supplied %u; guarded %u\n", atomic_read(&reads),
		atomic_read(&writes), READ_ONCE(last_written), READ_ONCE(fields->supplied), READ_ONCE(fields->guarded));
	return 0;
}

static void __exit example_exit(void)
{
	/* None of the handlers runs any more when this returns. */
	trapline_unregister_access_probes(all, ARRAY_SIZE(all));
	vfree(fields);
}

module_init(example_init);
module_exit(example_exit);
MODULE_DESCRIPTION("Trapline: example of access probes");
MODULE_LICENSE("GPL");
