// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A part of a block that a device has mapped by one leaf: unmapped and mapped again,
 * protected, dropped, moved. At either edge and in the middle; a page, 64 KiB, half of it;
 * with the block as it was, with a page of it called home by the CPU before, and with one
 * that another device has. What is left of the leaf stays where it is, with every byte.
 */
#include <signal.h>

#include "conformance.h"

enum before { ALL_THERE, CPU_TOUCHED, OTHER_TOUCHED, NR_BEFORE };

struct part {
	struct cf *cf;
	char *p;
	uint64_t at, len; /* the part */
	uint64_t away;	  /* offset of the page that is elsewhere, or BLOCK */
	uint64_t seed;
};

/* Another part each time; @fn is done to each. */
static void each_part(struct cf *cf, void (*fn)(struct part *part))
{
	static const uint64_t sizes[] = { PAGE, 64 << 10, BLOCK / 2 };
	struct gm_dev_tunables t = { .size = sizeof(t), .granule = PAGE, .no_grow = 1 };
	struct part part = { .cf = cf };

	/* A device's fault moves its page alone, so that what is elsewhere is known. */
	for (int i = 0; i < NR_DEVS; i++)
		assert_int_equal(gm_dev_tune(cf_dev(cf, i), &t), 0);
	for (unsigned int size = 0; size < 3; size++) {
		for (unsigned int where = 0; where < 3; where++) {
			enum before before = (size + where) % NR_BEFORE;
			uint64_t v;

			part.len = sizes[size];
			part.at = where * (BLOCK - part.len) / 2 & ~(PAGE - 1);
			part.away = before == ALL_THERE ? BLOCK : part.at ? 0 : BLOCK - PAGE;
			part.p = cf_alloc(cf, BLOCK);
			part.seed++;
			cf_fill(cf, CPU, part.p, BLOCK, part.seed);
			assert_int_equal(hmadvise(cf_node(cf, 0), part.p, BLOCK, GM_PREFETCH), 0);
			if (before == CPU_TOUCHED) /* with its granule, all of which is ... */
				assert_int_equal(hmadvise(GM_NODE_HOST, part.p + part.away, 1,
							  GM_PREFETCH),
						 0);
			else if (before == OTHER_TOUCHED)
				assert_int_equal(cf_dev_load(cf, 1, part.p + part.away, &v), 0);
			fn(&part);
			cf_unmap(cf, part.p, BLOCK);
		}
	}
}

/* What is not of the part is where it was, and everybody reads it right. */
static void rest_is_whole(struct part *part)
{
	uint64_t end = part->at + part->len, there = 0;
	struct cf *cf = part->cf;

	for (unsigned int side = 0; side < 2; side++) {
		uint64_t from = side ? end : 0, len = side ? BLOCK - end : part->at;

		if (!len)
			continue;
		there += cf_count_on(part->p + from, len, cf_node(cf, 0));
	}
	assert_int_equal(there, (BLOCK - part->len) / PAGE - (part->away < BLOCK));
	for (int who = 0; who >= CPU; who--) {
		if (part->at)
			cf_check(cf, who, part->p, part->at, part->seed);
		if (end < BLOCK)
			cf_check_at(cf, who, part->p + end, BLOCK - end, part->seed, end);
	}
}

static void unmapped(struct part *part)
{
	struct cf *cf = part->cf;
	char *hole = part->p + part->at;
	struct gm_object *obj;
	void *again = hole;
	uint64_t v;

	/* Made first, lest what the library maps for it takes the very addresses. */
	assert_int_equal(gm_object_create(part->len, 0, &obj), 0);
	cf_unmap(cf, hole, part->len);
	assert_int_equal(cf_dev_load(cf, 0, hole, &v), -EFAULT);
	assert_int_equal(cf_dev_store(cf, 1, hole + part->len - 8, 1), -EFAULT);
	assert_true(cf_cpu_dies(hole, false, SIGSEGV) > 0);
	rest_is_whole(part);
	/* Other memory there: nothing of the old shows. */
	assert_int_equal(
		gm_as_map(cf->as, obj, 0, part->len, GM_READ | GM_WRITE, GM_MAP_FIXED, &again), 0);
	gm_object_put(obj);
	cf_check_zero(cf, 0, hole, part->len);
	cf_fill(cf, CPU, hole, part->len, 100);
	cf_check(cf, 0, hole, part->len, 100);
	cf_check(cf, 1, hole, part->len, 100);
}

static void test_partial_unmap_everywhere(struct cf *cf)
{
	each_part(cf, unmapped);
}

static void write_protected(struct part *part)
{
	struct cf *cf = part->cf;
	char *ro = part->p + part->at, *rw = part->at ? part->p : part->p + part->len;
	uint64_t v;

	assert_int_equal(gm_as_protect(cf->as, ro, part->len, GM_READ), 0);
	assert_int_equal(cf_dev_store(cf, 0, ro, 1), -EACCES);
	assert_int_equal(cf_dev_store(cf, 0, ro + part->len - 8, 1), -EACCES);
	assert_int_equal(cf_dev_load(cf, 0, ro, &v), 0);
	cf_on(ro, part->len, cf_node(cf, 0));
	cf_check_at(cf, 0, ro, part->len, part->seed, part->at);
	rest_is_whole(part);
	assert_true(cf_cpu_dies(ro + 8, true, SIGSEGV) > 0);
	assert_int_equal(cf_dev_store(cf, 0, rw, 5), 0);
	assert_int_equal(*(volatile uint64_t *)(void *)rw, 5);
	cf_check_at(cf, CPU, ro, part->len, part->seed, part->at);
	/* As it was: one leaf again, or many. */
	assert_int_equal(gm_as_protect(cf->as, part->p, BLOCK, GM_READ | GM_WRITE), 0);
	cf_fill(cf, 0, part->p, BLOCK, 200);
	cf_check(cf, CPU, part->p, BLOCK, 200);
}

static void test_partial_protect(struct cf *cf)
{
	each_part(cf, write_protected);
}

static void dropped(struct part *part)
{
	struct cf *cf = part->cf;

	assert_int_equal(hmadvise(0, part->p + part->at, part->len, GM_DONTNEED), 0);
	cf_on(part->p + part->at, part->len, GM_NODE_NONE);
	rest_is_whole(part);
	cf_check_zero(cf, 0, part->p + part->at, part->len);
	cf_check_zero(cf, CPU, part->p + part->at, part->len);
}

static void test_partial_dontneed(struct cf *cf)
{
	each_part(cf, dropped);
}

static void moved(struct part *part)
{
	struct cf *cf = part->cf;
	char *p = part->p + part->at;
	int nodes[] = { GM_NODE_HOST, cf_node(cf, 1), cf_node(cf, 0), cf_node(cf, 1) };

	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(hmadvise(nodes[i], p, part->len, GM_PREFETCH), 0);
		cf_on(p, part->len, nodes[i]);
		assert_int_equal(cf_count_on(part->p, BLOCK, cf_node(cf, 0)),
				 BLOCK / PAGE - (part->away < BLOCK) -
					 (nodes[i] == cf_node(cf, 0) ? 0 : part->len / PAGE));
	}
	cf_check_at(cf, 1, p, part->len, part->seed, part->at);
	rest_is_whole(part);
	cf_check(cf, 0, part->p, BLOCK, part->seed);
}

static void test_partial_move(struct cf *cf)
{
	each_part(cf, moved);
}

const struct CMUnitTest cf_partial_tests[] = {
	CF_TEST_PAGES(test_partial_unmap_everywhere),
	CF_TEST_PAGES(test_partial_protect),
	CF_TEST_PAGES(test_partial_dontneed),
	CF_TEST_PAGES(test_partial_move),
};
const size_t cf_nr_partial_tests = sizeof(cf_partial_tests) / sizeof(cf_partial_tests[0]);
