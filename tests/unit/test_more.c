// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What few blocks have: it is there when it is needed, gone with the last of it, and where there is no
 * memory for it whoever must have it fails, and the others do without. And most blocks are small.
 */
#include "unit.h"

#include "core/core.h"

#define LINE (16 * PAGE) /* what a fault moves */

/* Two devices that read what the other has, and host memory where it is. */
static int setup(void **state)
{
	struct unit *u;

	unit_setup_as(state);
	u = *state;
	for (unsigned int i = 0; i < UNIT_DEVS; i++) {
		struct gm_sim_options opt = { .size = sizeof(opt),
					      .memory = 4 * BLOCK,
					      .base = (1ULL + i) << 32,
					      .table_memory = 256 << 10,
					      .lanes = 1,
					      .flags = GM_SIM_SYNC_FAULTS | GM_SIM_CHECK |
						       GM_SIM_READ_PEER };

		assert_int_equal(gm_sim_create(&opt, &u->sim[i]), 0);
		assert_int_equal(gm_dev_set_policy(unit_dev(u, i), "fixed/lru-2m"), 0);
		unit_tune(unit_dev(u, i), LINE, true, true);
		assert_int_equal(gm_sim_attach(u->sim[i], u->as, &u->ctx[i]), 0);
	}
	return 0;
}

static uint64_t in_use(void)
{
	return gm_core.residents.in_use;
}

static struct gm_block *block_at(struct unit *u, uint64_t va)
{
	struct gm_region *r = gm_region_find(u->as, va);
	struct gm_block *block = gm_lpt_peek(r->obj, (va - r->va + r->offset) >> GM_BLOCK_SHIFT);

	assert_non_null(block);
	return block;
}

/* From here on to fill_up() there are no more than @left residents, or what is as large, to be had. */
static void **drain(unsigned int left)
{
	void **taken = NULL, **next, *kept[4];

	assert_true(left <= 4);
	for (unsigned int i = 0; i < left; i++)
		kept[i] = gm_pool_get(&gm_core.residents);
	while (gm_core.residents.free) {
		next = gm_pool_get(&gm_core.residents);
		*next = taken;
		taken = next;
	}
	while (left--)
		gm_pool_put(&gm_core.residents, kept[left]);
	gm_fake_inject(GM_FAKE_ALLOC, 0, UINT32_MAX, -ENOMEM);
	return taken;
}

static void fill_up(void **taken)
{
	gm_fake_inject_clear();
	while (taken) {
		void **next = *taken;

		gm_pool_put(&gm_core.residents, taken);
		taken = next;
	}
}

/* ------------------------------------------------------------------- it comes and goes */

/* A whole block on a device, with its slot in the table: a ten-thousandth of its bytes. */
static void small(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_core.blocks.in_use, 1);
	assert_int_equal(in_use(), 1);
	assert_null(block_at(u, va)->more);
	assert_true(sizeof(struct gm_block) + sizeof(struct gm_resident) <= 192);
	assert_true(gm_pool_bytes(&gm_core.blocks) + gm_pool_bytes(&gm_core.residents) +
			    sizeof(void *) <=
		    BLOCK / 10000);
}

/* Replicas, until somebody writes. */
static void copies(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, 0, va, BLOCK, GM_READ_MOSTLY), 0);
	unit_verify(u, 0, va, LINE, 1);
	unit_verify(u, 1, va, 2 * LINE, 1);
	assert_int_equal(gm_block_copies(block_at(u, va)), 3 * LINE / PAGE);
	assert_int_equal(in_use(), 3);
	unit_fill(u, CPU, va, LINE, 2);
	assert_int_equal(gm_block_copies(block_at(u, va)), LINE / PAGE);
	unit_fill(u, CPU, va, BLOCK, 3);
	assert_null(block_at(u, va)->more);
	assert_int_equal(in_use(), 0);
	unit_check();
}

/* Who reads it where it is: until it goes home. */
static void readers(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	unit_fill(u, 0, va, LINE, 1);
	assert_null(block_at(u, va)->more);
	unit_verify(u, 1, va, LINE, 1);
	unit_on(u->as, va, LINE, unit_node(u, 0));
	assert_int_equal(gm_block_readers(block_at(u, va)), 1ULL << unit_dev(u, 1)->index);
	assert_int_equal(in_use(), 2);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), 0);
	assert_null(block_at(u, va)->more);
	assert_int_equal(in_use(), 0);
	unit_check();
}

/* Who uses host memory of it is remembered for as long as there is a block. */
static void remote(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 1), va, BLOCK, GM_ACCESSED_BY), 0);
	unit_verify(u, 1, va, BLOCK, 1);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	assert_int_equal(gm_block_remote(block_at(u, va)), 1ULL << unit_dev(u, 1)->index);
	assert_int_equal(in_use(), 1);
	unit_unmap(u->as, va, BLOCK);
	assert_int_equal(in_use(), 0);
}

/* What policies remember is made anew for others that come. */
static void memories(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 8 * BLOCK), before;

	assert_int_equal(gm_dev_set_policy(unit_dev(u, 0), "/s3fifo"), 0);
	unit_fill(u, 0, va, 6 * BLOCK, 1);
	before = gm_core.history[0].in_use;
	assert_true(before > 0);
	assert_true(in_use() >= before + 4);
	assert_int_equal(gm_dev_set_policy(unit_dev(u, 0), "/rrip"), 0);
	unit_fill(u, 0, va + 6 * BLOCK, 2 * BLOCK, 1);
	assert_true(gm_core.history[0].in_use <= 8);
	unit_check(); /* none has an empty one */
	unit_verify(u, CPU, va, 8 * BLOCK, 1);
	unit_unmap(u->as, va, 8 * BLOCK);
	assert_int_equal(gm_core.history[0].in_use, 0);
	assert_int_equal(in_use(), 0);
}

/* ------------------------------------------------------------------------- no memory */

/* Who cannot be noted maps nothing: what would be used where it is moves. */
static void no_remote(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	void **taken;

	unit_fill(u, CPU, va, BLOCK, 1);
	unit_verify(u, 1, va, LINE, 1); /* it has a resident */
	assert_int_equal(gm_advise(u->as, unit_node(u, 1), va, BLOCK, GM_ACCESSED_BY), 0);
	taken = drain(0);
	unit_verify(u, 1, va, 2 * LINE, 1);
	fill_up(taken);
	unit_on(u->as, va, 2 * LINE, unit_node(u, 1));
	assert_int_equal(gm_block_remote(block_at(u, va)), 0);
	unit_verify(u, 1, va, 3 * LINE, 1);
	unit_on(u->as, va + 2 * LINE, LINE, GM_NODE_HOST);
	unit_check();
}

/* A device that cannot be noted as a reader has its fault fail; the page is where it was. */
static void no_readers(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), v;
	void **taken;
	int err;

	unit_fill(u, 0, va, LINE, 1);
	taken = drain(0);
	err = unit_access(u, 1, va, &v, sizeof(v), GM_READ);
	fill_up(taken);
	assert_int_equal(err, -ENOMEM);
	unit_on(u->as, va, LINE, unit_node(u, 0));
	assert_null(block_at(u, va)->more);
	unit_verify(u, 1, va, LINE, 1);
	unit_on(u->as, va, LINE, unit_node(u, 0));
	unit_check();
}

/* No replica: neither the resident nor what counts it is left. */
static void no_copies(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), v;
	void **taken;

	unit_store(u, 0, unit_alloc(u, BLOCK), 1); /* what it takes besides there is from here on */
	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, 0, va, BLOCK, GM_READ_MOSTLY), 0);
	for (unsigned int left = 0; left < 2; left++) {
		uint64_t before = in_use();
		int err;

		taken = drain(left);
		err = unit_access(u, 0, va, &v, sizeof(v), GM_READ);
		fill_up(taken);
		assert_int_equal(err, -ENOMEM);
		assert_int_equal(in_use(), before);
		unit_check();
	}
	unit_verify(u, 0, va, LINE, 1);
	assert_int_equal(gm_block_copies(block_at(u, va)), LINE / PAGE);
	unit_check();
}

/* Policies do without: with none left for what has it, and with none for the history itself. */
static void no_memories(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 4 * BLOCK);
	void **taken;

	unit_store(u, 0, va, 1); /* what it takes besides there is from here on */
	assert_int_equal(gm_dev_set_policy(unit_dev(u, 0), "/s3fifo"), 0);
	for (unsigned int i = 1; i < 3; i++) {
		taken = drain(i);
		unit_store(u, 0, va + i * BLOCK, i);
		fill_up(taken);
		assert_true(gm_fake_injected() > 0);
		assert_int_equal(gm_core.history[0].in_use, 0);
		assert_null(block_at(u, va + i * BLOCK)->more);
		assert_int_equal(in_use(), 1 + i);
	}
	unit_store(u, 0, va + 3 * BLOCK, 3);
	assert_int_equal(gm_core.history[0].in_use, 1);
	for (unsigned int i = 1; i < 4; i++)
		assert_int_equal(unit_load(u, 0, va + i * BLOCK), i);
	unit_check();
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, unit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(small),	  TEST(copies),	   TEST(readers),
		TEST(remote),	  TEST(memories),  TEST(no_remote),
		TEST(no_readers), TEST(no_copies), TEST(no_memories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
