// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The toy driver: see toy.h. */
#include "unit.h"

#include "toy.h"

static int toy_pmap_create(struct gm_dev *dev, void **pmap)
{
	struct toy_pmap *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->toy = gm_dev_data(dev);
	*pmap = p;
	return 0;
}

static void toy_pmap_destroy(struct gm_dev *dev, void *pmap)
{
	struct toy_pmap *p = pmap;

	(void)dev;
	for (unsigned int i = 0; i < p->nr; i++) {
		assert_false(p->pte[i].valid);
		assert_false(p->pte[i].stale);
	}
	free(p);
}

static struct toy_pte *pte_new(struct toy_pmap *p)
{
	for (unsigned int i = 0; i < p->nr; i++)
		if (!p->pte[i].valid && !p->pte[i].stale)
			return &p->pte[i];
	assert_true(p->nr < TOY_PTES);
	return &p->pte[p->nr++];
}

/* The contract: aligned, of a known size, and over nothing but the same frame. */
static int toy_enter(void *pmap, uint64_t va, uint64_t pa, uint64_t size, uint64_t leaf,
		     uint32_t prot)
{
	struct toy_pmap *p = pmap;

	p->toy->enters++;
	assert_true(p->toy->mmu.pgsize_bitmap & leaf);
	assert_true((leaf & (leaf - 1)) == 0 && (va | pa | size) % leaf == 0 && size);
	assert_true(pa >= p->toy->base && pa + size <= p->toy->base + p->toy->size);
	for (uint64_t off = 0; off < size; off += leaf) {
		for (unsigned int i = 0; i < p->nr; i++) {
			struct toy_pte *e = &p->pte[i];

			if (!e->valid || e->va >= va + off + leaf || va + off >= e->va + e->leaf)
				continue;
			assert_int_equal(e->va - e->pa, va - pa);
			assert_true(e->leaf <= leaf);
			e->valid = false;
		}
		*pte_new(p) = (struct toy_pte){
			.va = va + off, .pa = pa + off, .leaf = leaf, .prot = prot, .valid = true
		};
	}
	return 0;
}

static int toy_release(void *pmap, uint64_t va, uint64_t size)
{
	struct toy_pmap *p = pmap;

	p->toy->releases++;
	for (unsigned int i = 0; i < p->nr; i++) {
		struct toy_pte *e = &p->pte[i];

		if (!e->valid || e->va >= va + size || va >= e->va + e->leaf)
			continue;
		assert_true(e->va >= va && e->va + e->leaf <= va + size); /* no leaf is cut */
		e->valid = false;
		e->stale = true;
	}
	return 0;
}

static int toy_protect(void *pmap, uint64_t va, uint64_t size, uint32_t prot)
{
	struct toy_pmap *p = pmap;

	p->toy->protects++;
	for (unsigned int i = 0; i < p->nr; i++)
		if (p->pte[i].valid && p->pte[i].va >= va && p->pte[i].va < va + size)
			p->pte[i].prot = prot;
	return 0;
}

static void forget(struct toy_pmap *p, uint64_t va, uint64_t size)
{
	for (unsigned int i = 0; i < p->nr; i++) {
		struct toy_pte *e = &p->pte[i];

		if (e->va >= va && e->va + e->leaf <= va + size)
			e->stale = false;
	}
}

static int toy_invl(void *pmap, uint64_t va, uint64_t size)
{
	struct toy_pmap *p = pmap;

	p->toy->invls++;
	forget(p, va, size);
	return 0;
}

static int toy_coalesced(void *pmap, const struct gm_tlb_range *ranges, unsigned int n)
{
	struct toy_pmap *p = pmap;

	p->toy->coalesced++;
	for (unsigned int i = 0; i < n; i++)
		forget(p, ranges[i].va, ranges[i].size);
	return 0;
}

static int toy_copy(struct gm_dev *dev, enum gm_copy_dir dir, const struct gm_extent *ext,
		    unsigned int n, struct gm_fence *fence)
{
	struct toy *toy = gm_dev_data(dev);

	toy->copies++;
	for (unsigned int i = 0; i < n; i++) {
		uint8_t *mem = toy->memory + (ext[i].pa - toy->base);

		assert_true(ext[i].pa >= toy->base && ext[i].len);
		assert_true(ext[i].pa + ext[i].len <= toy->base + toy->size);
		if (dir == GM_TO_DEV)
			memcpy(mem, (void *)(uintptr_t)ext[i].host, ext[i].len);
		else
			memcpy((void *)(uintptr_t)ext[i].host, mem, ext[i].len);
	}
	gm_fence_signal(fence, 0);
	return 0;
}

static int toy_zero(struct gm_dev *dev, const struct gm_extent *ext, unsigned int n,
		    struct gm_fence *fence)
{
	struct toy *toy = gm_dev_data(dev);

	toy->zeros++;
	for (unsigned int i = 0; i < n; i++)
		memset(toy->memory + (ext[i].pa - toy->base), 0, ext[i].len);
	gm_fence_signal(fence, 0);
	return 0;
}

void toy_init(struct toy *toy, uint64_t blocks)
{
	*toy = (struct toy){
		.mmu = {
			.size = sizeof(struct gm_mmu),
			.pgsize_bitmap = 1 << 12 | 1 << 16 | 1 << 21,
			.pmap_create = toy_pmap_create,
			.pmap_destroy = toy_pmap_destroy,
			.pmap_enter = toy_enter,
			.pmap_release = toy_release,
			.pmap_protect = toy_protect,
			.tlb_invl = toy_invl,
			.tlb_invl_coalesced = toy_coalesced,
			.copy = toy_copy,
			.zero = toy_zero,
		},
		.base = 0x700000000ULL,
		.size = blocks * BLOCK,
	};
}

int toy_plug(struct toy *toy)
{
	int err = gm_dev_create(&toy->mmu, "toy", toy, &toy->dev);

	if (err)
		return err;
	toy->memory = malloc(toy->size);
	assert_non_null(toy->memory);
	memset(toy->memory, 0xEE, toy->size);
	return gm_dev_register_physmem(toy->dev, toy->base, toy->base + toy->size);
}

int toy_unplug(struct toy *toy)
{
	int err = gm_dev_destroy(toy->dev);

	if (!err)
		free(toy->memory);
	return err;
}

struct toy_pte *toy_find(struct gm_context *ctx, uint64_t va)
{
	struct toy_pmap *p = gm_context_pmap(ctx);

	for (unsigned int i = 0; i < p->nr; i++)
		if (p->pte[i].valid && va >= p->pte[i].va && va - p->pte[i].va < p->pte[i].leaf)
			return &p->pte[i];
	return NULL;
}

int toy_access(struct gm_context *ctx, uint64_t va, void *buf, uint64_t len, uint32_t access)
{
	struct toy_pmap *p = gm_context_pmap(ctx);
	struct toy_pte *e;
	uint8_t *mem;

	for (unsigned int tries = 0; !(e = toy_find(ctx, va)) || !(e->prot & access); tries++) {
		int err = gm_dev_fault(ctx, va, access);

		if (err)
			return err;
		assert_true(tries < 4);
	}
	mem = p->toy->memory + (e->pa + (va - e->va) - p->toy->base);
	if (access == GM_WRITE)
		memcpy(mem, buf, len);
	else
		memcpy(buf, mem, len);
	return 0;
}
