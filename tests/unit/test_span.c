// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Leaves larger than a block: they come when blocks make one up, go when anything of them
 * goes, and what is mapped is mapped with the largest leaf that fits.
 *
 * The device is a toy, which refuses a leaf that is cut, or entered over a larger one, and to
 * copy what is mapped. What is as large as 1 GiB has no bytes.
 */
#include <pthread.h>
#include <stdio.h>

#include "span_lib.h"

/* -------------------------------------------------------------------------- they come */

static const uint64_t bitmaps[] = {
	POWERS,
	1 << 12 | 1 << 21 | 1 << 22,
	1 << 12 | 1 << 16 | 1 << 21 | 1 << 25,
	1 << 12 | 1 << 16 | 1 << 25, /* none of a block */
	1 << 12 | 1 << 21 | 1 << 30,
	1 << 12 | 1 << 16 | 1 << 21,
};
#define BITMAPS (sizeof(bitmaps) / sizeof(bitmaps[0]))

/* An object that is moved as a whole, at addresses that go with its memory, and ones that do not. */
static void largest_that_fits(void **state)
{
	static const uint64_t shifts[] = { 0, 2 * MIB, 6 * MIB, 16 * MIB };
	struct unit *u = *state;

	for (unsigned int i = 0; i < BITMAPS * 4; i++) {
		scene_begin(u, bitmaps[i / 4], 100, 70 * MIB, AT + shifts[i % 4]);
		assert_int_equal(prefetch(u, s.va, s.len), 0);
		mapped_well(true);
		scene_end(u);
	}
}

/* Devices of larger base pages: a page takes one of these along, be it a block. */
static void larger_base_pages(void **state)
{
	static const uint64_t sizes[] = { 1 << 16 | 1 << 21 | 1 << 26, 1 << 21 | 1 << 24 };
	struct unit *u = *state;

	for (unsigned int i = 0; i < 2; i++) {
		uint64_t unit = sizes[i] & -sizes[i];

		scene_begin(u, sizes[i], 64, 64 * MIB, AT);
		assert_int_equal(prefetch(u, s.va, s.len), 0);
		assert_int_equal(mapped_well(true), i ? 4 : 1);
		assert_int_equal(home(u, s.va + 17 * MIB + 3 * PAGE, PAGE), 0);
		gone((s.va + 17 * MIB) & ~(unit - 1), unit);
		assert_int_equal(mapped_well(false), i ? 3 + 7 : 31 + 31);
		assert_int_equal(gm_dev_fault(s.ctx, s.va + 17 * MIB + 3 * PAGE, GM_READ), 0);
		s.nr_gone = 0;
		assert_int_equal(mapped_well(true), i ? 4 : 1);
		scene_end(u);
	}
}

/* Block by block, from either end, and in no order: the same leaves in the end. */
static void whatever_the_order(void **state)
{
	struct unit *u = *state;

	for (unsigned int order = 0; order < 3; order++) {
		scene_begin(u, POWERS, 64, 128 * MIB, AT);
		for (uint64_t i = 0; i < 64; i++) {
			uint64_t b = order == 0 ? i : order == 1 ? 63 - i : i * 37 % 64;

			assert_int_equal(prefetch(u, s.va + b * BLOCK, BLOCK), 0);
		}
		assert_int_equal(mapped_well(true), 1);
		scene_end(u);
	}
}

/* Faults of single pages, one behind the other: blocks that fill up grow together too. */
static void page_by_page(void **state)
{
	struct unit *u = *state;
	uint64_t v;

	scene_begin(u, POWERS, 8, 8 * MIB, AT);
	for (uint64_t off = 0; off < s.len; off += PAGE)
		assert_int_equal(toy_access(s.ctx, s.va + off, &v, 8, GM_READ), 0);
	assert_int_equal(mapped_well(true), 1);
	scene_end(u);
}

/* A gibibyte is one leaf, and its metadata next to nothing; a fault on it enters it again. */
static void a_gibibyte(void **state)
{
	struct unit *u = *state;

	scene_begin(u, POWERS, 512, GIB, AT);
	assert_int_equal(prefetch(u, s.va, s.len), 0);
	assert_int_equal(mapped_well(true), 1);
	assert_int_equal(gm_core.spans.in_use, 1);
	assert_int_equal(gm_dev_fault(s.ctx, s.va + 77 * MIB, GM_READ), 0);
	assert_int_equal(leaves(), 1);
	scene_end(u);
}

/* Behind the last gibibyte of one comes the first of the next: neither reaches into the other. */
static void more_than_one(void **state)
{
	struct unit *u = *state;

	scene_begin(u, POWERS, 1024 + 64, GIB + 128 * MIB, AT + GIB - 64 * MIB);
	assert_int_equal(prefetch(u, s.va, s.len), 0);
	mapped_well(true);
	scene_end(u);
}

/* Addresses that nobody chose leave room for the largest leaf, and where an object begins. */
static void addresses(void **state)
{
	struct unit *u = *state;
	uint64_t va[3];

	scene_begin(u, POWERS, 32, 64 * MIB, AT);
	va[0] = unit_alloc(u, PAGE);
	va[1] = unit_alloc(u, 48 * MIB);
	assert_int_equal(va[1] % (32 * MIB), 0);
	va[2] = unit_map(u->as, s.obj, 6 * MIB, 32 * MIB, GM_READ);
	assert_int_equal(va[2] % (32 * MIB), 6 * MIB);
	assert_int_equal(gm_map_align(&(struct gm_region){ .len = 5 * GIB }), GIB);
	assert_int_equal(gm_map_align(&(struct gm_region){ .len = BLOCK + PAGE }), BLOCK);
	unit_unmap(u->as, va[0], PAGE);
	unit_unmap(u->as, va[1], 48 * MIB);
	unit_unmap(u->as, va[2], 32 * MIB);
	scene_end(u);
}

/* Small objects take small pieces of memory: a large one finds a large piece. */
static void small_ones_leave_room(void **state)
{
	struct unit *u = *state;
	uint64_t small[40];

	scene_begin(u, POWERS, 64, 64 * MIB, AT);
	for (unsigned int i = 0; i < 8; i++) {
		small[i] = unit_alloc(u, 2 * BLOCK);
		assert_int_equal(prefetch(u, small[i], 2 * BLOCK), 0);
	}
	assert_int_equal(prefetch(u, s.va, s.len), 0);
	assert_int_equal(where(s.va) % (64 * MIB), 0);
	for (unsigned int i = 0; i < 8; i++) {
		assert_int_equal(where(small[i] + BLOCK), where(small[i]) + BLOCK);
		unit_unmap(u->as, small[i], 2 * BLOCK);
	}
	scene_end(u);
}

/* Ranges of memory that adjoin are one; a leaf that lies in both goes when one of them does. */
static void adjoining_ranges(void **state)
{
	struct unit *u = *state;
	uint64_t base, end;

	scene_begin(u, POWERS, 64, 32 * MIB, AT);
	base = s.toy.base;
	end = base + s.toy.size;
	assert_int_equal(gm_dev_unregister_physmem(s.toy.dev, base, end), 0);
	assert_int_equal(gm_dev_register_physmem(s.toy.dev, base + 16 * MIB, base + 32 * MIB), 0);
	assert_int_equal(gm_dev_register_physmem(s.toy.dev, base, base + 16 * MIB), 0);
	assert_int_equal(prefetch(u, s.va, s.len), 0);
	assert_int_equal(mapped_well(true), 1);
	assert_int_equal(gm_dev_unregister_physmem(s.toy.dev, base, base + 16 * MIB), 0);
	gone(s.va, 16 * MIB);
	assert_int_equal(mapped_well(false), 1);
	scene_end(u);
}

/* Nothing that large is free: what there is. */
static void scattered_memory(void **state)
{
	struct unit *u = *state;
	uint64_t other;

	scene_begin(u, POWERS, 8, 16 * MIB, AT);
	other = unit_alloc(u, 16 * MIB);
	assert_int_equal(prefetch(u, other, 16 * MIB), 0);
	for (uint64_t off = 0; off < 16 * MIB; off += 2 * BLOCK)
		assert_int_equal(home(u, other + off, BLOCK), 0);
	assert_int_equal(prefetch(u, s.va, 8 * MIB), 0); /* four blocks, and no two together */
	for (uint64_t off = 0; off < 8 * MIB; off += BLOCK)
		assert_int_equal(toy_find(s.ctx, s.va + off)->leaf, BLOCK);
	unit_unmap(u->as, other, 16 * MIB);
	scene_end(u);
}

/* --------------------------------------------------------------------------- they go */

/* The figure: a page leaves a gibibyte, and no more than 9 + 9 leaves come beyond what must be. */
static void split_for_a_page(void **state)
{
	static const uint64_t pages[] = { 0, 1, 511, 512, 131071, 131072, 200000, 262143 };
	struct unit *u = *state;

	scene_begin(u, POWERS, 512, GIB, AT);
	assert_int_equal(prefetch(u, s.va, s.len), 0);
	for (unsigned int i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		uint64_t va = s.va + pages[i] * PAGE;
		unsigned int before = s.toy.ranges, n;

		assert_int_equal(leaves(), 1);
		assert_int_equal(home(u, va, PAGE), 0);
		assert_int_equal(s.toy.ranges - before, 1); /* one invalidation, of all of it */
		s.nr_gone = 0;
		gone(va, PAGE);
		n = mapped_well(false); /* 18: one of each size */
		assert_true(n <= 18);
		if (!i)
			print_message("a page out of 1 GiB: %u leaves\n", n);
		/* It comes back, to the frame it had, and all is one again. */
		assert_int_equal(gm_dev_fault(s.ctx, va, GM_READ), 0);
	}
	s.nr_gone = 0;
	assert_int_equal(mapped_well(true), 1);
	scene_end(u);
}

/* With few sizes the rest goes in at once, not leaf by leaf. */
static void split_in_bulk(void **state)
{
	struct unit *u = *state;
	unsigned int before;

	scene_begin(u, 1 << 12 | 1 << 21 | 1 << 30, 512, GIB, AT);
	assert_int_equal(prefetch(u, s.va, s.len), 0);
	before = s.toy.enters;
	assert_int_equal(home(u, s.va + 100 * BLOCK, BLOCK), 0);
	assert_int_equal(s.toy.enters - before, 2);
	assert_int_equal(leaves(), 511);
	/* Blocks that are alone already cost no more than ever. */
	before = s.toy.enters;
	assert_int_equal(home(u, s.va + 102 * BLOCK, BLOCK), 0);
	assert_int_equal(s.toy.enters - before, 0);
	assert_int_equal(leaves(), 510);
	scene_end(u);
}

/* Memory that fails in it costs one page. */
static void poison(void **state)
{
	struct unit *u = *state;
	uint64_t va;

	scene_begin(u, POWERS, 512, GIB, AT);
	assert_int_equal(prefetch(u, s.va, s.len), 0);
	assert_int_equal(gm_dev_poison(s.toy.dev, s.toy.base + 300 * MIB + 5 * PAGE), 0);
	va = s.va + 300 * MIB + 5 * PAGE;
	gone(va, PAGE);
	assert_int_equal(mapped_well(false), 18);
	assert_int_equal(gm_dev_fault(s.ctx, va, GM_READ), -EHWPOISON);
	assert_int_equal(unit_count_on(u->as, s.va, s.len, gm_dev_hnode(s.toy.dev)),
			 GIB / PAGE - 1);
	scene_end(u);
}

static const struct {
	uint64_t off, len;
} parts[] = {
	{ 0, PAGE },	   { 0, BLOCK },	  { 8 * MIB, 8 * MIB },	  { 7 * PAGE, PAGE },
	{ 30 * MIB, MIB }, { 6 * MIB, 26 * MIB }, { 63 * MIB, 4 * PAGE }, { 62 * MIB, BLOCK },
	{ MIB, 60 * MIB },
};
#define PARTS (sizeof(parts) / sizeof(parts[0]))

/* A part is unmapped; the rest stays mapped, in the largest leaves. */
static void unmap_a_part(void **state)
{
	struct unit *u = *state;

	for (unsigned int i = 0; i < BITMAPS * PARTS; i++) {
		scene_begin(u, bitmaps[i / PARTS], 100, 64 * MIB, AT);
		assert_int_equal(prefetch(u, s.va, s.len), 0);
		unit_unmap(u->as, s.va + parts[i % PARTS].off, parts[i % PARTS].len);
		gone(s.va + parts[i % PARTS].off, parts[i % PARTS].len);
		mapped_well(false);
		scene_end(u);
	}
}

/* The protection of a part changes: nothing faults, no leaf crosses its ends, all else is large. */
static void protect_a_part(void **state)
{
	struct unit *u = *state;

	for (unsigned int i = 0; i < PARTS; i++) {
		uint64_t va = AT + parts[i].off, len = parts[i].len;

		scene_begin(u, POWERS, 100, 64 * MIB, AT);
		assert_int_equal(prefetch(u, s.va, s.len), 0);
		assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)va, len, GM_READ), 0);
		gone(va, len);
		mapped_well(true);
		for (uint64_t at = s.va; at < s.va + s.len; at += MIB / 2) {
			bool in = at >= va && at < va + len;

			assert_int_equal(toy_find(s.ctx, at)->prot,
					 in ? GM_READ : GM_READ | GM_WRITE);
		}
		/* Regions do not grow together, nor do leaves. */
		assert_int_equal(
			gm_as_protect(u->as, (void *)(uintptr_t)va, len, GM_READ | GM_WRITE), 0);
		assert_int_equal(gm_dev_fault(s.ctx, va, GM_WRITE), 0);
		mapped_well(true);
		scene_end(u);
	}
}

/* A driver that cannot change a protection loses what it had, and faults for it. */
static void protect_without_protect(void **state)
{
	struct unit *u = *state;

	scene_begin(u, POWERS, 64, 64 * MIB, AT);
	assert_int_equal(gm_as_detach(s.ctx), 0);
	s.toy.mmu.pmap_protect = NULL;
	assert_int_equal(toy_unplug(&s.toy), 0);
	assert_int_equal(toy_plug(&s.toy), 0);
	assert_int_equal(gm_as_attach(u->as, s.toy.dev, GM_EXCLUSIVE, &s.ctx), 0);
	assert_int_equal(prefetch(u, s.va, s.len), 0);
	assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)s.va, 32 * MIB, GM_READ), 0);
	assert_int_equal(leaves(), 1);
	for (uint64_t off = 0; off < 32 * MIB; off += BLOCK)
		assert_int_equal(gm_dev_fault(s.ctx, s.va + off, GM_READ), 0);
	gone(s.va, 32 * MIB);
	assert_int_equal(mapped_well(true), 2);
	scene_end(u);
}

/* -------------------------------------------------------------------------- windows */

/* No leaf reaches beyond a window; what is taken out of one leaves the rest. */
static void windows(void **state)
{
	struct unit *u = *state;

	for (unsigned int i = 0; i < PARTS; i++) {
		struct gm_window all = { .va = AT, .len = 64 * MIB, .dev_va = AT };
		struct gm_window part = { .va = AT + parts[i].off, .len = parts[i].len };

		part.dev_va = part.va;
		scene_begin(u, POWERS, 64, 64 * MIB, AT);
		assert_int_equal(gm_as_detach(s.ctx), 0);
		assert_int_equal(gm_as_attach_sparse(u->as, s.toy.dev, GM_EXCLUSIVE, &s.ctx), 0);
		assert_int_equal(gm_window_add(s.ctx, &all, 1), 0);
		assert_int_equal(prefetch(u, s.va, s.len), 0);
		assert_int_equal(mapped_well(true), 1);
		assert_int_equal(gm_window_remove(s.ctx, &part, 1), 0);
		gone(part.va, part.len);
		mapped_well(false);
		assert_int_equal(gm_window_add(s.ctx, &part, 1), 0); /* entered as it comes */
		mapped_well(true);
		assert_int_equal(gm_window_remove(s.ctx, &all, 1), 0);
		assert_int_equal(leaves(), 0);
		assert_int_equal(gm_core.spans.in_use, 0);
		scene_end(u);
	}
}

/* Seen where address and memory do not go together: blocks, or less. */
static void window_at_an_offset(void **state)
{
	struct gm_window w = { .va = AT, .len = 64 * MIB, .dev_va = AT + 6 * MIB };
	struct unit *u = *state;

	scene_begin(u, POWERS, 64, 64 * MIB, AT);
	assert_int_equal(gm_as_detach(s.ctx), 0);
	assert_int_equal(gm_as_attach_sparse(u->as, s.toy.dev, GM_EXCLUSIVE, &s.ctx), 0);
	assert_int_equal(gm_window_add(s.ctx, &w, 1), 0);
	assert_int_equal(prefetch(u, s.va, s.len), 0);
	s.offset = 6 * MIB;
	mapped_well(true);
	assert_int_equal(leaves(), 32);
	assert_int_equal(gm_core.spans.in_use, 0);
	scene_end(u);
}

/* Two address spaces share the object: a page that goes leaves both their leaves. */
static void two_address_spaces(void **state)
{
	struct unit *u = *state;
	struct gm_context *ctx2;
	struct gm_as *as2;
	uint64_t va2;

	scene_begin(u, POWERS, 64, 64 * MIB, AT);
	assert_int_equal(gm_as_create(NULL, &as2), 0);
	assert_int_equal(gm_as_attach(as2, s.toy.dev, GM_EXCLUSIVE, &ctx2), 0);
	va2 = unit_map_at(as2, s.obj, 0, s.len, AT + GIB);
	assert_int_equal(prefetch(u, s.va, s.len), 0);
	for (uint64_t off = 0; off < s.len; off += BLOCK)
		assert_int_equal(gm_dev_fault(ctx2, va2 + off, GM_READ), 0);
	assert_int_equal(toy_leaves(ctx2, s.toy.base, s.toy.base + s.toy.size), 1);
	assert_int_equal(home(u, s.va + 9 * BLOCK, BLOCK), 0);
	gone(s.va + 9 * BLOCK, BLOCK);
	assert_int_equal(mapped_well(false), 5);
	assert_int_equal(toy_leaves(ctx2, s.toy.base, s.toy.base + s.toy.size), 5);
	assert_null(toy_find(ctx2, va2 + 9 * BLOCK));
	assert_int_equal(gm_as_destroy(as2), 0);
	assert_int_equal(mapped_well(false), 5);
	scene_end(u);
}

/* -------------------------------------------------------------------------- checking */

#ifdef GM_DEBUG
#include "core/check.h"

static void moved_unseen(void *arg)
{
	struct gm_block *block = arg;

	block->uniform += 1ULL << GM_E_PFN_SHIFT;
	gm_check_all();
}

static void left_over(void *arg)
{
	(void)arg;
	gm_pool_get(&gm_core.spans);
	gm_check_all();
}

static void the_checker_sees(void **state)
{
	struct unit *u = *state;

	scene_begin(u, POWERS, 16, 16 * MIB, AT);
	assert_int_equal(prefetch(u, s.va, s.len), 0);
	unit_expect_bug(moved_unseen, gm_lpt_peek(s.obj, 3), "gm_entry_pfn");
	unit_expect_bug(left_over, NULL, "spans");
	scene_end(u);
}
#endif

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, unit_setup_as, unit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(largest_that_fits),
		TEST(larger_base_pages),
		TEST(whatever_the_order),
		TEST(page_by_page),
		TEST(a_gibibyte),
		TEST(more_than_one),
		TEST(addresses),
		TEST(small_ones_leave_room),
		TEST(adjoining_ranges),
		TEST(scattered_memory),
		TEST(split_for_a_page),
		TEST(split_in_bulk),
		TEST(poison),
		TEST(unmap_a_part),
		TEST(protect_a_part),
		TEST(protect_without_protect),
		TEST(windows),
		TEST(window_at_an_offset),
		TEST(two_address_spaces),
#ifdef GM_DEBUG
		TEST(the_checker_sees),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
