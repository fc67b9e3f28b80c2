// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Out of all page tables: what the CPU has of a block, and what contexts have of a region.
 *
 * Theory. A page leaves a place only when nobody can write it there any more (I3): it is
 * released from the pmaps (leaf.c, in_place.c) and taken from the CPU at every address
 * before its bytes are copied. If a step fails some mappings are gone and the pages are
 * where they were: who lost a mapping faults and gets it again.
 *
 * Locking. Of a block: block locked, maps_lock for reading is taken here. Of a region:
 * as->lock for writing, maps_lock for writing.
 */
#include "core/span.h"
#include "core/trace.h"

/* Where [first, first+n) of the block is mapped by the region: false if nowhere. */
static bool mapped(const struct gm_region *r, const struct gm_block *block, unsigned int first,
		   unsigned int n, uint64_t *va, uint64_t *end)
{
	uint64_t begin = GM_MAX(gm_view_off(block, first), r->offset);
	uint64_t stop = GM_MIN(gm_view_off(block, first + n), r->offset + r->len);

	if (begin >= stop)
		return false;
	*va = r->va + (begin - r->offset);
	*end = r->va + (stop - r->offset);
	return true;
}

/* Take [first, first+n) away from the CPU, and who maps it in place, at all addresses. */
int gm_unmap_cpu(struct gm_block *block, unsigned int first, unsigned int n)
{
	struct gm_object *obj = block->obj;
	uint64_t va, end;
	int err;

	if (obj->granule > GM_PAGE_SIZE) {
		first = 0;
		n = GM_BLOCK_PAGES;
	}
	err = gm_unmap_in_place(block, first, n);
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
		if (mapped(r, block, first, n, &va, &end))
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
		if (mapped(r, block, 0, GM_BLOCK_PAGES, &va, &end))
			err = gm_os_cpu_arm(r, va, end - va);
	while (left && !err) {
		unsigned int n;

		got = gm_os_backing_run(obj, off, left, &present);
		n = (unsigned int)(got >> GM_PAGE_SHIFT);
		if (n < GM_BLOCK_PAGES && (page || present))
			err = gm_block_split(block);
		if (!err && present)
			gm_block_set(block, page, n, GM_HOST);
		if (!err && present && gm_tracing(GM_EVENT_PRESENT))
			gm_note_pages(GM_EVENT_PRESENT, obj, off, got);
		page += n;
		off += got;
		left -= got;
	}
	gm_rwlock_unlock(&obj->maps_lock, GM_RANK_MAPS);
	return err;
}

/*
 * Release all that @ctx sees of a region, or change its protection. No leaf crosses its
 * ends. Address space locked for writing; maps_lock too, so that nobody enters
 * anything meanwhile.
 */
int gm_release_region(struct gm_region *region, struct gm_context *ctx, bool protect, uint32_t prot)
{
	const struct gm_mmu *mmu = ctx->dev->mmu;
	struct gm_gather g gm_uninitialized;
	struct gm_view v;
	uint32_t i = 0;
	int err = 0;

	/* What a device reads where a peer has it stays for reading. */
	if (!mmu->pmap_protect || (mmu->pmap_enter_peer && (prot & GM_WRITE)))
		protect = false;
	gm_gather_init(&g);
	gm_lock_check_may_sleep();
	while (!err &&
	       gm_view_next(ctx, region, region->offset, region->offset + region->len, &i, &v)) {
		uint64_t dva = v.lo + v.delta, len = v.hi - v.lo;

		if (protect)
			err = mmu->pmap_protect(ctx->pmap, dva, len, prot);
		else
			err = mmu->pmap_release(ctx->pmap, dva, len);
		if (!err && !protect)
			gm_span_forget(ctx, dva, dva + len);
		if (!err)
			err = gm_gather_add(&g, ctx, dva, len);
	}
	return err ? err : gm_gather_flush(&g);
}
