// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The built-in policies on the bench: what a device does that nobody has chosen any for, auto/rrip,
 * and that each of the others does its work. auto alone besides; rrip is in test_policy_rrip.c.
 */
#include "unit.h"

#include "core/policy.h"

/* --------------------------------------------------------------------- auto alone */

#define FRAMES 4096U

struct rig {
	void *state;
	struct gm_policy_block b;
};

static int setup_auto(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->state = calloc(1, gm_move_auto.state_size);
	assert_non_null(r->state);
	assert_int_equal(gm_move_auto.start(r->state), 0);
	r->b = (struct gm_policy_block){ .object = 1, .frames = FRAMES };
	*state = r;
	return 0;
}

static int teardown_auto(void **state)
{
	struct rig *r = *state;

	free(r->state);
	free(r);
	return 0;
}

/* A fault on page @at of the object. */
static struct gm_policy_move fault(struct rig *r, uint64_t at, unsigned int granule)
{
	struct gm_policy_fault fault = { .ctx = 1,
					 .page = at % GM_POLICY_PAGES,
					 .granule = granule };
	struct gm_policy_move move = { .first = fault.page & ~(granule - 1), .n = granule };

	r->b.index = at / GM_POLICY_PAGES;
	gm_move_auto.fault(r->state, &r->b, &fault, &move);
	return move;
}

static void expect(struct rig *r, uint64_t at, unsigned int granule, unsigned int first,
		   unsigned int n)
{
	struct gm_policy_move move = fault(r, at, granule);

	if (move.first != first || move.n != n || move.more)
		fail_msg("page %u: [%u, +%u) and %u more, not [%u, +%u)", (unsigned int)at,
			 move.first, move.n, move.more, first, n);
}

/* More than an eighth free: the density tree. Less, or just as much: a page. */
static void density_while_there_is_room(void **state)
{
	struct rig *r = *state;

	gm_mask_set(&r->b.here, 16, 32);
	r->b.free = FRAMES / 8 + 1;
	expect(r, 3, 16, 0, 64);
	expect(r, 300, 16, 288, 16);
	r->b.free--;
	expect(r, 3, 16, 3, 1);
	r->b.free = 0;
	expect(r, 301, 16, 301, 1);
	r->b.free = FRAMES;
	expect(r, 3, 16, 0, 64);
}

/* Where there is none: a sixteenth of the granule, and no less than a page. */
static void pages_where_there_is_none(void **state)
{
	static const struct {
		unsigned int granule, first, n;
	} rows[] = {
		{ 1, 301, 1 },	{ 2, 301, 1 },	 { 8, 301, 1 },	   { 16, 301, 1 },
		{ 32, 300, 2 }, { 128, 296, 8 }, { 512, 288, 32 },
	};
	struct rig *r = *state;

	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		r->b.object = i + 1; /* strangers to one another */
		expect(r, 301, rows[i].granule, rows[i].first, rows[i].n);
	}
}

/* With windows ahead of who goes through memory in order, or in strides. */
static void streams_where_there_is_none(void **state)
{
	static const unsigned int window[] = { 1, 1, 2, 4, 8, 16, 32, 32 };
	struct gm_policy_move move;
	struct rig *r = *state;
	uint64_t at = 0;

	for (unsigned int i = 0; i < sizeof(window) / sizeof(window[0]); i++) {
		expect(r, at, 16, (unsigned int)at, window[i]);
		at += window[i];
	}
	r->b.object = 2;
	for (at = 0; at < 3 * 40; at += 40)
		move = fault(r, at, 16);
	assert_int_equal(move.first, 80);
	assert_int_equal(move.n, 1);
	assert_int_equal(move.more, 1);
	assert_int_equal(move.stride, 40);
}

/* What was asked while there was room begins no stream. */
static void no_stream_while_there_is_room(void **state)
{
	struct rig *r = *state;

	r->b.free = FRAMES;
	for (unsigned int at = 0; at < 256; at += 16)
		expect(r, at, 16, at, 16);
	r->b.free = 0;
	expect(r, 256, 16, 256, 1);
	expect(r, 257, 16, 257, 1);
	expect(r, 258, 16, 258, 2);
}

/* ------------------------------------------------------------------- on the bench */

static void choose(struct unit *u, const char *names)
{
	assert_int_equal(gm_dev_set_policy(unit_dev(u, 0), names), 0);
}

static int setup(void **state)
{
	unit_setup(state);
	choose(*state, "auto/rrip");
	unit_tune(unit_dev(*state, 0), 64 << 10, false, true);
	return 0;
}

static uint64_t pages_moved(struct unit *u)
{
	return unit_dev_stats(unit_dev(u, 0)).pages_to_dev;
}

static void is_the_default(void **state)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = BLOCK,
				      .base = 9ULL << 32,
				      .lanes = 1,
				      .table_memory = 1 << 20 };
	char names[2 * GM_POLICY_NAME];
	struct gm_sim *sim;

	(void)state;
	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	assert_int_equal(gm_dev_policy(gm_sim_dev(sim), names, sizeof(names)), 0);
	assert_string_equal(names, "auto/rrip");
	assert_int_equal(gm_sim_destroy(sim), 0);
}

/* Dense use of a device with room brings blocks; of a full one it brings what a stream reads. */
static void dense_use(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 6 * BLOCK);
	struct gm_stats s, t;

	unit_fill(u, CPU, va, 6 * BLOCK, 1);
	unit_verify(u, 0, va, 3 * BLOCK, 1);
	s = unit_dev_stats(unit_dev(u, 0));
	assert_int_equal(s.pages_to_dev, 3 * 512);
	assert_true(s.dev_faults < 3 * 16);
	unit_verify(u, 0, va + 3 * BLOCK, BLOCK, 1);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).evictions, 0);
	s = unit_dev_stats(unit_dev(u, 0));
	unit_load(u, 0, va + 4 * BLOCK + 100 * PAGE);
	assert_int_equal(unit_count_on(u->as, va + 4 * BLOCK, BLOCK, unit_node(u, 0)), 1);
	unit_verify(u, 0, va + 5 * BLOCK, BLOCK, 1);
	t = unit_dev_stats(unit_dev(u, 0));
	assert_true(t.dev_faults - s.dev_faults < 64);
	assert_in_range(t.pages_to_dev - s.pages_to_dev, 513, 513 + 64);
	unit_verify(u, CPU, va, 6 * BLOCK, 1);
}

/*
 * How much moves for @rounds of a loop over six blocks, where the device has four, with @hot
 * blocks used besides after each.
 */
static uint64_t loop(struct unit *u, uint64_t va, unsigned int hot, unsigned int rounds)
{
	uint64_t before = pages_moved(u);

	for (unsigned int i = 0; i < rounds; i++) {
		for (unsigned int b = 0; b < 6; b++) {
			unit_verify(u, 0, va + b * BLOCK, BLOCK, 1);
			if (hot)
				unit_verify(u, 0, va + 6 * BLOCK, hot * BLOCK, 1);
		}
	}
	return pages_moved(u) - before;
}

/* Of a loop that does not fit a part stays, where recency has nothing that comes again. */
static void loops(void **state)
{
	static const char *const names[] = { "fixed/lru-2m", "fixed/rrip" };
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 6 * BLOCK), moved[2];

	unit_fill(u, CPU, va, 6 * BLOCK, 1);
	unit_tune(unit_dev(u, 0), PAGE, false, true);
	for (unsigned int i = 0; i < 2; i++) {
		choose(u, names[i]);
		loop(u, va, 0, 2);
		moved[i] = loop(u, va, 0, 4);
	}
	print_message("four times round: lru-2m %d pages, rrip %d, of %d\n", (int)moved[0],
		      (int)moved[1], 4 * 6 * 512);
	assert_int_equal(moved[0], 4 * 6 * 512);
	assert_true(moved[1] < 4 * 6 * 512 * 4 / 5); /* at best a third had to come */
}

/* What is used again and again stays while other memory passes by. */
static void what_is_used_stays(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 7 * BLOCK), passed = 4 * 6 * 512, moved;

	unit_fill(u, CPU, va, 7 * BLOCK, 1);
	loop(u, va, 1, 2);
	moved = loop(u, va, 1, 4);
	print_message("moved: %d pages, of a loop of %d and 512 that are hot\n", (int)moved,
		      (int)passed);
	assert_true(moved < passed);
	assert_true(unit_count_on(u->as, va + 6 * BLOCK, BLOCK, unit_node(u, 0)) > 480);
}

/* A device that cannot say what it uses: its pages are unmapped when the hand comes by. */
static void without_accessed_bits(void **state)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = 4 * BLOCK,
				      .base = 9ULL << 32,
				      .lanes = 1,
				      .table_memory = 1 << 20,
				      .flags = GM_SIM_SYNC_FAULTS | GM_SIM_CHECK |
					       GM_SIM_NO_ACCESSED };
	struct unit other = { .as = NULL };
	struct gm_stats s, t;
	uint64_t va, moved;

	(void)state;
	assert_int_equal(gm_as_create(NULL, &other.as), 0);
	assert_int_equal(gm_sim_create(&opt, &other.sim[0]), 0);
	assert_int_equal(gm_sim_attach(other.sim[0], other.as, &other.ctx[0]), 0);
	unit_tune(unit_dev(&other, 0), 64 << 10, false, true);
	va = unit_alloc(&other, 7 * BLOCK);
	unit_fill(&other, CPU, va, 7 * BLOCK, 1);
	loop(&other, va, 1, 2);
	s = unit_dev_stats(unit_dev(&other, 0));
	moved = loop(&other, va, 1, 4);
	t = unit_dev_stats(unit_dev(&other, 0));
	assert_true(t.dev_faults_map > s.dev_faults_map); /* a fault that moves nothing */
	assert_true(moved <= 4 * 6 * 512);		  /* the loop, and nothing of what is hot */
	unit_on(other.as, va + 6 * BLOCK, BLOCK, unit_node(&other, 0));
	unit_check();
	assert_int_equal(gm_as_destroy(other.as), 0);
	assert_int_equal(gm_sim_destroy(other.sim[0]), 0);
}

/* Memory for what is to be remembered cannot be had: whole blocks go. Then it can again. */
static void no_memory(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 6 * BLOCK);
	struct gm_stats s, t;

	unit_tune(unit_dev(u, 0), PAGE, true, true);
	unit_fill(u, CPU, va, 6 * BLOCK, 1);
	choose(u, "fixed/lru-2m");
	unit_load(u, 0, va + 4 * BLOCK); /* what a fault needs is there */
	unit_load(u, CPU, va + 4 * BLOCK);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 4 * BLOCK, GM_PREFETCH), 0);
	choose(u, "fixed/rrip");
	s = unit_dev_stats(unit_dev(u, 0));
	gm_fake_inject(GM_FAKE_ALLOC, 0, UINT32_MAX, -ENOMEM);
	unit_verify(u, 0, va + 4 * BLOCK + 7 * PAGE, PAGE, 1);
	gm_fake_inject(GM_FAKE_ALLOC, 0, 0, 0);
	t = unit_dev_stats(unit_dev(u, 0));
	assert_int_equal(t.pages_evicted - s.pages_evicted, 512);
	assert_int_equal(t.evictions - s.evictions, 1);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	assert_int_equal(gm_history_bytes(), 0);
	for (unsigned int i = 0; i < 512; i++)
		unit_verify(u, 0, va + 5 * BLOCK + i * PAGE, PAGE, 1);
	assert_true(gm_history_bytes() > 0);
	s = unit_dev_stats(unit_dev(u, 0));
	assert_true(s.pages_evicted > t.pages_evicted);
	assert_true(s.pages_evicted - t.pages_evicted < 512); /* in batches now */
	unit_peek(u->as, va, 6 * BLOCK, 1);
	unit_verify(u, 0, va, 6 * BLOCK, 1);
	unit_verify(u, CPU, va, 6 * BLOCK, 1);
}

/* Chosen while pages are there that it never saw come, and left again. */
static void chosen_late(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 8 * BLOCK);
	struct gm_stats s, t;

	choose(u, "density/lru-2m");
	unit_fill(u, 0, va, 4 * BLOCK, 1);
	choose(u, "auto/rrip");
	assert_int_equal(gm_history_bytes(), 0);
	s = unit_dev_stats(unit_dev(u, 0));
	unit_fill(u, 0, va + 4 * BLOCK, PAGE, 1);
	t = unit_dev_stats(unit_dev(u, 0));
	assert_int_equal(t.evictions - s.evictions, 1);
	assert_int_equal(t.pages_evicted - s.pages_evicted,
			 16); /* not of what came last: it knows none */
	assert_true(gm_history_bytes() > 0);
	unit_fill(u, 0, va + 4 * BLOCK, 4 * BLOCK, 1);
	choose(u, "/lru-2m");
	unit_verify(u, 0, va, 8 * BLOCK, 1);
	choose(u, "/rrip"); /* what it knew then it does not know now */
	unit_verify(u, 0, va, 8 * BLOCK, 1);
	unit_check();
	unit_verify(u, CPU, va, 8 * BLOCK, 1);
	unit_unmap(u->as, va, 8 * BLOCK);
	assert_int_equal(gm_history_bytes(), 0);
}

/* ------------------------------------------------------------------ the others */

/* Each pair carries a working set twice as large as the device. */
static void every_pair(void **state)
{
	static const char *const moves[] = { "density", "auto", "fixed", "stream" };
	static const char *const evicts[] = { "lru-2m", "clock", "rrip", "s3fifo" };
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 8 * BLOCK);
	char names[64];

	unit_tune(unit_dev(u, 0), 64 << 10, false, true);
	for (unsigned int i = 0; i < 16; i++) {
		snprintf(names, sizeof(names), "%s/%s", moves[i / 4], evicts[i % 4]);
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
#define ALONE(name) cmocka_unit_test_setup_teardown(name, setup_auto, teardown_auto)
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, unit_teardown)
	const struct CMUnitTest tests[] = {
		ALONE(density_while_there_is_room),
		ALONE(pages_where_there_is_none),
		ALONE(streams_where_there_is_none),
		ALONE(no_stream_while_there_is_room),
		TEST(is_the_default),
		TEST(dense_use),
		TEST(loops),
		TEST(what_is_used_stays),
		TEST(without_accessed_bits),
		TEST(no_memory),
		TEST(chosen_late),
		TEST(every_pair),
		TEST(scan_resistance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
