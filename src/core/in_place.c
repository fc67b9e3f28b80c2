// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Host pages that devices map in place.
 *
 * Theory. A host that may move or drop a page nobody holds is told which pages devices map
 * where they are: gm_os_in_place_hold() before a page is entered in a pmap (unmap.c),
 * gm_os_in_place_drop() when no device can reach it any more. A page is held once for all its
 * mappings. Which these are nothing remembers (unmap.c), so what is held is at least what is
 * mapped, and at most what some context in mode GM_REPLICATE sees:
 *
 *	taken away from all of them, to be moved or dropped	gm_unmap_in_place(): let go
 *	a region or a context has left				gm_in_place_left(): what
 *		no other context sees is let go, the rest stays held for the others
 *	a context's table is full, or too much is held		gm_in_place_take()
 *
 * Only pages that are in host backing (GM_HOST) are held: to migrate one, to free it or to end
 * its object is to go by one of these first.
 *
 * Locking. Both sides hold the block: a page is held and entered in one hold of its lock, and
 * let go in another, in which it is seen that nobody maps it. A context that is attached, or a
 * region that is made, in between finds pages that are not held, and holds them with its own
 * first fault. The address space's lock is held for writing, so the region stays.
 */
#include "core/core.h"

#define SEEN_BITS 64U

struct seen {
	uint64_t page[GM_BLOCK_PAGES / SEEN_BITS];
};

static bool is_seen(const struct seen *seen, unsigned int page)
{
	return seen->page[page / SEEN_BITS] >> page % SEEN_BITS & 1;
}

static bool maps_in_place(struct gm_as *as)
{
	struct gm_context *ctx;

	gm_rwlock_rdlock(&as->ctx_lock, GM_RANK_CTX);
	ctx = as->contexts;
	while (ctx && ctx->mode != GM_REPLICATE)
		ctx = ctx->next;
	gm_rwlock_unlock(&as->ctx_lock, GM_RANK_CTX);
	return ctx != NULL;
}

static bool overlaps(const struct gm_region *r, uint64_t index)
{
	return r->offset < (index + 1) << GM_BLOCK_SHIFT &&
	       r->offset + r->len > index << GM_BLOCK_SHIFT;
}

/* The pages of the block that some context sees which maps host memory in place. */
static void look(const struct gm_block *block, struct seen *seen)
{
	struct gm_object *obj = block->obj;

	for (unsigned int i = 0; i < GM_BLOCK_PAGES / SEEN_BITS; i++)
		seen->page[i] = 0;
	if (!gm_load(&gm_core.in_place))
		return;
	gm_rwlock_rdlock(&obj->maps_lock, GM_RANK_MAPS);
	for (const struct gm_region *r = obj->regions; r; r = r->next) {
		unsigned int first = 0, n = GM_BLOCK_PAGES;

		if (!overlaps(r, block->index) || !maps_in_place(r->as))
			continue;
		gm_clip(r, block->index, &first, &n);
		for (unsigned int page = first; page < first + n; page++)
			seen->page[page / SEEN_BITS] |= 1ULL << page % SEEN_BITS;
	}
	gm_rwlock_unlock(&obj->maps_lock, GM_RANK_MAPS);
}

static void drop_unseen(struct gm_block *block)
{
	unsigned int page = 0, end;
	struct seen seen;

	look(block, &seen);
	for (; page < GM_BLOCK_PAGES; page = end) {
		end = page + 1;
		while (end < GM_BLOCK_PAGES && is_seen(&seen, end) == is_seen(&seen, page))
			end++;
		if (!is_seen(&seen, page))
			gm_os_in_place_drop(block->obj,
					    (block->index << GM_BLOCK_SHIFT) +
						    ((uint64_t)page << GM_PAGE_SHIFT),
					    (uint64_t)(end - page) << GM_PAGE_SHIFT);
	}
}

/* The first block of the region from @index on, locked, or NULL; @index moves on. */
static struct gm_block *next_block(const struct gm_region *r, uint64_t *index)
{
	uint64_t end = (r->offset + r->len + GM_BLOCK_SIZE - 1) >> GM_BLOCK_SHIFT;
	struct gm_block *block = NULL;

	while (!block && (*index = gm_lpt_next(r->obj, *index, end)) < end)
		block = gm_block_find(r->obj, (*index)++, false);
	return block;
}

/*
 * The region is on its object's list no more, or a context no more on its address space's, and
 * what it had mapped was released.
 */
void gm_in_place_left(const struct gm_region *region)
{
	uint64_t index = region->offset >> GM_BLOCK_SHIFT;
	struct gm_block *block;

	if (!gm_os_in_place_any(region->obj))
		return;
	while ((block = next_block(region, &index))) {
		drop_unseen(block);
		gm_block_unlock(block);
	}
}

/* Nobody maps any of the region in place any more, and nothing of it is held. */
int gm_in_place_take(const struct gm_region *region)
{
	uint64_t index = region->offset >> GM_BLOCK_SHIFT;
	struct gm_block *block;
	int err = 0;

	if (!gm_os_in_place_any(region->obj))
		return 0;
	while (!err && (block = next_block(region, &index))) {
		unsigned int first = 0, n = GM_BLOCK_PAGES;

		gm_clip(region, block->index, &first, &n);
		err = gm_unmap_in_place(block, first, n);
		gm_block_unlock(block);
	}
	return err;
}

bool gm_in_place(void)
{
	return gm_load(&gm_core.in_place) != 0;
}
