// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The simulated accelerator's MMU by itself: no gmem, no lanes but in one test.
 * The tables are read here by the format that sim_mmu.h documents, not by the
 * driver's own functions.
 */
#include "test_sim_mmu.h"

struct rig *rig_of(uint64_t tables, uint64_t data, uint64_t pgsizes)
{
	struct rig *r = aligned_alloc(64, sizeof(*r));
	unsigned int i;

	assert_non_null(r);
	memset(r, 0, sizeof(*r));
	r->mmu.mem = mmap(NULL, data + tables * GM_SIM_4K, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(r->mmu.mem, MAP_FAILED);
	r->mmu.table = calloc(tables, sizeof(*r->mmu.table));
	r->mmu.frame = calloc(data / GM_SIM_4K, sizeof(*r->mmu.frame));
	assert_true(r->mmu.table && r->mmu.frame);
	memset(r->mmu.mem + data, 0xa5, tables * GM_SIM_4K);
	r->mmu.base = BASE;
	r->mmu.data = data;
	r->mmu.tables = tables * GM_SIM_4K;
	r->mmu.pgsizes = pgsizes;
	r->mmu.tlb = r->tlb;
	r->mmu.nr_tlbs = LANES;
	for (i = 0; i < LANES; i++)
		gm_sim_tlb_init(&r->tlb[i], r->mmu.pgsizes, r->entry[i], TLB);
	gm_sim_mmu_init(&r->mmu);
	assert_int_equal(gm_sim_pmap_init(&r->a, &r->mmu), 0);
	assert_int_equal(gm_sim_pmap_init(&r->b, &r->mmu), 0);
	return r;
}

struct rig *rig_new(uint64_t tables)
{
	return rig_of(tables, DATA, GM_SIM_4K | GM_SIM_64K | GM_SIM_2M);
}

void rig_free(struct rig *r)
{
	uint64_t i;

	gm_sim_pmap_fini(&r->a);
	gm_sim_pmap_fini(&r->b);
	assert_int_equal(r->mmu.used, 0);
	for (i = 0; i < r->mmu.data / GM_SIM_4K; i++)
		assert_int_equal(r->mmu.frame[i].maps, 0);
	munmap(r->mmu.mem, r->mmu.data + r->mmu.tables);
	free(r->mmu.table);
	free(r->mmu.frame);
	free(r);
}

uint64_t touch(struct rig *r, struct gm_sim_pmap *pmap, unsigned int lane, uint64_t va,
	       uint32_t access)
{
	uint64_t pa;

	gm_sim_tlb_lock(&r->tlb[lane]);
	pa = gm_sim_translate(pmap, &r->tlb[lane], va, access);
	gm_sim_tlb_unlock(&r->tlb[lane]);
	return pa;
}

void invl(struct gm_sim_pmap *pmap, uint64_t va, uint64_t size)
{
	struct gm_tlb_range range = { .va = va, .size = size };

	gm_sim_tlb_invl(pmap, &range, 1);
}

void release(struct gm_sim_pmap *pmap, uint64_t va, uint64_t size)
{
	assert_int_equal(gm_sim_pmap_release(pmap, va, size), 0);
	invl(pmap, va, size);
}

uint64_t pte_at(struct rig *r, const struct gm_sim_pmap *pmap, uint64_t va, unsigned int level)
{
	uint64_t table = pmap->root;
	unsigned int l = 3;

	for (;; l--) {
		uint64_t index = (va >> (12 + 9 * l)) & 511;
		uint64_t pte = ((uint64_t *)(void *)(r->mmu.mem + (table - BASE)))[index];

		if (l == level || !(pte & 1) || (pte & 8))
			return l == level ? pte : 0;
		table = pte & 0xfffffffff000ULL;
	}
}

/* -------------------------------------------------------------------- format */

static void format_of_leaves(void **state)
{
	struct rig *r = rig_new(16);
	uint64_t i;

	(void)state;
	assert_true(r->a.root >= BASE + DATA && r->a.root < BASE + DATA + 16 * GM_SIM_4K);
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA + 0x3000, BASE + 0x5000, 0x2000, GM_SIM_4K,
					   GM_READ),
			 0);
	assert_int_equal(pte_at(r, &r->a, VA + 0x3000, 0), (BASE + 0x5000) | 1 | 2 | 8);
	assert_int_equal(pte_at(r, &r->a, VA + 0x4000, 0), (BASE + 0x6000) | 1 | 2 | 8);
	assert_int_equal(pte_at(r, &r->a, VA + 0x5000, 0), 0);
	assert_int_equal(pte_at(r, &r->a, VA, 1) & 0xfff, 1);

	assert_int_equal(
		gm_sim_pmap_enter(&r->a, VA + 0x20000, BASE + 0x40000, 0x20000, GM_SIM_64K, RW), 0);
	for (i = 0; i < 32; i++)
		assert_int_equal(pte_at(r, &r->a, VA + 0x20000 + i * GM_SIM_4K, 0),
				 (BASE + 0x40000 + i * GM_SIM_4K) | 1 | 2 | 4 | 8 | 4 << 6);

	assert_int_equal(gm_sim_pmap_enter(&r->a, VA + GM_SIM_2M, BASE + GM_SIM_2M, 2 * GM_SIM_2M,
					   GM_SIM_2M, RW),
			 0);
	assert_int_equal(pte_at(r, &r->a, VA + GM_SIM_2M, 1), (BASE + GM_SIM_2M) | 1 | 2 | 4 | 8);
	assert_int_equal(pte_at(r, &r->a, VA + 2 * GM_SIM_2M, 1),
			 (BASE + 2 * GM_SIM_2M) | 1 | 2 | 4 | 8);
	rig_free(r);
}

static void every_leaf_translates(void **state)
{
	static const uint64_t leaf[] = { GM_SIM_4K, GM_SIM_64K, GM_SIM_2M };
	struct rig *r = rig_new(16);
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		uint64_t misses = r->tlb[0].misses;

		assert_int_equal(
			gm_sim_pmap_enter(&r->a, VA, BASE + GM_SIM_2M, GM_SIM_2M, leaf[i], RW), 0);
		assert_int_equal(touch(r, &r->a, 0, VA + 8, GM_READ), BASE + GM_SIM_2M + 8);
		assert_int_equal(touch(r, &r->a, 0, VA + leaf[i] - 1, GM_WRITE),
				 BASE + GM_SIM_2M + leaf[i] - 1);
		/* One entry of the TLB holds the whole leaf. */
		assert_int_equal(r->tlb[0].misses, misses + 1);
		assert_int_equal(touch(r, &r->a, 0, VA + GM_SIM_2M - 1, GM_READ),
				 BASE + 2 * GM_SIM_2M - 1);
		assert_int_equal(touch(r, &r->a, 0, VA + GM_SIM_2M, GM_READ), GM_SIM_NO_PA);
		assert_int_equal(touch(r, &r->a, 0, VA - 1, GM_READ), GM_SIM_NO_PA);
		release(&r->a, VA, GM_SIM_2M);
		assert_int_equal(touch(r, &r->a, 0, VA + 8, GM_READ), GM_SIM_NO_PA);
	}
	assert_int_equal(touch(r, &r->a, 0, GM_SIM_VA_END, GM_READ), GM_SIM_NO_PA);
	assert_int_equal(touch(r, &r->a, 0, UINT64_MAX, GM_READ), GM_SIM_NO_PA);
	rig_free(r);
}

static void ends_of_the_address_space(void **state)
{
	struct rig *r = rig_new(16);

	(void)state;
	assert_int_equal(gm_sim_pmap_enter(&r->a, 0, BASE, GM_SIM_4K, GM_SIM_4K, RW), 0);
	assert_int_equal(gm_sim_pmap_enter(&r->a, GM_SIM_VA_END - GM_SIM_2M, BASE + GM_SIM_2M,
					   GM_SIM_2M, GM_SIM_2M, RW),
			 0);
	assert_int_equal(touch(r, &r->a, 0, 0, GM_READ), BASE);
	assert_int_equal(touch(r, &r->a, 0, GM_SIM_VA_END - 1, GM_READ), BASE + 2 * GM_SIM_2M - 1);
	release(&r->a, 0, GM_SIM_VA_END);
	assert_int_equal(touch(r, &r->a, 0, 0, GM_READ), GM_SIM_NO_PA);
	assert_int_equal(r->mmu.used, 2);
	rig_free(r);
}

/* ----------------------------------------------------- entering and releasing */

static void bad_arguments(void **state)
{
	struct rig *r = rig_new(16);
	struct gm_sim_pmap *p = &r->a;

	(void)state;
	assert_int_equal(gm_sim_pmap_enter(p, VA, BASE, 0, GM_SIM_4K, RW), -EINVAL);
	assert_int_equal(gm_sim_pmap_enter(p, VA, BASE, GM_SIM_4K, 0, RW), -EINVAL);
	assert_int_equal(gm_sim_pmap_enter(p, VA, BASE, GM_SIM_4K, 8192, RW), -EINVAL);
	assert_int_equal(gm_sim_pmap_enter(p, VA, BASE, 0x11000, 0x11000, RW), -EINVAL);
	assert_int_equal(gm_sim_pmap_enter(p, VA + 1, BASE, GM_SIM_4K, GM_SIM_4K, RW), -EINVAL);
	assert_int_equal(gm_sim_pmap_enter(p, VA, BASE + 1, GM_SIM_4K, GM_SIM_4K, RW), -EINVAL);
	assert_int_equal(gm_sim_pmap_enter(p, VA, BASE, GM_SIM_4K, GM_SIM_64K, RW), -EINVAL);
	assert_int_equal(gm_sim_pmap_enter(p, VA, BASE - GM_SIM_4K, GM_SIM_4K, GM_SIM_4K, RW),
			 -EINVAL);
	/* The last page of data; the tables are not for mapping. */
	assert_int_equal(gm_sim_pmap_enter(p, VA, BASE + DATA, GM_SIM_4K, GM_SIM_4K, RW), -EINVAL);
	assert_int_equal(gm_sim_pmap_enter(p, VA, BASE + DATA - GM_SIM_4K, 2 * GM_SIM_4K, GM_SIM_4K,
					   RW),
			 -EINVAL);
	assert_int_equal(gm_sim_pmap_enter(p, GM_SIM_VA_END, BASE, GM_SIM_4K, GM_SIM_4K, RW),
			 -EINVAL);
	assert_int_equal(gm_sim_pmap_enter(p, VA, BASE, GM_SIM_4K, GM_SIM_4K, 0), -EINVAL);
	assert_int_equal(gm_sim_pmap_enter(p, VA, BASE, GM_SIM_4K, GM_SIM_4K, 4), -EINVAL);
	r->mmu.pgsizes = GM_SIM_4K;
	assert_int_equal(gm_sim_pmap_enter(p, VA, BASE, GM_SIM_64K, GM_SIM_64K, RW), -EINVAL);
	assert_int_equal(gm_sim_pmap_release(p, VA, 0), -EINVAL);
	assert_int_equal(gm_sim_pmap_release(p, VA + 5, GM_SIM_4K), -EINVAL);
	assert_int_equal(gm_sim_pmap_release(p, VA, UINT64_MAX & ~0xfffULL), -EINVAL);
	assert_int_equal(gm_sim_pmap_protect(p, VA, 5, RW), -EINVAL);
	assert_int_equal(gm_sim_pmap_protect(p, VA, GM_SIM_4K, 0), -EINVAL);
	assert_int_equal(r->mmu.used, 2);
	rig_free(r);
}

/* Leaves are not cut: a range that ends within one is the caller's mistake. */
static void leaves_are_whole(void **state)
{
	struct rig *r = rig_new(16);

	(void)state;
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_2M, GM_SIM_2M, RW), 0);
	assert_int_equal(gm_sim_pmap_release(&r->a, VA, GM_SIM_4K), -EINVAL);
	assert_int_equal(gm_sim_pmap_protect(&r->a, VA + GM_SIM_4K, GM_SIM_2M, GM_READ), -EINVAL);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_WRITE), BASE);
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA + GM_SIM_4K, BASE + GM_SIM_4K, GM_SIM_4K,
					   GM_SIM_4K, RW),
			 -EEXIST);
	release(&r->a, VA, GM_SIM_2M);

	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, 2 * GM_SIM_64K, GM_SIM_64K, RW), 0);
	assert_int_equal(gm_sim_pmap_release(&r->a, VA + GM_SIM_4K, GM_SIM_64K), -EINVAL);
	assert_int_equal(gm_sim_pmap_release(&r->a, VA + GM_SIM_64K, GM_SIM_4K), -EINVAL);
	assert_int_equal(gm_sim_pmap_protect(&r->a, VA, GM_SIM_4K, GM_READ), -EINVAL);
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_4K, GM_SIM_4K, RW), -EEXIST);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_WRITE), BASE);
	release(&r->a, VA + GM_SIM_64K, GM_SIM_64K);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_WRITE), BASE);
	rig_free(r);
}

static void replacing(void **state)
{
	struct rig *r = rig_new(16);

	(void)state;
	/* The same memory: protection and leaf may change. */
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_64K, GM_SIM_4K, GM_READ), 0);
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_4K, GM_SIM_4K, RW), 0);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_WRITE), BASE);
	assert_int_equal(touch(r, &r->a, 0, VA + GM_SIM_4K, GM_WRITE), GM_SIM_NO_PA);
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_64K, GM_SIM_64K, RW), 0);
	assert_int_equal(touch(r, &r->a, 0, VA + GM_SIM_4K, GM_WRITE), BASE + GM_SIM_4K);
	assert_int_equal(r->mmu.frame[15].maps, 1);
	assert_int_equal(r->mmu.frame[16].maps, 0);
	assert_int_equal(r->mmu.used, 5);
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_2M, GM_SIM_2M, RW), 0);
	assert_int_equal(r->mmu.used, 4); /* the table under the new leaf is gone */
	assert_int_equal(r->mmu.frame[15].maps, 1);
	assert_int_equal(r->mmu.frame[16].maps, 1);
	assert_int_equal(touch(r, &r->a, 1, VA + GM_SIM_2M - 8, GM_WRITE), BASE + GM_SIM_2M - 8);
	release(&r->a, VA, GM_SIM_2M);

	/* Other memory: not without a release. */
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_4K, GM_SIM_4K, RW), 0);
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE + GM_SIM_4K, GM_SIM_4K, GM_SIM_4K, RW),
			 -EEXIST);
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE + GM_SIM_64K, GM_SIM_64K, GM_SIM_64K,
					   RW),
			 -EEXIST);
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE + GM_SIM_2M, GM_SIM_2M, GM_SIM_2M, RW),
			 -EEXIST);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_WRITE), BASE);
	assert_int_equal(touch(r, &r->a, 0, VA + GM_SIM_4K, GM_WRITE), GM_SIM_NO_PA);
	rig_free(r);
}

/* One entry of a table maps 1 GiB, or sixteen 32 MiB: in the place of what is smaller, and back. */
static void large_leaves(void **state)
{
	struct rig *r = rig_of(600, 2 * GM_SIM_1G,
			       GM_SIM_4K | GM_SIM_2M | 16 * GM_SIM_2M | GM_SIM_1G);
	const uint64_t va = 5 * GM_SIM_1G, end = va + GM_SIM_1G;
	struct gm_sim_pmap *p = &r->a;
	uint64_t misses, i;

	(void)state;
	assert_int_equal(gm_sim_pmap_enter(p, va, BASE, 2 * GM_SIM_2M, GM_SIM_4K, RW), 0);
	assert_int_equal(gm_sim_pmap_enter(p, va + 2 * GM_SIM_2M, BASE + 2 * GM_SIM_2M,
					   GM_SIM_1G - 2 * GM_SIM_2M, GM_SIM_2M, RW),
			 0);
	assert_int_equal(r->mmu.used, 6); /* two roots; of levels 2 and 1 one each, two of 0 */
	assert_int_equal(gm_sim_pmap_enter(p, va, BASE, GM_SIM_1G / 2, 16 * GM_SIM_2M, RW), 0);
	assert_int_equal(r->mmu.used, 4);
	for (i = 0; i < 16; i++)
		assert_int_equal(pte_at(r, p, va + i * GM_SIM_2M, 1),
				 (BASE + i * GM_SIM_2M) | 1 | 2 | 4 | 8 | 4 << 6);
	misses = r->tlb[0].misses;
	assert_int_equal(touch(r, p, 0, va + 5, GM_READ), BASE + 5);
	assert_int_equal(touch(r, p, 0, va + 16 * GM_SIM_2M - 1, GM_READ),
			 BASE + 16 * GM_SIM_2M - 1);
	assert_int_equal(r->tlb[0].misses, misses + 1);
	assert_int_equal(gm_sim_pmap_enter(p, va, BASE, GM_SIM_2M, GM_SIM_2M, RW), -EEXIST);
	assert_int_equal(gm_sim_pmap_release(p, va, 8 * GM_SIM_2M), -EINVAL);
	assert_int_equal(gm_sim_pmap_protect(p, va + 16 * GM_SIM_2M, GM_SIM_2M, RW), -EINVAL);
	assert_int_equal(gm_sim_pmap_enter(p, va, BASE + GM_SIM_1G, GM_SIM_1G, GM_SIM_1G, RW),
			 -EEXIST);

	assert_int_equal(gm_sim_pmap_enter(p, va, BASE, GM_SIM_1G, GM_SIM_1G, RW), 0);
	assert_int_equal(r->mmu.used, 3);
	assert_int_equal(pte_at(r, p, va, 2), BASE | 1 | 2 | 4 | 8);
	for (i = 0; i < GM_SIM_1G / GM_SIM_4K; i += 511)
		assert_int_equal(r->mmu.frame[i].maps, 1);
	assert_int_equal(touch(r, p, 1, end - 1, GM_WRITE), BASE + GM_SIM_1G - 1);
	assert_int_equal(touch(r, p, 1, end, GM_READ), GM_SIM_NO_PA);
	assert_int_equal(gm_sim_pmap_enter(p, va, BASE, GM_SIM_4K, GM_SIM_4K, RW), -EEXIST);
	assert_int_equal(gm_sim_pmap_release(p, va, GM_SIM_1G / 2), -EINVAL);
	assert_int_equal(gm_sim_pmap_protect(p, va, GM_SIM_1G, GM_READ), 0);
	/* What was cached of any size goes with the range. */
	assert_int_equal(touch(r, p, 0, va + 5, GM_WRITE), BASE + 5);
	assert_int_equal(touch(r, p, 1, va + 7, GM_WRITE), BASE + 7);
	invl(p, va + GM_SIM_4K, GM_SIM_4K);
	assert_int_equal(touch(r, p, 0, va + 5, GM_WRITE), GM_SIM_NO_PA);
	assert_int_equal(touch(r, p, 1, va + 7, GM_WRITE), GM_SIM_NO_PA);
	assert_int_equal(touch(r, p, 1, va + 7, GM_READ), BASE + 7);
	release(p, va, GM_SIM_1G);
	assert_int_equal(r->mmu.used, 2);
	rig_free(r);
}

static void empty_tables_are_freed(void **state)
{
	struct rig *r = rig_new(16);

	(void)state;
	assert_int_equal(r->mmu.used, 2);
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, 2 * GM_SIM_4K, GM_SIM_4K, RW), 0);
	assert_int_equal(r->mmu.used, 5);
	/* Across the end of a block: a second table of level 0. */
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA + GM_SIM_2M - GM_SIM_4K, BASE + GM_SIM_2M,
					   2 * GM_SIM_4K, GM_SIM_4K, RW),
			 0);
	assert_int_equal(r->mmu.used, 6);
	release(&r->a, VA + GM_SIM_2M, GM_SIM_4K);
	assert_int_equal(r->mmu.used, 5);
	release(&r->a, VA, GM_SIM_4K);
	assert_int_equal(r->mmu.used, 5);
	release(&r->a, 0, VA + GM_SIM_2M); /* holes are passed over */
	assert_int_equal(r->mmu.used, 2);
	release(&r->a, VA, GM_SIM_4K); /* nothing there */
	assert_int_equal(r->mmu.used, 2);
	rig_free(r);
}

static void exhaustion(void **state)
{
	struct rig *r = rig_new(8); /* two roots, and six */
	struct gm_sim_pmap c;

	(void)state;
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_4K, GM_SIM_4K, RW), 0);
	assert_int_equal(r->mmu.used, 5);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_READ), BASE);

	/* Needs five: not one of them stays. */
	assert_int_equal(gm_sim_pmap_enter(&r->b, (1ULL << 39) - GM_SIM_4K, BASE + GM_SIM_4K,
					   2 * GM_SIM_4K, GM_SIM_4K, RW),
			 -ENOSPC);
	assert_int_equal(r->mmu.used, 5);
	assert_int_equal(pte_at(r, &r->b, 0, 3), 0);

	/* A table fits, the next does not: what was mapped before stays as it was. */
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA + GM_SIM_2M, BASE + GM_SIM_2M, GM_SIM_4K,
					   GM_SIM_4K, RW),
			 0);
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA + 2 * GM_SIM_2M, BASE + 2 * GM_SIM_2M,
					   GM_SIM_4K, GM_SIM_4K, RW),
			 0);
	assert_int_equal(r->mmu.used, 7);
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA + 4 * GM_SIM_2M - GM_SIM_4K,
					   BASE + 3 * GM_SIM_2M, 2 * GM_SIM_4K, GM_SIM_4K, RW),
			 -ENOSPC);
	assert_int_equal(r->mmu.used, 7);
	assert_int_equal(touch(r, &r->a, 0, VA + 4 * GM_SIM_2M - GM_SIM_4K, GM_READ), GM_SIM_NO_PA);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_READ), BASE);
	assert_int_equal(touch(r, &r->a, 0, VA + 2 * GM_SIM_2M, GM_READ), BASE + 2 * GM_SIM_2M);

	/* With room made it works. */
	release(&r->a, VA + GM_SIM_2M, GM_SIM_4K);
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA + 4 * GM_SIM_2M - GM_SIM_4K,
					   BASE + 3 * GM_SIM_2M, 2 * GM_SIM_4K, GM_SIM_4K, RW),
			 0);
	assert_int_equal(r->mmu.used, 8);
	assert_int_equal(gm_sim_pmap_init(&c, &r->mmu), -ENOSPC);
	rig_free(r);
}

/* Host memory: leaves of 4 KiB with a bit of their own, which count for no frame. */
static void host_memory(void **state)
{
	uint64_t host = 0x7abc00000000ULL + GM_SIM_4K, frame, va;
	struct rig *r = rig_new(16);
	unsigned int lane;

	(void)state;
	assert_int_equal(gm_sim_pmap_enter_host(&r->a, VA, host, 3 * GM_SIM_4K, RW), 0);
	assert_int_equal(pte_at(r, &r->a, VA + GM_SIM_4K, 0),
			 (host + GM_SIM_4K) | 1 | 2 | 4 | 8 | 32);
	assert_int_equal(touch(r, &r->a, 0, VA + GM_SIM_4K + 5, GM_WRITE),
			 (host + GM_SIM_4K + 5) | GM_SIM_HOST_PA);
	assert_ptr_equal(gm_sim_at(&r->mmu, touch(r, &r->a, 0, VA + GM_SIM_4K + 5, GM_READ)),
			 (void *)(uintptr_t)(host + GM_SIM_4K + 5));
	assert_false(gm_sim_frame_find(&r->mmu, BASE, DATA, &frame, &va));
	assert_false(gm_sim_tlb_find(&r->mmu, BASE, DATA, &lane, &va));
	/* The same again, with less; but not other memory, of either kind. */
	assert_int_equal(gm_sim_pmap_enter_host(&r->a, VA, host, GM_SIM_4K, GM_READ), 0);
	assert_int_equal(gm_sim_pmap_enter_host(&r->a, VA, host - GM_SIM_4K, GM_SIM_4K, RW),
			 -EEXIST);
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_4K, GM_SIM_4K, RW), -EEXIST);
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_2M, GM_SIM_2M, RW), -EEXIST);
	assert_int_equal(gm_sim_pmap_enter(&r->b, VA, BASE, GM_SIM_4K, GM_SIM_4K, RW), 0);
	assert_int_equal(gm_sim_pmap_enter_host(&r->b, VA, BASE, GM_SIM_4K, RW), -EEXIST);
	release(&r->b, VA, GM_SIM_4K);

	assert_int_equal(gm_sim_pmap_protect(&r->a, VA, 3 * GM_SIM_4K, GM_READ), 0);
	invl(&r->a, VA, 3 * GM_SIM_4K);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_WRITE), GM_SIM_NO_PA);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_READ), host | GM_SIM_HOST_PA);
	release(&r->a, VA, 3 * GM_SIM_4K);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_READ), GM_SIM_NO_PA);
	assert_int_equal(gm_sim_pmap_enter_host(&r->a, VA, host + 8, GM_SIM_4K, RW), -EINVAL);
	assert_int_equal(gm_sim_pmap_enter_host(&r->a, VA + 8, host, GM_SIM_4K, RW), -EINVAL);
	assert_int_equal(gm_sim_pmap_enter_host(&r->a, VA, 1ULL << 48, GM_SIM_4K, RW), -EINVAL);
	assert_int_equal(gm_sim_pmap_enter_host(&r->a, VA, host, GM_SIM_4K, 0), -EINVAL);
	rig_free(r);
}

/* Leaves of 16 KiB, on a device that has none smaller. */
static void leaves_of_16k(void **state)
{
	struct rig *r = rig_of(16, DATA, GM_SIM_16K | GM_SIM_64K | GM_SIM_2M);

	(void)state;
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_16K, GM_SIM_4K, RW), -EINVAL);
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_64K, GM_SIM_16K, GM_READ), 0);
	assert_int_equal(pte_at(r, &r->a, VA + 5 * GM_SIM_4K, 0) & GM_SIM_PTE_RUN,
			 2 << GM_SIM_PTE_RUN_SHIFT);
	for (uint64_t off = 0; off < GM_SIM_64K; off += GM_SIM_4K)
		assert_int_equal(touch(r, &r->a, 0, VA + off + 8, GM_READ), BASE + off + 8);
	assert_int_equal(r->tlb[0].misses, 4); /* one a leaf */
	assert_int_equal(touch(r, &r->a, 0, VA, GM_WRITE), GM_SIM_NO_PA);
	assert_int_equal(gm_sim_pmap_release(&r->a, VA, GM_SIM_4K), -EINVAL);
	assert_int_equal(gm_sim_pmap_protect(&r->a, VA + GM_SIM_4K, GM_SIM_16K, RW), -EINVAL);
	assert_int_equal(gm_sim_pmap_protect(&r->a, VA + GM_SIM_16K, GM_SIM_16K, RW), 0);
	invl(&r->a, VA + GM_SIM_16K, GM_SIM_16K);
	assert_int_equal(touch(r, &r->a, 0, VA + GM_SIM_16K, GM_WRITE), BASE + GM_SIM_16K);
	/* A larger one takes their place, and they not its. */
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_64K, GM_SIM_64K, RW), 0);
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_16K, GM_SIM_16K, RW), -EEXIST);
	release(&r->a, VA, GM_SIM_64K);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_READ), GM_SIM_NO_PA);
	rig_free(r);
}

/* --------------------------------------------------------------- accessed bits */

#define AGED (3 * GM_SIM_2M / GM_SIM_4K) /* pages that accessed_bits() looks at */

static void expect_aged(struct rig *r, uint64_t page, uint64_t n, const uint64_t *expected)
{
	uint64_t used[AGED / 64] = { 0 }, i;

	assert_int_equal(gm_sim_pmap_age(&r->a, VA + page * GM_SIM_4K, n * GM_SIM_4K, used), 0);
	for (i = 0; i < AGED; i++)
		assert_int_equal(used[i / 64] >> i % 64 & 1,
				 i < n && (expected[(page + i) / 64] >> (page + i) % 64 & 1));
}

static void expect_used(uint64_t *used, uint64_t page, uint64_t n)
{
	for (; n--; page++)
		used[page / 64] |= 1ULL << page % 64;
}

/* Pages, a hole, runs and a large leaf, in three tables: what was used, all of a leaf, and once. */
static void accessed_bits(void **state)
{
	static const struct {
		uint64_t page, n, leaf;
	} mapped[] = {
		{ 3, 2, GM_SIM_4K },	  /* holes around them */
		{ 64, 32, GM_SIM_64K },	  /* two runs of 16 */
		{ 508, 8, GM_SIM_4K },	  /* across the end of a table */
		{ 1024, 512, GM_SIM_2M }, /* a large one; between them a table of holes */
	};
	struct rig *r = rig_new(16);
	uint64_t used[AGED / 64] = { 0 }, none[AGED / 64] = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(mapped) / sizeof(*mapped); i++)
		assert_int_equal(gm_sim_pmap_enter(&r->a, VA + mapped[i].page * GM_SIM_4K,
						   BASE + (mapped[i].page & 0x1ff) * GM_SIM_4K,
						   mapped[i].n * GM_SIM_4K, mapped[i].leaf, RW),
				 0);
	expect_aged(r, 0, AGED, none);
	touch(r, &r->a, 0, VA + 4 * GM_SIM_4K, GM_READ);
	touch(r, &r->a, 0, VA + 85 * GM_SIM_4K, GM_READ); /* of the second run */
	touch(r, &r->a, 0, VA + 511 * GM_SIM_4K, GM_WRITE);
	touch(r, &r->a, 0, VA + 513 * GM_SIM_4K, GM_READ);
	touch(r, &r->a, 0, VA + 1300 * GM_SIM_4K, GM_READ);
	expect_used(used, 4, 1);
	expect_used(used, 80, 16);
	expect_used(used, 511, 1);
	expect_used(used, 513, 1);
	expect_used(used, 1024, 512);
	expect_aged(r, 5, 75, used); /* a hole and the first run: nothing, and nothing forgotten */
	expect_aged(r, 0, AGED, used);
	expect_aged(r, 0, AGED, none);

	/* From the middle of a run on, and to the middle: that part of it, and it is used no more. */
	invl(&r->a, VA, AGED * GM_SIM_4K);
	touch(r, &r->a, 0, VA + 70 * GM_SIM_4K, GM_READ);
	expect_used(used, 64, 16);
	expect_aged(r, 71, 4, used);
	expect_aged(r, 0, AGED, none);
	assert_int_equal(gm_sim_pmap_age(&r->a, VA + 1, GM_SIM_4K, none), -EINVAL);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaves_of_16k),
		cmocka_unit_test(format_of_leaves),
		cmocka_unit_test(every_leaf_translates),
		cmocka_unit_test(ends_of_the_address_space),
		cmocka_unit_test(bad_arguments),
		cmocka_unit_test(leaves_are_whole),
		cmocka_unit_test(replacing),
		cmocka_unit_test(large_leaves),
		cmocka_unit_test(empty_tables_are_freed),
		cmocka_unit_test(exhaustion),
		cmocka_unit_test(host_memory),
		cmocka_unit_test(accessed_bits),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	/* What the macro of cmocka's calls, which wants an array of known length. */
	failed += _cmocka_run_group_tests("tlb", sim_tlb_tests, nr_sim_tlb_tests, NULL, NULL);
	failed += _cmocka_run_group_tests("random", sim_mmu_random_tests, nr_sim_mmu_random_tests,
					  NULL, NULL);
	return failed;
}
