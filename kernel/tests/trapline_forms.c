// SPDX-License-Identifier: GPL-2.0
/*
 * Every form of instruction that accesses memory, once, on a device's registers.
 *
 * /sys/kernel/debug/trapline_forms/
 *   run        write "WHAT PLACE CPU": runs the form WHAT, or all that fit, or the stepped ones, or
 *              functions, at PLACE (or all), on that CPU; returns when done
 *   accesses   what the last run accessed, in order: "R|W 0xPHYSICAL WIDTH 0xVALUE FORM"
 *   results    how many forms ran and how many accesses they made, and what was not as it should be
 *   places     where forms can run: name, physical address
 *   entries    the page-table entries of all mappings
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include "device.h"
#include "exercise.h"

static char *device = "edu";
module_param(device, charp, 0444);
MODULE_PARM_DESC(device, "edu, or nvme with a controller memory buffer");

/* A mapping, as a driver might make it. */
struct mapping {
	const char *name;
	u64 offset, length;
	void __iomem *at;
};

/* Where a form's operand lies. */
struct place {
	const char *name;
	const char *mapping;
	/* From the device's start. */
	u64 offset;
	enum behaviour behaviour;
};

static struct mapping edu_mappings[] = {
	{ "page", 0, PAGE_SIZE },
};

static const struct place edu_places[] = {
	{ "register", "page", 0x80, EDU_REGISTER },
	{ "liveness", "page", 0x04, EDU_LIVENESS },
	{ "nothing", "page", 0x100, EDU_NOTHING },
};

#define BIG (3 << 20)

static struct mapping nvme_mappings[] = {
	{ "big", 0, BIG },
	{ "inside", 0x1010, 0x200 },
};

static const struct place nvme_places[] = {
	/* The mapping starts inside of a page. */
	{ "inside", "inside", 0x1010, MEMORY },
	/* A page of 2 MiB, then pages of 4 KiB. */
	{ "large-page", "big", 0x12340, MEMORY },
	{ "small-page", "big", 0x201000, MEMORY },
	{ "last-bytes", "big", BIG - WINDOW, MEMORY },
	/* Unaligned, across two pages, of different sizes. */
	{ "unaligned", "big", 0x280003, MEMORY },
	{ "across-pages", "big", 0x280fff, MEMORY },
	{ "across-sizes", "big", 0x1fffff, MEMORY },
};

static struct subject subject;
static struct mapping *mappings;
static size_t mapping_count;
static const struct place *places;
static size_t place_count;

/* One access, as it must be in a trace. */
struct noted {
	u64 physical;
	const char *form;
	char direction;
	u8 width;
	u8 value[VECTOR_BYTES];
};

#define NOTED_MAX (1 << 17)

struct run {
	struct bench bench;
	struct noted *noted;
	size_t count, forms;
	/* Of the form that runs. */
	const char *form;
	/*
	 * Three pages: a window at any offset of the second. They follow each other in physical
	 * memory too: QEMU (7.2.22 and 10.0.2 were tried) reads an fldt that crosses into another
	 * page as if they did, with Trapline or without it. What would be wrong then is the truth
	 * that the device is compared with.
	 */
	u8 *twin;
	char what[40], place[40];
};

static struct run run;
static DEFINE_MUTEX(lock);

static void note(struct bench *bench, char direction, u64 physical, u8 width, const u8 *value)
{
	struct noted *noted;

	if (run.count == NOTED_MAX) {
		bench->mismatches++;
		return;
	}
	noted = &run.noted[run.count++];
	noted->direction = direction;
	noted->physical = physical;
	noted->width = width;
	noted->form = run.form;
	memcpy(noted->value, value, width);
}

static struct mapping *mapping_of(const struct place *place)
{
	struct mapping *mapping = mappings;

	while (strcmp(mapping->name, place->mapping))
		mapping++;
	return mapping;
}

/*
 * The kernel's own functions that copy to and from a device. What they access is theirs to choose,
 * so nothing is noted but their effect is checked.
 */
static void functions(struct region *region)
{
	static const struct form names[] = { { .name = "memcpy_fromio" }, { .name = "memcpy_toio" }, { .name = "memset_io" } };
	void __iomem *at = (void __iomem *)region->device;
	u8 *plain = run.bench.plain[0];
	size_t start, length;

	for (start = 0; start < 4; start++) {
		for (length = 1; start + length <= WINDOW; length += 13) {
			region_fill(&run.bench, region);
			memcpy_fromio(plain, at + start, length);
			if (memcmp(plain, region->twin + start, length))
				complain(&run.bench, &names[0], region, "memory differing from", start, length);
			random_bytes(&run.bench, plain, WINDOW);
			memcpy_toio(at + start, plain, length);
			memcpy(region->twin + start, plain, length);
			region_check(&run.bench, &names[1], region);
			memset_io(at + start, 0x5a, length);
			memset(region->twin + start, 0x5a, length);
			region_check(&run.bench, &names[2], region);
			run.forms += 3;
		}
	}
}

static bool is_wanted(const struct form *form)
{
	if (!strcmp(run.what, "stepped"))
		return form->stepped;
	return !strcmp(run.what, "all") ? !form->stepped : !strcmp(run.what, form->name);
}

static void run_at(const struct place *place)
{
	struct mapping *mapping = mapping_of(place);
	struct region region = {
		.behaviour = place->behaviour,
		.device = (u8 __force *)mapping->at + (place->offset - mapping->offset),
		.physical = subject.physical + place->offset,
	};
	size_t number;

	region.twin = run.twin + PAGE_SIZE + offset_in_page(region.device);
	if (!strcmp(run.what, "functions") && place->behaviour == MEMORY) {
		run.form = "functions";
		functions(&region);
	}
	for (number = 0; number < ARRAY_SIZE(forms); number++) {
		const struct form *form = &forms[number];

		if (!is_wanted(form) || !form_fits(form, &region))
			continue;
		run.form = form->name;
		region_fill(&run.bench, &region);
		exercise(&run.bench, form, &region);
		region_check(&run.bench, form, &region);
		run.forms++;
		cond_resched();
	}
}

static long run_here(void *unused)
{
	size_t number;

	for (number = 0; number < place_count; number++)
		if (!strcmp(run.place, "all") || !strcmp(run.place, places[number].name))
			run_at(&places[number]);
	return 0;
}

static ssize_t run_write(struct file *file, const char __user *from, size_t length, loff_t *position)
{
	unsigned int cpu;
	char *command = memdup_user_nul(from, length);
	long result;

	if (IS_ERR(command))
		return PTR_ERR(command);
	mutex_lock(&lock);
	if (sscanf(command, "%39s %39s %u", run.what, run.place, &cpu) != 3 || !cpu_online(cpu)) {
		result = -EINVAL;
	} else {
		memset(&run.bench, 0, sizeof(run.bench));
		run.bench.random = 0x9e3779b97f4a7c15ULL + cpu;
		run.bench.note = note;
		run.count = run.forms = 0;
		result = work_on_cpu(cpu, run_here, NULL);
	}
	mutex_unlock(&lock);
	kfree(command);
	return result ?: length;
}

static const struct file_operations run_operations = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = run_write,
};

static int results_show(struct seq_file *file, void *unused)
{
	mutex_lock(&lock);
	seq_printf(file, "forms %zu accesses %zu mismatches %llu\n", run.forms, run.count, run.bench.mismatches);
	if (run.bench.mismatches)
		seq_printf(file, "first: %s\n", run.bench.complaint);
	mutex_unlock(&lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(results);

static int places_show(struct seq_file *file, void *unused)
{
	size_t number;

	for (number = 0; number < place_count; number++)
		seq_printf(file, "%s 0x%llx\n", places[number].name, subject.physical + places[number].offset);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(places);

static int entries_show(struct seq_file *file, void *unused)
{
	struct mapping *mapping;

	for (mapping = mappings; mapping < mappings + mapping_count; mapping++)
		show_entries(file, mapping->at, mapping->length);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(entries);

static void *accesses_start(struct seq_file *file, loff_t *position)
{
	mutex_lock(&lock);
	return *position < run.count ? &run.noted[*position] : NULL;
}

static void *accesses_next(struct seq_file *file, void *noted, loff_t *position)
{
	return ++*position < run.count ? &run.noted[*position] : NULL;
}

static void accesses_stop(struct seq_file *file, void *noted)
{
	mutex_unlock(&lock);
}

static int accesses_show(struct seq_file *file, void *entry)
{
	const struct noted *noted = entry;
	int byte;

	seq_printf(file, "%c 0x%llx %u 0x", noted->direction, noted->physical, noted->width);
	for (byte = noted->width - 1; byte >= 0; byte--)
		seq_printf(file, "%02x", noted->value[byte]);
	seq_printf(file, " %s\n", noted->form);
	return 0;
}

static const struct seq_operations accesses_sops = {
	.start = accesses_start,
	.next = accesses_next,
	.stop = accesses_stop,
	.show = accesses_show,
};
DEFINE_SEQ_ATTRIBUTE(accesses);

static struct dentry *directory;

static void unmap_all(void)
{
	struct mapping *mapping;

	for (mapping = mappings; mapping < mappings + mapping_count; mapping++)
		if (mapping->at)
			iounmap(mapping->at);
}

static int map_all(void)
{
	struct mapping *mapping;

	for (mapping = mappings; mapping < mappings + mapping_count; mapping++) {
		if (mapping->offset + mapping->length > subject.length) {
			pr_err("BAR %d of %s has 0x%llx bytes, fewer than needed\n", subject.choice->bar, device, subject.length);
			return -EINVAL;
		}
		mapping->at = ioremap(subject.physical + mapping->offset, mapping->length);
		if (!mapping->at)
			return -ENOMEM;
	}
	return 0;
}

static void free_twin(void)
{
	if (run.twin)
		free_pages_exact(run.twin, 3 * PAGE_SIZE);
}

static int __init forms_init(void)
{
	int failed = subject_open(&subject, device);

	if (failed)
		return failed;
	mappings = subject.choice->is_edu ? edu_mappings : nvme_mappings;
	mapping_count = subject.choice->is_edu ? ARRAY_SIZE(edu_mappings) : ARRAY_SIZE(nvme_mappings);
	places = subject.choice->is_edu ? edu_places : nvme_places;
	place_count = subject.choice->is_edu ? ARRAY_SIZE(edu_places) : ARRAY_SIZE(nvme_places);
	run.noted = vzalloc(array_size(NOTED_MAX, sizeof(*run.noted)));
	run.twin = alloc_pages_exact(3 * PAGE_SIZE, GFP_KERNEL | __GFP_ZERO);
	failed = run.noted && run.twin ? map_all() : -ENOMEM;
	if (failed) {
		unmap_all();
		vfree(run.noted);
		free_twin();
		subject_close(&subject);
		return failed;
	}
	directory = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_file("run", 0200, directory, NULL, &run_operations);
	debugfs_create_file("results", 0400, directory, NULL, &results_fops);
	debugfs_create_file("places", 0400, directory, NULL, &places_fops);
	debugfs_create_file("entries", 0400, directory, NULL, &entries_fops);
	debugfs_create_file("accesses", 0400, directory, NULL, &accesses_fops);
	return 0;
}

static void __exit forms_exit(void)
{
	debugfs_remove(directory);
	unmap_all();
	vfree(run.noted);
	free_twin();
	subject_close(&subject);
}

module_init(forms_init);
module_exit(forms_exit);

MODULE_DESCRIPTION("Every form of instruction that accesses memory, on a device's registers");
MODULE_LICENSE("GPL");
