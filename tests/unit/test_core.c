// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The core as a whole: it begins, ends, and gives back what it took. */
#include "unit.h"

#include "core/core.h"

/* Anonymous memory: unmapping frees; its metadata goes too. */
static void metadata_is_given_back(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 8 * BLOCK);

	unit_fill(u, CPU, va, 8 * BLOCK, 1);
	assert_int_equal(gm_metadata_bytes(), 0); /* no device has touched it */
	unit_store(u, 0, va + BLOCK + 5 * PAGE, 1);
	assert_true(gm_metadata_bytes() > 0);
	unit_unmap(u->as, va, 8 * BLOCK);
	assert_int_equal(gm_metadata_bytes(), 0);
	assert_int_equal(unit_hnode(unit_node(u, 0)).free, 4 * BLOCK);
}

/* Each block's with its last page, though the object lives on. */
static void metadata_goes_in_pieces(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 4 * BLOCK), bytes[4];

	unit_fill(u, CPU, va, 4 * BLOCK, 1);
	for (uint64_t i = 0; i < 4; i++) {
		if (i % 2)
			assert_int_equal(gm_advise(u->as, unit_node(u, 0), va + i * BLOCK, BLOCK,
						   GM_PREFETCH),
					 0);
		else
			for (uint64_t page = 0; page < 512; page += 2)
				unit_load(u, 1, va + i * BLOCK + page * PAGE);
		bytes[i] = gm_metadata_bytes();
	}
	for (uint64_t i = 4; i-- > 0;) {
		uint64_t at = va + i * BLOCK;

		unit_unmap(u->as, at + 300 * PAGE, 212 * PAGE);
		unit_unmap(u->as, at + 100 * PAGE, 200 * PAGE);
		unit_verify(u, CPU, at, 100 * PAGE, 1);
		unit_unmap(u->as, at, 100 * PAGE);
		assert_int_equal(gm_metadata_bytes(), i ? bytes[i - 1] : 0);
	}
	assert_int_equal(unit_hnode(unit_node(u, 0)).free, 4 * BLOCK);
	assert_int_equal(unit_hnode(unit_node(u, 1)).free, 4 * BLOCK);
}

/* Untouched: 0. Whole blocks: next to nothing. Every second page: 8 bytes a page and a little. */
static void metadata(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 64 * BLOCK), total = 64 * BLOCK, bytes;

	unit_fill(u, CPU, va, total, 1);
	assert_int_equal(gm_metadata_bytes(), 0);
	for (uint64_t i = 0; i < 64; i++)
		assert_int_equal(
			gm_advise(u->as, unit_node(u, 0), va + i * BLOCK, BLOCK, GM_PREFETCH), 0);
	bytes = gm_metadata_bytes();
	assert_true(bytes <= total / 1000);
	for (uint64_t i = 0; i < 64 * 512; i += 2)
		unit_verify(u, 1, va + i * PAGE, PAGE, 1);
	assert_true(gm_metadata_bytes() <= total / 250);
	unit_unmap(u->as, va, total);
	assert_int_equal(gm_metadata_bytes(), 0);
}

static uint64_t bytes_in_use(void)
{
	struct gm_fake_usage usage;

	gm_fake_usage(&usage);
	return usage.bytes;
}

/* Whatever was used in between: all locks and all memory are given back, time and again. */
static void begins_and_ends(void **state)
{
	struct unit u = { .as = NULL };

	(void)state;
	for (uint64_t round = 0; round < 3; round++) {
		gm_fake_reset();
		gm_fake_set_memory_total((round + 1) << 30);
		assert_int_equal(gm_core_init(), 0);
		assert_int_equal(gm_core.first_hnode, gm_os_numa_nodes());
		assert_int_equal(gm_core.retain_max,
				 (round + 1) << 30 >> 15); /* an eighth, in pages */
		assert_int_equal(gm_metadata_bytes(), 0);
		assert_int_equal(bytes_in_use(), 0); /* nothing before the first use */
		assert_int_equal(gm_as_create(NULL, &u.as), 0);
		u.sim[0] = unit_sim(2, 0);
		assert_int_equal(gm_sim_attach(u.sim[0], u.as, &u.ctx[0]), 0);
		unit_fill(&u, 0, unit_alloc(&u, 3 * BLOCK), round * BLOCK + PAGE, 1);
		assert_int_equal(gm_as_destroy(u.as), 0);
		assert_int_equal(gm_sim_destroy(u.sim[0]), 0);
		gm_core_exit();
		assert_true(gm_fake_check_clean());
	}
}

static void exit_with_object(void *arg)
{
	(void)arg;
	unit_object(PAGE);
	gm_core_exit();
}

static void ends_too_early(void **state)
{
	(void)state;
	unit_expect_bug(exit_with_object, NULL, "in_use");
}

/* Pools keep their memory while there is any object: somebody may be looking at a block. */
static void reaped_when_idle(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(PAGE);
	uint64_t va = unit_alloc(u, 3 * BLOCK), bytes;

	for (uint64_t i = 0; i < 3 * 512; i += 2)
		unit_store(u, (int)(i / 2 % 2), va + i * PAGE, 1);
	unit_unmap(u->as, va, 3 * BLOCK);
	assert_int_equal(gm_metadata_bytes(), 0);
	bytes = bytes_in_use();
	gm_core_reap();
	assert_int_equal(bytes_in_use(), bytes);
	gm_object_put(obj);
	assert_int_equal(bytes_in_use(), bytes);
	gm_core_reap();
	assert_true(bytes_in_use() < bytes);
	assert_null(gm_core.blocks.chunks);
	assert_null(gm_core.arrays.chunks);
	assert_null(gm_core.nodes.chunks);
	assert_null(gm_core.residents.chunks);
	assert_null(gm_core.small.chunks);
	bytes = bytes_in_use();
	gm_core_reap();
	assert_int_equal(bytes_in_use(), bytes);
	va = unit_alloc(u, BLOCK); /* and it begins anew */
	unit_fill(u, 0, va, BLOCK, 1);
	unit_verify(u, CPU, va, BLOCK, 1);
}

/*
 * Of the pools that logical page tables are made of, as they are used; a block of which one device
 * took a page from another has more, and in it a history.
 */
static void metadata_is_a_sum(void **state)
{
	struct gm_pool *const pools[] = { &gm_core.blocks, &gm_core.arrays, &gm_core.nodes,
					  &gm_core.residents };
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK), sum = 0;

	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_core.blocks.in_use, 1);
	assert_int_equal(gm_core.arrays.in_use, 0); /* its pages agree */
	assert_int_equal(gm_core.residents.in_use, 1);
	unit_store(u, 1, va + 5 * PAGE, 1);
	assert_int_equal(gm_core.arrays.in_use, 1);
	assert_int_equal(gm_core.residents.in_use, 4);
	for (unsigned int i = 0; i < 4; i++) {
		assert_true(gm_pool_bytes(pools[i]) >= pools[i]->in_use * pools[i]->size);
		sum += gm_pool_bytes(pools[i]);
	}
	assert_int_equal(gm_metadata_bytes(), sum);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(metadata_is_given_back, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(metadata_goes_in_pieces, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(metadata, unit_setup, unit_teardown),
		cmocka_unit_test(begins_and_ends),
		cmocka_unit_test_setup_teardown(ends_too_early, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(reaped_when_idle, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(metadata_is_a_sum, unit_setup, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
