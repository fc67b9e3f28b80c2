// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The buddy allocator: sizes, alignment, merging, and a random run against a map. */
#include "unit.h"

#include "core/buddy.h"

#define SEED 20240511U

static void whole_gigabyte(void **state)
{
	const uint64_t base = 5ULL << 18, frames = 1ULL << 18;
	struct gm_buddy b;
	uint64_t pfn;

	(void)state;
	assert_int_equal(gm_buddy_init(&b, base, base + frames), 0);
	assert_int_equal(b.free, frames);
	assert_true(b.memory_size <= frames * 16); /* 16 bytes a frame are allowed */
	assert_true(gm_buddy_alloc(&b, GM_MAX_ORDER, &pfn));
	assert_int_equal(pfn, base);
	assert_int_equal(b.free, 0);
	assert_false(gm_buddy_alloc(&b, 0, &pfn));
	gm_buddy_free(&b, base, frames);
	assert_true(gm_buddy_alloc(&b, GM_MAX_ORDER, &pfn));
	gm_buddy_free(&b, pfn, frames);
	gm_buddy_destroy(&b);
}

static void every_order(void **state)
{
	const uint64_t base = 3, end = base + 700000; /* neither end is aligned */
	struct gm_buddy b;

	(void)state;
	assert_int_equal(gm_buddy_init(&b, base, end), 0);
	for (unsigned int o = 0; o <= GM_MAX_ORDER; o++) {
		uint64_t pfn;

		assert_true(gm_buddy_alloc(&b, o, &pfn));
		assert_int_equal(pfn & ((1ULL << o) - 1), 0);
		assert_true(pfn >= base && pfn + (1ULL << o) <= end);
		gm_buddy_free(&b, pfn, 1ULL << o);
	}
	assert_int_equal(b.free, end - base);
	gm_buddy_destroy(&b);
}

/* Any part of an extent may be freed, in any order, and all merges again. */
static void free_in_parts(void **state)
{
	struct gm_buddy b;
	uint64_t pfn, again;

	(void)state;
	assert_int_equal(gm_buddy_init(&b, 0, 1024), 0);
	assert_true(gm_buddy_alloc(&b, 9, &pfn));
	assert_true(gm_buddy_alloc(&b, 9, &again));
	for (uint64_t i = 0; i < 512; i += 2)
		gm_buddy_free(&b, pfn + i, 1);
	assert_false(gm_buddy_alloc(&b, 1, &again));
	for (uint64_t i = 1; i < 512; i += 2)
		gm_buddy_free(&b, pfn + i, 1);
	assert_true(gm_buddy_alloc(&b, 9, &again));
	assert_int_equal(again, pfn);
	gm_buddy_free(&b, 0, 1024);
	assert_true(gm_buddy_alloc(&b, 10, &pfn));
	gm_buddy_free(&b, pfn, 1024);
	gm_buddy_destroy(&b);
}

/* A frame is taken out of the middle of whatever is free; the rest is as free as it was. */
static void take(void **state)
{
	static const uint64_t at[] = { 100, 101, 612, 2047, 1024, 513 };
	struct gm_buddy b;
	uint64_t pfn;

	(void)state;
	assert_int_equal(gm_buddy_init(&b, 100, 2048), 0);
	for (unsigned int i = 0; i < 6; i++) {
		assert_true(gm_buddy_take(&b, at[i]));
		assert_false(gm_buddy_take(&b, at[i]));
		assert_false(gm_buddy_is_free(&b, at[i]));
		assert_int_equal(b.free, 2048 - 100 - i - 1);
	}
	for (uint64_t f = 102; f < 2048; f++)
		assert_int_equal(gm_buddy_is_free(&b, f),
				 f != 612 && f != 2047 && f != 1024 && f != 513);
	/* The largest extent left lies between two of them. */
	assert_false(gm_buddy_alloc(&b, 9, &pfn));
	assert_true(gm_buddy_alloc(&b, 8, &pfn));
	assert_int_equal(pfn, 256);
	assert_false(gm_buddy_take(&b, 300)); /* it is somebody's */
	gm_buddy_free(&b, 256, 256);
	for (unsigned int i = 0; i < 6; i++)
		gm_buddy_free(&b, at[i], 1);
	assert_true(gm_buddy_alloc(&b, 10, &pfn)); /* all has merged again */
	gm_buddy_destroy(&b);
}

/* An extent that is named, and one at a place within a larger: the smallest that is large enough. */
static void named(void **state)
{
	const uint64_t base = 1ULL << 18;
	struct gm_buddy b;
	uint64_t pfn;

	(void)state;
	assert_int_equal(gm_buddy_init(&b, base, base + 4096 + 1024), 0);
	assert_false(gm_buddy_alloc_at(&b, 9, base - 512));
	assert_false(gm_buddy_alloc_at(&b, 9, base + 5120));
	assert_false(gm_buddy_alloc_at(&b, 9, base + 100)); /* not aligned */
	assert_true(gm_buddy_alloc_at(&b, 9, base + 1536));
	assert_false(gm_buddy_alloc_at(&b, 9, base + 1536));
	assert_false(gm_buddy_alloc_at(&b, 10, base + 1024));
	assert_false(gm_buddy_alloc_at(&b, 0, base + 2047));
	assert_int_equal(b.free, 5120 - 512);
	gm_buddy_free(&b, base + 1536, 512);

	assert_true(gm_buddy_alloc_in(&b, 9, 10, 512, &pfn));
	assert_int_equal(pfn, base + 4096 + 512); /* not out of the large one */
	assert_true(gm_buddy_alloc_in(&b, 9, 9, 0, &pfn));
	assert_int_equal(pfn, base + 4096);
	assert_false(gm_buddy_alloc_in(&b, 9, 13, 0, &pfn));
	assert_true(gm_buddy_alloc_in(&b, 9, 12, 2560, &pfn));
	assert_int_equal(pfn, base + 2560);
	assert_false(gm_buddy_alloc_in(&b, 9, 12, 0, &pfn));
	assert_true(gm_buddy_alloc_in(&b, 9, 11, 512, &pfn));
	assert_int_equal(pfn, base + 512);
	assert_int_equal(b.free, 2048 + 1024);
	gm_buddy_free(&b, base + 512, 512);
	gm_buddy_free(&b, base + 2560, 512);
	gm_buddy_free(&b, base + 4096, 1024);
	assert_true(gm_buddy_alloc_at(&b, 12, base)); /* all has merged again */
	gm_buddy_destroy(&b);
}

static void take_outside(void *arg)
{
	gm_buddy_take(arg, 1024);
}

#ifdef GM_DEBUG
static void free_twice(void *arg)
{
	struct gm_buddy *b = arg;

	gm_buddy_free(b, 7, 1);
}
#endif

static void free_outside(void *arg)
{
	struct gm_buddy *b = arg;

	gm_buddy_free(b, 1023, 2);
}

static void misuse(void **state)
{
	struct gm_buddy b;

	(void)state;
	assert_int_equal(gm_buddy_init(&b, 0, 1024), 0);
#ifdef GM_DEBUG
	unit_expect_bug(free_twice, &b, "is_free");
#endif
	unit_expect_bug(free_outside, &b, "end");
	unit_expect_bug(take_outside, &b, "end");
	gm_buddy_destroy(&b);
}

static void no_memory(void **state)
{
	struct gm_buddy b;

	(void)state;
	gm_fake_inject(GM_FAKE_ALLOC, 0, 1, -ENOMEM);
	assert_int_equal(gm_buddy_init(&b, 0, 1024), -ENOMEM);
}

#define FRAMES 3000U
#define BASE 100U

/* Nothing is handed out twice, what is free is free, nothing gets lost. */
static void random_run(void **state)
{
	static bool used[FRAMES];
	unsigned int seed = SEED, in_use = 0;
	struct gm_buddy b;

	(void)state;
	print_message("seed %u\n", seed);
	memset(used, 0, sizeof(used));
	assert_int_equal(gm_buddy_init(&b, BASE, BASE + FRAMES), 0);
	for (unsigned int step = 0; step < 100000; step++) {
		unsigned int r = (unsigned int)rand_r(&seed), order = r / 8 % 8;
		uint64_t pfn;

		if (r % 8 == 7) {
			uint64_t i = (unsigned int)rand_r(&seed) % FRAMES;

			assert_int_equal(gm_buddy_take(&b, BASE + i), !used[i]);
			in_use += !used[i];
			used[i] = true;
		} else if ((r % 8 < 3 && gm_buddy_alloc(&b, order, &pfn)) ||
			   (r % 8 == 3 &&
			    gm_buddy_alloc_at(&b, order, pfn = BASE + r / 64 % FRAMES)) ||
			   (r % 8 == 4 &&
			    gm_buddy_alloc_in(&b, order, order + 2, 1U << order, &pfn))) {
			for (uint64_t i = pfn - BASE; i < pfn - BASE + (1U << order); i++) {
				assert_false(used[i]);
				used[i] = true;
			}
			in_use += 1U << order;
		} else {
			unsigned int i = (unsigned int)rand_r(&seed) % FRAMES, n = 0;

			while (n < 40 && i + n < FRAMES && used[i + n])
				used[i + n++] = false;
			if (n)
				gm_buddy_free(&b, BASE + i, n);
			in_use -= n;
		}
		assert_int_equal(b.free, FRAMES - in_use);
		if (step % 4096 == 0)
			for (unsigned int i = 0; i < FRAMES; i++)
				assert_int_equal(gm_buddy_is_free(&b, BASE + i), !used[i]);
	}
	gm_buddy_destroy(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(whole_gigabyte, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(every_order, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(free_in_parts, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(take, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(named, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(misuse, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(no_memory, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(random_run, unit_setup_core, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
