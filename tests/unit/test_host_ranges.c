// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The linux-user host's table of ranges, against a model: an owner for each page of a
 * piece of reserved addresses. What a range is made of does not matter to the table.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "host/linux-user/user.h"
#include "host_user_core.h"

#define PAGES 1024U
#define OWNERS 3U
#define SEED 20231126ULL

static struct gm_as as[OWNERS];
static struct gm_user_as owner[OWNERS];
static uint64_t base, rng = SEED;
static struct {
	struct gm_user_as *owner;
	unsigned int range; /* a number of its own, for two of one owner may touch */
} model[PAGES];
static unsigned int last_range;

static unsigned int pick(unsigned int n)
{
	rng = rng * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned int)(rng >> 33) % n;
}

static uint64_t address(unsigned int page)
{
	return base + page * PAGE;
}

/* Nobody else may get an address that gm_ranges_unmap() gave back. */
static void reserve(unsigned int page, unsigned int n, int fixed)
{
	void *p = mmap((void *)(uintptr_t)address(page), n * PAGE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	if (!fixed)
		base = (uint64_t)(uintptr_t)p;
}

static int unmap(unsigned int page, unsigned int n)
{
	int err = gm_ranges_unmap(address(page), n * PAGE);

	if (err)
		return err;
	reserve(page, n, MAP_FIXED_NOREPLACE);
	for (unsigned int i = page; i < page + n; i++)
		model[i].owner = NULL;
	return 0;
}

static int add(unsigned int page, unsigned int n, struct gm_user_as *u)
{
	int err = gm_ranges_add(u, address(page), n * PAGE);

	if (err)
		return err;
	last_range++;
	for (unsigned int i = page; i < page + n; i++) {
		model[i].owner = u;
		model[i].range = last_range;
	}
	return 0;
}

static void check_page(unsigned int page)
{
	struct gm_user_as *u = model[page].owner;

	for (uint64_t off = 0; off < PAGE; off += PAGE - 1)
		assert_ptr_equal(gm_ranges_find(address(page) + off), u ? u->as : NULL);
}

static void check_all(void)
{
	assert_null(gm_ranges_find(base - 1));
	assert_null(gm_ranges_find(address(PAGES)));
	assert_null(gm_ranges_find(0));
	assert_null(gm_ranges_find(UINT64_MAX));
	for (unsigned int i = 0; i < PAGES; i++)
		check_page(i);
}

/* How far from @page on it is alike: all free, or all of one range. */
static unsigned int alike(unsigned int page, unsigned int max)
{
	unsigned int n = 1;

	while (n < max && page + n < PAGES && model[page + n].owner == model[page].owner &&
	       (!model[page].owner || model[page + n].range == model[page].range))
		n++;
	return n;
}

static void unmap_all(void)
{
	for (unsigned int i = 0, n; i < PAGES; i += n) {
		n = alike(i, PAGES);
		if (model[i].owner)
			assert_int_equal(unmap(i, n), 0);
	}
}

static int setup(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < OWNERS; i++)
		owner[i].as = &as[i];
	reserve(0, PAGES, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return munmap((void *)(uintptr_t)base, PAGES * PAGE);
}

static void test_model(void **state)
{
	struct proc_resources before = proc_resources();

	(void)state;
	printf("seed %llu\n", (unsigned long long)SEED);
	for (unsigned int step = 0; step < 20000; step++) {
		unsigned int page = pick(PAGES), n = alike(page, 1 + pick(8));

		if (model[page].owner)
			assert_int_equal(unmap(page, n), 0);
		else
			assert_int_equal(add(page, n, &owner[pick(OWNERS)]), 0);
		check_page(page);
		check_page(page + n - 1);
		if (step % 1000 == 0)
			check_all();
	}
	check_all();
	unmap_all();
	check_all();
	proc_assert_same(before); /* of the table nothing is left */
}

static void allow_memory(bool allow)
{
	static struct rlimit saved;
	struct rlimit l;

	assert_int_equal(getrlimit(RLIMIT_AS, &l), 0);
	if (allow) {
		l = saved;
	} else {
		saved = l;
		l.rlim_cur = 1;
	}
	assert_int_equal(setrlimit(RLIMIT_AS, &l), 0);
}

/* No memory for a larger table: neither a new range, nor a cut that makes two of one. */
static void test_no_memory(void **state)
{
	unsigned int n = 0;
	int err, cut;

	(void)state;
	allow_memory(false);
	err = add(0, 1, &owner[0]);
	allow_memory(true);
	assert_int_equal(err, -ENOMEM);

	assert_int_equal(add(PAGES - 8, 8, &owner[1]), 0); /* makes the table: a page of memory */
	allow_memory(false);
	do {
		err = add(n, 1, &owner[0]);
		n += !err;
	} while (!err && n < PAGES - 8);
	cut = gm_ranges_unmap(address(PAGES - 6), PAGE);
	allow_memory(true);
	assert_int_equal(err, -ENOMEM);
	assert_int_equal(cut, -ENOMEM);
	check_all();

	/* The ends of a range, and all of it, can go all the same. */
	allow_memory(false);
	err = gm_ranges_unmap(address(PAGES - 8), PAGE);
	cut = gm_ranges_unmap(address(PAGES - 1), PAGE);
	if (!err && !cut)
		err = gm_ranges_unmap(address(PAGES - 7), 6 * PAGE);
	allow_memory(true);
	assert_int_equal(err, 0);
	assert_int_equal(cut, 0);
	reserve(PAGES - 8, 8, MAP_FIXED_NOREPLACE);
	for (unsigned int i = PAGES - 8; i < PAGES; i++)
		model[i].owner = NULL;
	check_all();
	unmap_all();
}

struct race {
	uint64_t va;
	uint32_t stop;
};

static void *look(void *arg)
{
	struct race *r = arg;

	while (!__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE)) {
		if (gm_ranges_find(r->va) != owner[0].as)
			return r;
	}
	return NULL;
}

/* A range is found whatever comes and goes beside it, and while the table moves. */
static void test_race(void **state)
{
	struct race r = { .va = address(PAGES / 2) };
	pthread_t t;
	void *lost;

	(void)state;
	assert_int_equal(add(PAGES / 2, 1, &owner[0]), 0);
	pthread_create(&t, NULL, look, &r);
	for (unsigned int round = 0; round < 5; round++) {
		for (unsigned int i = 0; i < PAGES / 2; i++)
			assert_int_equal(add(i, 1, &owner[1]), 0);
		for (unsigned int i = 0; i < PAGES / 2; i++)
			assert_int_equal(unmap(i, 1), 0);
	}
	__atomic_store_n(&r.stop, 1, __ATOMIC_RELEASE);
	pthread_join(t, &lost);
	assert_null(lost);
	unmap_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_race),
	};

	return cmocka_run_group_tests_name("host_ranges", tests, setup, teardown);
}
