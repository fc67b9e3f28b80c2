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
#include "core/view.h"

/* Enter what [dva, end) of the view has in host backing. */
static int enter_host(const struct gm_view *v, const struct gm_block *block, uint64_t dva,
		      uint64_t end)
{
	struct gm_object *obj = block->obj;
	uint64_t e, bus, got;
	uint32_t prot;
	int err = 0;
	bool copied;

	gm_lock_check_may_sleep();
	if (!gm_os_backing_in_place(obj))
		return -EOPNOTSUPP;
	for (; dva < end && !err; dva += got) {
		unsigned int page = gm_view_page(v, block, dva);
		unsigned int n = (unsigned int)((end - dva) >> GM_PAGE_SHIFT);
		uint64_t off = dva - v->delta;

		got = (uint64_t)gm_block_run(block, page, page + n, &e) << GM_PAGE_SHIFT;
		if (gm_entry_state(e) != GM_HOST ||
		    (gm_entry_exclusive(e) && gm_entry_dev(e) != v->ctx->dev->index))
			continue;
		n = gm_replica_run(block, page, page + (unsigned int)(got >> GM_PAGE_SHIFT),
				   &copied);
		got = (uint64_t)n << GM_PAGE_SHIFT;
		prot = v->region->prot | (gm_entry_exclusive(e) ? GM_ATOMIC : 0);
		if (copied) /* nobody writes it */
			prot &= ~(uint32_t)GM_WRITE;
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

/* Map what of [first, first+n) is in host backing for @ctx, where its mode is GM_REPLICATE. */
int gm_map_host(struct gm_context *ctx, struct gm_region *region, struct gm_block *block,
		unsigned int first, unsigned int n)
{
	uint64_t lo = gm_view_off(block, first), hi = gm_view_off(block, first + n);
	struct gm_view v;
	uint32_t i = 0;
	int err = 0;

	while (!err && gm_view_next(ctx, region, lo, hi, &i, &v))
		if (v.mode == GM_REPLICATE)
			err = enter_host(&v, block, GM_MAX(lo, v.lo) + v.delta,
					 GM_MIN(hi, v.hi) + v.delta);
	return err;
}

static int mirror_view(const struct gm_view *v, struct gm_block *block, uint64_t dva, uint64_t end,
		       struct gm_gather *g)
{
	(void)g;
	(void)enter_host(v, block, dva, end); /* should it fail, the device faults */
	return 0;
}

/* The CPU has [first, first+n) mapped now: so has every context in mode GM_REPLICATE. */
void gm_mirror(struct gm_block *block, unsigned int first, unsigned int n)
{
	struct gm_gather g gm_uninitialized;

	if (!gm_load(&gm_core.in_place))
		return;
	gm_gather_init(&g);
	gm_for_views(block, NULL, first, n, mirror_view, &g);
}

/* What is on a device may be mapped here too, by leaves that are not to be cut: gm_unmap_dev() has that. */
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

	if (gm_load(&gm_core.in_place)) {
		gm_gather_init(&g);
		err = gm_for_views(block, NULL, first, n, release_view, &g);
	}
	if (!err)
		gm_os_in_place_drop(block->obj, gm_view_off(block, first),
				    (uint64_t)n << GM_PAGE_SHIFT);
	return err;
}
