// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What the policies cost a fault: a view of the block, one lock, one call.
 *
 * The built-in default is asked once a fault. It is measured where nothing else of a fault is in
 * the way: gm_dev_accessed(), with a policy that is told and does what density does, less the
 * same with one that is not told. Of a device without memory traffic, and a block of which
 * every other page is there.
 */
#include <string.h>

#include <gmem/policy.h>

#include "bench.h"

#define CALLS 20000U
#define MEMORY (16 * MIB)

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

static const struct gm_mmu mmu = {
	.size = sizeof(mmu),
	.pgsize_bitmap = 4096,
	.pmap_create = create,
	.pmap_destroy = destroy,
	.pmap_enter = enter,
	.pmap_release = on_range,
	.tlb_invl = on_range,
	.copy = copy,
	.zero = zero,
};

static volatile unsigned int sink;

static void used(void *state, struct gm_policy_block *block, const struct gm_mask *pages,
		 uint64_t times)
{
	unsigned int page = 37, size = 16, would = size, n = size;

	(void)state;
	(void)pages;
	(void)times;
	for (; size < GM_POLICY_PAGES; size *= 2) {
		would += gm_mask_count(&block->here, (page & ~(size - 1)) ^ size, size);
		if (would > size)
			would = n = 2 * size;
	}
	sink = n;
}

static void evict(void *state, struct gm_policy_block *block, uint64_t want, unsigned int pressure,
		  struct gm_policy_victims *victims)
{
	(void)state;
	(void)want;
	(void)pressure;
	victims->go = block->here;
}

static const struct gm_evict_policy told = {
	.size = sizeof(told),
	.name = "bench",
	.text = "is told, and does what density does",
	.used = used,
	.evict = evict,
};

static double calls_ns(struct gm_context *ctx, const unsigned char *mem)
{
	double begin = now_us();

	for (unsigned int i = 0; i < CALLS; i++)
		must(gm_dev_accessed(ctx, (uintptr_t)mem + 4096, 4096, 1), "gm_dev_accessed");
	return (now_us() - begin) * 1e3 / CALLS;
}

void bench_policy(void)
{
	double with[ROUNDS], without[ROUNDS], own[ROUNDS], r;
	struct gm_dev_tunables tune = { .size = sizeof(tune), .granule = 4096, .no_grow = 1 };
	struct gm_context *ctx;
	unsigned char *mem;
	struct gm_dev *dev;
	struct gm_as *as;
	void *p;

	progress("policy");
	must(gm_policy_register(NULL, &told), "gm_policy_register");
	must(gm_as_create(NULL, &as), "gm_as_create");
	must(gm_dev_create(&mmu, "nothing", NULL, &dev), "gm_dev_create");
	must(gm_dev_register_physmem(dev, 0, MEMORY), "gm_dev_register_physmem");
	must(gm_dev_tune(dev, &tune), "gm_dev_tune");
	must(gm_as_attach(as, dev, GM_EXCLUSIVE, &ctx), "gm_as_attach");
	must(gm_alloc(as, 2 * MIB, 0, &p), "gm_alloc");
	mem = p;
	for (size_t at = 4096; at < 2 * MIB; at += 8192)
		must(gm_dev_fault(ctx, (uintptr_t)mem + at, GM_READ), "gm_dev_fault");
	for (unsigned int i = 0; i < ROUNDS; i++) {
		must(gm_dev_set_policy(dev, "/bench"), "gm_dev_set_policy");
		with[i] = calls_ns(ctx, mem);
		must(gm_dev_set_policy(dev, "/lru-2m"), "gm_dev_set_policy");
		without[i] = calls_ns(ctx, mem);
		own[i] = with[i] - without[i];
	}
	r = median(own, ROUNDS);
	row("policy of a device fault (ns)", median(with, ROUNDS), median(without, ROUNDS), "ns", r,
	    "<= 200", r <= 200);
	must(gm_as_detach(ctx), "gm_as_detach");
	must(gm_as_destroy(as), "gm_as_destroy");
	must(gm_dev_destroy(dev), "gm_dev_destroy");
	must(gm_policy_unregister(NULL, &told), "gm_policy_unregister");
}
