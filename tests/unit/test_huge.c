// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Objects with huge pages: the host makes, maps, unmaps and frees 2 MiB at a time, while
 * devices take as little as 4 KiB. The fake host takes anything else for a bug.
 */
#include "unit.h"

#define P(va) ((void *)(uintptr_t)(va))
#define BASE 0x7000000000ULL

static uint64_t alloc_huge(struct unit *u, uint64_t blocks)
{
	void *addr;

	assert_int_equal(gm_alloc(u->as, blocks * BLOCK, GM_OBJECT_HUGETLB, &addr), 0);
	return (uintptr_t)addr;
}

static struct gm_object *huge_object(uint64_t blocks)
{
	struct gm_object *obj;

	assert_int_equal(gm_object_create(blocks * BLOCK, GM_OBJECT_HUGETLB, &obj), 0);
	return obj;
}

static void there_and_back(void **state)
{
	struct unit *u = *state;
	uint64_t va = alloc_huge(u, 2), value;
	int node = unit_node(u, 0);

	assert_int_equal(va % BLOCK, 0);
	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(gm_metadata_bytes(), 0);
	assert_int_equal(gm_advise(u->as, node, va, BLOCK, GM_PREFETCH), 0);
	unit_on(u->as, va, BLOCK, node);
	unit_verify(u, 0, va, 2 * BLOCK, 1);
	unit_fill(u, 0, va, 2 * BLOCK, 2);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va + 7 * PAGE, 1, GM_PREFETCH), 0);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST); /* rounded out to what the host can map */
	unit_verify(u, CPU, va, 2 * BLOCK, 2);
	assert_int_equal(unit_access(u, CPU, va + 2 * BLOCK, &value, 8, GM_READ), -EFAULT);
	unit_unmap(u->as, va, 2 * BLOCK);
	assert_int_equal(gm_metadata_bytes(), 0);
	assert_int_equal(unit_hnode(node).free, 4 * BLOCK);
}

/* A device takes pages of a huge page one by one; one touch of the CPU takes all of them. */
static void cpu_maps_the_whole(void **state)
{
	struct unit *u = *state;
	uint64_t va = alloc_huge(u, 1), faults;

	unit_fill(u, CPU, va, BLOCK, 1);
	for (uint64_t i = 0; i < 512; i += 3)
		unit_verify(u, (int)(i % 2), va + i * PAGE, PAGE, 1);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, GM_NODE_HOST), 512 - 171);
	for (uint64_t i = 0; i < 512; i++)
		assert_int_equal(gm_fake_page(u->as, va + i * PAGE) & GM_FAKE_MAPPED, 0);
	faults = gm_fake_cpu_faults();
	unit_verify(u, CPU, va + 100 * PAGE, PAGE, 1);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	unit_verify(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_fake_cpu_faults(), faults + 1);
}

/* Never touched: a device gets zeros, the CPU the same, each without the other's doing. */
static void zeros(void **state)
{
	struct unit *u = *state;
	uint64_t va = alloc_huge(u, 3);

	unit_verify(u, 0, va + 9 * PAGE, 3 * PAGE, 0);
	unit_store(u, 0, va + 9 * PAGE, 5);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, GM_NODE_NONE), 509);
	assert_int_equal(unit_load(u, CPU, va + 9 * PAGE), 5);
	unit_verify(u, CPU, va + 10 * PAGE, 502 * PAGE, 0);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	unit_verify(u, CPU, va + BLOCK, PAGE, 0); /* the kernel alone: the whole page at once */
	assert_int_equal(gm_fake_page(u->as, va + BLOCK + 99 * PAGE),
			 GM_FAKE_PRESENT | GM_FAKE_MAPPED);
	assert_int_equal(gm_fake_page(u->as, va + 2 * BLOCK), 0);
	unit_verify(u, 1, va + 2 * BLOCK - 4 * PAGE, 8 * PAGE, 0);
}

/* More than the device has room for, beside what is pinned there. */
static void oversubscribed(void **state)
{
	struct unit *u = *state;
	uint64_t va = alloc_huge(u, 6);
	int node = unit_node(u, 0);

	unit_tune(unit_dev(u, 0), 64 << 10, false, true);
	unit_fill(u, CPU, va, 6 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, node, va, BLOCK + BLOCK / 2, GM_PIN), 0);
	for (unsigned int round = 0; round < 3; round++)
		unit_verify(u, 0, va, 6 * BLOCK, 1);
	unit_fill(u, 0, va, 6 * BLOCK, 2);
	unit_on(u->as, va, BLOCK + BLOCK / 2, node);
	assert_true(unit_dev_stats(unit_dev(u, 0)).evictions > 0);
	unit_verify(u, 1, va, 6 * BLOCK, 2);
	unit_verify(u, CPU, va, 6 * BLOCK, 2);
	assert_int_equal(unit_info(u->as, va).flags, GM_PAGE_PINNED);
}

/* Room for half a huge page, and nothing to evict: its pages come one by one. */
static void room_for_a_part(void **state)
{
	struct unit *u = *state;
	uint64_t pinned = unit_alloc(u, 4 * BLOCK), va = alloc_huge(u, 2), value;
	int node = unit_node(u, 0);

	for (unsigned int whole = 0; whole < 2; whole++) {
		unit_tune(unit_dev(u, 0), whole ? BLOCK : PAGE, !whole, true);
		assert_int_equal(gm_advise(u->as, node, pinned, 3 * BLOCK + BLOCK / 2, GM_PIN), 0);
		unit_fill(u, CPU, va, 2 * BLOCK, 1);
		unit_verify(u, 0, va, 2 * BLOCK, 1);
		unit_fill(u, 0, va, 2 * BLOCK, 2);
		assert_int_equal(unit_count_on(u->as, va, 2 * BLOCK, node), 256);
		assert_int_equal(gm_advise(u->as, node, pinned, 4 * BLOCK, GM_PIN), 0);
		assert_int_equal(unit_access(u, 0, va, &value, 8, GM_READ), -ENOSPC);
		unit_verify(u, CPU, va, 2 * BLOCK, 2);
		assert_int_equal(gm_advise(u->as, node, pinned, 4 * BLOCK, GM_UNPIN), 0);
		assert_int_equal(gm_advise(u->as, 0, pinned, 4 * BLOCK, GM_DONTNEED), 0);
	}
}

/* Their host frames always stay, count for nothing, and cannot be trimmed. */
static void retained(void **state)
{
	struct unit *u = *state;
	uint64_t va = alloc_huge(u, 1), small = unit_alloc(u, BLOCK);
	int node = unit_node(u, 0);

	gm_retain_limit(BLOCK);
	unit_fill(u, CPU, va, BLOCK, 1);
	unit_fill(u, CPU, small, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, node, va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(unit_info(u->as, va).flags, GM_PAGE_RETAINED);
	assert_int_equal(gm_retained_bytes(), 0);
	assert_int_equal(gm_retain_trim(BLOCK), 0);
	assert_int_equal(gm_advise(u->as, node, small, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_retained_bytes(), BLOCK);
	assert_int_equal(gm_retain_trim(2 * BLOCK), BLOCK);
	assert_int_equal(unit_info(u->as, va).flags, GM_PAGE_RETAINED);
	assert_true(gm_fake_page(u->as, va) & GM_FAKE_PRESENT);
	unit_verify(u, 0, va, BLOCK, 1);
	unit_verify(u, CPU, va, BLOCK, 1);
	unit_verify(u, CPU, small, BLOCK, 1);
}

/* DONTNEED is rounded inward to what the host can free. */
static void dontneed(void **state)
{
	struct unit *u = *state;
	uint64_t va = alloc_huge(u, 3);

	for (int who = CPU; who < 2; who++) {
		unit_fill(u, who, va, 3 * BLOCK, 1);
		assert_int_equal(gm_advise(u->as, 0, va, BLOCK - PAGE, GM_DONTNEED), 0);
		assert_int_equal(gm_advise(u->as, 0, va + PAGE, BLOCK, GM_DONTNEED), 0);
		unit_peek(u->as, va, 3 * BLOCK, 1);
		assert_int_equal(gm_advise(u->as, 0, va + PAGE, 3 * BLOCK - PAGE, GM_DONTNEED), 0);
		unit_peek(u->as, va, BLOCK, 1);
		unit_on(u->as, va + BLOCK, 2 * BLOCK, GM_NODE_NONE);
		unit_verify(u, CPU, va + BLOCK, BLOCK, 0);
		unit_verify(u, 0, va + 2 * BLOCK, BLOCK, 0);
		unit_verify(u, who, va, BLOCK, 1);
	}
}

/* A huge page is cut by nobody. */
static void cuts(void **state)
{
	static const struct {
		uint64_t off, len;
	} bad[] = { { PAGE, BLOCK },
		    { 0, PAGE },
		    { BLOCK, BLOCK + PAGE },
		    { 0, PAGE * 511 },
		    { BLOCK - PAGE, BLOCK + PAGE } };
	struct unit *u = *state;
	struct gm_object *obj = huge_object(3);
	void *addr;
	uint64_t va = unit_map_at(u->as, obj, 0, 3 * BLOCK, BASE);

	unit_fill(u, 0, va, 3 * BLOCK, 1);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(gm_as_unmap(u->as, P(va + bad[i].off), bad[i].len), -EINVAL);
		assert_int_equal(gm_as_protect(u->as, P(va + bad[i].off), bad[i].len, GM_READ),
				 -EINVAL);
	}
	addr = P(BASE + 8 * BLOCK + PAGE);
	assert_int_equal(gm_as_map(u->as, obj, 0, BLOCK, GM_READ, GM_MAP_FIXED, &addr), -EINVAL);
	assert_int_equal(gm_as_map(u->as, obj, PAGE, BLOCK, GM_READ, 0, &addr), -EINVAL);
	assert_int_equal(gm_as_map(u->as, obj, 0, PAGE, GM_READ, 0, &addr), -EINVAL);
	assert_int_equal(gm_as_carve(u->as, va), 0); /* there is nothing to cut */
	unit_fill(u, 0, va, 3 * BLOCK, 2);	     /* nothing was changed by all that */
	unit_unmap(u->as, va + BLOCK, BLOCK);
	unit_verify(u, CPU, va, BLOCK, 2);
	unit_verify(u, 1, va + 2 * BLOCK, BLOCK, 2);
	gm_object_put(obj);
}

/* Mappings of either kind side by side: one call may cover both, each cut by its own rule. */
static void beside_small_pages(void **state)
{
	struct unit *u = *state;
	struct gm_object *small, *huge = huge_object(2);
	uint64_t va = BASE + BLOCK, low = va - 5 * PAGE, high = va + 2 * BLOCK, value;

	assert_int_equal(gm_object_create(10 * PAGE, 0, &small), 0);
	for (unsigned int round = 0; round < 3; round++) {
		unit_map_at(u->as, small, 0, 5 * PAGE, low);
		unit_map_at(u->as, huge, 0, 2 * BLOCK, va);
		unit_map_at(u->as, small, 5 * PAGE, 5 * PAGE, high);
		unit_fill(u, (int)round - 1, low, 2 * BLOCK + 10 * PAGE, round + 1);
		/* Into the huge pages, from either side: no. */
		assert_int_equal(gm_as_unmap(u->as, P(low), 6 * PAGE), -EINVAL);
		assert_int_equal(gm_as_unmap(u->as, P(high - PAGE), 3 * PAGE), -EINVAL);
		unit_verify(u, 0, low, 2 * BLOCK + 10 * PAGE, round + 1);
		assert_int_equal(gm_as_protect(u->as, P(low + PAGE), 4 * PAGE + BLOCK, GM_READ), 0);
		assert_int_equal(unit_access(u, 0, va + PAGE, &value, 8, GM_WRITE), -EACCES);
		unit_store(u, 0, low, 1);
		unit_store(u, 0, va + BLOCK, 1);
		unit_unmap(u->as, low + 2 * PAGE, 3 * PAGE + BLOCK);
		assert_int_equal(unit_access(u, CPU, va, &value, 8, GM_READ), -EFAULT);
		unit_unmap(u->as, va + BLOCK, BLOCK + 2 * PAGE);
		unit_verify(u, 1, low + PAGE, PAGE, round + 1);
		unit_verify(u, 1, high + 2 * PAGE, 3 * PAGE, round + 1);
		unit_unmap(u->as, low, 2 * PAGE);
		unit_unmap(u->as, high + 2 * PAGE, 3 * PAGE);
	}
	gm_object_put(small);
	gm_object_put(huge);
}

static void copies(void **state)
{
	struct unit *u = *state;
	uint64_t src = unit_alloc(u, BLOCK), dst = alloc_huge(u, 3);

	unit_fill(u, CPU, src, BLOCK, 1);
	unit_verify(u, 0, dst, PAGE, 0); /* a block that has one page somewhere ... */
	assert_int_equal(gm_copy(GM_NODE_NONE, u->as, dst + 100 * PAGE, u->as, src, 50 * PAGE), 0);
	unit_on(u->as, dst + PAGE, BLOCK - PAGE, GM_NODE_HOST); /* ... gets all the others */
	unit_on(u->as, dst, PAGE, unit_node(u, 0));
	assert_int_equal(gm_copy(GM_NODE_NONE, u->as, dst + BLOCK + 7 * PAGE, u->as, src, PAGE), 0);
	unit_peek(u->as, dst + 200 * PAGE, 10 * PAGE, 0);
	assert_int_equal(gm_copy(unit_node(u, 1), u->as, dst + 2 * BLOCK, u->as, src, BLOCK), 0);
	unit_on(u->as, dst + 2 * BLOCK, BLOCK, unit_node(u, 1));
	for (uint64_t i = 0; i < 50; i++) {
		uint64_t at = src + i * PAGE, off = i * PAGE + at / PAGE % 500 * 8;

		assert_int_equal(unit_load(u, CPU, dst + 100 * PAGE + off),
				 unit_load(u, CPU, src + off));
		assert_int_equal(unit_load(u, CPU, dst + 2 * BLOCK + off),
				 unit_load(u, CPU, src + off));
	}
}

/* A step fails: the pages stay where they were, and a page that the host made stays made. */
static void steps_fail(void **state)
{
	static const enum gm_fake_op ops[] = { GM_FAKE_BACKING_GET, GM_FAKE_CPU_MAP };
	struct unit *u = *state;
	uint64_t va = alloc_huge(u, 1), value;

	unit_fill(u, 0, va, 20 * PAGE, 1); /* zeroed on the device: no host frame yet */
	gm_sim_inject(u->sim[0], GM_SIM_COPY_FENCE, 0, UINT32_MAX, -EIO);
	assert_int_equal(unit_access(u, CPU, va, &value, 8, GM_READ), -EIO);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_FENCE, 0, 0, 0);
	unit_on(u->as, va, 20 * PAGE, unit_node(u, 0));
	unit_check();
	for (unsigned int i = 0; i < 2; i++) {
		gm_fake_inject(ops[i], 0, UINT32_MAX, -ENOMEM);
		assert_int_equal(unit_access(u, CPU, va + 30 * PAGE, &value, 8, GM_READ), -ENOMEM);
		gm_fake_inject_clear();
		unit_peek(u->as, va, 20 * PAGE, 1);
		unit_peek(u->as, va + 20 * PAGE, 492 * PAGE, 0);
		unit_check();
	}
	unit_verify(u, CPU, va, 20 * PAGE, 1);
	unit_verify(u, CPU, va + 20 * PAGE, 492 * PAGE, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(there_and_back, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(cpu_maps_the_whole, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(zeros, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(oversubscribed, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(room_for_a_part, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(retained, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(dontneed, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(cuts, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(beside_small_pages, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(copies, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(steps_fail, unit_setup, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
