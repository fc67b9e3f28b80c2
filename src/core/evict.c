// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Eviction: making room on a device.
 *
 * Theory. The candidate is the coldest block that has a page on the device which is not
 * pinned; of these pages those go home that the device's policy says (policy.c). It may pass
 * the block over, which is the hottest then, and the next coldest is asked for. A fault that
 * finds no frame evicts directly; ahead of need a worker evicts from the low watermark up to
 * the high one.
 *
 * What WILLNEED was said of is not asked for at the hot end, until the hand has come by at the cold
 * one: or a policy that gives up what came last would give up what is said to be needed.
 *
 * No policy can keep it from an end. With each block passed over the pressure rises, and at
 * GM_PRESSURE_MAX nobody is asked: all of the candidate goes.
 *
 * An eviction can be called off: whoever wants the block sets block->willneed
 * without its lock; the evictor looks at it between copy and commit, and as nothing
 * is committed yet the pages simply stay (migrate.c). A victim that was called off,
 * or whose copy failed, goes to the hot end, so that the next try takes another.
 *
 * No endless retry. gm_reclaim() says -ENOSPC when nothing may be evicted: then
 * waiting cannot help. It says -EBUSY when candidates were all locked by others;
 * those may be waiting for the very block the caller has locked, so the caller lets
 * go of it before it tries again, and tries a bounded number of times (dev_fault.c).
 *
 * Nor must everything have an end. What a policy brings modestly (gm_policy_move.modest) comes
 * only if there is room, or something has gone cold by itself: gm_reclaim_cold() asks once.
 *
 * Limits. A block whose account is at its limit (account.c) makes room at that account's
 * cost alone, be the device full or not: its victim is the coldest of the account's own. Whether
 * it is so is for the allocation to say which failed (gm_at_limit()), and is not asked again: by
 * then others may have given back frames, and a neighbour's block would go for nothing. The
 * account has a list of its own, so the blocks of others are never walked past; on either list
 * what is passed over is locked by somebody, and a thread locks two blocks at most, or it is
 * wanted, and there is a limit to these. So a search is bounded by the threads at work, not by the
 * blocks on the device.
 *
 * Locking. The caller may hold the lock of one block (@self). A victim is locked by
 * trylock under the hnode's spinlock, which keeps its resident, hence the block, in
 * existence; the spinlock is dropped before anything moves (I6).
 */
#include "core/core.h"
#include "core/trace.h"

#define VICTIMS_TRIED 8U /* failed evictions before the caller hears of it */
#define WANTED_MAX 8U /* wanted blocks passed over at the hot end, until the search is given up */

/* Are there @want frames below the limit of @charge by now, or on the device? hnode locked. */
static bool has_room(struct gm_dev *dev, const struct gm_charge *charge, uint64_t want)
{
	return want && (charge ? gm_charge_room(charge, dev) : gm_hnode_avail(&dev->hnode)) >= want;
}

/* Are there frames in use that are no block's yet, nor the caller's? hnode locked. */
static bool in_others_hands(const struct gm_hnode *h, const struct gm_charge *charge,
			    uint64_t in_hand)
{
	return charge ? charge->resident + in_hand < charge->used
		      : h->free + h->resident + in_hand < h->total;
}

/*
 * The coldest block, or the hottest that is not wanted, of @charge if there is one, that is not
 * locked; it returns locked. None: 0 if the account has room by now; -EBUSY if the device has, or
 * others hold the lock of a block, or frames that are no block's yet; they will be soon, or free.
 */
static struct gm_block *pick_victim(struct gm_dev *dev, struct gm_charge *charge,
				    const struct gm_block *self, uint64_t want, uint64_t in_hand,
				    bool hottest, int *err)
{
	struct gm_hnode *h = &dev->hnode;
	struct gm_list *cold = charge ? &charge->cold : &h->cold;
	struct gm_block *victim = NULL;
	struct gm_list *l;
	unsigned int wanted = 0;
	bool room;

	gm_spin_lock(&h->lock, GM_RANK_HNODE);
	room = has_room(dev, charge, want);
	*err = h->closing				     ? -ENODEV
	       : charge && room				     ? 0
	       : room || in_others_hands(h, charge, in_hand) ? -EBUSY
							     : -ENOSPC;
	for (l = hottest ? cold->prev : cold->next; *err && l != cold && !victim;
	     l = hottest ? l->prev : l->next) {
		struct gm_resident *res = charge ? gm_resident_of(charge, l)
						 : gm_container(l, struct gm_resident, lru);
		struct gm_block *block = res->block;

		if (hottest && gm_load(&block->wanted)) {
			if (++wanted == WANTED_MAX)
				break;
			continue;
		}
		if (block == self)
			continue;
		if (gm_mutex_trylock(&block->lock, GM_RANK_BLOCK))
			victim = block;
		else
			*err = -EBUSY;
	}
	gm_spin_unlock(&h->lock, GM_RANK_HNODE);
	return victim;
}

static struct gm_as *charged_as(struct gm_block *block)
{
	struct gm_as *as;

	/*
	 * The address space is not locked: it cannot go while the block is, for its
	 * counters are read and freed only after its regions were unmapped and their
	 * blocks, one by one, locked. Only objects with a name outlive their regions;
	 * evictions of those are charged to the device alone.
	 */
	gm_rwlock_rdlock(&block->obj->maps_lock, GM_RANK_MAPS);
	as = block->obj->anonymous && block->obj->regions ? block->obj->regions->as : NULL;
	gm_rwlock_unlock(&block->obj->maps_lock, GM_RANK_MAPS);
	return as;
}

/* Pages of the block that go if it is evicted. */
static uint32_t evictable(struct gm_block *block, const struct gm_dev *dev)
{
	const struct gm_resident *res = gm_resident_find(block, dev);

	return res->nr - res->nr_pinned;
}

static void trace_evict(const struct gm_block *block, const struct gm_dev *dev, struct gm_as *as,
			bool direct, uint32_t pages, uint64_t begin, int err)
{
	struct gm_event ev = {
		.kind = GM_EVENT_EVICT,
		.why = GM_WHY_EVICT,
		.as = as,
		.obj = block->obj,
		.offset = block->index << GM_BLOCK_SHIFT,
		.len = GM_BLOCK_SIZE,
		.pages = pages,
		.n = direct,
		.from = gm_dev_node(dev),
		.to = GM_NODE_HOST,
	};

	gm_trace_end_at(&ev, begin, err);
}

/* Which pages are to go; NULL: all that may. False: none, the block is passed over. */
static bool ask(struct gm_block *block, struct gm_dev *dev, uint64_t want, unsigned int pressure,
		bool hottest, bool modest, struct gm_policy_victims *victims,
		const struct gm_mask **mask)
{
	const struct gm_resident *res = gm_resident_find(block, dev);
	struct gm_mask cut;
	unsigned int n;

	*mask = NULL;
	victims->hottest = victims->stays = 0;
	if (pressure >= GM_PRESSURE_MAX)
		return true;
	if (!hottest)
		gm_store(&block->wanted, 0);
	gm_policy_evict(block, dev, want, pressure, hottest, modest, victims);
	if (gm_mask_count(&victims->probe, 0, GM_BLOCK_PAGES))
		(void)gm_unmap_mask(block, dev, &victims->probe, &cut); /* whole leaves */
	n = gm_mask_count(&victims->go, 0, GM_BLOCK_PAGES);
	if (n && n < (uint32_t)(res->nr - res->nr_pinned))
		*mask = &victims->go;
	return n;
}

/* @mask: these pages; NULL: all that may go. @stays: it keeps its place in the list. */
static int evict_pages(struct gm_block *block, struct gm_dev *dev, const struct gm_mask *mask,
		       bool stays, bool direct)
{
	struct gm_home how = {
		.dev = dev,
		.as = charged_as(block),
		.why = GM_WHY_EVICT,
		.skip_pinned = true,
		.yields = true,
		.mask = mask,
	};
	uint64_t begin = gm_os_now_ns();
	bool traced = gm_tracing(GM_EVENT_EVICT);
	uint32_t pages = !traced ? 0
			 : mask	 ? gm_mask_count(mask, 0, GM_BLOCK_PAGES)
				 : evictable(block, dev);
	int err;

	err = gm_migrate_home(block, 0, GM_BLOCK_PAGES, &how);
	/* What is left has earned it for a while, or nothing can be had of it now. */
	if (err || (mask && !stays))
		gm_resident_touch(block, dev, true);
	if (err) {
		gm_count(dev, how.as, evictions_cancelled, 1);
	} else {
		gm_count(dev, how.as, evictions, 1);
		gm_count(dev, how.as, evictions_direct, direct);
	}
	gm_count(dev, how.as, ns_evict, gm_os_now_ns() - begin);
	if (traced)
		trace_evict(block, dev, how.as, direct, pages, begin, err);
	return err;
}

/*
 * Evict from one block of @dev, other than @self, which wants @want frames more, for a caller
 * who has @in_hand frames that are no block's yet. If what kept him from more was the limit of an
 * account, @charge is that: then it is one of that account. 0: something went, or the account is
 * no longer at its limit; -ENOSPC: nothing may go; -EBUSY: all that may is in others' hands, or
 * there is room by now; -ENODEV: the device is going; else the error of the last victim that
 * could not be moved.
 *
 * @in_order: the coldest block goes, as a whole, and the policy is not asked. So it is for hints,
 * whose range must not push out its own beginning while there is anything colder; and for
 * memory for page tables, which comes back when whole blocks go.
 */
int gm_reclaim(struct gm_dev *dev, struct gm_charge *charge, const struct gm_block *self,
	       uint64_t want, uint64_t in_hand, bool in_order)
{
	unsigned int pressure = in_order ? GM_PRESSURE_MAX : 0;
	bool hottest = false;
	int err = 0;

	for (unsigned int i = 0; i < VICTIMS_TRIED;) {
		int none;
		struct gm_block *victim = pick_victim(dev, charge, self, want, in_hand, hottest,
						      &none);
		struct gm_policy_victims victims gm_uninitialized;
		const struct gm_mask *mask;

		/* WILLNEED was said of all that may go. */
		if (!victim && hottest && none == -ENOSPC) {
			hottest = false;
			pressure++;
			continue;
		}
		if (!victim)
			return err && none == -ENOSPC ? err : none;
		if (!ask(victim, dev, want, pressure, hottest, false, &victims, &mask)) {
			pressure++;
			hottest = victims.hottest;
			if (!victims.stays)
				gm_resident_touch(victim, dev, true);
			gm_block_unlock(victim);
			continue;
		}
		i++;
		err = evict_pages(victim, dev, mask, victims.stays, self != NULL);
		gm_block_unlock(victim);
		if (!err)
			return 0;
		if (err == -EAGAIN) /* called off */
			err = -EBUSY;
	}
	return err;
}

/*
 * Is there room for @n pages of @self's block, at nobody's cost? Room that background eviction
 * would make anew is none: it knows how to press. If there is not, the policy is asked about the
 * coldest block, once, and what it lets go of goes.
 */
bool gm_reclaim_cold(struct gm_dev *dev, const struct gm_block *self, uint64_t n)
{
	struct gm_hnode *h = &dev->hnode;
	uint64_t want = n + (gm_load(&h->background) ? gm_load(&h->low) : 0);
	struct gm_policy_victims victims gm_uninitialized;
	const struct gm_mask *mask;
	struct gm_block *victim;
	struct gm_charge *limit = gm_at_limit(self->obj, dev, n);
	int none, err = -EBUSY;

	if (!limit && gm_hnode_avail(h) >= want)
		return true;
	victim = pick_victim(dev, limit, self, 0, 0, false, &none);
	if (!victim)
		return false;
	if (ask(victim, dev, n, 0, false, true, &victims, &mask))
		err = evict_pages(victim, dev, mask, victims.stays, true);
	else if (!victims.stays)
		gm_resident_touch(victim, dev, true);
	gm_block_unlock(victim);
	return !err && !gm_at_limit(self->obj, dev, n) && gm_hnode_avail(h) >= want;
}

/* A limit was lowered: what @charge has above it goes, as far as it may. */
void gm_reclaim_charge(struct gm_dev *dev, struct gm_charge *charge)
{
	uint64_t limit = gm_load(&charge->limit);

	while (limit && gm_load(&charge->used) > limit &&
	       !gm_reclaim(dev, charge, NULL, 0, 0, false))
		;
}

/* The same for what the device has above its own. */
void gm_reclaim_limit(struct gm_dev *dev)
{
	struct gm_hnode *h = &dev->hnode;
	uint64_t limit = gm_load(&h->limit);

	while (limit && gm_load(&h->total) - gm_load(&h->free) > limit &&
	       !gm_reclaim(dev, NULL, NULL, 0, 0, false))
		;
}

/* Background eviction: until the high watermark is reached or nothing can be done. */
void gm_evict_work(struct gm_os_work *work)
{
	struct gm_dev *dev = gm_container(work, struct gm_dev, hnode.work);

	while (gm_hnode_avail(&dev->hnode) < gm_load(&dev->hnode.high) &&
	       !gm_reclaim(dev, NULL, NULL, 0, 0, false))
		;
}

/* After an allocation for a fault: is it time for background eviction? */
void gm_evict_kick(struct gm_dev *dev)
{
	struct gm_hnode *h = &dev->hnode;

	if (gm_load(&h->background) && gm_hnode_avail(h) < gm_load(&h->low))
		gm_os_work_schedule(&h->work);
}

static int drain_list(struct gm_dev *dev, struct gm_list *list, const struct gm_home *how)
{
	struct gm_block *block;
	int err = 0;

	while (!err && (block = gm_resident_walk(&dev->hnode, list))) {
		gm_mutex_lock(&block->lock, GM_RANK_BLOCK);
		if (block->obj && gm_resident_find(block, dev))
			err = gm_dev_gone(dev) ? gm_salvage(block, dev)
					       : gm_migrate_home(block, 0, GM_BLOCK_PAGES, how);
		gm_block_unlock(block);
	}
	gm_resident_walk_end(&dev->hnode);
	return err;
}

/*
 * Bring home what a device holds in @range, or all (NULL), pinned or not; the range or
 * the device is closing. A block that moves in the lists meanwhile may be missed: the
 * caller sees it by the frames in use. What a device that is gone cannot give any more is
 * lost. Stops at the first error. gm_core.lock held, no
 * address space's.
 */
int gm_drain(struct gm_dev *dev, struct gm_physmem *range)
{
	struct gm_home how = { .dev = dev, .why = GM_WHY_DRAIN };
	int err;

	if (range) {
		how.begin = range->buddy.begin;
		how.end = range->buddy.end;
	}
	err = drain_list(dev, &dev->hnode.cold, &how);
	return err ? err : drain_list(dev, &dev->hnode.pinned_list, &how);
}
