// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Policies of a device: choosing them, what they are asked and told, and what is made of it. */
#include "unit.h"

#include "core/policy.h"

/* ------------------------------------------------------- a policy of the test's own */

/* What a function was called with. */
struct call {
	char what; /* f: fault, c: came, u: used, w: went, e: evict */
	unsigned int first, n, why;
	uint64_t index;
};

static struct own {
	struct call call[64];
	unsigned int nr, started, stopped;
	int start_err;
	struct gm_policy_move move;  /* the answer to fault(), if n is not 0 */
	struct gm_mask go, probe;    /* and to evict() */
	struct gm_policy_block seen; /* by the last evict() */
	uint8_t *bytes;
	unsigned int evicts, pressure;
	uint64_t times;
} own;

static void note(char what, const struct gm_policy_block *b, unsigned int first, unsigned int n,
		 unsigned int why)
{
	if (own.nr < 64)
		own.call[own.nr] = (struct call){ what, first, n, why, b->index };
	own.nr++;
}

static int own_start(void *state)
{
	assert_int_equal(*(uint64_t *)state, 0);
	own.started++;
	return own.start_err;
}

static void own_stop(void *state)
{
	assert_non_null(state);
	own.stopped++;
}

static void own_fault(void *state, struct gm_policy_block *b, const struct gm_policy_fault *fault,
		      struct gm_policy_move *move)
{
	++*(uint64_t *)state;
	assert_false(gm_mask_test(&b->here, fault->page));
	note('f', b, fault->page, fault->granule, fault->flags);
	if (own.move.n)
		*move = own.move;
}

static void own_came(void *state, struct gm_policy_block *b, unsigned int first, unsigned int n,
		     enum gm_policy_why why)
{
	(void)state;
	assert_int_equal(gm_mask_count(&b->here, first, n), n);
	note('c', b, first, n, why);
}

static void own_used(void *state, struct gm_policy_block *b, const struct gm_mask *pages,
		     uint64_t times)
{
	unsigned int first = 0;

	(void)state;
	while (first < 512 && !gm_mask_test(pages, first))
		first++;
	note('u', b, first, gm_mask_count(pages, 0, 512), 0);
	own.times = times;
}

static void own_went(void *state, struct gm_policy_block *b, unsigned int first, unsigned int n,
		     enum gm_policy_why why)
{
	(void)state;
	assert_int_equal(gm_mask_count(&b->here, first, n), 0);
	note('w', b, first, n, why);
}

static void own_evict(void *state, struct gm_policy_block *b, uint64_t want, unsigned int pressure,
		      struct gm_policy_victims *victims)
{
	(void)state;
	assert_true(want);
	note('e', b, 0, 0, pressure);
	own.seen = *b;
	own.evicts++;
	own.pressure = GM_MAX(own.pressure, pressure);
	own.bytes = b->bytes;
	victims->go = own.go;
	victims->probe = own.probe;
	b->word += (uint32_t)b->index + 1;
	if (b->bytes)
		b->bytes[511 * 4 + 3]++;
}

static const struct gm_move_policy own_move = {
	.size = sizeof(own_move),
	.name = "own",
	.text = "what the test says",
	.state_size = 8,
	.start = own_start,
	.stop = own_stop,
	.fault = own_fault,
};

static const struct gm_evict_policy own_evicts = {
	.size = sizeof(own_evicts),
	.name = "own",
	.text = "whom the test says",
	.state_size = 8,
	.page_bytes = 4,
	.flags = GM_EVICT_AGE,
	.start = own_start,
	.stop = own_stop,
	.came = own_came,
	.used = own_used,
	.went = own_went,
	.evict = own_evict,
};

static int setup(void **state)
{
	unit_setup(state);
	own = (struct own){ .nr = 0 };
	assert_int_equal(gm_policy_register(&own_move, &own_evicts), 0);
	return 0;
}

static int teardown(void **state)
{
	assert_int_equal(gm_policy_unregister(&own_move, &own_evicts), 0);
	return unit_teardown(state);
}

static void choose(struct unit *u, const char *names)
{
	assert_int_equal(gm_dev_set_policy(unit_dev(u, 0), names), 0);
}

static struct gm_context *context(struct unit *u)
{
	return gm_context_find(u->as, unit_dev(u, 0));
}

static void expect_names(struct unit *u, const char *names)
{
	char now[2 * GM_POLICY_NAME];

	assert_int_equal(gm_dev_policy(unit_dev(u, 0), now, sizeof(now)), 0);
	assert_string_equal(now, names);
}

/* The calls since the last time. */
static void expect_calls(const struct call *calls, unsigned int n)
{
	for (unsigned int i = 0; i < GM_MAX(n, own.nr); i++) {
		const struct call *c = &own.call[i];

		if (i >= n || i >= own.nr)
			fail_msg("%u calls, not %u; the last: %c [%u, +%u) why %u", own.nr, n,
				 own.call[own.nr ? own.nr - 1 : 0].what, c->first, c->n, c->why);
		if (c->what != calls[i].what || c->first != calls[i].first || c->n != calls[i].n ||
		    c->why != calls[i].why || c->index != calls[i].index)
			fail_msg("call %u: %c [%u, +%u) why %u of block %u", i, c->what, c->first,
				 c->n, c->why, (unsigned int)c->index);
	}
	own.nr = 0;
}
#define EXPECT(...)                                                                                \
	do {                                                                                       \
		const struct call calls[] = { __VA_ARGS__ };                                       \
		expect_calls(calls, sizeof(calls) / sizeof(calls[0]));                             \
	} while (0)

/* ---------------------------------------------------------------------- by name */

static void by_name(void **state)
{
	static const char long_name[] = "a-name-that-is-longer-than-any-may-be-by-far/";
	struct unit *u = *state;
	struct gm_dev *dev = unit_dev(u, 0);
	char now[64];

	expect_names(u, "density/lru-2m");
	choose(u, "stream/");
	expect_names(u, "stream/lru-2m");
	choose(u, "/s3fifo");
	expect_names(u, "stream/s3fifo");
	choose(u, "fixed/clock");
	assert_int_equal(gm_dev_set_policy(dev, "fixed/nobody"), -ENOENT);
	assert_int_equal(gm_dev_set_policy(dev, "nobody/lru-2m"), -ENOENT);
	assert_int_equal(gm_dev_set_policy(dev, "clock/fixed"), -ENOENT); /* the wrong way round */
	assert_int_equal(gm_dev_set_policy(dev, "own/Own"), -ENOENT);
	assert_int_equal(gm_dev_set_policy(dev, "a/b/c"), -ENOENT);
	assert_int_equal(gm_dev_set_policy(dev, long_name), -ENOENT);
	assert_int_equal(gm_dev_set_policy(dev, "stream"), -EINVAL);
	assert_int_equal(gm_dev_set_policy(dev, "/"), -EINVAL);
	assert_int_equal(gm_dev_set_policy(dev, ""), -EINVAL);
	assert_int_equal(gm_dev_set_policy(dev, NULL), -EINVAL);
	assert_int_equal(gm_dev_set_policy(NULL, "stream/"), -EINVAL);
	expect_names(u, "fixed/clock");
	assert_int_equal(gm_hnode_set_policy(unit_node(u, 0), "density/"), 0);
	assert_int_equal(gm_hnode_policy(unit_node(u, 0), now, sizeof(now)), 0);
	assert_string_equal(now, "density/clock");
	assert_int_equal(gm_hnode_set_policy(0, "density/"), -ENODEV);
	assert_int_equal(gm_hnode_policy(unit_node(u, 0) + 2, now, sizeof(now)), -ENODEV);
	assert_int_equal(gm_dev_policy(dev, now, 13), -ERANGE);
	assert_int_equal(gm_dev_policy(dev, now, 14), 0);
	assert_int_equal(gm_dev_policy(dev, NULL, 14), -EINVAL);
	assert_int_equal(gm_dev_policy(NULL, now, 14), -EINVAL);
	/* The other device has its own. */
	assert_int_equal(gm_dev_policy(unit_dev(u, 1), now, sizeof(now)), 0);
	assert_string_equal(now, "density/lru-2m");
}

static void all_names(void **state)
{
	static const char *const names[] = { "density", "auto",	 "fixed", "stream", "own",
					     "lru-2m",	"clock", "rrip",  "s3fifo", "own" };
	struct gm_policy_info info = { .size = sizeof(info) };
	unsigned int n = sizeof(names) / sizeof(names[0]);

	(void)state;
	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(gm_policy_name(i, &info), 0);
		assert_string_equal(info.name, names[i]);
		assert_int_equal(info.kind, i < n / 2 ? GM_POLICY_MOVES : GM_POLICY_EVICTS);
		assert_true(info.text[0] && strlen(info.text) < sizeof(info.text));
	}
	assert_int_equal(gm_policy_name(n, &info), -ENOENT);
	assert_int_equal(gm_policy_name(0, NULL), -EINVAL);
	info.size = 1;
	assert_int_equal(gm_policy_name(0, &info), -EINVAL);
}

static void registering(void **state)
{
	struct gm_move_policy move[40];
	struct gm_evict_policy evict = own_evicts;
	char names[40][8];
	struct unit *u = *state;
	unsigned int n = 0;

	assert_int_equal(gm_policy_register(NULL, NULL), -EINVAL);
	assert_int_equal(gm_policy_register(&own_move, NULL), -EEXIST);
	evict.name = "other";
	assert_int_equal(gm_policy_register(&own_move, &evict), -EEXIST);
	assert_int_equal(gm_policy_unregister(NULL, &evict), -ENOENT); /* nothing of it is there */
	assert_int_equal(gm_policy_unregister(NULL, NULL), -EINVAL);
	assert_int_equal(gm_policy_unregister(&gm_move_density, NULL), -ENOENT);
	evict.page_bytes = 5;
	assert_int_equal(gm_policy_register(NULL, &evict), -EINVAL);
	evict.page_bytes = 4;
	evict.flags = 2;
	assert_int_equal(gm_policy_register(NULL, &evict), -EINVAL);
	evict.flags = 0;
	evict.evict = NULL;
	assert_int_equal(gm_policy_register(NULL, &evict), -EINVAL);
	for (unsigned int i = 0; i < 40; i++) {
		move[i] = own_move;
		snprintf(names[i], sizeof(names[i]), "own%u", i);
		move[i].name = names[i];
	}
	move[0].name = "a/b";
	assert_int_equal(gm_policy_register(&move[0], NULL), -EINVAL);
	move[0].name = "";
	assert_int_equal(gm_policy_register(&move[0], NULL), -EINVAL);
	move[0].name = "01234567890123456789012345678901";
	assert_int_equal(gm_policy_register(&move[0], NULL), -EINVAL);
	move[0].name++;
	move[0].size--;
	assert_int_equal(gm_policy_register(&move[0], NULL), -EINVAL);
	move[0].size++;
	while (n < 40 && !gm_policy_register(&move[n], NULL))
		n++;
	assert_int_equal(n, 27); /* of 32, four are built in and one is own */
	assert_int_equal(gm_policy_register(&move[n], NULL), -ENOSPC);
	choose(u, "own26/own");
	while (n--)
		assert_int_equal(gm_policy_unregister(&move[n], NULL), 0);
	expect_names(u, "density/own");
	assert_int_equal(own.stopped, 1);
}

/* One that goes while a device uses it; a state for each device. */
static void unregistered(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 6 * BLOCK);

	choose(u, "own/own");
	assert_int_equal(gm_dev_set_policy(unit_dev(u, 1), "own/"), 0);
	assert_int_equal(own.started, 3);
	unit_fill(u, 0, va, 2 * BLOCK, 1);
	assert_int_equal(gm_policy_unregister(&own_move, &own_evicts), 0);
	assert_int_equal(own.stopped, 3);
	expect_names(u, "density/lru-2m");
	unit_fill(u, 0, va, 6 * BLOCK, 2);
	unit_verify(u, 1, va, 6 * BLOCK, 2);
	unit_verify(u, CPU, va, 6 * BLOCK, 2);
	assert_int_equal(gm_policy_register(&own_move, &own_evicts), 0);
}

static void failing_start(void **state)
{
	struct unit *u = *state;

	choose(u, "fixed/clock");
	own.start_err = -EIO;
	assert_int_equal(gm_dev_set_policy(unit_dev(u, 0), "own/lru-2m"), -EIO);
	assert_int_equal(gm_dev_set_policy(unit_dev(u, 0), "stream/own"), -EIO);
	own.start_err = 0;
	for (uint32_t skip = 0; skip < 2; skip++) {
		gm_fake_inject(GM_FAKE_ALLOC, skip, 1, -ENOMEM);
		assert_int_equal(gm_dev_set_policy(unit_dev(u, 0), "own/own"), -ENOMEM);
	}
	gm_fake_inject_clear();
	assert_int_equal(own.started, 3);
	assert_int_equal(own.stopped, 1); /* the one of which the other half had no memory */
	expect_names(u, "fixed/clock");
}

/* --------------------------------------------------------------- asked and told */

static void tidings(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);
	struct gm_page_info info;

	choose(u, "own/own");
	unit_tune(unit_dev(u, 0), 8 * PAGE, false, true);
	unit_load(u, 0, va + BLOCK + 21 * PAGE);
	EXPECT({ 'f', 21, 8, 0, 1 }, { 'c', 16, 8, GM_POLICY_FAULT, 1 }, { 'u', 21, 1, 0, 1 });
	/* It is there, but not mapped. */
	assert_int_equal(gm_dev_fault(context(u), va + BLOCK + 20 * PAGE, GM_WRITE), 0);
	EXPECT({ 'u', 20, 1, 0, 1 });
	unit_store(u, CPU, va + BLOCK + 16 * PAGE, 1);
	info = unit_info(u->as, va + BLOCK + 16 * PAGE);
	assert_int_equal(info.node, GM_NODE_HOST);
	EXPECT({ 'w', 16, 8, GM_POLICY_FAULT, 1 });
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	EXPECT({ 'c', 0, 512, GM_POLICY_HINT, 0 });
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, 64 * PAGE, GM_PREFETCH), 0);
	EXPECT({ 'w', 0, 64, GM_POLICY_HINT, 0 });
	/* Another device takes some, straight. */
	unit_load(u, 1, va + 64 * PAGE);
	EXPECT({ 'w', 64, 1, GM_POLICY_FAULT, 0 });
	assert_int_equal(gm_advise(u->as, 0, va + 65 * PAGE, PAGE, GM_DONTNEED), 0);
	EXPECT({ 'w', 65, 1, GM_POLICY_DROP, 0 });
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

	choose(u, "own/lru-2m");
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

	choose(u, "density/own");
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

	choose(u, "density/own");
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

	choose(u, "density/own");
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

	choose(u, "density/own");
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

	choose(u, "density/own");
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
	choose(&other, "density/own");
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
	EXPECT({ 'u', 20, 1, 0, 3 });
	unit_load(&other, 0, va + 3 * BLOCK + 20 * PAGE);
	unit_load(&other, 0, va + 3 * BLOCK + 32 * PAGE);
	EXPECT();
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
	struct gm_context *ctx = context(u);
	int node = unit_node(u, 0);

	choose(u, "density/own");
	assert_int_equal(gm_advise(u->as, node, va, 2 * BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_advise(u->as, node, va + 2 * BLOCK, 7 * PAGE, GM_PREFETCH), 0);
	own.nr = 0;
	assert_int_equal(gm_dev_accessed(ctx, va + BLOCK - 1, 2, 1000), 0);
	EXPECT({ 'u', 511, 1, 0, 0 }, { 'u', 0, 1, 0, 1 });
	assert_int_equal(own.times, 1000);
	assert_int_equal(gm_dev_accessed(ctx, va + 2 * BLOCK + 5 * PAGE, 100 * PAGE, 1), 0);
	EXPECT({ 'u', 5, 2, 0, 2 });					     /* of what is there */
	assert_int_equal(gm_dev_accessed(ctx, va + 3 * BLOCK, BLOCK, 1), 0); /* nothing is */
	EXPECT();
	assert_int_equal(gm_dev_accessed(ctx, va + 4 * BLOCK - PAGE, 2 * PAGE, 1), -EFAULT);
	assert_int_equal(gm_dev_accessed(ctx, va, 0, 1), -EINVAL);
	assert_int_equal(gm_dev_accessed(ctx, va, PAGE, 0), -EINVAL);
	assert_int_equal(gm_dev_accessed(ctx, UINT64_MAX, 2, 1), -EINVAL);
	assert_int_equal(gm_dev_accessed(ctx, UINT64_MAX - 10, 4, 1), -EINVAL);
	assert_int_equal(gm_dev_accessed(NULL, va, 1, 1), -EINVAL);
	/* The block is hot: the other one goes first, though it came later. */
	choose(u, "density/lru-2m");
	assert_int_equal(gm_advise(u->as, node, va + 2 * BLOCK, 2 * BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_dev_accessed(ctx, va, 8, 1), 0);
	unit_load(u, 0, unit_alloc(u, BLOCK));
	unit_on(u->as, va, BLOCK, node);
	unit_on(u->as, va + BLOCK, BLOCK, GM_NODE_HOST);
	/* Who works on the block is not waited for. */
	choose(u, "density/own");
	own.nr = 0;
	gm_fake_inject(GM_FAKE_TRYLOCK, 0, 1, -EBUSY);
	assert_int_equal(gm_dev_accessed(ctx, va, 8, 1), 0);
	EXPECT();
}

/* ----------------------------------------------------------------- what is remembered */

static uint64_t history_bytes(void)
{
	return gm_history_bytes();
}

/* Nothing until a block is a candidate; it outlasts the pages; it goes with the block. */
static void history(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 8 * BLOCK), one;

	choose(u, "density/own");
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
	choose(u, "density/own");
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
	choose(u, "density/plain");
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

	choose(u, "density/own");
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
	choose(u, "density/s3fifo");
	for (unsigned int i = 0; i < 20; i++) {
		gm_fake_inject(GM_FAKE_ALLOC, i % 3, 2, -ENOMEM);
		unit_fill(u, 0, va + i % 6 * BLOCK, BLOCK, 2);
		gm_fake_inject(GM_FAKE_ALLOC, 0, 0, 0);
	}
	unit_check();
}

/* ------------------------------------------------------------------- built in */

/* Each pair carries a working set twice as large as the device. */
static void every_pair(void **state)
{
	static const char *const moves[] = { "density", "fixed", "stream" };
	static const char *const evicts[] = { "lru-2m", "clock", "s3fifo" };
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 8 * BLOCK);
	char names[64];

	unit_tune(unit_dev(u, 0), 64 << 10, false, true);
	for (unsigned int i = 0; i < 9; i++) {
		snprintf(names, sizeof(names), "%s/%s", moves[i / 3], evicts[i % 3]);
		choose(u, names);
		for (unsigned int round = 0; round < 2; round++) {
			unit_fill(u, 0, va, 8 * BLOCK, i + 1);
			unit_verify(u, 0, va, 8 * BLOCK, i + 1);
			unit_check();
		}
		unit_verify(u, CPU, va + i % 8 * BLOCK, BLOCK, i + 1);
		unit_peek(u->as, va, 8 * BLOCK, i + 1);
	}
}

/* What is used again and again stays while a scan of four times the device passes by. */
static void scan_resistance(void **state)
{
	struct unit *u = *state;
	uint64_t hot = unit_alloc(u, BLOCK), va = unit_alloc(u, 32 * BLOCK), moved[2];
	static const char *const names[] = { "fixed/lru-2m", "fixed/s3fifo" };

	unit_tune(unit_dev(u, 0), 64 << 10, false, true);
	unit_fill(u, CPU, hot, BLOCK, 1);
	unit_fill(u, CPU, va, 32 * BLOCK, 1);
	for (unsigned int i = 0; i < 2; i++) {
		struct gm_stats s, t;

		choose(u, names[i]);
		assert_int_equal(gm_advise(u->as, GM_NODE_HOST, hot, BLOCK, GM_PREFETCH), 0);
		for (unsigned int k = 0; k < 4; k++)
			unit_verify(u, 0, hot, k ? BLOCK : PAGE, 1);
		s = unit_dev_stats(unit_dev(u, 0));
		for (unsigned int b = 0; b < 32; b++) {
			unit_verify(u, 0, va + b * BLOCK, BLOCK, 1);
			unit_verify(u, 0, hot, BLOCK, 1);
		}
		t = unit_dev_stats(unit_dev(u, 0));
		moved[i] = t.pages_to_dev - s.pages_to_dev;
	}
	print_message("moved beside the scan: lru-2m %d, s3fifo %d\n", (int)moved[0] - 32 * 512,
		      (int)moved[1] - 32 * 512);
	assert_true(moved[1] < moved[0]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(by_name),	       TEST(all_names),	      TEST(registering),
		TEST(unregistered),    TEST(failing_start),   TEST(tidings),
		TEST(answers),	       TEST(evicts_nobody),   TEST(parts),
		TEST(parts_that_fail), TEST(pinned_pages),    TEST(accessed_bits),
		TEST(which_pages),     TEST(probing),	      TEST(counters),
		TEST(history),	       TEST(words),	      TEST(no_memory_for_bytes),
		TEST(every_pair),      TEST(scan_resistance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
