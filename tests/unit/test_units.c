// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Devices whose base page is larger than 4 KiB: they have whole units of it or nothing, what
 * is done to a part is done to the unit, and no byte of the rest is lost.
 */
#include "unit.h"

#include "core/core.h"

#define RW (GM_READ | GM_WRITE)
#define K16 (1U << 14)
#define K64 (1U << 16)
#define M2 (1U << 21)
#define UNIT (K64 / PAGE) /* pages of a unit of the 64 KiB device */

static struct gm_sim *sim_of(uint64_t sizes, unsigned int nr, unsigned int blocks, uint32_t flags)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = blocks * BLOCK,
				      .base = (nr + 1ULL) << 32,
				      .pgsize_bitmap = sizes,
				      .lanes = 1,
				      .table_memory = 1 << 20,
				      .flags = GM_SIM_SYNC_FAULTS | GM_SIM_CHECK | flags };
	struct gm_sim *sim;

	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	unit_tune(gm_sim_dev(sim), PAGE, true, true);
	return sim;
}

/* Device 0 has leaves of these sizes, device 1 of those. */
static void plug(struct unit *u, uint64_t sizes0, uint64_t sizes1)
{
	for (unsigned int i = 0; i < 2; i++) {
		u->sim[i] = sim_of(i ? sizes1 : sizes0, i, 4, 0);
		assert_int_equal(gm_sim_attach(u->sim[i], u->as, &u->ctx[i]), 0);
	}
}

static void unplug(struct unit *u)
{
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(gm_sim_detach(u->ctx[i]), 0);
		assert_int_equal(gm_sim_destroy(u->sim[i]), 0);
		u->sim[i] = NULL;
	}
}

/* A device of 64 KiB pages, and one of the usual. */
static int setup(void **state)
{
	unit_setup_as(state);
	plug(*state, K64 | M2, PAGE | K64 | M2);
	return 0;
}

static int advise(struct unit *u, int node, uint64_t va, uint64_t len, uint32_t advice)
{
	return gm_advise(u->as, node, va, len, advice);
}

static uint64_t frame(struct unit *u, uint64_t va)
{
	struct gm_lookup at = { .size = sizeof(at) };

	assert_int_equal(gm_as_lookup(u->as, va, &at), 0);
	assert_true(at.pa != GM_NO_ADDRESS);
	return at.pa;
}

static void no_stale(struct unit *u)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct gm_sim_stats s = { .size = sizeof(s) };

		gm_sim_stats(u->sim[i], &s);
		assert_int_equal(s.stale, 0);
	}
	unit_check();
}

/* ------------------------------------------------------------------- whole units */

/* One page is touched, and its unit comes, in frames of its own kind; the CPU takes it whole. */
static void come_and_go(struct unit *u, uint64_t sizes)
{
	uint64_t unit = sizes & -sizes, va, pa, faults;

	plug(u, sizes, PAGE);
	va = unit_alloc(u, 2 * BLOCK);
	unit_fill(u, CPU, va, BLOCK, 1); /* behind it: nothing */
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t at = va + i * BLOCK + BLOCK - PAGE, first = at & ~(unit - 1);

		unit_store(u, 0, at, 77);
		assert_int_equal(unit_count_on(u->as, va, 2 * BLOCK, unit_node(u, 0)), unit / PAGE);
		unit_on(u->as, first, unit, unit_node(u, 0));
		pa = frame(u, first);
		assert_int_equal(pa % unit, 0);
		for (uint64_t off = 0; off < unit; off += PAGE)
			assert_int_equal(frame(u, first + off), pa + off);
		no_stale(u);
		assert_int_equal(unit_load(u, CPU, first), unit > PAGE ? 0 : 77);
		assert_int_equal(unit_count_on(u->as, va, 2 * BLOCK, unit_node(u, 0)), 0);
		assert_int_equal(unit_load(u, CPU, at), 77);
		assert_int_equal(unit_hnode(unit_node(u, 0)).free, 4 * BLOCK);
	}
	/* Every page of a block in an order of its own, and hints of a page. */
	unit_fill(u, CPU, va, BLOCK, 2);
	for (uint64_t i = 0; i < 512; i++)
		unit_verify(u, 0, va + i * 37 % 512 * PAGE, PAGE, 2);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	assert_int_equal(advise(u, GM_NODE_HOST, va + 5 * PAGE, PAGE, GM_PREFETCH), 0);
	unit_on(u->as, va + (5 * PAGE & ~(unit - 1)), unit, GM_NODE_HOST);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, 0)), 512 - unit / PAGE);
	assert_int_equal(advise(u, unit_node(u, 0), va + 5 * PAGE, 1, GM_PREFETCH), 0);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	unit_verify(u, 0, va, BLOCK, 2);
	no_stale(u);
	unit_peek(u->as, va, BLOCK, 2);
	faults = unit_as_stats(u->as).cpu_faults;
	unit_verify(u, CPU, va, BLOCK, 2); /* what comes home is mapped */
	assert_int_equal(unit_as_stats(u->as).cpu_faults - faults, BLOCK / GM_MAX(unit, K64));
	unit_unmap(u->as, va, 2 * BLOCK);
	unplug(u);
}

static void sizes(void **state)
{
	static const uint64_t rows[] = { PAGE, K16, K16 | M2, K16 | K64, K64, K64 | M2, M2 };

	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		come_and_go(*state, rows[i]);
}

/* A copy into a part unmaps the unit, and maps it again. */
static void copied_into(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), value = 99, before;

	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(advise(u, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	unit_verify(u, 0, va, BLOCK, 1);
	before = unit_dev_stats(unit_dev(u, 0)).dev_faults;
	assert_int_equal(
		gm_copy(GM_NODE_NONE, u->as, va + 5 * PAGE + 8, NULL, (uintptr_t)&value, 8), 0);
	no_stale(u);
	assert_int_equal(unit_load(u, 0, va + 5 * PAGE + 8), 99);
	unit_load(u, 0, va);
	unit_load(u, 0, va + 511 * PAGE);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).dev_faults, before);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
}

/* More than fits, by faults and ahead of them: eviction goes by units, and gets them back. */
static void oversubscribed(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 6 * BLOCK);

	unit_fill(u, CPU, va, 6 * BLOCK, 1);
	for (uint64_t i = 0; i < 6 * 512; i += 3)
		unit_verify(u, 0, va + i * 1031 % (6 * 512) * PAGE, PAGE, 1);
	assert_true(unit_dev_stats(unit_dev(u, 0)).evictions > 0);
	no_stale(u);
	for (unsigned int b = 0; b < 6; b++)
		assert_int_equal(advise(u, unit_node(u, 0), va + b * BLOCK + 7 * PAGE, 300 * PAGE,
					GM_PREFETCH),
				 0);
	no_stale(u);
	unit_verify(u, 0, va, 6 * BLOCK, 1);
	assert_int_equal(unit_hnode(unit_node(u, 0)).free % K64, 0);
	unit_verify(u, CPU, va, 6 * BLOCK, 1);
}

/* --------------------------------------------------------------------------- pins */

/* A pinned page keeps its unit; each page's pin is its own. */
static void pinned(void **state)
{
	struct unit *u = *state;
	int node = unit_node(u, 0);
	uint64_t va = unit_alloc(u, 5 * BLOCK), value;

	unit_fill(u, CPU, va, 5 * BLOCK, 1);
	assert_int_equal(advise(u, node, va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(advise(u, node, va + 19 * PAGE, PAGE, GM_PIN), 0);
	assert_int_equal(advise(u, node, va + 21 * PAGE, PAGE, GM_PIN), 0);
	assert_int_equal(unit_hnode(node).pinned, K64);
	assert_false(unit_info(u->as, va + 20 * PAGE).flags & GM_PAGE_PINNED);
	for (unsigned int b = 1; b < 5; b++)
		assert_int_equal(advise(u, node, va + b * BLOCK, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, node), UNIT);
	unit_on(u->as, va + 16 * PAGE, K64, node);
	no_stale(u);
	assert_int_equal(advise(u, 0, va + 19 * PAGE, PAGE, GM_UNPIN), 0);
	assert_int_equal(unit_hnode(node).pinned, K64);
	unit_verify(u, CPU, va + 16 * PAGE, UNIT * PAGE, 1); /* goes with the page */
	assert_int_equal(unit_hnode(node).pinned, 0);
	unit_verify(u, 0, va + 30 * PAGE, PAGE, 1);
	assert_int_equal(unit_hnode(node).pinned, K64);
	assert_int_equal(advise(u, 0, va + 21 * PAGE, PAGE, GM_UNPIN), 0);
	assert_int_equal(unit_hnode(node).pinned, 0);
	unit_check();

	/* A page of each unit, and the device is full; one unit's less, and there is room. */
	assert_int_equal(advise(u, GM_NODE_HOST, va, 5 * BLOCK, GM_PREFETCH), 0);
	for (uint64_t i = 3; i < 4 * 512; i += UNIT)
		assert_int_equal(advise(u, node, va + i * PAGE, PAGE, GM_PIN), 0);
	assert_int_equal(unit_hnode(node).pinned, 4 * BLOCK);
	assert_int_equal(unit_access(u, 0, va + 4 * BLOCK, &value, 8, GM_READ), -ENOSPC);
	assert_int_equal(advise(u, node, va + 4 * BLOCK, PAGE, GM_PREFETCH), -ENOSPC);
	unit_check();
	assert_int_equal(advise(u, 0, va + 100 * PAGE, UNIT * PAGE, GM_UNPIN), 0);
	unit_verify(u, 0, va + 4 * BLOCK, PAGE, 1);
	no_stale(u);
	unit_on(u->as, va + 112 * PAGE, UNIT * PAGE, GM_NODE_HOST);
	unit_peek(u->as, va, 5 * BLOCK, 1);
}

/* ------------------------------------------------------------------------ dropping */

/* A part is dropped: it is zero, and the rest of its units is home; inner units just go. */
static void dropped(void **state)
{
	struct unit *u = *state;
	int node = unit_node(u, 0);
	uint64_t va = unit_alloc(u, BLOCK);

	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(advise(u, node, va, BLOCK, GM_PREFETCH), 0);
	unit_verify(u, 0, va, BLOCK, 1);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_FENCE, 0, 1, -EIO);
	assert_int_equal(advise(u, 0, va + 5 * PAGE, 50 * PAGE, GM_DONTNEED), -EIO);
	unit_on(u->as, va, BLOCK, node);
	unit_verify(u, 0, va, BLOCK, 1);
	assert_int_equal(advise(u, 0, va + 5 * PAGE, 50 * PAGE, GM_DONTNEED), 0);
	no_stale(u);
	unit_on(u->as, va, 5 * PAGE, GM_NODE_HOST);
	unit_on(u->as, va + 5 * PAGE, 50 * PAGE, GM_NODE_NONE);
	unit_on(u->as, va + 55 * PAGE, 9 * PAGE, GM_NODE_HOST);
	unit_on(u->as, va + 64 * PAGE, BLOCK - 64 * PAGE, node);
	assert_int_equal(unit_hnode(node).free, 3 * BLOCK + 64 * PAGE);
	unit_peek(u->as, va, 5 * PAGE, 1);
	unit_peek(u->as, va + 5 * PAGE, 50 * PAGE, 0);
	unit_verify(u, 0, va + 55 * PAGE, 457 * PAGE, 1);
	unit_verify(u, CPU, va + 5 * PAGE, 50 * PAGE, 0);
	/* A whole block, in one entry. */
	assert_int_equal(advise(u, node, va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(advise(u, 0, va, BLOCK, GM_DONTNEED), 0);
	assert_int_equal(unit_hnode(node).free, 4 * BLOCK);
	unit_verify(u, 0, va, BLOCK, 0);
}

/* ------------------------------------------------------------------------- regions */

/* Where a region begins or ends in a unit, or lies out of step, the unit stays with the host. */
static void regions(void **state)
{
	struct unit *u = *state;
	int node = unit_node(u, 0);
	struct gm_object *obj = unit_object(2 * BLOCK);
	uint64_t va = unit_map_at(u->as, obj, 5 * PAGE, BLOCK, 0x40000000 + 5 * PAGE);
	uint64_t odd = unit_map_at(u->as, obj, 0, BLOCK, 0x60000000 + PAGE), value;

	gm_object_put(obj);
	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(unit_access(u, 0, va, &value, 8, GM_READ), -EADDRNOTAVAIL);
	assert_int_equal(unit_access(u, 0, va + 10 * PAGE, &value, 8, GM_WRITE), -EADDRNOTAVAIL);
	assert_int_equal(unit_access(u, 0, va + BLOCK - PAGE, &value, 8, GM_READ), -EADDRNOTAVAIL);
	for (uint64_t i = 0; i < 512; i += 17)
		assert_int_equal(unit_access(u, 0, odd + i * PAGE, &value, 8, GM_READ),
				 -EADDRNOTAVAIL);
	assert_int_equal(advise(u, node, va, 20 * PAGE, GM_PIN), -EADDRNOTAVAIL);
	assert_int_equal(advise(u, node, odd, PAGE, GM_PIN), -EADDRNOTAVAIL);
	assert_int_equal(advise(u, node, odd, BLOCK, GM_PREFETCH), 0); /* leaves out what cannot */
	assert_int_equal(advise(u, node, va, 11 * PAGE, GM_PREFETCH), 0);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	assert_int_equal(advise(u, node, va, BLOCK, GM_PREFETCH), 0);
	unit_on(u->as, va, 11 * PAGE, GM_NODE_HOST);
	unit_on(u->as, va + 11 * PAGE, 496 * PAGE, node);
	unit_on(u->as, va + 507 * PAGE, 5 * PAGE, GM_NODE_HOST);
	unit_verify(u, 0, va + 11 * PAGE, 496 * PAGE, 1);
	unit_verify(u, 1, va, 11 * PAGE, 1); /* the other device can */

	/* Seen by the CPU, and by the other device, where it is out of step. */
	unit_store(u, 0, va + 50 * PAGE, 1234);
	assert_int_equal(unit_load(u, CPU, odd + 55 * PAGE), 1234);
	unit_on(u->as, va + 43 * PAGE, UNIT * PAGE, GM_NODE_HOST);
	unit_store(u, 0, va + 50 * PAGE, 5678);
	assert_int_equal(unit_load(u, 1, odd + 55 * PAGE), 5678);
	assert_int_equal(unit_load(u, 0, va + 50 * PAGE), 5678);
	no_stale(u);
	unit_unmap(u->as, odd, BLOCK);
	unit_load(u, 0, va + 50 * PAGE);
	no_stale(u);
}

/* A region is cut in a unit, by unmapping or protecting: what lies there is home, the rest stays. */
static void cut(void **state)
{
	struct unit *u = *state;
	int node = unit_node(u, 0);
	uint64_t va = unit_alloc(u, 2 * BLOCK), value = 0, before;

	for (unsigned int b = 0; b < 2; b++) {
		uint64_t at = va + b * BLOCK;

		unit_fill(u, CPU, at, BLOCK, 1);
		assert_int_equal(advise(u, node, at, BLOCK, GM_PREFETCH), 0);
		gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 1, -EIO);
		if (b)
			assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)(at + 20 * PAGE),
						       33 * PAGE, GM_READ),
					 -EIO);
		else
			assert_int_equal(gm_as_unmap(u->as, (void *)(uintptr_t)(at + 20 * PAGE),
						     33 * PAGE),
					 -EIO);
		unit_on(u->as, at, BLOCK, node);
		unit_verify(u, 0, at, BLOCK, 1);
		before = unit_dev_stats(unit_dev(u, 0)).dev_faults;
		if (b)
			assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)(at + 20 * PAGE),
						       33 * PAGE, GM_READ),
					 0);
		else
			unit_unmap(u->as, at + 20 * PAGE, 33 * PAGE);
		no_stale(u);
		unit_on(u->as, at, 16 * PAGE, node);
		unit_on(u->as, at + 16 * PAGE, 4 * PAGE, GM_NODE_HOST);
		unit_on(u->as, at + 53 * PAGE, 11 * PAGE, GM_NODE_HOST);
		unit_on(u->as, at + 64 * PAGE, 448 * PAGE, node);
		unit_verify(u, 0, at, 16 * PAGE, 1);
		unit_verify(u, 0, at + 64 * PAGE, 448 * PAGE, 1);
		assert_int_equal(unit_dev_stats(unit_dev(u, 0)).dev_faults, before);
		assert_int_equal(unit_access(u, 0, at + 16 * PAGE, &value, 8, GM_READ),
				 -EADDRNOTAVAIL);
		assert_int_equal(unit_access(u, 0, at + 53 * PAGE, &value, 8, GM_READ),
				 -EADDRNOTAVAIL);
		unit_peek(u->as, at, 20 * PAGE, 1);
		unit_peek(u->as, at + 53 * PAGE, 459 * PAGE, 1);
	}
	unit_on(u->as, va + BLOCK + 32 * PAGE, 16 * PAGE, node); /* whole, and read-only */
	assert_int_equal(unit_access(u, 0, va + BLOCK + 32 * PAGE, &value, 8, GM_WRITE), -EACCES);
	assert_int_equal(unit_access(u, CPU, va + BLOCK + 21 * PAGE, &value, 8, GM_WRITE), -EACCES);
	unit_verify(u, 0, va + BLOCK + 32 * PAGE, 16 * PAGE, 1);
}

/* Cut at the end of a unit, where a larger leaf lies: the rest stays mapped. */
static void cut_between(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), before;

	assert_int_equal(advise(u, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	unit_fill(u, 0, va, BLOCK, 1);
	before = unit_dev_stats(unit_dev(u, 0)).dev_faults;
	unit_unmap(u->as, va + 32 * PAGE, 64 * PAGE);
	unit_verify(u, 0, va, 32 * PAGE, 1);
	unit_verify(u, 0, va + 96 * PAGE, 416 * PAGE, 1);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).dev_faults, before);
	assert_int_equal(unit_hnode(unit_node(u, 0)).free, 3 * BLOCK + 64 * PAGE);
	no_stale(u);
}

/* ------------------------------------------------------------------- gm_alloc() */

/* However small: where a device can map all of it, and nothing is left of it in the end. */
static void allocated(void **state)
{
	static const uint64_t pages[] = { 1, 5, 16, 17, 511, 512, 515 };
	struct unit *u = *state;
	uint64_t value = 0;

	for (unsigned int i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		uint64_t len = pages[i] * PAGE, va = unit_alloc(u, len), next = unit_alloc(u, PAGE);

		assert_int_equal(va % (pages[i] < 512 ? K64 : BLOCK), 0);
		unit_fill(u, CPU, va, len, 1);
		unit_verify(u, 0, va, len, 1);
		unit_store(u, 0, next, 8);
		unit_on(u->as, va, len, unit_node(u, 0));
		assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)va, len, GM_READ), 0);
		unit_verify(u, 0, va, len, 1);
		assert_int_equal(unit_access(u, 0, va + len - PAGE, &value, 8, GM_WRITE), -EACCES);
		if (pages[i] > 16) { /* in two halves */
			unit_unmap(u->as, va + 16 * PAGE, len - 16 * PAGE);
			for (uint64_t at = va + 16 * PAGE; at < next; at += PAGE)
				assert_false(gm_as_covers(u->as, at));
			unit_verify(u, 0, va, 16 * PAGE, 1);
			unit_unmap(u->as, va, PAGE); /* a page, and no more */
			unit_verify(u, CPU, va + PAGE, 15 * PAGE, 1);
			unit_unmap(u->as, va + PAGE, 15 * PAGE);
		} else {
			unit_unmap(u->as, va, len);
		}
		for (uint64_t at = va; at < va + 2 * BLOCK; at += PAGE)
			assert_int_equal(gm_as_covers(u->as, at), at >= next && at < next + K64);
		assert_int_equal(unit_load(u, CPU, next), 8);
		unit_unmap(u->as, next, PAGE);
		unit_check();
	}
	assert_int_equal(gm_as_unmap(u->as, (void *)(uintptr_t)0x1000, 0), -EINVAL);
	assert_int_equal(gm_metadata_bytes(), 0);
	/* Without such a device nothing is added. */
	unplug(u);
	unit_alloc(u, PAGE);
	assert_false(gm_as_covers(u->as, unit_alloc(u, PAGE) + PAGE));
}

/* ---------------------------------------------------------------------- the checker */

#ifdef GM_DEBUG

static void swap(void *arg)
{
	struct gm_block *block = arg;
	uint64_t e = block->pages[17];

	block->pages[17] = block->pages[18];
	block->pages[18] = e;
	gm_check_block(block);
}

static void elsewhere(void *arg)
{
	struct gm_block *block = arg;

	for (unsigned int i = 24; i < 32; i++)
		block->pages[i] += (uint64_t)UNIT << GM_E_PFN_SHIFT;
	gm_check_block(block);
}

static void half(void *arg)
{
	struct gm_block *block = arg;

	block->pages[20] = GM_HOST; /* and to keep the sums what they are: */
	block->pages[100] = gm_entry_on_dev(gm_entry_dev(block->pages[21]), 1 << 20 | 4, 0);
	gm_check_block(block);
}

/* A unit that is not whole is seen at once. */
static void checked(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t va = unit_map(u->as, obj, 0, BLOCK, RW);
	struct gm_block *block;

	unit_store(u, 0, va + 20 * PAGE, 1);
	block = gm_lpt_peek(obj, 0);
	assert_non_null(block->pages);
	gm_check_block(block);
	unit_expect_bug(swap, block, "% unit != in");
	unit_expect_bug(elsewhere, block, "gm_entry_pfn(first) + in");
	unit_expect_bug(half, block, "page + 1");
	gm_object_put(obj);
}

#endif

/* ------------------------------------------------------------------------ bad input */

static void refused(void **state)
{
	struct unit *u = *state;
	uint64_t base = 9ULL << 32;
	struct gm_dev *dev = unit_dev(u, 0);
	struct gm_sim *in_place;
	struct gm_sim_ctx *none;

	assert_int_equal(gm_dev_register_physmem(dev, base + PAGE, base + 2 * BLOCK), -EINVAL);
	assert_int_equal(gm_dev_register_physmem(dev, base, base + 2 * BLOCK + PAGE), -EINVAL);
	assert_int_equal(unit_hnode(unit_node(u, 0)).total, 4 * BLOCK);
	/* Host memory in place goes by pages. */
	in_place = sim_of(K64, 5, 1, GM_SIM_IN_PLACE);
	assert_int_equal(gm_sim_attach(in_place, u->as, &none), -EOPNOTSUPP);
	assert_int_equal(gm_sim_destroy(in_place), 0);
	/* A granule may be less than a unit: then it is the unit. */
	unit_tune(dev, 2 * PAGE, true, true);
	unit_store(u, 0, unit_alloc(u, BLOCK), 1);
	assert_int_equal(unit_hnode(unit_node(u, 0)).free, 4 * BLOCK - K64);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, unit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sizes, unit_setup_as, unit_teardown),
		TEST(copied_into),
		TEST(oversubscribed),
		TEST(pinned),
		TEST(dropped),
		TEST(regions),
		TEST(cut),
		TEST(cut_between),
		TEST(allocated),
		TEST(refused),
#ifdef GM_DEBUG
		TEST(checked),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
