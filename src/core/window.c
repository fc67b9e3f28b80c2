// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Windows: which parts of an address space a context sees, where, and in what mode.
 *
 * Theory. A context has a set of windows: [va, end) of the address space, seen by the device
 * from dev_va on, in a mode. An ordinary context has one, of all addresses its device can
 * name, at the same addresses; a sparse one has those that were added and nothing else. Windows
 * have nothing to do with regions: one may show several, or addresses where nothing is
 * mapped yet. They overlap neither in the address space nor at the device. Whatever changes
 * for a part of a window first cuts it in two at the ends of the part, which nobody sees.
 *
 * Two arrays of pointers, sorted by either address: hints and unmapping look from the address
 * space's side, faults from the device's.
 *
 * Contexts that share a pmap share the windows of its owner: a change for one is a change for
 * all of them.
 *
 * In bulk. A call that removes many windows releases all, invalidates once, and then removes
 * them: while one of them is in the list others may enter mappings in it, so ctx_lock is held
 * for writing from the first release to the last removal. If a step fails the windows
 * stay, and the device faults for what it lost.
 *
 * Locking: as->lock and ctx_lock for writing to change windows; either, for reading, to look.
 * The block around a cut is locked from the cutting of the leaf to that of the window, as
 * regions are carved (region.c).
 */
#include "core/span.h"

/* Index of the first window that ends behind @va. */
uint32_t gm_window_lower(const struct gm_context *ctx, uint64_t va)
{
	uint32_t lo = 0, hi = ctx->nr_windows;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (ctx->windows[mid]->end <= va)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The same, by the device's addresses. */
static uint32_t lower_dev(const struct gm_context *ctx, uint64_t dev_va)
{
	uint32_t lo = 0, hi = ctx->nr_windows;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;
		const struct gm_seen *w = ctx->by_dev[mid];

		if (w->dev_va + (w->end - w->va) <= dev_va)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The window that shows @va, or NULL. */
const struct gm_seen *gm_window_at(const struct gm_context *ctx, uint64_t va)
{
	uint32_t i = gm_window_lower(ctx, va);

	return i < ctx->nr_windows && ctx->windows[i]->va <= va ? ctx->windows[i] : NULL;
}

/* The window that the device sees at its address @dev_va, or NULL. */
const struct gm_seen *gm_window_at_dev(const struct gm_context *ctx, uint64_t dev_va)
{
	uint32_t i = lower_dev(ctx, dev_va);

	return i < ctx->nr_windows && ctx->by_dev[i]->dev_va <= dev_va ? ctx->by_dev[i] : NULL;
}

/*
 * Is all of [va, end) seen, in one of @modes (a bit each)? -EFAULT: not seen; -EOPNOTSUPP:
 * otherwise.
 */
int gm_window_check(const struct gm_context *ctx, uint64_t va, uint64_t end, uint32_t modes)
{
	while (va < end) {
		const struct gm_seen *w = gm_window_at(ctx, va);

		if (!w)
			return -EFAULT;
		if (!(modes >> w->mode & 1))
			return -EOPNOTSUPP;
		va = w->end;
	}
	return 0;
}

/* ------------------------------------------------------------------- the two arrays */

/* Room for @n windows more. */
static int reserve(struct gm_context *ctx, uint32_t n)
{
	uint32_t max = ctx->max_windows ? ctx->max_windows : 256;
	struct gm_seen **both;

	if (n > UINT32_MAX / 4 - ctx->nr_windows)
		return -ENOMEM;
	while (max < ctx->nr_windows + n)
		max *= 2;
	if (max == ctx->max_windows)
		return 0;
	both = gm_os_alloc(2 * (size_t)max * sizeof(struct gm_seen *));
	if (!both)
		return -ENOMEM;
	for (uint32_t i = 0; i < ctx->nr_windows; i++) {
		both[i] = ctx->windows[i];
		both[max + i] = ctx->by_dev[i];
	}
	gm_windows_free(ctx);
	ctx->windows = both;
	ctx->by_dev = both + max;
	ctx->max_windows = max;
	return 0;
}

/* The arrays only. */
void gm_windows_free(struct gm_context *ctx)
{
	if (ctx->windows)
		gm_os_free(ctx->windows, 2 * (size_t)ctx->max_windows * sizeof(struct gm_seen *));
	ctx->windows = ctx->by_dev = NULL;
}

static void put_at(struct gm_seen **array, uint32_t nr, uint32_t at, struct gm_seen *w)
{
	__builtin_memmove(&array[at + 1], &array[at], (nr - at) * sizeof(*array));
	array[at] = w;
}

static void take_from(struct gm_seen **array, uint32_t nr, uint32_t at)
{
	__builtin_memmove(&array[at], &array[at + 1], (nr - at - 1) * sizeof(*array));
}

static void count_in_place(struct gm_context *ctx, enum gm_mode mode, int n)
{
	if (mode != GM_REPLICATE)
		return;
	ctx->nr_in_place = (uint32_t)((int)ctx->nr_in_place + n);
	gm_add(&gm_core.in_place, (uint32_t)n);
}

/* There is room. -EEXIST: it overlaps another on either side. */
static int insert(struct gm_context *ctx, struct gm_seen *w)
{
	uint32_t i = gm_window_lower(ctx, w->va), d = lower_dev(ctx, w->dev_va);
	uint32_t nr = ctx->nr_windows;

	if ((i < nr && ctx->windows[i]->va < w->end) ||
	    (d < nr && ctx->by_dev[d]->dev_va < w->dev_va + (w->end - w->va)))
		return -EEXIST;
	put_at(ctx->windows, nr, i, w);
	put_at(ctx->by_dev, nr, d, w);
	ctx->nr_windows++;
	count_in_place(ctx, w->mode, 1);
	return 0;
}

static void erase(struct gm_context *ctx, struct gm_seen *w)
{
	take_from(ctx->windows, ctx->nr_windows, gm_window_lower(ctx, w->va));
	take_from(ctx->by_dev, ctx->nr_windows, lower_dev(ctx, w->dev_va));
	ctx->nr_windows--;
	count_in_place(ctx, w->mode, -1);
	gm_pool_put(&gm_core.windows, w);
}

/* A new window. Locking: nobody else sees the context yet, or both locks for writing. */
static int add_one(struct gm_context *ctx, const struct gm_window *from)
{
	struct gm_seen *w = gm_pool_get(&gm_core.windows);
	int err;

	if (!w)
		return -ENOMEM;
	*w = (struct gm_seen){
		.va = from->va,
		.end = from->va + from->len,
		.dev_va = from->dev_va,
		.mode = ctx->mode,
	};
	err = insert(ctx, w);
	if (err)
		gm_pool_put(&gm_core.windows, w);
	return err;
}

/* ----------------------------------------------------------- a context's beginning and end */

/* The end of what a device can name. */
static uint64_t dev_limit(const struct gm_dev *dev)
{
	uint64_t bits = dev->mmu->va_bits;

	return bits && bits < 64 ? 1ULL << bits : gm_round_down(UINT64_MAX, GM_PAGE_SIZE);
}

/* Windows of a new context: none yet, or all that its device can name. */
int gm_windows_init(struct gm_context *ctx, bool sparse)
{
	struct gm_window all = { .len = dev_limit(ctx->dev) };
	int err = reserve(ctx, 1);

	if (!err && !sparse)
		err = add_one(ctx, &all);
	if (err)
		gm_windows_free(ctx);
	return err;
}

/* Nothing is mapped through them any more. */
void gm_windows_end(struct gm_context *ctx)
{
	while (ctx->nr_windows)
		erase(ctx, ctx->windows[ctx->nr_windows - 1]);
	gm_windows_free(ctx);
}

/* ------------------------------------------------------------------------- cutting */

/* Make two of window @w at @va, inside it. ctx_lock held for writing; there is room. */
static void cut_window(struct gm_context *ctx, struct gm_seen *w, struct gm_seen *high, uint64_t va)
{
	*high = *w;
	high->va = va;
	high->dev_va += va - w->va;
	w->end = va;
	gm_bug_on(insert(ctx, high));
}

/* See to it that a window begins at @va, if any shows it. as->lock held for writing. */
static int carve(struct gm_context *ctx, uint64_t va)
{
	struct gm_seen *w = (struct gm_seen *)gm_window_at(ctx, va), *high;
	struct gm_block *block = NULL;
	struct gm_region *r;
	struct gm_view v;
	uint64_t off;
	uint32_t i = 0;
	int err;

	if (!w || w->va == va)
		return 0;
	r = gm_region_find(ctx->as, va);
	off = r ? va - r->va + r->offset : 0;
	gm_rwlock_wrlock(&ctx->as->ctx_lock, GM_RANK_CTX);
	err = reserve(ctx, 1);
	gm_rwlock_unlock(&ctx->as->ctx_lock, GM_RANK_CTX);
	high = err ? NULL : gm_pool_get(&gm_core.windows);
	if (!high)
		return -ENOMEM;
	if (r)
		block = gm_block_find_or_hold(r->obj, off >> GM_BLOCK_SHIFT);
	gm_rwlock_wrlock(&ctx->as->ctx_lock, GM_RANK_CTX);
	if (block && gm_view_next(ctx, r, off, off + GM_PAGE_SIZE, &i, &v))
		err = gm_leaf_cut(&v, block, off + v.delta);
	if (!err)
		cut_window(ctx, w, high, va);
	gm_rwlock_unlock(&ctx->as->ctx_lock, GM_RANK_CTX);
	if (r)
		gm_block_drop(r->obj, block);
	if (err)
		gm_pool_put(&gm_core.windows, high);
	return err;
}

/* -EINVAL unless these are ranges that can be windows; @dev too: that the device can name. */
static int check(const struct gm_context *ctx, const struct gm_window *w, unsigned int n, bool dev)
{
	uint64_t page = GM_MAX(ctx->dev->mmu->pgsize_bitmap & -ctx->dev->mmu->pgsize_bitmap,
			       GM_PAGE_SIZE);

	if (!w && n)
		return -EINVAL;
	for (unsigned int i = 0; i < n; i++) {
		if (!w[i].len || !gm_aligned(w[i].va | w[i].len, page) ||
		    w[i].va + w[i].len < w[i].va)
			return -EINVAL;
		if (!dev)
			continue;
		if (!gm_aligned(w[i].dev_va, page))
			return -EINVAL;
		if (w[i].dev_va + w[i].len < w[i].dev_va ||
		    w[i].dev_va + w[i].len > dev_limit(ctx->dev))
			return -ERANGE;
	}
	return 0;
}

/* ------------------------------------------------------------------- adding */

/* Enter what is where the device can map it already, so that it need not fault. */
static void populate(struct gm_context *ctx, uint64_t va, uint64_t end)
{
	struct gm_piece piece;

	while (va < end) {
		struct gm_block *block;

		if (!gm_piece_next(ctx->as, &va, end, &piece)) {
			va = gm_region_after(ctx->as, va, end);
			continue;
		}
		block = gm_block_find(piece.region->obj, piece.index, false);
		if (!block)
			continue;
		/* Should it fail, the device faults. */
		(void)gm_map_dev(ctx, piece.region, block, piece.first, piece.n);
		if (ctx->nr_in_place)
			(void)gm_map_host(ctx, piece.region, block, piece.first, piece.n);
		gm_block_unlock(block);
	}
}

/* All or none. */
static int add_locked(struct gm_context *ctx, const struct gm_window *w, unsigned int n)
{
	unsigned int done = 0;
	int err = reserve(ctx, n);

	while (!err && done < n) {
		err = add_one(ctx, &w[done]);
		done += !err;
	}
	while (err && done--)
		erase(ctx, ctx->windows[gm_window_lower(ctx, w[done].va)]);
	return err;
}

int gm_window_add(struct gm_context *ctx, const struct gm_window *w, unsigned int n)
{
	struct gm_as *as;
	int err;

	if (!ctx)
		return -EINVAL;
	ctx = ctx->owner;
	err = check(ctx, w, n, true);
	if (!err)
		err = gm_enter();
	if (err)
		return err;
	as = ctx->as;
	gm_rwlock_wrlock(&as->lock, GM_RANK_AS);
	gm_rwlock_wrlock(&as->ctx_lock, GM_RANK_CTX);
	err = add_locked(ctx, w, n);
	gm_rwlock_unlock(&as->ctx_lock, GM_RANK_CTX);
	for (unsigned int i = 0; i < n && !err; i++)
		populate(ctx, w[i].va, w[i].va + w[i].len);
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	return err;
}

/* ------------------------------------------------------------- taking away, changing */

/* Take what is gone out of the arrays: one pass over all, where erase() moves them for each. */
static void sweep(struct gm_context *ctx)
{
	uint32_t nr = 0, nr_dev = 0;

	for (uint32_t i = 0; i < ctx->nr_windows; i++)
		if (!ctx->by_dev[i]->gone)
			ctx->by_dev[nr_dev++] = ctx->by_dev[i];
	for (uint32_t i = 0; i < ctx->nr_windows; i++) {
		struct gm_seen *w = ctx->windows[i];

		if (!w->gone) {
			ctx->windows[nr++] = w;
			continue;
		}
		count_in_place(ctx, w->mode, -1);
		gm_pool_put(&gm_core.windows, w);
	}
	ctx->nr_windows = nr;
}

#define MANY 16U /* windows that are removed at once, above which a pass over all is cheaper */

/* What a bulk change does to the windows of [va, end) once nothing is mapped through them. */
typedef void window_fn(struct gm_context *ctx, struct gm_seen *w, enum gm_mode mode);

static void remove_window(struct gm_context *ctx, struct gm_seen *w, enum gm_mode mode)
{
	(void)mode;
	(void)ctx;
	w->gone = true;
}

static void change_mode(struct gm_context *ctx, struct gm_seen *w, enum gm_mode mode)
{
	count_in_place(ctx, w->mode, -1);
	w->mode = mode;
	count_in_place(ctx, w->mode, 1);
}

/* Release what the device has mapped of a window; invalidation is left to the owner of @g. */
static int release_window(struct gm_context *ctx, const struct gm_seen *w, struct gm_gather *g)
{
	uint64_t va = gm_region_after(ctx->as, w->va, w->end), end;
	uint64_t unit = gm_unit_bytes(ctx->dev);
	int err = 0;

	for (; va < w->end && !err; va = gm_region_after(ctx->as, end, w->end)) {
		uint64_t dva = gm_round_up(va - w->va + w->dev_va, unit), size;

		end = GM_MIN(w->end, gm_region_end(gm_region_find(ctx->as, va)));
		size = gm_round_down(end - w->va + w->dev_va, unit) - dva;
		if (dva + size <= dva) /* not one whole base page */
			continue;
		gm_lock_check_may_sleep();
		err = ctx->dev->mmu->pmap_release(ctx->pmap, dva, size);
		if (!err)
			gm_span_forget(ctx, dva, dva + size);
		if (!err)
			err = gm_gather_add(g, ctx, dva, size);
	}
	return err;
}

/*
 * Windows begin and end where the ranges do. Release all, invalidate once, do @fn to each. An
 * error: nothing has changed, but that the device may have to fault anew.
 */
static int change_locked(struct gm_context *ctx, const struct gm_window *ranges, unsigned int n,
			 window_fn *fn, enum gm_mode mode, struct gm_gather *g)
{
	int err = 0;

	for (unsigned int i = 0; i < n && !err; i++) {
		uint64_t end = ranges[i].va + ranges[i].len;
		uint32_t at = gm_window_lower(ctx, ranges[i].va);

		for (; at < ctx->nr_windows && ctx->windows[at]->va < end && !err; at++)
			err = release_window(ctx, ctx->windows[at], g);
	}
	if (!err)
		err = gm_gather_flush(g);
	for (unsigned int i = 0; i < n && !err; i++) {
		uint64_t end = ranges[i].va + ranges[i].len;
		uint32_t at = gm_window_lower(ctx, ranges[i].va);

		/* What two ranges name has gone with the first. */
		while (at < ctx->nr_windows && ctx->windows[at]->va < end) {
			struct gm_seen *w = ctx->windows[at];

			fn(ctx, w, mode);
			if (w->gone && n < MANY)
				erase(ctx, w);
			else
				at++;
		}
	}
	if (!err && n >= MANY && fn == remove_window)
		sweep(ctx);
	return err;
}

/* A gather that holds a whole bulk, if there is memory for it. */
static void gather_bulk(struct gm_gather *g, unsigned int n)
{
	gm_gather_init(g);
	if (n <= GM_GATHER_FEW)
		return;
	g->range = gm_os_alloc(n * sizeof(*g->range));
	if (g->range)
		g->max = n;
	else
		g->range = g->few;
}

static void gather_end(struct gm_gather *g)
{
	if (g->range != g->few)
		gm_os_free(g->range, g->max * sizeof(*g->range));
}

/* Is the range a window, as it is when what was added is removed? Nothing is to be cut then. */
static bool is_window(const struct gm_context *ctx, const struct gm_window *range)
{
	const struct gm_seen *w = gm_window_at(ctx, range->va);

	return w && w->va == range->va && w->end == range->va + range->len;
}

/* What was held because a device mapped it in place, and none does any more. */
static void let_go(struct gm_context *ctx, uint64_t va, uint64_t end)
{
	while ((va = gm_region_after(ctx->as, va, end)) < end) {
		const struct gm_region *r = gm_region_find(ctx->as, va);
		uint64_t stop = GM_MIN(end, gm_region_end(r));

		gm_in_place_left(r, va, stop);
		va = stop;
	}
}

/* as->lock held for writing. -ENOENT: a range is not wholly shown. */
static int change(struct gm_context *ctx, const struct gm_window *ranges, unsigned int n,
		  window_fn *fn, enum gm_mode mode)
{
	struct gm_gather g gm_uninitialized;
	unsigned int first = 0; /* to be cut */
	int err = 0;

	while (first < n && is_window(ctx, &ranges[first]))
		first++;
	for (unsigned int i = first; i < n && !err; i++)
		if (gm_window_check(ctx, ranges[i].va, ranges[i].va + ranges[i].len, ~0U))
			err = -ENOENT;
	for (unsigned int i = first; i < n && !err; i++) {
		err = carve(ctx, ranges[i].va);
		if (!err)
			err = carve(ctx, ranges[i].va + ranges[i].len);
	}
	if (err)
		return err;
	gather_bulk(&g, n);
	gm_rwlock_wrlock(&ctx->as->ctx_lock, GM_RANK_CTX);
	err = change_locked(ctx, ranges, n, fn, mode, &g);
	gm_rwlock_unlock(&ctx->as->ctx_lock, GM_RANK_CTX);
	gather_end(&g);
	for (unsigned int i = 0; i < n && !err; i++)
		let_go(ctx, ranges[i].va, ranges[i].va + ranges[i].len);
	return err;
}

int gm_window_remove(struct gm_context *ctx, const struct gm_window *ranges, unsigned int n)
{
	int err;

	if (!ctx)
		return -EINVAL;
	ctx = ctx->owner;
	err = check(ctx, ranges, n, false);
	if (!err)
		err = gm_enter();
	if (err)
		return err;
	gm_rwlock_wrlock(&ctx->as->lock, GM_RANK_AS);
	err = change(ctx, ranges, n, remove_window, GM_EXCLUSIVE);
	gm_rwlock_unlock(&ctx->as->lock, GM_RANK_AS);
	return err;
}

int gm_context_set_mode(struct gm_context *ctx, uint64_t va, uint64_t len, enum gm_mode mode)
{
	struct gm_window range = { .va = va, .len = len };
	int err;

	if (!ctx || (mode != GM_EXCLUSIVE && mode != GM_REPLICATE))
		return -EINVAL;
	ctx = ctx->owner;
	err = check(ctx, &range, 1, false);
	if (!err)
		err = gm_mode_check(ctx->dev, mode);
	if (!err)
		err = gm_enter();
	if (err)
		return err;
	gm_rwlock_wrlock(&ctx->as->lock, GM_RANK_AS);
	err = gm_window_check(ctx, va, va + len, ~0U) ? -ENOENT : 0;
	if (!err && mode == GM_REPLICATE)
		err = gm_range_home(ctx, va, va + len);
	if (!err)
		err = change(ctx, &range, 1, change_mode, mode);
	if (!err)
		populate(ctx, va, va + len);
	gm_rwlock_unlock(&ctx->as->lock, GM_RANK_AS);
	return err;
}
