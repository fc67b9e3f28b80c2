// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Retention: keeping the host frames of pages that moved to a device.
 *
 * Freeing a 2 MiB piece of shmem and filling it again costs several times the copy
 * itself, so the frame a page left behind is kept, stale, until it comes back, up to
 * a bound over all objects. A page's entry says so (GM_E_RETAINED); its bytes are on
 * the device all the same. Frames beyond the bound are freed as pages leave; on
 * request, and when host memory runs low, those of the coldest blocks go first.
 *
 * Frames of hugetlb objects come from a reserved pool: they are always kept, and
 * count for nothing.
 *
 * The host calls gm_memory_low() when memory is short; besides, the core asks it each
 * time much more is retained.
 *
 * Locking. The sum is atomic. Trimming takes blocks by trylock from the hnodes' lists,
 * like an evictor, under gm_core.lock.
 */
#include "core/core.h"

#define LOOK_EVERY 16384ULL /* pages more (64 MiB): time to see whether the host has memory */

static struct gm_os_work look_work;

/* May the host frames of @pages be kept? They are counted then. */
bool gm_retain_take(const struct gm_object *obj, uint64_t pages)
{
	uint64_t before;

	if (obj->granule > GM_PAGE_SIZE)
		return true;
	before = gm_add(&gm_core.retained, pages);
	if (before + pages > gm_load(&gm_core.retain_max)) {
		gm_sub(&gm_core.retained, pages);
		return false;
	}
	if (((before + pages) ^ before) & ~(LOOK_EVERY - 1))
		gm_os_work_schedule(&look_work);
	return true;
}

/* They came home, or went. */
void gm_retain_drop(const struct gm_object *obj, uint64_t pages)
{
	if (obj->granule == GM_PAGE_SIZE)
		gm_sub(&gm_core.retained, pages);
}

/* Free the retained host frames of a locked block; how many bytes. */
static uint64_t trim_block(struct gm_block *block)
{
	unsigned int n, freed = 0;
	uint64_t e;

	for (unsigned int page = 0; page < GM_BLOCK_PAGES && block->nr_retained; page += n) {
		n = gm_block_run(block, page, GM_BLOCK_PAGES, &e);
		if (!gm_entry_retained(e))
			continue;
		gm_os_backing_free(block->obj,
				   (block->index << GM_BLOCK_SHIFT) +
					   ((uint64_t)page << GM_PAGE_SHIFT),
				   (uint64_t)n << GM_PAGE_SHIFT);
		gm_block_set(block, page, n, e & ~GM_E_RETAINED);
		block->nr_retained = (uint16_t)(block->nr_retained - n);
		freed += n;
	}
	gm_retain_drop(block->obj, freed);
	gm_block_fold(block);
	return (uint64_t)freed << GM_PAGE_SHIFT;
}

#define LOOKS 256U /* residents looked at in one hold of the hnode's lock */

/*
 * From the cursor on, a block that has retained frames, locked; blocks in use are passed
 * over. NULL with *more: not within this hold.
 */
static struct gm_block *pick_retaining(struct gm_hnode *h, struct gm_list *list, bool *more)
{
	struct gm_block *found = NULL;

	gm_spin_lock(&h->lock, GM_RANK_HNODE);
	for (unsigned int i = 0; i < LOOKS && h->cursor != list && !found; i++) {
		struct gm_block *block = gm_container(h->cursor, struct gm_resident, lru)->block;

		h->cursor = h->cursor->next;
		if (!gm_mutex_trylock(&block->lock, GM_RANK_BLOCK))
			continue;
		if (block->nr_retained && block->obj->granule == GM_PAGE_SIZE)
			found = block;
		else
			gm_mutex_unlock(&block->lock, GM_RANK_BLOCK);
	}
	*more = h->cursor != list;
	gm_spin_unlock(&h->lock, GM_RANK_HNODE);
	return found;
}

/* One walk over the list, coldest first. gm_core.lock held: nobody else uses the cursor. */
static uint64_t trim_list(struct gm_hnode *h, struct gm_list *list, uint64_t bytes)
{
	uint64_t freed = 0;
	bool more = true;

	gm_spin_lock(&h->lock, GM_RANK_HNODE);
	h->cursor = list->next;
	gm_spin_unlock(&h->lock, GM_RANK_HNODE);
	while (freed < bytes && more) {
		struct gm_block *block = pick_retaining(h, list, &more);

		if (!block)
			continue;
		freed += trim_block(block);
		gm_block_unlock(block);
	}
	gm_spin_lock(&h->lock, GM_RANK_HNODE);
	h->cursor = NULL;
	gm_spin_unlock(&h->lock, GM_RANK_HNODE);
	return freed;
}

uint64_t gm_retain_trim(uint64_t bytes)
{
	uint64_t freed = 0;

	if (gm_enter())
		return 0;
	gm_mutex_lock(&gm_core.lock, GM_RANK_CORE);
	for (unsigned int i = 0; i < GM_MAX_DEVS && freed < bytes; i++) {
		struct gm_dev *dev = gm_core.dev[i];

		if (!dev)
			continue;
		freed += trim_list(&dev->hnode, &dev->hnode.cold, bytes - freed);
		if (freed < bytes)
			freed += trim_list(&dev->hnode, &dev->hnode.pinned_list, bytes - freed);
	}
	gm_mutex_unlock(&gm_core.lock, GM_RANK_CORE);
	return freed;
}

/* One of the kept frames of a locked block has failed: none is worth keeping. */
void gm_retain_trim_block(struct gm_block *block)
{
	if (block->obj->granule == GM_PAGE_SIZE)
		trim_block(block);
}

void gm_retain_limit(uint64_t bytes)
{
	uint64_t now;

	gm_store(&gm_core.retain_max, bytes >> GM_PAGE_SHIFT);
	now = gm_retained_bytes();
	if (now > bytes)
		gm_retain_trim(now - bytes);
}

uint64_t gm_retained_bytes(void)
{
	return gm_load(&gm_core.retained) << GM_PAGE_SHIFT;
}

void gm_memory_low(void)
{
	gm_retain_trim(GM_MAX(gm_retained_bytes() / 4, GM_BLOCK_SIZE));
}

static void look(struct gm_os_work *work)
{
	(void)work;
	if (gm_os_host_memory_low())
		gm_memory_low();
}

static struct gm_os_work look_work = { .fn = look };

void gm_retain_stop(void)
{
	gm_os_work_cancel(&look_work);
}
