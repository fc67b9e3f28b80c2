// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The reverse map: from a block to where devices see it.
 *
 * Theory. A block may be mapped at several addresses, in several address spaces, by
 * the CPU and by several contexts. Its object lists the regions; a region's address
 * space lists the contexts; a context lists the windows through which it sees the
 * address space (window.c). What a region and a window have in common is a view, and all
 * work on page tables of devices is done view by view. Nothing else remembers what is mapped
 * where: to unmap a page is to release it wherever it could be mapped, and releasing what
 * is not mapped is harmless and cheap.
 *
 * Invalidations are gathered and issued once a context (struct gm_gather), so that an
 * object mapped twice in one address space costs one operation of the hardware; bytes are
 * copied or frames freed only after gm_gather_flush() returned 0 (I3, I5).
 *
 * Locking. Block locked; maps_lock and ctx_lock for reading are taken here. Drivers
 * are called under these three.
 */
#include "core/view.h"
#include "core/trace.h"

/* ------------------------------------------------------- invalidations, gathered */

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

void gm_gather_init(struct gm_gather *g)
{
	g->ctx = NULL;
	g->n = 0;
	g->max = GM_GATHER_FEW;
	g->cut = false;
	g->range = g->few;
}

/* Invalidate for one device: the pmap's owner, or who shares it. */
static int flush_one(const struct gm_gather *g, struct gm_context *ctx, unsigned int n)
{
	const struct gm_mmu *mmu = ctx->dev->mmu;
	uint64_t begin = gm_os_now_ns(), calls = 1;
	int err = 0;

	if (n > 1 && mmu->tlb_invl_coalesced) {
		err = mmu->tlb_invl_coalesced(ctx->pmap, g->range, n);
	} else {
		calls = n;
		for (unsigned int i = 0; i < n && !err; i++)
			err = mmu->tlb_invl(ctx->pmap, g->range[i].va, g->range[i].size);
	}
	gm_count(ctx->dev, ctx->as, tlb_ranges, n);
	gm_count(ctx->dev, ctx->as, tlb_invls, calls);
	gm_count(ctx->dev, ctx->as, ns_invl, gm_os_now_ns() - begin);
	return err;
}

int gm_gather_flush(struct gm_gather *g)
{
	bool traced = gm_tracing(GM_EVENT_INVALIDATE);
	uint64_t begin = traced ? gm_os_now_ns() : 0;
	unsigned int n = g->n;
	int err;

	if (!n)
		return 0;
	gm_lock_check_may_sleep();
	g->n = 0;
	err = flush_one(g, g->ctx, n);
	for (struct gm_context *ctx = g->ctx->sharers; ctx && !err; ctx = ctx->next_sharer)
		err = flush_one(g, ctx, n);
	if (traced)
		trace_flush(g, n, begin, err);
	return err;
}

int gm_gather_add(struct gm_gather *g, struct gm_context *ctx, uint64_t dva, uint64_t size)
{
	struct gm_tlb_range *last = g->n ? &g->range[g->n - 1] : NULL;
	int err = 0;

	if (last && g->ctx == ctx && last->va + last->size == dva) {
		last->size += size;
		return 0;
	}
	if (g->n == g->max || (g->n && g->ctx != ctx))
		err = gm_gather_flush(g);
	g->ctx = ctx;
	g->range[g->n++] = (struct gm_tlb_range){ .va = dva, .size = size };
	return err;
}

/* ------------------------------------------------------------------------- views */

/*
 * Of what a view would show: whole base pages of the device, if they are in step with the object.
 */
static bool narrow(const struct gm_dev *dev, struct gm_view *view, uint64_t lo, uint64_t hi)
{
	uint64_t unit = gm_unit_bytes(dev);

	if (dev->unit > 1) {
		if (!gm_aligned(view->delta, unit))
			return false;
		view->lo = gm_round_up(view->lo, unit);
		view->hi = gm_round_down(view->hi, unit);
	}
	return view->lo < view->hi && view->lo < hi && view->hi > lo;
}

bool gm_view_next(struct gm_context *ctx, const struct gm_region *r, uint64_t lo, uint64_t hi,
		  uint32_t *i, struct gm_view *view)
{
	uint64_t va, end;

	lo = GM_MAX(lo, r->offset);
	hi = GM_MIN(hi, r->offset + r->len);
	if (lo >= hi)
		return false;
	va = r->va + (lo - r->offset);
	end = r->va + (hi - r->offset);
	if (!*i)
		*i = gm_window_lower(ctx, va);
	while (*i < ctx->nr_windows && ctx->windows[*i]->va < end) {
		const struct gm_seen *w = ctx->windows[(*i)++];

		*view = (struct gm_view){
			.ctx = ctx,
			.region = r,
			.lo = GM_MAX(r->va, w->va) - r->va + r->offset,
			.hi = GM_MIN(gm_region_end(r), w->end) - r->va + r->offset,
			.delta = r->va - r->offset + w->dev_va - w->va,
			.mode = w->mode,
		};
		if (narrow(ctx->dev, view, lo, hi))
			return true;
	}
	return false;
}

/* The device's addresses of what @v shows of [lo, hi), rounded out to its base pages. */
void gm_view_clip(const struct gm_view *v, uint64_t lo, uint64_t hi, uint64_t *dva, uint64_t *end)
{
	uint64_t unit = gm_unit_bytes(v->ctx->dev);

	*dva = GM_MAX(gm_round_down(lo, unit), v->lo) + v->delta;
	*end = GM_MIN(gm_round_up(hi, unit), v->hi) + v->delta;
}

/* All views that @ctx has of [lo, hi) of the block's object in the region. */
static int for_context(struct gm_context *ctx, const struct gm_region *r, struct gm_block *block,
		       uint64_t lo, uint64_t hi, bool in_place, gm_view_fn *fn, struct gm_gather *g)
{
	uint64_t dva, end;
	struct gm_view v;
	uint32_t i = 0;
	int err = 0;

	while (!err && gm_view_next(ctx, r, lo, hi, &i, &v)) {
		if (in_place && v.mode != GM_REPLICATE && !gm_is_remote(block, ctx->dev))
			continue;
		gm_view_clip(&v, lo, hi, &dva, &end);
		err = fn(&v, block, dva, end, g);
	}
	return err;
}

int gm_for_views(struct gm_block *block, const struct gm_dev *dev, unsigned int first,
		 unsigned int n, gm_view_fn *fn, struct gm_gather *g)
{
	uint64_t lo = gm_view_off(block, first), hi = gm_view_off(block, first + n);
	struct gm_object *obj = block->obj;
	struct gm_as *locked = NULL;
	int err = 0;

	gm_rwlock_rdlock(&obj->maps_lock, GM_RANK_MAPS);
	for (struct gm_region *r = obj->regions; r && !err; r = r->next) {
		if (hi <= r->offset || lo >= r->offset + r->len)
			continue;
		if (r->as != locked) {
			err = gm_gather_flush(g);
			if (locked)
				gm_rwlock_unlock(&locked->ctx_lock, GM_RANK_CTX);
			locked = r->as;
			gm_rwlock_rdlock(&locked->ctx_lock, GM_RANK_CTX);
		}
		for (struct gm_context *ctx = r->as->contexts; ctx && !err; ctx = ctx->next)
			if (!dev || ctx->dev == dev ||
			    (gm_block_readers(block) >> ctx->dev->index & 1))
				err = for_context(ctx, r, block, lo, hi, !dev, fn, g);
	}
	if (!err)
		err = gm_gather_flush(g);
	if (locked)
		gm_rwlock_unlock(&locked->ctx_lock, GM_RANK_CTX);
	gm_rwlock_unlock(&obj->maps_lock, GM_RANK_MAPS);
	return err;
}
