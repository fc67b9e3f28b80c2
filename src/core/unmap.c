// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * In and out of page tables: the reverse map.
 *
 * Theory. A block may be mapped at several addresses, in several address spaces, by
 * the CPU and by several contexts. Its object lists the regions; a region's address
 * space lists the contexts. Nothing else remembers what is mapped where: to unmap a
 * page is to release it wherever it could be mapped, and releasing what is not
 * mapped is harmless and cheap.
 *
 * Leaves. A pmap maps with the largest leaf that fits the page's surroundings: same
 * region, same block, one contiguous extent, aligned in address and frame. So a leaf
 * never reaches beyond its block (whose lock we hold) nor its region. When a part of
 * it must go the whole leaf is released, and what stays is entered again in smaller
 * leaves: drivers never see a cut leaf.
 *
 * Invalidations are gathered and issued once a context (struct gm_gather), so that an
 * object mapped twice in one address space costs one operation of the hardware; bytes are
 * copied or frames freed only after gather_flush() returned 0 (I3, I5). If a step
 * fails some mappings are gone and the pages are where they were: a device that
 * lost a mapping faults and gets it again.
 *
 * In place. A context in mode GM_REPLICATE maps host memory where it is, as the CPU does and
 * at the same time: its link is coherent, so the two are one party (I1). What takes pages
 * away from the CPU takes them from these contexts too, and what maps pages for the CPU maps
 * them there, so that the device need not fault for each. Leaves are of 4 KiB: nothing is cut.
 *
 * Locking. Block locked; maps_lock and ctx_lock for reading are taken here. Drivers
 * are called under these three.
 */
#include "core/core.h"
#include "core/trace.h"

#define GATHER_MAX 16U

struct gm_gather {
	struct gm_context *ctx;
	unsigned int n;
	bool cut; /* a leaf was, and its rest is not entered yet */
	struct gm_tlb_range range[GATHER_MAX];
};

static void trace_flush(const struct gm_gather *g, unsigned int n, uint64_t begin, int err)
{
	struct gm_event ev = {
		.kind = GM_EVENT_INVALIDATE,
		.as = g->ctx->as,
		.va = g->range[0].va,
		.n = n,
		.from = gm_dev_node(g->ctx->dev),
		.to = GM_NODE_NONE,
	};

	for (unsigned int i = 0; i < n; i++)
		ev.len += g->range[i].size;
	gm_trace_end(&ev, begin, err);
}

static void gather_init(struct gm_gather *g)
{
	g->ctx = NULL;
	g->n = 0;
	g->cut = false;
}

static int gather_flush(struct gm_gather *g)
{
	struct gm_context *ctx = g->ctx;
	const struct gm_mmu *mmu;
	uint64_t begin, ns, calls = 1;
	unsigned int n = g->n;
	int err = 0;

	if (!n)
		return 0;
	gm_lock_check_may_sleep();
	mmu = ctx->dev->mmu;
	begin = gm_os_now_ns();
	g->n = 0;
	if (n > 1 && mmu->tlb_invl_coalesced) {
		err = mmu->tlb_invl_coalesced(ctx->pmap, g->range, n);
	} else {
		calls = n;
		for (unsigned int i = 0; i < n && !err; i++)
			err = mmu->tlb_invl(ctx->pmap, g->range[i].va, g->range[i].size);
	}
	ns = gm_os_now_ns() - begin;
	gm_count(ctx->dev, ctx->as, tlb_ranges, n);
	gm_count(ctx->dev, ctx->as, tlb_invls, calls);
	gm_count(ctx->dev, ctx->as, ns_invl, ns);
	if (gm_tracing(GM_EVENT_INVALIDATE))
		trace_flush(g, n, begin, err);
	return err;
}

static int gather_add(struct gm_gather *g, struct gm_context *ctx, uint64_t va, uint64_t size)
{
	struct gm_tlb_range *last = g->n ? &g->range[g->n - 1] : NULL;
	int err = 0;

	if (last && g->ctx == ctx && last->va + last->size == va) {
		last->size += size;
		return 0;
	}
	if (g->n == GATHER_MAX || (g->n && g->ctx != ctx))
		err = gather_flush(g);
	g->ctx = ctx;
	g->range[g->n++] = (struct gm_tlb_range){ .va = va, .size = size };
	return err;
}

/* ----------------------------------------------------------- a block in a region */

/* Where [first, first+n) of the block is mapped by the region: false if nowhere. */
static bool view(const struct gm_region *r, const struct gm_block *block, unsigned int first,
		 unsigned int n, uint64_t *va, uint64_t *end)
{
	uint64_t begin = (block->index << GM_BLOCK_SHIFT) + ((uint64_t)first << GM_PAGE_SHIFT);
	uint64_t stop = begin + ((uint64_t)n << GM_PAGE_SHIFT);

	begin = GM_MAX(begin, r->offset);
	stop = GM_MIN(stop, r->offset + r->len);
	if (begin >= stop)
		return false;
	*va = r->va + (begin - r->offset);
	*end = r->va + (stop - r->offset);
	return true;
}

/* The same of whole units of @dev: only they can be mapped there. */
static bool dev_view(const struct gm_region *r, const struct gm_block *block,
		     const struct gm_dev *dev, unsigned int first, unsigned int n, uint64_t *va,
		     uint64_t *end)
{
	if (dev->unit > 1 && !gm_unit_clip(dev, r, block->index, &first, &n))
		return false;
	return view(r, block, first, n, va, end);
}

/* The page of the block that lies at @va of the region. */
static unsigned int page_at(const struct gm_region *r, const struct gm_block *block, uint64_t va)
{
	return (unsigned int)((va - r->va + r->offset - (block->index << GM_BLOCK_SHIFT)) >>
			      GM_PAGE_SHIFT);
}

/* May [va, va+leaf), aligned, be mapped by one leaf? */
static bool leaf_fits(const struct gm_region *r, const struct gm_block *block,
		      const struct gm_dev *dev, uint64_t va, uint64_t leaf, uint64_t barrier)
{
	uint64_t begin, end, entry;
	unsigned int page, n = (unsigned int)(leaf >> GM_PAGE_SHIFT), i = 0, got;

	if (!view(r, block, 0, GM_BLOCK_PAGES, &begin, &end) || va < begin || va + leaf > end)
		return false;
	if (va < barrier && barrier < va + leaf)
		return false;
	page = page_at(r, block, va);
	entry = gm_block_entry(block, page);
	if (gm_entry_state(entry) != GM_DEV || gm_entry_dev(entry) != dev->index ||
	    !gm_aligned(gm_entry_pfn(entry), n))
		return false;
	if (!block->pages)
		return true;
	for (uint64_t pfn = gm_entry_pfn(entry); i < n; i += got) { /* flags may differ */
		uint64_t e;

		got = gm_block_run(block, page + i, page + n, &e);
		if (gm_entry_state(e) != GM_DEV || gm_entry_dev(e) != dev->index ||
		    gm_entry_pfn(e) != pfn + i)
			return false;
	}
	return true;
}

/* The leaf that maps @va, or would: its size; the base page if nothing larger fits. */
static uint64_t leaf_of(const struct gm_region *r, const struct gm_block *block,
			const struct gm_dev *dev, uint64_t va, uint64_t barrier)
{
	uint64_t sizes = dev->mmu->pgsize_bitmap & (2 * GM_BLOCK_SIZE - 1);
	uint64_t base = gm_unit_bytes(dev);

	while (sizes > base) {
		uint64_t leaf = 1ULL << gm_log2(sizes);

		if (leaf_fits(r, block, dev, gm_round_down(va, leaf), leaf, barrier))
			return leaf;
		sizes &= ~leaf;
	}
	return base;
}

/*
 * Enter what [va, end) of the region has on the context's device, rounded out to
 * leaves; none of them crosses @barrier.
 */
static int enter(struct gm_context *ctx, const struct gm_region *r, const struct gm_block *block,
		 uint64_t va, uint64_t end, uint64_t barrier)
{
	int err = 0;

	gm_lock_check_may_sleep();
	while (va < end && !err) {
		unsigned int page = page_at(r, block, va);
		uint64_t entry, leaf, size;

		gm_block_run(block, page, page + 1, &entry);
		if (gm_entry_state(entry) != GM_DEV || gm_entry_dev(entry) != ctx->dev->index) {
			va += GM_PAGE_SIZE;
			continue;
		}
		leaf = leaf_of(r, block, ctx->dev, va, barrier);
		va = gm_round_down(va, leaf);
		page = page_at(r, block, va);
		entry = gm_block_entry(block, page);
		/* As many leaves of this size as follow in the same extent go in at once. */
		for (size = leaf; va + size < end; size += leaf) {
			uint64_t next =
				gm_block_entry(block, page + (unsigned int)(size >> GM_PAGE_SHIFT));

			if (gm_entry_state(next) != GM_DEV ||
			    gm_entry_dev(next) != ctx->dev->index ||
			    gm_entry_pfn(next) != gm_entry_pfn(entry) + (size >> GM_PAGE_SHIFT) ||
			    leaf_of(r, block, ctx->dev, va + size, barrier) != leaf)
				break;
		}
		err = ctx->dev->mmu->pmap_enter(ctx->pmap, va, gm_entry_pfn(entry) << GM_PAGE_SHIFT,
						size, leaf, r->prot);
		va += size;
	}
	return err;
}

/* Map the device's pages among [first, first+n) for @ctx in @region. */
int gm_map_dev(struct gm_context *ctx, struct gm_region *region, struct gm_block *block,
	       unsigned int first, unsigned int n)
{
	uint64_t va, end;

	if (!dev_view(region, block, ctx->dev, first, n, &va, &end))
		return 0;
	return enter(ctx, region, block, va, end, 0);
}

/* -------------------------------------------------------------------- unmapping */

/* The whole leaves around [*va, *end). */
static void round_out(const struct gm_region *r, const struct gm_block *block,
		      const struct gm_dev *dev, uint64_t *va, uint64_t *end)
{
	uint64_t last = leaf_of(r, block, dev, *end - GM_PAGE_SIZE, 0);

	*va = gm_round_down(*va, leaf_of(r, block, dev, *va, 0));
	*end = gm_round_down(*end - GM_PAGE_SIZE, last) + last;
}

/*
 * Call @fn for each context of @dev, or of any in mode GM_REPLICATE (NULL), that maps a part of [first, first+n), with maps_lock
 * and the contexts' locks held for reading. Regions of one address space that follow
 * one another in the object's list share one hold of its lock, and one flush of @g.
 */
typedef int view_fn(struct gm_context *ctx, struct gm_region *r, struct gm_block *block,
		    uint64_t va, uint64_t end, struct gm_gather *g);

static int for_views(struct gm_block *block, const struct gm_dev *dev, unsigned int first,
		     unsigned int n, view_fn *fn, struct gm_gather *g)
{
	struct gm_object *obj = block->obj;
	struct gm_as *locked = NULL;
	uint64_t va, end;
	int err = 0;

	gm_rwlock_rdlock(&obj->maps_lock, GM_RANK_MAPS);
	for (struct gm_region *r = obj->regions; r && !err; r = r->next) {
		if (!view(r, block, first, n, &va, &end))
			continue;
		if (r->as != locked) {
			err = gather_flush(g);
			if (locked)
				gm_rwlock_unlock(&locked->ctx_lock, GM_RANK_CTX);
			locked = r->as;
			gm_rwlock_rdlock(&locked->ctx_lock, GM_RANK_CTX);
		}
		for (struct gm_context *ctx = r->as->contexts; ctx && !err; ctx = ctx->next)
			if ((dev ? ctx->dev == dev : ctx->mode == GM_REPLICATE) &&
			    (ctx->dev->unit == 1 ||
			     dev_view(r, block, ctx->dev, first, n, &va, &end)))
				err = fn(ctx, r, block, va, end, g);
	}
	if (!err)
		err = gather_flush(g);
	if (locked)
		gm_rwlock_unlock(&locked->ctx_lock, GM_RANK_CTX);
	gm_rwlock_unlock(&obj->maps_lock, GM_RANK_MAPS);
	return err;
}

static int release_view(struct gm_context *ctx, struct gm_region *r, struct gm_block *block,
			uint64_t va, uint64_t end, struct gm_gather *g)
{
	uint64_t lo = va, hi = end;
	int err;

	round_out(r, block, ctx->dev, &lo, &hi);
	g->cut |= lo < va || end < hi;
	gm_lock_check_may_sleep();
	err = ctx->dev->mmu->pmap_release(ctx->pmap, lo, hi - lo);
	return err ? err : gather_add(g, ctx, lo, hi - lo);
}

/* Enter the rest of the leaves that release_view() has cut; should that fail, the device faults. */
static int enter_rest(struct gm_context *ctx, struct gm_region *r, struct gm_block *block,
		      uint64_t va, uint64_t end, struct gm_gather *g)
{
	uint64_t lo = va, hi = end;

	(void)g;
	round_out(r, block, ctx->dev, &lo, &hi);
	if (lo < va)
		(void)enter(ctx, r, block, lo, va, va);
	if (end < hi)
		(void)enter(ctx, r, block, end, hi, end);
	return 0;
}

/*
 * Release [first, first+n) from all pmaps of @dev and invalidate. An error: some
 * may still map it. Does not look at other devices' pages.
 */
int gm_unmap_dev(struct gm_block *block, struct gm_dev *dev, unsigned int first, unsigned int n)
{
	struct gm_gather g gm_uninitialized;
	int err;

	gather_init(&g);
	err = for_views(block, dev, first, n, release_view, &g);
	/* No leaf is entered over one whose translations may be alive. */
	if (!err && g.cut)
		err = for_views(block, dev, first, n, enter_rest, &g);
	return err;
}

static int enter_view(struct gm_context *ctx, struct gm_region *r, struct gm_block *block,
		      uint64_t va, uint64_t end, struct gm_gather *g)
{
	(void)g;
	(void)enter(ctx, r, block, va, end, 0);
	return 0;
}

/* After gm_unmap_dev(), if nothing has moved: enter it again, to spare the device the faults. */
void gm_remap_dev(struct gm_block *block, struct gm_dev *dev, unsigned int first, unsigned int n)
{
	struct gm_gather g = { .n = 0 };

	for_views(block, dev, first, n, enter_view, &g);
}

/* -------------------------------------------------------------------- in place */

/* Enter what [va, end) of the region has in host backing. */
static int enter_host(struct gm_context *ctx, const struct gm_region *r,
		      const struct gm_block *block, uint64_t va, uint64_t end)
{
	uint64_t e, bus, got;
	int err = 0;

	gm_lock_check_may_sleep();
	if (!gm_os_backing_in_place(r->obj))
		return -EOPNOTSUPP;
	for (; va < end && !err; va += got) {
		unsigned int page = page_at(r, block, va);
		unsigned int n = (unsigned int)((end - va) >> GM_PAGE_SHIFT);
		uint64_t off = va - r->va + r->offset;

		got = (uint64_t)gm_block_run(block, page, page + n, &e) << GM_PAGE_SHIFT;
		if (gm_entry_state(e) != GM_HOST)
			continue;
		err = gm_os_backing_get(r->obj, off, got, true, &bus, &got);
		if (err)
			break;
		err = ctx->dev->mmu->pmap_enter_host(ctx->pmap, va, bus, got, r->prot);
		gm_os_backing_put(r->obj, off, got);
	}
	return err;
}

/* Map what of [first, first+n) is in host backing for @ctx, which is in mode GM_REPLICATE. */
int gm_map_host(struct gm_context *ctx, struct gm_region *region, struct gm_block *block,
		unsigned int first, unsigned int n)
{
	uint64_t va, end;

	if (!view(region, block, first, n, &va, &end))
		return 0;
	return enter_host(ctx, region, block, va, end);
}

static int mirror_view(struct gm_context *ctx, struct gm_region *r, struct gm_block *block,
		       uint64_t va, uint64_t end, struct gm_gather *g)
{
	(void)g;
	(void)enter_host(ctx, r, block, va, end); /* should it fail, the device faults */
	return 0;
}

/* The CPU has [first, first+n) mapped now: so has every context in mode GM_REPLICATE. */
void gm_mirror(struct gm_block *block, unsigned int first, unsigned int n)
{
	struct gm_gather g = { .n = 0 };

	if (gm_load(&gm_core.in_place))
		for_views(block, NULL, first, n, mirror_view, &g);
}

/* What these have of it is host memory, or left by gm_unmap_dev(): no leaf crosses an end. */
static int release_in_place(struct gm_context *ctx, struct gm_region *r, struct gm_block *block,
			    uint64_t va, uint64_t end, struct gm_gather *g)
{
	int err;

	(void)r;
	(void)block;
	gm_lock_check_may_sleep();
	err = ctx->dev->mmu->pmap_release(ctx->pmap, va, end - va);
	return err ? err : gather_add(g, ctx, va, end - va);
}

/* Take [first, first+n) away from the CPU, and who maps it in place, at all addresses. */
int gm_unmap_cpu(struct gm_block *block, unsigned int first, unsigned int n)
{
	struct gm_object *obj = block->obj;
	struct gm_gather g gm_uninitialized;
	uint64_t va, end;
	int err = 0;

	gather_init(&g);
	if (obj->granule > GM_PAGE_SIZE) {
		first = 0;
		n = GM_BLOCK_PAGES;
	}
	if (gm_load(&gm_core.in_place))
		err = for_views(block, NULL, first, n, release_in_place, &g);
	if (err)
		return err;
	err = gm_os_object_revoke(
		obj, (block->index << GM_BLOCK_SHIFT) + ((uint64_t)first << GM_PAGE_SHIFT),
		(uint64_t)n << GM_PAGE_SHIFT);
	if (err != -EOPNOTSUPP)
		return err;
	err = 0;
	gm_rwlock_rdlock(&obj->maps_lock, GM_RANK_MAPS);
	for (struct gm_region *r = obj->regions; r && !err; r = r->next)
		if (view(r, block, first, n, &va, &end))
			err = gm_os_cpu_revoke(r, va, end - va);
	gm_rwlock_unlock(&obj->maps_lock, GM_RANK_MAPS);
	return err;
}

/*
 * A block begins: from now on the CPU faults on it, wherever it is mapped; then
 * learn which pages exist. The order matters, see lpt.c.
 */
int gm_arm_block(struct gm_block *block)
{
	struct gm_object *obj = block->obj;
	uint64_t off = block->index << GM_BLOCK_SHIFT, va, end, got;
	uint64_t left = GM_MIN(GM_BLOCK_SIZE, obj->size - off);
	unsigned int page = 0;
	bool present;
	int err = 0;

	gm_rwlock_rdlock(&obj->maps_lock, GM_RANK_MAPS);
	for (struct gm_region *r = obj->regions; r && !err; r = r->next)
		if (view(r, block, 0, GM_BLOCK_PAGES, &va, &end))
			err = gm_os_cpu_arm(r, va, end - va);
	while (left && !err) {
		unsigned int n;

		got = gm_os_backing_run(obj, off, left, &present);
		n = (unsigned int)(got >> GM_PAGE_SHIFT);
		if (n < GM_BLOCK_PAGES && (page || present))
			err = gm_block_split(block);
		if (!err && present)
			gm_block_set(block, page, n, GM_HOST);
		page += n;
		off += got;
		left -= got;
	}
	gm_rwlock_unlock(&obj->maps_lock, GM_RANK_MAPS);
	return err;
}

/* ------------------------------------------------------- whole regions, and cuts */

/*
 * See to it that no leaf of any context reaches across @va, which is in @block. Address
 * space locked for writing, block locked.
 */
int gm_split_leaf(struct gm_region *region, struct gm_block *block, uint64_t va)
{
	int err = 0;

	for (struct gm_context *ctx = region->as->contexts; ctx && !err; ctx = ctx->next) {
		uint64_t leaf = leaf_of(region, block, ctx->dev, va, 0);
		uint64_t lo = gm_round_down(va, leaf);
		struct gm_gather g = { .n = 0 };

		if (lo == va)
			continue;
		if (!gm_aligned(va, gm_unit_bytes(ctx->dev))) { /* inside a unit */
			err = gm_unit_cut(block, ctx->dev, page_at(region, block, va));
			continue;
		}
		err = ctx->dev->mmu->pmap_release(ctx->pmap, lo, leaf);
		if (!err)
			err = gather_add(&g, ctx, lo, leaf);
		if (!err)
			err = gather_flush(&g);
		if (!err) /* should it fail, the device will fault for it */
			(void)enter(ctx, region, block, lo, lo + leaf, va);
	}
	return err;
}

/*
 * Release all of a region from @ctx, or change its protection. No leaf crosses its
 * ends. Address space locked for writing; maps_lock too, so that nobody enters
 * anything meanwhile.
 */
int gm_release_region(struct gm_region *region, struct gm_context *ctx, bool protect, uint32_t prot)
{
	uint64_t unit = gm_unit_bytes(ctx->dev), va = gm_round_up(region->va, unit);
	uint64_t end = gm_round_down(gm_region_end(region), unit);
	const struct gm_mmu *mmu = ctx->dev->mmu;
	struct gm_gather g = { .n = 0 };
	int err;

	if (va >= end) /* has no whole unit: nothing was ever mapped */
		return 0;
	gm_lock_check_may_sleep();
	if (protect && mmu->pmap_protect)
		err = mmu->pmap_protect(ctx->pmap, va, end - va, prot);
	else
		err = mmu->pmap_release(ctx->pmap, va, end - va);
	if (!err)
		err = gather_add(&g, ctx, va, end - va);
	if (!err)
		err = gather_flush(&g);
	return err;
}
