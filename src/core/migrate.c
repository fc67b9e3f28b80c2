// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Migration: moving pages of a block between the host and a device.
 *
 * The state of a page, and what moves it (nothing else does; home.c has what leaves a device,
 * poison.c has BAD):
 *
 *	from   to     by                     bytes
 *	NONE   HOST   gm_make_host()         zero page made by the host
 *	NONE   DEV    gm_migrate_to_dev()    zeroed by the device, no copy
 *	HOST   DEV    gm_migrate_to_dev()    copied in
 *	DEV    HOST   gm_migrate_home()      copied out
 *	DEV    DEV'   gm_migrate_to_dev()    copied from the one to the other, if they have a
 *					     link (peer.c); else home, then in
 *	DEV    BAD    gm_dev_poison()        gone, with the frame they were in
 *	DEV    BAD    gm_dev_remove()        gone, with the device that would not copy them out
 *	any    NONE   gm_discard()           dropped, because told so
 *
 * A HOST page may have replicas on devices besides (replica.c); they go before it moves.
 *
 * Each is a transaction: everything that can fail comes first (metadata, frames,
 * unmapping, invalidation, the copy), and as long as nothing is committed the old
 * place stays the authoritative one (I2, I4). The commit cannot fail. In between
 * nobody can write the page: it is unmapped everywhere before it is copied (I3) and
 * the block is locked, so no fault maps it again.
 *
 * Locking. Block locked by the caller throughout, over the copies too. An eviction of
 * another block may happen inside (gm_reclaim()); it takes its lock by trylock.
 */
#include "core/dma.h"
#include "core/move.h"
#include "core/peer_os.h"

#define RUNS_MAX 32U
#define EVICTIONS 64U /* for one extent, before the caller lets others go on */

/* As gm_hnode_alloc(), the largest extent that is free, of 1 << @best or less, but whole units. */
static bool take_free(struct gm_dev *dev, const struct gm_block *block, unsigned int best,
		      struct gm_run *run, struct gm_charge **limit)
{
	for (unsigned int order = best + 1, least = gm_ctz(dev->unit); order-- > least;) {
		if (order == GM_BLOCK_ORDER
			    ? gm_hnode_alloc_block(dev, block, &run->pfn, limit)
			    : gm_hnode_alloc(dev, block->obj, order, &run->pfn, limit)) {
			run->n = 1U << order;
			return true;
		}
	}
	return false;
}

/*
 * Frames for the pages from @page on, at most @n, in one aligned extent. A whole block
 * would rather evict another than be scattered over what is left, of the device or of its
 * account's part of it; if nothing can be evicted it takes what there is.
 */
int gm_extent_alloc(struct gm_dev *dev, const struct gm_block *block, unsigned int page,
		    unsigned int n, unsigned int in_hand, enum gm_why why, struct gm_run *run)
{
	unsigned int best = gm_log2(n), tries = 0;
	struct gm_charge *limit;
	int err = 0;

	if (page)
		best = GM_MIN(best, gm_ctz(page));
	run->page = page;
	while (!err && tries++ < EVICTIONS) {
		bool scarce = false;

		limit = gm_at_limit(block->obj, dev, n);
		if (best == GM_BLOCK_ORDER)
			scarce = limit || gm_hnode_avail(&dev->hnode) < n;
		if (!scarce && take_free(dev, block, best, run, &limit))
			return 0;
		err = gm_reclaim(dev, limit, block, scarce ? n : dev->unit, in_hand,
				 why == GM_WHY_PREFETCH);
	}
	if (take_free(dev, block, best, run, &limit))
		return 0;
	return err ? err : -EBUSY; /* others take what we evict */
}

/*
 * How many pages from @page on, before @end, which for what is not there yet begins a unit, are
 * alike in this: they can come to @dev, or cannot, being there or bad.
 */
static unsigned int takes_run(const struct gm_block *block, const struct gm_dev *dev,
			      unsigned int page, unsigned int end, bool *can)
{
	uint64_t e;
	unsigned int n = gm_block_run(block, page, end, &e);
	bool there = gm_entry_state(e) == GM_DEV && gm_entry_dev(e) == dev->index;

	if (dev->unit > 1 && !there) {
		n = dev->unit;
		*can = !gm_unit_bad(block, dev, page);
	} else {
		*can = !there && gm_entry_state(e) != GM_BAD;
	}
	return n;
}

/*
 * Frames for the pages of [*page, end) that are neither on @dev nor bad, as many as runs can hold.
 */
static int alloc_runs(struct gm_block *block, struct gm_dev *dev, enum gm_why why,
		      unsigned int *page, unsigned int end, struct gm_run *runs, unsigned int *nr)
{
	unsigned int in_hand = 0;
	bool can;
	int err;

	*nr = 0;
	while (*page < end && *nr < RUNS_MAX) {
		unsigned int n = 0, skip = 0;

		while (*page + n < end && !skip) {
			unsigned int len = takes_run(block, dev, *page + n, end, &can);

			if (can)
				n += len;
			else
				skip = len;
		}
		if (n) {
			err = gm_extent_alloc(dev, block, *page, n, in_hand, why, &runs[*nr]);
			if (err)
				return err;
			in_hand += runs[*nr].n;
			*page += runs[(*nr)++].n;
		} else {
			*page += skip;
		}
	}
	return 0;
}

static void free_runs(struct gm_block *block, struct gm_dev *dev, const struct gm_run *runs,
		      unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		gm_hnode_free(dev, block->obj, runs[i].pfn, runs[i].n);
}

/* Fill the frames: HOST pages are copied in, NONE pages zeroed. */
static int fill_runs(struct gm_block *block, struct gm_dev *dev, struct gm_as *as,
		     const struct gm_run *runs, unsigned int nr, enum gm_dma_op op)
{
	enum gm_state want = op == GM_DMA_ZERO ? GM_NONE : GM_HOST;
	struct gm_dma dma gm_uninitialized;
	unsigned int n;
	uint64_t e;

	gm_dma_begin(&dma, dev, op, op == GM_DMA_ZERO ? NULL : block->obj);
	for (unsigned int i = 0; i < nr; i++) {
		const struct gm_run *r = &runs[i];

		for (unsigned int page = r->page; page < r->page + r->n; page += n) {
			n = gm_block_run(block, page, r->page + r->n, &e);
			if (gm_entry_state(e) == want)
				gm_dma_add(&dma, (r->pfn + page - r->page) << GM_PAGE_SHIFT,
					   gm_page_off(block, page), gm_page_bytes(n), true);
		}
	}
	return gm_dma_end(&dma, as);
}

/*
 * How many pages were copied from the host; others of the run were zeroed, or are here by
 * gm_peer_commit().
 */
static unsigned int commit_run(struct gm_block *block, struct gm_dev *dev, struct gm_as *as,
			       const struct gm_run *r, enum gm_why why)
{
	unsigned int n, pinned = 0, copied = 0, zeroed = 0;
	uint64_t e;

	for (unsigned int page = r->page; page < r->page + r->n; page += n) {
		uint64_t flags, pfn = r->pfn + page - r->page;

		n = gm_block_run(block, page, r->page + r->n, &e);
		flags = e & GM_E_PINNED;
		pinned += flags ? n : 0;
		zeroed += gm_entry_state(e) == GM_NONE ? n : 0;
		if (gm_entry_state(e) == GM_DEV)
			continue;
		if (gm_entry_state(e) == GM_HOST) {
			copied += n;
			if (gm_retain_take(block->obj, n)) {
				flags |= GM_E_RETAINED;
				block->nr_retained = (uint16_t)(block->nr_retained + n);
			} else {
				gm_free_backing(block, page, n);
			}
		}
		gm_block_set(block, page, n, gm_entry_on_dev(dev->index, pfn, flags));
	}
	gm_resident_count(block, dev, (int)r->n, (int)pinned);

	gm_count(dev, as, pages_to_dev, copied);
	gm_count(dev, as, bytes_to_dev, gm_page_bytes(copied));
	gm_count(dev, as, pages_zeroed, zeroed);
	if (why == GM_WHY_PREFETCH)
		gm_count(dev, as, pages_prefetched, r->n);
	return copied;
}

/* The node that pages of [page, end) which are to go to @dev are at: the first one's. */
static int node_from(const struct gm_block *block, const struct gm_dev *dev, unsigned int page,
		     unsigned int end)
{
	uint64_t e = gm_block_entry(block, page);

	while (page + 1 < end && gm_entry_state(e) == GM_DEV && gm_entry_dev(e) == dev->index)
		e = gm_block_entry(block, ++page);
	return gm_entry_state(e) == GM_DEV ? gm_entry_node(e) : GM_NODE_HOST;
}

/* Take the pages of the runs from where they are, and copy them. */
static int fill_all(struct gm_block *block, struct gm_dev *dev, struct gm_as *as,
		    const struct gm_run *runs, unsigned int nr, const struct gm_sources *from,
		    struct gm_dev **no_link, struct gm_landing *to)
{
	int err = 0;

	if (from->others)
		err = gm_unmap_cpu(block, from->lo, from->hi - from->lo);
	if (!err && !from->peers) {
		err = gm_message_fill(block, to, runs, nr);
		if (err != -EOPNOTSUPP)
			return err;
		err = 0;
	}
	if (!err)
		err = gm_peer_fill(block, dev, as, runs, nr, from, no_link);
	if (!err)
		err = fill_runs(block, dev, as, runs, nr, GM_DMA_IN);
	if (!err)
		err = fill_runs(block, dev, as, runs, nr, GM_DMA_ZERO);
	return err;
}

/*
 * One round: as many pages of [*page, end) as runs can hold; *page moves on if it succeeds.
 * -EOPNOTSUPP with *no_link: there is no way from that device to this one.
 */
static int move_some(struct gm_block *block, struct gm_landing *to, enum gm_why why,
		     unsigned int *page, unsigned int end, struct gm_dev **no_link)
{
	struct gm_dev *dev = to->ctx->dev;
	struct gm_as *as = to->ctx->as;
	unsigned int nr, lo = *page, hi = end, next = *page, moved = 0, copied = 0;
	bool traced = gm_tracing(GM_EVENT_MIGRATE);
	uint64_t begin = traced ? gm_os_now_ns() : 0;
	struct gm_run runs[RUNS_MAX];
	struct gm_sources from;
	int err, node = GM_NODE_HOST;

	to->sent = false;
	err = alloc_runs(block, dev, why, &next, end, runs, &nr);
	if (err)
		goto err_runs;
	if (!nr)
		goto done;
	lo = runs[0].page;
	hi = runs[nr - 1].page + runs[nr - 1].n;
	err = gm_units_cut(block, lo, hi - lo, dev); /* what others would lose in part, they lose */
	if (err)
		goto err_runs;
	gm_peer_sources(block, runs, nr, &from);
	err = gm_prepare_change(block, nr == 1 ? runs[0].n : 0);
	if (!err)
		err = fill_all(block, dev, as, runs, nr, &from, no_link, to);
	if (err)
		goto err_runs;
	gm_peer_commit(block, dev, as, why, runs, nr, &from, begin);
	for (unsigned int i = 0; i < nr; i++)
		copied += commit_run(block, dev, as, &runs[i], why);
	for (unsigned int i = 0; i < nr; i++)
		gm_policy_came(block, dev, runs[i].page, runs[i].n, why);
	gm_message_landed(block, to, runs, nr);
	moved = from.others;
	lo = from.lo;
	hi = from.hi;
done:
	*page = next;
	goto out;

err_runs:
	free_runs(block, dev, runs, nr);
	moved = hi - lo;
	node = node_from(block, dev, lo, hi);
out:
	if (traced && moved)
		gm_trace_move(block, lo, hi,
			      &(struct gm_event){ .as = as,
						  .why = why,
						  .pages = moved,
						  .bytes = gm_page_bytes(copied),
						  .from = node,
						  .to = gm_dev_node(dev) },
			      begin, err);
	return err;
}

/*
 * Nothing else can be evicted: what else this block has on the device goes, replicas first, for
 * the sake of [first, first+n). -ENOSPC: it had nothing.
 */
int gm_evict_rest(struct gm_block *block, unsigned int first, unsigned int n, struct gm_dev *dev,
		  struct gm_as *as)
{
	struct gm_home how = { .dev = dev, .as = as, .why = GM_WHY_EVICT, .skip_pinned = true };
	unsigned int before = block->nr_dev, behind = first + n;
	int err;

	err = first ? gm_replica_drop(block, dev, 0, first) : 0;
	if (!err && behind < GM_BLOCK_PAGES)
		err = gm_replica_drop(block, dev, behind, GM_BLOCK_PAGES - behind);
	if (!err && block->nr_dev != before)
		return 0;
	if (!err && first)
		err = gm_home_from(block, dev, &how, 0, first);
	if (!err && behind < GM_BLOCK_PAGES)
		err = gm_home_from(block, dev, &how, behind, GM_BLOCK_PAGES);
	if (!err && block->nr_dev == before)
		err = -ENOSPC;
	return err;
}

/* What other devices have of [first, first+n), and cannot hand to @dev themselves, goes home. */
static int unlinked_home(struct gm_block *block, unsigned int first, unsigned int n,
			 const struct gm_dev *dev, struct gm_as *as)
{
	struct gm_home how = { .as = as, .why = GM_WHY_DEV_FAULT };
	int err = 0;

	for (struct gm_resident *res = block->residents; res && !err; res = res->next)
		if (res->dev != dev && !gm_peer_linked(dev, res->dev))
			err = gm_home_from(block, res->dev, &how, first, first + n);
	return err;
}

/*
 * Bring [first, first+n), and the rest of its units, to @to's device; mapping it there is the
 * caller's, unless @to says that all of it came mapped. An error: some pages may be there, the
 * others are where they were, or home if a device had them that has no link to it. -ENOSPC, -EBUSY:
 * see gm_reclaim().
 */
int gm_migrate_to_dev(struct gm_block *block, unsigned int first, unsigned int n,
		      struct gm_landing *to, enum gm_why why)
{
	struct gm_dev *dev = to->ctx->dev;
	struct gm_as *as = to->ctx->as;
	struct gm_home home = { .as = as, .why = GM_WHY_DEV_FAULT };
	struct gm_dev *no_link;
	unsigned int page;
	int err;

	gm_unit_round(dev, &first, &n);
	page = first;
	err = gm_collapse(block, first, n);
	if (!err)
		err = unlinked_home(block, first, n, dev, as);
	if (!err && !gm_resident_get(block, dev))
		err = -ENOMEM;
	while (!err && page < first + n) {
		no_link = NULL;
		err = move_some(block, to, why, &page, first + n, &no_link);
		if (err == -ENOSPC)
			err = gm_evict_rest(block, first, n, dev, as);
		else if (no_link) /* once a device, for then it has nothing left here */
			err = gm_home_from(block, no_link, &home, first, first + n);
	}
	gm_block_fold(block);
	gm_resident_put_idle(block);
	return err;
}
