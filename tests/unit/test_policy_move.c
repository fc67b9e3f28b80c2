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

/* A window that nobody was seen to use is counted when its place is wanted. */
static void ended_streams(void **state)
{
	struct rig *r = *state;
	unsigned int n = 0;
	uint64_t at;

	for (unsigned int i = 0; i < 16; i++)
		begin(r, i * 40 * 512, 4);
	for (unsigned int i = 0; i < 200; i++) /* far from one another, and from all */
		touch(r, 1, 2, i * 7919 * 16ULL);
	at = begin(r, 4000 * 512, 2);
	for (unsigned int i = 0; i < 6; i++, at += n)
		n = touch(r, 1, 1, at).n;
	assert_int_equal(n, GRANULE);
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
		cmocka_unit_test_setup_teardown(asked_again, setup, teardown),
		cmocka_unit_test_setup_teardown(other_granules, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
