// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * hmemcpy from one device's memory to another's, where the two have a link.
 *
 * Theory. Bytes that are on device S and go to a page on device D need not see the host if
 * the two have a link (peer.c): D's driver takes them out of S's memory. Both pages stay where
 * they are; both are out of all page tables meanwhile, as in any copy (I3), and are entered
 * again. Where this is not so, or not at the moment, the answer is no bytes, and the caller
 * makes the copy by way of its buffer, with the errors that belong to it (copy.c).
 *
 * Locking. Of one address space only: it is read-locked, and two of them are not locked at
 * once. Both blocks are locked, for nobody may move either page. No order is defined among
 * blocks, so neither is waited for: both are tried, like an evictor's victim, and if somebody
 * has one the bytes go by the buffer, which waits.
 */
#include "core/core.h"
#include "core/dma.h"
#include "core/peer.h"

/* One end of a copy: bytes of one page or more that follow one another on a device. */
struct gm_end {
	struct gm_block *block; /* locked */
	struct gm_dev *dev;
	unsigned int page, n;
	uint64_t pa, len;
};

/* The block, locked, if that takes no wait; or NULL. */
static struct gm_block *try_block(struct gm_object *obj, uint64_t index)
{
	struct gm_block *block = gm_lpt_peek(obj, index);

	if (!block || !gm_mutex_trylock(&block->lock, GM_RANK_BLOCK))
		return NULL;
	if (block->obj == obj && block->index == index)
		return block;
	gm_mutex_unlock(&block->lock, GM_RANK_BLOCK);
	return NULL;
}

/*
 * What is on a device from @va on, @len bytes at most; its block is @other's if it is the same.
 * False: nothing, or not now; no lock is taken then.
 */
static bool end_get(struct gm_as *as, uint64_t va, uint64_t len, uint32_t access,
		    const struct gm_end *other, struct gm_end *end)
{
	struct gm_region *r = gm_region_find(as, va);
	uint64_t off = r ? va - r->va + r->offset : 0, e;
	bool same;

	if (!r || (access & ~r->prot))
		return false;
	same = other && other->block->obj == r->obj && other->block->index == off >> GM_BLOCK_SHIFT;
	end->block = same ? other->block : try_block(r->obj, off >> GM_BLOCK_SHIFT);
	if (!end->block)
		return false;
	len = GM_MIN(len, gm_region_end(r) - va);
	end->page = (unsigned int)(off >> GM_PAGE_SHIFT & (GM_BLOCK_PAGES - 1));
	end->n = gm_block_run(end->block, end->page, GM_BLOCK_PAGES, &e);
	if (gm_entry_state(e) != GM_DEV) {
		if (!same)
			gm_block_unlock(end->block);
		return false;
	}
	off &= GM_PAGE_SIZE - 1;
	end->dev = gm_core.dev[gm_entry_dev(e)];
	end->pa = (gm_entry_pfn(e) << GM_PAGE_SHIFT) + off;
	end->len = GM_MIN(len, ((uint64_t)end->n << GM_PAGE_SHIFT) - off);
	return true;
}

static void end_cut(struct gm_end *end, uint64_t len)
{
	uint64_t off = end->pa & (GM_PAGE_SIZE - 1);

	end->len = len;
	end->n = (unsigned int)((off + len + GM_PAGE_SIZE - 1) >> GM_PAGE_SHIFT);
}

static int copy(struct gm_as *as, const struct gm_end *dst, const struct gm_end *src)
{
	struct gm_dma dma gm_uninitialized;
	int err;

	err = gm_unmap_dev(dst->block, dst->dev, dst->page, dst->n);
	if (err)
		return err;
	err = gm_unmap_dev(src->block, src->dev, src->page, src->n);
	if (!err) {
		gm_dma_begin_peer(&dma, dst->dev, src->dev);
		gm_dma_add_peer(&dma, dst->pa, src->pa, src->len);
		err = gm_dma_end(&dma, as);
		gm_remap_dev(src->block, src->dev, src->page, src->n);
	}
	gm_remap_dev(dst->block, dst->dev, dst->page, dst->n);
	return err;
}

/*
 * Copy the first bytes of [src, src+len) to @dst, both of @as, from device to device: how many
 * is *done, 0 if not so. Fails: -EOPNOTSUPP, these two devices have no link after all; else as
 * the drivers do, with *done 0.
 */
int gm_copy_direct(struct gm_as *as, uint64_t dst, uint64_t src, uint64_t len, uint64_t *done)
{
	struct gm_end to, from;
	int err = 0;

	*done = 0;
	gm_rwlock_rdlock(&as->lock, GM_RANK_AS);
	if (!end_get(as, dst, len, GM_WRITE, NULL, &to))
		goto out_as;
	if (!end_get(as, src, to.len, GM_READ, &to, &from))
		goto out_to;
	if (to.dev != from.dev && gm_peer_linked(to.dev, from.dev) && !gm_dev_gone(from.dev)) {
		end_cut(&to, from.len);
		end_cut(&from, from.len);
		err = copy(as, &to, &from);
		if (!err)
			*done = from.len;
	}
	if (from.block != to.block)
		gm_block_unlock(from.block);
out_to:
	gm_block_unlock(to.block);
out_as:
	gm_rwlock_unlock(&as->lock, GM_RANK_AS);
	return err;
}
