// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Batches for a copy engine.
 *
 * Pieces are gathered, merged where they adjoin, and handed over when the array is
 * full; each hand-over has a fence, and the next piece waits for it: with one batch a
 * block in nearly every case there is nothing to overlap. The first error is kept and
 * nothing more is started. Host frames stay held until the engine has let go of them.
 *
 * Locking: block locked; may sleep.
 */
#include "core/dma.h"

void gm_dma_begin(struct gm_dma *dma, struct gm_dev *dev, enum gm_dma_op op, struct gm_object *obj)
{
	dma->dev = dev;
	dma->peer = NULL;
	dma->obj = obj;
	dma->op = op;
	dma->n = 0;
	dma->err = 0;
	dma->engine = false;
	dma->begin = 0;
}

/* From @peer's memory to @dev's: gm_dma_add_peer() adds to it. */
void gm_dma_begin_peer(struct gm_dma *dma, struct gm_dev *dev, struct gm_dev *peer)
{
	gm_dma_begin(dma, dev, GM_DMA_PEER, NULL);
	dma->peer = peer;
}

static void submit(struct gm_dma *dma)
{
	const struct gm_mmu *mmu = dma->dev->mmu;
	struct gm_fence fence;
	int err;

	gm_lock_check_may_sleep();
	gm_fence_init(&fence);
	if (dma->op == GM_DMA_ZERO)
		err = mmu->zero(dma->dev, dma->ext, dma->n, &fence);
	else if (dma->op == GM_DMA_PEER)
		err = mmu->copy_peer(dma->dev, dma->peer, dma->ext, dma->n, &fence);
	else
		err = mmu->copy(dma->dev, dma->op == GM_DMA_IN ? GM_TO_DEV : GM_TO_HOST, dma->ext,
				dma->n, &fence);
	if (!err)
		err = gm_fence_wait(&fence);
	for (unsigned int i = 0; dma->obj && i < dma->n; i++)
		gm_os_backing_put(dma->obj, dma->off[i], dma->ext[i].len);
	dma->n = 0;
	if (!dma->err) {
		dma->err = err;
		dma->engine = err != 0;
	}
}

static void add(struct gm_dma *dma, uint64_t pa, uint64_t bus, uint64_t off, uint64_t len)
{
	struct gm_extent *last = dma->n ? &dma->ext[dma->n - 1] : NULL;

	if (!dma->begin)
		dma->begin = gm_os_now_ns();

	if (last && last->pa + last->len == pa &&
	    (dma->op == GM_DMA_ZERO ||
	     (last->host + last->len == bus && dma->off[dma->n - 1] + last->len == off))) {
		last->len += len;
		return;
	}
	if (dma->n == GM_DMA_MAX)
		submit(dma);
	dma->off[dma->n] = off;
	dma->ext[dma->n++] = (struct gm_extent){ .pa = pa, .host = bus, .len = len };
}

/*
 * Copy between the device at @pa and the object's host frames at @off; made to exist unless they
 * do.
 */
void gm_dma_add(struct gm_dma *dma, uint64_t pa, uint64_t off, uint64_t len, bool exist)
{
	uint64_t bus = 0, got;

	while (len && !dma->err) {
		got = len;
		if (dma->op != GM_DMA_ZERO)
			dma->err = gm_os_backing_get(dma->obj, off, len, exist, &bus, &got);
		if (dma->err)
			return;
		add(dma, pa, bus, off, got);
		pa += got;
		off += got;
		len -= got;
	}
}

/* The same between @dev at @pa and the peer at @peer_pa. */
void gm_dma_add_peer(struct gm_dma *dma, uint64_t pa, uint64_t peer_pa, uint64_t len)
{
	if (!dma->err)
		add(dma, pa, peer_pa, peer_pa, len);
}

/* Wait for all; the first error, or 0: every byte is there. Adds the time to @as's counters too. */
int gm_dma_end(struct gm_dma *dma, struct gm_as *as)
{
	uint64_t ns;

	if (dma->n && dma->err) {
		for (unsigned int i = 0; dma->obj && i < dma->n; i++)
			gm_os_backing_put(dma->obj, dma->off[i], dma->ext[i].len);
	} else if (dma->n) {
		submit(dma);
	}
	if (dma->begin) {
		ns = gm_os_now_ns() - dma->begin;
		gm_count(dma->dev, as, ns_copy, ns);
	}
	return dma->err;
}

/* One copy with memory that is no object's: @bus comes from the host. */
int gm_dma_bytes(struct gm_dev *dev, enum gm_dma_op op, uint64_t pa, uint64_t bus, uint64_t len)
{
	struct gm_dma dma gm_uninitialized;

	gm_dma_begin(&dma, dev, op, NULL);
	add(&dma, pa, bus, 0, len);
	return gm_dma_end(&dma, NULL);
}
