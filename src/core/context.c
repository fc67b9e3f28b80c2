// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Contexts: a device attached to an address space.
 *
 * A context owns a pmap. Its address space lists it; those who come from a block's
 * side find it there under ctx_lock. Detaching brings home what the device has of the
 * address space's regions; then the context leaves the list, and what others' faults
 * have mapped in it meanwhile is released, so the pmap is empty when it is destroyed.
 * Pages of an object with a name that another address space still uses come home too:
 * they fault back.
 *
 * Locking: as->lock for writing, then ctx_lock for writing to change the list. A device
 * counts its contexts under its hnode's lock, where gm_dev_destroy() looks.
 */
#include "core/core.h"

/* The context of @dev, or NULL; as->lock or ctx_lock held. */
struct gm_context *gm_context_find(struct gm_as *as, const struct gm_dev *dev)
{
	struct gm_context *ctx = as->contexts;

	while (ctx && ctx->dev != dev)
		ctx = ctx->next;
	return ctx;
}

static void list_change(struct gm_as *as, struct gm_context *add, struct gm_context *del)
{
	gm_rwlock_wrlock(&as->ctx_lock, GM_RANK_CTX);
	for (struct gm_context **link = &as->contexts; del && *link; link = &(*link)->next) {
		if (*link == del) {
			*link = del->next;
			break;
		}
	}
	if (add) {
		add->next = as->contexts;
		as->contexts = add;
	}
	if (add && add->mode == GM_REPLICATE)
		gm_add(&gm_core.in_place, 1);
	if (del && del->mode == GM_REPLICATE)
		gm_sub(&gm_core.in_place, 1);
	gm_rwlock_unlock(&as->ctx_lock, GM_RANK_CTX);
}

static int attach_locked(struct gm_as *as, struct gm_dev *dev, struct gm_context *ctx)
{
	int err;

	if (gm_context_find(as, dev))
		return -EBUSY;
	err = gm_hnode_attached(dev);
	if (err)
		return err;
	err = dev->mmu->pmap_create(dev, &ctx->pmap);
	if (err)
		goto err_hnode;
	err = gm_va_attach(ctx);
	if (err)
		goto err_pmap;
	list_change(as, ctx, NULL);
	return 0;

err_pmap:
	dev->mmu->pmap_destroy(dev, ctx->pmap);
err_hnode:
	gm_hnode_detached(dev);
	return err;
}

int gm_as_attach(struct gm_as *as, struct gm_dev *dev, enum gm_mode mode, struct gm_context **out)
{
	struct gm_context *ctx;
	int err;

	if (!as || !dev || !out || (unsigned int)mode > GM_SHARE)
		return -EINVAL;
	if (mode == GM_SHARE ||
	    (mode == GM_REPLICATE && (!dev->mmu->pmap_enter_host || !gm_os_backing_in_place(NULL))))
		return -EOPNOTSUPP;
	err = gm_enter();
	if (err)
		return err;
	ctx = gm_os_alloc(sizeof(*ctx));
	if (!ctx)
		return -ENOMEM;
	ctx->as = as;
	ctx->dev = dev;
	ctx->mode = mode;
	gm_rwlock_wrlock(&as->lock, GM_RANK_AS);
	err = attach_locked(as, dev, ctx);
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	if (err)
		gm_os_free(ctx, sizeof(*ctx));
	else
		*out = ctx;
	return err;
}

/* Bring home what @dev has of the region. */
static int empty_region(struct gm_region *r, struct gm_dev *dev)
{
	struct gm_home how = { .dev = dev, .as = r->as, .why = GM_WHY_DRAIN };
	uint64_t index = r->offset >> GM_BLOCK_SHIFT;
	uint64_t end = (r->offset + r->len + GM_BLOCK_SIZE - 1) >> GM_BLOCK_SHIFT;
	int err = 0;

	for (; !err && (index = gm_lpt_next(r->obj, index, end)) < end; index++) {
		struct gm_block *block = gm_block_find(r->obj, index, false);
		unsigned int first = 0, n = GM_BLOCK_PAGES;

		if (!block)
			continue;
		gm_clip(r, index, &first, &n);
		err = gm_migrate_home(block, first, n, &how);
		gm_block_unlock(block);
	}
	return err;
}

/*
 * Take the context off the list: from then on nobody enters anything in its pmap. What
 * another address space's use of a shared object has entered since is released.
 */
static int unlist(struct gm_as *as, struct gm_context *ctx)
{
	int err = 0;

	list_change(as, NULL, ctx);
	for (uint32_t i = 0; i < as->nr_regions && !err; i++)
		err = gm_release_region(as->regions[i], ctx, false, 0);
	if (err)
		list_change(as, ctx, NULL);
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
	for (uint32_t i = 0; i < as->nr_regions && !err; i++)
		err = empty_region(as->regions[i], ctx->dev);
	if (!err)
		err = unlist(as, ctx);
	if (!err)
		gm_va_detach(ctx);
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	if (err)
		return err;
	ctx->dev->mmu->pmap_destroy(ctx->dev, ctx->pmap);
	gm_hnode_detached(ctx->dev);
	gm_os_free(ctx, sizeof(*ctx));
	return 0;
}

/* The pmap of a context in mode GM_REPLICATE is full: all of it goes, the device faults for what it needs. */
int gm_context_empty(struct gm_context *ctx)
{
	struct gm_as *as = ctx->as;
	int err = 0;

	gm_rwlock_wrlock(&as->lock, GM_RANK_AS);
	for (uint32_t i = 0; i < as->nr_regions && !err; i++) {
		gm_rwlock_wrlock(&as->regions[i]->obj->maps_lock, GM_RANK_MAPS);
		err = gm_release_region(as->regions[i], ctx, false, 0);
		gm_rwlock_unlock(&as->regions[i]->obj->maps_lock, GM_RANK_MAPS);
	}
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	return err;
}

void *gm_context_pmap(const struct gm_context *ctx)
{
	return ctx->pmap;
}
