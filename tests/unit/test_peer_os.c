// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A device with an operating system of its own: one message where others get several; basic
 * operations where one message cannot say it; and whatever of it fails, pages stay where they
 * were. Device 0 of each test is one.
 */
#include "unit.h"

#include "core/core.h"

#define RW (GM_READ | GM_WRITE)

static struct gm_sim *sim_with(uint32_t flags, uint64_t base, uint64_t pgsizes)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = 4 * BLOCK,
				      .base = base,
				      .pgsize_bitmap = pgsizes,
				      .lanes = 1,
				      .flags = GM_SIM_SYNC_FAULTS | GM_SIM_CHECK | flags };
	struct gm_sim *sim;

	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	unit_tune(gm_sim_dev(sim), 16 * PAGE, true, true);
	return sim;
}

static void change(struct unit *u, unsigned int i, uint32_t flags, uint64_t pgsizes)
{
	assert_int_equal(gm_sim_detach(u->ctx[i]), 0);
	assert_int_equal(gm_sim_destroy(u->sim[i]), 0);
	u->sim[i] = sim_with(flags, (i + 1ULL) << 32, pgsizes);
	assert_int_equal(gm_sim_attach(u->sim[i], u->as, &u->ctx[i]), 0);
}

static int setup(void **state)
{
	unit_setup(state);
	change(*state, 0, GM_SIM_PEER_OPS, 0);
	return 0;
}

static struct gm_sim_stats sim_stats(struct unit *u, unsigned int i)
{
	struct gm_sim_stats s = { .size = sizeof(s) };

	gm_sim_stats(u->sim[i], &s);
	assert_int_equal(s.stale, 0);
	return s;
}

/* Messages since the last call, and that all of them or none were of the new kind. */
static uint64_t messages(struct unit *u, unsigned int i, struct gm_sim_stats *since, bool peer)
{
	struct gm_sim_stats now = sim_stats(u, i);
	uint64_t n = now.messages - since->messages;

	assert_int_equal(now.peer_messages - since->peer_messages, peer ? n : 0);
	*since = now;
	return n;
}

/* --------------------------------------------------------------------- how many */

/* In: 1 for copy and enter. Home: 1 for release, invalidation and copy. */
static void one_message(void **state)
{
	struct unit *u = *state;
	struct gm_sim_stats a = sim_stats(u, 0), b = sim_stats(u, 1);
	uint64_t va = unit_alloc(u, BLOCK);

	unit_tune(unit_dev(u, 1), 16 * PAGE, true, true);
	for (uint64_t at = va; at < va + BLOCK; at += 32 * PAGE) {
		uint64_t other = at + 16 * PAGE;

		unit_fill(u, CPU, at, 32 * PAGE, 1);
		unit_verify(u, 0, at, 16 * PAGE, 1);
		assert_int_equal(messages(u, 0, &a, true), 1);
		unit_verify(u, 1, other, 16 * PAGE, 1);
		assert_int_equal(messages(u, 1, &b, false), 2);
		unit_fill(u, 0, at, 16 * PAGE, 2);
		unit_fill(u, 1, other, 16 * PAGE, 2);
		assert_int_equal(messages(u, 0, &a, true), 0); /* it was mapped for writing */
		unit_verify(u, CPU, at, 32 * PAGE, 2);
		assert_int_equal(messages(u, 0, &a, true), 1);
		assert_int_equal(messages(u, 1, &b, false), 3);
		unit_check();
	}
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	assert_int_equal(unit_hnode(unit_node(u, 0)).free, 4 * BLOCK);
}

/* What was nowhere is zeroed, what was on the host is copied, in the same message. */
static void zeroed_too(void **state)
{
	struct unit *u = *state;
	struct gm_sim_stats a = sim_stats(u, 0);
	uint64_t va = unit_alloc(u, 2 * BLOCK);

	unit_tune(unit_dev(u, 0), BLOCK, true, true);
	for (unsigned int page = 3; page < 512; page += 100)
		unit_fill(u, CPU, va + page * PAGE, PAGE, 1);
	assert_int_equal(unit_load(u, 0, va), 0);
	assert_int_equal(messages(u, 0, &a, true), 1);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	for (unsigned int page = 0; page < 512; page++)
		unit_peek(u->as, va + page * PAGE, PAGE, page % 100 == 3);
	a = sim_stats(u, 0);
	assert_int_equal(unit_load(u, 0, va + BLOCK), 0);
	assert_int_equal(messages(u, 0, &a, true), 1);

	/* A page of a large leaf: all of it goes, the rest is entered anew. */
	unit_verify(u, 0, va + 400 * PAGE, PAGE, 0);
	a = sim_stats(u, 0);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va + 77 * PAGE, PAGE, GM_PREFETCH), 0);
	assert_true(sim_stats(u, 0).messages > a.messages + 1);
	assert_int_equal(sim_stats(u, 0).peer_messages, a.peer_messages + 1);
	a = sim_stats(u, 0);
	unit_fill(u, 0, va, 77 * PAGE, 2);
	unit_fill(u, 0, va + 78 * PAGE, 434 * PAGE, 2);
	assert_int_equal(messages(u, 0, &a, true), 0); /* none faults */
	unit_on(u->as, va + 77 * PAGE, PAGE, GM_NODE_HOST);
	unit_verify(u, CPU, va, 77 * PAGE, 2);
	unit_verify(u, CPU, va + 78 * PAGE, 434 * PAGE, 2);
}

/* When a block has become whole it is mapped by one leaf all the same. */
static void promoted(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), tables;

	unit_tune(unit_dev(u, 0), 16 * PAGE, false, true);
	unit_fill(u, CPU, va, BLOCK, 1);
	for (unsigned int page = 0; page < 512; page += 16)
		unit_verify(u, 0, va + page * PAGE, 16 * PAGE, 1);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	tables = sim_stats(u, 0).tables;
	change(u, 1, 0, 0);
	assert_int_equal(gm_advise(u->as, unit_node(u, 1), va, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(sim_stats(u, 1).tables, tables); /* it has nothing smaller either */
	unit_verify(u, 1, va, BLOCK, 1);
}

/* Base pages of 16 KiB, and host frames that lie anywhere. */
static void large_pages(void **state)
{
	struct unit *u = *state;
	struct gm_lookup at = { .size = sizeof(at) };
	struct gm_sim_stats a;
	uint64_t va;

	change(u, 0, GM_SIM_PEER_OPS, 1 << 14 | 1 << 16);
	a = sim_stats(u, 0);
	va = unit_alloc(u, BLOCK);
	gm_fake_set_max_run(PAGE);
	unit_fill(u, CPU, va, 13 * PAGE, 1);
	unit_verify(u, 0, va, 13 * PAGE, 1);
	assert_int_equal(messages(u, 0, &a, true), 1);
	unit_fill(u, 0, va, 16 * PAGE, 2);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va + 5 * PAGE, PAGE, GM_PREFETCH), 0);
	unit_on(u->as, va + 4 * PAGE, 4 * PAGE, GM_NODE_HOST);
	unit_on(u->as, va + 8 * PAGE, 8 * PAGE, unit_node(u, 0));
	unit_verify(u, CPU, va, 16 * PAGE, 2);
	gm_fake_set_max_run(0);

	/* The rest of a base page whose memory has failed is no whole one: copied alone. */
	unit_fill(u, 0, va, 16 * PAGE, 3);
	assert_int_equal(gm_as_lookup(u->as, va + 5 * PAGE, &at), 0);
	a = sim_stats(u, 0);
	assert_int_equal(gm_dev_poison(unit_dev(u, 0), at.pa), 0);
	assert_true(messages(u, 0, &a, false) >= 3);
	unit_verify(u, CPU, va, 5 * PAGE, 3);
	unit_verify(u, CPU, va + 6 * PAGE, 10 * PAGE, 3);
}

/* ------------------------------------------------------------- where it is composed */

static void two_views(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t va = unit_map(u->as, obj, 0, BLOCK, RW);
	uint64_t alias = unit_map(u->as, obj, 0, BLOCK, RW);
	struct gm_sim_stats a = sim_stats(u, 0);

	gm_object_put(obj);
	unit_fill(u, CPU, va, 16 * PAGE, 1);
	unit_load(u, 0, va); /* one view is asked for */
	assert_int_equal(messages(u, 0, &a, true), 1);
	unit_load(u, 0, alias);
	assert_int_equal(messages(u, 0, &a, false), 1);
	unit_fill(u, 0, va, 16 * PAGE, 2);
	unit_load(u, CPU, alias);
	assert_true(messages(u, 0, &a, false) >= 3); /* and two have to go */
	unit_peek(u->as, va, 16 * PAGE, 2);

	unit_unmap(u->as, alias, BLOCK);
	a = sim_stats(u, 0);
	unit_load(u, 0, va);
	messages(u, 0, &a, true);
	unit_load(u, CPU, va);
	assert_int_equal(messages(u, 0, &a, true), 1);
}

/* Nobody maps it any more; or the region is just a part of what is on the device. */
static void no_view(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t va = unit_map(u->as, obj, 0, BLOCK, RW), part;
	struct gm_sim_stats a;

	unit_tune(unit_dev(u, 0), BLOCK, true, true);
	unit_fill(u, CPU, va, BLOCK, 1);
	unit_load(u, 0, va);
	unit_unmap(u->as, va, BLOCK);
	a = sim_stats(u, 0);
	part = unit_map(u->as, obj, 8 * PAGE, 16 * PAGE, RW);
	gm_object_put(obj);
	unit_load(u, 0, part);
	assert_int_equal(messages(u, 0, &a, false), 1);
	unit_tune(unit_dev(u, 0), 0, false, false);
	assert_int_equal(gm_sim_detach(u->ctx[0]), 0);
	assert_int_equal(gm_sim_destroy(u->sim[0]), 0); /* all of it comes home */
	u->sim[0] = NULL;
	unit_load(u, CPU, part);
	unit_on(u->as, part, 16 * PAGE, GM_NODE_HOST);
}

/* More pieces than a message has; pages of another device; both are what they were before. */
static void too_much(void **state)
{
	struct unit *u = *state;
	struct gm_sim_stats a = sim_stats(u, 0);
	uint64_t va = unit_alloc(u, 2 * BLOCK);

	unit_tune(unit_dev(u, 0), BLOCK, true, true);
	for (unsigned int page = 0; page < 40; page += 2)
		unit_fill(u, CPU, va + page * PAGE, PAGE, 1);
	unit_load(u, 0, va);
	assert_int_equal(messages(u, 0, &a, false), 3); /* copy, zero, enter */
	for (unsigned int page = 0; page < 40; page += 2)
		unit_peek(u->as, va + page * PAGE, PAGE, 1);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), 0);

	unit_tune(unit_dev(u, 0), PAGE, true, true);
	for (unsigned int page = 40; page--;) /* frames in the reverse order */
		unit_fill(u, 0, va + page * PAGE, PAGE, 2);
	a = sim_stats(u, 0);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), 0);
	assert_true(messages(u, 0, &a, false) >= 3);
	unit_peek(u->as, va, 40 * PAGE, 2);

	unit_tune(unit_dev(u, 0), BLOCK, true, true);
	unit_fill(u, CPU, va + BLOCK, BLOCK, 3);
	unit_load(u, 1, va + BLOCK + 5 * PAGE);
	unit_load(u, 0, va + BLOCK);
	assert_true(messages(u, 0, &a, false) >= 2);
	unit_on(u->as, va + BLOCK, BLOCK, unit_node(u, 0));
	unit_verify(u, CPU, va + BLOCK, BLOCK, 3);
}

/* -------------------------------------------------------------------- what fails */

/* Each of what peer_map does, with each of its errors: nothing is mapped, and nothing has moved. */
static void map_fails(void **state)
{
	static const enum gm_sim_op ops[] = { GM_SIM_COPY_START, GM_SIM_COPY_FENCE,
					      GM_SIM_PMAP_ENTER };
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), v = 0;

	unit_fill(u, CPU, va, 8 * PAGE, 1); /* behind these, in the same message: zeros */
	for (unsigned int i = 0; i < 3; i++) {
		for (uint32_t skip = 0; skip < (i == 1 ? 2 : 1); skip++) {
			assert_int_equal(gm_advise(u->as, 0, va + 8 * PAGE, 8 * PAGE, GM_DONTNEED),
					 0);
			gm_sim_inject(u->sim[0], ops[i], skip, UINT32_MAX, -EIO);
			assert_int_equal(unit_access(u, 0, va, &v, 8, GM_READ), -EIO);
			unit_on(u->as, va, 8 * PAGE, GM_NODE_HOST);
			unit_check();
			assert_int_equal(unit_hnode(unit_node(u, 0)).free, 4 * BLOCK);
			gm_sim_inject(u->sim[0], ops[i], 0, 0, 0);
			unit_verify(u, CPU, va, 8 * PAGE, 1);
			assert_int_equal(sim_stats(u, 0).tables, sim_stats(u, 1).tables);
		}
		/* No memory for the table, and no such message: basic operations do. */
		gm_sim_inject(u->sim[0], ops[i], 0, 1, i % 2 ? -ENOSPC : -EOPNOTSUPP);
		unit_verify(u, 0, va, 8 * PAGE, 1);
		unit_verify(u, CPU, va, 8 * PAGE, 1);
		assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), 0);
	}
}

/* The same of peer_unmap: the page is on the device, with what it wrote. */
static void unmap_fails(void **state)
{
	static const enum gm_sim_op ops[] = { GM_SIM_COPY_START, GM_SIM_PMAP_RELEASE,
					      GM_SIM_TLB_INVL, GM_SIM_COPY_FENCE };
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), v = 0;

	gm_fake_set_no_in_place(true); /* what goes there and back moves */
	unit_fill(u, CPU, va, 16 * PAGE, 1);
	for (unsigned int i = 0; i < 4; i++) {
		unit_fill(u, 0, va, 16 * PAGE, i + 2);
		gm_sim_inject(u->sim[0], ops[i], 0, UINT32_MAX, -EIO);
		assert_int_equal(unit_access(u, CPU, va, &v, 8, GM_READ), -EIO);
		gm_sim_inject(u->sim[0], ops[i], 0, 0, 0);
		unit_on(u->as, va, 16 * PAGE, unit_node(u, 0));
		unit_check();
		unit_verify(u, 0, va, 16 * PAGE, i + 2);
		gm_sim_inject(u->sim[0], ops[i], 0, 1, -EOPNOTSUPP);
		unit_verify(u, CPU, va, 16 * PAGE, i + 2);
		unit_on(u->as, va, 16 * PAGE, GM_NODE_HOST);
	}
}

/* The host has no frame to copy to, nor for the composed copy: the page stays. */
static void host_fails(void **state)
{
	struct unit *u = *state;
	struct gm_sim_stats a = sim_stats(u, 0);
	uint64_t va = unit_alloc(u, BLOCK), v = 0;

	unit_fill(u, 0, va, 16 * PAGE, 1);
	gm_fake_inject(GM_FAKE_BACKING_GET, 0, UINT32_MAX, -ENOMEM);
	assert_int_equal(unit_access(u, CPU, va, &v, 8, GM_READ), -ENOMEM);
	gm_fake_inject_clear();
	unit_on(u->as, va, 16 * PAGE, unit_node(u, 0));
	unit_verify(u, CPU, va, 16 * PAGE, 1);

	a = sim_stats(u, 0);
	gm_fake_inject(GM_FAKE_BACKING_GET, 0, 1, -ENOMEM); /* the message's; then there is one */
	unit_load(u, 0, va);
	assert_int_equal(messages(u, 0, &a, false), 2);
	unit_verify(u, CPU, va, 16 * PAGE, 1);
}

/* Gone: what it has comes home by copies alone. */
static void removed(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), before;

	unit_fill(u, 0, va, BLOCK, 1);
	before = sim_stats(u, 0).peer_messages;
	assert_true(before);
	assert_int_equal(gm_sim_unplug(u->sim[0]), 0);
	assert_int_equal(sim_stats(u, 0).peer_messages, before);
	unit_verify(u, CPU, va, BLOCK, 1);
}

/* Either without the other. */
static void both_or_none(void **state)
{
	struct unit *u = *state;
	struct gm_dev *dev;
	struct gm_mmu mmu = unit_dev(u, 0)->ops;

	mmu.peer_map = NULL;
	assert_int_equal(gm_dev_create(&mmu, "half", NULL, &dev), -EINVAL);
	mmu = unit_dev(u, 0)->ops;
	mmu.peer_unmap = NULL;
	assert_int_equal(gm_dev_create(&mmu, "half", NULL, &dev), -EINVAL);
	mmu.peer_map = NULL;
	assert_int_equal(gm_dev_create(&mmu, "none", NULL, &dev), 0);
	assert_int_equal(gm_dev_destroy(dev), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, unit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_message), TEST(zeroed_too), TEST(promoted), TEST(large_pages),
		TEST(two_views),   TEST(no_view),    TEST(too_much), TEST(map_fails),
		TEST(unmap_fails), TEST(host_fails), TEST(removed),  TEST(both_or_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
