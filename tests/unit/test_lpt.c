// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The logical page table: blocks come, are found and go; entries, runs, splitting and folding. */
#include <pthread.h>

#include "unit.h"

#include "core/core.h"

static void blocks_come_and_go(void **state)
{
	static const uint64_t indices[] = { 0, 1, 511, 512, 70000, 262143 };
	struct gm_object *obj = unit_object(512ULL << 30);
	struct gm_block *block, *again;
	uint64_t index = 0;

	(void)state;
	assert_int_equal(gm_metadata_bytes(), 0);
	for (unsigned int i = 0; i < 6; i++) {
		assert_null(gm_block_find(obj, indices[i], false));
		assert_int_equal(gm_block_get(obj, indices[i], false, &block), 0);
		assert_int_equal(block->index, indices[i]);
		gm_block_unlock(block);
		again = gm_block_find(obj, indices[i], false);
		assert_ptr_equal(again, block);
		gm_block_unlock(again);
	}
	for (unsigned int i = 0; i < 6; i++, index++) {
		index = gm_lpt_next(obj, index, 262144);
		assert_int_equal(index, indices[i]);
	}
	assert_int_equal(gm_lpt_next(obj, index, 262144), 262144);
	assert_int_equal(gm_lpt_next(obj, 2, 511), 511);
	assert_true(gm_metadata_bytes() > 0);
	for (unsigned int i = 0; i < 6; i++)
		gm_block_free(gm_block_find(obj, indices[i], false));
	assert_int_equal(gm_lpt_next(obj, 0, 262144), 262144);
	gm_object_put(obj);
	assert_int_equal(gm_metadata_bytes(), 0);
}

/* What exists on the host when a block begins is HOST, the rest is NONE. */
static void block_learns_what_exists(void **state)
{
	struct gm_object *obj = unit_object(BLOCK + 5 * PAGE);
	uint64_t bus, got, e;
	struct gm_block *block;

	(void)state;
	assert_int_equal(gm_os_backing_get(obj, 3 * PAGE, 2 * PAGE, false, &bus, &got), 0);
	gm_os_backing_put(obj, 3 * PAGE, got);
	assert_int_equal(gm_os_backing_get(obj, BLOCK, 5 * PAGE, false, &bus, &got), 0);
	gm_os_backing_put(obj, BLOCK, got);

	assert_int_equal(gm_block_get(obj, 0, false, &block), 0);
	assert_int_equal(gm_block_run(block, 0, 512, &e), 3);
	assert_int_equal(e, GM_NONE);
	assert_int_equal(gm_block_run(block, 3, 512, &e), 2);
	assert_int_equal(e, GM_HOST);
	assert_int_equal(gm_block_run(block, 5, 512, &e), 507);
	assert_int_equal(e, GM_NONE);
	gm_block_unlock(block);

	assert_int_equal(gm_block_get(obj, 1, false, &block), 0); /* the object ends in it */
	assert_int_equal(gm_block_run(block, 0, 512, &e), 5);
	assert_int_equal(e, GM_HOST);
	gm_block_unlock(block);
	gm_object_put(obj);
}

static void find_or_hold(void **state)
{
	struct gm_object *obj = unit_object(2 * BLOCK);
	struct gm_block *block;

	(void)state;
	assert_null(gm_block_find_or_hold(obj, 1));
	gm_block_drop(obj, NULL);
	assert_int_equal(gm_block_get(obj, 1, false, &block), 0);
	gm_block_unlock(block);
	assert_ptr_equal(gm_block_find_or_hold(obj, 1), block);
	gm_block_drop(obj, block);
	gm_object_put(obj);
}

/* Failing anywhere on the way leaves no block, and the next try succeeds. */
static void failures(void **state)
{
	struct gm_object *obj = unit_object(512ULL << 30);
	struct gm_block *block;
	unsigned int n = 0;
	int err;

	(void)state;
	do {
		gm_fake_inject_nth(++n);
		err = gm_block_get(obj, 4711, true, &block);
		gm_fake_inject_clear();
		if (err) {
			assert_int_equal(err, -ENOMEM);
			assert_null(gm_block_find(obj, 4711, false));
		}
	} while (err);
	assert_true(n >= 3); /* nodes, the block */
	gm_block_unlock(block);
	gm_object_put(obj);
}

static void entries_of_one_extent(void **state)
{
	struct gm_block block = { .uniform = gm_entry_on_dev(3, 1000, GM_E_PINNED) };
	uint64_t e;

	(void)state;
	assert_int_equal(gm_entry_pfn(gm_block_entry(&block, 17)), 1017);
	assert_int_equal(gm_entry_dev(gm_block_entry(&block, 17)), 3);
	assert_int_equal(gm_block_run(&block, 10, 512, &e), 502);
	assert_int_equal(gm_entry_pfn(e), 1010);
	assert_int_equal(gm_block_split(&block), 0);
	assert_non_null(block.pages);
	assert_int_equal(gm_block_run(&block, 0, 512, &e), 512);

	gm_block_set(&block, 100, 2, gm_entry_on_dev(3, 5000, 0));
	assert_int_equal(gm_block_run(&block, 0, 512, &e), 100);
	assert_int_equal(gm_block_run(&block, 100, 512, &e), 2);
	assert_int_equal(gm_entry_pfn(e), 5000);
	gm_block_fold(&block);
	assert_non_null(block.pages);

	gm_block_set(&block, 100, 2, gm_entry_on_dev(3, 1100, GM_E_PINNED));
	gm_block_fold(&block);
	assert_null(block.pages);
	assert_int_equal(gm_entry_pfn(block.uniform), 1000);
}

static void split_without_memory(void **state)
{
	struct gm_block block = { .uniform = GM_HOST };

	(void)state;
	gm_fake_inject(GM_FAKE_ALLOC, 0, 1, -ENOMEM);
	assert_int_equal(gm_block_split(&block), -ENOMEM);
	assert_null(block.pages);
	assert_int_equal(block.uniform, GM_HOST);
}

static void set_part_of_uniform(void *arg)
{
	gm_block_set(arg, 1, 1, GM_HOST);
}

static void misuse(void **state)
{
	struct gm_block block = { .uniform = GM_NONE };

	(void)state;
	unit_expect_bug(set_part_of_uniform, &block, "pages");
}

/* ---------------------------------------------- blocks that come and go all the time */

#define OBJECTS 100U

/* Several at once: the object they share, and what went wrong. */
static struct {
	struct gm_object *obj;
	pthread_barrier_t barrier;
	unsigned int failures; /* atomic: a thread has no assertions of cmocka's */
} shared;

static void check(bool right)
{
	if (!right)
		gm_add(&shared.failures, 1);
}

static void use_a_block(struct gm_object *obj, uint64_t index, unsigned int *seed)
{
	struct gm_block *block;

	if (rand_r(seed) % 2) {
		check(gm_block_get(obj, index, rand_r(seed) % 2, &block) == 0);
		check(block->obj == obj && block->index == index);
		gm_block_done(block); /* it holds nothing, and goes */
		return;
	}
	block = gm_block_find_or_hold(obj, index);
	if (block)
		check(block->obj == obj && block->index == index);
	gm_block_drop(obj, block);
}

/* On a new object each time, so that the nodes of its table are made by several at once too. */
static void *use_blocks(void *seed)
{
	for (unsigned int i = 0; i < OBJECTS; i++) {
		if (pthread_barrier_wait(&shared.barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
			check(gm_object_create(600 * BLOCK, 0, &shared.obj) == 0);
		pthread_barrier_wait(&shared.barrier);
		for (unsigned int n = 0; n < 50; n++)
			use_a_block(shared.obj, n < 40 ? 599 : n, seed);
		if (pthread_barrier_wait(&shared.barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
			gm_object_put(shared.obj);
	}
	return NULL;
}

static void blocks_of_several_threads(void **state)
{
	unsigned int seeds[3] = { 20, 21, 22 };
	pthread_t threads[3];

	(void)state;
	gm_fake_set_threaded(true);
	shared.failures = 0;
	pthread_barrier_init(&shared.barrier, NULL, 3);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_blocks, &seeds[i]), 0);
	for (unsigned int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&shared.barrier);
	gm_fake_set_threaded(false);
	assert_int_equal(shared.failures, 0);
	assert_int_equal(gm_metadata_bytes(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(blocks_come_and_go, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(block_learns_what_exists, unit_setup_core,
						unit_teardown),
		cmocka_unit_test_setup_teardown(find_or_hold, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(failures, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(entries_of_one_extent, unit_setup_core,
						unit_teardown),
		cmocka_unit_test_setup_teardown(split_without_memory, unit_setup_core,
						unit_teardown),
		cmocka_unit_test_setup_teardown(misuse, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(blocks_of_several_threads, unit_setup_core,
						unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
