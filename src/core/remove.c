// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Removal: a device goes, whoever uses it.
 *
 * Theory. From the moment gm_dev_remove() begins the device takes nothing in: no frame of it
 * is given out, nothing is entered in its pmaps, no context is attached. What it has comes
 * home, pinned or not, if its copy engine still works. A copy that fails is tried again in
 * halves, down to the page; a page that cannot be copied by itself is lost (BAD), for there
 * is no other place with its bytes: a kept host frame is older than they are. (Of a device whose
 * base page is larger, the base page.) So what could
 * be had is had, in at most two copies a page, and what could not is an error to touch,
 * never zeros. Only the engine's own word loses a page. Where the host fails, or the driver
 * for want of memory (-ENOMEM), the page stays where it is and the removal may be repeated.
 *
 * Its page tables. The driver has stopped the device before it calls: nothing reads or
 * writes memory by way of a pmap any more. Translations that nobody uses need not be
 * dropped, and who would drop them may be gone; so the operations on pmaps, which those
 * who unmap go on calling, are replaced by some that do nothing, at once. I3 and I5 hold
 * for want of anybody who could break them. A thread that has looked at the old table just
 * before may still call the driver once; it has the address space or a context of it locked
 * meanwhile, so it is done when gm_as_detach() of the context is.
 *
 * An end. Nobody adds pages, so a walk over the residents ends with none, but for those that
 * moved in the lists and for frames that a fault has in hand, which it returns or which
 * become pages. Both are looked for again, a bounded number of times, as in gm_dev_destroy();
 * faults in flight find the device gone when they try again. Locks are taken in the order
 * that draining takes them in: gm_core.lock, then one block at a time.
 *
 * Others. A device that copies from this one has the block locked, and either has the page
 * when it is done, or has not, and then the page is ours to bring home or to lose.
 */
#include "core/move.h"

static int gone_enter(void *pmap, uint64_t va, uint64_t pa, uint64_t size, uint64_t leaf,
		      uint32_t prot)
{
	(void)pmap;
	(void)va;
	(void)pa;
	(void)size;
	(void)leaf;
	(void)prot;
	return -ENODEV;
}

static int gone_enter_host(void *pmap, uint64_t va, uint64_t host, uint64_t size, uint32_t prot)
{
	return gone_enter(pmap, va, host, size, GM_PAGE_SIZE, prot);
}

static int gone_enter_peer(void *pmap, uint64_t va, struct gm_dev *peer, uint64_t pa, uint64_t size)
{
	(void)peer;
	return gone_enter(pmap, va, pa, size, GM_PAGE_SIZE, GM_READ);
}

static int gone_release(void *pmap, uint64_t va, uint64_t size)
{
	(void)pmap;
	(void)va;
	(void)size;
	return 0;
}

static int gone_protect(void *pmap, uint64_t va, uint64_t size, uint32_t prot)
{
	(void)prot;
	return gone_release(pmap, va, size);
}

static int gone_invl(void *pmap, const struct gm_tlb_range *ranges, unsigned int n)
{
	(void)ranges;
	(void)n;
	return gone_release(pmap, 0, 0);
}

/* The table of a device that is gone: the driver's, but for what works on pmaps. */
void gm_gone_init(struct gm_dev *dev)
{
	dev->gone = dev->ops;
	dev->gone.pmap_enter = gone_enter;
	if (dev->ops.pmap_enter_host)
		dev->gone.pmap_enter_host = gone_enter_host;
	/* Whose table is another's has no link: nobody reads there any more. */
	if (dev->ops.pmap_enter_peer)
		dev->gone.pmap_enter_peer = gone_enter_peer;
	dev->gone.cookie = 0; /* nobody shares its tables */
	dev->gone.pmap_release = gone_release;
	dev->gone.pmap_protect = gone_protect;
	dev->gone.tlb_invl = gone_release;
	dev->gone.tlb_invl_coalesced = gone_invl;
	dev->gone.peer_va_alloc_fixed = NULL; /* it has no addresses of its own any more */
	dev->gone.peer_va_free = NULL;
	dev->gone.pmap_age = NULL;
	dev->gone.peer_map = NULL; /* composed of copy, and of nothing */
	dev->gone.peer_unmap = NULL;
}

/*
 * Bring home what a device that is gone has of a locked block, or lose it. An error is not
 * the copy engine's: what is still there may be tried again.
 */
int gm_salvage(struct gm_block *block, struct gm_dev *dev)
{
	unsigned int page = 0, n = GM_BLOCK_PAGES;
	bool engine;
	struct gm_home how = { .dev = dev, .why = GM_WHY_DRAIN, .engine = &engine };
	int err = 0;

	while (page < GM_BLOCK_PAGES && !err) {
		engine = false;
		err = gm_home_from(block, dev, &how, page, page + n);
		if (engine && n > dev->unit) {
			n /= 2;
			err = 0;
			continue;
		}
		if (engine) {
			gm_unit_lose(block, dev, page);
			err = 0;
		}
		page += n;
		n = page & (0U - page); /* the largest aligned piece that begins here */
	}
	gm_block_fold(block);
	gm_resident_put_idle(block);
	return err;
}

int gm_dev_remove(struct gm_dev *dev)
{
	int err;

	if (!dev)
		return -EINVAL;
	err = gm_enter();
	if (err)
		return err;
	gm_mutex_lock(&gm_core.lock, GM_RANK_CORE);
	dev->mmu = &dev->gone;
	gm_spin_lock(&dev->hnode.lock, GM_RANK_HNODE);
	dev->hnode.closing = true; /* for good */
	gm_spin_unlock(&dev->hnode.lock, GM_RANK_HNODE);
	err = gm_dev_empty(dev, NULL);
	gm_mutex_unlock(&gm_core.lock, GM_RANK_CORE);
	return err;
}
