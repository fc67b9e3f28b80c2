// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Memory of the application's, registered in place.
 *
 * Theory. Such memory is an object like any other, but for where its host backing is: in the
 * application's own pages, which only the host can say more about. The object's one region
 * lies where the memory does, and the offset of a byte agrees with its address in its place
 * within a block, so that the memory's huge pages are whole blocks. Nobody else has
 * the object: it is mapped once, and goes with its last region.
 *
 * What is different is the end. The bytes of another object may stay on a device when its
 * region goes; these are the application's, so all of them come home, and are mapped, before
 * the region is taken away. If one cannot, the region stays.
 *
 * Locking. gm_region_home() runs under the address space's lock, held for writing: no device
 * of it faults meanwhile, so what is home stays. gm_as_home() locks it for reading, a piece at
 * a time, as a hint does.
 */
#include "core/core.h"

/* What devices have of [first, first+n) comes home; what is in host backing is mapped. */
static int home_block(struct gm_region *r, uint64_t index, unsigned int first, unsigned int n)
{
	struct gm_home how = { .as = r->as, .why = GM_WHY_DRAIN };
	struct gm_block *block = gm_block_find(r->obj, index, false);
	unsigned int end = first + n, len;
	uint64_t e;
	int err;

	if (!block)
		return 0;
	err = gm_migrate_home(block, first, n, &how);
	if (!err)
		err = gm_exclusive_end(block, first, n, NULL);
	for (unsigned int page = first; page < end && !err; page += len) {
		len = gm_block_run(block, page, end, &e);
		if (gm_entry_state(e) != GM_HOST)
			continue;
		err = gm_cpu_enter(r, block, page, len, GM_WRITE);
	}
	gm_block_unlock(block);
	return err;
}

int gm_region_home(struct gm_region *r)
{
	uint64_t index = r->offset >> GM_BLOCK_SHIFT;
	uint64_t end = (r->offset + r->len + GM_BLOCK_SIZE - 1) >> GM_BLOCK_SHIFT;
	int err = 0;

	for (; !err && (index = gm_lpt_next(r->obj, index, end)) < end; index++) {
		unsigned int first = 0, n = GM_BLOCK_PAGES;

		gm_clip(r, index, &first, &n);
		err = home_block(r, index, first, n);
	}
	return err;
}

int gm_as_home(struct gm_as *as, uint64_t va, uint64_t len)
{
	uint64_t end = va + len, run;
	struct gm_piece piece;
	int err = gm_enter();

	while (!err && (va = gm_as_next(as, va, end, &run)) < end) {
		uint64_t stop = va + run;

		gm_rwlock_rdlock(&as->lock, GM_RANK_AS);
		if (gm_piece_next(as, &va, stop, &piece))
			err = home_block(piece.region, piece.index, piece.first, piece.n);
		else
			va = stop; /* gone meanwhile */
		gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	}
	return err;
}

int gm_as_register(struct gm_as *as, uint64_t va, uint64_t len)
{
	uint64_t offset = va & (GM_BLOCK_SIZE - 1);
	void *addr = (void *)(uintptr_t)va;
	struct gm_object *obj;
	int err;

	if (!as || !va || !len || !gm_aligned(va | len, GM_PAGE_SIZE) || va + len < va ||
	    len > GM_OBJECT_MAX_SIZE - offset)
		return -EINVAL;
	err = gm_object_new(offset + len, GM_OBJECT_REGISTERED, false, &obj);
	if (err)
		return err;
	err = gm_as_map(as, obj, offset, len, GM_READ | GM_WRITE, GM_MAP_FIXED, &addr);
	gm_object_put(obj); /* the region holds it now */
	return err;
}

/* Is all of [va, va+len) registered in place? */
static int check_in_place(struct gm_as *as, uint64_t va, uint64_t len)
{
	int err;

	gm_rwlock_rdlock(&as->lock, GM_RANK_AS);
	err = gm_range_check(as, va, len, 0);
	for (uint64_t at = va; !err && at < va + len;) {
		struct gm_region *r = gm_region_find(as, at);

		if (!(r->obj->flags & GM_OBJECT_REGISTERED))
			err = -EINVAL;
		at = gm_region_end(r);
	}
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	return err;
}

int gm_as_unregister(struct gm_as *as, uint64_t va, uint64_t len)
{
	int err;

	if (!as || !gm_aligned(va | len, GM_PAGE_SIZE))
		return -EINVAL;
	err = gm_enter();
	if (!err)
		err = check_in_place(as, va, len);
	/* Most of it before the address space is locked for good: faults go on meanwhile. */
	if (!err)
		err = gm_as_home(as, va, len);
	return err ? err : gm_as_unmap(as, (void *)(uintptr_t)va, len);
}
