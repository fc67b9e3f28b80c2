// SPDX-License-Identifier: GPL-2.0-only
/* The driver's interface, for other modules. */
#include <linux/export.h>

#include <gmem/kernel.h>
#include <gmem/policy.h>

EXPORT_SYMBOL_GPL(gm_kdev_create);
EXPORT_SYMBOL_GPL(gm_kdev_destroy);
EXPORT_SYMBOL_GPL(gm_dev_accessed);
EXPORT_SYMBOL_GPL(gm_dev_data);
EXPORT_SYMBOL_GPL(gm_dev_hnode);
EXPORT_SYMBOL_GPL(gm_dev_policy);
EXPORT_SYMBOL_GPL(gm_dev_poison);
EXPORT_SYMBOL_GPL(gm_dev_remove);
EXPORT_SYMBOL_GPL(gm_dev_set_policy);
EXPORT_SYMBOL_GPL(gm_dev_stats);
EXPORT_SYMBOL_GPL(gm_dev_tune);
EXPORT_SYMBOL_GPL(gm_dev_register_physmem);
EXPORT_SYMBOL_GPL(gm_dev_register_physmem_cpu);
EXPORT_SYMBOL_GPL(gm_dev_unregister_physmem);
EXPORT_SYMBOL_GPL(gm_dev_fault);
EXPORT_SYMBOL_GPL(gm_dev_fault_batch);
EXPORT_SYMBOL_GPL(gm_fence_signal);
EXPORT_SYMBOL_GPL(gm_kas_attach);
EXPORT_SYMBOL_GPL(gm_kas_attach_sparse);
EXPORT_SYMBOL_GPL(gm_kas_detach);
EXPORT_SYMBOL_GPL(gm_as_from_fd);
EXPORT_SYMBOL_GPL(gm_as_lookup);
EXPORT_SYMBOL_GPL(gm_as_release);
EXPORT_SYMBOL_GPL(gm_context_as);
EXPORT_SYMBOL_GPL(gm_context_pmap);
EXPORT_SYMBOL_GPL(gm_context_set_mode);
EXPORT_SYMBOL_GPL(gm_window_add);
EXPORT_SYMBOL_GPL(gm_window_remove);
EXPORT_SYMBOL_GPL(gm_hnode_info);
EXPORT_SYMBOL_GPL(gm_policy_name);
EXPORT_SYMBOL_GPL(gm_policy_register);
EXPORT_SYMBOL_GPL(gm_policy_unregister);
