// SPDX-License-Identifier: GPL-2.0
/*
 * Modules that are loaded: the page-fault gate may have to refuse one, and the code of others is
 * searched for accesses to ports before it runs (src/sources/ports).
 *
 * One notifier for both, from our module's beginning to its end. Rejected: one for each, for as
 * long as it is needed. Registering waits for the notifiers that are being called, and whoever
 * begins a session's source does that with our locks held, which a notifier waits for.
 *
 * Who calls a notifier holds the chain's lock as a reader. Those who wait for it as writers are
 * other modules that register a notifier; none of them has a lock of ours, since none of our
 * functions that they call does so.
 */
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/string.h>
#include "compat.h"
#include "glue.h"

static int on_module(struct notifier_block *block, unsigned long event, void *data)
{
	const struct module *module = data;
	u64 code[4] = {
		compat_module_text(module),
		compat_module_text_length(module),
		compat_module_init_text(module),
		compat_module_init_text_length(module),
	};
	u8 name[GLUE_MODULE_LENGTH] = {};

	/* It is whole, and nothing of it has run. */
	if (event != MODULE_STATE_COMING)
		return NOTIFY_DONE;
	if (!gate_admits(module->name))
		return notifier_from_errno(-EBUSY);
	memcpy(name, module->name, min(sizeof(name), sizeof(module->name)));
	trapline_module_comes(name, code);
	return NOTIFY_DONE;
}

static struct notifier_block block = { .notifier_call = on_module };

int modules_install(void)
{
	return register_module_notifier(&block);
}

/* When it returns, none is being told of. */
void modules_remove(void)
{
	unregister_module_notifier(&block);
}
