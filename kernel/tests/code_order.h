/* SPDX-License-Identifier: GPL-2.0 */
/* Whose handler is called when, and who is registered at all. */

#define ORDERED 5

/* The next place in the order, on each CPU. */
static DEFINE_PER_CPU(u64, next_pre);
static DEFINE_PER_CPU(u64, next_post);

static void ordered_pre(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	if (this_cpu_read(next_pre) == (u64)probe->data)
		atomic64_inc(&pre_calls);
	this_cpu_write(next_pre, ((u64)probe->data + 1) % ORDERED);
}

static void ordered_post(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	if (this_cpu_read(next_post) == (u64)probe->data)
		atomic64_inc(&post_calls);
	this_cpu_write(next_post, ((u64)probe->data + 1) % ORDERED);
}

static bool ran_in_order(const struct site *site, struct work *work, s64 *calls)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu)
		per_cpu(next_pre, cpu) = per_cpu(next_post, cpu) = 0;
	*calls = run(site, work, hits / 10);
	return unharmed(work, *calls) && atomic64_read(&pre_calls) == ORDERED * *calls && atomic64_read(&post_calls) == ORDERED * *calls;
}

static void in_order(const struct site *site)
{
	struct trapline_code_probe probes[ORDERED] = {};
	struct trapline_code_probe *all[ORDERED];
	struct trapline_counts counts = {};
	struct work work = {};
	s64 calls = 0;
	bool ok;
	u64 i;

	for (i = 0; i < ORDERED; i++) {
		probes[i] = (struct trapline_code_probe){ .address = address_of_site(site), .pre = ordered_pre, .post = ordered_post, .data = (void *)i };
		all[i] = &probes[i];
	}
	ok = !trapline_register_code_probes(all, ORDERED);
	if (ok) {
		ok &= ran_in_order(site, &work, &calls);
		/* The second comes again, and is the last now. */
		trapline_unregister_code_probe(&probes[1]);
		for (i = 2; i < ORDERED; i++)
			probes[i].data = (void *)(i - 1);
		probes[1].data = (void *)(u64)(ORDERED - 1);
		ok &= !trapline_register_code_probe(&probes[1]) && ran_in_order(site, &work, &calls);
		trapline_unregister_code_probes(all, ORDERED);
	}
	say(ok, "handlers are called in the order of registration", site->name, &counts, &work, calls);
}

static void registered_twice(const struct site *site)
{
	struct trapline_code_probe probe = { .address = address_of_site(site), .pre = count_pre };
	struct trapline_code_probe *both[] = { &probe, &probe };
	struct trapline_return_probe returned = { .symbol = "int_pow", .returned = count_returned };
	struct trapline_counts counts = {};
	struct work work = {};
	bool ok;

	ok = trapline_register_code_probes(both, 2) == -EINVAL;
	ok &= !trapline_register_code_probe(&probe) && trapline_register_code_probe(&probe) == -EINVAL;
	ok &= !trapline_register_return_probe(&returned) && trapline_register_return_probe(&returned) == -EINVAL;
	trapline_unregister_return_probe(&returned);
	trapline_unregister_code_probe(&probe);
	run_nothing();
	ok &= site->target(7) == site->expected(7) && !atomic64_read(&pre_calls);
	say(ok, "a probe that is registered is not registered again", site->name, &counts, &work, 0);
}

/* In a task with memory of its own. */
static void reading_pre(struct trapline_code_probe *probe, const struct pt_regs *registers)
{
	u64 value = 0;

	if (!trapline_read_user(&value, (u64)probe->data, sizeof(value)) && value == 0x1122334455667788)
		atomic64_inc(&pre_calls);
}

struct borrower {
	const struct site *site;
	const struct mm_struct *lender;
	bool borrowed;
};

static int call_once(void *data)
{
	struct borrower *borrower = data;

	borrower->borrowed = current->active_mm == borrower->lender;
	borrower->site->target(7);
	return 0;
}

/*
 * A kernel thread on this CPU, which has no memory of its own, so that the CPU keeps that of this
 * task, if no other runs in between.
 */
static bool call_in_kernel_thread(const struct site *site, bool *borrowed)
{
	struct borrower borrower = { .site = site, .lender = current->mm };
	struct task_struct *task = kthread_create(call_once, &borrower, "code/borrows");

	if (IS_ERR(task))
		return false;
	migrate_disable();
	get_task_struct(task);
	kthread_bind(task, raw_smp_processor_id());
	wake_up_process(task);
	/* It has to run to its end, not only to be stopped. */
	while (!READ_ONCE(task->exit_state))
		schedule_timeout_uninterruptible(1);
	migrate_enable();
	put_task_struct(task);
	*borrowed = borrower.borrowed;
	return true;
}

static void reads_user_memory(const struct site *site)
{
	struct trapline_code_probe probe = { .address = address_of_site(site), .pre = reading_pre };
	u64 value = 0x1122334455667788;
	struct trapline_counts counts = {};
	struct work work = {};
	bool ok = false, borrowed = false;
	unsigned long area;
	u64 tries = 0;

	run_nothing();
	area = vm_mmap(NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, 0);
	if (!IS_ERR_VALUE(area) && !copy_to_user((void __user *)area, &value, sizeof(value))) {
		probe.data = (void *)area;
		if (!trapline_register_code_probe(&probe)) {
			ok = site->target(7) == site->expected(7) && atomic64_read(&pre_calls) == 1;
			while (ok && !borrowed && tries++ < 1000)
				ok = call_in_kernel_thread(site, &borrowed);
			trapline_code_probe_counts(&probe, &counts);
			trapline_unregister_code_probe(&probe);
		}
		vm_munmap(area, PAGE_SIZE);
	}
	say(ok && borrowed && counts.hits == 1 + tries && atomic64_read(&pre_calls) == 1, "a handler reads the memory of the task it interrupts, and no other task's", site->name, &counts,
	    &work, 1);
}
