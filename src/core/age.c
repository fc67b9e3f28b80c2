// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What devices say of the use of pages: accessed bits, and access counters.
 *
 * Accessed bits are read when a block is a candidate for eviction, in every pmap of the device
 * that may map it (pmap_age). Counters the driver reads when its hardware says so, and hands them
 * on (gm_dev_accessed()). Both are hints: what fails, or what somebody has locked, is passed over.
 *
 * What counters say of pages on the device its policies are told. Of host memory that it uses in
 * place they say how much went over the link, and the policy that has left it there is asked again
 * (dev_fault.c).
 *
 * Locking. Accessed bits: block locked; maps_lock and ctx_lock are taken. Counters: the address
 * space for reading, then the block by trylock: whoever has it is about to look at it himself.
 */
#include "core/fault.h"
#include "core/view.h"

struct aging {
	struct gm_gather g; /* stays empty; first: it is what gm_for_views() hands on */
	struct gm_mask *used;
};

static int age_view(const struct gm_view *v, struct gm_block *block, uint64_t dva, uint64_t end,
		    struct gm_gather *g)
{
	struct gm_mask *used = gm_container(g, struct aging, g)->used;
	const struct gm_mmu *mmu = v->ctx->dev->mmu;
	struct gm_mask bits = { { 0 } };
	unsigned int page = gm_view_page(v, block, dva);
	unsigned int n = (unsigned int)((end - dva) >> GM_PAGE_SHIFT);

	int err = 0;

	gm_lock_check_may_sleep();
	if (mmu->pmap_age) /* who reads what another has may lack it */
		err = mmu->pmap_age(v->ctx->pmap, dva, end - dva, bits.word);
	for (unsigned int i = 0; i < n && !err; i++)
		if (gm_mask_test(&bits, i))
			gm_mask_set(used, page + i, 1);
	return err;
}

/*
 * The pages of the block that were used where @dev has them since this was last asked. False: it
 * cannot say.
 */
bool gm_age_block(struct gm_block *block, struct gm_dev *dev, struct gm_mask *used)
{
	struct aging aging gm_uninitialized;

	if (!dev->mmu->pmap_age)
		return false;
	gm_gather_init(&aging.g);
	aging.used = used;
	return !gm_for_views(block, dev, 0, GM_BLOCK_PAGES, age_view, &aging.g);
}

/* ------------------------------------------------------------------------- counters */

/*
 * Pages of the piece that are in host memory, and in a block of which the device maps such in
 * place.
 */
static void used_in_place(struct gm_context *ctx, const struct gm_seen *window,
			  struct gm_block *block, const struct gm_piece *piece, uint64_t times)
{
	struct gm_place place = {
		.region = piece->region,
		.index = piece->index,
		.window = window,
	};
	unsigned int end = piece->first + piece->n, len;
	uint64_t nr = 0, e;

	for (unsigned int page = piece->first; page < end; page += len) {
		len = gm_block_run(block, page, end, &e);
		nr += gm_entry_state(e) == GM_HOST ? len : 0;
	}
	gm_count(ctx->dev, ctx->as, remote_bytes, 64 * times * nr);
	for (place.page = piece->first; place.page < end; place.page++)
		if (gm_entry_state(gm_block_entry(block, place.page)) == GM_HOST)
			gm_dev_counted(ctx, block, &place, times);
}

static void piece_used(struct gm_context *ctx, const struct gm_seen *window,
		       const struct gm_piece *piece, uint64_t times)
{
	struct gm_object *obj = piece->region->obj;
	struct gm_dev *dev = ctx->dev;
	struct gm_block *block = gm_lpt_peek(obj, piece->index);

	if (!block || !gm_mutex_trylock(&block->lock, GM_RANK_BLOCK))
		return;
	if (block->obj == obj && block->index == piece->index && gm_resident_find(block, dev)) {
		gm_policy_used(block, dev, piece->first, piece->n, times);
		gm_resident_touch(block, dev, true);
	}
	if (block->obj == obj && block->index == piece->index &&
	    (gm_is_remote(block, dev) || window->mode == GM_REPLICATE))
		used_in_place(ctx, window, block, piece, times);
	if (block->obj)
		gm_block_unlock(block);
	else
		gm_mutex_unlock(&block->lock, GM_RANK_BLOCK);
}

int gm_dev_accessed(struct gm_context *ctx, uint64_t va, uint64_t len, uint64_t times)
{
	struct gm_as *as;
	uint64_t end;
	int err;

	if (!ctx || !len || !times || va + len - 1 < va || va + len > UINT64_MAX - GM_PAGE_SIZE)
		return -EINVAL;
	err = gm_enter();
	if (err)
		return err;
	ctx = ctx->owner;
	as = ctx->as;
	end = gm_round_up(va + len, GM_PAGE_SIZE);
	va = gm_round_down(va, GM_PAGE_SIZE);
	gm_rwlock_rdlock(&as->lock, GM_RANK_AS);
	while (va < end && !err) {
		const struct gm_seen *w = gm_window_at_dev(ctx, va);
		uint64_t from, to;
		struct gm_piece piece;

		from = w ? va - w->dev_va + w->va : 0;
		to = w ? from + GM_MIN(end - va, w->end - from) : 0;
		err = w && gm_piece_next(as, &from, to, &piece) ? 0 : -EFAULT;
		if (err)
			break;
		piece_used(ctx, w, &piece, times);
		va = from - w->va + w->dev_va;
	}
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	return err;
}
