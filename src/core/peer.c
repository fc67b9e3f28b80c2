// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * From device to device: the part of a move to a device (migrate.c) that concerns pages
 * which another device has.
 *
 * Theory. Two devices may have a link: whose tables name the same copy_peer, which then
 * takes bytes out of the one's memory into the other's. Such pages need not see the host.
 * They belong to the same transaction as those that come from there: frames on the target
 * first, then the source's mappings go, and the CPU's if the source is an aperture (I3),
 * then the copy, then the commit, which cannot fail. Until then the source's frames are the
 * authoritative place, and whatever fails leaves them so (I2, I4); who lost a mapping
 * faults and has it again. With the commit the entry, pin and retained host frame
 * included, names the target's frame, and the source's frames are freed (I5): by the driver's
 * word, which is its fence, nothing reads them any more.
 *
 * No link. Tables say that there may be a link, the driver says for each copy whether there
 * is: -EOPNOTSUPP, and migrate.c brings that device's pages home and begins anew. Any other
 * error is that of the fault or hint that wanted the pages.
 *
 * Whose failure. The target's driver makes the copy. The source's is asked to release and to
 * invalidate; if it fails, its pages stay where they are, and it is the same error as if the
 * CPU had wanted them. Nothing else of either device is touched.
 *
 * Locking. Block locked throughout, which keeps the source: a device with pages of a block
 * cannot go (dev.c). It may be gone as soon as the last of them is, so the commit's last
 * look at it is the count of its resident. The two hnodes' spinlocks are never held together,
 * so there is no order among devices, and pages of different blocks may cross.
 */
#include "core/peer.h"
#include "core/dma.h"
#include "core/trace.h"

/* May there be a link, by which @dev takes bytes out of @peer's memory? */
bool gm_peer_linked(const struct gm_dev *dev, const struct gm_dev *peer)
{
	return dev->mmu->copy_peer && dev->mmu->copy_peer == peer->mmu->copy_peer;
}

/* A walk over the pieces of some runs whose pages are alike. */
struct gm_walk {
	const struct gm_run *run, *end;
	unsigned int page, n; /* the piece */
	uint64_t e;	      /* its first entry */
	uint64_t pfn;	      /* where it goes */
};

static struct gm_walk walk_begin(const struct gm_run *runs, unsigned int nr)
{
	return (struct gm_walk){ .run = runs, .end = runs + nr, .page = runs->page };
}

static bool walk_next(struct gm_walk *w, const struct gm_block *block)
{
	w->page += w->n;
	if (w->page == w->run->page + w->run->n) {
		if (++w->run == w->end)
			return false;
		w->page = w->run->page;
	}
	w->n = gm_block_run(block, w->page, w->run->page + w->run->n, &w->e);
	w->pfn = w->run->pfn + (w->page - w->run->page);
	return true;
}

/* The next piece that @peer has. */
static bool walk_peer(struct gm_walk *w, const struct gm_block *block, const struct gm_dev *peer)
{
	while (walk_next(w, block))
		if (gm_entry_state(w->e) == GM_DEV && gm_entry_dev(w->e) == peer->index)
			return true;
	return false;
}

/* What devices have is on others than the target: runs are made for nothing else. */
void gm_peer_sources(const struct gm_block *block, const struct gm_run *runs, unsigned int nr,
		     struct gm_sources *from)
{
	struct gm_walk w = walk_begin(runs, nr);

	*from = (struct gm_sources){ .peers = 0 };
	while (walk_next(&w, block)) {
		if (gm_entry_state(w.e) == GM_DEV) {
			from->peers |= 1ULL << gm_entry_dev(w.e);
			continue;
		}
		if (!from->others)
			from->lo = w.page;
		from->others += w.n;
		from->hi = w.page + w.n;
	}
}

/* Take the peer's pages out of all page tables. */
static int unmap(struct gm_block *block, struct gm_dev *peer, const struct gm_run *runs,
		 unsigned int nr)
{
	unsigned int lo = GM_BLOCK_PAGES, hi = 0;
	struct gm_walk w = walk_begin(runs, nr);
	int err;

	while (walk_peer(&w, block, peer)) {
		lo = GM_MIN(lo, w.page);
		hi = w.page + w.n;
	}
	err = gm_unmap_dev(block, peer, lo, hi - lo);
	if (err || !gm_load(&peer->apertures))
		return err;
	w = walk_begin(runs, nr);
	while (!err && walk_peer(&w, block, peer))
		err = gm_aperture_unmap(block, peer, w.page, w.n);
	return err;
}

static int copy(struct gm_block *block, struct gm_dev *dev, struct gm_dev *peer, struct gm_as *as,
		const struct gm_run *runs, unsigned int nr)
{
	struct gm_walk w = walk_begin(runs, nr);
	struct gm_dma dma gm_uninitialized;

	gm_dma_begin_peer(&dma, dev, peer);
	while (walk_peer(&w, block, peer))
		gm_dma_add_peer(&dma, w.pfn << GM_PAGE_SHIFT, gm_entry_pfn(w.e) << GM_PAGE_SHIFT,
				(uint64_t)w.n << GM_PAGE_SHIFT);
	return gm_dma_end(&dma, as);
}

/*
 * Fill the frames of the runs whose pages other devices have. -EOPNOTSUPP with *no_link:
 * this device's cannot be had so.
 */
int gm_peer_fill(struct gm_block *block, struct gm_dev *dev, struct gm_as *as,
		 const struct gm_run *runs, unsigned int nr, const struct gm_sources *from,
		 struct gm_dev **no_link)
{
	int err = 0;

	for (uint64_t left = from->peers; left && !err; left &= left - 1) {
		struct gm_dev *peer = gm_core.dev[gm_ctz(left)];

		err = unmap(block, peer, runs, nr);
		if (err)
			break;
		err = copy(block, dev, peer, as, runs, nr);
		if (err == -EOPNOTSUPP)
			*no_link = peer;
	}
	return err;
}

static void commit_from(struct gm_block *block, struct gm_dev *dev, struct gm_dev *peer,
			struct gm_as *as, const struct gm_run *runs, unsigned int nr,
			struct gm_event *ev)
{
	uint64_t off = block->index << GM_BLOCK_SHIFT;
	struct gm_walk w = walk_begin(runs, nr);
	unsigned int pinned = 0;

	while (walk_peer(&w, block, peer)) {
		if (!ev->pages)
			ev->offset = off + ((uint64_t)w.page << GM_PAGE_SHIFT);
		ev->len = off + ((uint64_t)(w.page + w.n) << GM_PAGE_SHIFT) - ev->offset;
		ev->pages += w.n;
		pinned += w.e & GM_E_PINNED ? w.n : 0;
		gm_block_set(block, w.page, w.n,
			     gm_entry_on_dev(dev->index, w.pfn,
					     w.e & (GM_E_PINNED | GM_E_RETAINED)));
		gm_hnode_free(peer, block->obj, gm_entry_pfn(w.e), w.n);
		gm_policy_went(block, peer, w.page, w.n, gm_policy_why(ev->why));
	}
	gm_count(dev, as, pages_peer, ev->pages);
	/* Last: a device that holds nothing any more may be destroyed. */
	gm_resident_count(block, peer, -(int)ev->pages, -(int)pinned);
}

/*
 * They are the target's now, but for its count of them, which is of whole runs (migrate.c). An
 * event for each device that had some; the round began at time @begin, 0: nobody looks.
 */
void gm_peer_commit(struct gm_block *block, struct gm_dev *dev, struct gm_as *as, enum gm_why why,
		    const struct gm_run *runs, unsigned int nr, const struct gm_sources *from,
		    uint64_t begin)
{
	for (uint64_t left = from->peers; left; left &= left - 1) {
		struct gm_dev *peer = gm_core.dev[gm_ctz(left)];
		struct gm_event ev = { .kind = GM_EVENT_MIGRATE,
				       .why = why,
				       .as = as,
				       .obj = block->obj,
				       .from = gm_dev_node(peer),
				       .to = gm_dev_node(dev) };

		commit_from(block, dev, peer, as, runs, nr, &ev);
		ev.bytes = (uint64_t)ev.pages << GM_PAGE_SHIFT;
		if (begin)
			gm_trace_end(&ev, begin, 0);
	}
}
