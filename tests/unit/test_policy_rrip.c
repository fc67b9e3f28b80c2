// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * rrip alone, on a block made by hand: each decision is known.
 *
 * A visit is what the mechanism makes of it: the same block again and again, for as long as
 * something goes. But for those of whole blocks the tests have pages 0 to 63 only, a word of a mask.
 */
#include "unit.h"

#include "core/policy.h"

#define FRAMES 8192U /* as large as a batch grows: 64 */

struct rig {
	void *state;
	struct gm_policy_block b;
	uint8_t bytes[GM_POLICY_PAGES];
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->state = calloc(1, gm_evict_rrip.state_size);
	assert_non_null(r->state);
	r->b.bytes = r->bytes;
	r->b.frames = FRAMES;
	r->b.aged = 1;
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

static void come(struct rig *r, unsigned int first, unsigned int n)
{
	gm_mask_set(&r->b.here, first, n);
	gm_evict_rrip.came(r->state, &r->b, first, n, GM_POLICY_FAULT);
}

static void use(struct rig *r, uint64_t pages)
{
	const struct gm_mask m = { { pages } };

	gm_evict_rrip.used(r->state, &r->b, &m, 1);
}

static struct gm_policy_victims ask(struct rig *r, uint64_t want, unsigned int pressure)
{
	struct gm_policy_victims v = { .go = { { 0 } } };

	gm_evict_rrip.evict(r->state, &r->b, want, pressure, &v);
	return v;
}

static unsigned int going(const struct gm_policy_victims *v)
{
	return gm_mask_count(&v->go, 0, GM_POLICY_PAGES);
}

/* The hand comes by, in need: what goes, all of which is gone then. */
static uint64_t visit(struct rig *r, unsigned int pressure)
{
	struct gm_policy_victims v;
	uint64_t all = 0;

	while (v = ask(r, GM_POLICY_PAGES, pressure), going(&v)) {
		assert_int_equal(going(&v), gm_mask_weight(v.go.word[0]));
		assert_int_equal(v.go.word[0] & ~r->b.here.word[0], 0);
		assert_int_equal(v.stays, 1); /* there may be more */
		r->b.here.word[0] &= ~v.go.word[0];
		all |= v.go.word[0];
		r->b.used.word[0] = 0; /* read, and cleared */
	}
	assert_int_equal(v.stays, 0);
	assert_int_equal(v.hottest, !pressure);
	return all;
}

/* ------------------------------------------------------------------------- heat */

/* Spared by the first visit, gone by the next; but for one of four, spared once more. */
static void new_pages(void **state)
{
	struct rig *r = *state;

	come(r, 0, 8);
	assert_int_equal(visit(r, 1), 0);
	assert_int_equal(visit(r, 1), 0xee);
	assert_int_equal(visit(r, 1), 0x11);
	/* It is pages that are counted, whatever they come with, and not blocks or faults. */
	for (unsigned int page = 0; page < 6; page++)
		come(r, page, 1);
	come(r, 6, 4);
	assert_int_equal(visit(r, 1), 0);
	assert_int_equal(visit(r, 1), 0x3ff & ~0x111U);
	assert_int_equal(visit(r, 1), 0x111);
}

/* Used since the last visit is as hot as can be, by a fault or by an accessed bit. */
static void used_pages(void **state)
{
	struct rig *r = *state;

	come(r, 0, 8);
	assert_int_equal(visit(r, 1), 0);
	use(r, 2);
	r->b.used.word[0] = 4;
	assert_int_equal(visit(r, 1), 0xe8);
	r->b.used.word[0] = 0;
	assert_int_equal(visit(r, 1), 0x11);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(visit(r, 1), 0);
	use(r, 2); /* on the last occasion */
	assert_int_equal(visit(r, 1), 4);
	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(visit(r, 1), 0);
	assert_int_equal(visit(r, 1), 2);
}

/* The use that a page came for is no use, nor are any until the first visit. */
static void first_use(void **state)
{
	struct rig *r = *state;

	come(r, 0, 8);
	use(r, 0xff);
	r->b.used.word[0] = 0xff;
	assert_int_equal(visit(r, 1), 0);
	r->b.used.word[0] = 0;
	assert_int_equal(visit(r, 1), 0xee);
	/* What comes back is as new as any. */
	use(r, 0x11);
	assert_int_equal(visit(r, 1), 0);
	r->b.here.word[0] = 0;
	come(r, 0, 8);
	assert_int_equal(visit(r, 1), 0);
	assert_int_equal(visit(r, 1), 0xee);
	assert_int_equal(visit(r, 1), 0x11);
}

/* The more was passed over the warmer a page may be. */
static void pressed(void **state)
{
	static const struct {
		unsigned int pressure, visits; /* until what was hot goes */
	} rows[] = { { 1, 7 }, { 7, 7 }, { 8, 6 }, { 15, 6 }, { 16, 5 }, { 31, 4 } };
	struct rig *r = *state;

	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned int visits = 0;

		come(r, 1, 1);
		assert_int_equal(visit(r, 1), 0);
		use(r, 2);
		assert_int_equal(visit(r, rows[i].pressure), 0);
		while (!visit(r, rows[i].pressure))
			visits++;
		if (visits + 1 != rows[i].visits)
			fail_msg("pressure %u: %u visits, not %u", rows[i].pressure, visits + 1,
				 rows[i].visits);
	}
}

/* ------------------------------------------------------------------------- pace */

/* Questions without need until the hand looks at the block. */
static unsigned int questions(struct rig *r)
{
	struct gm_policy_victims v;
	unsigned int n = 0;

	while (n++, v = ask(r, 16, 0), v.stays) {
		/* Passed over, in its place; and whether there is better at the hot end is asked. */
		assert_int_equal(going(&v), 0);
		assert_int_equal(v.hottest, 1);
		assert_int_equal(gm_mask_count(&v.probe, 0, GM_POLICY_PAGES), 0);
		assert_true(n < 1000);
	}
	return n;
}

/* Of a block all of which is in use, so that none goes. */
static void in_use(struct rig *r, unsigned int n)
{
	r->b.here = r->b.used = (struct gm_mask){ { 0 } };
	gm_mask_set(&r->b.here, 0, n);
	gm_mask_set(&r->b.used, 0, n);
}

/* The hand moves a page for each that comes, and eight for each question. */
static void pace(void **state)
{
	struct rig *r = *state;

	in_use(r, 512);
	assert_int_equal(questions(r), 512 / 8);
	assert_int_equal(questions(r), 512 / 8);
	in_use(r, 80);
	come(r, 0, 80);
	assert_int_equal(questions(r), 1);
	assert_int_equal(questions(r), 80 / 8 - 1); /* a question's worth was left */
	/* It does not save up more than what two blocks take. */
	in_use(r, 512);
	for (unsigned int i = 0; i < 10; i++)
		come(r, 0, 512);
	assert_int_equal(questions(r), 1);
	assert_int_equal(questions(r), 1);
	assert_int_equal(questions(r), 512 / 8 - 1);
}

/* In need it looks before its time, and owes nothing for that. */
static void pace_in_need(void **state)
{
	struct gm_policy_victims v;
	struct rig *r = *state;

	in_use(r, 512);
	gm_evict_rrip.came(r->state, &r->b, 0, 100, GM_POLICY_HINT);
	v = ask(r, 16, 1);
	assert_int_equal(v.stays, 0);
	assert_int_equal(v.hottest, 0);
	assert_int_equal(questions(r), 512 / 8);
}

/* As long as a block has some to give it is not looked at again, and keeps its place. */
static void one_visit(void **state)
{
	struct gm_policy_victims v;
	struct rig *r = *state;

	r->b.here.word[0] = ~0ULL;
	r->b.frames = 128 * 16;
	assert_int_equal(visit(r, 1), 0);
	while (v = ask(r, 1, 0), v.hottest)
		assert_int_equal(going(&v), 0);
	for (unsigned int left = 64 - 16;; left -= 16) {
		assert_int_equal(going(&v), 16);
		assert_int_equal(v.stays, 1);
		assert_int_equal(v.hottest, 0);
		r->b.here.word[0] &= ~v.go.word[0];
		assert_int_equal(gm_mask_weight(r->b.here.word[0]), left);
		v = ask(r, 1, 0);
		if (!left)
			break;
	}
	assert_int_equal(going(&v), 0);
	assert_int_equal(v.stays, 0);
	assert_int_equal(v.hottest, 1);
}

/* ----------------------------------------------------------------------- the hot end */

static uint64_t at_hot_end(struct rig *r)
{
	struct gm_policy_victims v;
	uint8_t were[GM_POLICY_PAGES];

	memcpy(were, r->bytes, sizeof(were));
	r->b.hottest = 1;
	v = ask(r, GM_POLICY_PAGES, 0);
	r->b.hottest = 0;
	assert_int_equal(v.stays, 1); /* it is the hottest as it is */
	assert_int_equal(v.hottest, 0);
	assert_int_equal(gm_mask_count(&v.probe, 0, GM_POLICY_PAGES), 0);
	assert_int_equal(going(&v), gm_mask_weight(v.go.word[0]));
	return v.go.word[0];
}

/* What came last and was used once; not what waits for its use, nor one of four. */
static void hot_end(void **state)
{
	struct rig *r = *state;

	come(r, 0, 16);
	assert_int_equal(at_hot_end(r), 0);
	use(r, 0xff);
	r->b.used.word[0] = 0x300;
	assert_int_equal(at_hot_end(r), 0x3ff & ~0x111U);
	r->b.used.word[0] = 0;
	assert_int_equal(at_hot_end(r), 0x3ff & ~0x111U); /* it is noted, and no degree colder */
	gm_mask_set(&r->b.pinned, 0, 2);
	assert_int_equal(at_hot_end(r), 0x3fc & ~0x110U);
	gm_mask_clear(&r->b.pinned, 0, 2);
	/* What the hand has come by is for the hand. */
	assert_int_equal(visit(r, 1), 0);
	use(r, 0xffff);
	assert_int_equal(at_hot_end(r), 0);
	assert_int_equal(visit(r, 1), 0);
	assert_int_equal(at_hot_end(r), 0);
}

/* A loop that does not fit: what goes is of the last that came, and one of four of these stays. */
static void hot_end_of_loop(void **state)
{
	struct rig *r = *state;
	uint64_t kept = 0;

	for (unsigned int page = 0; page < 64; page++) {
		come(r, page, 1);
		use(r, 1ULL << page);
		if (page % 16 == 15) {
			uint64_t go = at_hot_end(r);

			assert_int_equal(go, 0xeeeeULL << (page - 15));
			r->b.here.word[0] &= ~go;
			kept |= r->b.here.word[0];
		}
	}
	assert_int_equal(kept, 0x1111111111111111ULL);
}

/* --------------------------------------------------------------------------- batches */

static void batches(void **state)
{
	static const struct {
		uint64_t frames, want;
		unsigned int n;
	} rows[] = { { 512, 1, 16 },	    { 128 * 40, 1, 40 },  { 1 << 20, 1, 64 },
		     { 512, 17, 17 },	    { 128 * 40, 41, 41 }, { 1 << 20, 100, 100 },
		     { 512, 1000000, 512 }, { 1 << 20, 512, 512 } };
	struct gm_policy_victims v, w;
	struct rig *r = *state;

	gm_mask_set(&r->b.here, 0, 512);
	(void)ask(r, 1, 1); /* now it is known, and cold at the next visit */
	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		r->b.frames = rows[i].frames;
		v = ask(r, rows[i].want, 1);
		w = ask(r, rows[i].want, 1);
		if (going(&v) != rows[i].n || going(&w) != rows[i].n)
			fail_msg("row %u: %u and %u pages", i, going(&v), going(&w));
		/* Not the first ones again, which would be the first to go each time. */
		if (rows[i].n < 61)
			for (unsigned int k = 0; k < GM_POLICY_WORDS; k++)
				assert_int_equal(v.go.word[k] & w.go.word[k], 0);
	}
	r->b.hottest = 1;
	memset(r->bytes, 0, sizeof(r->bytes));
	gm_evict_rrip.came(r->state, &r->b, 0, 512, GM_POLICY_FAULT);
	gm_evict_rrip.used(r->state, &r->b, &r->b.here, 1);
	r->b.frames = 512;
	v = ask(r, 1, 0);
	assert_int_equal(going(&v), 16);
	v = ask(r, 512, 0);
	assert_int_equal(going(&v), 512 - 128);
}

/* Pages that are pinned, or not here, are not counted in a batch. */
static void not_these(void **state)
{
	struct gm_policy_victims v;
	struct rig *r = *state;

	gm_mask_set(&r->b.here, 0, 300);
	gm_mask_set(&r->b.pinned, 0, 200);
	(void)ask(r, 1, 1);
	for (unsigned int i = 0; i < 9; i++) {
		v = ask(r, 64, 1);
		assert_int_equal(going(&v), 64);
		assert_int_equal(gm_mask_count(&v.go, 200, 100), 64);
	}
	v = ask(r, 512, 1);
	assert_int_equal(gm_mask_count(&v.go, 200, 100), 100);
	assert_int_equal(going(&v), 100);
}

/* ------------------------------------------------------ what it does not know, or cannot */

/* Pages that were there before it are as good as new. */
static void unknown_pages(void **state)
{
	struct rig *r = *state;

	r->b.here.word[0] = 0xff;
	r->b.used.word[0] = 0xf;
	assert_int_equal(visit(r, 1), 0);
	assert_int_equal(visit(r, 1), 0xf0); /* it was used since */
	r->b.used.word[0] = 0;
	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(visit(r, 1), 0);
	assert_int_equal(visit(r, 1), 0xf);
	/* Words and bytes are 0 again when it is chosen anew. */
	r->b.word = 0;
	memset(r->bytes, 0, sizeof(r->bytes));
	r->b.here.word[0] = 0xff;
	use(r, 0xc); /* all that is known of these */
	assert_int_equal(at_hot_end(r), 0xc);
	assert_int_equal(visit(r, 1), 0);
	assert_int_equal(visit(r, 1), 0xff);
}

/* Bytes are asked for where they will be needed: less than an eighth is free. */
static void wants_bytes(void **state)
{
	struct rig *r = *state;

	r->b.bytes = NULL;
	r->b.free = FRAMES / 8;
	come(r, 0, 8);
	assert_int_equal(r->b.want_bytes, 0);
	r->b.free--;
	come(r, 8, 8);
	assert_int_equal(r->b.want_bytes, 1);
}

/* No memory for them: as if nothing were known, and nothing is remembered. */
static void no_bytes(void **state)
{
	struct rig *r = *state;
	struct gm_policy_victims v;

	r->b.bytes = NULL;
	come(r, 3, 50);
	use(r, 0xff);
	gm_mask_set(&r->b.here, 400, 50);
	r->b.aged = 0;
	for (unsigned int hottest = 0; hottest < 2; hottest++) {
		r->b.hottest = hottest;
		v = ask(r, 1, 0);
		assert_memory_equal(&v.go, &r->b.here, sizeof(v.go));
		assert_int_equal(gm_mask_count(&v.probe, 0, 512), 0);
		assert_int_equal(v.stays, 0);
		assert_int_equal(r->b.word, 0);
	}
}

/* Without accessed bits all of it is unmapped at each visit, once: a fault says what is used. */
static void probes(void **state)
{
	struct gm_policy_victims v;
	struct rig *r = *state;

	r->b.aged = 0;
	come(r, 0, 8);
	for (unsigned int i = 0; i < 2; i++) {
		v = ask(r, 3, 1);
		assert_int_equal(v.probe.word[0], 0xff);
		assert_int_equal(gm_mask_count(&v.probe, 0, 512), 8);
		use(r, 2);
	}
	assert_true(going(&v)); /* the block has some to give, and is not left */
	r->b.here.word[0] &= ~v.go.word[0];
	v = ask(r, 3, 1);
	assert_int_equal(gm_mask_count(&v.probe, 0, 512), 0);
	assert_int_equal(at_hot_end(r), 0);
	/* Nor where the hand is not. */
	r->b.word = 0;
	r->b.here.word[1] = ~0ULL;
	v = ask(r, 3, 0);
	assert_int_equal(v.stays, 1);
	assert_int_equal(gm_mask_count(&v.probe, 0, 512), 0);
}

/* -------------------------------------------------------------------------- together */

/* A scan passes by what is used again and again: not one page of that goes. */
static void scan(void **state)
{
	struct rig *r = *state;
	uint64_t hot = 0xffffULL;

	come(r, 0, 16);
	for (unsigned int i = 0; i < 100; i++) {
		uint64_t went;

		come(r, 16, 48);
		use(r, ~0ULL);
		went = at_hot_end(r);
		r->b.here.word[0] &= ~went;
		went |= visit(r, 1);
		went |= visit(r, 1);
		if (i && went & hot) /* at first these were as new as the scan's */
			fail_msg("round %u: %llx", i, (unsigned long long)(went & hot));
		assert_true(gm_mask_weight(went & ~hot) >= 36);
		r->b.here.word[0] = ~0ULL;
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(new_pages),   TEST(used_pages), TEST(first_use),
		TEST(pressed),	   TEST(pace),	     TEST(pace_in_need),
		TEST(one_visit),   TEST(hot_end),    TEST(hot_end_of_loop),
		TEST(batches),	   TEST(not_these),  TEST(unknown_pages),
		TEST(wants_bytes), TEST(no_bytes),   TEST(probes),
		TEST(scan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
