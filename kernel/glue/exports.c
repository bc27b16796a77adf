// SPDX-License-Identifier: GPL-2.0
/*
 * What other modules may use: the functions of include/trapline.h, which Rust defines (src/api/).
 */
#include <linux/export.h>
#include <linux/module.h>
#include "trapline.h"

EXPORT_SYMBOL_GPL(trapline_register_page_fault_handler);
EXPORT_SYMBOL_GPL(trapline_unregister_page_fault_handler);
EXPORT_SYMBOL_GPL(trapline_synchronize);
EXPORT_SYMBOL_GPL(trapline_flush_tlb);
EXPORT_SYMBOL_GPL(trapline_register_access_probe);
EXPORT_SYMBOL_GPL(trapline_unregister_access_probe);
EXPORT_SYMBOL_GPL(trapline_register_access_probes);
EXPORT_SYMBOL_GPL(trapline_unregister_access_probes);
EXPORT_SYMBOL_GPL(trapline_register_code_probe);
EXPORT_SYMBOL_GPL(trapline_unregister_code_probe);
EXPORT_SYMBOL_GPL(trapline_register_code_probes);
EXPORT_SYMBOL_GPL(trapline_unregister_code_probes);
EXPORT_SYMBOL_GPL(trapline_enable_code_probe);
EXPORT_SYMBOL_GPL(trapline_disable_code_probe);
EXPORT_SYMBOL_GPL(trapline_code_probe_counts);
EXPORT_SYMBOL_GPL(trapline_register_return_probe);
EXPORT_SYMBOL_GPL(trapline_unregister_return_probe);
EXPORT_SYMBOL_GPL(trapline_register_return_probes);
EXPORT_SYMBOL_GPL(trapline_unregister_return_probes);
EXPORT_SYMBOL_GPL(trapline_enable_return_probe);
EXPORT_SYMBOL_GPL(trapline_disable_return_probe);
EXPORT_SYMBOL_GPL(trapline_return_probe_counts);
EXPORT_SYMBOL_GPL(trapline_read_kernel);
EXPORT_SYMBOL_GPL(trapline_read_user);
