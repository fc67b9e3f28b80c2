// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* What policies remember of a block: bytes for its pages, and its word. */
#include "policy_own.h"

static uint64_t history_bytes(void)
{
	return gm_history_bytes();
}

/* Nothing until a block is a candidate; it outlasts the pages; it goes with the block. */
static void history(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 8 * BLOCK), one;

	own_choose(u, "density/own");
	gm_mask_set(&own.go, 0, 512);
	unit_tune(unit_dev(u, 0), BLOCK, false, true);
	unit_fill(u, 0, va, 4 * BLOCK, 1);
	assert_int_equal(history_bytes(), 0);
	unit_load(u, 0, va + 4 * BLOCK);
	one = history_bytes();
	assert_in_range(one, 2048, 2048 + 64);
	assert_non_null(own.bytes);
	assert_int_equal(own.seen.index, 0);
	assert_int_equal(own.seen.word, 0);
	for (unsigned int i = 5; i < 8; i++)
		unit_load(u, 0, va + i * BLOCK);
	unit_load(u, 0, va); /* it comes back, to be a candidate again */
	for (unsigned int i = 1; i < 4; i++)
		unit_load(u, 0, va + i * BLOCK);
	unit_load(u, 0, va + 4 * BLOCK);
	assert_int_equal(own.seen.index, 0);
	assert_int_equal(own.seen.word, 1); /* what was noted the first time */
	assert_int_equal(own.bytes[511 * 4 + 3], 2);
	assert_int_equal(history_bytes(), 8 * one);
	/* Another policy, or the same anew, sees nothing of it. */
	own_choose(u, "density/own");
	unit_load(u, 0, va);
	assert_int_equal(own.seen.index, 1);
	assert_int_equal(own.seen.word, 0);
	assert_int_equal(own.bytes[511 * 4 + 3], 1);
	unit_unmap(u->as, va, 8 * BLOCK);
	assert_int_equal(history_bytes(), 0);
}

/* A policy without bytes has the word as long as pages are there. */
static void words(void **state)
{
	struct gm_evict_policy plain = own_evicts;
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 6 * BLOCK);

	plain.name = "plain";
	plain.page_bytes = 0;
	assert_int_equal(gm_policy_register(NULL, &plain), 0);
	own_choose(u, "density/plain");
	unit_tune(unit_dev(u, 0), BLOCK, false, true);
	unit_fill(u, 0, va, 4 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, 0, va + 2 * BLOCK, BLOCK, GM_COLD), 0);
	gm_mask_set(&own.go, 0, 256);
	unit_load(u, 0, va + 4 * BLOCK + 8);
	assert_int_equal(own.evicts, 2); /* half of two blocks */
	assert_null(own.bytes);
	assert_int_equal(gm_advise(u->as, 0, va + 2 * BLOCK, BLOCK, GM_COLD), 0);
	gm_mask_set(&own.go, 0, 512);
	unit_load(u, 0, va + 5 * BLOCK);
	assert_true(own.evicts >= 3);
	assert_int_equal(history_bytes(), 0);
	assert_int_equal(gm_policy_unregister(NULL, &plain), 0);
}

static void no_memory_for_bytes(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 6 * BLOCK);

	own_choose(u, "density/own");
	gm_mask_set(&own.go, 0, 512);
	unit_tune(unit_dev(u, 0), BLOCK, false, true);
	unit_fill(u, 0, va, 4 * BLOCK, 1);
	unit_load(u, CPU, va + 5 * BLOCK);
	gm_fake_inject(GM_FAKE_ALLOC, 0, 1, -ENOMEM);
	unit_load(u, 0, va + 4 * BLOCK);
	assert_int_equal(own.evicts, 1);
	assert_null(own.bytes);
	assert_int_equal(history_bytes(), 0);
	unit_load(u, 0, va + 5 * BLOCK);
	assert_non_null(own.bytes);
	unit_verify(u, CPU, va, 4 * BLOCK, 1);
	/* s3fifo copes too. */
	own_choose(u, "density/s3fifo");
	for (unsigned int i = 0; i < 20; i++) {
		gm_fake_inject(GM_FAKE_ALLOC, i % 3, 2, -ENOMEM);
		unit_fill(u, 0, va + i % 6 * BLOCK, BLOCK, 2);
		gm_fake_inject(GM_FAKE_ALLOC, 0, 0, 0);
	}
	unit_check();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, own_setup, own_teardown)
	const struct CMUnitTest tests[] = {
		TEST(history),
		TEST(words),
		TEST(no_memory_for_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
