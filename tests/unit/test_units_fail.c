// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Devices of larger base pages, among others: memory that fails, pages that go from one such
 * device to another, and every step of that made to fail.
 */
#include "unit.h"

#include "core/core.h"

#define RW (GM_READ | GM_WRITE)
#define K16 (1U << 14)
#define K64 (1U << 16)
#define M2 (1U << 21)
#define UNIT (K64 / PAGE)

static struct gm_sim *sim_of(uint64_t sizes, unsigned int nr, uint32_t flags)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = 4 * BLOCK,
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

static void plug(struct unit *u, uint64_t sizes0, uint64_t sizes1, uint32_t flags)
{
	for (unsigned int i = 0; i < 2; i++) {
		u->sim[i] = sim_of(i ? sizes1 : sizes0, i, flags);
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

static int setup(void **state)
{
	unit_setup_as(state);
	plug(*state, K64 | M2, PAGE | K64 | M2, 0);
	return 0;
}

static int prefetch(struct unit *u, int node, uint64_t va, uint64_t len)
{
	return gm_advise(u->as, node, va, len, GM_PREFETCH);
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

/* -------------------------------------------------------------------------- poison */

/* One page is lost; the rest of its unit is home, of its block where it was. */
static void one_is_lost(void **state)
{
	struct unit *u = *state;
	int node = unit_node(u, 0);
	uint64_t va = unit_alloc(u, BLOCK), bad = va + 37 * PAGE, value, before, pa;

	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(prefetch(u, node, va, BLOCK), 0);
	assert_int_equal(gm_advise(u->as, node, bad, PAGE, GM_PIN), 0);
	unit_verify(u, 0, va, BLOCK, 1);
	before = unit_dev_stats(unit_dev(u, 0)).dev_faults;
	pa = frame(u, bad);
	assert_int_equal(gm_dev_poison(unit_dev(u, 0), pa + 5), 0);
	no_stale(u);
	assert_true(unit_info(u->as, bad).flags & GM_PAGE_POISONED);
	unit_on(u->as, va, 32 * PAGE, node);
	unit_on(u->as, va + 32 * PAGE, 5 * PAGE, GM_NODE_HOST);
	unit_on(u->as, va + 38 * PAGE, 10 * PAGE, GM_NODE_HOST);
	unit_on(u->as, va + 48 * PAGE, 464 * PAGE, node);
	assert_int_equal(unit_hnode(node).poisoned, K64);
	assert_int_equal(unit_hnode(node).total, 4 * BLOCK - K64);
	assert_int_equal(unit_hnode(node).free, 3 * BLOCK);
	assert_int_equal(unit_hnode(node).pinned, 0);
	unit_verify(u, 0, va, 32 * PAGE, 1);
	unit_verify(u, 0, va + 48 * PAGE, 464 * PAGE, 1);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).dev_faults, before);
	/* The frames of the unit are gone together. */
	for (uint64_t i = 0; i < UNIT; i++)
		assert_int_equal(gm_dev_poison(unit_dev(u, 0), (pa & ~(K64 - 1ULL)) + i * PAGE), 0);
	assert_int_equal(unit_hnode(node).poisoned, K64);

	for (uint64_t i = 32; i < 48; i++)
		assert_int_equal(unit_access(u, 0, va + i * PAGE, &value, 8, GM_READ), -EHWPOISON);
	assert_int_equal(unit_access(u, CPU, bad, &value, 8, GM_READ), -EHWPOISON);
	unit_verify(u, CPU, va + 32 * PAGE, 5 * PAGE, 1);
	unit_verify(u, 1, va + 38 * PAGE, 10 * PAGE, 1);   /* pages of its own size can */
	assert_int_equal(prefetch(u, node, va, BLOCK), 0); /* around it */
	unit_on(u->as, va + 48 * PAGE, 464 * PAGE, node);
	unit_on(u->as, va + 32 * PAGE, 5 * PAGE, GM_NODE_HOST);
	unit_peek(u->as, va, 37 * PAGE, 1);
	unit_peek(u->as, va + 38 * PAGE, 474 * PAGE, 1);
	assert_int_equal(gm_advise(u->as, 0, bad, PAGE, GM_DONTNEED), 0);
	assert_int_equal(unit_load(u, 0, bad), 0);
	unit_on(u->as, va, BLOCK, node);
	unit_verify(u, 0, va + 38 * PAGE, 474 * PAGE, 1);
	no_stale(u);
}

/* A frame that is free takes its unit with it: what is left is whole units. */
static void free_frame_lost(void **state)
{
	struct unit *u = *state;
	int node = unit_node(u, 0);
	uint64_t va = unit_alloc(u, 5 * BLOCK), base = 1ULL << 32;

	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(gm_dev_poison(unit_dev(u, 0), base + i * BLOCK + i * 17 * PAGE),
				 0);
	assert_int_equal(unit_hnode(node).poisoned, 4 * K64);
	assert_int_equal(unit_hnode(node).free, 4 * BLOCK - 4 * K64);
	unit_fill(u, CPU, va, 5 * BLOCK, 1);
	for (unsigned int b = 0; b < 5; b++)
		assert_int_equal(prefetch(u, node, va + b * BLOCK, BLOCK), 0);
	no_stale(u);
	unit_verify(u, 0, va, 5 * BLOCK, 1);
	no_stale(u);
	/* The memory goes, and takes its wounds along. */
	assert_int_equal(gm_dev_unregister_physmem(unit_dev(u, 0), base, base + 4 * BLOCK), 0);
	assert_int_equal(unit_hnode(node).poisoned, 0);
	assert_int_equal(unit_hnode(node).total, 0);
	unit_peek(u->as, va, 5 * BLOCK, 1);
}

/* A step of it fails: the page is where it was, and can be read; the second try succeeds. */
static void losing_fails(void **state)
{
	static const enum gm_sim_op ops[] = { GM_SIM_PMAP_RELEASE, GM_SIM_TLB_INVL,
					      GM_SIM_COPY_START, GM_SIM_COPY_FENCE };
	struct unit *u = *state;
	int node = unit_node(u, 0);
	uint64_t va = unit_alloc(u, BLOCK);

	unit_fill(u, CPU, va, BLOCK, 1);
	for (unsigned int i = 0; i < 5; i++) {
		uint64_t bad = va + (i * 64 + i) * PAGE, pa;

		assert_int_equal(prefetch(u, node, va, BLOCK), 0);
		pa = frame(u, bad);
		if (i < 4)
			gm_sim_inject(u->sim[0], ops[i], 0, 1, -EIO);
		else
			gm_fake_inject(GM_FAKE_BACKING_GET, 0, 1, -ENOMEM);
		assert_int_equal(gm_dev_poison(unit_dev(u, 0), pa), i < 4 ? -EIO : -ENOMEM);
		no_stale(u);
		unit_on(u->as, bad & ~(K64 - 1ULL), K64, node);
		assert_int_equal(unit_hnode(node).poisoned, i * K64);
		unit_verify(u, 0, bad & ~(K64 - 1ULL), K64, 1);
		assert_int_equal(gm_dev_poison(unit_dev(u, 0), pa), 0);
		no_stale(u);
		assert_int_equal(unit_hnode(node).poisoned, (i + 1) * K64);
		for (uint64_t at = bad & ~(K64 - 1ULL), end = at + K64; at < end; at += PAGE)
			if (at != bad)
				unit_verify(u, CPU, at, PAGE, 1);
	}
}

/* ------------------------------------------------------------- from one to another */

/* What the one loses in part it loses, and no byte goes with it; the other has what it asked for. */
static void between(struct unit *u, uint64_t sizes0, uint64_t sizes1, uint32_t flags)
{
	uint64_t before = unit_as_stats(u->as).pages_peer, va;
	uint64_t units[2] = { sizes0 & -sizes0, sizes1 & -sizes1 };

	plug(u, sizes0, sizes1, flags);
	va = unit_alloc(u, BLOCK);
	unit_fill(u, CPU, va, BLOCK, 1);
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t unit = units[!i], at = va + 333 * PAGE, first = at & ~(unit - 1);

		assert_int_equal(prefetch(u, unit_node(u, i), va, BLOCK), 0);
		unit_verify(u, (int)i, va, BLOCK, 1);
		unit_verify(u, !i, at, PAGE, 1);
		unit_on(u->as, first, unit, unit_node(u, !i));
		assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, !i)), unit / PAGE);
		no_stale(u);
		/* The one's other units are where they were. */
		if (units[i] < unit)
			assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, i)),
					 512 - unit / PAGE);
		else
			assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, i)),
					 512 - units[i] / PAGE);
		unit_peek(u->as, va, BLOCK, 1);
		/* To and fro, a page at a time. */
		for (uint64_t n = 0; n < 200; n++)
			unit_verify(u, (int)(n % 2), va + n * 37 % 512 * PAGE, PAGE, 1);
		no_stale(u);
		unit_peek(u->as, va, BLOCK, 1);
	}
	/* Pages of both, and of the host, and nothing. */
	assert_int_equal(gm_advise(u->as, 0, va + 256 * PAGE, 100 * PAGE, GM_DONTNEED), 0);
	unit_verify(u, CPU, va + 17 * PAGE, PAGE, 1);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(prefetch(u, unit_node(u, i), va, BLOCK), 0);
		unit_on(u->as, va, BLOCK, unit_node(u, i));
	}
	no_stale(u);
	unit_peek(u->as, va, 256 * PAGE, 1);
	unit_peek(u->as, va + 256 * PAGE, 100 * PAGE, 0);
	unit_peek(u->as, va + 356 * PAGE, 156 * PAGE, 1);
	assert_int_equal(unit_as_stats(u->as).pages_peer > before, !flags);
	unit_unmap(u->as, va, BLOCK);
	unplug(u);
}

static void to_another(void **state)
{
	static const uint64_t sizes[] = { PAGE, K16, K64 | M2, M2 };

	for (unsigned int i = 0; i < 4; i++)
		for (unsigned int j = 0; j < 4; j++)
			between(*state, sizes[i], sizes[j], i == 1 && j == 2 ? GM_SIM_NO_LINK : 0);
}

/* A small device takes more of a large one's unit than fits into one round of the move. */
static void in_rounds(void **state)
{
	struct unit *u = *state;
	struct gm_sim *small = sim_of(PAGE, 7, 0);
	int node = gm_dev_hnode(gm_sim_dev(small)), large;
	uint64_t va = unit_alloc(u, 6 * BLOCK);
	struct gm_sim_ctx *ctx[2];
	struct gm_sim *big = sim_of(M2, 8, 0);

	large = gm_dev_hnode(gm_sim_dev(big));
	assert_int_equal(gm_sim_attach(small, u->as, &ctx[0]), 0);
	assert_int_equal(gm_sim_attach(big, u->as, &ctx[1]), 0);
	unit_fill(u, CPU, va, 6 * BLOCK, 1);
	/* Its memory is in single frames: every second page of what filled it has gone. */
	assert_int_equal(prefetch(u, node, va, 4 * BLOCK), 0);
	for (uint64_t i = 0; i < 4 * 512; i += 2)
		assert_int_equal(gm_advise(u->as, node, va + i * PAGE, PAGE, GM_PIN), 0);
	for (uint64_t i = 1; i < 4 * 512; i += 2)
		assert_int_equal(prefetch(u, GM_NODE_HOST, va + i * PAGE, PAGE), 0);
	assert_int_equal(prefetch(u, large, va + 4 * BLOCK, BLOCK), 0);
	unit_on(u->as, va + 4 * BLOCK, BLOCK, large);
	/* It fails in the second round: what came has come, and the rest is home. */
	gm_sim_inject(small, GM_SIM_COPY_START, 1, UINT32_MAX, -EIO);
	assert_int_equal(prefetch(u, node, va + 4 * BLOCK, 100 * PAGE), -EIO);
	gm_sim_inject(small, GM_SIM_COPY_START, 0, 0, 0);
	assert_int_equal(unit_count_on(u->as, va + 4 * BLOCK, BLOCK, large), 0);
	assert_int_equal(unit_count_on(u->as, va + 4 * BLOCK, BLOCK, node), 32);
	no_stale(u);
	assert_int_equal(prefetch(u, large, va + 4 * BLOCK, BLOCK), 0);
	assert_int_equal(prefetch(u, node, va + 4 * BLOCK, 100 * PAGE), 0);
	unit_on(u->as, va + 4 * BLOCK, 100 * PAGE, node);
	no_stale(u);
	unit_peek(u->as, va, 6 * BLOCK, 1);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(gm_sim_detach(ctx[i]), 0);
	assert_int_equal(gm_sim_destroy(small), 0);
	assert_int_equal(gm_sim_destroy(big), 0);
}

/* ------------------------------------------------------------------ ranges of frames */

/* A range goes whose neighbour's frames continue a run, and flags part it in a unit. */
static void range_goes(void **state)
{
	struct unit *u = *state;
	struct gm_dev *dev = unit_dev(u, 0);
	uint64_t base = 1ULL << 32, border = base + BLOCK + BLOCK / 2;
	uint64_t va = unit_alloc(u, 3 * BLOCK);
	int node = unit_node(u, 0);

	/* Its memory in two ranges, whose border is in a block of frames; the lower is used first. */
	assert_int_equal(gm_dev_unregister_physmem(dev, base, base + 4 * BLOCK), 0);
	assert_int_equal(gm_dev_register_physmem(dev, border, base + 3 * BLOCK), 0);
	assert_int_equal(gm_dev_register_physmem(dev, base, border), 0);
	unit_fill(u, CPU, va, 3 * BLOCK, 1);
	for (unsigned int b = 0; b < 3; b++)
		assert_int_equal(prefetch(u, node, va + b * BLOCK, BLOCK), 0);
	assert_int_equal(frame(u, va + 2 * BLOCK + 255 * PAGE), border - PAGE);
	assert_int_equal(frame(u, va + 2 * BLOCK + 256 * PAGE), border);
	for (uint64_t i = 7; i < 512; i += 2 * UNIT) /* parts runs in units on both sides of it */
		assert_int_equal(gm_advise(u->as, node, va + 2 * BLOCK + i * PAGE, PAGE, GM_PIN),
				 0);
	unit_check();
	assert_int_equal(gm_dev_unregister_physmem(dev, base, border), 0);
	no_stale(u);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	unit_on(u->as, va + BLOCK, BLOCK, node);
	unit_on(u->as, va + 2 * BLOCK, BLOCK / 2, GM_NODE_HOST);
	unit_on(u->as, va + 2 * BLOCK + BLOCK / 2, BLOCK / 2, node);
	unit_peek(u->as, va, 3 * BLOCK, 1);
	/* The same from below. */
	assert_int_equal(gm_dev_register_physmem(dev, base, border), 0);
	assert_int_equal(prefetch(u, node, va + 2 * BLOCK, BLOCK), 0);
	assert_int_equal(gm_dev_unregister_physmem(dev, border, base + 3 * BLOCK), 0);
	no_stale(u);
	unit_peek(u->as, va, 3 * BLOCK, 1);
	unit_verify(u, CPU, va, 3 * BLOCK, 1);
}

/* Memory that the CPU can address too, in units: bad, evicted, dropped in part. */
static void aperture(void **state)
{
	struct unit *u = *state;
	uint64_t va, value;

	plug(u, K64, PAGE, GM_SIM_APERTURE);
	va = unit_alloc(u, BLOCK);
	unit_fill(u, 0, va, BLOCK, 1);
	unit_verify(u, CPU, va, BLOCK, 1);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	assert_int_equal(gm_dev_poison(unit_dev(u, 0), frame(u, va + 20 * PAGE)), 0);
	assert_int_equal(unit_access(u, CPU, va + 20 * PAGE, &value, 8, GM_READ), -EHWPOISON);
	unit_verify(u, CPU, va, 20 * PAGE, 1);
	unit_verify(u, CPU, va + 21 * PAGE, 491 * PAGE, 1);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, 0)), 512 - UNIT);
	unit_store(u, 1, va + 100 * PAGE, 5);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, 0)), 512 - 2 * UNIT);
	assert_int_equal(gm_advise(u->as, 0, va + 130 * PAGE, PAGE, GM_DONTNEED), 0);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, 0)), 512 - 3 * UNIT);
	assert_int_equal(unit_load(u, CPU, va + 100 * PAGE), 5);
	no_stale(u);
	unplug(u);
}

/* Less than a unit of a device is no use to anybody. */
static void small_account(void **state)
{
	static uint32_t percent = 1; /* of 4 blocks: 20 frames, one unit */
	struct unit *u = *state;
	struct gm_account *account;
	struct gm_object *obj;
	uint64_t va;

	assert_int_equal(gm_account_create(&percent, &account), 0);
	obj = unit_object(BLOCK);
	gm_object_set_account(obj, account);
	va = unit_map(u->as, obj, 0, BLOCK, RW);
	gm_object_put(obj);
	unit_fill(u, CPU, va, BLOCK, 1);
	unit_verify(u, 0, va, BLOCK, 1); /* each evicts the one before */
	assert_int_equal(gm_account_used(account, unit_node(u, 0)), K64);
	assert_int_equal(gm_dev_poison(unit_dev(u, 0), frame(u, va + 511 * PAGE)), 0);
	assert_int_equal(gm_account_used(account, unit_node(u, 0)), 0);
	assert_int_equal(gm_advise(u->as, 0, va + 511 * PAGE, PAGE, GM_DONTNEED), 0);
	unit_check();
	unit_unmap(u->as, va, BLOCK);
	gm_account_destroy(account);
}

/* ------------------------------------------------------------------ everything fails */

/* All that moves units: each answer is good or an error, and the bytes are what they are. */
static unsigned int scenario(struct unit *u, uint64_t va)
{
	unsigned int failed = 0;
	uint64_t value = 0;

	failed += unit_access(u, 0, va + 5 * PAGE, &value, 8, GM_READ) != 0;
	failed += prefetch(u, unit_node(u, 0), va, 64 * PAGE) != 0;
	failed += unit_access(u, 1, va + 18 * PAGE, &value, 8, GM_READ) != 0;
	failed += gm_advise(u->as, unit_node(u, 0), va + 18 * PAGE, PAGE, GM_PIN) != 0;
	failed += unit_access(u, CPU, va + 33 * PAGE, &value, 8, GM_READ) != 0;
	failed += gm_advise(u->as, 0, va + 70 * PAGE, 20 * PAGE, GM_DONTNEED) != 0;
	failed += gm_as_protect(u->as, (void *)(uintptr_t)(va + 20 * PAGE), 30 * PAGE, GM_READ) !=
		  0;
	failed += unit_access(u, 1, va + 60 * PAGE, &value, 8, GM_READ) != 0;
	failed += prefetch(u, unit_node(u, 0), va + 50 * PAGE, 50 * PAGE) != 0;
	return failed;
}

static void each_call_fails(void **state)
{
	unsigned int failed = 0, n = 0;
	bool injected;

	(void)state;
	do {
		void *own;
		struct unit *u;
		uint64_t va;

		unit_setup_as(&own);
		u = own;
		plug(u, K64 | M2, K16, 0);
		va = unit_alloc(u, BLOCK);
		unit_fill(u, CPU, va, 70 * PAGE, 1);
		unit_fill(u, 0, va + 90 * PAGE, 100 * PAGE, 1);
		gm_fake_inject_nth(++n);
		failed += scenario(u, va);
		injected = gm_fake_injected() > 0;
		gm_fake_inject_clear();
		no_stale(u);
		unit_peek(u->as, va, 70 * PAGE, 1);
		unit_peek(u->as, va + 70 * PAGE, 20 * PAGE, 0);
		unit_peek(u->as, va + 90 * PAGE, 100 * PAGE, 1);
		unit_verify(u, 1, va, 16 * PAGE, 1);
		unit_verify(u, CPU, va + 20 * PAGE, 50 * PAGE, 1);
		unit_teardown(&own);
	} while (injected);
	print_message("%u calls, %u operations failed\n", n - 1, failed);
	assert_true(n > 20 && failed > 0);
}

/* The same of what the devices are asked. */
static void each_step_fails(void **state)
{
	static const enum gm_sim_op ops[] = { GM_SIM_PMAP_ENTER,   GM_SIM_PMAP_RELEASE,
					      GM_SIM_PMAP_PROTECT, GM_SIM_TLB_INVL,
					      GM_SIM_COPY_START,   GM_SIM_COPY_FENCE };
	unsigned int failed = 0;

	(void)state;
	for (unsigned int i = 0; i < 6 * 2 * 12; i++) {
		void *own;
		struct unit *u;
		uint64_t va;

		unit_setup_as(&own);
		u = own;
		plug(u, K64 | M2, K16, 0);
		va = unit_alloc(u, BLOCK);
		unit_fill(u, CPU, va, 70 * PAGE, 1);
		unit_fill(u, 0, va + 90 * PAGE, 100 * PAGE, 1);
		gm_sim_inject(u->sim[i / 6 % 2], ops[i % 6], i / 12, 1, -EIO);
		failed += scenario(u, va);
		gm_sim_inject(u->sim[i / 6 % 2], ops[i % 6], 0, 0, 0);
		no_stale(u);
		unit_peek(u->as, va, 70 * PAGE, 1);
		unit_peek(u->as, va + 90 * PAGE, 100 * PAGE, 1);
		unit_verify(u, 1, va, 16 * PAGE, 1);
		unit_verify(u, CPU, va + 20 * PAGE, 50 * PAGE, 1);
		unit_teardown(&own);
	}
	assert_true(failed > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, unit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_is_lost),
		TEST(free_frame_lost),
		TEST(losing_fails),
		cmocka_unit_test_setup_teardown(to_another, unit_setup_as, unit_teardown),
		TEST(in_rounds),
		TEST(range_goes),
		cmocka_unit_test_setup_teardown(aperture, unit_setup_as, unit_teardown),
		TEST(small_account),
		cmocka_unit_test(each_call_fails),
		cmocka_unit_test(each_step_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
