// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The core's one global: the table of devices, the list of objects, the pools.
 *
 * Its host calls gm_core_init() once before anything else. Pools give their memory
 * back when no object exists any more (gm_core_reap()), from calls that hold no lock:
 * somebody who holds gm_core.lock may be about to lock a block that was just freed.
 */
#include "core/async.h"
#include "core/pingpong.h"

struct gm_core gm_core;

static void block_ctor(void *obj)
{
	struct gm_block *block = obj;

	gm_mutex_init(&block->lock);
	block->obj = NULL;
}

static void block_dtor(void *obj)
{
	gm_mutex_destroy(&((struct gm_block *)obj)->lock);
}

int gm_core_init(void)
{
	gm_mutex_init(&gm_core.lock);
	gm_spin_init(&gm_core.objects_lock);
	gm_list_init(&gm_core.objects);
	gm_core.first_hnode = gm_os_numa_nodes();
	gm_core.retain_max = gm_os_host_memory_total() / 8 >> GM_PAGE_SHIFT;
	gm_pool_init(&gm_core.blocks, sizeof(struct gm_block), block_ctor, block_dtor);
	gm_pool_init(&gm_core.arrays, GM_BLOCK_PAGES * sizeof(uint64_t) + sizeof(struct gm_mask),
		     NULL, NULL);
	gm_pool_init(&gm_core.nodes, GM_BLOCK_PAGES * sizeof(void *), NULL, NULL);
	gm_pool_init(&gm_core.residents,
		     (uint32_t)GM_MAX(sizeof(struct gm_resident), gm_pingpong_size()), NULL, NULL);
	gm_pool_init(&gm_core.windows, sizeof(struct gm_seen), NULL, NULL);
	gm_pool_init(&gm_core.spans, (uint32_t)gm_span_size(), NULL, NULL);
	gm_pool_init(&gm_core.small, GM_MAX(sizeof(struct gm_object), sizeof(struct gm_region)),
		     NULL, NULL);
	for (uint32_t i = 0; i < GM_PAGE_BYTES_MAX; i++)
		gm_pool_init(&gm_core.history[i],
			     (uint32_t)sizeof(struct gm_history) + (i + 1) * GM_BLOCK_PAGES, NULL,
			     NULL);
	gm_sweeps_init();
	return 0;
}

void gm_core_exit(void)
{
	gm_sweeps_exit();
	gm_retain_stop();
	for (unsigned int i = 0; i < GM_PAGE_BYTES_MAX; i++)
		gm_pool_destroy(&gm_core.history[i]);
	gm_pool_destroy(&gm_core.small);
	gm_pool_destroy(&gm_core.spans);
	gm_pool_destroy(&gm_core.windows);
	gm_pool_destroy(&gm_core.residents);
	gm_pool_destroy(&gm_core.nodes);
	gm_pool_destroy(&gm_core.arrays);
	gm_pool_destroy(&gm_core.blocks);
	gm_spin_destroy(&gm_core.objects_lock);
	gm_mutex_destroy(&gm_core.lock);
}

void gm_core_reap(void)
{
	bool idle;

	gm_mutex_lock(&gm_core.lock, GM_RANK_CORE);
	gm_spin_lock(&gm_core.objects_lock, GM_RANK_HNODE);
	idle = !gm_core.nr_objects;
	gm_spin_unlock(&gm_core.objects_lock, GM_RANK_HNODE);
	if (idle) {
		gm_pool_reap(&gm_core.blocks);
		gm_pool_reap(&gm_core.arrays);
		gm_pool_reap(&gm_core.nodes);
		gm_pool_reap(&gm_core.residents);
		gm_pool_reap(&gm_core.small);
		gm_pool_reap(&gm_core.windows);
		gm_pool_reap(&gm_core.spans);
		for (unsigned int i = 0; i < GM_PAGE_BYTES_MAX; i++)
			gm_pool_reap(&gm_core.history[i]);
	}
	gm_mutex_unlock(&gm_core.lock, GM_RANK_CORE);
}

/*
 * What the logical page tables of all objects take: blocks, arrays, nodes, residents; spans,
 * history.
 */
uint64_t gm_metadata_bytes(void)
{
	return gm_pool_bytes(&gm_core.blocks) + gm_pool_bytes(&gm_core.arrays) +
	       gm_pool_bytes(&gm_core.nodes) + gm_pool_bytes(&gm_core.residents) +
	       gm_pool_bytes(&gm_core.spans) + gm_history_bytes() + gm_os_metadata_bytes();
}
