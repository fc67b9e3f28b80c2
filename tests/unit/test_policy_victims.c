// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What gmem makes of a policy's choice of victims: which block is asked about next, which keeps
 * its place in the order, and when nobody is asked.
 *
 * The policy is the test's own, with an answer for each block; what it was asked is noted.
 */
#include "unit.h"

#include "core/core.h"

#define BLOCKS 8U  /* of the object; the device has room for four */
#define FILLED 12U /* of each, the first pages: what the tests have move one by one */

static struct script {
	struct gm_policy_victims answer[BLOCKS];
	struct asked {
		uint64_t index, want;
		unsigned int pressure, hottest;
	} asked[64];
	unsigned int nr;
	struct gm_policy_victims then[BLOCKS]; /* the answer from the second time on, if @twice */
	bool twice;
} script;

static void script_evict(void *state, struct gm_policy_block *b, uint64_t want,
			 unsigned int pressure, struct gm_policy_victims *victims)
{
	(void)state;
	assert_in_range(script.nr, 0, 63);
	script.asked[script.nr++] = (struct asked){ b->index, want, pressure, b->hottest };
	*victims = script.answer[b->index];
	if (script.twice)
		script.answer[b->index] = script.then[b->index];
}

static const struct gm_evict_policy by_script = {
	.size = sizeof(by_script),
	.name = "script",
	.text = "whom the test says",
	.evict = script_evict,
};

struct rig {
	struct unit *u;
	uint64_t va;
	int node;
};
static struct rig rig;

/* Blocks 0 to 3 on the device, in this order from the coldest on; their first pages mapped. */
static int setup(void **state)
{
	struct unit *u;

	unit_setup(state);
	u = *state;
	script = (struct script){ .nr = 0 };
	assert_int_equal(gm_policy_register(NULL, &by_script), 0);
	assert_int_equal(gm_dev_set_policy(unit_dev(u, 0), "fixed/script"), 0);
	rig.u = u;
	rig.va = unit_alloc(u, BLOCKS * BLOCK);
	rig.node = unit_node(u, 0);
	for (uint64_t i = 0; i < BLOCKS; i++)
		unit_fill(u, CPU, rig.va + i * BLOCK, FILLED * PAGE, 1);
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(gm_advise(u->as, rig.node, rig.va + i * BLOCK, BLOCK, GM_PREFETCH),
				 0);
	return 0;
}

static int teardown(void **state)
{
	for (uint64_t i = 0; i < BLOCKS; i++)
		unit_verify(rig.u, CPU, rig.va + i * BLOCK, FILLED * PAGE, 1);
	assert_int_equal(gm_policy_unregister(NULL, &by_script), 0);
	return unit_teardown(state);
}

static void answer(unsigned int block, unsigned int first, unsigned int n, uint32_t stays,
		   uint32_t hottest)
{
	struct gm_policy_victims *v = &script.answer[block];

	*v = (struct gm_policy_victims){ .stays = stays, .hottest = hottest };
	gm_mask_set(&v->go, first, n);
}

/* A fault on a page of the block, which has none on the device or no frame for this one. */
static void need(unsigned int block, unsigned int page)
{
	script.nr = 0;
	unit_verify(rig.u, 0, rig.va + block * BLOCK + page * PAGE, PAGE, 1);
}

static uint64_t left(unsigned int block)
{
	return unit_count_on(rig.u->as, rig.va + block * BLOCK, BLOCK, rig.node);
}

static void expect_asked(const struct asked *asked, unsigned int n)
{
	for (unsigned int i = 0; i < n && i < script.nr; i++) {
		const struct asked *a = &script.asked[i];

		if (a->index != asked[i].index || a->pressure != asked[i].pressure ||
		    a->hottest != asked[i].hottest || a->want != asked[i].want)
			fail_msg("question %u: block %u, want %u, pressure %u, hottest %u", i,
				 (unsigned int)a->index, (unsigned int)a->want, a->pressure,
				 a->hottest);
	}
	assert_int_equal(script.nr, n);
}
#define ASKED(...)                                                                                 \
	do {                                                                                       \
		const struct asked asked[] = { __VA_ARGS__ };                                      \
		expect_asked(asked, sizeof(asked) / sizeof(asked[0]));                             \
	} while (0)

/* Of a block that keeps its place more is asked for the next time; of another, the next coldest. */
static void stays(void **state)
{
	(void)state;
	answer(0, 0, 1, 1, 0);
	answer(1, 0, 1, 0, 0);
	answer(2, 0, 1, 0, 0);
	need(4, 0);
	ASKED({ 0, 1, 0, 0 });
	answer(0, 1, 1, 1, 0);
	need(4, 1);
	ASKED({ 0, 1, 0, 0 });
	assert_int_equal(left(0), 510);
	answer(0, 2, 1, 0, 0);
	need(4, 2);
	ASKED({ 0, 1, 0, 0 });
	need(4, 3);
	ASKED({ 1, 1, 0, 0 }); /* 0 is the hottest but for 4 */
	need(4, 4);
	ASKED({ 2, 1, 0, 0 });
	answer(3, 0, 2, 0, 0);
	answer(4, 0, 0, 0, 0);
	answer(0, 5, 1, 0, 0);
	need(4, 5);
	ASKED({ 3, 1, 0, 0 });
	need(4, 6); /* there was room */
	assert_int_equal(script.nr, 0);
	need(4, 7);
	ASKED({ 0, 1, 0, 0 });
}

static void tell(unsigned int block, uint32_t advice)
{
	assert_int_equal(gm_advise(rig.u->as, 0, rig.va + block * BLOCK, BLOCK, advice), 0);
}

/* What WILLNEED was said of is not asked for at the hot end, until it has been the coldest. */
static void needed(void **state)
{
	(void)state;
	tell(3, GM_WILLNEED);
	answer(0, 0, 0, 1, 1);
	answer(2, 0, 2, 1, 0);
	need(4, 0);
	ASKED({ 0, 1, 0, 0 }, { 2, 1, 1, 1 });
	need(4, 1); /* of the two one was left */
	tell(3, GM_COLD);
	answer(3, 0, 0, 1, 1);
	answer(2, 2, 1, 1, 0);
	need(4, 2);
	ASKED({ 3, 1, 0, 0 }, { 2, 1, 1, 1 });
	for (unsigned int i = 0; i < 3; i++)
		tell(i, GM_WILLNEED);
	script.twice = true;
	answer(3, 0, 0, 1, 1);
	gm_mask_set(&script.then[3].go, 0, 1);
	need(4, 3);
	ASKED({ 3, 1, 0, 0 }, { 3, 1, 1, 1 });
	script.then[3] = (struct gm_policy_victims){ .go = { { 0 } } };
	answer(3, 0, 0, 1, 1);
	tell(3, GM_WILLNEED);
	answer(0, 0, 0, 1, 1);
	gm_mask_set(&script.then[0].go, 0, 1);
	need(4, 4); /* but for what was just asked about, all that may go is wanted */
	ASKED({ 0, 1, 0, 0 }, { 0, 1, 1, 1 });
}

/* Passed over it is the hottest, and the next coldest is asked about, under more pressure. */
static void passed_over(void **state)
{
	(void)state;
	answer(2, 7, 3, 1, 0);
	need(4, 0);
	ASKED({ 0, 1, 0, 0 }, { 1, 1, 1, 0 }, { 2, 1, 2, 0 });
	need(4, 1); /* of the three two were left */
	need(4, 2);
	assert_int_equal(script.nr, 0);
	answer(2, 0, 0, 0, 0);
	answer(1, 0, 1, 0, 0);
	need(4, 3);
	ASKED({ 2, 1, 0, 0 }, { 3, 1, 1, 0 }, { 0, 1, 2, 0 }, { 1, 1, 3, 0 });
}

/* Or it keeps its place, and is asked about again: gmem is told that there is more to think of. */
static void passed_over_in_place(void **state)
{
	(void)state;
	script.twice = true;
	answer(0, 0, 0, 1, 0);
	script.then[0] = (struct gm_policy_victims){ .stays = 1 };
	gm_mask_set(&script.then[0].go, 5, 1);
	need(4, 0);
	ASKED({ 0, 1, 0, 0 }, { 0, 1, 1, 0 });
	assert_int_equal(left(0), 511);
}

/* Asked for, the block at the hot end is next, once: it goes, in part, or the coldest is next. */
static void hot_end(void **state)
{
	(void)state;
	script.twice = true;
	answer(0, 0, 0, 1, 1);
	answer(3, 9, 2, 1, 0);
	need(4, 0);
	ASKED({ 0, 1, 0, 0 }, { 3, 1, 1, 1 });
	assert_int_equal(left(3), 510);
	assert_int_equal(left(0), 512);
	need(4, 1);
	assert_int_equal(script.nr, 0);
	/* That is hotter now, but is who needs it. */
	answer(0, 0, 0, 1, 1);
	answer(3, 0, 0, 1, 0);
	script.then[0] = (struct gm_policy_victims){ .stays = 0 };
	gm_mask_set(&script.then[0].go, 0, 4);
	need(4, 2);
	ASKED({ 0, 1, 0, 0 }, { 3, 1, 1, 1 }, { 0, 1, 2, 0 });
	assert_int_equal(left(0), 508);
	assert_int_equal(left(3), 510);
	/* Block 4 is the hottest then, and 0, of which the rest has earned its place, behind it. */
	for (unsigned int page = 3; page < 6; page++)
		need(4, page);
	answer(1, 0, 0, 1, 1);
	answer(4, 0, 2, 1, 0);
	need(5, 0);
	ASKED({ 1, 1, 0, 0 }, { 4, 1, 1, 1 });
	assert_int_equal(left(4), 4);
}

/* Of an account that is at its limit it is the account's own. */
static void hot_end_of_account(void **state)
{
	struct unit other = { .as = NULL };
	uint64_t va;

	(void)state;
	assert_int_equal(gm_as_create(NULL, &other.as), 0);
	assert_int_equal(gm_sim_attach(rig.u->sim[0], other.as, &other.ctx[0]), 0);
	va = unit_alloc(&other, BLOCK);
	assert_int_equal(gm_advise(rig.u->as, GM_NODE_HOST, rig.va + 3 * BLOCK, BLOCK, GM_PREFETCH),
			 0);
	unit_load(&other, 0, va);
	assert_int_equal(script.nr, 0);
	answer(0, 0, 0, 1, 1);
	answer(2, 0, 512, 0, 0);
	assert_int_equal(gm_as_limit(rig.u->as, rig.node, 2 * BLOCK), 0);
	ASKED({ 0, 1, 0, 0 }, { 2, 1, 1, 1 });
	assert_int_equal(left(2), 0);
	assert_int_equal(unit_count_on(other.as, va, BLOCK, rig.node), 1);
	assert_int_equal(gm_as_destroy(other.as), 0);
}

/* What could not be moved is out of the way, even if it was to keep its place. */
static void failed(void **state)
{
	(void)state;
	answer(0, 0, 1, 1, 0);
	answer(1, 0, 1, 1, 0);
	gm_sim_inject(rig.u->sim[0], GM_SIM_COPY_START, 0, 1, -EIO);
	need(4, 0);
	ASKED({ 0, 1, 0, 0 }, { 1, 1, 0, 0 }); /* it was not passed over */
	assert_int_equal(left(0), 512);
	assert_int_equal(left(1), 511);
	answer(1, 0, 0, 0, 0);
	answer(2, 0, 0, 0, 0);
	answer(3, 0, 0, 0, 0);
	need(4, 1);
	ASKED({ 1, 1, 0, 0 }, { 2, 1, 1, 0 }, { 3, 1, 2, 0 }, { 0, 1, 3, 0 });
}

/* Somebody has the lock of the block: the one beside it is asked about. */
static void locked(void **state)
{
	(void)state;
	script.twice = true;
	answer(1, 0, 0, 1, 1);
	answer(3, 0, 4, 1, 0);
	gm_fake_inject(GM_FAKE_TRYLOCK, 0, 1, -EBUSY);
	need(4, 0);
	ASKED({ 1, 1, 0, 0 }, { 3, 1, 1, 1 });
	for (unsigned int page = 1; page < 4; page++)
		need(4, page);
	assert_int_equal(script.nr, 0);
	answer(0, 0, 0, 1, 1);
	answer(2, 0, 4, 1, 0);
	gm_fake_inject(GM_FAKE_TRYLOCK, 2, 1, -EBUSY); /* after the one that faults, and 0 */
	need(4, 4);
	ASKED({ 0, 1, 0, 0 }, { 2, 1, 1, 1 });
}

/* How much is wanted: a page, or all of a block that is to come in one piece. */
static void wanted(void **state)
{
	(void)state;
	unit_tune(unit_dev(rig.u, 0), BLOCK, false, true);
	answer(0, 0, 512, 0, 0);
	need(4, 0);
	ASKED({ 0, 512, 0, 0 });
	assert_int_equal(left(0), 0);
	assert_int_equal(left(4), 512);
}

/*
 * Who needs room because of a hint, or because there is none for page tables, asks nobody: the
 * coldest block goes, but for what is pinned of it, and the next, in order.
 */
static void in_order(void **state)
{
	struct unit *u = rig.u;
	uint64_t room;

	(void)state;
	assert_int_equal(gm_advise(u->as, rig.node, rig.va + 3 * PAGE, PAGE, GM_PIN), 0);
	assert_int_equal(gm_advise(u->as, 0, rig.va, BLOCK, GM_COLD), 0);
	assert_int_equal(gm_advise(u->as, rig.node, rig.va + 4 * BLOCK, 8 * PAGE, GM_PREFETCH), 0);
	assert_int_equal(left(0), 1);
	assert_int_equal(left(4), 8);
	assert_int_equal(gm_advise(u->as, rig.node, rig.va + 5 * BLOCK, BLOCK, GM_PREFETCH), 0);
	assert_int_equal(left(0), 1);
	assert_int_equal(left(1), 0);
	assert_int_equal(left(5), 512);
	assert_int_equal(gm_advise(u->as, rig.node, rig.va + 6 * BLOCK, BLOCK, GM_PIN), 0);
	assert_int_equal(left(2), 0);
	assert_int_equal(left(3), 512);
	assert_int_equal(left(6), 512);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_ENTER, 0, 1, -ENOSPC);
	need(4, 9);
	assert_int_equal(left(3), 0);
	assert_int_equal(script.nr, 0);
	assert_int_equal(gm_advise(u->as, rig.node, rig.va, 7 * BLOCK, GM_UNPIN), 0);
	/* A fault, which does ask. */
	assert_int_equal(gm_advise(u->as, rig.node, rig.va + BLOCK, 2 * BLOCK, GM_PREFETCH), 0);
	assert_int_equal(script.nr, 0);
	room = unit_hnode(rig.node).free;
	assert_in_range(room, 0, 511 * PAGE);
	if (room)
		assert_int_equal(gm_advise(u->as, rig.node, rig.va + 3 * BLOCK + PAGE, room,
					   GM_PREFETCH),
				 0);
	assert_int_equal(script.nr, 0);
	need(3, 0);
	assert_in_range(script.nr, 1, GM_PRESSURE_MAX);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(stays),	   TEST(needed),
		TEST(passed_over), TEST(passed_over_in_place),
		TEST(hot_end),	   TEST(hot_end_of_account),
		TEST(failed),	   TEST(locked),
		TEST(wanted),	   TEST(in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
