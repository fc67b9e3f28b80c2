// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Out of a device's page tables: some pages of a block, and not those between.
 *
 * Theory. As gm_unmap_dev() (leaf.c), but for a set of pages: what a policy wants evicted, or
 * unmapped to see whether it is used. All runs of the set are released in one walk over
 * the views, and invalidated by what their gathers make of it: once a context. A leaf that
 * reaches beyond a run is released as a whole; the pages that lost their mapping so, and were
 * not asked for, are told to the caller. They cannot be entered again at once, for the entries
 * of those that go still say that one leaf maps all: the caller does it when they have gone, by
 * gm_remap_mask(), or leaves it to the device's faults.
 *
 * Locking. As leaf.c: block locked, maps_lock and ctx_lock are taken here.
 */
#include "core/view.h"

struct masked {
	struct gm_gather g; /* first: it is what gm_for_views() hands on */
	const struct gm_mask *mask;
	struct gm_mask *cut;
};

/* From @dva on, before @end: how far pages are in the set, or are not, as the first is. */
static uint64_t run(const struct gm_view *v, const struct gm_block *block,
		    const struct gm_mask *mask, uint64_t dva, uint64_t end, bool *in)
{
	*in = gm_mask_test(mask, gm_view_page(v, block, dva));
	do
		dva += GM_PAGE_SIZE;
	while (dva < end && gm_mask_test(mask, gm_view_page(v, block, dva)) == *in);
	return dva;
}

static int release(const struct gm_view *v, struct gm_block *block, uint64_t dva, uint64_t end,
		   struct gm_gather *g)
{
	struct masked *m = gm_container(g, struct masked, g);
	uint64_t next;
	int err = 0;
	bool in;

	for (; dva < end && !err; dva = next) {
		uint64_t lo = dva, hi;

		next = run(v, block, m->mask, dva, end, &in);
		if (!in)
			continue;
		hi = next;
		gm_leaf_round(v, block, &lo, &hi);
		gm_mask_set(m->cut, gm_view_page(v, block, lo),
			    (unsigned int)((hi - lo) >> GM_PAGE_SHIFT));
		err = gm_leaf_release(v, block, dva, next, g);
	}
	return err;
}

static int enter(const struct gm_view *v, struct gm_block *block, uint64_t dva, uint64_t end,
		 struct gm_gather *g)
{
	struct masked *m = gm_container(g, struct masked, g);
	uint64_t next;
	bool in;

	for (; dva < end; dva = next) {
		next = run(v, block, m->mask, dva, end, &in);
		if (in)
			(void)gm_leaf_enter(v, block, dva, next, 0);
	}
	return 0;
}

/* The pages that bound the set; false: it is empty. */
static bool bounds(const struct gm_mask *mask, unsigned int *first, unsigned int *n)
{
	unsigned int lo = 0, hi = GM_BLOCK_PAGES;

	while (lo < hi && !gm_mask_test(mask, lo))
		lo++;
	while (lo < hi && !gm_mask_test(mask, hi - 1))
		hi--;
	*first = lo;
	*n = hi - lo;
	return hi > lo;
}

/*
 * As gm_unmap_dev(), the pages of @mask, whole units. *cut: pages, not in it, that lost
 * their mapping too.
 */
int gm_unmap_mask(struct gm_block *block, struct gm_dev *dev, const struct gm_mask *mask,
		  struct gm_mask *cut)
{
	struct masked m gm_uninitialized;
	unsigned int first, n;
	int err;

	*cut = (struct gm_mask){ { 0 } };
	if (!bounds(mask, &first, &n))
		return 0;
	gm_gather_init(&m.g);
	m.mask = mask;
	m.cut = cut;
	err = gm_for_views(block, dev, first, n, release, &m.g);
	for (unsigned int i = 0; i < GM_POLICY_WORDS; i++)
		cut->word[i] &= ~mask->word[i];
	return err;
}

/* As gm_remap_dev(), of the pages of @mask that are on @dev. */
void gm_remap_mask(struct gm_block *block, struct gm_dev *dev, const struct gm_mask *mask)
{
	struct masked m gm_uninitialized;
	unsigned int first, n;

	if (!bounds(mask, &first, &n))
		return;
	gm_gather_init(&m.g);
	m.mask = mask;
	gm_for_views(block, dev, first, n, enter, &m.g);
}
