// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Read duplication: pages that any number of devices and the CPU read where they are.
 *
 * Theory. A page in host backing may have replicas: frames of devices with the same bytes, one a
 * device. The authoritative place is the host (I2), so a replica can be dropped at any time
 * without a copy: by eviction, a lowered limit, a device that goes, memory that fails. As long as
 * a page has one nobody can write it (I1): devices have it mapped for reading, and so has the CPU
 * where its host knows how (gm_os_cpu_map_read()); where not, the CPU's next access drops the
 * replicas. Whoever wants to write drops them all first (gm_collapse()): released, invalidated,
 * freed (I5); then the write goes on as if there had been none.
 *
 *	makes one		gm_replicate(): a device reads or prefetches what is READ_MOSTLY
 *	drops those of a page	gm_collapse(): a write of anybody's, a move to a device, DONTNEED
 *	drops those of a device	gm_replica_drop(): eviction, detaching, draining, removal
 *	drops one		gm_replica_lose(): its frame has failed
 *
 * A page that is on a device when another reads it goes home first. To make a replica is a
 * transaction as in migrate.c: what can fail comes first, the commit cannot, and whatever fails
 * leaves the page in host backing. The CPU, and who maps host memory in place, lose it before the
 * bytes are copied (I3), unless it has replicas already: then nobody can write it.
 *
 * Where they are. A block's resident for a device has an array of entries, one for the replica of
 * each page, from its first replica there to its last. Replicas count with the pages of the
 * resident, so sums, accounts and lists are right by themselves; none is ever pinned: a pin is the
 * page's. They are mapped with leaves of the device's base page, so that none is ever cut, and kept
 * in whole base pages.
 *
 * Locking: block locked by the caller.
 */
#include "core/dma.h"
#include "core/move.h"
#include "core/view.h"

#define RUNS_MAX 16U

/* ------------------------------------------------------------------------- looking */

static uint64_t copy_of(const struct gm_resident *res, unsigned int page)
{
	return res && res->copies ? res->copies[page] : 0;
}

/*
 * How many pages from @page on, below @end, have replicas that follow one another; 0: the first has
 * none.
 */
static unsigned int copies_run(const struct gm_resident *res, unsigned int page, unsigned int end)
{
	uint64_t e = copy_of(res, page);
	unsigned int n = e ? 1 : 0;

	while (e && page + n < end && res->copies[page + n] == e + n * gm_entry_step(e))
		n++;
	return n;
}

bool gm_replica_on(struct gm_block *block, const struct gm_dev *dev, unsigned int page)
{
	return gm_block_copies(block) && copy_of(gm_resident_find(block, dev), page);
}

/* How many of [first, first+n) have replicas on @dev. */
unsigned int gm_replicas(const struct gm_block *block, const struct gm_dev *dev, unsigned int first,
			 unsigned int n)
{
	const struct gm_resident *res;
	unsigned int count = 0;

	if (!gm_block_copies(block))
		return 0;
	res = gm_resident_find((struct gm_block *)block, dev);
	for (unsigned int page = first; page < first + n; page++)
		count += copy_of(res, page) != 0;
	return count;
}

static bool is_copied(const struct gm_block *block, unsigned int page)
{
	for (const struct gm_resident *res = block->residents; res; res = res->next)
		if (copy_of(res, page))
			return true;
	return false;
}

/* How many pages from @page on, below @end, are alike in having replicas, or not: *has. */
unsigned int gm_replica_run(const struct gm_block *block, unsigned int page, unsigned int end,
			    bool *has)
{
	unsigned int n = 1;

	*has = gm_block_copies(block) && is_copied(block, page);
	if (!gm_block_copies(block))
		return end - page;
	while (page + n < end && is_copied(block, page + n) == *has)
		n++;
	return n;
}

/* ------------------------------------------------------------------------ dropping */

struct dropping {
	struct gm_gather g; /* first: it is what gm_for_views() hands on */
	const struct gm_dev *dev;
};

/* Views are of who may read what the device has, too; these have replicas of their own, or none. */
static int release_view(const struct gm_view *v, struct gm_block *block, uint64_t dva, uint64_t end,
			struct gm_gather *g)
{
	const struct gm_resident *res = gm_resident_find(block, v->ctx->dev);
	int err = 0;

	gm_lock_check_may_sleep();
	if (v->ctx->dev != gm_container(g, struct dropping, g)->dev)
		return 0;
	while (dva < end && !err) {
		unsigned int page = gm_view_page(v, block, dva);
		unsigned int left = (unsigned int)((end - dva) >> GM_PAGE_SHIFT), n = 0;

		while (n < left && copy_of(res, page + n))
			n++;
		if (n)
			err = v->ctx->dev->mmu->pmap_release(v->ctx->pmap, dva, gm_page_bytes(n));
		if (n && !err)
			err = gm_gather_add(g, v->ctx, dva, gm_page_bytes(n));
		dva += gm_page_bytes(n ? n : 1);
	}
	return err;
}

/* So many more of the block's replicas are the resident's; may be negative. */
static void count(struct gm_block *block, struct gm_resident *res, int copies)
{
	struct gm_more *more = block->more;

	if (!copies)
		return;
	res->copies[GM_COPIES_NR] += (uint64_t)(int64_t)copies;
	more->nr_copies = (uint32_t)((int)more->nr_copies + copies);
	gm_add(&block->obj->nr_copies, (uint64_t)(int64_t)copies);
}

/* What replicas need goes with the last, or if none came to be. */
static void put_if_empty(struct gm_block *block, struct gm_resident *res)
{
	if (res->copies && !gm_resident_copies(res)) {
		gm_pool_put(&gm_core.arrays, res->copies);
		res->copies = NULL;
	}
	gm_more_trim(block);
}

/* Nothing maps the replicas of [first, first+n): free them, but for the frame @keep. */
static void forget(struct gm_block *block, struct gm_resident *res, unsigned int first,
		   unsigned int n, uint64_t keep)
{
	struct gm_dev *dev = res->dev;
	unsigned int end = first + n, len, gone = 0;

	for (unsigned int page = first; page < end; page += len) {
		uint64_t pfn = gm_entry_pfn(copy_of(res, page));

		len = copies_run(res, page, end);
		if (!len) {
			len = 1;
			continue;
		}
		if (keep >= pfn && keep < pfn + len) /* one at a time, around it */
			len = keep == pfn ? 1 : (unsigned int)(keep - pfn);
		if (keep != pfn)
			gm_hnode_free(dev, block->obj, pfn, len);
		for (unsigned int i = 0; i < len; i++)
			res->copies[page + i] = 0;
		gone += len;
	}
	count(block, res, -(int)gone);
	put_if_empty(block, res);
	/* Last: a device that holds nothing any more may be destroyed. */
	if (gone)
		gm_resident_count(block, dev, -(int)gone, 0);
}

static int drop(struct gm_block *block, struct gm_resident *res, unsigned int first, unsigned int n)
{
	struct dropping d gm_uninitialized;
	int err;

	gm_unit_round(res->dev, &first, &n);
	gm_gather_init(&d.g);
	d.dev = res->dev;
	err = gm_for_views(block, res->dev, first, n, release_view, &d.g);
	if (!err)
		forget(block, res, first, n, UINT64_MAX);
	return err;
}

/*
 * What replicas @dev has of [first, first+n), and of the rest of its units, go. An error: they
 * stay.
 */
int gm_replica_drop(struct gm_block *block, struct gm_dev *dev, unsigned int first, unsigned int n)
{
	struct gm_resident *res = gm_block_copies(block) ? gm_resident_find(block, dev) : NULL;

	return res && gm_resident_copies(res) ? drop(block, res, first, n) : 0;
}

/* No page of [first, first+n) has replicas any more, so it can be written. An error: some may. */
int gm_collapse(struct gm_block *block, unsigned int first, unsigned int n)
{
	int err = 0;

	if (!gm_block_copies(block))
		return 0;
	for (struct gm_resident *res = block->residents; res && !err; res = res->next)
		if (gm_resident_copies(res))
			err = drop(block, res, first, n);
	gm_resident_put_idle(block);
	return err;
}

/* The same for pages that are mapped nowhere. Residents stay. */
void gm_replicas_forget(struct gm_block *block, unsigned int first, unsigned int n)
{
	if (!gm_block_copies(block))
		return;
	for (struct gm_resident *res = block->residents; res; res = res->next)
		if (gm_resident_copies(res))
			forget(block, res, first, n, UINT64_MAX);
}

/*
 * The frame has failed. True: a replica was in it. With *err 0 it is gone, and the frame nobody's,
 * but counts as charged; the others of its unit are free.
 */
bool gm_replica_lose(struct gm_block *block, struct gm_dev *dev, uint64_t pfn, int *err)
{
	struct gm_resident *res = gm_block_copies(block) ? gm_resident_find(block, dev) : NULL;
	struct dropping d gm_uninitialized;
	unsigned int page = 0, n = 1;

	if (!res || !res->copies)
		return false;
	while (page < GM_BLOCK_PAGES &&
	       (!res->copies[page] || gm_entry_pfn(res->copies[page]) != pfn))
		page++;
	if (page == GM_BLOCK_PAGES)
		return false;
	gm_unit_round(dev, &page, &n);
	gm_gather_init(&d.g);
	d.dev = dev;
	*err = gm_for_views(block, dev, page, n, release_view, &d.g);
	if (!*err)
		forget(block, res, page, n, pfn);
	return true;
}

/* -------------------------------------------------------------------------- making */

/* Is the whole unit around @page, its first, in host backing and not replicated? */
static bool wants(const struct gm_block *block, const struct gm_resident *res, unsigned int page)
{
	for (unsigned int i = page; i < page + res->dev->unit; i++)
		if (gm_entry_state(gm_block_entry(block, i)) != GM_HOST || copy_of(res, i))
			return false;
	return true;
}

/* Frames for what of [*page, end) can be had and is not there, as much as runs can hold. */
static int alloc_runs(struct gm_block *block, const struct gm_resident *res, enum gm_why why,
		      unsigned int *page, unsigned int end, struct gm_run *runs, unsigned int *nr)
{
	unsigned int in_hand = 0, unit = res->dev->unit;

	*nr = 0;
	while (*page < end && *nr < RUNS_MAX) {
		unsigned int n = 0;
		int err;

		while (*page + n < end && wants(block, res, *page + n))
			n += unit;
		if (!n) {
			*page += unit;
			continue;
		}
		err = gm_extent_alloc(res->dev, block, *page, n, in_hand, why, &runs[*nr]);
		if (err)
			return err;
		in_hand += runs[*nr].n;
		*page += runs[(*nr)++].n;
	}
	return 0;
}

/* Nobody can write pages of the run any more. Those that have replicas nobody could before. */
static int take_from_writers(struct gm_block *block, const struct gm_run *r)
{
	unsigned int len;
	int err = 0;
	bool has;

	for (unsigned int page = r->page; page < r->page + r->n && !err; page += len) {
		len = gm_replica_run(block, page, r->page + r->n, &has);
		if (!has)
			err = gm_unmap_cpu(block, page, len);
	}
	return err;
}

static int fill(struct gm_block *block, struct gm_dev *dev, struct gm_as *as,
		const struct gm_run *runs, unsigned int nr)
{
	struct gm_dma dma gm_uninitialized;
	int err = 0;

	for (unsigned int i = 0; i < nr && !err; i++)
		err = take_from_writers(block, &runs[i]);
	if (err)
		return err;
	gm_dma_begin(&dma, dev, GM_DMA_IN, block->obj);
	for (unsigned int i = 0; i < nr; i++)
		gm_dma_add(&dma, runs[i].pfn << GM_PAGE_SHIFT, gm_page_off(block, runs[i].page),
			   gm_page_bytes(runs[i].n), true);
	return gm_dma_end(&dma, as);
}

static unsigned int commit(struct gm_block *block, struct gm_resident *res,
			   const struct gm_run *runs, unsigned int nr, enum gm_why why)
{
	unsigned int nr_pages = 0;

	for (unsigned int i = 0; i < nr; i++) {
		for (unsigned int j = 0; j < runs[i].n; j++)
			res->copies[runs[i].page + j] = gm_entry_on_dev(res->dev->index,
									runs[i].pfn + j, 0);
		nr_pages += runs[i].n;
	}
	count(block, res, (int)nr_pages);
	gm_resident_count(block, res->dev, (int)nr_pages, 0);
	for (unsigned int i = 0; i < nr; i++)
		gm_policy_came(block, res->dev, runs[i].page, runs[i].n, why);
	return nr_pages;
}

static void count_copied(struct gm_dev *dev, struct gm_as *as, enum gm_why why, unsigned int pages)
{
	gm_count(dev, as, pages_to_dev, pages);
	gm_count(dev, as, bytes_to_dev, gm_page_bytes(pages));
	gm_count(dev, as, pages_replicated, pages);
	if (why == GM_WHY_PREFETCH)
		gm_count(dev, as, pages_prefetched, pages);
}

/* One round: as many pages of [*page, end) as runs can hold; *page moves on if it succeeds. */
static int copy_some(struct gm_block *block, struct gm_resident *res, struct gm_as *as,
		     enum gm_why why, unsigned int *page, unsigned int end)
{
	unsigned int nr, next = *page, lo = *page, hi = end, pages;
	bool traced = gm_tracing(GM_EVENT_MIGRATE);
	uint64_t begin = traced ? gm_os_now_ns() : 0;
	struct gm_run runs[RUNS_MAX];
	struct gm_dev *dev = res->dev;
	int err;

	err = alloc_runs(block, res, why, &next, end, runs, &nr);
	if (!err && nr) {
		lo = runs[0].page;
		hi = runs[nr - 1].page + runs[nr - 1].n;
		err = fill(block, dev, as, runs, nr);
	}
	if (err) {
		while (nr--)
			gm_hnode_free(dev, block->obj, runs[nr].pfn, runs[nr].n);
		pages = hi - lo; /* that were to be copied */
	} else {
		*page = next;
		pages = nr ? commit(block, res, runs, nr, why) : 0;
		count_copied(dev, as, why, pages);
	}
	if (traced && pages)
		gm_trace_move(block, lo, hi,
			      &(struct gm_event){ .as = as,
						  .why = why,
						  .pages = pages,
						  .bytes = gm_page_bytes(pages),
						  .from = GM_NODE_HOST,
						  .to = gm_dev_node(dev) },
			      begin, err);
	return err;
}

/*
 * What is not @dev's of [first, first+n), but others', or nobody's, comes to host backing, for all.
 */
int gm_bring_home(struct gm_block *block, unsigned int first, unsigned int n,
		  const struct gm_dev *dev, struct gm_as *as, enum gm_why why)
{
	struct gm_home how = { .as = as, .why = why };
	bool huge = block->obj->granule > GM_PAGE_SIZE;
	int err = 0;

	for (struct gm_resident *res = block->residents; res && !err; res = res->next)
		if (res->dev != dev)
			err = gm_home_from(block, res->dev, &how, first, first + n);
	if (!err)
		err = huge ? gm_make_host(block, 0, GM_BLOCK_PAGES) : gm_make_host(block, first, n);
	if (!err)
		err = gm_exclusive_end(block, first, n, NULL);
	gm_block_fold(block);
	return err;
}

/* The block's resident for @dev, with room for replicas; or NULL. */
static struct gm_resident *resident(struct gm_block *block, struct gm_dev *dev)
{
	struct gm_resident *res = gm_resident_get(block, dev);

	if (!res || !gm_more_get(block))
		return NULL;
	if (res->copies)
		return res;
	res->copies = gm_pool_get(&gm_core.arrays);
	if (!res->copies)
		return NULL;
	for (unsigned int i = 0; i < GM_BLOCK_PAGES; i++)
		res->copies[i] = 0;
	res->copies[GM_COPIES_NR] = 0;
	return res;
}

/*
 * Give @ctx's device replicas of [first, first+n), rounded out to its units, but of what it has
 * itself; mapping them is the caller's. An error: there may be some. -ENOSPC, -EBUSY: see
 * gm_reclaim().
 */
int gm_replicate(struct gm_context *ctx, struct gm_block *block, unsigned int first, unsigned int n,
		 enum gm_why why)
{
	struct gm_dev *dev = ctx->dev;
	struct gm_resident *res;
	unsigned int page;
	int err;

	gm_unit_round(dev, &first, &n);
	page = first;
	err = gm_bring_home(block, first, n, dev, ctx->as, why);
	if (!err && gm_is_remote(block, dev)) /* other memory is to be mapped there */
		err = gm_unmap_in_place(block, first, n);
	res = err ? NULL : resident(block, dev);
	if (!err && !res)
		err = -ENOMEM;
	while (!err && page < first + n) {
		err = copy_some(block, res, ctx->as, why, &page, first + n);
		if (err == -ENOSPC)
			err = gm_evict_rest(block, first, n, dev, ctx->as);
		if (!err && page < first + n) { /* what has gone may have been the last */
			res = resident(block, dev);
			err = res ? 0 : -ENOMEM;
		}
	}
	res = gm_resident_find(block, dev);
	if (res)
		put_if_empty(block, res);
	gm_resident_put_idle(block);
	return err;
}

/* ------------------------------------------------------------------------- mapping */

static int enter_view(const struct gm_view *v, const struct gm_block *block,
		      const struct gm_resident *res, uint64_t dva, uint64_t end)
{
	uint64_t leaf = gm_unit_bytes(v->ctx->dev);
	int err = 0;

	while (dva < end && !err) {
		unsigned int page = gm_view_page(v, block, dva);
		unsigned int n = copies_run(res, page,
					    page + (unsigned int)((end - dva) >> GM_PAGE_SHIFT));

		if (n)
			err = v->ctx->dev->mmu->pmap_enter(
				v->ctx->pmap, dva, gm_entry_pfn(res->copies[page]) << GM_PAGE_SHIFT,
				gm_page_bytes(n), leaf, v->region->prot & ~(uint32_t)GM_WRITE);
		dva += n ? gm_page_bytes(n) : leaf;
	}
	return err;
}

/* Map for @ctx, for reading, the replicas that its device has of [first, first+n). */
int gm_replica_map(struct gm_context *ctx, struct gm_region *region, struct gm_block *block,
		   unsigned int first, unsigned int n)
{
	uint64_t lo = gm_page_off(block, first), hi = gm_page_off(block, first + n), dva, end;
	const struct gm_resident *res = gm_resident_find(block, ctx->dev);
	struct gm_view v;
	uint32_t i = 0;
	int err = 0;

	gm_lock_check_may_sleep();
	while (!err && gm_view_next(ctx, region, lo, hi, &i, &v)) {
		if (v.mode == GM_REPLICATE)
			continue; /* it has host memory there */
		gm_view_clip(&v, lo, hi, &dva, &end);
		err = enter_view(&v, block, res, dva, end);
	}
	return err;
}

static int cpu_map(struct gm_region *r, struct gm_block *block, unsigned int first, unsigned int n,
		   bool read)
{
	uint64_t va = r->va + (gm_page_off(block, first) - r->offset);

	return read ? gm_os_cpu_map_read(r, va, gm_page_bytes(n))
		    : gm_os_cpu_map(r, va, gm_page_bytes(n));
}

/*
 * Map [first, first+n), in host backing and of the region, for the CPU: what has replicas for
 * reading, if that is all it wants and its host can; else there are none after this.
 */
int gm_cpu_enter(struct gm_region *region, struct gm_block *block, unsigned int first,
		 unsigned int n, uint32_t access)
{
	bool has = true, read = !(access & GM_WRITE) && block->obj->granule == GM_PAGE_SIZE;
	unsigned int len;
	int err = 0;

	if (!read)
		err = gm_collapse(block, first, n);
	for (unsigned int page = first; page < first + n && !err; page += len) {
		len = gm_replica_run(block, page, first + n, &has);
		err = cpu_map(region, block, page, len, has);
		if (!has || err != -EOPNOTSUPP)
			continue;
		err = gm_collapse(block, page, len);
		if (!err)
			err = cpu_map(region, block, page, len, false);
	}
	return err;
}

/* ------------------------------------------------------------------------ checking */

#ifdef GM_DEBUG

static unsigned int check_resident(const struct gm_block *block, const struct gm_resident *res)
{
	unsigned int count = 0, unit = res->dev->unit;

	for (unsigned int page = 0; res->copies && page < GM_BLOCK_PAGES; page++) {
		uint64_t e = res->copies[page], first = res->copies[page & ~(unit - 1)];

		if (!e && !first)
			continue;
		count++;
		gm_bug_on(gm_entry_state(gm_block_entry(block, page)) != GM_HOST); /* I2 */
		gm_bug_on(gm_entry_exclusive(gm_block_entry(block, page)));	   /* I1 */
		gm_bug_on(!first || e != first + (page & (unit - 1)) * gm_entry_step(first));
		gm_bug_on(gm_entry_dev(e) != res->dev->index || gm_entry_pfn(first) % unit);
	}
	gm_bug_on(count != gm_resident_copies(res) || !res->copies != !count || count > res->nr);
	return count;
}

void gm_check_replicas(const struct gm_block *block)
{
	unsigned int count = 0;

	for (const struct gm_resident *res = block->residents; res; res = res->next)
		count += check_resident(block, res);
	gm_bug_on(count != gm_block_copies(block));
}

#endif
