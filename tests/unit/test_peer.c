// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * From device to device: straight where there is a link, by way of the host where not; and
 * wherever it fails, the page is where it was, with its bytes.
 */
#include "peer_lib.h"
#include "toy.h"

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

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, unit_setup, unit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(straight),
		TEST(by_fault),
		TEST(mixed),
		TEST(pins_travel),
		TEST(huge_object),
		TEST(steps_fail),
		TEST(one_is_dead),
		cmocka_unit_test(host_steps_fail),
		TEST(out_of_an_aperture),
		TEST(events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
