// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Poison: memory that has failed.
 *
 * Theory. A driver, or the host, says that one frame of a device's memory is bad. What was
 * in it is lost, and nothing else: the page is released from all pmaps and, in an aperture,
 * from the CPU, and its entry becomes BAD. Leaves around it are cut as for any page that
 * goes. Whoever touches a bad page gets -EHWPOISON, what is brought home, moved, mapped
 * or pinned around it leaves it out, and it is whole again, and zero, once its bytes are
 * dropped (DONTNEED, unmap, the end of the object): an entry without a frame has nothing
 * that could be bad. A kept host frame is older than the lost bytes, so it goes too.
 *
 * The frame is retired: it is neither free nor a page's, never allocated again, in no sum
 * but hnode.poisoned, and charged to nobody. A bit for it, in an array that a range has
 * from its first bad frame on, tells it from a frame that a fault has in hand.
 *
 * Where the device's unit is larger than a page (unit.c), only the page in the bad frame is
 * lost, and the rest of its unit goes home; the frames of the unit are retired together, for
 * none of them can be used without the others.
 *
 * Which page has a frame is not recorded anywhere, so it is searched for among the hnode's
 * residents. Frames that are in nobody's entry and not free, or whose block moved in the
 * lists while we looked, are looked for again, a bounded number of times.
 *
 * Everything that can fail comes before the commit (I4). A driver that fails to release
 * has the page as it was, and may say it again.
 *
 * A frame that has a replica (replica.c) is retired without a loss: the page is elsewhere.
 *
 * A page is lost too if its device is removed and cannot hand it over (remove.c).
 *
 * Locking. gm_core.lock over all, so ranges stay and nobody else walks; blocks are locked
 * one at a time, from the hnode's lists, with no lock of an hnode. As draining (evict.c).
 */
#include "core/move.h"

#define TRIES 1000U /* as many as a drain has; with gm_os_yield() about a second */

bool gm_frame_bad(const struct gm_physmem *range, uint64_t pfn)
{
	uint64_t i = pfn - range->buddy.begin;

	return range->bad && (range->bad[i / 64] >> (i % 64) & 1);
}

static size_t bad_size(const struct gm_physmem *range)
{
	return gm_round_up((range->buddy.end - range->buddy.begin + 7) / 8, GM_PAGE_SIZE);
}

/* What telling a range's bad frames costs. */
size_t gm_bad_bytes(const struct gm_physmem *range)
{
	return range->bad ? bad_size(range) : 0;
}

void gm_bad_free(struct gm_physmem *range)
{
	if (range->bad)
		gm_os_free(range->bad, bad_size(range));
	range->bad = NULL;
}

/* How many pages from @page on, before @end, are not bad. */
unsigned int gm_good_run(const struct gm_block *block, unsigned int page, unsigned int end)
{
	unsigned int n = 0;
	uint64_t e;

	while (page + n < end) {
		unsigned int len = gm_block_run(block, page + n, end, &e);

		if (gm_entry_state(e) == GM_BAD)
			break;
		n += len;
	}
	return n;
}

/* Huge pages of the host's are mapped as a whole or not at all. */
bool gm_block_unmappable(const struct gm_block *block)
{
	return block->obj->granule > GM_PAGE_SIZE &&
	       gm_good_run(block, 0, GM_BLOCK_PAGES) < GM_BLOCK_PAGES;
}

/*
 * A frame that is in use by nobody any more, @obj's if it was a page's, is out of it, and
 * the others of its unit, which are free. hnode locked.
 */
static void retire(struct gm_dev *dev, struct gm_physmem *range, const struct gm_object *obj,
		   uint64_t pfn)
{
	uint64_t first = gm_round_down(pfn, dev->unit);
	struct gm_hnode *h = &dev->hnode;

	for (uint64_t at = first; at < first + dev->unit; at++) {
		uint64_t i = at - range->buddy.begin;

		if (at != pfn) {
			gm_bug_on(!gm_buddy_take(&range->buddy, at));
			gm_store(&h->free, h->free - 1);
		}
		range->bad[i / 64] |= 1ULL << (i % 64);
	}
	range->nr_bad += dev->unit;
	h->poisoned += dev->unit;
	gm_store(&h->total, h->total - dev->unit);
	gm_charge_add(obj, dev, -1);
	gm_hnode_set_marks(dev);
}

/* @obj is NULL: nobody's page was in the frame. */
static void trace_poison(const struct gm_dev *dev, enum gm_why why, uint64_t pfn,
			 struct gm_object *obj, uint64_t off, uint64_t begin, int err)
{
	struct gm_event ev = {
		.kind = GM_EVENT_POISON,
		.why = why,
		.obj = obj,
		.offset = off,
		.va = pfn << GM_PAGE_SHIFT,
		.len = GM_PAGE_SIZE,
		.pages = obj ? 1 : 0,
		.from = gm_dev_node(dev),
		.to = GM_NODE_NONE,
	};

	gm_trace_end_at(&ev, begin, err);
}

/* Of a unit on its way to be free, a part may be so already: that can be looked at again. */
static bool unit_free(const struct gm_dev *dev, const struct gm_physmem *range, uint64_t pfn)
{
	uint64_t first = gm_round_down(pfn, dev->unit), at = first;

	while (at < first + dev->unit && gm_buddy_is_free(&range->buddy, at))
		at++;
	return at == first + dev->unit;
}

/* True: it was free, or is retired already. */
static bool retire_free(struct gm_dev *dev, struct gm_physmem *range, uint64_t pfn)
{
	struct gm_hnode *h = &dev->hnode;
	bool bad, taken;

	gm_spin_lock(&h->lock, GM_RANK_HNODE);
	bad = gm_frame_bad(range, pfn);
	taken = !bad && unit_free(dev, range, pfn);
	if (taken) {
		gm_buddy_take(&range->buddy, pfn);
		gm_store(&h->free, h->free - 1);
		retire(dev, range, NULL, pfn);
	}
	gm_spin_unlock(&h->lock, GM_RANK_HNODE);
	if (taken && gm_tracing(GM_EVENT_POISON))
		trace_poison(dev, GM_WHY_POISON, pfn, NULL, 0, gm_os_now_ns(), 0);
	return bad || taken;
}

/* The page that has entry @e is lost: what was kept for it goes. */
static void forget_kept(struct gm_block *block, unsigned int page, uint64_t e)
{
	if (!gm_entry_retained(e))
		return;
	block->nr_retained--;
	gm_retain_drop(block->obj, 1);
	gm_free_backing(block, page, 1);
}

/*
 * The bytes of a unit on @dev, which is gone, cannot be had: gm_home_from() has just failed
 * to copy it alone, so it is mapped nowhere, and the block is split.
 */
void gm_unit_lose(struct gm_block *block, struct gm_dev *dev, unsigned int first)
{
	uint64_t pfn = gm_entry_pfn(gm_block_entry(block, first));
	int pinned = 0;

	for (unsigned int page = first; page < first + dev->unit; page++) {
		uint64_t e = gm_block_entry(block, page);

		pinned += !!(e & GM_E_PINNED);
		forget_kept(block, page, e);
		if (gm_tracing(GM_EVENT_POISON))
			trace_poison(dev, GM_WHY_DRAIN, pfn + (page - first), block->obj,
				     gm_page_off(block, page), gm_os_now_ns(), 0);
	}
	gm_block_set(block, first, dev->unit, GM_BAD);
	gm_hnode_free(dev, block->obj, pfn, dev->unit);
	gm_policy_went(block, dev, first, dev->unit, GM_POLICY_DROP);
	/* Last: a device that holds nothing any more may be destroyed. */
	gm_resident_count(block, dev, -(int)dev->unit, -pinned);
}

/*
 * The page becomes BAD, and the rest of its unit, which is mapped nowhere, goes home. An error:
 * it is as it was.
 */
static int part(struct gm_block *block, struct gm_dev *dev, unsigned int page, uint64_t e)
{
	struct gm_home how = { .dev = dev, .why = GM_WHY_DRAIN };
	int err = 0;

	gm_block_set(block, page, 1, GM_BAD);
	if (dev->unit > 1)
		err = gm_home_from(block, dev, &how, page, page + 1);
	if (err)
		gm_block_set(block, page, 1, e);
	return err;
}

static int lose_page(struct gm_block *block, struct gm_dev *dev, struct gm_physmem *range,
		     unsigned int page, uint64_t e)
{
	bool traced = gm_tracing(GM_EVENT_POISON);
	uint64_t pfn = gm_entry_pfn(e), begin = traced ? gm_os_now_ns() : 0;
	int err;

	err = gm_block_split(block);
	if (!err)
		err = gm_unmap_dev(block, dev, page, 1);
	if (!err && range->cpu)
		err = gm_unmap_cpu(block, page, 1); /* who holds it keeps what it held */
	if (!err)
		err = part(block, dev, page, e);
	if (!err) {
		forget_kept(block, page, e);
		gm_policy_went(block, dev, page, 1, GM_POLICY_DROP);
		gm_resident_count(block, dev, -1, e & GM_E_PINNED ? -1 : 0);
		gm_spin_lock(&dev->hnode.lock, GM_RANK_HNODE);
		retire(dev, range, block->obj, pfn);
		gm_spin_unlock(&dev->hnode.lock, GM_RANK_HNODE);
		gm_resident_put_idle(block);
	}
	if (traced)
		trace_poison(dev, GM_WHY_POISON, pfn, block->obj, gm_page_off(block, page), begin,
			     err);
	return err;
}

/*
 * A replica was in the frame, which is nobody's now: its page is in host backing, and nothing is
 * lost.
 */
static void lose_replica(struct gm_dev *dev, struct gm_physmem *range, const struct gm_object *obj,
			 uint64_t pfn)
{
	gm_spin_lock(&dev->hnode.lock, GM_RANK_HNODE);
	retire(dev, range, obj, pfn);
	gm_spin_unlock(&dev->hnode.lock, GM_RANK_HNODE);
	if (gm_tracing(GM_EVENT_POISON))
		trace_poison(dev, GM_WHY_POISON, pfn, NULL, 0, gm_os_now_ns(), 0);
}

/* The page of a locked block that is in frame @pfn: 0, or an error; -ENOENT: it has none. */
static int lose_in_block(struct gm_block *block, struct gm_dev *dev, struct gm_physmem *range,
			 uint64_t pfn)
{
	unsigned int n;
	uint64_t e;
	int err;

	if (gm_replica_lose(block, dev, pfn, &err)) {
		if (!err)
			lose_replica(dev, range, block->obj, pfn);
		gm_resident_put_idle(block);
		return err;
	}
	for (unsigned int page = 0; page < GM_BLOCK_PAGES; page += n) {
		n = gm_block_run(block, page, GM_BLOCK_PAGES, &e);
		if (gm_entry_state(e) != GM_DEV || gm_entry_dev(e) != dev->index ||
		    pfn < gm_entry_pfn(e) || pfn >= gm_entry_pfn(e) + n)
			continue;
		page += (unsigned int)(pfn - gm_entry_pfn(e));
		err = lose_page(block, dev, range, page, gm_block_entry(block, page));
		gm_block_fold(block);
		return err;
	}
	return -ENOENT;
}

static int lose_in_list(struct gm_dev *dev, struct gm_physmem *range, struct gm_list *list,
			uint64_t pfn)
{
	struct gm_block *block;
	int err = -ENOENT;

	while (err == -ENOENT && (block = gm_resident_walk(&dev->hnode, list))) {
		gm_mutex_lock(&block->lock, GM_RANK_BLOCK);
		if (block->obj && gm_resident_find(block, dev))
			err = lose_in_block(block, dev, range, pfn);
		gm_block_unlock(block);
	}
	gm_resident_walk_end(&dev->hnode);
	return err;
}

/* gm_core.lock held. */
static int poison(struct gm_dev *dev, struct gm_physmem *range, uint64_t pfn)
{
	int err;

	if (!range->bad)
		range->bad = gm_os_alloc(bad_size(range));
	if (!range->bad)
		return -ENOMEM;
	for (unsigned int tries = 0; tries < TRIES; tries++) {
		if (tries)
			gm_os_yield(tries);
		if (retire_free(dev, range, pfn))
			return 0;
		err = lose_in_list(dev, range, &dev->hnode.cold, pfn);
		if (err == -ENOENT)
			err = lose_in_list(dev, range, &dev->hnode.pinned_list, pfn);
		if (err != -ENOENT)
			return err;
	}
	return -EBUSY;
}

int gm_dev_poison(struct gm_dev *dev, uint64_t pa)
{
	uint64_t pfn = pa >> GM_PAGE_SHIFT;
	struct gm_physmem *range;
	int err;

	if (!dev)
		return -EINVAL;
	err = gm_enter();
	if (err)
		return err;
	gm_mutex_lock(&gm_core.lock, GM_RANK_CORE);
	for (range = dev->hnode.ranges; range; range = range->next)
		if (pfn >= range->buddy.begin && pfn < range->buddy.end)
			break;
	err = range ? poison(dev, range, pfn) : -ENOENT;
	gm_mutex_unlock(&gm_core.lock, GM_RANK_CORE);
	return err;
}

/* gm_core.lock held. */
static int poison_cpu(uint64_t cpu)
{
	for (unsigned int i = 0; i < GM_MAX_DEVS; i++) {
		struct gm_dev *dev = gm_core.dev[i];

		for (struct gm_physmem *r = dev ? dev->hnode.ranges : NULL; r; r = r->next) {
			uint64_t n = r->buddy.end - r->buddy.begin;

			if (r->cpu && cpu >= r->cpu && cpu - r->cpu < n << GM_PAGE_SHIFT)
				return poison(dev, r,
					      r->buddy.begin + ((cpu - r->cpu) >> GM_PAGE_SHIFT));
		}
	}
	return -ENOENT;
}

int gm_aperture_poison(uint64_t cpu)
{
	int err = gm_enter();

	if (err)
		return err;
	/* Never waited for: who has it may be closing the aperture, and wait for the caller. */
	for (unsigned int tries = 0; tries < TRIES; tries++) {
		if (tries)
			gm_os_yield(tries);
		if (!gm_mutex_trylock(&gm_core.lock, GM_RANK_CORE))
			continue;
		err = poison_cpu(cpu);
		gm_mutex_unlock(&gm_core.lock, GM_RANK_CORE);
		return err;
	}
	return -EBUSY;
}
