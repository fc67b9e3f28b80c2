// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Apertures: device memory that the CPU can address too, and so need not leave.
 *
 * Theory. A range of device memory may lie in the machine's physical address space,
 * coherent with the CPU's caches. A page there has one place like any other (I1), and
 * both sides may have it mapped at the same time: the bytes are the same. So a CPU fault
 * on such a page maps it where it is, with the host's largest leaf that fits, and nothing
 * moves; what moves it is a hint, an eviction or another device. Then the CPU's mapping
 * goes first, like the device's (I3).
 *
 * Frames that somebody else holds. What the kernel handed out (direct I/O, RDMA) is
 * reached without a mapping. A page that is held so does not move: -EBUSY. If it is
 * dropped instead, its frame is free, but is not given to anybody before it is let go
 * of: who allocates looks (gm_hnode_alloc()). Nobody can take hold of a free frame, for
 * it is mapped nowhere, so what was seen idle stays idle.
 *
 * Locking. Ranges come and go under gm_core.lock and the hnode's spinlock; either keeps
 * them. A range with a page in it stays, so a block's lock keeps the ranges of its pages.
 */
#include "core/core.h"

/* No two apertures share an address, of whatever device: gm_core.lock held. */
int gm_aperture_open(struct gm_dev *dev, struct gm_physmem *range)
{
	uint64_t len = (range->buddy.end - range->buddy.begin) << GM_PAGE_SHIFT;
	int err;

	for (unsigned int i = 0; i < GM_MAX_DEVS; i++) {
		struct gm_physmem *r = gm_core.dev[i] ? gm_core.dev[i]->hnode.ranges : NULL;

		for (; r; r = r->next) {
			uint64_t n = (r->buddy.end - r->buddy.begin) << GM_PAGE_SHIFT;

			if (!r->cpu || range->cpu >= r->cpu + n || r->cpu >= range->cpu + len)
				continue;
			gm_os_warn("the CPU's addresses of its memory are another's, in driver",
				   dev->name);
			return -EBUSY;
		}
	}
	err = gm_os_aperture_open(range->cpu, len);
	if (!err)
		gm_store(&dev->apertures, dev->apertures + 1);
	return err;
}

/* Nobody holds a page of it: gm_core.lock held, the range drained. */
bool gm_aperture_unused(const struct gm_physmem *range)
{
	return !range->cpu ||
	       gm_os_aperture_idle(range->cpu, (range->buddy.end - range->buddy.begin)
						       << GM_PAGE_SHIFT);
}

void gm_aperture_close(struct gm_dev *dev, const struct gm_physmem *range)
{
	if (!range->cpu)
		return;
	gm_os_aperture_close(range->cpu, (range->buddy.end - range->buddy.begin) << GM_PAGE_SHIFT);
	gm_store(&dev->apertures, dev->apertures - 1);
}

/* The CPU's address of a frame, 0 if it has none; the range's frames are [*begin, *end). */
static uint64_t cpu_address(struct gm_dev *dev, uint64_t pfn, uint64_t *begin, uint64_t *end)
{
	struct gm_hnode *h = &dev->hnode;
	uint64_t cpu = 0;

	if (!gm_load(&dev->apertures))
		return 0;
	gm_spin_lock(&h->lock, GM_RANK_HNODE);
	for (struct gm_physmem *r = h->ranges; r; r = r->next) {
		if (pfn < r->buddy.begin || pfn >= r->buddy.end)
			continue;
		if (r->cpu)
			cpu = r->cpu + ((pfn - r->buddy.begin) << GM_PAGE_SHIFT);
		*begin = r->buddy.begin;
		*end = r->buddy.end;
		break;
	}
	gm_spin_unlock(&h->lock, GM_RANK_HNODE);
	return cpu;
}

/* Are frames that were just allocated, in one range, nobody else's? */
bool gm_aperture_idle(struct gm_dev *dev, uint64_t pfn, uint64_t n)
{
	uint64_t begin, end, cpu = cpu_address(dev, pfn, &begin, &end);

	return !cpu || gm_os_aperture_idle(cpu, n << GM_PAGE_SHIFT);
}

/* Is @page of the block on the device that entry @e names, in frame @pfn? */
static bool follows(const struct gm_block *block, unsigned int page, uint64_t e, uint64_t pfn)
{
	uint64_t next = gm_block_entry(block, page);

	return gm_entry_state(next) == GM_DEV && gm_entry_dev(next) == gm_entry_dev(e) &&
	       gm_entry_pfn(next) == pfn;
}

/*
 * If @page of a locked block lies in an aperture: the pages [*lo, *hi) around it that
 * follow one another there, and the CPU's address of the first.
 */
bool gm_aperture_run(const struct gm_block *block, unsigned int page, unsigned int *lo,
		     unsigned int *hi, uint64_t *cpu)
{
	uint64_t e = gm_block_entry(block, page), pfn = gm_entry_pfn(e), begin, end;

	if (gm_entry_state(e) != GM_DEV)
		return false;
	*cpu = cpu_address(gm_core.dev[gm_entry_dev(e)], pfn, &begin, &end);
	if (!*cpu)
		return false;
	*lo = page;
	*hi = page + 1;
	if (!block->pages) { /* one extent */
		*lo = page - (unsigned int)GM_MIN((uint64_t)page, pfn - begin);
		*hi = page + (unsigned int)GM_MIN((uint64_t)(GM_BLOCK_PAGES - page), end - pfn);
	}
	while (*lo && pfn - (page - *lo) > begin &&
	       follows(block, *lo - 1, e, pfn - (page - *lo) - 1))
		--*lo;
	while (*hi < GM_BLOCK_PAGES && pfn + (*hi - page) < end &&
	       follows(block, *hi, e, pfn + (*hi - page)))
		++*hi;
	*cpu -= (uint64_t)(page - *lo) << GM_PAGE_SHIFT;
	return true;
}

/* Take @n pages from @page on, one extent on @dev, away from the CPU; -EBUSY: they are held. */
int gm_aperture_unmap(struct gm_block *block, struct gm_dev *dev, unsigned int page, unsigned int n)
{
	uint64_t pfn = gm_entry_pfn(gm_block_entry(block, page)), begin, end = 0, cpu, part;
	int err;

	err = gm_unmap_cpu(block, page, n);
	for (uint64_t i = 0; i < n && !err; i += part) {
		cpu = cpu_address(dev, pfn + i, &begin, &end);
		part = GM_MIN(n - i, end - (pfn + i));
		if (cpu && !gm_os_aperture_idle(cpu, part << GM_PAGE_SHIFT))
			err = -EBUSY;
	}
	return err;
}
