// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The virtual device: a page table of a byte a page, and a copy engine that moves no bytes
 * but the clock.
 *
 * Accessed bits are a leaf's, as in hardware: a use of a page is noted with the page, and
 * counts for all of its leaf. There is no TLB which would hide a use. Host memory that is mapped
 * in place is fetched line by line, which costs bandwidth alone: so many are under way at a time.
 *
 * A copy, or a fill of zeros, costs its latency and its bytes at the link's, or the memory's,
 * bandwidth; an invalidation costs the same for any number of ranges. Nothing overlaps: the
 * clock is one. Page tables cost nothing.
 */
#include <errno.h>
#include <string.h>

#include "host/replay/internal.h"

#define PGSIZES (4096ULL | 65536ULL | 2097152ULL)

static uint8_t *pages_at(void *pmap, uint64_t va, uint64_t size)
{
	struct replay_dev *d = pmap;
	uint64_t first = (va - REPLAY_VA) / GM_PAGE_SIZE;

	replay_bug_on(va < REPLAY_VA || first > d->len || size / GM_PAGE_SIZE > d->len - first);
	return d->page + first;
}

static int pmap_create(struct gm_dev *dev, void **pmap)
{
	*pmap = gm_dev_data(dev);
	return 0;
}

static void pmap_destroy(struct gm_dev *dev, void *pmap)
{
	(void)dev;
	(void)pmap;
}

static int pmap_enter(void *pmap, uint64_t va, uint64_t pa, uint64_t size, uint64_t leaf,
		      uint32_t prot)
{
	int flags = prot & GM_WRITE ? REPLAY_PRESENT | REPLAY_WRITABLE : REPLAY_PRESENT;

	(void)pa;
	flags |= __builtin_ctzll(leaf / GM_PAGE_SIZE) << REPLAY_LEAF_SHIFT; /* 9 at most */
	memset(pages_at(pmap, va, size), flags, size / GM_PAGE_SIZE);
	return 0;
}

static int pmap_enter_host(void *pmap, uint64_t va, uint64_t host, uint64_t size, uint32_t prot)
{
	int flags = REPLAY_PRESENT | REPLAY_IN_PLACE | (prot & GM_WRITE ? REPLAY_WRITABLE : 0);

	(void)host;
	memset(pages_at(pmap, va, size), flags, size / GM_PAGE_SIZE);
	return 0;
}

static int pmap_release(void *pmap, uint64_t va, uint64_t size)
{
	memset(pages_at(pmap, va, size), 0, size / GM_PAGE_SIZE);
	return 0;
}

static int tlb_invl(void *pmap, uint64_t va, uint64_t size)
{
	(void)pmap;
	(void)va;
	(void)size;
	replay_host.now += replay_host.costs.invl_ns;
	return 0;
}

static int tlb_invl_coalesced(void *pmap, const struct gm_tlb_range *ranges, unsigned int n)
{
	(void)n;
	return tlb_invl(pmap, ranges->va, ranges->size);
}

/* Was one of these pages used? Not any more, then. */
static bool was_used(uint8_t *page, uint64_t n)
{
	uint8_t used = 0;

	for (uint64_t i = 0; i < n; i++) {
		used |= page[i] & REPLAY_USED;
		page[i] &= (uint8_t)~REPLAY_USED;
	}
	return used;
}

/* No leaf is larger than a block, so none reaches beyond the one that the range is in. */
static int pmap_age(void *pmap, uint64_t va, uint64_t size, uint64_t *used)
{
	uint8_t *page = pages_at(pmap, va, size);
	uint64_t n = size / GM_PAGE_SIZE, at = va / GM_PAGE_SIZE;

	for (uint64_t i = 0, next; i < n; i = next) {
		uint64_t leaf = 1ULL << (page[i] >> REPLAY_LEAF_SHIFT & 15);
		uint64_t first = ((at + i) & ~(leaf - 1)) - at; /* below 0 as well */

		next = first + leaf < n ? first + leaf : n;
		if (!(page[i] & REPLAY_PRESENT))
			next = i + 1;
		else if (was_used(page + (int64_t)first, leaf))
			for (uint64_t k = i; k < next; k++)
				used[k / 64] |= 1ULL << k % 64;
	}
	return 0;
}

static void charge(const struct gm_extent *ext, unsigned int n, uint64_t bandwidth)
{
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < n; i++)
		bytes += ext[i].len;
	/* In two steps: a whole object at once would overflow. */
	replay_host.now += replay_host.costs.latency_ns + bytes / bandwidth * 1000000000ULL +
			   (uint64_t)((double)(bytes % bandwidth) * 1e9 / (double)bandwidth);
}

static int copy(struct gm_dev *dev, enum gm_copy_dir dir, const struct gm_extent *ext,
		unsigned int n, struct gm_fence *fence)
{
	(void)dev;
	(void)dir;
	charge(ext, n, replay_host.costs.bandwidth);
	gm_fence_signal(fence, 0);
	return 0;
}

static int zero(struct gm_dev *dev, const struct gm_extent *ext, unsigned int n,
		struct gm_fence *fence)
{
	(void)dev;
	charge(ext, n, replay_host.costs.zero_bandwidth);
	gm_fence_signal(fence, 0);
	return 0;
}

int replay_dev_create(struct replay_dev *d, const struct gm_replay_options *opt, uint64_t pages,
		      uint32_t base_page)
{
	uint64_t base = base_page ? base_page * GM_PAGE_SIZE : GM_PAGE_SIZE;
	bool in_place = opt->in_place && base == GM_PAGE_SIZE;
	const struct gm_mmu mmu = {
		.size = sizeof(mmu),
		.pgsize_bitmap = (PGSIZES & ~(base - 1)) | base,
		.pmap_create = pmap_create,
		.pmap_destroy = pmap_destroy,
		.pmap_enter = pmap_enter,
		.pmap_release = pmap_release,
		.tlb_invl = tlb_invl,
		.tlb_invl_coalesced = tlb_invl_coalesced,
		.copy = copy,
		.zero = zero,
		.pmap_age = opt->no_accessed ? NULL : pmap_age,
		.pmap_enter_host = in_place ? pmap_enter_host : NULL,
		.flags = in_place ? GM_MMU_COUNTS : 0,
	};
	uint64_t bytes = pages * GM_PAGE_SIZE;
	uint64_t whole = (bytes + GM_BLOCK_SIZE - 1) & ~(GM_BLOCK_SIZE - 1);
	int err = gm_dev_create(&mmu, "replay", d, &d->dev);

	if (err)
		return err;
	err = gm_dev_register_physmem(d->dev, opt->base, opt->base + whole);
	if (err) {
		gm_dev_destroy(d->dev);
		d->dev = NULL;
	}
	return err;
}

int replay_dev_destroy(struct replay_dev *d)
{
	return d->dev ? gm_dev_destroy(d->dev) : 0;
}
