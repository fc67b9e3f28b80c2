// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * In and out of devices' page tables: which leaves go around a cut and which come back,
 * whatever the sizes, and how invalidations are gathered.
 */
#include "unit.h"

#include "core/core.h"
#include "toy.h"

/* A block of an object, on a toy device as a whole, mapped at va. */
static struct {
	struct gm_object *obj;
	struct gm_context *ctx;
	struct toy toy;
	uint64_t va;
} s;

/* The block begins @shift pages behind a multiple of 2 MiB, in addresses. */
static void scene_begin(struct unit *u, uint64_t sizes, uint64_t shift)
{
	toy_init(&s.toy, 2);
	s.toy.mmu.pgsize_bitmap = sizes;
	assert_int_equal(toy_plug(&s.toy), 0);
	assert_int_equal(gm_as_attach(u->as, s.toy.dev, GM_EXCLUSIVE, &s.ctx), 0);
	s.obj = unit_object(2 * BLOCK);
	s.va = unit_map_at(u->as, s.obj, 0, 2 * BLOCK, 0x7000000000ULL + shift * PAGE);
	unit_fill(u, CPU, s.va, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, gm_dev_hnode(s.toy.dev), s.va, BLOCK, GM_PREFETCH), 0);
}

static void scene_end(struct unit *u)
{
	unit_verify(u, CPU, s.va, BLOCK, 1);
	unit_unmap(u->as, s.va, 2 * BLOCK);
	gm_object_put(s.obj);
	assert_int_equal(gm_as_detach(s.ctx), 0);
	assert_int_equal(toy_unplug(&s.toy), 0);
}

/* The largest leaf that can map the page beside [cut, cut+n), which nothing maps. */
static uint64_t largest(uint64_t page, uint64_t cut, uint64_t n)
{
	const uint64_t pa = s.toy.base; /* the whole block is one extent, the first of all */
	uint64_t best = 0;

	for (uint64_t leaf = PAGE; leaf <= BLOCK; leaf *= 2) {
		uint64_t from = (s.va + page * PAGE) / leaf * leaf, pages = leaf / PAGE, first;

		if (!(s.toy.mmu.pgsize_bitmap & leaf) || from < s.va)
			continue;
		first = (from - s.va) / PAGE;
		if (first + pages > 512 || (first < cut + n && cut < first + pages) ||
		    (pa + first * PAGE) % leaf)
			continue;
		best = leaf;
	}
	return best;
}

/* All is mapped but [cut, cut+n), and with the largest leaves there can be. */
static void mapped_around(uint64_t cut, uint64_t n)
{
	for (uint64_t page = 0; page < 512; page++) {
		struct toy_pte *e = toy_find(s.ctx, s.va + page * PAGE);

		if (page >= cut && page < cut + n) {
			assert_null(e);
			continue;
		}
		assert_non_null(e);
		assert_int_equal(e->pa - e->va, s.toy.base - s.va);
		assert_int_equal(e->leaf, largest(page, cut, n));
	}
}

static const uint64_t bitmaps[] = {
	1 << 12,
	1 << 12 | 1 << 21,
	1 << 12 | 1 << 16 | 1 << 21,
	1 << 12 | 1 << 13 | 1 << 14 | 1 << 15 | 1 << 16 | 1 << 20,
	1 << 12 | 1 << 18 | 1 << 30, /* larger than a block: of no use */
};
#define BITMAPS (sizeof(bitmaps) / sizeof(bitmaps[0]))

/* Pages by which addresses and offsets are out of step. */
static const uint64_t shifts[] = { 0, 1, 16, 24, 511 };

static const struct {
	unsigned int first, n;
} cuts[] = { { 0, 1 },	   { 511, 1 }, { 17, 1 },  { 16, 16 },
	     { 100, 200 }, { 1, 510 }, { 0, 256 }, { 0, 512 } };

/* Unmap a part: the leaves it is in go, their rest comes back, and no other leaf is touched. */
static void around_a_cut(void **state)
{
	for (unsigned int i = 0; i < BITMAPS * 5; i++) {
		struct gm_block *block;

		scene_begin(*state, bitmaps[i / 5], shifts[i % 5]);
		mapped_around(0, 0);
		block = gm_block_find(s.obj, 0, false);
		for (unsigned int c = 0; c < sizeof(cuts) / sizeof(cuts[0]); c++) {
			s.toy.releases = 0;
			assert_int_equal(gm_unmap_dev(block, s.toy.dev, cuts[c].first, cuts[c].n),
					 0);
			assert_int_equal(s.toy.releases, 1);
			mapped_around(cuts[c].first, cuts[c].n);
			gm_remap_dev(block, s.toy.dev, cuts[c].first, cuts[c].n);
			mapped_around(0, 0);
		}
		gm_block_unlock(block);
		scene_end(*state);
	}
}

/* The same by way of pages that come home. */
static void around_what_moved(void **state)
{
	struct unit *u = *state;

	for (unsigned int i = 0; i < BITMAPS * 5; i++) {
		scene_begin(u, bitmaps[i / 5], shifts[i % 5]);
		assert_int_equal(
			gm_advise(u->as, GM_NODE_HOST, s.va + 30 * PAGE, 7 * PAGE, GM_PREFETCH), 0);
		mapped_around(30, 7);
		assert_int_equal(gm_advise(u->as, GM_NODE_HOST, s.va + 37 * PAGE, 91 * PAGE,
					   GM_PREFETCH),
				 0);
		mapped_around(30, 98);
		scene_end(u);
	}
}

/* A region is cut in two: no leaf crosses the cut, and every page stays mapped. */
static void across_no_border(void **state)
{
	struct unit *u = *state;

	for (unsigned int i = 0; i < BITMAPS * 5; i++) {
		uint64_t cut = 1 + i * 37 % 511;

		scene_begin(u, bitmaps[i / 5], shifts[i % 5]);
		assert_int_equal(gm_as_carve(u->as, s.va + cut * PAGE), 0);
		for (uint64_t page = 0; page < 512; page++) {
			struct toy_pte *e = toy_find(s.ctx, s.va + page * PAGE);
			uint64_t border = s.va + cut * PAGE;

			assert_non_null(e);
			assert_true(e->va + e->leaf <= border || e->va >= border);
		}
		scene_end(u);
	}
}

static int (*real_release)(void *pmap, uint64_t va, uint64_t size);
static int (*real_invl)(void *pmap, uint64_t va, uint64_t size);
static bool release_fails, invl_fails;

static int release(void *pmap, uint64_t va, uint64_t size)
{
	return release_fails ? -EIO : real_release(pmap, va, size);
}

static int invl(void *pmap, uint64_t va, uint64_t size)
{
	return invl_fails ? -ENODEV : real_invl(pmap, va, size);
}

/* An error is handed over; where translations may be alive nothing is entered over them. */
static void failing_driver(void **state)
{
	struct gm_block *block;

	scene_begin(*state, 1 << 12 | 1 << 21, 0);
	real_release = s.toy.mmu.pmap_release;
	real_invl = s.toy.mmu.tlb_invl;
	s.toy.dev->ops.pmap_release = release;
	s.toy.dev->ops.tlb_invl = invl;
	block = gm_block_find(s.obj, 0, false);
	release_fails = true;
	assert_int_equal(gm_unmap_dev(block, s.toy.dev, 5, 5), -EIO);
	mapped_around(0, 0);
	release_fails = false;
	invl_fails = true;
	s.toy.enters = 0;
	assert_int_equal(gm_unmap_dev(block, s.toy.dev, 5, 5), -ENODEV);
	assert_int_equal(s.toy.enters, 0);
	mapped_around(0, 512);
	invl_fails = false;
	assert_int_equal(gm_unmap_dev(block, s.toy.dev, 5, 5), 0);
	gm_remap_dev(block, s.toy.dev, 0, 512);
	mapped_around(0, 0);
	gm_block_unlock(block);
	scene_end(*state);
}

/* ------------------------------------------------------------------- gathering */

/* What adjoins in addresses is one range to invalidate. */
static void addresses_that_adjoin(void **state)
{
	struct unit *u = *state;
	struct gm_block *block;

	scene_begin(u, 1 << 12 | 1 << 21, 0);
	/* The later mapped is looked at first. */
	unit_map_at(u->as, s.obj, 256 * PAGE, 256 * PAGE, 0x7100000000ULL + 256 * PAGE);
	unit_map_at(u->as, s.obj, 0, 256 * PAGE, 0x7100000000ULL);
	block = gm_block_find(s.obj, 0, false);
	s.toy.ranges = s.toy.coalesced = s.toy.invls = 0;
	assert_int_equal(gm_unmap_dev(block, s.toy.dev, 0, 512), 0);
	assert_int_equal(s.toy.ranges, 2); /* the two halves here, and the whole there */
	assert_int_equal(s.toy.coalesced, 1);
	assert_int_equal(s.toy.invls, 0);
	gm_remap_dev(block, s.toy.dev, 0, 512);
	gm_block_unlock(block);
	unit_unmap(u->as, 0x7100000000ULL, 512 * PAGE);
	scene_end(u);
}

/* Several ranges, one invalidation: what tlb_invl_coalesced is for. */
static void invalidations_are_gathered(void **state)
{
	struct unit *u = *state;
	struct gm_context *ctx;
	struct gm_object *obj;
	struct gm_stats before, after;
	struct toy toy;
	uint64_t va = 0x7000000000ULL, value;

	toy_init(&toy, 2);
	assert_int_equal(toy_plug(&toy), 0);
	unit_tune(toy.dev, PAGE, true, true);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	assert_int_equal(gm_object_create(BLOCK, 0, &obj), 0);
	for (uint64_t i = 0; i < 8; i++)
		unit_map_at(u->as, obj, 0, 64 * PAGE, va + i * BLOCK);
	for (uint64_t i = 0; i < 64; i++)
		assert_int_equal(toy_access(ctx, va + i * PAGE, &value, 8, GM_READ), 0);
	before = unit_dev_stats(toy.dev);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, 64 * PAGE, GM_PREFETCH), 0);
	after = unit_dev_stats(toy.dev);
	assert_true(after.tlb_ranges > before.tlb_ranges);
	assert_true(after.tlb_invls - before.tlb_invls <= after.tlb_ranges - before.tlb_ranges);
	assert_int_equal(after.tlb_invls - before.tlb_invls <= 8, 1); /* 64 pages at 8 addresses */
	gm_object_put(obj);
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

/*
 * An object mapped several times in an address space: its block leaves the device by one
 * operation for up to 16 addresses, or by one for each.
 */
static void mapped_often(struct unit *u, unsigned int times, bool coalesced)
{
	struct gm_stats before, after, as_before, as_after;
	unsigned int calls = coalesced ? (times + 15) / 16 : times;
	struct gm_context *ctx;
	struct gm_object *obj;
	struct toy toy;
	uint64_t va = 0, value;

	toy_init(&toy, 2);
	if (!coalesced)
		toy.mmu.tlb_invl_coalesced = NULL;
	assert_int_equal(toy_plug(&toy), 0);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	assert_int_equal(gm_object_create(BLOCK, 0, &obj), 0);
	for (unsigned int i = 0; i < times; i++) {
		unit_alloc(u, BLOCK); /* lest two of them adjoin: another object's, not concerned */
		va = unit_map(u->as, obj, 0, BLOCK, i ? GM_READ : GM_READ | GM_WRITE);
		assert_int_equal(gm_advise(u->as, gm_dev_hnode(toy.dev), va, BLOCK, GM_PREFETCH),
				 0);
		assert_int_equal(toy_access(ctx, va, &value, 8, GM_READ), 0);
		assert_int_equal(toy_find(ctx, va)->leaf, BLOCK);
	}
	before = unit_dev_stats(toy.dev);
	as_before = unit_as_stats(u->as);
	toy.invls = toy.coalesced = toy.ranges = 0;

	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), 0);
	after = unit_dev_stats(toy.dev);
	as_after = unit_as_stats(u->as);
	assert_int_equal(toy_leaves(ctx, 0, UINT64_MAX), 0);
	assert_int_equal(toy.ranges, times);
	assert_int_equal(toy.coalesced, coalesced ? calls : 0);
	assert_int_equal(toy.invls, coalesced ? 0 : calls);
	assert_int_equal(after.tlb_ranges - before.tlb_ranges, times);
	assert_int_equal(after.tlb_invls - before.tlb_invls, calls);
	assert_int_equal(as_after.tlb_ranges - as_before.tlb_ranges, times);
	assert_int_equal(as_after.tlb_invls - as_before.tlb_invls, calls);
	gm_object_put(obj);
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

static void invalidations_of_aliases(void **state)
{
	mapped_often(*state, 2, true);
	mapped_often(*state, 2, false);
	mapped_often(*state, 20, true);
	mapped_often(*state, 20, false);
}

/* A large leaf is broken up when one page of it leaves; nothing else is lost. */
static void page_leaves_large_leaf(void **state)
{
	struct unit *u = *state;
	struct gm_context *ctx;
	uint64_t va = unit_alloc(u, BLOCK), value;
	struct toy toy;

	toy_init(&toy, 2);
	assert_int_equal(toy_plug(&toy), 0);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	assert_int_equal(gm_advise(u->as, gm_dev_hnode(toy.dev), va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(toy_find(ctx, va)->leaf, BLOCK);
	unit_load(u, CPU, va + 40 * PAGE);
	assert_null(toy_find(ctx, va + 40 * PAGE));
	assert_non_null(toy_find(ctx, va));
	assert_true(toy_find(ctx, va)->leaf < BLOCK);
	assert_non_null(toy_find(ctx, va + BLOCK - PAGE));
	assert_int_equal(toy_find(ctx, va + 64 * PAGE)->leaf, 64 << 10);
	value = 9;
	assert_int_equal(toy_access(ctx, va + 40 * PAGE, &value, 8, GM_WRITE), 0);
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(unit_load(u, CPU, va + 40 * PAGE), 9);
	assert_int_equal(toy_unplug(&toy), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(invalidations_are_gathered, unit_setup,
						unit_teardown),
		cmocka_unit_test_setup_teardown(invalidations_of_aliases, unit_setup_as,
						unit_teardown),
		cmocka_unit_test_setup_teardown(page_leaves_large_leaf, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(around_a_cut, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(around_what_moved, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(across_no_border, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(failing_driver, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(addresses_that_adjoin, unit_setup_as,
						unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
