// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * From device to device: which have a link, where there is no room, and while devices come and go.
 */
#include <pthread.h>

#include "peer_lib.h"
#include "toy.h"

/* ----------------------------------------------------------------------- links */

/* One of the two has no link: by way of the host, and the link's other users do not notice. */
static void no_link(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	struct gm_sim *third;
	struct gm_sim_ctx *ctx;
	uint64_t before;

	change_second(u, GM_SIM_NO_LINK);
	for (unsigned int round = 0; round < 2; round++) {
		unsigned int from = round, to = !round; /* it is the same for the one that asks */

		put_on(u, from, va, BLOCK, round + 1);
		before = unit_dev_stats(unit_dev(u, from)).pages_to_host;
		unit_verify(u, (int)to, va, BLOCK, round + 1);
		unit_on(u->as, va, BLOCK, unit_node(u, to));
		assert_int_equal(unit_dev_stats(unit_dev(u, from)).pages_to_host, before + 512);
		assert_int_equal(unit_hnode(unit_node(u, from)).free, 4 * BLOCK);
		unit_verify(u, CPU, va, BLOCK, round + 1);
	}
	assert_int_equal(unit_as_stats(u->as).pages_peer, 0);

	/* Of three devices two have one. */
	third = sim_with(0, 3ULL << 32);
	assert_int_equal(gm_sim_attach(third, u->as, &ctx), 0);
	put_on(u, 0, va, 64 * PAGE, 9);
	assert_int_equal(prefetch(u, unit_node(u, 1), va + 20 * PAGE, 10 * PAGE), 0);
	assert_int_equal(prefetch(u, gm_dev_hnode(gm_sim_dev(third)), va, 64 * PAGE), 0);
	unit_on(u->as, va, 64 * PAGE, gm_dev_hnode(gm_sim_dev(third)));
	assert_int_equal(unit_dev_stats(gm_sim_dev(third)).pages_peer, 54);
	assert_int_equal(unit_dev_stats(gm_sim_dev(third)).pages_to_dev, 10);
	unit_peek(u->as, va, 64 * PAGE, 9);
	assert_int_equal(gm_sim_detach(ctx), 0);
	assert_int_equal(gm_sim_destroy(third), 0);
}

/*
 * The link goes in the middle of a move, at once or by the fence, and comes back; and a
 * driver that says so of every copy there is fails, and keeps nothing.
 */
static void link_goes(void **state)
{
	static const enum gm_sim_op ops[] = { GM_SIM_COPY_START, GM_SIM_COPY_FENCE };
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), value;

	for (unsigned int i = 0; i < 2; i++) {
		unit_fill(u, CPU, va, BLOCK, i + 1);
		for (uint64_t page = 512; page-- > 0;) /* extents of a page each: several batches */
			assert_int_equal(prefetch(u, unit_node(u, 0), va + page * PAGE, PAGE), 0);
		gm_sim_inject(u->sim[1], ops[i], 3, 1, -EOPNOTSUPP);
		assert_int_equal(prefetch(u, unit_node(u, 1), va, BLOCK), 0);
		unit_on(u->as, va, BLOCK, unit_node(u, 1));
		assert_int_equal(unit_dev_stats(unit_dev(u, 0)).pages_to_host, 512 * (i + 1));
		assert_int_equal(unit_dev_stats(unit_dev(u, 1)).pages_peer, 0);
		unit_verify(u, 1, va, BLOCK, i + 1);
		unit_verify(u, CPU, va, BLOCK, i + 1);
	}
	put_on(u, 0, va, BLOCK, 3);
	gm_sim_inject(u->sim[1], GM_SIM_COPY_START, 0, UINT32_MAX, -EOPNOTSUPP);
	assert_int_equal(unit_access(u, 1, va, &value, 8, GM_READ), -EOPNOTSUPP);
	unit_on(u->as, va, PAGE, GM_NODE_HOST);
	unit_on(u->as, va + PAGE, BLOCK - PAGE, unit_node(u, 0));
	gm_sim_inject(u->sim[1], GM_SIM_COPY_START, 0, 0, 0);
	unit_peek(u->as, va, BLOCK, 3);
	/* No way home either: it stays. */
	gm_sim_inject(u->sim[1], GM_SIM_COPY_START, 0, 1, -EOPNOTSUPP);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, UINT32_MAX, -EIO);
	assert_int_equal(unit_access(u, 1, va + PAGE, &value, 8, GM_READ), -EIO);
	unit_on(u->as, va + PAGE, PAGE, unit_node(u, 0));
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 0, 0);
	unit_verify(u, 1, va, BLOCK, 3);
	assert_int_equal(unit_dev_stats(unit_dev(u, 1)).pages_peer, 511);
}

static unsigned int one_calls, other_calls;

static int copy_one(struct gm_dev *dev, struct gm_dev *peer, const struct gm_extent *ext,
		    unsigned int n, struct gm_fence *fence)
{
	struct toy *to = gm_dev_data(dev), *from = gm_dev_data(peer);

	one_calls++;
	for (unsigned int i = 0; i < n; i++)
		memcpy(to->memory + (ext[i].pa - to->base),
		       from->memory + (ext[i].host - from->base), ext[i].len);
	gm_fence_signal(fence, 0);
	return 0;
}

static int copy_other(struct gm_dev *dev, struct gm_dev *peer, const struct gm_extent *ext,
		      unsigned int n, struct gm_fence *fence)
{
	(void)dev;
	(void)peer;
	(void)ext;
	(void)n;
	(void)fence;
	other_calls++;
	return -EIO;
}

/* Only devices with the same operation are asked for it: not one without, not one with another. */
static void whose_link(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	static struct toy toy[4];
	struct gm_context *ctx[4];
	uint64_t value;

	for (unsigned int i = 0; i < 4; i++) {
		toy_init(&toy[i], 1);
		toy[i].base += i * BLOCK;
		toy[i].mmu.copy_peer = i < 2 ? copy_one : i == 2 ? copy_other : NULL;
		assert_int_equal(toy_plug(&toy[i]), 0);
		assert_int_equal(gm_as_attach(u->as, toy[i].dev, GM_EXCLUSIVE, &ctx[i]), 0);
	}
	unit_fill(u, CPU, va, BLOCK, 1);
	one_calls = other_calls = 0;
	for (unsigned int from = 0; from < 4; from++) {
		for (unsigned int to = 0; to < 4; to++) {
			unsigned int calls = one_calls;

			if (from == to)
				continue;
			assert_int_equal(prefetch(u, gm_dev_hnode(toy[from].dev), va, BLOCK), 0);
			calls = one_calls;
			assert_int_equal(prefetch(u, gm_dev_hnode(toy[to].dev), va, BLOCK), 0);
			assert_int_equal(one_calls - calls, from < 2 && to < 2);
			assert_int_equal(toy_access(ctx[to], va, &value, 8, GM_READ), 0);
			unit_peek(u->as, va, BLOCK, 1);
		}
	}
	assert_int_equal(other_calls, 0);
	/* A toy and a sim have nothing in common either. */
	unit_verify(u, 1, va, BLOCK, 1);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(gm_as_detach(ctx[i]), 0);
		assert_int_equal(toy_unplug(&toy[i]), 0);
	}
	unit_verify(u, CPU, va, BLOCK, 1);
}

/* ------------------------------------------------------------------------ room */

/* The target is full: its coldest go home, and the source's pages come straight. */
static void target_full(void **state)
{
	struct unit *u = *state;
	uint64_t a = unit_alloc(u, 2 * BLOCK), b = unit_alloc(u, 4 * BLOCK), value;

	put_on(u, 0, a, 2 * BLOCK, 1);
	put_on(u, 1, b, 4 * BLOCK, 2);
	assert_int_equal(prefetch(u, unit_node(u, 1), a, BLOCK), 0);
	unit_on(u->as, a, BLOCK, unit_node(u, 1));
	assert_int_equal(unit_count_on(u->as, b, 4 * BLOCK, GM_NODE_HOST), 512);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).pages_to_host, 0);
	assert_int_equal(unit_dev_stats(unit_dev(u, 1)).pages_peer, 512);

	/* Full of pins: no room, and what the source has it keeps, and uses. */
	assert_int_equal(gm_advise(u->as, unit_node(u, 1), a, BLOCK, GM_PIN), 0);
	assert_int_equal(gm_advise(u->as, unit_node(u, 1), b + BLOCK, 3 * BLOCK, GM_PIN), 0);
	unit_verify(u, 0, a + BLOCK, BLOCK, 1);
	assert_int_equal(unit_access(u, 1, a + BLOCK, &value, 8, GM_READ), -ENOSPC);
	assert_int_equal(prefetch(u, unit_node(u, 1), a + BLOCK, BLOCK), -ENOSPC);
	unit_on(u->as, a + BLOCK, BLOCK, unit_node(u, 0));
	value = unit_dev_stats(unit_dev(u, 0)).dev_faults;
	unit_verify(u, 0, a + BLOCK, BLOCK, 1);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).dev_faults, value);
	unit_peek(u->as, b, 4 * BLOCK, 2);
}

/* A block with pages on both is evicted from the source, and then wanted on the target. */
static void source_evicts(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), more = unit_alloc(u, 4 * BLOCK);

	put_on(u, 0, va, BLOCK, 1);
	for (uint64_t i = 0; i < 512; i += 2)
		unit_verify(u, 1, va + i * PAGE, PAGE, 1);
	assert_int_equal(unit_as_stats(u->as).pages_to_host, 0);
	put_on(u, 0, more, 4 * BLOCK, 2);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, GM_NODE_HOST), 256);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, 1)), 256);
	unit_verify(u, 1, va, BLOCK, 1);
	assert_int_equal(prefetch(u, unit_node(u, 0), va, BLOCK), 0);
	unit_verify(u, 0, va, BLOCK, 1);
	unit_peek(u->as, more, 4 * BLOCK, 2);
}

/* Three full devices, each of whose blocks moves on to the next, round after round. */
static void ring(void **state)
{
	struct unit *u = *state;
	struct gm_sim *sim[3] = { u->sim[0], u->sim[1], sim_with(0, 3ULL << 32) };
	uint64_t va[3], straight = 0;
	struct gm_sim_ctx *ctx;

	assert_int_equal(gm_sim_attach(sim[2], u->as, &ctx), 0);
	for (unsigned int i = 0; i < 3; i++) {
		va[i] = unit_alloc(u, 4 * BLOCK);
		unit_fill(u, CPU, va[i], 4 * BLOCK, i + 1);
		assert_int_equal(prefetch(u, gm_dev_hnode(gm_sim_dev(sim[i])), va[i], 4 * BLOCK),
				 0);
	}
	for (unsigned int round = 1; round < 7; round++) {
		for (unsigned int b = 0; b < 4; b++) {
			for (unsigned int i = 0; i < 3; i++) {
				int to = gm_dev_hnode(gm_sim_dev(sim[(i + round) % 3]));

				assert_int_equal(prefetch(u, to, va[i] + b * BLOCK, BLOCK), 0);
				unit_on(u->as, va[i] + b * BLOCK, BLOCK, to);
			}
			unit_check();
		}
	}
	for (unsigned int i = 0; i < 3; i++) {
		unit_peek(u->as, va[i], 4 * BLOCK, i + 1);
		straight += unit_dev_stats(gm_sim_dev(sim[i])).pages_peer;
	}
	assert_true(straight > 10 * BLOCK / PAGE);
	assert_int_equal(gm_sim_detach(ctx), 0);
	assert_int_equal(gm_sim_destroy(sim[2]), 0);
}

/* At the limit of its account on the target a block makes room at that account's cost, or stays. */
static void account_limit(void **state)
{
	struct unit *u = *state;
	uint32_t percent = 50;
	struct gm_account *acct;
	struct gm_object *obj = unit_object(4 * BLOCK);
	uint64_t a, b = unit_alloc(u, BLOCK), value;
	int to = unit_node(u, 1);

	assert_int_equal(gm_account_create(&percent, &acct), 0);
	gm_object_set_account(obj, acct);
	a = unit_map(u->as, obj, 0, 4 * BLOCK, RW);
	gm_object_put(obj);
	put_on(u, 1, b, BLOCK, 9); /* a neighbour's, and the coldest */
	put_on(u, 0, a, 2 * BLOCK, 1);
	put_on(u, 1, a + 2 * BLOCK, 2 * BLOCK, 2);
	assert_int_equal(gm_account_used(acct, unit_node(u, 0)), 2 * BLOCK);
	assert_int_equal(gm_account_used(acct, to), 2 * BLOCK);

	assert_int_equal(prefetch(u, to, a, BLOCK), 0);
	unit_on(u->as, a, BLOCK, to);
	unit_on(u->as, b, BLOCK, to);
	assert_int_equal(unit_count_on(u->as, a, 4 * BLOCK, GM_NODE_HOST), 512);
	assert_int_equal(gm_account_used(acct, to), 2 * BLOCK);
	assert_int_equal(gm_account_used(acct, unit_node(u, 0)), BLOCK);

	assert_int_equal(gm_advise(u->as, to, a, BLOCK, GM_PIN), 0);
	assert_int_equal(gm_advise(u->as, to, a + 3 * BLOCK, BLOCK, GM_PIN), 0);
	assert_int_equal(prefetch(u, to, a + BLOCK, BLOCK), -ENOSPC);
	assert_int_equal(unit_access(u, 1, a + BLOCK, &value, 8, GM_READ), -ENOSPC);
	unit_on(u->as, a + BLOCK, BLOCK, unit_node(u, 0));
	assert_int_equal(gm_account_used(acct, unit_node(u, 0)), BLOCK);
	unit_peek(u->as, a, 2 * BLOCK, 1);
	unit_unmap(u->as, a, 4 * BLOCK);
	assert_int_equal(gm_account_used(acct, to) + gm_account_used(acct, unit_node(u, 0)), 0);
	gm_account_destroy(acct);
}

/* ------------------------------------------------------------------ who comes, goes */

/* The source goes when it has nothing left; the target, when its pages went on. */
static void devices_go(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);

	put_on(u, 0, va, 2 * BLOCK, 1);
	assert_int_equal(prefetch(u, unit_node(u, 1), va, 2 * BLOCK), 0);
	assert_int_equal(gm_sim_detach(u->ctx[0]), 0);
	assert_int_equal(gm_sim_destroy(u->sim[0]), 0);
	unit_verify(u, 1, va, 2 * BLOCK, 1);
	u->sim[0] = unit_sim(4, 0);
	assert_int_equal(gm_sim_attach(u->sim[0], u->as, &u->ctx[0]), 0);
	unit_verify(u, 0, va, 2 * BLOCK, 1);
	assert_int_equal(gm_sim_detach(u->ctx[1]), 0);
	assert_int_equal(gm_sim_destroy(u->sim[1]), 0);
	u->sim[1] = NULL;
	unit_on(u->as, va, 2 * BLOCK, unit_node(u, 0));
	unit_verify(u, CPU, va, 2 * BLOCK, 1);
}

struct worker {
	struct unit *u;
	uint64_t va;
	unsigned int failures;
};

/* Moves its blocks from the one device to the other and back, and looks at the bytes. */
static void *work(void *arg)
{
	struct worker *w = arg;

	for (unsigned int i = 0; i < 40; i++) {
		int err = prefetch(w->u, unit_node(w->u, i % 2), w->va, 2 * BLOCK);

		w->failures += err && err != -EBUSY;
		for (uint64_t off = 0; off < 2 * BLOCK; off += 64 * PAGE) {
			uint64_t v = 0;

			err = gm_copy(GM_NODE_NONE, NULL, (uintptr_t)&v, w->u->as, w->va + off, 8);
			w->failures += err || v != w->va + off;
		}
	}
	return NULL;
}

/* Opposite ways at once, on devices without room for all. */
static void crossing(void **state)
{
	struct unit *u = *state;
	struct worker w[3];
	pthread_t thread[3];

	gm_fake_set_threaded(true);
	for (unsigned int i = 0; i < 3; i++) {
		w[i] = (struct worker){ .u = u, .va = unit_alloc(u, 2 * BLOCK) };
		for (uint64_t off = 0; off < 2 * BLOCK; off += 64 * PAGE)
			unit_store(u, CPU, w[i].va + off, w[i].va + off);
	}
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, work, &w[i]), 0);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(thread[i], NULL), 0);
		assert_int_equal(w[i].failures, 0);
	}
	gm_fake_set_threaded(false);
	assert_true(unit_as_stats(u->as).pages_peer > 0);
	copies(u, 0);
	copies(u, 1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, unit_setup, unit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(no_link),	     TEST(link_goes),	  TEST(whose_link),
		TEST(target_full),   TEST(source_evicts), TEST(ring),
		TEST(account_limit), TEST(devices_go),	  TEST(crossing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
