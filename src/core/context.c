// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Contexts: a device attached to an address space.
 *
 * A context owns a pmap, and windows through which it sees the address space (window.c), or it
 * shares both with another, its owner: then it has neither windows nor pages, so those who walk
 * views pass it over, and only invalidations and faults know of it. Its address space lists it;
 * those who come from a block's side find it there under ctx_lock. Detaching brings home what the
 * device has of the address space's regions; then all that is mapped in it is released and the
 * context leaves the list, in one step for those who come from a block, so the pmap is empty when
 * it is destroyed. Pages of an object with a name that another address space still uses come home
 * too: they fault back.
 *
 * Locking: as->lock for writing, then ctx_lock for writing to change the list. A device
 * counts its contexts under its hnode's lock, where gm_dev_destroy() looks.
 */
#include "core/span.h"

/* The context of @dev, or NULL; as->lock or ctx_lock held. */
struct gm_context *gm_context_find(struct gm_as *as, const struct gm_dev *dev)
{
	struct gm_context *ctx = as->contexts;

	while (ctx && ctx->dev != dev)
		ctx = ctx->next;
	return ctx;
}

static void list_add(struct gm_as *as, struct gm_context *ctx)
{
	gm_rwlock_wrlock(&as->ctx_lock, GM_RANK_CTX);
	ctx->next = as->contexts;
	as->contexts = ctx;
	if (ctx->owner != ctx) {
		ctx->next_sharer = ctx->owner->sharers;
		ctx->owner->sharers = ctx;
	}
	gm_rwlock_unlock(&as->ctx_lock, GM_RANK_CTX);
}

/* ctx_lock held for writing. */
static void list_del(struct gm_as *as, struct gm_context *ctx)
{
	struct gm_context **link = &as->contexts;

	while (*link != ctx)
		link = &(*link)->next;
	*link = ctx->next;
	if (ctx->owner == ctx)
		return;
	link = &ctx->owner->sharers;
	while (*link != ctx)
		link = &(*link)->next_sharer;
	*link = ctx->next_sharer;
	/* Its TLB goes with it: nobody invalidates there any more. */
	ctx->dev->mmu->pmap_destroy(ctx->dev, ctx->pmap);
}

/* Whose pmap @dev can share: the first that has the same kind, or NULL. */
static struct gm_context *owner_for(struct gm_as *as, const struct gm_dev *dev)
{
	struct gm_context *found = NULL;

	for (struct gm_context *ctx = as->contexts; ctx; ctx = ctx->next) {
		const struct gm_mmu *mmu = ctx->dev->mmu;

		/* No cookie: the device is being removed. */
		if (ctx->owner == ctx && mmu->cookie && mmu->cookie == dev->mmu->cookie &&
		    mmu->pgsize_bitmap == dev->mmu->pgsize_bitmap &&
		    mmu->va_bits == dev->mmu->va_bits)
			found = ctx;
	}
	return found;
}

/* A pmap of its own, and windows; or those of whoever can share them. */
static int pmap_begin(struct gm_context *ctx, bool sparse)
{
	struct gm_dev *dev = ctx->dev;
	int err;

	if (ctx->mode == GM_SHARE) {
		ctx->owner = owner_for(ctx->as, dev);
		if (ctx->owner && sparse)
			return -EINVAL; /* it sees what the owner sees */
		if (ctx->owner)
			return dev->mmu->pmap_share(dev, ctx->owner->pmap, &ctx->pmap);
		ctx->mode = GM_EXCLUSIVE;
	}
	ctx->owner = ctx;
	err = gm_windows_init(ctx, sparse);
	if (err)
		return err;
	err = gm_spans_new(dev, &ctx->spans);
	if (err)
		goto err_windows;
	err = dev->mmu->pmap_create(dev, &ctx->pmap);
	if (err)
		goto err_spans;
	ctx->asked = !sparse;
	err = gm_va_attach(ctx);
	if (err)
		goto err_pmap;
	return 0;

err_pmap:
	dev->mmu->pmap_destroy(dev, ctx->pmap);
err_spans:
	gm_spans_free(ctx->spans);
err_windows:
	gm_windows_end(ctx);
	return err;
}

static int attach_locked(struct gm_as *as, struct gm_context *ctx, bool sparse)
{
	int err;

	if (gm_context_find(as, ctx->dev))
		return -EBUSY;
	err = gm_hnode_attached(ctx->dev);
	if (err)
		return err;
	err = pmap_begin(ctx, sparse);
	if (err)
		gm_hnode_detached(ctx->dev);
	else
		list_add(as, ctx);
	return err;
}

/* Can a device be attached, or a window be, in this mode? */
int gm_mode_check(const struct gm_dev *dev, enum gm_mode mode)
{
	if ((unsigned int)mode > GM_SHARE)
		return -EINVAL;
	if ((mode == GM_SHARE && (!dev->mmu->cookie || !dev->mmu->pmap_share)) ||
	    (mode == GM_REPLICATE &&
	     (!dev->mmu->pmap_enter_host || dev->unit > 1 || !gm_os_backing_in_place(NULL))))
		return -EOPNOTSUPP;
	return 0;
}

static int attach(struct gm_as *as, struct gm_dev *dev, enum gm_mode mode, bool sparse,
		  struct gm_context **out)
{
	struct gm_context *ctx;
	int err;

	if (!as || !dev || !out)
		return -EINVAL;
	err = gm_mode_check(dev, mode);
	if (err == -EOPNOTSUPP && gm_dev_gone(dev)) /* it shares nothing any more */
		err = -ENODEV;
	if (!err)
		err = gm_enter();
	if (err)
		return err;
	ctx = gm_os_alloc(sizeof(*ctx));
	if (!ctx)
		return -ENOMEM;
	ctx->as = as;
	ctx->dev = dev;
	ctx->mode = mode;
	ctx->id = gm_add(&gm_core.ids, 1) + 1;
	gm_rwlock_wrlock(&as->lock, GM_RANK_AS);
	err = attach_locked(as, ctx, sparse);
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	if (err)
		gm_os_free(ctx, sizeof(*ctx));
	else
		*out = ctx;
	return err;
}

int gm_as_attach(struct gm_as *as, struct gm_dev *dev, enum gm_mode mode, struct gm_context **ctx)
{
	return attach(as, dev, mode, false, ctx);
}

int gm_as_attach_sparse(struct gm_as *as, struct gm_dev *dev, enum gm_mode mode,
			struct gm_context **ctx)
{
	return attach(as, dev, mode, true, ctx);
}

/* Bring home what @dev has of [va, end) of the region. */
static int empty_region(struct gm_region *r, struct gm_dev *dev, uint64_t va, uint64_t end)
{
	struct gm_home how = { .dev = dev, .as = r->as, .why = GM_WHY_DRAIN };
	uint64_t lo = va - r->va + r->offset, hi = end - r->va + r->offset;
	uint64_t index = lo >> GM_BLOCK_SHIFT, last = (hi + GM_BLOCK_SIZE - 1) >> GM_BLOCK_SHIFT;
	int err = 0;

	for (; !err && (index = gm_lpt_next(r->obj, index, last)) < last; index++) {
		struct gm_block *block = gm_block_find(r->obj, index, false);
		uint64_t base = index << GM_BLOCK_SHIFT;
		unsigned int first, n;

		if (!block)
			continue;
		first = lo > base ? (unsigned int)((lo - base) >> GM_PAGE_SHIFT) : 0;
		n = (unsigned int)((GM_MIN(hi, base + GM_BLOCK_SIZE) - base) >> GM_PAGE_SHIFT) -
		    first;
		err = gm_migrate_home(block, first, n, &how);
		gm_block_unlock(block);
	}
	return err;
}

/* Bring home what the context's device has of [va, end). as->lock held for writing. */
int gm_range_home(struct gm_context *ctx, uint64_t va, uint64_t end)
{
	int err = 0;

	while (!err && (va = gm_region_after(ctx->as, va, end)) < end) {
		struct gm_region *r = gm_region_find(ctx->as, va);
		uint64_t stop = GM_MIN(end, gm_region_end(r));

		err = empty_region(r, ctx->dev, va, stop);
		va = stop;
	}
	return err;
}

/*
 * Release all that is mapped in the context's pmap, and take it off the list, in one hold of
 * ctx_lock. Before, nobody may overlook it: what it has of host memory, of a peer's, or by another
 * address space's use of a shared object may be moved any time. From then on nobody enters
 * anything.
 */
static int unlist(struct gm_as *as, struct gm_context *ctx)
{
	int err = 0;

	gm_rwlock_wrlock(&as->ctx_lock, GM_RANK_CTX);
	for (uint32_t i = 0; i < as->nr_regions && !err; i++)
		err = gm_release_region(as->regions[i], ctx, false, 0);
	if (!err)
		list_del(as, ctx);
	gm_rwlock_unlock(&as->ctx_lock, GM_RANK_CTX);
	return err;
}

/* Bring home, release, unlist. as->lock held for writing. */
static int detach_locked(struct gm_as *as, struct gm_context *ctx)
{
	int err;

	if (ctx->sharers)
		return -EBUSY;
	err = gm_range_home(ctx, 0, UINT64_MAX);
	if (!err)
		err = unlist(as, ctx);
	for (uint32_t i = 0; i < as->nr_regions && !err; i++)
		gm_in_place_left(as->regions[i], as->regions[i]->va, gm_region_end(as->regions[i]));
	if (!err)
		gm_attr_forget(as, ctx->dev);
	if (!err && ctx->owner == ctx) {
		gm_va_detach(ctx);
		ctx->dev->mmu->pmap_destroy(ctx->dev, ctx->pmap);
	}
	return err;
}

int gm_as_detach(struct gm_context *ctx)
{
	struct gm_as *as;
	int err;

	if (!ctx)
		return -EINVAL;
	err = gm_enter();
	if (err)
		return err;
	as = ctx->as;
	gm_rwlock_wrlock(&as->lock, GM_RANK_AS);
	err = detach_locked(as, ctx);
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	if (err)
		return err;
	gm_hnode_detached(ctx->dev);
	gm_spans_free(ctx->spans);
	gm_windows_end(ctx);
	gm_os_free(ctx, sizeof(*ctx));
	return 0;
}

/*
 * The pmap of a context that has windows in mode GM_REPLICATE is full, or too many pages are held
 * for it: all of it goes, and the pages are let go; the device faults for what it needs.
 */
int gm_context_empty(struct gm_context *ctx)
{
	struct gm_as *as = ctx->as;
	int err = 0;

	gm_rwlock_wrlock(&as->lock, GM_RANK_AS);
	for (uint32_t i = 0; i < as->nr_regions && !err; i++) {
		gm_rwlock_wrlock(&as->regions[i]->obj->maps_lock, GM_RANK_MAPS);
		err = gm_release_region(as->regions[i], ctx, false, 0);
		gm_rwlock_unlock(&as->regions[i]->obj->maps_lock, GM_RANK_MAPS);
		if (!err)
			err = gm_in_place_take(as->regions[i]);
	}
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	return err;
}

void *gm_context_pmap(const struct gm_context *ctx)
{
	return ctx->pmap;
}

struct gm_as *gm_context_as(const struct gm_context *ctx)
{
	return ctx->as;
}
