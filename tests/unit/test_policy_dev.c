// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* What the policies of a device are asked and told, and what is made of it. */
#include "policy_own.h"

/* --------------------------------------------------------------- asked and told */

static void tidings(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);
	struct gm_page_info info;

	own_choose(u, "own/own");
	unit_tune(unit_dev(u, 0), 8 * PAGE, false, true);
	unit_load(u, 0, va + BLOCK + 21 * PAGE);
	OWN_EXPECT({ 'f', 21, 8, 0, 1 }, { 'c', 16, 8, GM_POLICY_FAULT, 1 }, { 'u', 21, 1, 0, 1 });
	/* It is there, but not mapped. */
	assert_int_equal(gm_dev_fault(own_context(u), va + BLOCK + 20 * PAGE, GM_WRITE), 0);
	OWN_EXPECT({ 'u', 20, 1, 0, 1 });
	unit_store(u, CPU, va + BLOCK + 16 * PAGE, 1);
	info = unit_info(u->as, va + BLOCK + 16 * PAGE);
	assert_int_equal(info.node, GM_NODE_HOST);
	OWN_EXPECT({ 'w', 16, 8, GM_POLICY_FAULT, 1 });
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	OWN_EXPECT({ 'c', 0, 512, GM_POLICY_HINT, 0 });
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, 64 * PAGE, GM_PREFETCH), 0);
	OWN_EXPECT({ 'w', 0, 64, GM_POLICY_HINT, 0 });
	/* Another device takes some, straight. */
	unit_load(u, 1, va + 64 * PAGE);
	OWN_EXPECT({ 'w', 64, 1, GM_POLICY_FAULT, 0 });
	assert_int_equal(gm_advise(u->as, 0, va + 65 * PAGE, PAGE, GM_DONTNEED), 0);
	OWN_EXPECT({ 'w', 65, 1, GM_POLICY_DROP, 0 });
	assert_int_equal(gm_dev_poison(unit_dev(u, 0), (1ULL << 32) + 66 * PAGE), 0);
	assert_int_equal(own.nr, 1);
	assert_int_equal(own.call[0].what, 'w');
	assert_int_equal(own.call[0].why, GM_POLICY_DROP);
	own.nr = 0;
	unit_unmap(u->as, va, 2 * BLOCK);
	assert_in_range(own.nr, 1, 3); /* in runs */
	for (unsigned int i = 0; i < own.nr; i++)
		assert_int_equal(own.call[i].why, GM_POLICY_DROP);
}

/* Answers that are none; pieces apart; beyond the mapping. */
static void answers(void **state)
{
	static const struct gm_policy_move nonsense[] = {
		{ .first = 12, .n = 0, .more = 3 },
		{ .first = 600, .n = 1 },
		{ .first = 22, .n = 8 },
		{ .first = 0, .n = 21 },
		{ .first = 0, .n = 513 },
		{ .first = 1, .n = UINT32_MAX },
		{ .first = UINT32_MAX, .n = 2 },
	};
	struct gm_dev_tunables tune = {
		.size = sizeof(tune), .granule = 8 * PAGE, .no_background = 1, .no_thrash = 1
	}; /* it goes there and back */
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 3 * BLOCK);
	int node = unit_node(u, 0);

	own_choose(u, "own/lru-2m");
	assert_int_equal(gm_dev_tune(unit_dev(u, 0), &tune), 0);
	for (unsigned int i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		own.move = nonsense[i];
		own.move.n = own.move.n ? own.move.n : 0;
		unit_load(u, 0, va + 21 * PAGE);
		assert_int_equal(unit_count_on(u->as, va, BLOCK, node), 8);
		unit_on(u->as, va + 16 * PAGE, 8 * PAGE, node);
		unit_store(u, CPU, va + 16 * PAGE, 1); /* all eight come home */
		assert_int_equal(unit_count_on(u->as, va, BLOCK, node), 0);
	}
	own.move = (struct gm_policy_move){ .first = 20, .n = 3, .more = 1000, .stride = -9 };
	unit_load(u, 0, va + 21 * PAGE);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, node), 3); /* too many are none */
	own.move = (struct gm_policy_move){ .first = 100, .n = 3, .more = 500, .stride = 90 };
	unit_load(u, 0, va + 100 * PAGE);
	for (uint64_t at = 100; at < 500; at += 90)
		unit_on(u->as, va + at * PAGE, 3 * PAGE, node);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, node), 3 + 5 * 3);
	own.move = (struct gm_policy_move){ .first = 400, .n = 2, .more = 500, .stride = -150 };
	unit_load(u, 0, va + 2 * BLOCK + 400 * PAGE);
	assert_int_equal(unit_count_on(u->as, va + 2 * BLOCK, BLOCK, node), 6);
	/* Pieces that reach beyond what is mapped are clipped. */
	unit_unmap(u->as, va + BLOCK, BLOCK);
	va = unit_alloc(u, 40 * PAGE);
	own.move = (struct gm_policy_move){ .first = 8, .n = 8, .more = 60, .stride = 28 };
	unit_load(u, 0, va + 8 * PAGE);
	assert_int_equal(unit_count_on(u->as, va, 40 * PAGE, node), 8 + 4);
	/* Told to move but the granule, it is that, whatever the policy says. */
	unit_tune(unit_dev(u, 0), 2 * PAGE, true, true);
	unit_load(u, 0, va + 20 * PAGE);
	assert_int_equal(unit_count_on(u->as, va, 40 * PAGE, node), 8 + 4 + 2);
}

/* ------------------------------------------------------------------ to be evicted */

/* A policy that evicts nobody: everything goes on, at the highest pressure. */
static void evicts_nobody(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 6 * BLOCK);
	struct gm_stats s;

	own_choose(u, "density/own");
	unit_tune(unit_dev(u, 0), BLOCK, false, true);
	unit_fill(u, 0, va, 6 * BLOCK, 1);
	s = unit_dev_stats(unit_dev(u, 0));
	assert_int_equal(s.evictions, 2);
	assert_int_equal(s.pages_evicted, 1024);
	assert_int_equal(own.evicts, 2 * GM_PRESSURE_MAX);
	assert_int_equal(own.pressure, GM_PRESSURE_MAX - 1);
	unit_verify(u, 0, va, 6 * BLOCK, 1);
	unit_verify(u, CPU, va, 6 * BLOCK, 1);
	/* The same for a limit that is lowered, and ahead of need. */
	unit_fill(u, 0, va, 4 * BLOCK, 2);
	assert_int_equal(gm_as_limit(u->as, unit_node(u, 0), 2 * BLOCK), 0);
	assert_int_equal(unit_count_on(u->as, va, 6 * BLOCK, unit_node(u, 0)), 1024);
	unit_verify(u, CPU, va, 4 * BLOCK, 2);
}

/* Part of a block goes in one piece of work, and the rest stays as it was, mapped. */
static void parts(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 5 * BLOCK), pages;
	struct gm_stats s, t;
	int node = unit_node(u, 0);

	own_choose(u, "density/own");
	for (unsigned int i = 0; i < 512; i += 64)
		gm_mask_set(&own.go, i, 16);
	assert_int_equal(gm_advise(u->as, node, va, 4 * BLOCK, GM_PREFETCH), 0);
	unit_fill(u, 0, va, 4 * BLOCK, 1);
	s = unit_dev_stats(unit_dev(u, 0));
	unit_load(u, 0, va + 4 * BLOCK + 100 * PAGE);
	t = unit_dev_stats(unit_dev(u, 0));
	assert_int_equal(t.evictions - s.evictions, 1);
	assert_int_equal(t.pages_evicted - s.pages_evicted, 128);
	assert_int_equal(t.tlb_invls - s.tlb_invls, 1);
	assert_int_equal(t.dev_faults - s.dev_faults, 1);
	pages = unit_count_on(u->as, va, BLOCK, node);
	assert_int_equal(pages, 512 - 128);
	unit_on(u->as, va, 16 * PAGE, GM_NODE_HOST);
	unit_on(u->as, va + 16 * PAGE, 48 * PAGE, node);
	/* No fault for what has stayed. */
	unit_verify(u, 0, va + 16 * PAGE, 48 * PAGE, 1);
	unit_verify(u, 0, va + 464 * PAGE, 48 * PAGE, 1);
	s = unit_dev_stats(unit_dev(u, 0));
	assert_int_equal(s.dev_faults, t.dev_faults);
	unit_peek(u->as, va, 4 * BLOCK, 1);
	unit_verify(u, CPU, va, 4 * BLOCK, 1);
}

/* An eviction of a part that fails, at each step: nothing is lost, and it is mapped again. */
static void parts_that_fail(void **state)
{
	static const enum gm_sim_op ops[] = { GM_SIM_PMAP_RELEASE, GM_SIM_TLB_INVL,
					      GM_SIM_COPY_START, GM_SIM_COPY_FENCE,
					      GM_SIM_PMAP_AGE };
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 5 * BLOCK);

	own_choose(u, "density/own");
	gm_mask_set(&own.go, 100, 200);
	for (unsigned int i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 4 * BLOCK, GM_PREFETCH), 0);
		unit_fill(u, 0, va, 4 * BLOCK, i + 1);
		gm_sim_inject(u->sim[0], ops[i], 0, 1, -EIO);
		unit_load(u, 0, va + 4 * BLOCK + i * PAGE); /* the next victim does */
		gm_sim_inject(u->sim[0], ops[i], 0, 0, 0);
		unit_check();
		unit_peek(u->as, va, 4 * BLOCK, i + 1);
		unit_verify(u, CPU, va, 4 * BLOCK, i + 1);
		assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, 5 * BLOCK, GM_PREFETCH), 0);
	}
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).evictions_cancelled, 4);
	assert_int_equal(own.seen.aged, 0); /* it could not say */
}

/* What is pinned is not the policy's to give. */
static void pinned_pages(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 5 * BLOCK);
	int node = unit_node(u, 0);

	own_choose(u, "density/own");
	gm_mask_set(&own.go, 0, 512);
	assert_int_equal(gm_advise(u->as, node, va, 4 * BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_advise(u->as, node, va + 3 * PAGE, 2 * PAGE, GM_PIN), 0);
	assert_int_equal(gm_advise(u->as, 0, va, BLOCK, GM_COLD), 0);
	unit_load(u, 0, va + 4 * BLOCK);
	assert_int_equal(gm_mask_count(&own.seen.here, 0, 512), 512);
	assert_int_equal(gm_mask_count(&own.seen.pinned, 0, 512), 2);
	assert_true(gm_mask_test(&own.seen.pinned, 3) && gm_mask_test(&own.seen.pinned, 4));
	assert_int_equal(unit_count_on(u->as, va, BLOCK, node), 2);
	unit_on(u->as, va + 3 * PAGE, 2 * PAGE, node);
	assert_int_equal(gm_advise(u->as, node, va, BLOCK, GM_UNPIN), 0);
}

/* ------------------------------------------------------------- what was used */

/* Accessed bits: what lanes used since the block was last asked for. */
static void accessed_bits(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 6 * BLOCK);

	own_choose(u, "density/own");
	gm_mask_set(&own.go, 0, 512);
	unit_load(u, 0, va + 20 * PAGE); /* page by page: small leaves */
	unit_load(u, 0, va + 50 * PAGE);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va + BLOCK, 3 * BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va + 4 * BLOCK, 510 * PAGE, GM_PREFETCH),
			 0);
	assert_int_equal(own.evicts, 0);
	assert_int_equal(gm_advise(u->as, 0, va, BLOCK, GM_COLD), 0);
	unit_load(u, 0, va + 5 * BLOCK);
	assert_int_equal(own.evicts, 1);
	assert_int_equal(own.seen.index, 0);
	assert_int_equal(own.seen.aged, 1);
	assert_int_equal(gm_mask_count(&own.seen.used, 0, 512), 2);
	assert_true(gm_mask_test(&own.seen.used, 20) && gm_mask_test(&own.seen.used, 50));
	assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, 0)), 0);
}

static void ask_age(struct unit *u, uint64_t va, struct gm_mask *used)
{
	struct gm_region *r = gm_region_find(u->as, va);
	struct gm_block *block = gm_block_find(r->obj, (va - r->va + r->offset) >> GM_BLOCK_SHIFT,
					       false);

	*used = (struct gm_mask){ { 0 } };
	assert_true(gm_age_block(block, unit_dev(u, 0), used));
	gm_block_unlock(block);
}

static void which_pages(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);
	struct gm_mask used;

	unit_load(u, 0, va + 20 * PAGE);
	unit_load(u, 0, va + 300 * PAGE);
	ask_age(u, va, &used);
	assert_int_equal(gm_mask_count(&used, 0, 512), 2);
	assert_true(gm_mask_test(&used, 20) && gm_mask_test(&used, 300));
	ask_age(u, va, &used);
	assert_int_equal(gm_mask_count(&used, 0, 512), 0);
	/* The TLB has it: the table is not asked, and not told. When the TLB has dropped it, it is. */
	unit_load(u, 0, va + 20 * PAGE);
	ask_age(u, va, &used);
	assert_int_equal(gm_mask_count(&used, 0, 512), 0);
	for (unsigned int i = 0; i < 64; i++)
		unit_load(u, 0, va + BLOCK + i * PAGE);
	unit_load(u, 0, va + 20 * PAGE);
	ask_age(u, va, &used);
	assert_int_equal(gm_mask_count(&used, 0, 512), 1);
	/* A leaf is used as a whole. */
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	ask_age(u, va, &used);
}

/* A device without accessed bits: a fault that moves nothing says that it was used. */
static void probing(void **state)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = 4 * BLOCK,
				      .base = 9ULL << 32,
				      .lanes = 1,
				      .table_memory = 1 << 20,
				      .flags = GM_SIM_SYNC_FAULTS | GM_SIM_CHECK |
					       GM_SIM_NO_ACCESSED };
	struct unit *u = *state, other = { .as = NULL };
	struct gm_stats s, t;
	uint64_t va;

	assert_int_equal(gm_as_create(NULL, &other.as), 0);
	assert_int_equal(gm_sim_create(&opt, &other.sim[0]), 0);
	assert_int_equal(gm_sim_attach(other.sim[0], other.as, &other.ctx[0]), 0);
	unit_tune(unit_dev(&other, 0), PAGE, true, true);
	own_choose(&other, "density/own");
	va = unit_alloc(&other, 5 * BLOCK);
	assert_int_equal(gm_advise(other.as, unit_node(&other, 0), va, 3 * BLOCK, GM_PREFETCH), 0);
	for (unsigned int i = 0; i < 512; i++) /* page by page: small leaves */
		unit_load(&other, 0, va + 3 * BLOCK + (i * 37 % 512) * PAGE);
	assert_int_equal(gm_advise(other.as, 0, va + 3 * BLOCK, BLOCK, GM_COLD), 0);
	gm_mask_set(&own.go, 0, 16);
	gm_mask_set(&own.probe, 8, 24);
	own.nr = 0;
	unit_load(&other, 0, va + 4 * BLOCK);
	assert_int_equal(own.seen.aged, 0);
	assert_int_equal(own.seen.index, 3);
	unit_on(other.as, va + 3 * BLOCK, 16 * PAGE, GM_NODE_HOST);
	unit_on(other.as, va + 3 * BLOCK + 16 * PAGE, 496 * PAGE, unit_node(&other, 0));
	s = unit_dev_stats(unit_dev(&other, 0));
	own.nr = 0;
	unit_load(&other, 0, va + 3 * BLOCK + 20 * PAGE);
	OWN_EXPECT({ 'u', 20, 1, 0, 3 });
	unit_load(&other, 0, va + 3 * BLOCK + 20 * PAGE);
	unit_load(&other, 0, va + 3 * BLOCK + 32 * PAGE);
	OWN_EXPECT();
	t = unit_dev_stats(unit_dev(&other, 0));
	assert_int_equal(t.dev_faults_map - s.dev_faults_map, 1);
	assert_int_equal(t.pages_to_dev, s.pages_to_dev);
	assert_int_equal(gm_as_destroy(other.as), 0);
	assert_int_equal(gm_sim_destroy(other.sim[0]), 0);
	(void)u;
}

static void counters(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 4 * BLOCK);
	struct gm_context *ctx = own_context(u);
	int node = unit_node(u, 0);

	own_choose(u, "density/own");
	assert_int_equal(gm_advise(u->as, node, va, 2 * BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_advise(u->as, node, va + 2 * BLOCK, 7 * PAGE, GM_PREFETCH), 0);
	own.nr = 0;
	assert_int_equal(gm_dev_accessed(ctx, va + BLOCK - 1, 2, 1000), 0);
	OWN_EXPECT({ 'u', 511, 1, 0, 0 }, { 'u', 0, 1, 0, 1 });
	assert_int_equal(own.times, 1000);
	assert_int_equal(gm_dev_accessed(ctx, va + 2 * BLOCK + 5 * PAGE, 100 * PAGE, 1), 0);
	OWN_EXPECT({ 'u', 5, 2, 0, 2 });				     /* of what is there */
	assert_int_equal(gm_dev_accessed(ctx, va + 3 * BLOCK, BLOCK, 1), 0); /* nothing is */
	OWN_EXPECT();
	assert_int_equal(gm_dev_accessed(ctx, va + 4 * BLOCK - PAGE, 2 * PAGE, 1), -EFAULT);
	assert_int_equal(gm_dev_accessed(ctx, va, 0, 1), -EINVAL);
	assert_int_equal(gm_dev_accessed(ctx, va, PAGE, 0), -EINVAL);
	assert_int_equal(gm_dev_accessed(ctx, UINT64_MAX, 2, 1), -EINVAL);
	assert_int_equal(gm_dev_accessed(ctx, UINT64_MAX - 10, 4, 1), -EINVAL);
	assert_int_equal(gm_dev_accessed(NULL, va, 1, 1), -EINVAL);
	/* The block is hot: the other one goes first, though it came later. */
	own_choose(u, "density/lru-2m");
	assert_int_equal(gm_advise(u->as, node, va + 2 * BLOCK, 2 * BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_dev_accessed(ctx, va, 8, 1), 0);
	unit_load(u, 0, unit_alloc(u, BLOCK));
	unit_on(u->as, va, BLOCK, node);
	unit_on(u->as, va + BLOCK, BLOCK, GM_NODE_HOST);
	/* Who works on the block is not waited for. */
	own_choose(u, "density/own");
	own.nr = 0;
	gm_fake_inject(GM_FAKE_TRYLOCK, 0, 1, -EBUSY);
	assert_int_equal(gm_dev_accessed(ctx, va, 8, 1), 0);
	OWN_EXPECT();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, own_setup, own_teardown)
	const struct CMUnitTest tests[] = {
		TEST(tidings),	       TEST(answers),	   TEST(evicts_nobody), TEST(parts),
		TEST(parts_that_fail), TEST(pinned_pages), TEST(accessed_bits), TEST(which_pages),
		TEST(probing),	       TEST(counters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
