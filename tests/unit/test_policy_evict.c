// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* lru-2m, clock and s3fifo alone, on blocks made by hand: each decision is known. */
#include "unit.h"

#include "core/policy/group.h"

#define ALL_GROUPS UINT32_MAX

static struct gm_mask groups(uint32_t bits)
{
	struct gm_mask m = { { 0 } };

	gm_groups_pages(bits, &m);
	return m;
}

static void expect_mask(const struct gm_mask *is, uint32_t bits)
{
	struct gm_mask want = groups(bits);

	assert_memory_equal(is, &want, sizeof(want));
}

static struct gm_policy_victims ask(const struct gm_evict_policy *p, void *state,
				    struct gm_policy_block *b, unsigned int pressure)
{
	struct gm_policy_victims v = { .go = { { 0 } } };

	p->evict(state, b, 16, pressure, &v);
	return v;
}

static void mask_words(void **state)
{
	struct gm_mask m = { { 0 } };

	(void)state;
	for (unsigned int first = 0; first < 512; first += 37) {
		for (unsigned int n = 1; first + n <= 512; n += 61) {
			gm_mask_set(&m, first, n);
			assert_int_equal(gm_mask_count(&m, 0, 512), n);
			assert_int_equal(gm_mask_count(&m, first, n), n);
			assert_true(gm_mask_test(&m, first) && gm_mask_test(&m, first + n - 1));
			assert_true(!first || !gm_mask_test(&m, first - 1));
			gm_mask_clear(&m, first, n);
			assert_int_equal(gm_mask_count(&m, 0, 512), 0);
		}
	}
	assert_int_equal(gm_groups_in(0, 512), ALL_GROUPS);
	assert_int_equal(gm_groups_in(15, 2), 3);
	assert_int_equal(gm_groups_in(511, 1), 1U << 31);
	m = groups(1U << 31 | 1U << 4 | 1);
	assert_int_equal(gm_groups_of(&m), 1U << 31 | 1U << 4 | 1);
}

static void lru(void **state)
{
	struct gm_policy_block b = { .here = groups(0xf0f0) };
	struct gm_policy_victims v = ask(&gm_evict_lru, NULL, &b, 0);

	(void)state;
	expect_mask(&v.go, 0xf0f0);
	expect_mask(&v.probe, 0);
}

/* Referenced once: spared once. */
static void clock_hand(void **state)
{
	struct gm_policy_block b = { .here = groups(ALL_GROUPS), .aged = 1 };
	struct gm_mask one = { { 0 } };
	struct gm_policy_victims v;

	(void)state;
	gm_evict_clock.came(NULL, &b, 0, 512, GM_POLICY_HINT);
	v = ask(&gm_evict_clock, NULL, &b, 0);
	expect_mask(&v.go, 0);
	expect_mask(&v.probe, 0);
	gm_mask_set(&one, 17, 1);
	gm_evict_clock.used(NULL, &b, &one, 1);
	b.used.word[7] = 1ULL << 63; /* the accessed bit of the last page */
	v = ask(&gm_evict_clock, NULL, &b, 1);
	expect_mask(&v.go, ~(1U << 1 | 1U << 31));
	b.used.word[7] = 0;
	b.here = groups(1U << 1 | 1U << 31);
	v = ask(&gm_evict_clock, NULL, &b, 0);
	expect_mask(&v.go, ALL_GROUPS);
}

/* Of a device that cannot say what it uses what is spared is unmapped, to be seen if it is used. */
static void clock_probes(void **state)
{
	struct gm_policy_block b = { .here = groups(ALL_GROUPS) };
	struct gm_policy_victims v;

	(void)state;
	gm_evict_clock.came(NULL, &b, 40, 8, GM_POLICY_FAULT);
	v = ask(&gm_evict_clock, NULL, &b, 0);
	expect_mask(&v.go, ~(1U << 2));
	expect_mask(&v.probe, 1U << 2);
}

/* ------------------------------------------------------------------------ s3fifo */

#define FRAMES 1280U /* 80 groups: the small queue is to have eight, a step is 320 pages */

struct rig {
	void *state;
	struct gm_policy_block b;
	uint8_t bytes[GM_POLICY_PAGES];
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->state = calloc(1, gm_evict_s3fifo.state_size);
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

static void come(struct rig *r, unsigned int group, unsigned int n)
{
	gm_mask_set(&r->b.here, group * 16, n * 16);
	r->b.clock += n * 16;
	gm_evict_s3fifo.came(r->state, &r->b, group * 16, n * 16, GM_POLICY_HINT);
}

static void use(struct rig *r, uint32_t bits, uint64_t times)
{
	struct gm_mask m = groups(bits);

	gm_evict_s3fifo.used(r->state, &r->b, &m, times);
}

static void go(struct rig *r, unsigned int group, unsigned int n, enum gm_policy_why why)
{
	gm_mask_clear(&r->b.here, group * 16, n * 16);
	gm_evict_s3fifo.went(r->state, &r->b, group * 16, n * 16, why);
}

static uint32_t victims(struct rig *r, unsigned int pressure)
{
	struct gm_policy_victims v = ask(&gm_evict_s3fifo, r->state, &r->b, pressure);

	expect_mask(&v.probe, 0);
	return gm_groups_of(&v.go);
}

/* What is not used again leaves by the small queue; what is moves on to the main one. */
static void small_queue(void **state)
{
	struct rig *r = *state;

	come(r, 0, 8);
	assert_int_equal(victims(r, 0), 0); /* eight are not too many, and main is empty */
	come(r, 8, 2);
	use(r, 1U << 5, 2);
	r->b.used = groups(1U << 7); /* that is what it came for */
	assert_int_equal(victims(r, 0), 0);
	r->b.used = groups(1U << 4);
	use(r, 1U << 3, 1);
	assert_int_equal(victims(r, 0), 0x3ff & ~(1U << 3 | 1U << 4 | 1U << 5));
	r->b.used = groups(0);
	go(r, 0, 3, GM_POLICY_EVICT);
	go(r, 6, 4, GM_POLICY_EVICT);
	/* Only those in the main queue are left, with no use counted there. */
	assert_int_equal(victims(r, 0), 1U << 3 | 1U << 4 | 1U << 5);
}

/* The use for which it came is none; the next one is. */
static void first_use(void **state)
{
	struct rig *r = *state;

	for (unsigned int g = 0; g < 10; g++) {
		gm_mask_set(&r->b.here, g * 16, 16);
		gm_evict_s3fifo.came(r->state, &r->b, g * 16, 16, GM_POLICY_FAULT);
		use(r, 1U << g, g == 1 ? 2 : 1);
	}
	use(r, 1, 2);
	assert_int_equal(victims(r, 0), 0);
	assert_int_equal(victims(r, 0), 0x3fe);
}

/* A ghost that comes back soon goes to the main queue; one that is old, or was unmapped, not. */
static void ghosts(void **state)
{
	struct rig *r = *state;

	come(r, 0, 9);
	assert_int_equal(victims(r, 0), 0);
	assert_int_equal(victims(r, 0), 0x1ff);
	go(r, 0, 8, GM_POLICY_EVICT);
	go(r, 8, 1, GM_POLICY_DROP);
	come(r, 0, 2);
	come(r, 8, 1);
	use(r, 1, 1);
	/* Groups 0 and 1 are in main, 8 in small; it is main's turn, and 0 was used there. */
	assert_int_equal(victims(r, 0), 1U << 1);
	go(r, 1, 1, GM_POLICY_EVICT);
	assert_int_equal(victims(r, 0), 1);
	go(r, 0, 1, GM_POLICY_EVICT);
	assert_int_equal(victims(r, 0), 0);
	r->b.clock += FRAMES; /* as many pages as the device has: the ghosts are forgotten */
	come(r, 2, 1);
	assert_int_equal(victims(r, 0), 0);
	assert_int_equal(victims(r, GM_PRESSURE_MAX / 4), 1U << 8 | 1U << 2);
}

/* Spared in the main queue as often as it was used, three times at most. */
static void main_queue(void **state)
{
	struct rig *r = *state;

	come(r, 0, 9);
	use(r, 0x1ff, 9);
	assert_int_equal(victims(r, 0), 0); /* all move on */
	use(r, 1, 1);
	use(r, 2, 100);
	r->b.used = groups(4); /* the accessed bit of group 2 */
	assert_int_equal(victims(r, 0), 0x1f8);
	r->b.used = groups(0);
	go(r, 3, 6, GM_POLICY_EVICT);
	assert_int_equal(victims(r, 0), 5);
	go(r, 0, 1, GM_POLICY_EVICT);
	go(r, 2, 1, GM_POLICY_EVICT);
	assert_int_equal(victims(r, 0), 0);
	assert_int_equal(victims(r, 0), 2);
}

/* The small queue's share is a tenth of the device, to the page. */
static void tenth(void **state)
{
	struct rig *r = *state;

	come(r, 0, 8);
	assert_int_equal(victims(r, 0), 0);
	assert_int_equal(victims(r, 0), 0); /* not even looked at */
	r->b.frames--;
	assert_int_equal(victims(r, 0), 0);
	assert_int_equal(victims(r, 0), 0xff);
}

/* What was used before the first look may be what it came for: the look begins the count. */
static void first_look(void **state)
{
	struct rig *r = *state;

	come(r, 0, 8);
	r->b.used = groups(1U << 2);
	assert_int_equal(victims(r, 0), 0); /* it is not their turn */
	assert_int_equal(victims(r, 0), 0);
	r->b.used = groups(0);
	come(r, 8, 2);
	use(r, 1, 1);
	use(r, 2, 2);
	assert_int_equal(victims(r, 0), 0);
	assert_int_equal(victims(r, 0), 0x3ff & ~2U);
}

/* Under pressure the small queue is not looked at twice, and the other's turn comes as well. */
static void hurried(void **state)
{
	struct rig *r = *state;

	come(r, 0, 10);
	assert_int_equal(victims(r, GM_PRESSURE_MAX / 4 - 1), 0);
	come(r, 10, 2);
	assert_int_equal(victims(r, GM_PRESSURE_MAX / 4), 0xfff);
	go(r, 0, 12, GM_POLICY_DROP);
	come(r, 0, 3);
	assert_int_equal(victims(r, GM_PRESSURE_MAX / 4 - 1), 0);
	assert_int_equal(victims(r, GM_PRESSURE_MAX / 4), 7);
}

/* A ghost is young for as many pages as the device has, less a quarter; then again, seemingly. */
static void old_ghosts(void **state)
{
	static const struct {
		uint64_t quarters;
		bool young;
	} rows[] = { { 0, true }, { 3, true }, { 4, false }, { 15, false }, { 16, true } };
	struct rig *r = *state;

	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		come(r, 0, 9);
		assert_int_equal(victims(r, 0), 0);
		assert_int_equal(victims(r, 0), 0x1ff);
		r->b.clock = 1 << 20; /* a step begins */
		go(r, 0, 9, GM_POLICY_EVICT);
		r->b.clock += rows[i].quarters * FRAMES / 4;
		come(r, 0, 1);
		/* In the main queue, where nothing used it; or in the small one, which is not full. */
		if (victims(r, 0) != rows[i].young)
			fail_msg("a ghost after %u quarters", (unsigned int)rows[i].quarters);
		go(r, 0, 1, GM_POLICY_DROP);
		r->b.clock = 0;
	}
}

/* Only what leaves the small queue is a ghost, and only once all of it has left. */
static void no_ghosts(void **state)
{
	struct rig *r = *state;

	come(r, 0, 9);
	use(r, 3, 2);
	assert_int_equal(victims(r, 0), 0); /* 0 and 1 move on */
	go(r, 2, 7, GM_POLICY_DROP);
	/* Half of a group goes: the rest is in the main queue as ever. */
	gm_mask_clear(&r->b.here, 0, 8);
	gm_evict_s3fifo.went(r->state, &r->b, 0, 8, GM_POLICY_EVICT);
	use(r, 2, 1);
	assert_int_equal(victims(r, 0), 1);
	go(r, 0, 1, GM_POLICY_EVICT);
	go(r, 1, 1, GM_POLICY_EVICT);
	come(r, 0, 2); /* back in the small queue, which is not full */
	assert_int_equal(victims(r, 0), 0);
}

/* A scan passes by what is in use. */
static void scan(void **state)
{
	struct rig *r = *state;

	come(r, 0, 9);
	use(r, 0x1ff, 2);
	assert_int_equal(victims(r, 0), 0);
	for (unsigned int i = 0; i < 100; i++) {
		use(r, 0x1ff, 1);
		come(r, 16, 16);
		assert_int_equal(victims(r, 0), 0);
		assert_int_equal(victims(r, 0), 0xffff0000);
		go(r, 16, 16, GM_POLICY_DROP); /* other memory each time: no ghost comes back */
	}
}

/* What was there before the policy was, what is away, and no memory for the bytes. */
static void unknown_pages(void **state)
{
	struct rig *r = *state;
	struct gm_policy_victims v;

	r->b.here = groups(ALL_GROUPS);
	assert_int_equal(victims(r, 0), 0); /* they are admitted, not judged */
	assert_int_equal(victims(r, 0), 0);
	assert_int_equal(victims(r, 0), ALL_GROUPS);
	r->b.bytes = NULL;
	come(r, 0, 1);
	assert_int_equal(r->b.want_bytes, 1);
	use(r, 1, 1);
	go(r, 0, 1, GM_POLICY_EVICT);
	r->b.here = groups(0xf);
	r->b.aged = 0;
	v = ask(&gm_evict_s3fifo, r->state, &r->b, 0);
	expect_mask(&v.go, 0xf);
}

static void probes(void **state)
{
	struct rig *r = *state;
	struct gm_policy_victims v;

	r->b.aged = 0;
	come(r, 0, 10);
	use(r, 1, 2);
	v = ask(&gm_evict_s3fifo, r->state, &r->b, 0);
	expect_mask(&v.go, 0);
	expect_mask(&v.probe, ALL_GROUPS);
	use(r, 1U << 2, 1); /* the fault that it took */
	v = ask(&gm_evict_s3fifo, r->state, &r->b, 0);
	expect_mask(&v.go, 0x3fa);
	expect_mask(&v.probe, ~0x3faU);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mask_words),
		cmocka_unit_test(lru),
		cmocka_unit_test(clock_hand),
		cmocka_unit_test(clock_probes),
		cmocka_unit_test_setup_teardown(small_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(first_use, setup, teardown),
		cmocka_unit_test_setup_teardown(ghosts, setup, teardown),
		cmocka_unit_test_setup_teardown(main_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(tenth, setup, teardown),
		cmocka_unit_test_setup_teardown(first_look, setup, teardown),
		cmocka_unit_test_setup_teardown(hurried, setup, teardown),
		cmocka_unit_test_setup_teardown(old_ghosts, setup, teardown),
		cmocka_unit_test_setup_teardown(no_ghosts, setup, teardown),
		cmocka_unit_test_setup_teardown(scan, setup, teardown),
		cmocka_unit_test_setup_teardown(unknown_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(probes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
