// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Host pages that are held, for devices map them in place.
 *
 * Theory. A host that may move or drop a page nobody holds is told which pages devices map
 * where they are: gm_os_in_place_hold() before a page is entered in a pmap (in_place.c),
 * gm_os_in_place_drop() when no device can reach it any more. A page is held once for all its
 * mappings. Which these are nothing remembers (view.c), so what is held is at least what is
 * mapped, and at most what some window in mode GM_REPLICATE shows, or one of a device that maps
 * host memory of the block at a hint (hint_fault.c):
 *
 *	taken away from all of them, to be moved or dropped	gm_unmap_in_place(): let go
 *	a region, a window or a context has left			gm_in_place_left(): what
 *		no other context sees is let go, the rest stays held for the others
 *	a context's table is full, or too much is held		gm_in_place_take()
 *
 * Only pages that are in host backing (GM_HOST) are held: to migrate one, to free it or to end
 * its object is to go by one of these first.
 *
 * Locking. Both sides hold the block: a page is held and entered in one hold of its lock, and
 * let go in another, in which it is seen that nobody maps it. A window that comes, or a
 * region that is made, in between finds pages that are not held, and holds them with its own
 * first fault. The address space's lock is held for writing, so the region stays.
 */
#include "core/view.h"

#define SEEN_BITS 64U

struct seen {
	struct gm_gather g; /* of the walk, stays empty */
	uint64_t page[GM_BLOCK_PAGES / SEEN_BITS];
};

static bool is_seen(const struct seen *seen, unsigned int page)
{
	return seen->page[page / SEEN_BITS] >> page % SEEN_BITS & 1;
}

static int mark_view(const struct gm_view *v, struct gm_block *block, uint64_t dva, uint64_t end,
		     struct gm_gather *g)
{
	struct seen *seen = gm_container(g, struct seen, g);

	for (; dva < end; dva += GM_PAGE_SIZE) {
		unsigned int page = gm_view_page(v, block, dva);

		seen->page[page / SEEN_BITS] |= 1ULL << page % SEEN_BITS;
	}
	return 0;
}

/* The pages of the block that some window shows to a device that maps them in place. */
static void look(struct gm_block *block, struct seen *seen)
{
	gm_gather_init(&seen->g);
	for (unsigned int i = 0; i < GM_BLOCK_PAGES / SEEN_BITS; i++)
		seen->page[i] = 0;
	if (gm_load(&gm_core.in_place) || gm_block_remote(block))
		gm_for_views(block, NULL, 0, GM_BLOCK_PAGES, mark_view, &seen->g);
}

static void drop_unseen(struct gm_block *block)
{
	struct seen seen gm_uninitialized;
	unsigned int page = 0, end;

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

/* The first block from @index on, before @end, locked, or NULL; @index moves on. */
static struct gm_block *next_block(struct gm_object *obj, uint64_t *index, uint64_t end)
{
	struct gm_block *block = NULL;

	while (!block && (*index = gm_lpt_next(obj, *index, end)) < end)
		block = gm_block_find(obj, (*index)++, false);
	return block;
}

/*
 * Of [va, end) of the region some view is gone, and what was mapped by way of it was released: the
 * region is on its object's list no more, or a window or a context is gone.
 */
void gm_in_place_left(const struct gm_region *r, uint64_t va, uint64_t end)
{
	uint64_t index = (va - r->va + r->offset) >> GM_BLOCK_SHIFT;
	uint64_t last = (end - r->va + r->offset + GM_BLOCK_SIZE - 1) >> GM_BLOCK_SHIFT;
	struct gm_block *block;

	if (!gm_os_in_place_any(r->obj))
		return;
	while ((block = next_block(r->obj, &index, last))) {
		drop_unseen(block);
		gm_block_unlock(block);
	}
}

/* Nobody maps any of the region in place any more, and nothing of it is held. */
int gm_in_place_take(const struct gm_region *region)
{
	uint64_t index = region->offset >> GM_BLOCK_SHIFT;
	uint64_t last = (region->offset + region->len + GM_BLOCK_SIZE - 1) >> GM_BLOCK_SHIFT;
	struct gm_block *block;
	int err = 0;

	if (!gm_os_in_place_any(region->obj))
		return 0;
	while (!err && (block = next_block(region->obj, &index, last))) {
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
