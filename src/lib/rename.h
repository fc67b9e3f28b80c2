/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Included before everything else where the core and the linux-user host are compiled for
 * libgmem: the functions that both hosts have step aside there for those of dispatch.c.
 * Macros with arguments, for a struct may have a function's name.
 */
#ifndef GM_LIB_RENAME_H
#define GM_LIB_RENAME_H

#define gm_alloc(...) gm_core_alloc(__VA_ARGS__)
#define gm_as_attach(...) gm_core_as_attach(__VA_ARGS__)
#define gm_as_attach_sparse(...) gm_core_as_attach_sparse(__VA_ARGS__)
#define gm_as_create(...) gm_core_as_create(__VA_ARGS__)
#define gm_as_destroy(...) gm_core_as_destroy(__VA_ARGS__)
#define gm_as_detach(...) gm_core_as_detach(__VA_ARGS__)
#define gm_as_lookup(...) gm_core_as_lookup(__VA_ARGS__)
#define gm_as_map(...) gm_core_as_map(__VA_ARGS__)
#define gm_as_limit(...) gm_core_as_limit(__VA_ARGS__)
#define gm_as_protect(...) gm_core_as_protect(__VA_ARGS__)
#define gm_as_remap(...) gm_core_as_remap(__VA_ARGS__)
#define gm_as_stats(...) gm_core_as_stats(__VA_ARGS__)
#define gm_as_unmap(...) gm_core_as_unmap(__VA_ARGS__)
#define gm_dev_create(...) gm_core_dev_create(__VA_ARGS__)
#define gm_dev_destroy(...) gm_core_dev_destroy(__VA_ARGS__)
#define gm_dev_hnode(...) gm_core_dev_hnode(__VA_ARGS__)
#define gm_dev_policy(...) gm_core_dev_policy(__VA_ARGS__)
#define gm_dev_poison(...) gm_core_dev_poison(__VA_ARGS__)
#define gm_dev_remove(...) gm_core_dev_remove(__VA_ARGS__)
#define gm_dev_register_physmem(...) gm_core_dev_register_physmem(__VA_ARGS__)
#define gm_dev_register_physmem_cpu(...) gm_core_dev_register_physmem_cpu(__VA_ARGS__)
#define gm_dev_set_policy(...) gm_core_dev_set_policy(__VA_ARGS__)
#define gm_dev_stats(...) gm_core_dev_stats(__VA_ARGS__)
#define gm_dev_tune(...) gm_core_dev_tune(__VA_ARGS__)
#define gm_dev_unregister_physmem(...) gm_core_dev_unregister_physmem(__VA_ARGS__)
#define gm_hnode_info(...) gm_core_hnode_info(__VA_ARGS__)
#define gm_metadata_bytes(...) gm_core_metadata_bytes(__VA_ARGS__)
#define gm_object_create(...) gm_core_object_create(__VA_ARGS__)
#define gm_object_put(...) gm_core_object_put(__VA_ARGS__)
#define gm_policy_name(...) gm_core_policy_name(__VA_ARGS__)
#define gm_policy_register(...) gm_core_policy_register(__VA_ARGS__)
#define gm_policy_unregister(...) gm_core_policy_unregister(__VA_ARGS__)
#define gm_query(...) gm_core_query(__VA_ARGS__)
#define gm_record_start(...) gm_core_record_start(__VA_ARGS__)
#define gm_record_stop(...) gm_core_record_stop(__VA_ARGS__)
#define gm_register(...) gm_core_register(__VA_ARGS__)
#define gm_retain_limit(...) gm_core_retain_limit(__VA_ARGS__)
#define gm_retain_trim(...) gm_core_retain_trim(__VA_ARGS__)
#define gm_retained_bytes(...) gm_core_retained_bytes(__VA_ARGS__)
#define gm_unregister(...) gm_core_unregister(__VA_ARGS__)
#define hmadvise(...) gm_core_hmadvise(__VA_ARGS__)
#define hmemcpy(...) gm_core_hmemcpy(__VA_ARGS__)

#endif
