// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * hnodes: device memory, and which blocks have pages there, in order of recency.
 *
 * Theory. An hnode is any number of physical ranges, each with a buddy allocator of
 * its own, and a list of residents: blocks with pages here, coldest first. A block
 * is hot when a device faulted on it or a hint moved it here. Residents that are
 * wholly pinned stand on a list of their own, so that looking for a victim never
 * wades through them, and "everything is pinned" is an empty list. Those of an account
 * stand on a list of its own besides, in the same order (account.c).
 *
 * Locking. hnode->lock, a spinlock, over frames and lists. A resident belongs to its
 * block; it is linked, moved and unlinked by whoever holds the block's lock, under
 * the hnode's. Frames are freed only after every pmap has released them (I5): that
 * is the caller's promise.
 */
#include "core/core.h"

void gm_hnode_init(struct gm_hnode *h)
{
	gm_spin_init(&h->lock);
	gm_list_init(&h->cold);
	gm_list_init(&h->pinned_list);
	h->background = true;
	h->work.fn = gm_evict_work;
}

void gm_hnode_destroy(struct gm_hnode *h)
{
	while (h->ranges) {
		struct gm_physmem *range = h->ranges;

		h->ranges = range->next;
		gm_bad_free(range);
		gm_buddy_destroy(&range->buddy);
		gm_os_free(range, sizeof(*range));
	}
	gm_spin_destroy(&h->lock);
}

/* A context comes: not while the device is going. */
int gm_hnode_attached(struct gm_dev *dev)
{
	int err;

	gm_spin_lock(&dev->hnode.lock, GM_RANK_HNODE);
	err = dev->hnode.closing ? -ENODEV : 0;
	dev->contexts += !err;
	gm_spin_unlock(&dev->hnode.lock, GM_RANK_HNODE);
	return err;
}

void gm_hnode_detached(struct gm_dev *dev)
{
	gm_spin_lock(&dev->hnode.lock, GM_RANK_HNODE);
	dev->contexts--;
	gm_spin_unlock(&dev->hnode.lock, GM_RANK_HNODE);
}

/* Watermarks as tuned, or a 64th and a 32nd of what may be used. hnode locked. */
void gm_hnode_set_marks(struct gm_dev *dev)
{
	struct gm_hnode *h = &dev->hnode;
	uint64_t low = dev->tunables.low >> GM_PAGE_SHIFT;
	uint64_t high = dev->tunables.high >> GM_PAGE_SHIFT;
	uint64_t all = h->limit ? GM_MIN(h->limit, h->total) : h->total;

	low = GM_MIN(low ? low : all / 64, all / 2);
	high = GM_MIN(high ? high : 2 * low, all / 2);
	gm_store(&h->low, GM_MIN(low, high));
	gm_store(&h->high, high);
}

/* Frames that may be had: free, and below the limit. With the hnode locked, else a hint. */
uint64_t gm_hnode_avail(const struct gm_hnode *h)
{
	uint64_t free = gm_load(&h->free), limit = gm_load(&h->limit);
	uint64_t used = gm_load(&h->total) - free;

	if (!limit)
		return free;
	return used < limit ? GM_MIN(free, limit - used) : 0;
}

/*
 * Where a block that lies @off frames into its object would best be: as far behind the frame that
 * the object would begin in; or @at frames into an extent of 1 << @in. Whoever comes second, be
 * it at once, is to see where the first one went: so obj->near is read and written in one hold of
 * the lock.
 */
struct wish {
	struct gm_object *obj;
	uint64_t off, at;
	unsigned int in;
};

static bool take(struct gm_hnode *h, unsigned int order, uint64_t *pfn)
{
	bool found = false;

	for (struct gm_physmem *r = h->ranges; r && !found; r = r->next)
		found = !r->closing && gm_buddy_alloc(&r->buddy, order, pfn);
	return found;
}

/* The best that there is. */
static bool take_wish(struct gm_hnode *h, const struct wish *wish, uint64_t *pfn)
{
	uint64_t near = gm_load(&wish->obj->near) + wish->off;
	bool found = false;

	for (struct gm_physmem *r = h->ranges; r && !found; r = r->next)
		found = !r->closing && gm_buddy_alloc_at(&r->buddy, GM_BLOCK_ORDER, near);
	if (found)
		*pfn = near;
	for (unsigned int in = wish->in; !found && in >= GM_BLOCK_ORDER; in--)
		for (struct gm_physmem *r = h->ranges; r && !found; r = r->next)
			found = !r->closing &&
				gm_buddy_alloc_in(&r->buddy, GM_BLOCK_ORDER, in,
						  wish->at & ((1ULL << in) - 1), pfn);
	if (found)
		gm_store(&wish->obj->near, *pfn - wish->off);
	return found;
}

static bool alloc_any(struct gm_dev *dev, const struct gm_object *obj, unsigned int order,
		      const struct wish *wish, uint64_t *pfn, struct gm_charge **limit)
{
	struct gm_hnode *h = &dev->hnode;
	uint64_t n = 1ULL << order;
	bool found = false, may;

	gm_spin_lock(&h->lock, GM_RANK_HNODE);
	*limit = gm_at_limit(obj, dev, n);
	may = !h->closing && !*limit && gm_hnode_avail(h) >= n;
	if (may)
		found = wish ? take_wish(h, wish, pfn) : take(h, order, pfn);
	if (found) {
		gm_store(&h->free, h->free - n);
		gm_charge_add(obj, dev, (int64_t)n);
	}
	gm_spin_unlock(&h->lock, GM_RANK_HNODE);
	return found;
}

/* What looks like one extent may lie in several ranges that adjoin. */
void gm_hnode_free(struct gm_dev *dev, const struct gm_object *obj, uint64_t pfn, uint64_t n)
{
	struct gm_hnode *h = &dev->hnode;
	struct gm_physmem *r;
	uint64_t part;

	gm_spin_lock(&h->lock, GM_RANK_HNODE);
	gm_store(&h->free, h->free + n);
	gm_charge_add(obj, dev, -(int64_t)n);
	for (; n; pfn += part, n -= part) {
		for (r = h->ranges; r && (pfn < r->buddy.begin || pfn >= r->buddy.end); r = r->next)
			;
		gm_bug_on(!r);
		part = GM_MIN(n, r->buddy.end - pfn);
		gm_buddy_free(&r->buddy, pfn, part);
	}
	gm_spin_unlock(&h->lock, GM_RANK_HNODE);
}

#define HELD_MAX 8U

/* Frames that somebody else still holds (aperture.c) are passed over, though not many. */
static bool alloc_idle(struct gm_dev *dev, const struct gm_object *obj, unsigned int order,
		       const struct wish *wish, uint64_t *pfn, struct gm_charge **limit)
{
	uint64_t held[HELD_MAX];
	unsigned int n = 0;
	bool found;

	while ((found = alloc_any(dev, obj, order, wish, pfn, limit)) && gm_load(&dev->apertures) &&
	       !gm_aperture_idle(dev, *pfn, 1ULL << order)) {
		held[n++] = *pfn;
		found = false;
		if (n == HELD_MAX)
			break;
	}
	while (n--)
		gm_hnode_free(dev, obj, held[n], 1ULL << order);
	return found;
}

/*
 * An aligned extent of 1 << order frames, charged; false if there is none, an account may
 * not have it (*limit says whose, else NULL), the device is at its limit, or it is going.
 */
bool gm_hnode_alloc(struct gm_dev *dev, const struct gm_object *obj, unsigned int order,
		    uint64_t *pfn, struct gm_charge **limit)
{
	return alloc_idle(dev, obj, order, NULL, pfn, limit);
}

/*
 * The same, for a whole block. For a device with larger leaves it lies, if it can, as the object
 * does: behind the block before it, or else so that there is room for the others. obj->near
 * is a hint: what it leads to is free or not.
 */
bool gm_hnode_alloc_block(struct gm_dev *dev, const struct gm_block *block, uint64_t *pfn,
			  struct gm_charge **limit)
{
	uint64_t large = dev->mmu->pgsize_bitmap >> GM_PAGE_SHIFT >> (GM_BLOCK_ORDER + 1);
	uint64_t off = block->index << GM_BLOCK_ORDER, size = block->obj->size >> GM_PAGE_SHIFT;
	struct wish wish;

	if (!large)
		return gm_hnode_alloc(dev, block->obj, GM_BLOCK_ORDER, pfn, limit);
	wish.obj = block->obj;
	wish.off = off;
	wish.in = gm_log2(large) + GM_BLOCK_ORDER + 1; /* no more than a leaf, nor the object */
	wish.in = GM_MIN(wish.in, GM_MAX(gm_log2(size), GM_BLOCK_ORDER));
	wish.at = off & ((1ULL << wish.in) - 1);
	return alloc_idle(dev, block->obj, GM_BLOCK_ORDER, &wish, pfn, limit);
}

/* ------------------------------------------------------------------- residents */

struct gm_resident *gm_resident_find(struct gm_block *block, const struct gm_dev *dev)
{
	struct gm_resident *res = block->residents;

	while (res && res->dev != dev)
		res = res->next;
	return res;
}

/*
 * The block's resident for @dev, made if there was none (then it counts no page yet). NULL: no
 * memory.
 */
struct gm_resident *gm_resident_get(struct gm_block *block, struct gm_dev *dev)
{
	struct gm_resident *res = gm_resident_find(block, dev);

	if (res)
		return res;
	res = gm_pool_get(&gm_core.residents);
	if (!res)
		return NULL;
	gm_list_init(&res->lru);
	for (unsigned int i = 0; i < GM_NR_PAYERS; i++)
		gm_list_init(&res->own[i]);
	res->block = block;
	res->dev = dev;
	res->nr = res->nr_pinned = 0;
	res->copies = NULL;
	res->word = 0;
	res->next = block->residents;
	block->residents = res;
	return res;
}

/* Put it where it belongs: nowhere, among the pinned, or at the hot end. hnode locked. */
static void resident_place(struct gm_resident *res, bool hot)
{
	struct gm_hnode *h = &res->dev->hnode;

	if (!gm_list_empty(&res->lru)) {
		if (h->cursor == &res->lru)
			h->cursor = res->lru.next;
		gm_list_del(&res->lru);
		for (unsigned int i = 0; i < GM_NR_PAYERS; i++)
			gm_list_del(&res->own[i]);
		h->blocks--;
	}
	if (!res->nr)
		return;
	h->blocks++;
	if (res->nr_pinned == res->nr) {
		gm_list_add_tail(&res->lru, &h->pinned_list);
		return;
	}
	gm_list_add_tail(&res->lru, hot ? &h->cold : h->cold.next);
	for (unsigned int i = 0; i < GM_NR_PAYERS; i++) {
		struct gm_charge *charge = gm_charge_of(res->block->obj, res->dev, i);

		if (charge)
			gm_list_add_tail(&res->own[i], hot ? &charge->cold : charge->cold.next);
	}
}

/*
 * @pages more of the block are on @dev, and its entries say so; @pinned more of these are
 * pinned; may be negative.
 */
void gm_resident_count(struct gm_block *block, struct gm_dev *dev, int pages, int pinned)
{
	struct gm_resident *res = gm_resident_find(block, dev);
	struct gm_hnode *h = &dev->hnode;
	bool whole;

	/*
	 * Of larger units each counts as a whole; of those that are on their way here some may not
	 * count yet.
	 */
	if (dev->unit > 1)
		pinned = (int)GM_MIN(gm_units_pinned(block, dev),
				     (unsigned int)((int)res->nr + pages)) -
			 (int)res->nr_pinned;
	gm_spin_lock(&h->lock, GM_RANK_HNODE);
	whole = res->nr && res->nr_pinned == res->nr;
	res->nr = (uint16_t)((int)res->nr + pages);
	res->nr_pinned = (uint16_t)((int)res->nr_pinned + pinned);
	block->nr_dev = (uint16_t)((int)block->nr_dev + pages);
	h->resident = (uint64_t)((int64_t)h->resident + pages);
	h->pinned = (uint64_t)((int64_t)h->pinned + pinned);
	for (unsigned int i = 0; i < GM_NR_PAYERS; i++) {
		struct gm_charge *charge = gm_charge_of(block->obj, dev, i);

		if (charge)
			charge->resident = (uint64_t)((int64_t)charge->resident + pages);
	}
	gm_assert(res->nr <= GM_BLOCK_PAGES && res->nr_pinned <= res->nr);
	if (gm_list_empty(&res->lru) || !res->nr || whole != (res->nr_pinned == res->nr))
		resident_place(res, true);
	gm_spin_unlock(&h->lock, GM_RANK_HNODE); /* from here on the device may go */
	if (!block->nr_dev)
		gm_block_no_readers(block); /* what they read was released before it went */
}

/* The block was used (to the hot end), or will not be (to the cold end). */
void gm_resident_touch(struct gm_block *block, struct gm_dev *dev, bool hot)
{
	struct gm_resident *res = gm_resident_find(block, dev);

	if (!res)
		return;
	gm_spin_lock(&dev->hnode.lock, GM_RANK_HNODE);
	resident_place(res, hot);
	gm_spin_unlock(&dev->hnode.lock, GM_RANK_HNODE);
}

/* Free residents that count no page. */
void gm_resident_put_idle(struct gm_block *block)
{
	struct gm_resident **link = &block->residents, *res;

	while ((res = *link)) {
		if (res->nr) {
			link = &res->next;
			continue;
		}
		gm_assert(gm_list_empty(&res->lru) && !res->copies);
		*link = res->next;
		gm_pool_put(&gm_core.residents, res);
	}
}

/*
 * The next block of the walk at the cursor, not locked; NULL: the end of the list. Its memory
 * is a block's for ever (pool.c), though it may be another's by the time it is locked. A block
 * that moves in the lists meanwhile may be missed. gm_core.lock held: nobody else walks.
 */
struct gm_block *gm_resident_walk(struct gm_hnode *h, struct gm_list *list)
{
	struct gm_block *block = NULL;

	gm_spin_lock(&h->lock, GM_RANK_HNODE);
	if (!h->cursor)
		h->cursor = list->next;
	if (h->cursor != list) {
		block = gm_container(h->cursor, struct gm_resident, lru)->block;
		h->cursor = h->cursor->next;
	} else {
		h->cursor = NULL;
	}
	gm_spin_unlock(&h->lock, GM_RANK_HNODE);
	return block;
}

/* The walk ends before the list does. */
void gm_resident_walk_end(struct gm_hnode *h)
{
	gm_spin_lock(&h->lock, GM_RANK_HNODE);
	h->cursor = NULL;
	gm_spin_unlock(&h->lock, GM_RANK_HNODE);
}
