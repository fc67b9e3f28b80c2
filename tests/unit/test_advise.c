// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Hints: rounding, what each promises, and which may be partly done. */
#include "unit.h"

static int advise(struct unit *u, int node, uint64_t va, uint64_t len, uint32_t advice)
{
	return gm_advise(u->as, node, va, len, advice);
}

static void prefetch_rounds_outward(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 8 * PAGE);
	int node = unit_node(u, 0);

	unit_fill(u, CPU, va, 8 * PAGE, 1);
	assert_int_equal(advise(u, node, va + PAGE + 5, PAGE, GM_PREFETCH), 0);
	unit_on(u->as, va + PAGE, 2 * PAGE, node);
	assert_int_equal(unit_count_on(u->as, va, 8 * PAGE, node), 2);
	assert_int_equal(advise(u, node, va + 7 * PAGE, 1, GM_PREFETCH), 0);
	unit_on(u->as, va + 7 * PAGE, PAGE, node);
	assert_int_equal(advise(u, GM_NODE_HOST, va + 2 * PAGE - 1, 1, GM_PREFETCH), 0);
	unit_on(u->as, va + PAGE, PAGE, GM_NODE_HOST);
	unit_verify(u, CPU, va, 8 * PAGE, 1);
}

/* Afterwards the device does not fault on the range; nor does the CPU, where it was brought home. */
static void prefetch_means_no_fault(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK), faults;

	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(advise(u, unit_node(u, 0), va, 2 * BLOCK, GM_PREFETCH), 0);
	unit_verify(u, 0, va, BLOCK, 1);
	unit_verify(u, 0, va + BLOCK, BLOCK, 0);
	unit_fill(u, 0, va, 2 * BLOCK, 2);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).dev_faults, 0);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).pages_prefetched, 1024);
	assert_int_equal(advise(u, 0, va, 2 * BLOCK, GM_PREFETCH), 0); /* NUMA node 0 */
	faults = gm_fake_cpu_faults();
	unit_verify(u, CPU, va, 2 * BLOCK, 2);
	assert_int_equal(gm_fake_cpu_faults(), faults);
}

static void prefetch_over_many_regions(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj;
	uint64_t va = 0x7000003000ULL;

	assert_int_equal(gm_object_create(3 * BLOCK, 0, &obj), 0);
	for (uint64_t i = 0; i < 30; i++)
		unit_map_at(u->as, obj, (29 - i) * 20 * PAGE, 20 * PAGE, va + i * 20 * PAGE);
	unit_fill(u, CPU, va, 600 * PAGE, 1);
	assert_int_equal(advise(u, unit_node(u, 1), va, 600 * PAGE, GM_PREFETCH), 0);
	unit_on(u->as, va, 600 * PAGE, unit_node(u, 1));
	unit_verify(u, 1, va, 600 * PAGE, 1);
	assert_int_equal(unit_dev_stats(unit_dev(u, 1)).dev_faults, 0);
	gm_object_put(obj);
}

static void prefetch_of_too_much(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 9 * BLOCK);

	unit_fill(u, CPU, va, 9 * BLOCK, 1);
	assert_int_equal(advise(u, unit_node(u, 0), va, 9 * BLOCK, GM_PREFETCH), -ENOSPC);
	unit_peek(u->as, va, 9 * BLOCK, 1);
	assert_int_equal(advise(u, unit_node(u, 0), va, 4 * BLOCK, GM_PREFETCH), 0);
	unit_on(u->as, va, 4 * BLOCK, unit_node(u, 0));
	unit_verify(u, 0, va, 9 * BLOCK, 1);
}

static void dontneed_rounds_inward(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	for (int who = CPU; who < 2; who++) {
		unit_fill(u, who, va, 8 * PAGE, 1);
		assert_int_equal(advise(u, 0, va + PAGE + 1, 2 * PAGE, GM_DONTNEED), 0);
		unit_peek(u->as, va, 2 * PAGE, 1);
		unit_peek(u->as, va + 2 * PAGE, PAGE, 0);
		unit_peek(u->as, va + 3 * PAGE, 5 * PAGE, 1);
		assert_int_equal(advise(u, 0, va + 5 * PAGE + 1, 10, GM_DONTNEED), 0);
		unit_verify(u, who, va + 2 * PAGE, PAGE, 0);
		unit_verify(u, who, va + 3 * PAGE, 5 * PAGE, 1);
	}
}

/* Frames of the device, retained host frames and metadata: all go. */
static void dontneed_frees(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 4 * BLOCK);
	int node = unit_node(u, 0);

	unit_fill(u, CPU, va, 4 * BLOCK, 1);
	assert_int_equal(advise(u, node, va, 2 * BLOCK, GM_PREFETCH), 0);
	assert_true(gm_retained_bytes() > 0);
	assert_int_equal(advise(u, 0, va, 4 * BLOCK, GM_DONTNEED), 0);
	assert_int_equal(unit_hnode(node).free, 4 * BLOCK);
	assert_int_equal(gm_retained_bytes(), 0);
	unit_on(u->as, va, 4 * BLOCK, GM_NODE_NONE);
	unit_verify(u, CPU, va, BLOCK, 0);
	unit_verify(u, 1, va + BLOCK, 3 * BLOCK, 0);
}

/* Who may not write to memory may not throw its bytes away. */
static void dontneed_read_only(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj;
	uint64_t rw, ro;

	assert_int_equal(gm_object_create(2 * BLOCK, 0, &obj), 0);
	rw = unit_map(u->as, obj, 0, 2 * BLOCK, GM_READ | GM_WRITE);
	ro = unit_map(u->as, obj, 0, 2 * BLOCK, GM_READ);
	for (int who = CPU; who < 2; who++) {
		unit_fill(u, who, rw, 2 * BLOCK, 1);
		assert_int_equal(advise(u, 0, ro, 2 * BLOCK, GM_DONTNEED), -EACCES);
		assert_int_equal(advise(u, 0, ro + 9 * PAGE, 5, GM_DONTNEED), -EACCES);
		unit_peek(u->as, rw, 2 * BLOCK, 1);
	}
	/* A part that may be written to goes neither. */
	assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)(rw + BLOCK), PAGE, GM_READ), 0);
	assert_int_equal(advise(u, 0, rw, 2 * BLOCK, GM_DONTNEED), -EACCES);
	unit_peek(u->as, rw, 2 * BLOCK, 1);
	assert_int_equal(advise(u, 0, rw, BLOCK, GM_DONTNEED), 0);
	unit_peek(u->as, rw, BLOCK, 0);
	unit_peek(u->as, rw + BLOCK, BLOCK, 1);
	gm_object_put(obj);
}

static void pin_and_unpin(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);
	int node = unit_node(u, 0);

	assert_int_equal(advise(u, node, va + 9, PAGE, GM_PIN), 0);
	assert_int_equal(unit_hnode(node).pinned, 2 * PAGE);
	assert_int_equal(advise(u, node, va, 2 * PAGE, GM_PIN), 0); /* again: counted once */
	assert_int_equal(unit_hnode(node).pinned, 2 * PAGE);
	assert_int_equal(unit_info(u->as, va).flags & GM_PAGE_PINNED, GM_PAGE_PINNED);
	assert_int_equal(unit_info(u->as, va + 2 * PAGE).flags & GM_PAGE_PINNED, 0);
	assert_int_equal(advise(u, node, va, BLOCK, GM_PIN), 0);
	assert_int_equal(unit_hnode(node).pinned, BLOCK);
	assert_int_equal(advise(u, 12345, va + PAGE, PAGE, GM_UNPIN), 0); /* hnode is ignored */
	assert_int_equal(unit_hnode(node).pinned, BLOCK - PAGE);
	assert_int_equal(advise(u, 0, va, 2 * BLOCK, GM_UNPIN), 0);
	assert_int_equal(unit_hnode(node).pinned, 0);
	assert_int_equal(advise(u, 0, va, 2 * BLOCK, GM_UNPIN), 0);
	assert_int_equal(advise(u, node, va, BLOCK, GM_PIN), 0);
	unit_unmap(u->as, va, 2 * BLOCK);
	assert_int_equal(unit_hnode(node).pinned, 0);
}

/* Hints about memory that no device has seen cost nothing and do nothing. */
static void hints_on_untouched(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);

	for (uint32_t advice = GM_DONTNEED; advice <= GM_UNPIN; advice++)
		if (advice != GM_PIN)
			assert_int_equal(advise(u, 0, va, 2 * BLOCK, advice), 0);
	assert_int_equal(advise(u, GM_NODE_HOST, va, 2 * BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_metadata_bytes(), 0);
	unit_fill(u, CPU, va, BLOCK, 3);
	assert_int_equal(advise(u, 0, va, BLOCK, GM_DONTNEED), 0);
	unit_verify(u, CPU, va, BLOCK, 0);
}

static void failing_hints(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	int node = unit_node(u, 0);

	unit_fill(u, CPU, va, BLOCK, 1);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, UINT32_MAX, -EIO);
	assert_int_equal(advise(u, node, va, BLOCK, GM_PREFETCH), -EIO);
	assert_int_equal(advise(u, node, va, BLOCK, GM_PIN), -EIO);
	assert_int_equal(unit_hnode(node).pinned, 0);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 0, 0);
	assert_int_equal(advise(u, node, va, BLOCK, GM_PREFETCH), 0);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_RELEASE, 0, UINT32_MAX, -EIO);
	assert_int_equal(advise(u, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), -EIO);
	assert_int_equal(advise(u, 0, va, BLOCK, GM_DONTNEED), -EIO);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_RELEASE, 0, 0, 0);
	unit_verify(u, 0, va, BLOCK, 1);
}

/* A part of a block is to differ from the rest of it, and there is no memory to note that. */
static void pins_without_memory(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	int node = unit_node(u, 0);

	for (unsigned int pinned = 0; pinned < 2; pinned++) {
		assert_int_equal(advise(u, node, va, BLOCK, pinned ? GM_PIN : GM_PREFETCH), 0);
		gm_fake_inject(GM_FAKE_ALLOC, 0, UINT32_MAX, -ENOMEM);
		assert_int_equal(advise(u, node, va, PAGE, pinned ? GM_UNPIN : GM_PIN), -ENOMEM);
		gm_fake_inject_clear();
		assert_int_equal(unit_hnode(node).pinned, pinned ? BLOCK : 0);
	}
	assert_int_equal(advise(u, node, va, PAGE, GM_UNPIN), 0);
	assert_int_equal(unit_hnode(node).pinned, BLOCK - PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(prefetch_rounds_outward, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(prefetch_means_no_fault, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(prefetch_over_many_regions, unit_setup,
						unit_teardown),
		cmocka_unit_test_setup_teardown(prefetch_of_too_much, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(dontneed_rounds_inward, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(dontneed_frees, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(dontneed_read_only, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(pin_and_unpin, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(hints_on_untouched, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(failing_hints, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(pins_without_memory, unit_setup, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
