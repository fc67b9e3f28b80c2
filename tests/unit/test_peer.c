// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * From device to device: straight where there is a link, by way of the host where not; and
 * wherever it fails, the page is where it was, with its bytes.
 */
#include <pthread.h>

#include "unit.h"

#include "core/core.h"
#include "toy.h"

#define RW (GM_READ | GM_WRITE)

static int prefetch(struct unit *u, int node, uint64_t va, uint64_t len)
{
	return gm_advise(u->as, node, va, len, GM_PREFETCH);
}

/* All of [va, va+len) on device number @dev, of @tag. */
static void put_on(struct unit *u, unsigned int dev, uint64_t va, uint64_t len, uint64_t tag)
{
	unit_fill(u, CPU, va, len, tag);
	assert_int_equal(prefetch(u, unit_node(u, dev), va, len), 0);
}

static uint64_t copies(struct unit *u, unsigned int dev)
{
	struct gm_sim_stats s = { .size = sizeof(s) };

	gm_sim_stats(u->sim[dev], &s);
	assert_int_equal(s.stale, 0);
	return s.copies;
}

static struct gm_sim *sim_with(uint32_t flags, uint64_t base)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = 4 * BLOCK,
				      .base = base,
				      .lanes = 1,
				      .flags = GM_SIM_SYNC_FAULTS | GM_SIM_CHECK | flags };
	struct gm_sim *sim;

	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	unit_tune(gm_sim_dev(sim), PAGE, true, true);
	return sim;
}

/* Instead of device 1, one of these options. */
static void change_second(struct unit *u, uint32_t flags)
{
	assert_int_equal(gm_sim_detach(u->ctx[1]), 0);
	assert_int_equal(gm_sim_destroy(u->sim[1]), 0);
	u->sim[1] = sim_with(flags, 2ULL << 32);
	assert_int_equal(gm_sim_attach(u->sim[1], u->as, &u->ctx[1]), 0);
}

/* ------------------------------------------------------------------ what moves */

static void straight(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK), retained, before;
	struct gm_stats a, b, as;

	put_on(u, 0, va, 2 * BLOCK, 1);
	retained = gm_retained_bytes();
	assert_int_equal(retained, 2 * BLOCK);
	before = copies(u, 0);
	assert_int_equal(prefetch(u, unit_node(u, 1), va, 2 * BLOCK), 0);
	unit_on(u->as, va, 2 * BLOCK, unit_node(u, 1));
	unit_peek(u->as, va, 2 * BLOCK, 1);
	assert_int_equal(copies(u, 0), before); /* it had nothing to do with it */
	a = unit_dev_stats(unit_dev(u, 0));
	b = unit_dev_stats(unit_dev(u, 1));
	as = unit_as_stats(u->as);
	assert_int_equal(a.pages_to_host, 0);
	assert_int_equal(a.pages_peer, 0);
	assert_int_equal(b.pages_to_dev, 0);
	assert_int_equal(b.pages_zeroed, 0);
	assert_int_equal(b.pages_peer, 2 * BLOCK / PAGE);
	assert_int_equal(b.pages_prefetched, 2 * BLOCK / PAGE);
	assert_int_equal(as.pages_peer, 2 * BLOCK / PAGE);
	assert_int_equal(as.bytes_to_dev, 2 * BLOCK);
	assert_int_equal(unit_hnode(unit_node(u, 0)).free, 4 * BLOCK);
	assert_int_equal(unit_hnode(unit_node(u, 0)).blocks, 0);
	assert_int_equal(unit_hnode(unit_node(u, 1)).free, 2 * BLOCK);

	/* The host frames are kept still, and still stale. */
	assert_int_equal(gm_retained_bytes(), retained);
	assert_true(unit_info(u->as, va).flags & GM_PAGE_RETAINED);
	unit_fill(u, 1, va, 2 * BLOCK, 2);
	assert_int_equal(unit_dev_stats(unit_dev(u, 1)).dev_faults, 0);
	unit_verify(u, CPU, va, 2 * BLOCK, 2);
	assert_int_equal(gm_retained_bytes(), 0);
}

/* A page at a time, mapped at two addresses: leaves of the source are cut, nothing comes home. */
static void by_fault(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t va = unit_map(u->as, obj, 0, BLOCK, RW);
	uint64_t alias = unit_map(u->as, obj, 0, BLOCK, RW), moved;

	gm_fake_set_no_in_place(true); /* what goes there and back moves */
	gm_object_put(obj);
	put_on(u, 0, va, BLOCK, 1);
	unit_load(u, 0, va);
	unit_load(u, 0, alias);
	for (uint64_t i = 0; i < 100; i++) {
		uint64_t off = i * 37 % 512 * PAGE;
		int who = (int)i % 2;

		unit_store(u, who, va + off, i);
		assert_int_equal(unit_load(u, !who, alias + off), i);
		unit_store(u, !who, alias + off, i + 1000);
		assert_int_equal(unit_load(u, who, va + off), i + 1000);
		unit_on(u->as, va + off, PAGE, unit_node(u, (unsigned int)who));
		unit_check();
	}
	/* What was not touched did not move, and is mapped. */
	moved = unit_dev_stats(unit_dev(u, 0)).dev_faults_moved;
	unit_load(u, 0, va + 300 * PAGE);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).dev_faults_moved, moved);
	assert_int_equal(unit_as_stats(u->as).pages_to_host, 0);
	assert_true(unit_as_stats(u->as).pages_peer >= 200);
}

/* Pages of a block from everywhere become one extent; each is counted for what it was. */
static void mixed(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	struct gm_lookup at = { .size = sizeof(at) }, behind = { .size = sizeof(behind) };
	struct gm_sim *third = sim_with(0, 3ULL << 32);
	struct gm_sim_ctx *ctx;
	struct gm_stats s;

	assert_int_equal(gm_sim_attach(third, u->as, &ctx), 0);
	unit_fill(u, CPU, va, 304 * PAGE, 1); /* behind these: nothing */
	assert_int_equal(prefetch(u, unit_node(u, 0), va, 192 * PAGE), 0);
	for (uint64_t i = 3; i < 192; i += 4)
		assert_int_equal(prefetch(u, gm_dev_hnode(gm_sim_dev(third)), va + i * PAGE, PAGE),
				 0);
	unit_verify(u, CPU, va + 16 * PAGE, 16 * PAGE, 1);
	assert_int_equal(prefetch(u, unit_node(u, 1), va, BLOCK), 0);
	unit_on(u->as, va, BLOCK, unit_node(u, 1));
	unit_peek(u->as, va, 304 * PAGE, 1);
	unit_peek(u->as, va + 304 * PAGE, 208 * PAGE, 0);
	s = unit_dev_stats(unit_dev(u, 1));
	assert_int_equal(s.pages_peer, 192 - 16);
	assert_int_equal(s.pages_to_dev, 304 - 192 + 16);
	assert_int_equal(s.pages_zeroed, 208);
	assert_int_equal(gm_as_lookup(u->as, va, &at), 0);
	assert_int_equal(gm_as_lookup(u->as, va + 511 * PAGE, &behind), 0);
	assert_int_equal(behind.pa - at.pa, 511 * PAGE);
	assert_int_equal(unit_hnode(gm_dev_hnode(gm_sim_dev(third))).blocks, 0);
	assert_int_equal(gm_sim_detach(ctx), 0);
	assert_int_equal(gm_sim_destroy(third), 0);
	unit_verify(u, CPU, va, 304 * PAGE, 1);
}

/* A pinned page stays pinned: on the one device, then on the other. */
static void pins_travel(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(prefetch(u, unit_node(u, 0), va, BLOCK), 0);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va + 7 * PAGE, 5 * PAGE, GM_PIN), 0);
	assert_int_equal(prefetch(u, unit_node(u, 1), va, BLOCK), 0);
	assert_int_equal(unit_hnode(unit_node(u, 0)).pinned, 0);
	assert_int_equal(unit_hnode(unit_node(u, 1)).pinned, 5 * PAGE);
	for (uint64_t i = 0; i < 512; i++)
		assert_int_equal(!!(unit_info(u->as, va + i * PAGE).flags & GM_PAGE_PINNED),
				 i >= 7 && i < 12);
	unit_verify(u, 0, va + 9 * PAGE, PAGE, 1);
	assert_int_equal(unit_hnode(unit_node(u, 0)).pinned, PAGE);
	assert_int_equal(gm_advise(u->as, 0, va, BLOCK, GM_UNPIN), 0);
	assert_int_equal(unit_hnode(unit_node(u, 0)).pinned, 0);
	assert_int_equal(unit_hnode(unit_node(u, 1)).pinned, 0);
	assert_int_equal(unit_as_stats(u->as).pages_to_host, 0);
}

/* Objects of huge pages of the host's move straight too, in parts as well. */
static void huge_object(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj;
	uint64_t va;

	assert_int_equal(gm_object_create(2 * BLOCK, GM_OBJECT_HUGETLB, &obj), 0);
	va = unit_map(u->as, obj, 0, 2 * BLOCK, RW);
	gm_object_put(obj);
	put_on(u, 0, va, 2 * BLOCK, 1);
	unit_verify(u, 1, va + 5 * PAGE, PAGE, 1);
	assert_int_equal(prefetch(u, unit_node(u, 1), va + BLOCK, BLOCK), 0);
	assert_int_equal(unit_as_stats(u->as).pages_to_host, 0);
	unit_verify(u, CPU, va, 2 * BLOCK, 1);
}

/* ------------------------------------------------------------------ what fails */

/*
 * Each operation of either device fails in turn, and the page is where it was; the other
 * device's pages of the same block do not notice.
 */
static void steps_fail(void **state)
{
	static const struct step {
		unsigned int dev;
		enum gm_sim_op op;
		bool moved; /* too late to stop it */
	} steps[] = {
		{ 0, GM_SIM_PMAP_RELEASE, false }, { 0, GM_SIM_TLB_INVL, false },
		{ 1, GM_SIM_COPY_START, false },   { 1, GM_SIM_COPY_FENCE, false },
		{ 1, GM_SIM_PMAP_ENTER, true },
	};
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), value;

	for (unsigned int i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		const struct step *s = &steps[i];
		int from = unit_node(u, 0), to = unit_node(u, 1);

		put_on(u, 0, va, 64 * PAGE, i + 1);
		unit_verify(u, 0, va, 64 * PAGE, i + 1);
		unit_verify(u, 1, va + 40 * PAGE, PAGE, i + 1);
		gm_sim_inject(u->sim[s->dev], s->op, 0, UINT32_MAX, -EIO);
		assert_int_equal(prefetch(u, to, va, 32 * PAGE), -EIO);
		unit_on(u->as, va, 32 * PAGE, s->moved ? to : from);
		assert_int_equal(unit_access(u, 1, va + 50 * PAGE, &value, 8, GM_READ), -EIO);
		unit_on(u->as, va + 50 * PAGE, PAGE, s->moved ? to : from);
		unit_on(u->as, va + 40 * PAGE, PAGE, to);
		unit_verify(u, 1, va + 40 * PAGE, PAGE, i + 1);
		if (s->dev == 1) /* the source is well, and uses what it has */
			unit_verify(u, 0, va + 60 * PAGE, 4 * PAGE, i + 1);
		unit_check();
		gm_sim_inject(u->sim[s->dev], s->op, 0, 0, 0);
		unit_peek(u->as, va, 64 * PAGE, i + 1);
		if (!s->moved)
			unit_verify(u, 0, va, 32 * PAGE, i + 1);
		unit_verify(u, 1, va, 64 * PAGE, i + 1);
		assert_int_equal(unit_hnode(from).free, 4 * BLOCK);
		unit_verify(u, CPU, va, 64 * PAGE, i + 1);
	}
}

/* The pages of three places are wanted, and one of these devices is dead: the others' are not harmed. */
static void one_is_dead(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	struct gm_sim *third = sim_with(0, 3ULL << 32);
	int node = gm_dev_hnode(gm_sim_dev(third));
	struct gm_sim_ctx *ctx;

	assert_int_equal(gm_sim_attach(third, u->as, &ctx), 0);
	for (unsigned int dead = 0; dead < 2; dead++) {
		struct gm_sim *sim = dead ? third : u->sim[0];

		put_on(u, 0, va, 64 * PAGE, 5 + dead);
		assert_int_equal(prefetch(u, node, va + 10 * PAGE, 20 * PAGE), 0);
		unit_verify(u, CPU, va + 48 * PAGE, PAGE, 5 + dead); /* the last granule is home */
		gm_sim_inject(sim, GM_SIM_TLB_INVL, 0, UINT32_MAX, -EIO);
		assert_int_equal(prefetch(u, unit_node(u, 1), va, 64 * PAGE), -EIO);
		assert_int_equal(unit_count_on(u->as, va, 64 * PAGE, unit_node(u, 0)), 28);
		assert_int_equal(unit_count_on(u->as, va, 64 * PAGE, node), 20);
		assert_int_equal(unit_count_on(u->as, va, 64 * PAGE, GM_NODE_HOST), 16);
		assert_int_equal(unit_hnode(unit_node(u, 1)).free, 4 * BLOCK);
		unit_check();
		/* Page by page, what is not the dead one's can be had. */
		if (dead)
			unit_verify(u, 1, va, 10 * PAGE, 5 + dead);
		else
			unit_verify(u, 1, va + 10 * PAGE, 20 * PAGE, 5 + dead);
		unit_verify(u, 1, va + 48 * PAGE, 16 * PAGE, 5 + dead);
		gm_sim_inject(sim, GM_SIM_TLB_INVL, 0, 0, 0);
		assert_int_equal(prefetch(u, unit_node(u, 1), va, 64 * PAGE), 0);
		unit_verify(u, 1, va, 64 * PAGE, 5 + dead);
		unit_verify(u, CPU, va, 64 * PAGE, 5 + dead);
	}
	assert_int_equal(gm_sim_detach(ctx), 0);
	assert_int_equal(gm_sim_destroy(third), 0);
}

/* Every call of the host's that may fail on the way does so once: of a core of its own each. */
static void host_steps_fail(void **state)
{
	unsigned int failed = 0, n = 0;
	bool injected;

	(void)state;
	do {
		struct unit *u;
		void *own;
		uint64_t va;

		unit_setup(&own);
		u = own;
		va = unit_alloc(u, BLOCK);
		assert_int_equal(prefetch(u, unit_node(u, 0), va, BLOCK), 0);
		unit_store(u, 0, va + 3 * PAGE, 7);
		gm_fake_inject_nth(++n);
		failed += prefetch(u, unit_node(u, 1), va + 3 * PAGE, 64 * PAGE) != 0;
		injected = gm_fake_injected() > 0;
		gm_fake_inject_clear();
		unit_check();
		assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, 0)) +
					 unit_count_on(u->as, va, BLOCK, unit_node(u, 1)),
				 512);
		assert_int_equal(unit_load(u, 0, va + 3 * PAGE), 7);
		assert_int_equal(prefetch(u, unit_node(u, 1), va, BLOCK), 0);
		assert_int_equal(unit_load(u, 1, va + 3 * PAGE), 7);
		assert_int_equal(unit_as_stats(u->as).pages_to_host, 0);
		unit_teardown(&own);
	} while (injected);
	print_message("%u calls, %u failed\n", n - 1, failed);
	assert_true(failed > 0);
}

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

/* ------------------------------------------------------------- apertures, events */

/* The source's memory is the CPU's too: its mapping goes first, and a page that is held stays. */
static void out_of_an_aperture(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), value;
	struct gm_lookup at = { .size = sizeof(at) };

	change_second(u, GM_SIM_APERTURE);
	put_on(u, 1, va, BLOCK, 1);
	unit_verify(u, CPU, va, 64 * PAGE, 1);
	unit_on(u->as, va, BLOCK, unit_node(u, 1));
	assert_true(gm_fake_page(u->as, va) & GM_FAKE_APERTURE);
	unit_verify(u, 0, va, PAGE, 1);
	assert_int_equal(gm_fake_page(u->as, va) & GM_FAKE_MAPPED, 0);
	assert_true(gm_fake_page(u->as, va + PAGE) & GM_FAKE_APERTURE);

	assert_int_equal(gm_as_lookup(u->as, va + 5 * PAGE, &at), 0);
	gm_fake_hold((void *)(uintptr_t)at.cpu, true);
	assert_int_equal(prefetch(u, unit_node(u, 0), va, BLOCK), -EBUSY);
	unit_on(u->as, va + PAGE, BLOCK - PAGE, unit_node(u, 1));
	gm_fake_hold((void *)(uintptr_t)at.cpu, false);
	gm_fake_inject(GM_FAKE_CPU_REVOKE, 0, UINT32_MAX, -ENOMEM);
	assert_int_equal(unit_access(u, 0, va + 7 * PAGE, &value, 8, GM_READ), -ENOMEM);
	gm_fake_inject_clear();
	unit_on(u->as, va + PAGE, BLOCK - PAGE, unit_node(u, 1));
	unit_fill(u, CPU, va + PAGE, 63 * PAGE, 2);
	assert_int_equal(prefetch(u, unit_node(u, 0), va, BLOCK), 0);
	assert_int_equal(unit_as_stats(u->as).pages_to_host, 0);
	unit_verify(u, 0, va + PAGE, 63 * PAGE, 2);
	unit_verify(u, 0, va + 64 * PAGE, BLOCK - 64 * PAGE, 1);
	/* Into one: nothing is mapped until it is touched. */
	assert_int_equal(prefetch(u, unit_node(u, 1), va, BLOCK), 0);
	assert_int_equal(gm_fake_page(u->as, va + PAGE) & GM_FAKE_MAPPED, 0);
	unit_verify(u, CPU, va + PAGE, 63 * PAGE, 2);
	unit_on(u->as, va, BLOCK, unit_node(u, 1));
}

static struct gm_event event[16];

static void expect(unsigned int n)
{
	assert_int_equal(gm_fake_events(event, 16), n);
	gm_fake_trace(1U << GM_EVENT_MIGRATE);
}

static void expect_move(const struct gm_event *ev, uint64_t first, uint64_t end, uint32_t pages,
			int from, int to, int err)
{
	assert_int_equal(ev->offset, first * PAGE);
	assert_int_equal(ev->len, (end - first) * PAGE);
	assert_int_equal(ev->pages, pages);
	assert_int_equal(ev->from, from);
	assert_int_equal(ev->to, to);
	assert_int_equal(ev->err, err);
	assert_true(ev->ns > 0);
}

/* One event for each place that pages came from. */
static void events(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	int a = unit_node(u, 0), b = unit_node(u, 1);

	put_on(u, 0, va, 64 * PAGE, 1);
	gm_fake_trace(1U << GM_EVENT_MIGRATE);
	unit_verify(u, 1, va + 9 * PAGE, PAGE, 1);
	expect(1);
	expect_move(&event[0], 9, 10, 1, a, b, 0);
	assert_int_equal(event[0].bytes, PAGE);
	assert_int_equal(event[0].why, GM_WHY_DEV_FAULT);
	assert_ptr_equal(event[0].as, u->as);
	assert_int_equal(prefetch(u, b, va, 70 * PAGE), 0);
	expect(2);
	expect_move(&event[0], 0, 64, 63, a, b, 0);
	assert_int_equal(event[0].bytes, 63 * PAGE);
	expect_move(&event[1], 64, 70, 6, GM_NODE_HOST, b, 0);
	assert_int_equal(event[1].bytes, 0);
	assert_int_equal(event[1].why, GM_WHY_PREFETCH);

	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 1, -EIO);
	assert_int_equal(prefetch(u, a, va, 4 * PAGE), -EIO);
	expect(1);
	expect_move(&event[0], 0, 4, 4, b, a, -EIO);
	assert_int_equal(event[0].bytes, 0);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 1, -EOPNOTSUPP);
	assert_int_equal(prefetch(u, a, va, 4 * PAGE), 0);
	expect(3);
	expect_move(&event[0], 0, 4, 4, b, a, -EOPNOTSUPP);
	expect_move(&event[1], 0, 4, 4, b, GM_NODE_HOST, 0);
	expect_move(&event[2], 0, 4, 4, GM_NODE_HOST, a, 0);
	/* No room: what was asked for, of which the first page is there already. */
	assert_int_equal(
		gm_advise(u->as, a, unit_alloc(u, 4 * BLOCK), 4 * BLOCK - 4 * PAGE, GM_PIN), 0);
	gm_fake_trace(1U << GM_EVENT_MIGRATE);
	assert_int_equal(gm_advise(u->as, a, va, 4 * PAGE, GM_PIN), 0);
	assert_int_equal(prefetch(u, a, va + 3 * PAGE, 2 * PAGE), -ENOSPC);
	expect(1);
	expect_move(&event[0], 3, 5, 2, b, a, -ENOSPC);
	gm_fake_trace(0);
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
		TEST(straight),	     TEST(by_fault),
		TEST(mixed),	     TEST(pins_travel),
		TEST(huge_object),   TEST(steps_fail),
		TEST(one_is_dead),   cmocka_unit_test(host_steps_fail),
		TEST(no_link),	     TEST(link_goes),
		TEST(whose_link),    TEST(target_full),
		TEST(source_evicts), TEST(ring),
		TEST(account_limit), TEST(out_of_an_aperture),
		TEST(events),	     TEST(devices_go),
		TEST(crossing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
