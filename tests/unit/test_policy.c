// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* How much moves for a fault: the granule, the density tree, and what a region clips. */
#include "unit.h"

#include "core/policy.h"

/* [first, first+n), a row's runs, are on the device. */
struct runs {
	unsigned int first, n;
};

static struct gm_policy_block block_with(const struct runs *runs)
{
	struct gm_policy_block block = { .object = 1 };

	for (unsigned int i = 0; i < 3; i++)
		gm_mask_set(&block.here, runs[i].first, runs[i].n);
	return block;
}

static struct gm_policy_move ask(const struct gm_move_policy *policy, struct gm_policy_block *block,
				 unsigned int page, unsigned int granule)
{
	struct gm_policy_fault fault = { .ctx = 1, .page = page, .granule = granule };
	struct gm_policy_move move = { .first = page & ~(granule - 1), .n = granule };

	policy->fault(NULL, block, &fault, &move);
	return move;
}

/* The largest aligned piece of which more than half would be there with the granule. */
static void density_tree(void **state)
{
	static const struct {
		struct runs on[3];
		unsigned int granule, page, first, n;
	} rows[] = {
		{ { { 0 } }, 16, 37, 32, 16 },	    /* nothing there: the granule */
		{ { { 16, 16 } }, 16, 5, 0, 32 },   /* and its neighbour */
		{ { { 16, 1 } }, 16, 5, 0, 32 },    /* a page more than half */
		{ { { 48, 16 } }, 16, 5, 0, 16 },   /* exactly half of 64 is not enough */
		{ { { 48, 16 } }, 16, 37, 32, 32 }, /* the same, from beside it */
		{ { { 32, 32 } }, 16, 0, 0, 64 },   /* the next size is too sparse, a larger does */
		{ { { 0, 496 } }, 16, 511, 0, 512 }, /* all but the last granule */
		{ { { 0, 256 } }, 1, 300, 0, 512 },  /* a page and half of the block */
		{ { { 0, 255 } }, 1, 300, 300, 1 },  /* a page less */
		{ { { 1, 2 } }, 1, 0, 0, 4 },	     /* what grows counts as there */
		{ { { 0, 16 } }, 16, 5, 0, 16 },     /* the granule itself is not counted twice */
		{ { { 4, 4 }, { 16, 8 }, { 32, 20 } }, 4, 0, 0, 64 },
		{ { { 128, 100 }, { 256, 200 } }, 16, 140, 0, 512 },
		{ { { 0, 1 } }, 512, 77, 0, 512 }, /* nothing larger than a block */
		/* What it has grown to counts as there when the next size is judged. */
		{ { { 16, 1 }, { 32, 1 } }, 16, 0, 0, 64 },
	};

	(void)state;
	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gm_policy_block block = block_with(rows[i].on);
		struct gm_policy_move move;

		move = ask(&gm_move_density, &block, rows[i].page, rows[i].granule);
		if (move.first != rows[i].first || move.n != rows[i].n)
			fail_msg("row %u: [%u, +%u), not [%u, +%u)", i, move.first, move.n,
				 rows[i].first, rows[i].n);
		move = ask(&gm_move_fixed, &block, rows[i].page, rows[i].granule);
		assert_int_equal(move.first, rows[i].page / rows[i].granule * rows[i].granule);
		assert_int_equal(move.n, rows[i].granule);
		assert_int_equal(move.more, 0);
	}
}

/* For the CPU it is the granule, whatever is where. */
static void of_the_cpu(void **state)
{
	struct gm_block block = { .uniform = gm_entry_on_dev(3, 4096, 0) };
	struct gm_as as = { .cpu_granule = 0 };
	unsigned int first, n;

	(void)state;
	for (unsigned int granule = 1; granule <= 512; granule *= 2) {
		as.cpu_granule = granule;
		for (unsigned int page = 0; page < 512; page += 73) {
			gm_policy_cpu(&as, &block, page, &first, &n);
			assert_int_equal(n, granule);
			assert_int_equal(first % granule, 0);
			assert_in_range(page, first, first + n - 1);
		}
	}
}

/* Out to the object's granule, then in to what the region maps. */
static const struct clip {
	uint64_t granule, offset, len, index; /* but for the index: pages */
	unsigned int first, n, clipped, clipped_n;
} clips[] = {
	{ 1, 0, 1024, 0, 96, 16, 96, 16 },   /* nothing to clip */
	{ 1, 100, 50, 0, 96, 16, 100, 12 },  /* the region's begin */
	{ 1, 100, 50, 0, 144, 16, 144, 6 },  /* and its end */
	{ 1, 100, 5, 0, 96, 16, 100, 5 },    /* both in one granule */
	{ 1, 500, 600, 1, 0, 512, 0, 512 },  /* a block in its middle */
	{ 1, 500, 600, 0, 0, 512, 500, 12 }, /* its first */
	{ 1, 500, 600, 2, 64, 16, 64, 12 },  /* its last */
	{ 1, 1535, 1, 2, 0, 512, 511, 1 },   /* a page of a block */
	{ 512, 0, 1024, 1, 5, 1, 0, 512 },   /* a huge page moves whole */
	{ 512, 512, 512, 1, 511, 1, 0, 512 },
};

static void clip_row(const struct clip *c, unsigned int *first, unsigned int *n)
{
	struct gm_object obj = { .granule = c->granule * PAGE };
	struct gm_region region = { .obj = &obj, .offset = c->offset * PAGE, .len = c->len * PAGE };

	*first = c->first;
	*n = c->n;
	gm_clip(&region, c->index, first, n);
}

static void clipping(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < sizeof(clips) / sizeof(clips[0]); i++) {
		unsigned int first, n;

		clip_row(&clips[i], &first, &n);
		if (first != clips[i].clipped || n != clips[i].clipped_n)
			fail_msg("row %u: [%u, +%u)", i, first, n);
	}
}

/* A block of another address space, which the device has. */
static uint64_t on_device(struct unit *u, const struct gm_as_options *opt, struct unit *other)
{
	uint64_t va;

	assert_int_equal(gm_as_create(opt, &other->as), 0);
	assert_int_equal(gm_sim_attach(u->sim[0], other->as, &other->ctx[0]), 0);
	va = unit_alloc(other, BLOCK);
	unit_fill(other, 0, va, BLOCK, 1);
	return va;
}

static void cpu_granule(void **state)
{
	struct unit *u = *state;
	struct gm_as_options opt = { .size = sizeof(opt), .cpu_granule = BLOCK };
	struct unit other = { .as = NULL };
	uint64_t va = on_device(u, &opt, &other);

	unit_verify(&other, CPU, va + 77 * PAGE, PAGE, 1);
	unit_on(other.as, va, BLOCK, GM_NODE_HOST);
	assert_int_equal(gm_as_destroy(other.as), 0);
}

/* What is used in order comes in pieces that double, from either end; what is used here and there, alone. */
static void cpu_adaptive(void **state)
{
	static const struct {
		unsigned int page, home; /* touched; and so many are at home then */
	} row[] = { { 0, 1 },	 { 1, 2 },    { 2, 4 },	   { 4, 8 },	{ 8, 16 },
		    { 16, 32 },	 { 32, 48 },  { 200, 49 }, { 300, 50 }, { 299, 51 },
		    { 298, 52 }, { 297, 54 }, { 511, 55 } };
	struct unit *u = *state;
	struct gm_as_options opt = { .size = sizeof(opt), .flags = GM_AS_ADAPTIVE };
	struct unit other = { .as = NULL };
	uint64_t va = on_device(u, &opt, &other);

	for (unsigned int i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		unit_verify(&other, CPU, va + row[i].page * PAGE, PAGE, 1);
		assert_int_equal(unit_count_on(other.as, va, BLOCK, GM_NODE_HOST), row[i].home);
	}
	unit_verify(&other, CPU, va, BLOCK, 1);
	assert_int_equal(gm_as_destroy(other.as), 0);
	opt.flags = 4;
	assert_int_equal(gm_as_create(&opt, &other.as), -EINVAL);
}

/* With growth on, dense use of a block soon moves all of it. */
static void device_grows(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK);
	struct gm_stats s;

	unit_tune(unit_dev(u, 0), 64 << 10, false, true);
	unit_fill(u, CPU, va, 2 * BLOCK, 1);
	unit_verify(u, 0, va, BLOCK, 1);
	s = unit_dev_stats(unit_dev(u, 0));
	assert_true(s.dev_faults < 16);
	assert_int_equal(s.pages_to_dev, 512);
	/* One page of the second block: no more than the granule. */
	unit_verify(u, 0, va + BLOCK + 100 * PAGE, PAGE, 1);
	assert_int_equal(unit_count_on(u->as, va + BLOCK, BLOCK, unit_node(u, 0)), 16);
}

/* What is on the host, or on another device, is no reason to move more. */
static void only_its_own(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	unit_tune(unit_dev(u, 0), 64 << 10, false, true);
	unit_tune(unit_dev(u, 1), 64 << 10, false, true);
	unit_fill(u, CPU, va, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 1), va, 256 * PAGE, GM_PREFETCH), 0);
	unit_verify(u, 0, va + 300 * PAGE, PAGE, 1);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, 0)), 16);
	unit_verify(u, 1, va + 400 * PAGE, PAGE, 1); /* half of the block, and a granule */
	assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, 1)), 512);
	unit_verify(u, CPU, va, BLOCK, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cpu_granule, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(cpu_adaptive, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(device_grows, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(only_its_own, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(density_tree, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(of_the_cpu, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(clipping, unit_setup_core, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
