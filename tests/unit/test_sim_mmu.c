// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The simulated accelerator's MMU by itself: no gmem, no lanes but in one test.
 * The tables are read here by the format that sim_mmu.h documents, not by the
 * driver's own functions.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <pthread.h>
#include <sys/mman.h>

#include "../../src/drivers/sim/sim_mmu.h"

#define BASE (4ULL << 30)
#define DATA (8ULL << 20)
#define VA 0x7f1234000000ULL /* a multiple of 2 MiB */
#define LANES 3
#define TLB 16
#define RW (GM_READ | GM_WRITE)

struct rig {
	struct gm_sim_mmu mmu;
	struct gm_sim_pmap a, b;
	struct gm_sim_tlb tlb[LANES];
	struct gm_sim_tlb_entry entry[LANES][GM_SIM_MAX_SIZES * TLB];
};

static struct rig *rig_of(uint64_t tables, uint64_t data, uint64_t pgsizes)
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

static struct rig *rig_new(uint64_t tables)
{
	return rig_of(tables, DATA, GM_SIM_4K | GM_SIM_64K | GM_SIM_2M);
}

static void rig_free(struct rig *r)
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

/* What lane @lane gets to by an access, through its TLB. */
static uint64_t touch(struct rig *r, struct gm_sim_pmap *pmap, unsigned int lane, uint64_t va,
		      uint32_t access)
{
	uint64_t pa;

	gm_sim_tlb_lock(&r->tlb[lane]);
	pa = gm_sim_translate(pmap, &r->tlb[lane], va, access);
	gm_sim_tlb_unlock(&r->tlb[lane]);
	return pa;
}

static void invl(struct gm_sim_pmap *pmap, uint64_t va, uint64_t size)
{
	struct gm_tlb_range range = { .va = va, .size = size };

	gm_sim_tlb_invl(pmap, &range, 1);
}

static void release(struct gm_sim_pmap *pmap, uint64_t va, uint64_t size)
{
	assert_int_equal(gm_sim_pmap_release(pmap, va, size), 0);
	invl(pmap, va, size);
}

/* The entry for @va in the table of @level, found the way the format says; 0 if there is none. */
static uint64_t pte_at(struct rig *r, const struct gm_sim_pmap *pmap, uint64_t va,
		       unsigned int level)
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

/* ----------------------------------------------------------------------- TLB */

static void tlb_caches(void **state)
{
	static const uint64_t leaf[] = { GM_SIM_4K, GM_SIM_64K, GM_SIM_2M };
	struct rig *r = rig_new(16);
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, leaf[i], leaf[i], RW), 0);
		assert_int_equal(touch(r, &r->a, 0, VA, GM_READ), BASE);
		assert_int_equal(gm_sim_pmap_release(&r->a, VA, leaf[i]), 0);
		/* Stale, on the lane that touched it only. */
		assert_int_equal(touch(r, &r->a, 0, VA + leaf[i] - 1, GM_WRITE),
				 BASE + leaf[i] - 1);
		assert_int_equal(touch(r, &r->a, 1, VA, GM_READ), GM_SIM_NO_PA);
		/* Neighbours and other pmaps do not matter. */
		invl(&r->a, VA + leaf[i], leaf[i]);
		invl(&r->a, VA - GM_SIM_4K, GM_SIM_4K);
		invl(&r->b, VA, leaf[i]);
		assert_int_equal(touch(r, &r->a, 0, VA, GM_READ), BASE);
		/* Any part of it does. */
		invl(&r->a, VA + leaf[i] - GM_SIM_4K, GM_SIM_4K);
		assert_int_equal(touch(r, &r->a, 0, VA, GM_READ), GM_SIM_NO_PA);
	}
	rig_free(r);
}

static void tlb_invalidates_much(void **state)
{
	struct rig *r = rig_new(16);
	uint64_t i;

	(void)state;
	/* More pages than the TLB holds, and a range that wraps around its sets. */
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_2M, GM_SIM_4K, RW), 0);
	for (i = 0; i < 512; i++)
		assert_int_equal(touch(r, &r->a, 2, VA + i * GM_SIM_4K, GM_READ),
				 BASE + i * GM_SIM_4K);
	assert_int_equal(r->tlb[2].misses, 512);
	assert_int_equal(gm_sim_pmap_release(&r->a, VA, GM_SIM_2M), 0);
	invl(&r->a, VA + 500 * GM_SIM_4K, 10 * GM_SIM_4K);
	for (i = 496; i < 512; i++)
		assert_int_equal(touch(r, &r->a, 2, VA + i * GM_SIM_4K, GM_READ),
				 i < 500 || i >= 510 ? BASE + i * GM_SIM_4K : GM_SIM_NO_PA);
	invl(&r->a, 0, GM_SIM_VA_END);
	for (i = 0; i < 512; i++)
		assert_int_equal(touch(r, &r->a, 2, VA + i * GM_SIM_4K, GM_READ), GM_SIM_NO_PA);
	rig_free(r);
}

static void tlb_coalesced(void **state)
{
	const struct gm_tlb_range ranges[] = { { VA, GM_SIM_4K },
					       { VA + 2 * GM_SIM_4K, 0 },
					       { VA + 4 * GM_SIM_4K, 2 * GM_SIM_4K } };
	struct rig *r = rig_new(16);
	unsigned int lane;
	uint64_t i;

	(void)state;
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, 8 * GM_SIM_4K, GM_SIM_4K, RW), 0);
	for (lane = 0; lane < LANES; lane++)
		for (i = 0; i < 8; i++)
			touch(r, &r->a, lane, VA + i * GM_SIM_4K, GM_WRITE);
	assert_int_equal(gm_sim_pmap_release(&r->a, VA, 8 * GM_SIM_4K), 0);
	gm_sim_tlb_invl(&r->a, ranges, 3);
	for (lane = 0; lane < LANES; lane++)
		for (i = 0; i < 8; i++)
			assert_int_equal(touch(r, &r->a, lane, VA + i * GM_SIM_4K, GM_WRITE),
					 i == 0 || i == 4 || i == 5 ? GM_SIM_NO_PA
								    : BASE + i * GM_SIM_4K);
	rig_free(r);
}

static void protection(void **state)
{
	struct rig *r = rig_new(16);

	(void)state;
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_64K, GM_SIM_64K, RW), 0);
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA + 2 * GM_SIM_64K, BASE + GM_SIM_64K, GM_SIM_4K,
					   GM_SIM_4K, GM_READ),
			 0);
	assert_int_equal(touch(r, &r->a, 0, VA, RW), BASE);
	/* Over both, the hole between them, and nothing behind. */
	assert_int_equal(gm_sim_pmap_protect(&r->a, VA, 4 * GM_SIM_64K, GM_READ), 0);
	assert_int_equal(touch(r, &r->a, 1, VA + GM_SIM_4K, GM_WRITE), GM_SIM_NO_PA);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_WRITE), BASE); /* cached */
	invl(&r->a, VA, GM_SIM_4K);
	assert_int_equal(touch(r, &r->a, 0, VA, RW), GM_SIM_NO_PA);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_READ), BASE);
	assert_int_equal(pte_at(r, &r->a, VA + 2 * GM_SIM_64K, 0), (BASE + GM_SIM_64K) | 1 | 2 | 8);
	assert_int_equal(touch(r, &r->a, 0, VA + GM_SIM_64K, GM_READ), GM_SIM_NO_PA);

	/* A right that is added needs no invalidation. */
	assert_int_equal(gm_sim_pmap_protect(&r->a, VA, GM_SIM_64K, RW), 0);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_WRITE), BASE);
	rig_free(r);
}

static void several_pmaps(void **state)
{
	struct rig *r = rig_new(16);
	struct gm_sim_pmap c;

	(void)state;
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_4K, GM_SIM_4K, RW), 0);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_READ), BASE);
	assert_int_equal(touch(r, &r->b, 0, VA, GM_READ), GM_SIM_NO_PA);
	assert_int_equal(gm_sim_pmap_enter(&r->b, VA, BASE + GM_SIM_4K, GM_SIM_4K, GM_SIM_4K, RW),
			 0);
	assert_int_equal(touch(r, &r->b, 0, VA, GM_READ), BASE + GM_SIM_4K);
	assert_int_equal(touch(r, &r->a, 0, VA, GM_READ), BASE);

	/* A new pmap in an old one's place does not inherit its translations. */
	assert_int_equal(gm_sim_pmap_init(&c, &r->mmu), 0);
	assert_int_equal(gm_sim_pmap_enter(&c, VA, BASE, GM_SIM_4K, GM_SIM_4K, RW), 0);
	assert_int_equal(r->mmu.frame[0].maps, 2);
	touch(r, &c, 0, VA, GM_READ);
	gm_sim_pmap_fini(&c);
	assert_int_equal(gm_sim_pmap_init(&c, &r->mmu), 0);
	assert_int_equal(touch(r, &c, 0, VA, GM_READ), GM_SIM_NO_PA);
	gm_sim_pmap_fini(&c);
	rig_free(r);
}

static void finding_the_stale(void **state)
{
	struct rig *r = rig_new(16);
	uint64_t frame, va;
	unsigned int lane;

	(void)state;
	assert_int_equal(
		gm_sim_pmap_enter(&r->a, VA, BASE + GM_SIM_64K, GM_SIM_64K, GM_SIM_64K, RW), 0);
	assert_false(gm_sim_tlb_find(&r->mmu, BASE, DATA, &lane, &va));
	assert_true(gm_sim_frame_find(&r->mmu, BASE, DATA, &frame, &va));
	assert_int_equal(frame, BASE + GM_SIM_64K);
	assert_int_equal(va, VA);
	assert_true(gm_sim_frame_find(&r->mmu, BASE + GM_SIM_64K + 0x2fff, 1, &frame, &va));
	assert_int_equal(frame, BASE + GM_SIM_64K + 0x2000);
	assert_int_equal(va, VA + 0x2000);
	assert_false(gm_sim_frame_find(&r->mmu, BASE, GM_SIM_64K, &frame, &va));

	touch(r, &r->a, 1, VA, GM_READ);
	assert_int_equal(gm_sim_pmap_release(&r->a, VA, GM_SIM_64K), 0);
	assert_false(gm_sim_frame_find(&r->mmu, BASE, DATA, &frame, &va));
	assert_true(gm_sim_tlb_find(&r->mmu, BASE + GM_SIM_64K + 0x3000, GM_SIM_4K, &lane, &va));
	assert_int_equal(lane, 1);
	assert_int_equal(va, VA + 0x3000);
	assert_false(gm_sim_tlb_find(&r->mmu, BASE, GM_SIM_64K, &lane, &va));
	assert_false(gm_sim_tlb_find(&r->mmu, BASE + 2 * GM_SIM_64K, GM_SIM_4K, &lane, &va));
	invl(&r->a, VA, GM_SIM_64K);
	assert_false(gm_sim_tlb_find(&r->mmu, BASE, DATA, &lane, &va));
	rig_free(r);
}

/* ------------------------------------------------------------ against a model */

#define MODEL_PAGES 1024
#define MODEL_OPS 20000

static uint64_t seed;

static uint64_t rnd(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

struct model_page {
	uint64_t pa;   /* 0: not mapped */
	uint64_t leaf; /* it is part of */
	uint32_t prot;
};

static bool model_may_enter(const struct model_page *m, uint64_t n, uint64_t pa, uint64_t leaf)
{
	uint64_t i;

	for (i = 0; i < n; i++)
		if (m[i].pa && (m[i].leaf > leaf || m[i].pa != pa + i * GM_SIM_4K))
			return false;
	return true;
}

static bool model_may_cut(const struct model_page *m, uint64_t from, uint64_t to)
{
	uint64_t i;

	for (i = from; i < to; i++) {
		uint64_t per = m[i].leaf / GM_SIM_4K;

		if (m[i].pa && (i / per * per < from || i / per * per + per > to))
			return false;
	}
	return true;
}

static void model_step(struct gm_sim_pmap *pmap, struct model_page *m)
{
	static const uint64_t leaves[] = { GM_SIM_4K,	  GM_SIM_64K,	 GM_SIM_2M,
					   2 * GM_SIM_4K, GM_SIM_2M / 2, 2 * GM_SIM_2M };
	uint64_t leaf = leaves[rnd(pmap->mmu->pgsizes & (2 * GM_SIM_4K) ? 6 : 3)],
		 per = leaf / GM_SIM_4K;
	uint64_t from = rnd(MODEL_PAGES / per) * per;
	uint64_t n = (1 + rnd(leaf == GM_SIM_4K ? 40 : 3)) * per, i;
	/* Often the one place where everything agrees, so that leaves replace each other. */
	uint64_t pa = BASE + (rnd(4) ? from : rnd(MODEL_PAGES / per) * per) * GM_SIM_4K;
	uint32_t prot = rnd(2) ? RW : GM_READ;
	int err;

	if (from + n > MODEL_PAGES)
		n = MODEL_PAGES - from;
	switch (rnd(4)) {
	case 0:
	case 1:
		err = gm_sim_pmap_enter(pmap, VA + from * GM_SIM_4K, pa, n * GM_SIM_4K, leaf, prot);
		assert_int_equal(err, model_may_enter(m + from, n, pa, leaf) ? 0 : -EEXIST);
		for (i = from; !err && i < from + n; i++)
			m[i] = (struct model_page){ pa + (i - from) * GM_SIM_4K, leaf, prot };
		break;
	case 2:
		if (!model_may_cut(m, from, from + n))
			return;
		assert_int_equal(gm_sim_pmap_release(pmap, VA + from * GM_SIM_4K, n * GM_SIM_4K),
				 0);
		memset(m + from, 0, n * sizeof(*m));
		break;
	case 3:
		if (!model_may_cut(m, from, from + n))
			return;
		assert_int_equal(
			gm_sim_pmap_protect(pmap, VA + from * GM_SIM_4K, n * GM_SIM_4K, prot), 0);
		for (i = from; i < from + n; i++)
			m[i].prot = prot;
		break;
	}
	invl(pmap, VA + from * GM_SIM_4K, n * GM_SIM_4K);
}

static void model_compare(struct rig *r, struct gm_sim_pmap *pmap, const struct model_page *m,
			  unsigned int lane)
{
	uint64_t i;

	for (i = 0; i < MODEL_PAGES; i++) {
		uint64_t va = VA + i * GM_SIM_4K, off = rnd(GM_SIM_4K);
		uint64_t pa = m[i].pa ? m[i].pa + off : GM_SIM_NO_PA;

		assert_int_equal(touch(r, pmap, lane, va + off, GM_READ), pa);
		assert_int_equal(touch(r, pmap, lane, va + off, GM_WRITE),
				 m[i].prot & GM_WRITE ? pa : GM_SIM_NO_PA);
	}
}

static void random_run(struct rig *r)
{
	static struct model_page model[2][MODEL_PAGES];
	const char *given = getenv("GM_TEST_SEED");
	struct gm_sim_pmap *pmap[2] = { &r->a, &r->b };
	unsigned int i, k;

	memset(model, 0, sizeof(model));
	seed = given ? strtoull(given, NULL, 0) : 20240607;
	seed = seed ? seed : 1;
	print_message("seed %llu (GM_TEST_SEED=)\n", (unsigned long long)seed);
	for (i = 0; i < MODEL_OPS; i++) {
		k = (unsigned int)rnd(2);
		model_step(pmap[k], model[k]);
		touch(r, pmap[k], (unsigned int)rnd(LANES), VA + rnd(MODEL_PAGES) * GM_SIM_4K,
		      GM_READ);
		if (i % 50 == 0)
			model_compare(r, pmap[k], model[k], (unsigned int)rnd(LANES));
	}
	/* Frames are counted as often as the model maps them. */
	for (i = 0; i < MODEL_PAGES; i++)
		for (k = 0; k < 2; k++)
			if (model[k][i].pa)
				r->mmu.frame[(model[k][i].pa - BASE) / GM_SIM_4K].maps--;
	for (i = 0; i < MODEL_PAGES; i++)
		assert_int_equal(r->mmu.frame[i].maps, 0);
	for (i = 0; i < MODEL_PAGES; i++)
		for (k = 0; k < 2; k++)
			if (model[k][i].pa)
				r->mmu.frame[(model[k][i].pa - BASE) / GM_SIM_4K].maps++;
	release(&r->a, VA, MODEL_PAGES * GM_SIM_4K);
	release(&r->b, VA, MODEL_PAGES * GM_SIM_4K);
	assert_int_equal(r->mmu.used, 2);
	rig_free(r);
}

static void random_against_model(void **state)
{
	(void)state;
	random_run(rig_new(64));
	random_run(rig_of(64, DATA, GM_SIM_ALL_SIZES));
}

/* --------------------------------------------------------- walkers and writers */

struct walker {
	struct rig *r;
	unsigned int lane;
	bool stop; /* atomic */
};

/* Writes its own word of whatever is mapped, as a lane does. */
static void *walker(void *arg)
{
	struct walker *w = arg;
	struct rig *r = w->r;
	uint64_t i = 0;

	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		uint64_t pa;

		gm_sim_tlb_lock(&r->tlb[w->lane]);
		pa = gm_sim_translate(&r->a, &r->tlb[w->lane],
				      VA + i++ % 16 * GM_SIM_4K + w->lane * 8, GM_WRITE);
		if (pa != GM_SIM_NO_PA)
			__atomic_store_n((uint64_t *)gm_sim_mem(&r->mmu, pa), ~0ULL,
					 __ATOMIC_RELAXED);
		gm_sim_tlb_unlock(&r->tlb[w->lane]);
	}
	return NULL;
}

/*
 * After release and invalidation nobody writes: plain accesses to the memory do not
 * race (ThreadSanitizer checks the claim) and find it as they left it. The range's
 * tables come and go meanwhile.
 */
static void nobody_is_left_behind(void **state)
{
	struct rig *r = rig_new(8);
	struct walker w[2] = { { .r = r, .lane = 0 }, { .r = r, .lane = 1 } };
	uint8_t *mem = r->mmu.mem;
	pthread_t thread[2];
	unsigned int i, k;

	(void)state;
	for (k = 0; k < 2; k++)
		assert_int_equal(pthread_create(&thread[k], NULL, walker, &w[k]), 0);
	for (i = 0; i < 300; i++) {
		memset(mem, (int)i, GM_SIM_64K);
		assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_64K,
						   i % 2 ? GM_SIM_4K : GM_SIM_64K, RW),
				 0);
		sched_yield();
		release(&r->a, VA, GM_SIM_64K);
		assert_int_equal(r->mmu.used, 2);
		memset(mem, (int)i, GM_SIM_64K);
		sched_yield();
		for (k = 0; k < GM_SIM_64K; k++)
			if (mem[k] != (uint8_t)i)
				fail_msg("round %u: byte %u was written", i, k);
	}
	for (k = 0; k < 2; k++) {
		__atomic_store_n(&w[k].stop, true, __ATOMIC_RELAXED);
		pthread_join(thread[k], NULL);
	}
	rig_free(r);
}

struct releaser {
	struct rig *r;
	bool done; /* atomic */
};

static void *releaser(void *arg)
{
	struct releaser *a = arg;

	gm_sim_pmap_release(&a->r->a, VA, GM_SIM_4K);
	__atomic_store_n(&a->done, true, __ATOMIC_RELEASE);
	return NULL;
}

/* A release waits for a lane that is in the middle of an access, and frees tables after that. */
static void release_waits_for_walkers(void **state)
{
	struct rig *r = rig_new(8);
	struct releaser a = { .r = r };
	pthread_t thread;

	(void)state;
	assert_int_equal(gm_sim_pmap_enter(&r->a, VA, BASE, GM_SIM_4K, GM_SIM_4K, RW), 0);
	gm_sim_tlb_lock(&r->tlb[1]);
	assert_int_equal(pthread_create(&thread, NULL, releaser, &a), 0);
	while (!__atomic_load_n(&r->tlb[1].waiting, __ATOMIC_RELAXED) &&
	       !__atomic_load_n(&a.done, __ATOMIC_ACQUIRE))
		sched_yield();
	assert_false(__atomic_load_n(&a.done, __ATOMIC_ACQUIRE));
	assert_int_equal(__atomic_load_n(&r->mmu.used, __ATOMIC_RELAXED), 5);
	gm_sim_tlb_unlock(&r->tlb[1]);
	pthread_join(thread, NULL);
	assert_int_equal(r->mmu.used, 2);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(format_of_leaves),
		cmocka_unit_test(every_leaf_translates),
		cmocka_unit_test(ends_of_the_address_space),
		cmocka_unit_test(bad_arguments),
		cmocka_unit_test(leaves_are_whole),
		cmocka_unit_test(replacing),
		cmocka_unit_test(large_leaves),
		cmocka_unit_test(empty_tables_are_freed),
		cmocka_unit_test(exhaustion),
		cmocka_unit_test(tlb_caches),
		cmocka_unit_test(tlb_invalidates_much),
		cmocka_unit_test(tlb_coalesced),
		cmocka_unit_test(protection),
		cmocka_unit_test(several_pmaps),
		cmocka_unit_test(finding_the_stale),
		cmocka_unit_test(host_memory),
		cmocka_unit_test(random_against_model),
		cmocka_unit_test(release_waits_for_walkers),
		cmocka_unit_test(nobody_is_left_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
