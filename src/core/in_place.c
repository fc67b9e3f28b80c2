// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * In place: host memory in the page tables of devices.
 *
 * Theory. Where a context's mode is GM_REPLICATE it maps host memory where it is, as the CPU
 * does and at the same time: its link is coherent, so the two are one party (I1). What takes
 * pages away from the CPU takes them from these contexts too, and what maps pages for the
 * CPU maps them there, so that the device need not fault for each. Leaves are of 4 KiB:
 * nothing is cut. What has replicas (replica.c) is mapped for reading, as it is for the CPU.
 *
 * Locking. Block locked; maps_lock and ctx_lock for reading are taken here, and drivers
 * are called under these three, as in view.c.
 */
#include "core/attr.h"
#include "core/view.h"

/*
 * Of @n pages from @page on, in host backing: how many can be entered at once, 0: none, for the
 * device has a replica mapped there. *prot loses GM_WRITE where nobody may write.
 */
static unsigned int enter_run(const struct gm_view *v, struct gm_block *block, unsigned int page,
			      unsigned int n, uint32_t *prot)
{
	unsigned int own = 0;
	bool copied;

	n = gm_replica_run(block, page, page + n, &copied);
	if (!copied)
		return n;
	*prot &= ~(uint32_t)GM_WRITE;
	while (own < n &&
	       (v->mode == GM_REPLICATE || !gm_replica_on(block, v->ctx->dev, page + own)))
		own++;
	return own;
}

/* Enter what [dva, end) of the view has in host backing. */
static int enter_host(const struct gm_view *v, struct gm_block *block, uint64_t dva, uint64_t end)
{
	struct gm_object *obj = block->obj;
	uint64_t e, bus, got;
	uint32_t prot;
	int err = 0;

	gm_lock_check_may_sleep();
	if (!gm_os_backing_in_place(obj))
		return -EOPNOTSUPP;
	for (; dva < end && !err; dva += got) {
		unsigned int page = gm_view_page(v, block, dva);
		unsigned int n = (unsigned int)((end - dva) >> GM_PAGE_SHIFT);
		uint64_t off = dva - v->delta;

		n = gm_block_run(block, page, page + n, &e);
		got = (uint64_t)n << GM_PAGE_SHIFT;
		if (gm_entry_state(e) != GM_HOST ||
		    (gm_entry_exclusive(e) && gm_entry_dev(e) != v->ctx->dev->index))
			continue;
		prot = v->region->prot | (gm_entry_exclusive(e) ? GM_ATOMIC : 0);
		n = enter_run(v, block, page, n, &prot);
		got = GM_MAX((uint64_t)n << GM_PAGE_SHIFT, GM_PAGE_SIZE);
		if (!n)
			continue;
		err = gm_os_backing_get(obj, off, got, true, &bus, &got);
		if (err)
			break;
		err = gm_os_in_place_hold(obj, off, got);
		if (!err)
			err = v->ctx->dev->mmu->pmap_enter_host(v->ctx->pmap, dva, bus, got, prot);
		gm_os_backing_put(obj, off, got);
	}
	return err;
}

/*
 * May @dev have host memory of the block mapped in windows of any mode? What says so may be about
 * another that had its index, with smaller pages.
 */
bool gm_is_remote(const struct gm_block *block, const struct gm_dev *dev)
{
	return (gm_block_remote(block) >> dev->index & 1) && dev->unit == 1;
}

/* May host memory of the block be mapped in place in the view? */
static bool is_in_place(const struct gm_view *v, const struct gm_block *block)
{
	return v->mode == GM_REPLICATE || gm_is_remote(block, v->ctx->dev);
}

/* Map what of [first, first+n) is in host backing for @ctx, where it may have it in place. */
int gm_map_host(struct gm_context *ctx, struct gm_region *region, struct gm_block *block,
		unsigned int first, unsigned int n)
{
	uint64_t lo = gm_view_off(block, first), hi = gm_view_off(block, first + n);
	struct gm_view v;
	uint32_t i = 0;
	int err = 0;

	while (!err && gm_view_next(ctx, region, lo, hi, &i, &v))
		if (is_in_place(&v, block))
			err = enter_host(&v, block, GM_MAX(lo, v.lo) + v.delta,
					 GM_MIN(hi, v.hi) + v.delta);
	return err;
}

/* What of [dva, end) of the view hints say that its device accesses. */
static void enter_accessed(const struct gm_view *v, struct gm_block *block, uint64_t dva,
			   uint64_t end)
{
	while (dva < end) {
		unsigned int page = gm_view_page(v, block, dva), first = page;
		unsigned int n = (unsigned int)((end - dva) >> GM_PAGE_SHIFT);
		const struct gm_range_hint *hint = gm_attr_at(v->region, block->index, page);

		gm_attr_clip(v->region, block->index, page, &first, &n);
		if (hint && !hint->read_mostly && (hint->accessed >> v->ctx->dev->index & 1))
			(void)enter_host(v, block, dva, dva + ((uint64_t)n << GM_PAGE_SHIFT));
		dva += (uint64_t)n << GM_PAGE_SHIFT;
	}
}

static int mirror_view(const struct gm_view *v, struct gm_block *block, uint64_t dva, uint64_t end,
		       struct gm_gather *g)
{
	(void)g;
	if (v->mode == GM_REPLICATE)
		(void)enter_host(v, block, dva, end); /* should it fail, the device faults */
	else if (v->region->attrs)
		enter_accessed(v, block, dva, end);
	return 0;
}

/*
 * The CPU has [first, first+n) mapped now, or may: so has every context in mode GM_REPLICATE, and
 * who was said to access it and has done so in this block.
 */
void gm_mirror(struct gm_block *block, unsigned int first, unsigned int n)
{
	struct gm_gather g gm_uninitialized;

	if (!gm_load(&gm_core.in_place) && !gm_block_remote(block))
		return;
	gm_gather_init(&g);
	gm_for_views(block, NULL, first, n, mirror_view, &g);
}

/*
 * What is on a device may be mapped here too, by leaves that are not to be cut: gm_unmap_dev() has
 * that.
 */
static int release_view(const struct gm_view *v, struct gm_block *block, uint64_t dva, uint64_t end,
			struct gm_gather *g)
{
	uint64_t e, got;
	int err = 0;

	gm_lock_check_may_sleep();
	for (; dva < end && !err; dva += got) {
		unsigned int page = gm_view_page(v, block, dva);
		unsigned int n = (unsigned int)((end - dva) >> GM_PAGE_SHIFT);

		got = (uint64_t)gm_block_run(block, page, page + n, &e) << GM_PAGE_SHIFT;
		if (gm_entry_state(e) != GM_HOST)
			continue;
		err = v->ctx->dev->mmu->pmap_release(v->ctx->pmap, dva, got);
		if (!err)
			err = gm_gather_add(g, v->ctx, dva, got);
	}
	return err;
}

/* Take host memory of [first, first+n) away from whoever maps it in place, at all addresses. */
int gm_unmap_in_place(struct gm_block *block, unsigned int first, unsigned int n)
{
	struct gm_gather g gm_uninitialized;
	int err = 0;

	if (gm_load(&gm_core.in_place) || gm_block_remote(block)) {
		gm_gather_init(&g);
		err = gm_for_views(block, NULL, first, n, release_view, &g);
	}
	if (!err)
		gm_os_in_place_drop(block->obj, gm_view_off(block, first),
				    (uint64_t)n << GM_PAGE_SHIFT);
	return err;
}
