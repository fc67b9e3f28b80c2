// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Regions: addresses of an address space onto ranges of objects.
 *
 * Theory. Regions are kept in an array sorted by address: a lookup is a binary search,
 * and map and unmap, which are rare, move pointers. An operation on a part of a region
 * first carves the region at the ends of the part, so that everything after that deals
 * with whole regions, and no leaf of a device's page table crosses an end. That a
 * region has been carved is seen by nobody.
 *
 * Unmap takes the object's maps_lock for writing while it releases pmaps, unmaps the
 * CPU and unlinks the region: an eviction that comes from the block's side either
 * sees the region and waits, or does not see it any more. If a step fails the region
 * stays; devices that lost a mapping fault and get it again.
 *
 * Locking: as->lock for writing over everything here that changes something.
 */
#include "core/core.h"

/* --------------------------------------------------------------------------- looking up */

/* Index of the first region that ends behind @va. */
static uint32_t lower(const struct gm_as *as, uint64_t va)
{
	uint32_t lo = 0, hi = as->nr_regions;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (gm_region_end(as->regions[mid]) <= va)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct gm_region *gm_region_find(struct gm_as *as, uint64_t va)
{
	uint32_t i = lower(as, va);

	return i < as->nr_regions && as->regions[i]->va <= va ? as->regions[i] : NULL;
}

bool gm_as_covers(struct gm_as *as, uint64_t va)
{
	bool covers;

	gm_rwlock_rdlock(&as->lock, GM_RANK_AS);
	covers = gm_region_find(as, va) != NULL;
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	return covers;
}

/* The first address of [va, end) where anything is mapped, or @end. */
uint64_t gm_region_after(const struct gm_as *as, uint64_t va, uint64_t end)
{
	uint32_t i = lower(as, va);

	return i < as->nr_regions && as->regions[i]->va < end ? GM_MAX(va, as->regions[i]->va)
							      : end;
}

uint64_t gm_as_next(struct gm_as *as, uint64_t va, uint64_t end, uint64_t *len)
{
	gm_rwlock_rdlock(&as->lock, GM_RANK_AS);
	va = gm_region_after(as, va, end);
	if (va < end)
		*len = GM_MIN(end, gm_region_end(gm_region_find(as, va))) - va;
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	return va;
}

/*
 * Is all of [va, va+len) mapped, with at least @prot? -EINVAL: not a range; -EFAULT: it
 * has a hole; -EACCES.
 */
int gm_range_check(struct gm_as *as, uint64_t va, uint64_t len, uint32_t prot)
{
	uint64_t end = va + len;
	struct gm_region *r;

	if (!len || end < va)
		return -EINVAL;
	while (va < end) {
		r = gm_region_find(as, va);
		if (!r)
			return -EFAULT;
		if (prot & ~r->prot)
			return -EACCES;
		va = gm_region_end(r);
	}
	return 0;
}

/*
 * The piece that begins at page-aligned *va, up to @end; *va moves on. False: no more, or a hole.
 */
bool gm_piece_next(struct gm_as *as, uint64_t *va, uint64_t end, struct gm_piece *piece)
{
	struct gm_region *r = *va < end ? gm_region_find(as, *va) : NULL;
	uint64_t off, len;

	if (!r)
		return false;
	off = *va - r->va + r->offset;
	len = GM_MIN(end, gm_region_end(r)) - *va;
	len = GM_MIN(len, GM_BLOCK_SIZE - (off & (GM_BLOCK_SIZE - 1)));
	piece->region = r;
	piece->index = off >> GM_BLOCK_SHIFT;
	piece->first = (unsigned int)(off >> GM_PAGE_SHIFT & (GM_BLOCK_PAGES - 1));
	piece->n = (unsigned int)((len + GM_PAGE_SIZE - 1) >> GM_PAGE_SHIFT);
	*va += len;
	return true;
}

/* ------------------------------------------------------------------------------ regions */

/* Room for one region more. */
static int reserve_slot(struct gm_as *as)
{
	uint32_t max = as->max_regions ? 2 * as->max_regions : 512;
	struct gm_region **regions;

	if (as->nr_regions < as->max_regions)
		return 0;
	regions = gm_os_alloc(max * sizeof(*regions));
	if (!regions)
		return -ENOMEM;
	for (uint32_t i = 0; i < as->nr_regions; i++)
		regions[i] = as->regions[i];
	if (as->regions)
		gm_os_free(as->regions, as->max_regions * sizeof(*regions));
	as->regions = regions;
	as->max_regions = max;
	return 0;
}

static void insert(struct gm_as *as, struct gm_region *region)
{
	uint32_t at = lower(as, region->va);

	for (uint32_t i = as->nr_regions++; i > at; i--)
		as->regions[i] = as->regions[i - 1];
	as->regions[at] = region;
}

static void erase(struct gm_as *as, const struct gm_region *region)
{
	uint32_t at = lower(as, region->va);

	gm_bug_on(as->regions[at] != region);
	as->nr_regions--;
	for (uint32_t i = at; i < as->nr_regions; i++)
		as->regions[i] = as->regions[i + 1];
}

void gm_region_insert(struct gm_region *region)
{
	insert(region->as, region);
}

/* maps_lock held for writing */
static void link_region(struct gm_region *region)
{
	struct gm_object *obj = region->obj;

	region->prev = NULL;
	region->next = obj->regions;
	if (obj->regions)
		obj->regions->prev = region;
	obj->regions = region;
}

/* maps_lock held for writing */
void gm_region_unlink(struct gm_region *region)
{
	if (region->prev)
		region->prev->next = region->next;
	else
		region->obj->regions = region->next;
	if (region->next)
		region->next->prev = region->prev;
}

/* Make @high of what lies @cut bytes and more into @low. maps_lock held for writing. */
static int cut_region(struct gm_as *as, struct gm_region *low, struct gm_region *high, uint64_t cut)
{
	int err;

	*high = *low;
	high->host = NULL;
	high->va += cut;
	high->offset += cut;
	high->len -= cut;
	err = gm_attrs_cut(low, high->offset, &high->attrs);
	if (err)
		return err;
	low->len = cut;
	err = gm_os_region_split(low, high);
	if (err) {
		low->len += high->len;
		gm_attrs_free(high->attrs);
		return err;
	}
	gm_attrs_trim(low, high->offset);
	low->spare = 0;
	link_region(high);
	gm_object_get(low->obj);
	insert(as, high);
	return 0;
}

/*
 * See to it that a region begins at @va, if any covers it. The block there is locked
 * from the cutting of its leaves to that of the region, lest another address space's
 * fault enters a leaf across the cut in between.
 */
static int carve(struct gm_as *as, uint64_t va)
{
	struct gm_region *low = gm_region_find(as, va), *high;
	struct gm_block *block;
	uint64_t cut = low ? va - low->va : 0;
	int err;

	if (!cut)
		return 0;
	err = reserve_slot(as);
	if (err)
		return err;
	high = gm_pool_get(&gm_core.small);
	if (!high)
		return -ENOMEM;
	block = gm_block_find_or_hold(low->obj, (low->offset + cut) >> GM_BLOCK_SHIFT);
	if (block) {
		err = gm_split_leaf(low, block, va);
		gm_rwlock_wrlock(&low->obj->maps_lock, GM_RANK_MAPS);
	}
	if (!err)
		err = cut_region(as, low, high, cut);
	gm_rwlock_unlock(&low->obj->maps_lock, GM_RANK_MAPS);
	if (block)
		gm_block_unlock(block);
	if (err)
		gm_pool_put(&gm_core.small, high);
	return err;
}

int gm_as_carve(struct gm_as *as, uint64_t va)
{
	int err;

	gm_rwlock_wrlock(&as->lock, GM_RANK_AS);
	err = carve(as, va);
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	return err;
}

/* Check a range to be changed and make it whole regions. */
int gm_range_carve(struct gm_as *as, uint64_t va, uint64_t len)
{
	int err = gm_range_check(as, va, len, 0);

	for (uint64_t at = va; !err && at < va + len;) {
		struct gm_region *r = gm_region_find(as, at);

		uint64_t end = GM_MIN(va + len, gm_region_end(r));

		if (!gm_aligned(at | end, r->obj->granule))
			err = -EINVAL;
		at = end;
	}
	if (!err)
		err = carve(as, va);
	return err ? err : carve(as, va + len);
}

/* ---------------------------------------------------------------------------------- map */

static bool overlaps(const struct gm_as *as, const struct gm_region *region)
{
	uint32_t i = lower(as, region->va);

	return i < as->nr_regions && as->regions[i]->va < gm_region_end(region);
}

static void unmap_new(struct gm_region *region)
{
	if (gm_os_region_unmap(region, region->va, region->len))
		gm_os_warn("addresses stay taken: the host would not unmap them", NULL);
	gm_os_region_free(region);
	gm_pool_put(&gm_core.small, region);
}

/* One try: mapped by the host; an error with *@region set: the addresses are not good. */
static int map_once(const struct gm_region *like, bool fixed, struct gm_region **out)
{
	struct gm_as *as = like->as;
	struct gm_region *region = gm_pool_get(&gm_core.small);
	int err;

	*out = NULL;
	if (!region)
		return -ENOMEM;
	*region = *like;
	region->host = NULL;
	region->attrs = NULL;
	err = gm_os_region_map(region, fixed);
	if (err) {
		gm_pool_put(&gm_core.small, region);
		return err;
	}
	*out = region;
	/* Free for the host, but not for us: somebody unmapped it behind our back. */
	if (overlaps(as, region))
		return -EEXIST;
	return gm_va_take(as, region->va, region->len, region->prot);
}

/*
 * A region as @like says, with addresses that the host and all devices have given, and room
 * in the array; not linked, and the object not held for it. Unless they are @fixed,
 * what a device refuses stays mapped until others are found, or the host would choose the
 * same again.
 */
int gm_region_new(const struct gm_region *like, bool fixed, struct gm_region **out)
{
	struct gm_region *refused = NULL, *region;
	unsigned int tries = 0;
	int err;

	err = reserve_slot(like->as);
	if (err)
		return err;
	do {
		err = map_once(like, fixed, &region);
		if (err && region) {
			region->next = refused;
			refused = region;
		}
	} while (err == -EADDRINUSE && !fixed && ++tries < GM_VA_TRIES);
	while (refused) {
		struct gm_region *next = refused->next;

		unmap_new(refused);
		refused = next;
	}
	if (!err)
		*out = region;
	return err;
}

/* The reverse; the region is not linked. */
void gm_region_undo(struct gm_region *region)
{
	gm_va_give(region->as, region->va, region->len);
	unmap_new(region);
}

/*
 * Link a new region. If a device has touched its object it faults from the start. Linked
 * first, armed second, in one hold of maps_lock, for writing: a block that begins at the same
 * time either counts already or finds the region (gm_arm_block()).
 */
int gm_region_arm(struct gm_region *region)
{
	int err = 0;

	gm_object_adopt(region->obj, region->as);
	link_region(region);
	if (gm_load(&region->obj->nr_blocks))
		err = gm_os_cpu_arm(region, region->va, region->len);
	if (err)
		gm_region_unlink(region);
	return err;
}

static int map_locked(const struct gm_region *like, bool fixed, uint64_t *va)
{
	struct gm_object *obj = like->obj;
	struct gm_region *region;
	int err;

	err = gm_region_new(like, fixed, &region);
	if (err)
		return err;
	gm_rwlock_wrlock(&obj->maps_lock, GM_RANK_MAPS);
	err = gm_region_arm(region);
	gm_rwlock_unlock(&obj->maps_lock, GM_RANK_MAPS);
	if (err) {
		gm_region_undo(region);
		return err;
	}
	gm_object_get(obj);
	insert(like->as, region);
	*va = region->va;
	return 0;
}

static int map(struct gm_as *as, struct gm_object *obj, uint64_t offset, uint64_t len,
	       uint64_t spare, uint32_t prot, uint32_t flags, void **addr)
{
	uint64_t va;
	int err;

	if (!as || !obj || !addr || !len || (flags & ~GM_MAP_FIXED) ||
	    (prot & ~(GM_READ | GM_WRITE)) || !(prot & GM_READ))
		return -EINVAL;
	va = flags & GM_MAP_FIXED ? (uint64_t)(uintptr_t)*addr : 0;
	if (!gm_aligned(offset | len | va, obj->granule) || offset + len < len ||
	    offset + len > obj->size || va + len < va || ((flags & GM_MAP_FIXED) && !va))
		return -EINVAL;
	err = gm_enter();
	if (err)
		return err;
	gm_rwlock_wrlock(&as->lock, GM_RANK_AS);
	err = map_locked(
		&(struct gm_region){
			.as = as,
			.obj = obj,
			.va = va,
			.len = len,
			.offset = offset,
			.prot = prot,
			.spare = spare,
		},
		flags & GM_MAP_FIXED, &va);
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	if (!err)
		*addr = (void *)(uintptr_t)va;
	return err;
}

int gm_as_map(struct gm_as *as, struct gm_object *obj, uint64_t offset, uint64_t len, uint32_t prot,
	      uint32_t flags, void **addr)
{
	return map(as, obj, offset, len, 0, prot, flags, addr);
}

int gm_alloc(struct gm_as *as, uint64_t len, uint32_t flags, void **addr)
{
	uint64_t unit = flags & GM_OBJECT_HUGETLB ? GM_BLOCK_SIZE : GM_PAGE_SIZE;
	struct gm_object *obj;
	uint64_t whole;
	int err;

	if (!as || !addr || !len || (flags & ~GM_OBJECT_HUGETLB) || !gm_aligned(len, unit) ||
	    len > GM_OBJECT_MAX_SIZE)
		return -EINVAL;
	whole = gm_units_complete(len);
	err = gm_object_new(whole, flags, true, &obj);
	if (err)
		return err;
	err = map(as, obj, 0, whole, whole - len, GM_READ | GM_WRITE, 0, addr);
	gm_object_put(obj); /* the region holds it now */
	return err;
}

/* ------------------------------------------------------------------------------- unmap */

/*
 * Memory of gm_alloc() that nothing maps any more: free it. An error: without memory for an
 * array, or a device that lets go, some pages stay where they are, out of reach, until the
 * object goes.
 */
int gm_object_forget(struct gm_object *obj, uint64_t offset, uint64_t len)
{
	int err = 0;

	for (uint64_t end = offset + len; offset < end;) {
		uint64_t index = offset >> GM_BLOCK_SHIFT;
		uint64_t stop = GM_MIN(end, (index + 1) << GM_BLOCK_SHIFT);
		unsigned int first = (unsigned int)(offset >> GM_PAGE_SHIFT & (GM_BLOCK_PAGES - 1));
		unsigned int n = (unsigned int)((stop - offset) >> GM_PAGE_SHIFT);
		struct gm_block *block = gm_block_find_or_hold(obj, index);
		int failed = 0;

		if (block)
			failed = gm_discard(block, first, n);
		else
			gm_os_backing_free(obj, offset, stop - offset);
		gm_block_drop(obj, block);
		err = err ? err : failed;
		offset = stop;
	}
	return err;
}

/* Nothing maps it any more, and its host has unmapped it. */
void gm_region_drop(struct gm_region *region)
{
	gm_in_place_left(region, region->va, gm_region_end(region));
	gm_va_give(region->as, region->va, region->len);
	erase(region->as, region);
	gm_attrs_free(region->attrs);
	gm_os_region_free(region);
	gm_pool_put(&gm_core.small, region);
}

int gm_region_unmap(struct gm_as *as, struct gm_region *region)
{
	struct gm_object *obj = region->obj;
	uint64_t offset = region->offset, len = region->len;
	int err = 0;

	if (obj->flags & GM_OBJECT_REGISTERED)
		err = gm_region_home(region);
	if (err)
		return err;
	gm_rwlock_wrlock(&obj->maps_lock, GM_RANK_MAPS);
	for (struct gm_context *ctx = as->contexts; ctx && !err; ctx = ctx->next)
		err = gm_release_region(region, ctx, false, 0);
	if (!err)
		err = gm_os_region_unmap(region, region->va, region->len);
	if (!err)
		gm_region_unlink(region);
	gm_rwlock_unlock(&obj->maps_lock, GM_RANK_MAPS);
	if (err)
		return err;
	gm_region_drop(region);
	if (obj->anonymous && gm_load(&obj->refs) > 1)
		(void)gm_object_forget(obj, offset, len);
	gm_object_put(obj);
	return 0;
}

/* Tell every context; one that cannot change a mapping loses it. */
static int protect_devs(struct gm_as *as, struct gm_region *region, uint32_t prot)
{
	int err = 0;

	for (struct gm_context *ctx = as->contexts; ctx && !err; ctx = ctx->next) {
		err = gm_release_region(region, ctx, true, prot);
		if (err)
			err = gm_release_region(region, ctx, false, 0);
	}
	return err;
}

/*
 * The CPU is told last if the region becomes less, and first if it becomes more: what
 * fails half-way leaves no device with more than the region allows.
 */
static int protect_region(struct gm_as *as, struct gm_region *region, uint32_t prot)
{
	bool more = prot & ~region->prot;
	int err = 0;

	gm_rwlock_wrlock(&region->obj->maps_lock, GM_RANK_MAPS);
	if (!more)
		err = protect_devs(as, region, prot);
	if (!err)
		err = gm_os_region_protect(region, region->va, region->len, prot);
	if (!err)
		region->prot = prot;
	if (!err && more)
		(void)protect_devs(as, region, prot); /* what keeps less will fault */
	gm_rwlock_unlock(&region->obj->maps_lock, GM_RANK_MAPS);
	return err;
}

/* What gm_alloc() has added to what ends at @end goes the way of that. */
uint64_t gm_region_spare(struct gm_as *as, uint64_t end)
{
	struct gm_region *r = gm_region_find(as, end - 1);

	return r && gm_region_end(r) - r->spare == end ? r->spare : 0;
}

void gm_as_set_spare(struct gm_as *as, uint64_t end, uint64_t spare)
{
	struct gm_region *r;

	gm_rwlock_wrlock(&as->lock, GM_RANK_AS);
	r = gm_region_find(as, end - 1);
	if (r && gm_region_end(r) == end) /* else somebody was faster */
		r->spare = spare;
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
}

uint64_t gm_as_spare_in(struct gm_as *as, uint64_t end)
{
	struct gm_region *r;
	uint64_t spare;

	gm_rwlock_rdlock(&as->lock, GM_RANK_AS);
	r = gm_region_find(as, end - 1);
	spare = r && gm_region_end(r) == end ? r->spare : 0;
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	return spare;
}

uint64_t gm_as_spare(struct gm_as *as, uint64_t end)
{
	uint64_t spare;

	gm_rwlock_rdlock(&as->lock, GM_RANK_AS);
	spare = gm_region_spare(as, end);
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	return spare;
}

/* Carve [va, va+len) and do @fn to each region of it, in order, until one fails. */
static int for_range(struct gm_as *as, uint64_t va, uint64_t len,
		     int (*fn)(struct gm_as *as, struct gm_region *region, uint32_t arg),
		     uint32_t arg)
{
	uint64_t end = va + len;
	int err = gm_enter();

	if (err)
		return err;
	gm_rwlock_wrlock(&as->lock, GM_RANK_AS);
	end += len ? gm_region_spare(as, end) : 0;
	err = gm_range_carve(as, va, end - va);
	while (!err && va < end) {
		struct gm_region *r = gm_region_find(as, va);

		va = gm_region_end(r);
		err = fn(as, r, arg);
	}
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	return err;
}

static int unmap_one(struct gm_as *as, struct gm_region *region, uint32_t arg)
{
	(void)arg;
	return gm_region_unmap(as, region);
}

int gm_as_unmap(struct gm_as *as, void *addr, uint64_t len)
{
	uint64_t va = (uint64_t)(uintptr_t)addr;

	if (!as || !gm_aligned(va | len, GM_PAGE_SIZE))
		return -EINVAL;
	return for_range(as, va, len, unmap_one, 0);
}

int gm_as_protect(struct gm_as *as, void *addr, uint64_t len, uint32_t prot)
{
	uint64_t va = (uint64_t)(uintptr_t)addr;

	if (!as || !gm_aligned(va | len, GM_PAGE_SIZE) || (prot & ~(GM_READ | GM_WRITE)) ||
	    !(prot & GM_READ))
		return -EINVAL;
	return for_range(as, va, len, protect_region, prot);
}
