// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Faults of a device: it touched a page that it has no translation for.
 *
 * Lock block -> move the piece to the device (evicting if it is full) -> map -> unlock; for
 * a device that maps host memory in place: bring the piece home, map it there.
 *
 * How much the piece is, is policy.c's to say, and of a device that counts its uses of host
 * memory in place whether anything moves at all; if the piece fails, the page alone is
 * tried, for the rest was only a guess. Servicing a fault twice is harmless (I8).
 *
 * Retries. -EBUSY from gm_reclaim() means that all victims are locked, perhaps by
 * faults that wait for our block; the block is unlocked before the next try, and
 * tries are counted. Every other error ends the fault at once.
 *
 * A page that goes back and forth is used in host memory, where the device can. Else it may be held
 * by another (pingpong.c): that is -EBUSY too, and at once, for to wait here would keep others from
 * the address space.
 *
 * Locking. The address space is read-locked from lookup to the end, so that the region
 * stays; faults of a batch in one block share one lock of it.
 */
#include "core/attr.h"
#include "core/fault.h"
#include "core/pingpong.h"

#define TRIES 256U

/*
 * Enter mappings; if the device lacks memory for its table, evict and try again. The
 * table's memory comes back as its entries go, so this ends with the last victim.
 */
int gm_map_evicting(gm_map_fn *map, struct gm_context *ctx, struct gm_region *region,
		    struct gm_block *block, unsigned int first, unsigned int n)
{
	unsigned int tries = 0;
	int err;

	while ((err = map(ctx, region, block, first, n)) == -ENOSPC && tries++ < TRIES) {
		err = gm_reclaim(ctx->dev, NULL, block, 0, 0, true);
		if (err)
			break;
	}
	return err;
}

/* Where a device's address lies, and the window that shows it. */
static int locate(struct gm_context *ctx, uint64_t dev_va, uint32_t access, struct gm_place *place)
{
	place->window = gm_window_at_dev(ctx, dev_va);
	if (!place->window)
		return -EFAULT;
	return gm_locate(ctx->as, dev_va - place->window->dev_va + place->window->va,
			 access & ~GM_ATOMIC, place);
}

/*
 * Narrow pages of the block to what the region maps and the window shows of it, and hints say of
 * one.
 */
void gm_place_clip(const struct gm_place *place, unsigned int *first, unsigned int *n)
{
	const struct gm_region *r = place->region;
	uint64_t base, lo, hi;

	gm_clip(r, place->index, first, n);
	base = r->va + (place->index << GM_BLOCK_SHIFT) - r->offset;
	lo = GM_MAX(base + ((uint64_t)*first << GM_PAGE_SHIFT), place->window->va);
	hi = GM_MIN(base + ((uint64_t)(*first + *n) << GM_PAGE_SHIFT), place->window->end);
	*first = (unsigned int)((lo - base) >> GM_PAGE_SHIFT);
	*n = (unsigned int)((hi - base) >> GM_PAGE_SHIFT) - *first;
	gm_attr_clip(r, place->index, place->page, first, n);
}

/* Move pages of the block to the device and map them there, as far as the place goes. */
int gm_dev_piece(struct gm_context *ctx, struct gm_block *block, const struct gm_place *place,
		 unsigned int first, unsigned int n, enum gm_why why)
{
	struct gm_landing to = { .ctx = ctx, .region = place->region };
	int err;

	if (n > 1) /* one page may go alone, be it of a huge one: there may be no room for more */
		gm_place_clip(place, &first, &n);
	if (ctx->dev->unit > 1 && !gm_unit_clip(ctx, place->region, place->index, &first, &n))
		return 0; /* a hint for what the device cannot map */
	err = gm_migrate_to_dev(block, first, n, &to, why);
	if (!err && to.mapped < n)
		err = gm_map_evicting(gm_map_dev, ctx, place->region, block, first, n);
	if (!err && place->region->attrs)
		gm_hint_moved(ctx, block, place, first, n);
	return err;
}

/*
 * For a context that maps host memory in place: bring the piece home, as for the CPU, and map
 * of it what is wanted. What the rest of the block has there is mapped too, as far as it can be:
 * it is only a guess.
 */
static int in_place_piece(struct gm_context *ctx, struct gm_block *block,
			  const struct gm_place *place, unsigned int first, unsigned int n,
			  enum gm_why why, uint32_t access)
{
	struct gm_home how = { .as = ctx->as, .why = why };
	bool all = why == GM_WHY_PREFETCH;
	int err;

	gm_place_clip(place, &first, &n);
	err = gm_migrate_home(block, first, n, &how);
	if (!err)
		err = gm_make_host(block, first, n);
	if (!err && (access & GM_WRITE))
		err = gm_collapse(block, first, n);
	if (!err)
		err = access & GM_ATOMIC ? gm_exclusive_begin(block, first, n, ctx->dev)
					 : gm_exclusive_end(block, first, n, ctx->dev);
	if (!err)
		err = gm_map_host(ctx, place->region, block, all ? first : place->page,
				  all ? n : 1);
	/*
	 * From the page on, and around: who goes through memory in order gets on where few may be
	 * held.
	 */
	if (!err &&
	    !gm_map_host(ctx, place->region, block, place->page, GM_BLOCK_PAGES - place->page))
		(void)gm_map_host(ctx, place->region, block, 0, place->page);
	return err;
}

/* Alike, for one fault. */
static int in_place_fault(struct gm_context *ctx, struct gm_block *block,
			  const struct gm_place *place, uint32_t access, uint64_t now)
{
	uint64_t e = gm_block_entry(block, place->page);
	bool away = gm_entry_state(e) == GM_DEV;
	struct gm_pingpong_move move;
	unsigned int first, n;
	int err;

	gm_policy_cpu(ctx->as, block, place->page, &first, &n);
	gm_pingpong_clip(block, GM_PARTY_HOST, place->page, &first, &n, now);
	if (away)
		gm_pingpong_moving(&move, block, ctx->dev, gm_party_of(e), GM_PARTY_HOST, first, n);
	err = in_place_piece(ctx, block, place, first, n, GM_WHY_DEV_FAULT, access);
	if (err && n > 1) {
		first = place->page;
		n = 1;
		err = in_place_piece(ctx, block, place, first, n, GM_WHY_DEV_FAULT, access);
	}
	if (away && !err) {
		gm_count(ctx->dev, ctx->as, dev_faults_moved, 1);
		gm_pingpong_moved(&move, block, ctx->as, ctx->dev, place->page, first, n);
	} else if (!err) {
		gm_count(ctx->dev, ctx->as, dev_faults_map, 1);
	}
	return err;
}

/*
 * Read it where another device has it, if there is a link for that; what the other has around it
 * comes along. -EOPNOTSUPP: it has to move.
 */
int gm_read_peer(struct gm_context *ctx, struct gm_block *block, const struct gm_place *place)
{
	uint64_t e = gm_block_entry(block, place->page);
	struct gm_dev *dev = ctx->dev, *peer;
	struct gm_policy_move move;
	unsigned int first, n;
	int err;

	if (gm_entry_state(e) != GM_DEV || !dev->mmu->pmap_enter_peer || dev->unit > 1)
		return -EOPNOTSUPP;
	peer = gm_core.dev[gm_entry_dev(e)];
	if (peer->mmu->pmap_enter_peer != dev->mmu->pmap_enter_peer)
		return -EOPNOTSUPP;
	gm_policy_fault(ctx, block, place->page, GM_READ, GM_FAULT_STAYS, &move);
	first = move.first;
	n = move.n;
	gm_place_clip(place, &first, &n);
	err = gm_map_peer(ctx, place->region, block, peer, first, n);
	if (err && err != -EOPNOTSUPP && n > 1)
		err = gm_map_peer(ctx, place->region, block, peer, place->page, 1);
	/* Without memory for the table the page moves: then others' make room for it. */
	return err == -ENOSPC ? -EOPNOTSUPP : err;
}

/*
 * What the policy wants besides, of the same block. Before what was faulted for: should there be
 * room for nothing else it may push these out again, and not they it.
 */
static void more_pieces(struct gm_context *ctx, struct gm_block *block,
			const struct gm_place *place, const struct gm_policy_move *move)
{
	unsigned int lo = 0, all = GM_BLOCK_PAGES;
	int first = (int)move->first, err = 0;

	if (!move->more)
		return;
	gm_place_clip(place, &lo, &all);
	for (uint32_t i = 0; i < move->more && !err; i++) {
		int begin, end;

		first += move->stride;
		begin = GM_MAX(first, (int)lo);
		end = GM_MIN(first + (int)move->n, (int)(lo + all));
		if (first <= -(int)GM_BLOCK_PAGES || first >= (int)GM_BLOCK_PAGES)
			break;
		if (begin < end)
			err = gm_dev_piece(ctx, block, place, (unsigned int)begin,
					   (unsigned int)(end - begin), GM_WHY_DEV_FAULT);
	}
}

/*
 * Where a page goes back and forth, and the device can: it stays in host memory, for a while, and
 * all use it there. -EOPNOTSUPP: it does not, or cannot.
 */
static int share_fault(struct gm_context *ctx, struct gm_block *block, const struct gm_place *place,
		       uint32_t access, uint64_t now)
{
	unsigned int first, n, piece = place->page & ~(GM_PINGPONG_PAGES - 1), end;

	if (place->window->mode == GM_REPLICATE ||
	    !gm_pingpong_share(block, ctx->dev, place->page, now))
		return -EOPNOTSUPP;
	gm_policy_cpu(ctx->as, block, place->page, &first, &n);
	end = GM_MIN(first + n, piece + GM_PINGPONG_PAGES);
	first = GM_MAX(first, piece);
	return gm_use_host(ctx, block, place, first, end - first, access);
}

/* Does somebody hold the page, of which the device needs the whole unit? */
static bool is_held(struct gm_context *ctx, const struct gm_block *block,
		    const struct gm_place *place, uint64_t now)
{
	bool in_place = place->window->mode == GM_REPLICATE;
	unsigned int first = place->page, n = 1;

	if (!in_place)
		gm_unit_round(ctx->dev, &first, &n);
	if (!gm_pingpong_held(block, in_place ? GM_PARTY_HOST : gm_party(ctx->dev), first, n, now))
		return false;
	gm_count(ctx->dev, ctx->as, faults_held, 1);
	return true;
}

/* Is it to stay in host memory, the policy having said so, or that it wants to be no trouble? */
static bool stays(struct gm_dev *dev, struct gm_block *block, const struct gm_policy_move *move)
{
	return move->in_place ||
	       (move->modest &&
		!gm_reclaim_cold(dev, block, (uint64_t)move->n * (1 + (uint64_t)move->more)));
}

/* Move the page to the device, and what the policy wants with it. */
static int move_there(struct gm_context *ctx, struct gm_block *block, const struct gm_place *place,
		      const struct gm_policy_move *move, uint64_t now)
{
	unsigned int from = gm_party_of(gm_block_entry(block, place->page));
	unsigned int first = move->first, n = move->n;
	struct gm_dev *dev = ctx->dev;
	struct gm_pingpong_move moving;
	int err;

	gm_pingpong_clip(block, gm_party(dev), place->page, &first, &n, now);
	if (n == move->n) /* else somebody has a part of it, for a while */
		more_pieces(ctx, block, place, move);
	gm_unit_round(dev, &first, &n);
	gm_pingpong_moving(&moving, block, dev, from, gm_party(dev), first, n);
	err = gm_dev_piece(ctx, block, place, first, n, GM_WHY_DEV_FAULT);
	if (err && n > dev->unit) {
		first = place->page;
		n = 1;
		err = gm_dev_piece(ctx, block, place, first, n, GM_WHY_DEV_FAULT);
	}
	if (!err)
		gm_pingpong_moved(&moving, block, ctx->as, dev, place->page, first, n);
	gm_evict_kick(dev);
	return err;
}

/* As the policy says: it moves, or is mapped where it is. */
static int ask_fault(struct gm_context *ctx, struct gm_block *block, const struct gm_place *place,
		     uint32_t access, uint64_t now)
{
	bool may_leave = !(access & GM_ATOMIC) && gm_policy_may_leave(ctx, block, place);
	struct gm_policy_move move;
	int err;

	gm_policy_fault(ctx, block, place->page, access & (GM_READ | GM_WRITE),
			may_leave ? GM_FAULT_IN_PLACE : 0, &move);
	if (stays(ctx->dev, block, &move)) {
		err = gm_use_host(ctx, block, place, place->page, 1, access);
		if (!err && move.n > 1) {
			gm_place_clip(place, &move.first, &move.n);
			(void)gm_map_host(ctx, place->region, block, move.first, move.n);
		}
		if (err != -EOPNOTSUPP)
			return err;
		move = (struct gm_policy_move){ .first = place->page, .n = 1 };
	}
	err = move_there(ctx, block, place, &move, now);
	if (!err)
		gm_count(ctx->dev, ctx->as, dev_faults_moved, 1);
	return err;
}

/*
 * The device has used the page, in host memory in place, so many times: does it come by now? A
 * hint: should it fail the page stays where it is. Block locked, the address space read-locked.
 */
void gm_dev_counted(struct gm_context *ctx, struct gm_block *block, const struct gm_place *place,
		    uint64_t times)
{
	uint64_t now = gm_os_now_ns();
	struct gm_policy_move move;

	if (gm_dev_gone(ctx->dev) || !gm_policy_may_leave(ctx, block, place) ||
	    gm_pingpong_shares(block, place->page, now) ||
	    gm_pingpong_held(block, gm_party(ctx->dev), place->page, 1, now))
		return;
	gm_policy_counted(ctx, block, place->page, times, &move);
	if (!stays(ctx->dev, block, &move) && !move_there(ctx, block, place, &move, now))
		gm_resident_touch(block, ctx->dev, true);
}

/* One fault, the block locked. *held: -EBUSY, and for some time. */
static int dev_fault(struct gm_context *ctx, struct gm_block *block, const struct gm_place *place,
		     uint32_t access, uint64_t now, bool *held)
{
	struct gm_dev *dev = ctx->dev;
	int err;

	if (gm_dev_gone(dev))
		return -ENODEV;
	if (gm_entry_state(gm_block_entry(block, place->page)) == GM_BAD)
		return -EHWPOISON;
	if (dev->unit > 1 && !gm_unit_fits(ctx, place->region, place->index, place->page, 1))
		return -EADDRNOTAVAIL;
	if (dev->unit > 1 && gm_unit_bad(block, dev, place->page))
		return -EHWPOISON;
	if (gm_pingpong_is_over(block, now))
		gm_pingpong_unshare(block);
	err = gm_hint_fault(ctx, block, place, access);
	if (err != -EOPNOTSUPP)
		return err;
	err = access == GM_READ && !gm_is_on(dev, block, place->page)
		      ? gm_read_peer(ctx, block, place)
		      : -EOPNOTSUPP;
	if (err != -EOPNOTSUPP) {
		if (!err)
			gm_count(dev, ctx->as, dev_faults_map, 1);
		return err;
	}
	if (gm_block_pingpong(block) && !gm_is_on(dev, block, place->page)) {
		err = share_fault(ctx, block, place, access, now);
		if (err != -EOPNOTSUPP)
			return err;
	}
	if (gm_is_on(dev, block, place->page)) {
		gm_count(dev, ctx->as, dev_faults_map, 1);
		err = gm_map_evicting(gm_map_dev, ctx, place->region, block, place->page, 1);
	} else if (is_held(ctx, block, place, now)) {
		*held = true;
		return -EBUSY;
	} else if (place->window->mode == GM_REPLICATE) {
		return in_place_fault(ctx, block, place, access, now);
	} else {
		err = ask_fault(ctx, block, place, access, now);
	}
	if (!err && gm_is_on(dev, block, place->page)) {
		gm_resident_touch(block, dev, true);
		gm_policy_used(block, dev, place->page, 1, 1);
	}
	return err;
}

/* Sort by address: insertion, for a fault buffer is small and often nearly sorted. */
static void sort(struct gm_fault *f, unsigned int n)
{
	for (unsigned int i = 1; i < n; i++) {
		struct gm_fault one = f[i];
		unsigned int j = i;

		for (; j && f[j - 1].va > one.va; j--)
			f[j] = f[j - 1];
		f[j] = one;
	}
}

/* How many faults from f[0] on, which is at @place, lie in the same block and may be serviced. */
static unsigned int same_block(struct gm_context *ctx, struct gm_fault *f, unsigned int n,
			       const struct gm_place *place)
{
	struct gm_place next;
	unsigned int i;

	for (i = 1; i < n; i++)
		if (locate(ctx, f[i].va, f[i].access, &next) || next.window != place->window ||
		    next.region != place->region || next.index != place->index)
			break;
	return i;
}

/* @place is NULL where nothing is mapped; @from is where the page was. */
static void trace_dev_fault(struct gm_context *ctx, const struct gm_fault *f,
			    const struct gm_place *place, int from, uint64_t begin)
{
	struct gm_event ev = gm_fault_event(ctx->as, f->va, f->access, GM_WHY_DEV_FAULT,
					    gm_dev_node(ctx->dev));

	if (place) {
		gm_event_place(&ev, place->region->obj, place->index, place->page);
		ev.addr = f->va - place->window->dev_va + place->window->va;
	}
	ev.from = from;
	gm_trace_end(&ev, begin, f->err);
}

/* Service the faults of one block; how many of @n these are. They came at time @begin. */
static unsigned int block_faults(struct gm_context *ctx, struct gm_fault *f, unsigned int n,
				 uint64_t begin)
{
	unsigned int done = 0, tries = 0;
	bool traced = gm_tracing(GM_EVENT_FAULT), held;
	struct gm_place place;
	struct gm_block *block;
	int from = GM_NODE_NONE;

	f[0].err = locate(ctx, f[0].va, f[0].access, &place);
	if (f[0].err) {
		if (traced)
			trace_dev_fault(ctx, &f[0], NULL, from, begin);
		return 1;
	}
	n = same_block(ctx, f, n, &place);
	while (done < n) {
		int err = gm_block_get(place.region->obj, place.index, true, &block);

		for (; err && done < n; done++) {
			locate(ctx, f[done].va, f[done].access, &place);
			f[done].err = err;
			if (traced)
				trace_dev_fault(ctx, &f[done], &place, from, begin);
		}
		if (err)
			break;
		for (; done < n; done++) {
			locate(ctx, f[done].va, f[done].access, &place);
			if (traced)
				from = gm_entry_node(gm_block_entry(block, place.page));
			held = false;
			f[done].err = dev_fault(ctx, block, &place, f[done].access, begin, &held);
			if (f[done].err == -EBUSY && !held && ++tries < TRIES)
				break;
			if (traced && !held) /* else it is not over: it will be made again */
				trace_dev_fault(ctx, &f[done], &place, from, begin);
		}
		gm_block_unlock(block);
		if (done < n)
			gm_os_yield(tries);
	}
	return n;
}

/*
 * Faults of a context that maps host memory in place which found no memory for its table, or
 * must not hold more of the host's. What is in there can all be entered anew, so it is emptied,
 * and they are tried once more. (Where it has other windows as well it may have been the
 * device's memory for data: no harm.)
 */
static void in_place_again(struct gm_context *ctx, struct gm_fault *f, unsigned int n,
			   uint64_t begin)
{
	for (unsigned int i = 0; i < n; i++) {
		if ((f[i].err != -ENOSPC && f[i].err != -ENOMEM) || gm_context_empty(ctx))
			continue;
		gm_rwlock_rdlock(&ctx->as->lock, GM_RANK_AS);
		block_faults(ctx, &f[i], 1, begin);
		gm_rwlock_unlock(&ctx->as->lock, GM_RANK_AS);
	}
}

/* By a device that is gone, though what it shared is not. */
static unsigned int refuse(struct gm_fault *f)
{
	f->err = -ENODEV;
	return 1;
}

unsigned int gm_dev_fault_batch(struct gm_context *ctx, struct gm_fault *faults, unsigned int n)
{
	struct gm_context *owner = ctx->owner; /* whose pmap it is, and whose memory */
	uint64_t begin = gm_os_now_ns();
	struct gm_as *as = ctx->as;
	bool gone = owner != ctx && gm_dev_gone(ctx->dev); /* of the owner dev_fault() knows */
	unsigned int failed = 0, busy = 0;
	bool in_place;

	gm_lock_check_none();
	sort(faults, n);
	gm_rwlock_rdlock(&as->lock, GM_RANK_AS);
	for (unsigned int i = 0; i < n;)
		i += gone ? refuse(&faults[i]) : block_faults(owner, &faults[i], n - i, begin);
	in_place = owner->nr_in_place;
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	if (in_place)
		in_place_again(owner, faults, n, begin);
	for (unsigned int i = 0; i < n; i++) {
		failed += faults[i].err != 0;
		busy += faults[i].err == -EBUSY;
	}
	gm_count(ctx->dev, as, dev_faults, n);
	gm_count(ctx->dev, as, fault_errors, failed - busy);
	gm_count(ctx->dev, as, ns_dev_fault, gm_os_now_ns() - begin);
	return failed;
}

int gm_dev_fault(struct gm_context *ctx, uint64_t va, uint32_t access)
{
	struct gm_fault fault = { .va = va, .access = access };

	gm_dev_fault_batch(ctx, &fault, 1);
	return fault.err;
}

/* ------------------------------------------------------------------------ prefetch */

/*
 * Move pages of a block to a context's device and map them there: PREFETCH and PIN. On
 * success the block is returned locked. What is read mostly is duplicated, but for a pin. The
 * address space is read-locked; one window of the context shows the piece, and hints say the
 * same of all of it.
 */
int gm_prefetch_piece(struct gm_context *ctx, const struct gm_piece *piece, bool pin,
		      struct gm_block **block)
{
	const struct gm_region *r = piece->region;
	uint64_t va = r->va + (piece->index << GM_BLOCK_SHIFT) - r->offset;
	struct gm_place place = {
		.region = piece->region,
		.index = piece->index,
		.page = piece->first,
	};
	unsigned int tries = 0;
	int err;

	place.window = gm_window_at(ctx, va + ((uint64_t)piece->first << GM_PAGE_SHIFT));
	do {
		if (tries)
			gm_os_yield(tries);
		if (gm_dev_gone(ctx->dev))
			return -ENODEV;
		err = gm_block_get(piece->region->obj, piece->index, true, block);
		if (err)
			return err;
		if (place.window->mode == GM_REPLICATE)
			err = in_place_piece(ctx, *block, &place, piece->first, piece->n,
					     GM_WHY_PREFETCH, GM_READ);
		else if (!pin && gm_is_duplicated(&place))
			err = gm_replica_piece(ctx, *block, &place, piece->first, piece->n,
					       GM_WHY_PREFETCH);
		else
			err = gm_dev_piece(ctx, *block, &place, piece->first, piece->n,
					   GM_WHY_PREFETCH);
		if (!err) {
			gm_resident_touch(*block, ctx->dev, true);
			return 0;
		}
		gm_block_unlock(*block);
	} while (err == -EBUSY && ++tries < TRIES);
	return err;
}
