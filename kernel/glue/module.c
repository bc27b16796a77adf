// SPDX-License-Identifier: GPL-2.0
/* The module's beginning and end. */
#define pr_fmt(fmt) "trapline: " fmt

#include <linux/init.h>
#include <linux/module.h>
#include <asm/cpufeature.h>
#include "glue.h"

/*
 * A failed self-test refuses sessions, not loading: the command then tells the person what is
 * wrong.
 */
static void __init report_self_test(u32 outcome)
{
	switch (outcome) {
	case 1:
		pr_info("self-test passed\n");
		break;
	case 2:
		pr_err("self-test failed: an access to an armed page did not reach the fault hook; nothing will be armed\n");
		break;
	case 3:
		pr_err("self-test failed: an access to an armed page gave a wrong value; nothing will be armed\n");
		break;
	default:
		pr_err("self-test not run: no memory for its page; nothing will be armed\n");
	}
}

static int __init trapline_module_init(void)
{
	int error;

	/* A Xen PV guest's page tables are read-only to it: nothing here could arm a page. */
	if (cpu_feature_enabled(X86_FEATURE_XENPV)) {
		pr_err("page tables can't be changed in a Xen PV guest\n");
		return -EOPNOTSUPP;
	}
	glue_number_cpus();
	error = trapline_init();
	if (error)
		return error;
	error = step_install();
	if (error)
		goto no_step;
	error = hook_install();
	if (error)
		goto no_hook;
	error = tracking_install();
	if (error)
		goto no_tracking;
	report_self_test(trapline_self_test());
	error = modules_install();
	if (error)
		goto no_modules;
	error = device_install();
	if (error)
		goto no_device;
	return 0;

no_device:
	modules_remove();
no_modules:
	tracking_remove();
no_tracking:
	hook_remove();
no_hook:
	step_remove();
no_step:
	repair_remove();
	trapline_exit();
	return error;
}

/*
 * Not reached while the device is open or another module uses our symbols: both hold references to
 * this module.
 */
static void __exit trapline_module_exit(void)
{
	device_remove();
	modules_remove();
	tracking_remove();
	hook_remove();
	step_remove();
	repair_remove();
	trapline_exit();
}

module_init(trapline_module_init);
module_exit(trapline_module_exit);
MODULE_DESCRIPTION("Trapline: probes on memory accesses");
MODULE_AUTHOR("The Trapline authors");
MODULE_LICENSE("Dual MIT/GPL");
