// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* A driver's table that does nothing: see null_mmu.h. */
#include "null_mmu.h"

static int create(struct gm_dev *dev, void **pmap)
{
	*pmap = dev;
	return 0;
}

static void destroy(struct gm_dev *dev, void *pmap)
{
	(void)dev;
	(void)pmap;
}

static int enter(void *pmap, uint64_t va, uint64_t pa, uint64_t size, uint64_t leaf, uint32_t prot)
{
	(void)pmap;
	(void)va;
	(void)pa;
	(void)size;
	(void)leaf;
	(void)prot;
	return 0;
}

static int on_range(void *pmap, uint64_t va, uint64_t size)
{
	(void)pmap;
	(void)va;
	(void)size;
	return 0;
}

static int copy(struct gm_dev *dev, enum gm_copy_dir dir, const struct gm_extent *ext,
		unsigned int n, struct gm_fence *fence)
{
	(void)dev;
	(void)dir;
	(void)ext;
	(void)n;
	gm_fence_signal(fence, 0);
	return 0;
}

static int zero(struct gm_dev *dev, const struct gm_extent *ext, unsigned int n,
		struct gm_fence *fence)
{
	return copy(dev, GM_TO_DEV, ext, n, fence);
}

const struct gm_mmu null_mmu = {
	.size = sizeof(null_mmu),
	.pgsize_bitmap = GM_PAGE_SIZE,
	.pmap_create = create,
	.pmap_destroy = destroy,
	.pmap_enter = enter,
	.pmap_release = on_range,
	.tlb_invl = on_range,
	.copy = copy,
	.zero = zero,
};
