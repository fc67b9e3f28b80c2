// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* stream alone, on traces made by hand: each decision is known. */
#include "unit.h"

#include "core/policy.h"

#define GRANULE 16U

struct rig {
	void *state;
	uint64_t pages, more; /* brought, and pieces asked for besides the first, so far */
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->state = calloc(1, gm_move_stream.state_size);
	assert_non_null(r->state);
	assert_int_equal(gm_move_stream.start(r->state), 0);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	free(r->state);
	free(r);
	return 0;
}

/* A fault of context @ctx on page @at of object @object. */
static struct gm_policy_move touch(struct rig *r, uint64_t ctx, uint64_t object, uint64_t at)
{
	struct gm_policy_block block = { .object = object, .index = at / GM_POLICY_PAGES };
	struct gm_policy_fault fault = { .ctx = ctx,
					 .page = at % GM_POLICY_PAGES,
					 .granule = GRANULE };
	struct gm_policy_move move = { .first = fault.page & ~(GRANULE - 1), .n = GRANULE };

	gm_move_stream.fault(r->state, &block, &fault, &move);
	assert_in_range(fault.page, move.first, move.first + move.n - 1);
	assert_true(move.first + move.n <= GM_POLICY_PAGES);
	r->pages += move.n * (move.more + 1);
	r->more += move.more;
	return move;
}

static void expect(struct rig *r, uint64_t object, uint64_t at, unsigned int first, unsigned int n)
{
	struct gm_policy_move move = touch(r, 1, object, at);

	if (move.first != first || move.n != n || move.more)
		fail_msg("page %u: [%u, +%u) and %u more, not [%u, +%u)", (unsigned int)at,
			 move.first, move.n, move.more, first, n);
}

static void expect_stride(struct rig *r, uint64_t at, unsigned int more, int stride)
{
	struct gm_policy_move move = touch(r, 1, 1, at);

	if (move.first != at % GM_POLICY_PAGES || move.more != more || move.stride != stride)
		fail_msg("page %u: %u, %u more at %d, not %u at %d", (unsigned int)at, move.first,
			 move.more, move.stride, more, stride);
}

/* In order: from the third step on a window, which doubles, and goes on in the next block. */
static void forward(void **state)
{
	struct rig *r = *state;

	expect(r, 1, 0, 0, 16);
	expect(r, 1, 16, 16, 16);
	expect(r, 1, 32, 32, 32);
	expect(r, 1, 64, 64, 64);
	expect(r, 1, 128, 128, 128);
	expect(r, 1, 256, 256, 256);
	expect(r, 1, 512, 0, 512);
	expect(r, 1, 1024, 0, 512);
	expect(r, 1, 1536 + 3, 0, 512); /* not the very first page */
}

static void backward(void **state)
{
	struct rig *r = *state;

	expect(r, 1, 1020, 496, 16);
	expect(r, 1, 1007, 480, 16);
	expect(r, 1, 991, 448, 32);
	expect(r, 1, 512 + 447, 384, 64);
	expect(r, 1, 512 + 383, 256, 128);
	expect(r, 1, 512 + 255, 0, 256);
	expect(r, 1, 511, 0, 512);
	/* And back again: that is a stream only once it was seen for two steps. */
	expect(r, 1, 512, 0, 16);
	expect(r, 1, 512 + 16, 16, 32);
}

/* Pieces as far apart as the last three faults were, also across the end of a block. */
static void strides(void **state)
{
	struct rig *r = *state;

	expect(r, 1, 0, 0, 16);
	expect(r, 1, 40, 32, 16);
	expect_stride(r, 80, 1, 40);
	expect_stride(r, 160, 3, 40);
	expect_stride(r, 320, 4, 40); /* of eight, as far as the block goes */
	expect_stride(r, 520, 12, 40);
	expect_stride(r, 520 + 13 * 40, 12, 40);
}

static void strides_down(void **state)
{
	struct rig *r = *state;

	expect(r, 1, 1000, 480, 16);
	expect(r, 1, 900, 384, 16);
	expect_stride(r, 800, 1, -100);
	expect_stride(r, 600, 0, -100); /* the next is of the block before */
	expect_stride(r, 500, 5, -100);
}

/* Several at once, of one object, of several contexts: none hides another. */
static void interleaved(void **state)
{
	struct rig *r = *state;
	unsigned int at = 0, n = 16;

	for (unsigned int step = 0; step < 5; step++) {
		for (unsigned int s = 0; s < 4; s++)
			expect(r, 1 + s % 2, (s / 2 ? 3 * 512U : 8 * 512U) + at, at, n);
		assert_int_equal(touch(r, 2, 1, 20 * 512 + at).n, n); /* another context */
		at += n;
		n = step < 1 ? 16 : 2 * n;
	}
}

/* Who is nobody's successor is brought the granule, and nothing else. */
static void no_stream(void **state)
{
	struct rig *r = *state;
	uint64_t seed = 1;

	for (unsigned int i = 0; i < 10000; i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		touch(r, 1, 1, (seed >> 33) % (1 << 22));
	}
	assert_int_equal(r->pages, 10000 * GRANULE);
	assert_int_equal(r->more, 0);
}

static uint64_t begin(struct rig *r, uint64_t at, unsigned int steps)
{
	while (steps--)
		at += touch(r, 1, 1, at).n;
	return at;
}

/* What was brought was evicted before it was used: less trust, so the windows are smaller. */
static void backs_off(void **state)
{
	struct rig *r = *state;
	uint64_t at = begin(r, 0, 8);

	assert_int_equal(at, 3 * 512); /* two whole blocks by now */
	for (unsigned int i = 0; i < 4; i++) {
		at = begin(r, (10 + 10 * i) * 512, 8);
		expect(r, 1, at - 10, (unsigned int)(at - 10) % 512 / 16 * 16, 16);
	}
	/* Four times: from 64 granules, by steps that went well, to four. */
	at = begin(r, 100 * 512, 6);
	assert_int_equal(touch(r, 1, 1, at).n, 4 * GRANULE);
	/* Steps that go well restore it, eight for each doubling. */
	at = begin(r, at + 4 * GRANULE, 8);
	assert_int_equal(touch(r, 1, 1, at).n, 8 * GRANULE);
}

/* The first steps of a stream that ends: a window that nobody was seen to use. */
static void abandon(struct rig *r, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		begin(r, i * 40 * 512, 4);
	for (unsigned int i = 0; i < 200; i++) /* far from one another, and from all */
		touch(r, 1, 2, i * 7919 * 16ULL);
}

/* A window that nobody was seen to use is counted when its place is wanted. */
static void ended_streams(void **state)
{
	struct rig *r = *state;
	unsigned int n = 0;
	uint64_t at;

	abandon(r, 16);
	at = begin(r, 4000 * 512, 2);
	for (unsigned int i = 0; i < 6; i++, at += n)
		n = touch(r, 1, 1, at).n;
	assert_int_equal(n, GRANULE);
}

/* However much was lost of it, trust comes back: a doubling for eight steps that go well. */
static void trust_returns(void **state)
{
	struct rig *r = *state;
	uint64_t at = 9000 * 512;

	abandon(r, 16);
	for (unsigned int i = 0; i < 18; i++) {
		unsigned int n = touch(r, 1, 1, at).n;

		/* Of the first three steps none could be foreseen. */
		if (n != (i < 3 + 7 ? GRANULE : 2 * GRANULE))
			fail_msg("step %u: %u pages", i, n);
		at += n;
	}
	assert_int_equal(touch(r, 1, 1, at).n, 4 * GRANULE);
	at += 4 * GRANULE;
	for (unsigned int i = 0; i < 60; i++)
		at += touch(r, 1, 1, at).n;
	assert_int_equal(at % 512, 0);
	assert_int_equal(touch(r, 1, 1, at).n, 512);
}

/* Ahead of its time once, however many pages of the window are missed then. */
static void early_once(void **state)
{
	static const unsigned int behind[] = { 60, 133, 250 };
	struct rig *r = *state;
	uint64_t at = begin(r, 0, 8);

	for (unsigned int i = 0; i < 3; i++)
		expect(r, 1, at - behind[i], (unsigned int)(at - behind[i]) % 512 / 16 * 16, 16);
	at = begin(r, 100 * 512, 6);
	assert_int_equal(touch(r, 1, 1, at).n, 16 * GRANULE); /* of 32 */
	at += 16 * GRANULE;
	/* The eleventh step of this stream is the eighth that was foreseen. */
	for (unsigned int i = 8; i < 11; i++, at += 16 * GRANULE)
		assert_int_equal(touch(r, 1, 1, at).n, 16 * GRANULE);
	assert_int_equal(at % 512, 0);
	assert_int_equal(touch(r, 1, 1, at).n, 32 * GRANULE);
}

/* As many are followed at once as the table has places, and not one more. */
static void many_at_once(void **state)
{
	struct rig *r = *state;

	for (unsigned int n = 17; n >= 16; n--)
		for (unsigned int step = 0; step < 3; step++)
			for (unsigned int i = 0; i < n; i++)
				expect(r, 100 * n + i, 16 * step, 16 * step,
				       step == 2 && n == 16 ? 32 : 16);
}

/* One that was seen to go on is kept for longer than what is none. */
static void kept(void **state)
{
	struct rig *r = *state;
	uint64_t at = begin(r, 0, 3);

	for (unsigned int i = 0; i < 60; i++)
		touch(r, 1, 2, i * 7919 * 16ULL);
	expect(r, 1, at, (unsigned int)at, 64);
	at += 64;
	for (unsigned int i = 60; i < 160; i++)
		touch(r, 1, 2, i * 7919 * 16ULL);
	expect(r, 1, at, (unsigned int)at, 16);
}

/* It goes on within a granule of what was brought, whoever's context and object that was. */
static void what_follows(void **state)
{
	struct rig *r = *state;

	expect(r, 1, 1600, 64, 16); /* 3 * 512 + 64 */
	expect(r, 1, 1631, 80, 16);
	expect(r, 1, 1647, 96, 32);
	expect(r, 2, 1600, 64, 16);
	expect(r, 2, 1632, 96, 16); /* a granule was left out */
	expect(r, 2, 1665, 128, 16);
	expect(r, 3, 1600, 64, 16);
	expect(r, 3, 1584, 48, 16); /* backward */
	expect(r, 3, 1568, 16, 32);
	expect(r, 4, 1600, 64, 16);
	expect(r, 4, 1583, 32, 16);
	expect(r, 4, 1550, 0, 16);
	/* Of another object, or another context, nothing is known. */
	expect(r, 5, 0, 0, 16);
	expect(r, 5, 16, 16, 16);
	expect(r, 6, 32, 32, 16);
	assert_int_equal(touch(r, 2, 5, 32).n, 16);
	expect(r, 5, 32, 32, 32);
}

/* The distance is from the last fault that was near, and no longer than two blocks. */
static void how_far(void **state)
{
	static const struct {
		int stride;
		bool seen;
	} rows[] = { { 1024, true }, { -1024, true }, { 1025, false }, { -1025, false } };
	struct gm_policy_move move;
	struct rig *r = *state;

	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int k = 0; k < 3; k++)
			move = touch(r, 1, 10 + i, (uint64_t)(100000 + k * rows[i].stride));
		assert_int_equal(move.stride, rows[i].seen ? rows[i].stride : 0);
	}
	expect(r, 1, 1000, 480, 16);
	expect(r, 1, 100, 96, 16);
	expect(r, 1, 140, 128, 16);
	expect_stride(r, 180, 1, 40);
}

/* The mechanism asks again if it was in somebody's way: the same answer, and nothing is learnt. */
static void asked_again(void **state)
{
	struct rig *r = *state;

	expect(r, 1, 0, 0, 16);
	expect(r, 1, 16, 16, 16);
	for (unsigned int i = 0; i < 300; i++)
		expect(r, 1, 32, 32, 32);
	expect(r, 1, 64, 64, 64);
	for (unsigned int i = 0; i < 300; i++)
		expect(r, 1, 64, 64, 64);
	expect(r, 1, 128, 128, 128);
}

/* Of device pages of 2 MiB or 4 KiB. */
static void other_granules(void **state)
{
	struct gm_policy_block block = { .object = 1 };
	struct gm_policy_fault fault = { .ctx = 1, .granule = 512 };
	struct gm_policy_move move;
	struct rig *r = *state;

	for (block.index = 0; block.index < 8; block.index++) {
		move = (struct gm_policy_move){ .n = 512 };
		gm_move_stream.fault(r->state, &block, &fault, &move);
		assert_int_equal(move.first, 0);
		assert_int_equal(move.n, 512);
		assert_int_equal(move.more, 0);
	}
	block.index = 100;
	fault.granule = 1;
	for (unsigned int n = 1, step = 0; fault.page < 256; fault.page += n, step++) {
		n = step < 2 ? 1 : GM_MIN(2 * n, 64U); /* some trust was gained */
		move = (struct gm_policy_move){ .first = fault.page, .n = 1 };
		gm_move_stream.fault(r->state, &block, &fault, &move);
		assert_int_equal(move.first, fault.page);
		assert_int_equal(move.n, n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(forward, setup, teardown),
		cmocka_unit_test_setup_teardown(backward, setup, teardown),
		cmocka_unit_test_setup_teardown(strides, setup, teardown),
		cmocka_unit_test_setup_teardown(strides_down, setup, teardown),
		cmocka_unit_test_setup_teardown(interleaved, setup, teardown),
		cmocka_unit_test_setup_teardown(no_stream, setup, teardown),
		cmocka_unit_test_setup_teardown(backs_off, setup, teardown),
		cmocka_unit_test_setup_teardown(ended_streams, setup, teardown),
		cmocka_unit_test_setup_teardown(trust_returns, setup, teardown),
		cmocka_unit_test_setup_teardown(early_once, setup, teardown),
		cmocka_unit_test_setup_teardown(many_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(kept, setup, teardown),
		cmocka_unit_test_setup_teardown(what_follows, setup, teardown),
		cmocka_unit_test_setup_teardown(how_far, setup, teardown),
		cmocka_unit_test_setup_teardown(asked_again, setup, teardown),
		cmocka_unit_test_setup_teardown(other_granules, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
