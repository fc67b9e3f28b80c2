// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Hints: what an application knows of its memory's future.
 *
 * A hint is cut into pieces that lie in one region and one block; each is carried out
 * under the block's lock and is the same mechanism that faults and eviction use. Moving
 * hints round outward, DONTNEED rounds inward. Hints that stay with addresses are attr.c's.
 *
 * Pieces are independent, so those of a long hint that moves are carried out several at a
 * time (async.c).
 *
 * Locking: the address space read-locked for a piece at a time, so that a long hint
 * keeps nobody from mapping, and nobody who waits to map keeps others from faulting.
 */
#include "core/attr.h"
#include "core/async.h"
#include "core/trace.h"

/* Pin or unpin pages, wherever they are. -ENOMEM: nothing changed. */
static int set_pinned(struct gm_block *block, unsigned int first, unsigned int n, bool on)
{
	unsigned int len;
	uint64_t e;
	int err = 0;

	if (n != GM_BLOCK_PAGES && !(block->uniform & GM_E_PINNED) == on)
		err = gm_block_split(block);
	if (err)
		return err;
	for (unsigned int page = first; page < first + n; page += len) {
		len = gm_block_run(block, page, first + n, &e);
		if (!(e & GM_E_PINNED) != on || gm_entry_state(e) == GM_BAD)
			continue;
		gm_block_set(block, page, len, e ^ GM_E_PINNED);
		if (gm_entry_state(e) == GM_DEV)
			gm_resident_count(block, gm_core.dev[gm_entry_dev(e)], 0,
					  on ? (int)len : -(int)len);
	}
	gm_block_fold(block);
	return 0;
}

static int prefetch_dev(struct gm_context *ctx, const struct gm_piece *piece, bool pin)
{
	struct gm_block *block;
	int err;

	if (pin && !gm_unit_fits(ctx, piece->region, piece->index, piece->first, piece->n))
		return -EADDRNOTAVAIL;
	err = gm_prefetch_piece(ctx, piece, pin, &block);
	if (err)
		return err;
	if (pin)
		err = set_pinned(block, piece->first, piece->n, true);
	gm_block_unlock(block);
	return err;
}

/* Bring home and map. What no device has ever seen is the host kernel's to fill. */
static int prefetch_host(struct gm_as *as, const struct gm_piece *piece)
{
	struct gm_home how = { .as = as, .why = GM_WHY_PREFETCH };
	const struct gm_region *r = piece->region;
	struct gm_block *block = gm_block_find(r->obj, piece->index, false);
	unsigned int first = piece->first, n = piece->n, len;
	int err;

	if (!block)
		return 0;
	gm_clip(r, piece->index, &first, &n);
	err = gm_block_unmappable(block) ? -EHWPOISON : gm_migrate_home(block, first, n, &how);
	if (!err)
		err = gm_make_host(block, first, n);
	if (!err)
		err = gm_exclusive_end(block, first, n, NULL);
	/* All but bad pages. */
	for (unsigned int end = first + n; first < end && !err; first += len + 1) {
		len = gm_good_run(block, first, end);
		if (len)
			err = gm_cpu_enter(piece->region, block, first, len, GM_READ);
		if (len && !err)
			gm_mirror(block, first, len);
	}
	gm_block_unlock(block);
	return err;
}

static int dontneed(const struct gm_piece *piece)
{
	struct gm_object *obj = piece->region->obj;
	struct gm_block *block;
	int err = 0;

	if (obj->granule > GM_PAGE_SIZE && piece->n != GM_BLOCK_PAGES)
		return 0; /* rounded inward to what the backing can free */
	block = gm_block_find_or_hold(obj, piece->index);
	if (!block)
		gm_os_backing_free(obj,
				   (piece->index << GM_BLOCK_SHIFT) +
					   ((uint64_t)piece->first << GM_PAGE_SHIFT),
				   (uint64_t)piece->n << GM_PAGE_SHIFT);
	else
		err = gm_discard(block, piece->first, piece->n);
	gm_block_drop(obj, block);
	return err;
}

/* Most recently used, or least. Told without the lock first: an eviction gives up and unlocks. */
static void touch(const struct gm_piece *piece, bool hot)
{
	struct gm_block *block = gm_block_find(piece->region->obj, piece->index, hot);

	if (!block)
		return;
	gm_store(&block->wanted, hot);
	for (struct gm_resident *res = block->residents; res; res = res->next)
		gm_resident_touch(block, res->dev, hot);
	gm_block_unlock(block);
}

static int unpin(const struct gm_piece *piece)
{
	struct gm_block *block = gm_block_find(piece->region->obj, piece->index, false);
	int err;

	if (!block)
		return 0;
	err = set_pinned(block, piece->first, piece->n, false);
	gm_block_unlock(block);
	return err;
}

int gm_advise_piece(struct gm_as *as, struct gm_context *ctx, const struct gm_piece *piece,
		    uint32_t advice)
{
	switch (advice) {
	case GM_PREFETCH:
	case GM_PIN:
		return ctx ? prefetch_dev(ctx, piece, advice == GM_PIN) : prefetch_host(as, piece);
	case GM_DONTNEED:
		return dontneed(piece);
	case GM_UNPIN:
		return unpin(piece);
	default:
		touch(piece, advice == GM_WILLNEED);
		return 0;
	}
}

/* The context that PREFETCH and PIN move to; NULL without an error: the host. */
static int target(struct gm_as *as, int hnode, uint64_t va, uint64_t len, uint32_t advice,
		  struct gm_context **ctx)
{
	int err;

	*ctx = NULL;
	if (advice != GM_PREFETCH && advice != GM_PIN)
		return 0;
	if (hnode == GM_NODE_HOST || (hnode >= 0 && hnode < gm_core.first_hnode))
		return advice == GM_PIN ? -EINVAL : 0;
	if (hnode < 0)
		return -EINVAL;
	*ctx = as->contexts;
	while (*ctx && gm_dev_hnode((*ctx)->dev) != hnode)
		*ctx = (*ctx)->next;
	if (!*ctx)
		return -ENODEV;
	if ((*ctx)->owner != *ctx) /* its pages are at the owner's node */
		return -EOPNOTSUPP;
	/* In place nothing is to be moved there, or kept. */
	err = gm_window_check(*ctx, va, va + len, advice == GM_PIN ? 1U << GM_EXCLUSIVE : ~0U);
	if (err)
		return err;
	if (!gm_window_check(*ctx, va, va + len, 1U << GM_REPLICATE))
		return 0;
	if (len > gm_load(&(*ctx)->dev->hnode.total) << GM_PAGE_SHIFT)
		return -ENOSPC;
	return 0;
}

/* The piece at *lo, which moves on, and what it goes to. The address space is read-locked. */
int gm_advise_next(struct gm_as *as, int hnode, uint64_t *lo, uint64_t hi, uint32_t advice,
		   struct gm_context **ctx, struct gm_piece *piece)
{
	int err = target(as, hnode, *lo, GM_PAGE_SIZE, advice, ctx);
	const struct gm_region *r;

	if (!err && *ctx) {
		hi = GM_MIN(hi, gm_window_at(*ctx, *lo)->end);
		r = gm_region_find(as, *lo);
		if (r && r->attrs)
			hi = GM_MIN(hi, gm_attr_end(r, *lo));
	}
	if (!err && !gm_piece_next(as, lo, hi, piece))
		err = -EFAULT;
	return err;
}

/* One piece; the address space is locked no longer than for that. */
static int advise_some(struct gm_as *as, int hnode, uint64_t *lo, uint64_t hi, uint32_t advice)
{
	struct gm_context *ctx;
	struct gm_piece piece;
	int err;

	gm_rwlock_rdlock(&as->lock, GM_RANK_AS);
	err = gm_advise_next(as, hnode, lo, hi, advice, &ctx, &piece);
	if (!err)
		err = gm_advise_piece(as, ctx, &piece, advice);
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	return err;
}

bool gm_advice_ok(uint64_t va, uint64_t len, uint32_t advice)
{
	return len && va + len >= va && gm_round_up(va + len, GM_PAGE_SIZE) >= va &&
	       advice <= GM_UNSET_ACCESSED_BY;
}

/* May all of the range be advised so? [lo, hi) is page-aligned. */
int gm_advise_check(struct gm_as *as, int hnode, uint64_t lo, uint64_t hi, uint32_t advice)
{
	struct gm_context *ctx;
	int err;

	gm_rwlock_rdlock(&as->lock, GM_RANK_AS);
	err = gm_range_check(as, lo, hi - lo, advice == GM_DONTNEED ? GM_WRITE : 0);
	if (!err)
		err = target(as, hnode, lo, hi - lo, advice, &ctx);
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	return err;
}

static int carry_out(struct gm_as *as, int hnode, uint64_t va, uint64_t len, uint32_t advice)
{
	uint64_t lo = gm_round_down(va, GM_PAGE_SIZE), hi = gm_round_up(va + len, GM_PAGE_SIZE);
	int err = gm_advise_check(as, hnode, lo, hi, advice);

	if (err)
		return err;
	if (advice >= GM_READ_MOSTLY)
		return gm_attr_set(as, hnode, lo, hi - lo, advice);
	if (gm_sweep_pays(hi - lo, advice))
		return gm_sweep(as, hnode, lo, hi, advice);
	if (advice == GM_DONTNEED) {
		lo = gm_round_up(va, GM_PAGE_SIZE);
		hi = gm_round_down(va + len, GM_PAGE_SIZE);
	}
	while (!err && lo < hi)
		err = advise_some(as, hnode, &lo, hi, advice);
	return err;
}

int gm_advise(struct gm_as *as, int hnode, uint64_t va, uint64_t len, uint32_t advice)
{
	int err;

	if (!gm_advice_ok(va, len, advice))
		return -EINVAL;
	err = gm_enter();
	if (!err)
		err = carry_out(as, hnode, va, len, advice);
	if (!err)
		gm_note_hint(as, hnode, va, len, advice);
	return err;
}
