// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What policies remember of a block, and of pages that were there once.
 *
 * Theory. A policy that wants bytes for each page (gm_evict_policy.page_bytes) gets them for
 * the blocks that matter to it: those that were candidates for eviction, or that it has asked them
 * for. So memory that is never under pressure pays nothing. A block has one history for each
 * device, by its index. It stays when the pages go, for then it is most useful: it tells whether
 * what comes back was evicted, and when. It goes with the block (I9).
 *
 * Each belongs to a generation: the time that one policy was chosen for one device. That of
 * another is not shown to anybody, and is made anew when it is next needed; so a policy
 * can be exchanged, and a device go, without a walk over all blocks there are. No memory: the
 * policy does without, and gm_history_make() tries again at the next opportunity.
 *
 * Locking. Block locked. What is in it is read and written by policies, under their lock.
 */
#include "core/policy.h"

struct gm_history *gm_history_find(const struct gm_block *block, const struct gm_dev *dev)
{
	struct gm_history *h = gm_block_history(block);

	while (h && h->dev != dev->index)
		h = h->next;
	return h;
}

static void put(struct gm_history *h)
{
	gm_pool_put(&gm_core.history[h->page_bytes - 1], h);
}

static void unlink(struct gm_block *block, struct gm_history *h)
{
	struct gm_history **link = &block->more->history;

	while (*link != h)
		link = &(*link)->next;
	*link = h->next;
	put(h);
}

static struct gm_history *make(const struct gm_dev *dev, uint64_t generation, uint32_t page_bytes)
{
	struct gm_history *h = gm_pool_get(&gm_core.history[page_bytes - 1]);

	if (!h)
		return NULL;
	h->generation = generation;
	h->word = 0;
	h->dev = (uint16_t)dev->index;
	h->page_bytes = (uint16_t)page_bytes;
	for (uint32_t i = 0; i < page_bytes * GM_BLOCK_PAGES; i++)
		h->bytes[i] = 0;
	return h;
}

/* See to it that there is one, of the policies of now, if they want any and there is memory. */
void gm_history_make(struct gm_block *block, struct gm_dev *dev)
{
	struct gm_resident *res = gm_resident_find(block, dev);
	struct gm_history *h = gm_history_find(block, dev);
	struct gm_policies *p = &dev->policy;
	struct gm_more *more;
	uint64_t generation;
	uint32_t page_bytes;

	gm_spin_lock(&p->lock, GM_RANK_POLICY);
	generation = p->generation;
	page_bytes = p->page_bytes;
	gm_spin_unlock(&p->lock, GM_RANK_POLICY);
	if (h && h->generation == generation)
		return;
	if (h)
		unlink(block, h);
	more = page_bytes ? gm_more_get(block) : NULL;
	h = more ? make(dev, generation, page_bytes) : NULL;
	if (!h) {
		gm_more_trim(block);
		return;
	}
	/* If the policies were exchanged meanwhile both words are for nobody. */
	gm_spin_lock(&p->lock, GM_RANK_POLICY);
	h->word = res ? res->word : 0;
	gm_spin_unlock(&p->lock, GM_RANK_POLICY);
	h->next = more->history;
	more->history = h;
}

/* The block goes; it has more. */
void gm_history_free(struct gm_block *block)
{
	struct gm_history *h;

	while ((h = block->more->history)) {
		block->more->history = h->next;
		put(h);
	}
}

uint64_t gm_history_bytes(void)
{
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < GM_PAGE_BYTES_MAX; i++)
		bytes += gm_pool_bytes(&gm_core.history[i]);
	return bytes;
}
