// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Migration: moving pages of a block between the host and a device.
 *
 * The state of a page, and what moves it (nothing else does; BAD is in poison.c):
 *
 *	from   to     by                     bytes
 *	NONE   HOST   gm_make_host()         zero page made by the host
 *	NONE   DEV    gm_migrate_to_dev()    zeroed by the device, no copy
 *	HOST   DEV    gm_migrate_to_dev()    copied in
 *	DEV    HOST   gm_migrate_home()      copied out
 *	DEV    DEV'   gm_migrate_to_dev()    copied from the one to the other, if they have a
 *					     link (peer.c); else home, then in
 *	DEV    BAD    gm_dev_poison()        gone, with the frame they were in
 *	any    NONE   gm_discard()           dropped, because told so
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
#include "core/core.h"
#include "core/dma.h"
#include "core/peer.h"
#include "core/trace.h"

static uint64_t page_off(const struct gm_block *block, unsigned int page)
{
	return (block->index << GM_BLOCK_SHIFT) + ((uint64_t)page << GM_PAGE_SHIFT);
}

static uint64_t page_bytes(unsigned int n)
{
	return (uint64_t)n << GM_PAGE_SHIFT;
}

/* Give host frames back. Huge ones go only as a whole, with the object or by gm_discard(). */
static void free_backing(struct gm_block *block, unsigned int page, unsigned int n)
{
	if (block->obj->granule == GM_PAGE_SIZE)
		gm_os_backing_free(block->obj, page_off(block, page), page_bytes(n));
}

/* A change of a part of a block needs an array; a change of the whole does not. */
static int prepare_change(struct gm_block *block, unsigned int n)
{
	return n == GM_BLOCK_PAGES ? 0 : gm_block_split(block);
}

/* Pages of [first, end) have moved from one node to another, or could not. */
static void trace_move(const struct gm_block *block, unsigned int first, unsigned int end,
		       struct gm_event *ev, uint64_t begin, int err)
{
	ev->kind = GM_EVENT_MIGRATE;
	ev->obj = block->obj;
	ev->offset = page_off(block, first);
	ev->len = page_bytes(end - first);
	if (err)
		ev->bytes = 0;
	gm_trace_end(ev, begin, err);
}

/* -------------------------------------------------------------------- going home */

/* A run of @n pages that begins with @e. Of a range of frames a run may have more; it goes as a whole. */
static bool goes_home(uint64_t e, unsigned int n, const struct gm_dev *dev,
		      const struct gm_home *how)
{
	if (gm_entry_state(e) != GM_DEV || gm_entry_dev(e) != dev->index)
		return false;
	if (how->skip_pinned && (e & GM_E_PINNED))
		return false;
	return !how->end || (gm_entry_pfn(e) < how->end && gm_entry_pfn(e) + n > how->begin);
}

/* Narrow [*first, *end) to the pages that go home from @dev; how many they are. */
static unsigned int home_bounds(struct gm_block *block, struct gm_dev *dev,
				const struct gm_home *how, unsigned int *first, unsigned int *end)
{
	unsigned int lo = *end, hi = *first, count = 0, n;
	uint64_t e;

	for (unsigned int page = *first; page < *end; page += n) {
		n = gm_block_run(block, page, *end, &e);
		if (!goes_home(e, n, dev, how))
			continue;
		lo = GM_MIN(lo, page);
		hi = page + n;
		count += n;
	}
	*first = lo;
	*end = hi;
	return count;
}

static int copy_home(struct gm_block *block, struct gm_dev *dev, const struct gm_home *how,
		     unsigned int first, unsigned int end)
{
	struct gm_dma dma;
	unsigned int n;
	uint64_t e;
	int err;

	gm_dma_begin(&dma, dev, GM_DMA_OUT, block->obj);
	for (unsigned int page = first; page < end; page += n) {
		n = gm_block_run(block, page, end, &e);
		if (goes_home(e, n, dev, how))
			gm_dma_add(&dma, gm_entry_pfn(e) << GM_PAGE_SHIFT, page_off(block, page),
				   page_bytes(n), e & GM_E_RETAINED);
	}
	err = gm_dma_end(&dma, how->as);
	if (!err && how->yields && gm_load(&block->willneed))
		err = -EAGAIN;
	if (!err)
		return 0;
	/* The pages stay on the device; host frames made for them go again. */
	for (unsigned int page = first; page < end; page += n) {
		n = gm_block_run(block, page, end, &e);
		if (goes_home(e, n, dev, how) && !(e & GM_E_RETAINED))
			free_backing(block, page, n);
	}
	return err;
}

static void commit_home(struct gm_block *block, struct gm_dev *dev, const struct gm_home *how,
			unsigned int first, unsigned int end)
{
	unsigned int n, moved = 0, pinned = 0, retained = 0;
	uint64_t e;

	for (unsigned int page = first; page < end; page += n) {
		n = gm_block_run(block, page, end, &e);
		if (!goes_home(e, n, dev, how))
			continue;
		moved += n;
		pinned += e & GM_E_PINNED ? n : 0;
		retained += e & GM_E_RETAINED ? n : 0;
		gm_block_set(block, page, n, GM_HOST | (e & GM_E_PINNED));
		gm_hnode_free(dev, gm_charge_of(block->obj, dev), gm_entry_pfn(e), n);
	}
	block->nr_retained = (uint16_t)(block->nr_retained - retained);
	gm_retain_drop(block->obj, retained);

	gm_count(dev, how->as, pages_to_host, moved);
	gm_count(dev, how->as, bytes_to_host, page_bytes(moved));
	if (how->why == GM_WHY_EVICT)
		gm_count(dev, how->as, pages_evicted, moved);
	else if (how->why == GM_WHY_PREFETCH)
		gm_count(dev, how->as, pages_prefetched, moved);
	/* Last: a device that holds nothing any more may be destroyed. */
	gm_resident_count(block, dev, -(int)moved, -(int)pinned);
}

/* The CPU may have mapped what goes home where it is, though not of a huge object (fault.c). */
static int unmap_apertures(struct gm_block *block, struct gm_dev *dev, const struct gm_home *how,
			   unsigned int first, unsigned int end)
{
	unsigned int n;
	uint64_t e;
	int err = 0;

	for (unsigned int page = first; page < end && !err; page += n) {
		n = gm_block_run(block, page, end, &e);
		if (goes_home(e, n, dev, how))
			err = gm_aperture_unmap(block, dev, page, n);
	}
	return err;
}

/* A kept host frame that has failed is no loss: without the kept ones the copy is made again. */
static int copy_home_anyhow(struct gm_block *block, struct gm_dev *dev, const struct gm_home *how,
			    unsigned int first, unsigned int end)
{
	int err = copy_home(block, dev, how, first, end);

	if (err != -EHWPOISON || !block->nr_retained)
		return err;
	gm_retain_trim_block(block);
	err = prepare_change(block, end - first);
	return err ? err : copy_home(block, dev, how, first, end);
}

static int home_from(struct gm_block *block, struct gm_dev *dev, const struct gm_home *how,
		     unsigned int first, unsigned int end)
{
	unsigned int count = home_bounds(block, dev, how, &first, &end);
	bool traced = gm_tracing(GM_EVENT_MIGRATE);
	int node = gm_dev_node(dev); /* the device may be gone when the pages are */
	uint64_t begin = traced ? gm_os_now_ns() : 0;
	int err;

	if (!count)
		return 0;
	err = prepare_change(block, end - first);
	if (!err)
		err = gm_unmap_dev(block, dev, first, end - first);
	if (!err && gm_load(&dev->apertures) && block->obj->granule == GM_PAGE_SIZE)
		err = unmap_apertures(block, dev, how, first, end);
	if (!err)
		err = copy_home_anyhow(block, dev, how, first, end);
	if (!err)
		commit_home(block, dev, how, first, end);
	if (traced)
		trace_move(block, first, end,
			   &(struct gm_event){ .as = how->as,
					       .why = how->why,
					       .pages = count,
					       .bytes = page_bytes(count),
					       .from = node,
					       .to = GM_NODE_HOST },
			   begin, err);
	return err;
}

/*
 * Bring home what devices have of [first, first+n). An error: some pages may be home,
 * the others are where they were.
 */
int gm_migrate_home(struct gm_block *block, unsigned int first, unsigned int n,
		    const struct gm_home *how)
{
	int err = 0;

	for (struct gm_resident *res = block->residents; res && !err; res = res->next)
		if (!how->dev || res->dev == how->dev)
			err = home_from(block, res->dev, how, first, first + n);
	gm_block_fold(block);
	gm_resident_put_idle(block);
	return err;
}

/* ------------------------------------------------------------------- to a device */

#define RUNS_MAX 32U
#define EVICTIONS 64U /* for one extent, before the caller lets others go on */

/* The largest aligned extent that is free, of 1 << @best frames or less. */
static bool take_free(struct gm_dev *dev, struct gm_charge *charge, unsigned int best,
		      struct gm_run *run)
{
	for (unsigned int order = best + 1; order-- > 0;) {
		if (gm_hnode_alloc(dev, charge, order, &run->pfn)) {
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
static int alloc_extent(struct gm_dev *dev, const struct gm_block *block, unsigned int page,
			unsigned int n, unsigned int in_hand, struct gm_run *run)
{
	struct gm_charge *charge = gm_charge_of(block->obj, dev);
	unsigned int best = gm_log2(n), tries = 0;
	int err = 0;

	if (page)
		best = GM_MIN(best, gm_ctz(page));
	run->page = page;
	while (!err && tries++ < EVICTIONS) {
		bool scarce = best == GM_BLOCK_ORDER &&
			      (gm_load(&dev->hnode.free) < n || gm_charge_room(charge, dev) < n);

		if (!scarce && take_free(dev, charge, best, run))
			return 0;
		err = gm_reclaim(dev, block, scarce ? n : 1, in_hand);
	}
	if (take_free(dev, charge, best, run))
		return 0;
	return err ? err : -EBUSY; /* others take what we evict */
}

/* Frames for the pages of [*page, end) that are neither on @dev nor bad, as many as runs can hold. */
static int alloc_runs(struct gm_block *block, struct gm_dev *dev, unsigned int *page,
		      unsigned int end, struct gm_run *runs, unsigned int *nr)
{
	unsigned int in_hand = 0;
	uint64_t e;
	int err;

	*nr = 0;
	while (*page < end && *nr < RUNS_MAX) {
		unsigned int n = 0, skip = 0;

		while (*page + n < end && !skip) {
			unsigned int len = gm_block_run(block, *page + n, end, &e);

			if (gm_entry_state(e) == GM_BAD ||
			    (gm_entry_state(e) == GM_DEV && gm_entry_dev(e) == dev->index))
				skip = len;
			else
				n += len;
		}
		if (n) {
			err = alloc_extent(dev, block, *page, n, in_hand, &runs[*nr]);
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
		gm_hnode_free(dev, gm_charge_of(block->obj, dev), runs[i].pfn, runs[i].n);
}

/* Fill the frames: HOST pages are copied in, NONE pages zeroed. */
static int fill_runs(struct gm_block *block, struct gm_dev *dev, struct gm_as *as,
		     const struct gm_run *runs, unsigned int nr, enum gm_dma_op op)
{
	enum gm_state want = op == GM_DMA_ZERO ? GM_NONE : GM_HOST;
	struct gm_dma dma;
	unsigned int n;
	uint64_t e;

	gm_dma_begin(&dma, dev, op, op == GM_DMA_ZERO ? NULL : block->obj);
	for (unsigned int i = 0; i < nr; i++) {
		const struct gm_run *r = &runs[i];

		for (unsigned int page = r->page; page < r->page + r->n; page += n) {
			n = gm_block_run(block, page, r->page + r->n, &e);
			if (gm_entry_state(e) == want)
				gm_dma_add(&dma, (r->pfn + page - r->page) << GM_PAGE_SHIFT,
					   page_off(block, page), page_bytes(n), true);
		}
	}
	return gm_dma_end(&dma, as);
}

/* How many pages were copied from the host; others of the run were zeroed, or are here by gm_peer_commit(). */
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
				free_backing(block, page, n);
			}
		}
		gm_block_set(block, page, n, gm_entry_on_dev(dev->index, pfn, flags));
	}
	gm_resident_count(block, dev, (int)r->n, (int)pinned);

	gm_count(dev, as, pages_to_dev, copied);
	gm_count(dev, as, bytes_to_dev, page_bytes(copied));
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
		    struct gm_dev **no_link)
{
	int err = 0;

	if (from->others)
		err = gm_unmap_cpu(block, from->lo, from->hi - from->lo);
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
static int move_some(struct gm_block *block, struct gm_dev *dev, struct gm_as *as, enum gm_why why,
		     unsigned int *page, unsigned int end, struct gm_dev **no_link)
{
	unsigned int nr, lo = *page, hi = end, next = *page, moved = 0, copied = 0;
	bool traced = gm_tracing(GM_EVENT_MIGRATE);
	uint64_t begin = traced ? gm_os_now_ns() : 0;
	struct gm_run runs[RUNS_MAX];
	struct gm_sources from;
	int err, node = GM_NODE_HOST;

	err = alloc_runs(block, dev, &next, end, runs, &nr);
	if (err)
		goto err_runs;
	if (!nr)
		goto done;
	lo = runs[0].page;
	hi = runs[nr - 1].page + runs[nr - 1].n;
	gm_peer_sources(block, runs, nr, &from);
	err = prepare_change(block, nr == 1 ? runs[0].n : 0);
	if (!err)
		err = fill_all(block, dev, as, runs, nr, &from, no_link);
	if (err)
		goto err_runs;
	gm_peer_commit(block, dev, as, why, runs, nr, &from, begin);
	for (unsigned int i = 0; i < nr; i++)
		copied += commit_run(block, dev, as, &runs[i], why);
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
		trace_move(block, lo, hi,
			   &(struct gm_event){ .as = as,
					       .why = why,
					       .pages = moved,
					       .bytes = page_bytes(copied),
					       .from = node,
					       .to = gm_dev_node(dev) },
			   begin, err);
	return err;
}

/*
 * Nothing else can be evicted: what else this block has on the device goes home, for
 * the sake of [first, first+n). -ENOSPC: it had nothing.
 */
static int evict_rest(struct gm_block *block, unsigned int first, unsigned int n,
		      struct gm_dev *dev, struct gm_as *as)
{
	struct gm_home how = { .dev = dev, .as = as, .why = GM_WHY_EVICT, .skip_pinned = true };
	unsigned int before = block->nr_dev, behind = first + n;
	int err;

	err = first ? home_from(block, dev, &how, 0, first) : 0;
	if (!err && behind < GM_BLOCK_PAGES)
		err = home_from(block, dev, &how, behind, GM_BLOCK_PAGES);
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
			err = home_from(block, res->dev, &how, first, first + n);
	return err;
}

/*
 * Bring [first, first+n) to @dev; mapping it there is the caller's. An error: some
 * pages may be there, the others are where they were, or home if a device had them that
 * has no link to @dev. -ENOSPC, -EBUSY: see gm_reclaim().
 */
int gm_migrate_to_dev(struct gm_block *block, unsigned int first, unsigned int n,
		      struct gm_dev *dev, struct gm_as *as, enum gm_why why)
{
	struct gm_home home = { .as = as, .why = GM_WHY_DEV_FAULT };
	unsigned int page = first;
	struct gm_dev *no_link;
	int err;

	err = unlinked_home(block, first, n, dev, as);
	if (!err && !gm_resident_get(block, dev))
		err = -ENOMEM;
	while (!err && page < first + n) {
		no_link = NULL;
		err = move_some(block, dev, as, why, &page, first + n, &no_link);
		if (err == -ENOSPC)
			err = evict_rest(block, first, n, dev, as);
		else if (no_link) /* once a device, for then it has nothing left here */
			err = home_from(block, no_link, &home, first, first + n);
	}
	gm_block_fold(block);
	gm_resident_put_idle(block);
	return err;
}

/* ------------------------------------------------------------ the host, and nowhere */

/* Give the NONE pages of [first, first+n) a zeroed host frame. */
int gm_make_host(struct gm_block *block, unsigned int first, unsigned int n)
{
	unsigned int len;
	uint64_t e, bus, got;
	int err;

	for (unsigned int page = first; page < first + n; page += len) {
		len = gm_block_run(block, page, first + n, &e);
		if (gm_entry_state(e) != GM_NONE)
			continue;
		err = prepare_change(block, len);
		if (!err)
			err = gm_os_backing_get(block->obj, page_off(block, page), page_bytes(len),
						false, &bus, &got);
		if (err)
			return err;
		gm_os_backing_put(block->obj, page_off(block, page), got);
		len = (unsigned int)(got >> GM_PAGE_SHIFT);
		if (len != GM_BLOCK_PAGES) { /* the host had fewer to give in one piece */
			err = gm_block_split(block);
			if (err) {
				free_backing(block, page, len);
				return err;
			}
		}
		gm_block_set(block, page, len, GM_HOST | (e & GM_E_PINNED));
	}
	gm_block_fold(block);
	return 0;
}

/* The pages of [first, first+n) are mapped nowhere: free their device frames and forget them. */
void gm_forget(struct gm_block *block, unsigned int first, unsigned int n)
{
	unsigned int len;
	uint64_t e;

	for (unsigned int page = first; page < first + n; page += len) {
		len = gm_block_run(block, page, first + n, &e);
		if (gm_entry_state(e) == GM_DEV) {
			struct gm_dev *dev = gm_core.dev[gm_entry_dev(e)];

			gm_hnode_free(dev, gm_charge_of(block->obj, dev), gm_entry_pfn(e), len);
			gm_resident_count(block, dev, -(int)len, e & GM_E_PINNED ? -(int)len : 0);
		}
		if (e & GM_E_RETAINED) {
			block->nr_retained = (uint16_t)(block->nr_retained - len);
			gm_retain_drop(block->obj, len);
		}
		gm_block_set(block, page, len, GM_NONE);
	}
	gm_block_fold(block);
	gm_resident_put_idle(block);
}

/* Drop the bytes of [first, first+n), wherever they are. An error: nothing is dropped. */
int gm_discard(struct gm_block *block, unsigned int first, unsigned int n)
{
	uint64_t off = page_off(block, first);
	int err;

	err = prepare_change(block, n);
	for (struct gm_resident *res = block->residents; res && !err; res = res->next)
		err = gm_unmap_dev(block, res->dev, first, n);
	if (!err)
		err = gm_unmap_cpu(block, first, n);
	if (err)
		return err;
	gm_forget(block, first, n);
	gm_os_backing_free(block->obj, off, GM_MIN(page_bytes(n), block->obj->size - off));
	return 0;
}
