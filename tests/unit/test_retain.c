// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Retention: host frames kept for pages that are on a device, and given back. */
#include "unit.h"

#include "toy.h"

static void retained_up_to_a_bound(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);

	gm_retain_limit(600 * PAGE);
	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 2 * BLOCK, GM_PREFETCH), 0);
	assert_true(gm_retained_bytes() <= 600 * PAGE);
	assert_true(gm_retained_bytes() >= BLOCK);
	assert_true(unit_info(u->as, va).flags & GM_PAGE_RETAINED);
	assert_true(gm_fake_page(u->as, va) & GM_FAKE_PRESENT);
	unit_fill(u, 0, va, 2 * BLOCK, 2); /* the frames that were kept are stale now */
	unit_verify(u, CPU, va, 2 * BLOCK, 2);
	assert_int_equal(gm_retained_bytes(), 0);
}

static void retained_none(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	gm_retain_limit(0);
	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_retained_bytes(), 0);
	for (uint64_t i = 0; i < 512; i++)
		assert_int_equal(gm_fake_page(u->as, va + i * PAGE) & GM_FAKE_PRESENT, 0);
	unit_verify(u, CPU, va, BLOCK, 1);
}

static void retained_trimmed(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK), got;

	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 2 * BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_retained_bytes(), 2 * BLOCK);
	got = gm_retain_trim(PAGE);
	assert_true(got >= PAGE);
	assert_int_equal(gm_retained_bytes(), 2 * BLOCK - got);
	gm_retain_limit(PAGE);
	assert_true(gm_retained_bytes() <= PAGE);
	assert_int_equal(gm_retain_trim(BLOCK), gm_retained_bytes() ? PAGE : 0);
	assert_int_equal(gm_retain_trim(BLOCK), 0);
	unit_verify(u, 0, va, 2 * BLOCK, 1);
	unit_verify(u, CPU, va, 2 * BLOCK, 1);
}

static void memory_low_gives_back(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK), before;

	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 2 * BLOCK, GM_PREFETCH), 0);
	before = gm_retained_bytes();
	gm_memory_low();
	assert_true(gm_retained_bytes() < before);
	unit_verify(u, CPU, va, 2 * BLOCK, 1);
}

/* Each time 64 MiB more are retained the host is asked whether it can spare them. */
static void much_retained(void **state)
{
	struct unit *u = *state;
	struct gm_context *ctx;
	struct toy toy;
	uint64_t va = unit_alloc(u, 32 * BLOCK);
	int node;

	toy_init(&toy, 33);
	assert_int_equal(toy_plug(&toy), 0);
	unit_tune(toy.dev, PAGE, true, true);
	node = gm_dev_hnode(toy.dev);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	for (unsigned int low = 0; low < 2; low++) {
		gm_fake_set_memory_low(low);
		unit_fill(u, CPU, va, 32 * BLOCK, 1);
		assert_int_equal(gm_advise(u->as, node, va, 31 * BLOCK, GM_PREFETCH), 0);
		assert_int_equal(gm_fake_run_work(), 0);
		assert_int_equal(gm_advise(u->as, node, va + 31 * BLOCK, BLOCK, GM_PREFETCH), 0);
		assert_int_equal(gm_fake_run_work(), 1);
		if (low)
			assert_in_range(gm_retained_bytes(), 1, 24 * BLOCK);
		else
			assert_int_equal(gm_retained_bytes(), 32 * BLOCK);
		unit_verify(u, CPU, va, 32 * BLOCK, 1);
	}
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

/* Trimming looks at each block once, whether it gives back much or little at a time. */
static void trimming_is_linear(void **state)
{
	const uint64_t blocks = 3000;
	struct unit *u = *state;
	struct gm_context *ctx;
	struct toy toy;
	uint64_t va, calls;
	int node;

	toy_init(&toy, 6);
	assert_int_equal(toy_plug(&toy), 0);
	node = gm_dev_hnode(toy.dev);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	va = unit_alloc(u, blocks * BLOCK);
	for (uint64_t i = 0; i < blocks; i++) {
		unit_store(u, CPU, va + i * BLOCK, i);
		assert_int_equal(gm_advise(u->as, node, va + i * BLOCK, PAGE,
					   i % 10 ? GM_PREFETCH : GM_PIN),
				 0);
	}
	assert_int_equal(gm_retained_bytes(), blocks * PAGE);
	calls = gm_fake_lock_calls();
	assert_int_equal(gm_retain_trim(blocks * PAGE), blocks * PAGE);
	calls = gm_fake_lock_calls() - calls;
	print_message("%llu lock operations for %llu blocks\n", (unsigned long long)calls,
		      (unsigned long long)blocks);
	assert_true(calls >= blocks && calls < 10 * blocks);
	/* With nothing left to give back: the same walk, and cheaper. */
	calls = gm_fake_lock_calls();
	assert_int_equal(gm_retain_trim(PAGE), 0);
	assert_true(gm_fake_lock_calls() - calls < 10 * blocks);
	for (uint64_t i = 0; i < blocks; i += 97)
		assert_int_equal(unit_load(u, CPU, va + i * BLOCK), i);
	unit_unmap(u->as, va, blocks * BLOCK);
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(retained_up_to_a_bound, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(retained_none, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(retained_trimmed, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(memory_low_gives_back, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(much_retained, unit_setup_as, unit_teardown),
		cmocka_unit_test_setup_teardown(trimming_is_linear, unit_setup_as, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
