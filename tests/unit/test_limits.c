// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Limits of device memory: of an address space, and of a device. Never above, not even for a
 * moment, but where a limit was lowered; room at an address space's limit is made at its own
 * cost. The devices have 4 blocks each.
 */
#include <pthread.h>

#include "unit.h"

#include "core/core.h"

#define RW (GM_READ | GM_WRITE)

static uint64_t used(struct gm_as *as, struct gm_dev *dev)
{
	return as->account->charge[dev->index].used * PAGE;
}

static uint64_t in_use(struct unit *u, unsigned int dev)
{
	struct gm_hnode_info info = unit_hnode(unit_node(u, dev));

	return info.total - info.free;
}

/* A second address space, with the first device. */
static struct gm_as *neighbour(struct unit *u, struct gm_sim_ctx **ctx)
{
	struct gm_as *as;

	assert_int_equal(gm_as_create(NULL, &as), 0);
	assert_int_equal(gm_sim_attach(u->sim[0], as, ctx), 0);
	return as;
}

static int tune(struct unit *u, unsigned int dev, uint64_t limit)
{
	struct gm_dev_tunables t = {
		.size = sizeof(t), .granule = PAGE, .no_grow = 1, .no_background = 1, .limit = limit
	};

	return gm_dev_tune(unit_dev(u, dev), &t);
}

/* ------------------------------------------------------------------ at every moment */

static struct {
	struct gm_charge *charge;
	struct gm_hnode *hnode;
	uint64_t max; /* frames */
} watch;

static void look(enum gm_fake_event event, void *arg)
{
	(void)event;
	(void)arg;
	if (watch.charge)
		assert_true(watch.charge->used <= watch.max);
	if (watch.hnode)
		assert_true(watch.hnode->total - watch.hnode->free <= watch.max);
}

/* ----------------------------------------------------------- an address space's limit */

static void at_its_own_cost(void **state)
{
	struct unit *u = *state;
	struct gm_sim_ctx *ctx;
	struct gm_as *other = neighbour(u, &ctx);
	uint64_t a = unit_alloc(u, 3 * BLOCK), value = 7;
	void *b;

	assert_int_equal(gm_alloc(other, BLOCK, 0, &b), 0);
	for (uint64_t off = 0; off < BLOCK; off += PAGE)
		assert_int_equal(gm_sim_access(ctx, (char *)b + off, &value, 8, GM_WRITE), 0);
	assert_int_equal(gm_as_limit(u->as, unit_node(u, 0), BLOCK), 0);
	watch.charge = &u->as->account->charge[unit_dev(u, 0)->index];
	watch.max = BLOCK / PAGE;
	gm_fake_on_lock(look, NULL);
	unit_fill(u, 0, a, 3 * BLOCK, 1);
	unit_verify(u, 0, a, 3 * BLOCK, 1);
	gm_fake_on_lock(NULL, NULL);
	watch.charge = NULL;
	assert_int_equal(used(u->as, unit_dev(u, 0)), BLOCK);
	/* The neighbour, coldest of all, has lost nothing; nor is the limit another device's. */
	unit_on(other, (uintptr_t)b, BLOCK, unit_node(u, 0));
	assert_int_equal(used(other, unit_dev(u, 0)), BLOCK);
	unit_fill(u, 1, a, 3 * BLOCK, 2);
	assert_int_equal(used(u->as, unit_dev(u, 1)), 3 * BLOCK);
	/* No limit any more. */
	assert_int_equal(gm_as_limit(u->as, unit_node(u, 0), 0), 0);
	unit_verify(u, 0, a, 3 * BLOCK, 2);
	assert_int_equal(used(u->as, unit_dev(u, 0)), 3 * BLOCK);
	unit_check();
	assert_int_equal(gm_as_destroy(other), 0);
}

/* The limit is lifted in the middle of a fault, after the @at-th spinlock it lets go. */
static struct {
	struct unit *u;
	unsigned int at, spun;
	pthread_t thread;
} lift;

static void *lift_limit(void *arg)
{
	(void)arg;
	assert_int_equal(gm_as_limit(lift.u->as, unit_node(lift.u, 0), 0), 0);
	return NULL;
}

static void on_spun(enum gm_fake_event event, void *arg)
{
	pthread_t t;

	(void)arg;
	if (!pthread_equal(pthread_self(), lift.thread) || event != GM_FAKE_SPUN ||
	    ++lift.spun != lift.at)
		return;
	assert_int_equal(pthread_create(&t, NULL, lift_limit, NULL), 0);
	pthread_join(t, NULL);
}

/*
 * Who was kept from a frame by a limit, and finds room below it when looking for a victim, as when
 * another lane has given a frame back: he gets no error, and no neighbour loses a block, be it
 * the device's coldest.
 */
static void room_by_now(void **state)
{
	struct unit *u = *state;
	struct gm_sim_ctx *ctx;
	struct gm_as *other = neighbour(u, &ctx);
	uint64_t a = unit_alloc(u, 2 * BLOCK), value = 7;
	void *b;

	gm_fake_set_threaded(true);
	lift.u = u;
	lift.thread = pthread_self();
	assert_int_equal(gm_alloc(other, BLOCK, 0, &b), 0);
	assert_int_equal(gm_sim_access(ctx, b, &value, 8, GM_WRITE), 0);
	for (lift.at = 1, lift.spun = 1; lift.spun >= lift.at; lift.at++) {
		unit_store(u, CPU, a + BLOCK, lift.at);
		assert_int_equal(gm_as_limit(u->as, unit_node(u, 0), PAGE), 0);
		unit_store(u, 0, a, lift.at);
		assert_int_equal(used(u->as, unit_dev(u, 0)), PAGE);
		lift.spun = 0;
		gm_fake_on_lock(on_spun, NULL);
		unit_store(u, 0, a + BLOCK, lift.at);
		gm_fake_on_lock(NULL, NULL);
		unit_on(other, (uintptr_t)b, PAGE, unit_node(u, 0));
		assert_int_equal(unit_load(u, CPU, a + BLOCK), lift.at);
	}
	assert_true(lift.at > 4);
	gm_fake_set_threaded(false);
	assert_int_equal(gm_as_destroy(other), 0);
}

/* All that it may have is pinned: an error at once, though the device is empty. */
static void nothing_to_evict(void **state)
{
	struct unit *u = *state;
	uint64_t a = unit_alloc(u, 2 * BLOCK), value = 1;

	unit_fill(u, CPU, a, 2 * BLOCK, 1);
	assert_int_equal(gm_as_limit(u->as, unit_node(u, 0), 5 * PAGE), 0);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), a, 5 * PAGE, GM_PIN), 0);
	assert_int_equal(unit_access(u, 0, a + BLOCK, &value, 8, GM_WRITE), -ENOSPC);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), a, 6 * PAGE, GM_PIN), -ENOSPC);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), a, PAGE, GM_UNPIN), 0);
	unit_store(u, 0, a + BLOCK, 2);
	assert_int_equal(unit_load(u, CPU, a + BLOCK), 2);
	unit_verify(u, CPU, a, BLOCK, 1);
	/* Less than a block, and then a page: it works all the same. */
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), a, BLOCK, GM_UNPIN), 0);
	assert_int_equal(gm_as_limit(u->as, unit_node(u, 0), PAGE), 0);
	unit_fill(u, 0, a, BLOCK, 2);
	assert_int_equal(used(u->as, unit_dev(u, 0)), PAGE);
	unit_verify(u, CPU, a, BLOCK, 2);
}

static void lowered(void **state)
{
	struct unit *u = *state;
	uint64_t a = unit_alloc(u, 4 * BLOCK);

	unit_fill(u, CPU, a, 4 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), a, 4 * BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_advise(u->as, 0, a, BLOCK, GM_WILLNEED), 0);
	assert_int_equal(gm_as_limit(u->as, unit_node(u, 0), 2 * BLOCK), 0);
	assert_int_equal(used(u->as, unit_dev(u, 0)), 2 * BLOCK);
	unit_on(u->as, a, BLOCK, unit_node(u, 0)); /* the hottest stays */
	unit_on(u->as, a + BLOCK, BLOCK, GM_NODE_HOST);
	/* As far as it may be: what is pinned stays. */
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), a, 9 * PAGE, GM_PIN), 0);
	assert_int_equal(gm_as_limit(u->as, unit_node(u, 0), 4 * PAGE), 0);
	assert_int_equal(used(u->as, unit_dev(u, 0)), 9 * PAGE);
	/* A device that fails to give back: later. */
	assert_int_equal(gm_advise(u->as, 0, a, BLOCK, GM_UNPIN), 0);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, UINT32_MAX, -EIO);
	assert_int_equal(gm_as_limit(u->as, unit_node(u, 0), 4 * PAGE), 0);
	assert_int_equal(used(u->as, unit_dev(u, 0)), 9 * PAGE);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 0, 0);
	unit_fill(u, 0, a + BLOCK, 10 * PAGE, 1);
	assert_true(used(u->as, unit_dev(u, 0)) <= 4 * PAGE);
	unit_verify(u, CPU, a, 4 * BLOCK, 1);
}

/* What several have mapped counts for the first, for as long as there is one. */
static void shared(void **state)
{
	struct unit *u = *state;
	struct gm_sim_ctx *ctx;
	struct gm_as *first = neighbour(u, &ctx);
	struct gm_object *obj = unit_object(2 * BLOCK);
	uint64_t theirs = unit_map(first, obj, 0, 2 * BLOCK, RW);
	uint64_t ours = unit_map(u->as, obj, 0, 2 * BLOCK, RW);

	unit_fill(u, 0, ours, BLOCK, 1);
	assert_int_equal(used(first, unit_dev(u, 0)), BLOCK);
	assert_int_equal(used(u->as, unit_dev(u, 0)), 0);
	assert_int_equal(gm_as_limit(u->as, unit_node(u, 0), PAGE), 0);
	unit_fill(u, 0, ours, 2 * BLOCK, 1);
	assert_int_equal(used(first, unit_dev(u, 0)), 2 * BLOCK);
	assert_int_equal(gm_as_limit(first, unit_node(u, 0), BLOCK), 0);
	assert_int_equal(used(first, unit_dev(u, 0)), BLOCK);
	unit_unmap(first, theirs, 2 * BLOCK);
	unit_fill(u, 0, ours, 2 * BLOCK, 2);
	assert_int_equal(used(first, unit_dev(u, 0)), BLOCK);
	/* The first goes, and its limit with it. */
	assert_int_equal(gm_as_destroy(first), 0);
	unit_fill(u, 0, ours, 2 * BLOCK, 3);
	unit_on(u->as, ours, 2 * BLOCK, unit_node(u, 0));
	assert_int_equal(used(u->as, unit_dev(u, 0)), 0);
	unit_check();
	unit_unmap(u->as, ours, 2 * BLOCK);
	gm_object_put(obj);
}

/* A limit is one device's, not that of the next with its node. */
static void ends_with_the_device(void **state)
{
	struct unit *u = *state;
	uint64_t a = unit_alloc(u, BLOCK);
	int node = unit_node(u, 1);

	assert_int_equal(gm_as_limit(u->as, node, PAGE), 0);
	unit_fill(u, 1, a, BLOCK, 1);
	assert_int_equal(used(u->as, unit_dev(u, 1)), PAGE);
	assert_int_equal(gm_sim_detach(u->ctx[1]), 0);
	assert_int_equal(gm_sim_destroy(u->sim[1]), 0);
	assert_int_equal(gm_as_limit(u->as, node, PAGE), -ENODEV);
	u->sim[1] = unit_sim(4, 1);
	assert_int_equal(unit_node(u, 1), node);
	assert_int_equal(gm_sim_attach(u->sim[1], u->as, &u->ctx[1]), 0);
	unit_verify(u, 1, a, BLOCK, 1);
	assert_int_equal(used(u->as, unit_dev(u, 1)), BLOCK);
}

/* Both an account of its maker's and the address space's: the smaller counts, either way. */
static void of_two(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(4 * BLOCK);
	struct gm_account *maker;
	uint32_t percent = 25; /* one block */
	uint64_t va, mine = unit_alloc(u, 2 * BLOCK);

	assert_int_equal(gm_account_create(&percent, &maker), 0);
	gm_object_set_account(obj, maker);
	va = unit_map(u->as, obj, 0, 4 * BLOCK, RW);
	gm_object_put(obj);
	assert_int_equal(gm_as_limit(u->as, unit_node(u, 0), 2 * BLOCK), 0);
	unit_fill(u, 0, mine, 2 * BLOCK, 1);
	unit_fill(u, 0, va, 4 * BLOCK, 1); /* evicts ours for its first, its own for the rest */
	assert_int_equal(gm_account_used(maker, unit_node(u, 0)), BLOCK);
	assert_int_equal(used(u->as, unit_dev(u, 0)), 2 * BLOCK);
	assert_int_equal(unit_count_on(u->as, mine, 2 * BLOCK, unit_node(u, 0)), BLOCK / PAGE);
	unit_check();
	percent = 100;
	unit_fill(u, 0, va, 4 * BLOCK, 2);
	assert_true(gm_account_used(maker, unit_node(u, 0)) <= 2 * BLOCK);
	assert_true(used(u->as, unit_dev(u, 0)) <= 2 * BLOCK);
	unit_verify(u, 0, va, 4 * BLOCK, 2);
	unit_verify(u, 0, mine, 2 * BLOCK, 1);
	unit_check();
	unit_unmap(u->as, va, 4 * BLOCK);
	gm_account_destroy(maker);
}

static void bad_input(void **state)
{
	struct unit *u = *state;
	int node = unit_node(u, 0);

	assert_int_equal(gm_as_limit(NULL, node, PAGE), -EINVAL);
	assert_int_equal(gm_as_limit(u->as, node, PAGE + 1), -EINVAL);
	assert_int_equal(gm_as_limit(u->as, node, 1), -EINVAL);
	assert_int_equal(gm_as_limit(u->as, node + 2, PAGE), -ENODEV);
	assert_int_equal(gm_as_limit(u->as, node + 100, PAGE), -ENODEV);
	assert_int_equal(gm_as_limit(u->as, GM_NODE_HOST, PAGE), -ENODEV);
	assert_int_equal(gm_as_limit(u->as, node, 1ULL << 60), 0);
	assert_int_equal(tune(u, 0, 5), -EINVAL);
	assert_int_equal(unit_hnode(node).limit, 4 * BLOCK);
	gm_fake_inject(GM_FAKE_ALLOC, 1, 1, -ENOMEM); /* the second: the account's */
	assert_int_equal(gm_as_create(NULL, &(struct gm_as *){ NULL }), -ENOMEM);
}

/* ------------------------------------------------------------------- a device's limit */

static void of_a_device(void **state)
{
	struct unit *u = *state;
	uint64_t a = unit_alloc(u, 4 * BLOCK), value = 1;

	assert_int_equal(unit_hnode(unit_node(u, 0)).limit, 4 * BLOCK);
	assert_int_equal(tune(u, 0, 2 * BLOCK), 0);
	assert_int_equal(unit_hnode(unit_node(u, 0)).limit, 2 * BLOCK);
	assert_int_equal(unit_hnode(unit_node(u, 0)).total, 4 * BLOCK);
	watch.hnode = &unit_dev(u, 0)->hnode;
	watch.max = 2 * BLOCK / PAGE;
	gm_fake_on_lock(look, NULL);
	unit_fill(u, 0, a, 4 * BLOCK, 1);
	gm_fake_on_lock(NULL, NULL);
	watch.hnode = NULL;
	assert_int_equal(in_use(u, 0), 2 * BLOCK);
	unit_verify(u, CPU, a, BLOCK, 1);
	/* Full, though not of memory. */
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), a, 2 * BLOCK, GM_PIN), 0);
	assert_int_equal(unit_access(u, 0, a + 3 * BLOCK, &value, 8, GM_WRITE), -ENOSPC);
	assert_int_equal(tune(u, 0, 2 * BLOCK + PAGE), 0);
	unit_store(u, 0, a + 3 * BLOCK, value);
	assert_int_equal(in_use(u, 0), 2 * BLOCK + PAGE);
	/* Lowered: down to it, but for what is pinned. */
	assert_int_equal(tune(u, 0, BLOCK), 0);
	assert_int_equal(in_use(u, 0), 2 * BLOCK);
	assert_int_equal(gm_advise(u->as, 0, a, 2 * BLOCK, GM_UNPIN), 0);
	assert_int_equal(tune(u, 0, BLOCK), 0);
	assert_int_equal(in_use(u, 0), BLOCK);
	assert_int_equal(tune(u, 0, PAGE), 0);
	assert_int_equal(in_use(u, 0), 0);
	unit_verify(u, 0, a, BLOCK, 1);
	/* More than there is: all; and all again. */
	assert_int_equal(tune(u, 0, 100 * BLOCK), 0);
	assert_int_equal(unit_hnode(unit_node(u, 0)).limit, 4 * BLOCK);
	assert_int_equal(tune(u, 0, 0), 0);
	unit_verify(u, 0, a, 3 * BLOCK, 1);
	assert_int_equal(in_use(u, 0), 3 * BLOCK);
}

/* Ahead of need: the watermarks are those of what may be used. */
static void background(void **state)
{
	struct unit *u = *state;
	struct gm_dev_tunables t = { .size = sizeof(t), .granule = PAGE, .no_grow = 1 };
	uint64_t a = unit_alloc(u, 3 * BLOCK);

	t.limit = 2 * BLOCK;
	t.low = 100 * PAGE;
	t.high = 600 * PAGE;
	assert_int_equal(gm_dev_tune(unit_dev(u, 0), &t), 0);
	unit_fill(u, 0, a, 2 * BLOCK - 50 * PAGE, 1);
	assert_int_equal(in_use(u, 0), 2 * BLOCK - 50 * PAGE);
	assert_int_equal(gm_fake_run_work(), 1);
	assert_true(in_use(u, 0) <= 2 * BLOCK - 512 * PAGE);
	unit_verify(u, CPU, a, 2 * BLOCK - 50 * PAGE, 1);
}

/* ----------------------------------------------------------------------- several threads */

struct runner {
	struct unit *u;
	uint64_t va;
	int dev;
};

static void *run(void *arg)
{
	struct runner *r = arg;

	for (unsigned int i = 0; i < 60; i++) {
		uint64_t v = i, va = r->va + i * 67 % 1536 * PAGE;
		int err = unit_access(r->u, r->dev, va, &v, 8, GM_WRITE);

		/* The limit comes and goes; between others' frames in hand there may be no room. */
		if (err && err != -EBUSY && err != -ENOSPC)
			abort();
	}
	return NULL;
}

static void limits_change_under_load(void **state)
{
	struct unit *u = *state;
	struct runner r[2];
	pthread_t t[2];

	gm_fake_set_threaded(true);
	for (int i = 0; i < 2; i++)
		r[i] = (struct runner){ u, unit_alloc(u, 3 * BLOCK), i };
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, run, &r[i]), 0);
	for (unsigned int i = 0; i < 40; i++) {
		assert_int_equal(gm_as_limit(u->as, unit_node(u, i % 2), i % 3 * 16 * PAGE), 0);
		assert_int_equal(tune(u, i % 2, i % 5 * 32 * PAGE), 0);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(tune(u, i, BLOCK), 0);
		assert_int_equal(gm_as_limit(u->as, unit_node(u, i), 8 * PAGE), 0);
		assert_true(used(u->as, unit_dev(u, i)) <= 8 * PAGE);
	}
	gm_fake_set_threaded(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, unit_setup, unit_teardown)
		TEST(at_its_own_cost),
		TEST(room_by_now),
		TEST(nothing_to_evict),
		TEST(lowered),
		TEST(shared),
		TEST(ends_with_the_device),
		TEST(of_two),
		TEST(bad_input),
		TEST(of_a_device),
		TEST(background),
		TEST(limits_change_under_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
