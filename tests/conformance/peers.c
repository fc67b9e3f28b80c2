// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What the tests of other memory managers ask for (UMap, Xe, KFD, ArgoDSM) and nothing else
 * in this suite has in it; docs/checklist.md lists all.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conformance.h"

static volatile uint64_t *word(char *p)
{
	return (volatile uint64_t *)(void *)p;
}

/* UMap, churn: a page that is written all the while the rest streams through a small memory. */
static void test_churn(struct cf *cf)
{
	uint64_t blocks = 3 * DEV_MEMORY / BLOCK, count = 0, v;
	char *hot = cf_alloc(cf, PAGE), *cold = cf_alloc(cf, blocks * BLOCK);

	for (unsigned int round = 0; round < 3; round++) {
		for (uint64_t i = 0; i < blocks; i++) {
			char *p = cold + i * BLOCK + round * 5 * PAGE;

			assert_int_equal(hmadvise(cf_node(cf, 0), p, PAGE, GM_PREFETCH), 0);
			assert_int_equal(cf_dev_load(cf, 0, p, &v), 0);
			assert_int_equal(v, 0);
			assert_int_equal(cf_dev_store(cf, 0, p, round * blocks + i + 1), 0);
			assert_int_equal(cf_dev_load(cf, 0, hot, &v), 0);
			assert_int_equal(v, count);
			assert_int_equal(cf_dev_store(cf, 0, hot, ++count), 0);
			p = cold + i * 5 % (blocks - 2) * BLOCK; /* and much more than it */
			assert_int_equal(hmadvise(cf_node(cf, 0), p, 3 * BLOCK, GM_PREFETCH), 0);
		}
	}
	assert_true(cf_dev_stats(cf, 0).evictions > 0);
	for (uint64_t i = 0; i < 3 * blocks; i++)
		assert_int_equal(*word(cold + i % blocks * BLOCK + i / blocks * 5 * PAGE), i + 1);
	assert_int_equal(*word(hot), 3 * blocks);
	cf_unmap(cf, hot, PAGE);
	cf_unmap(cf, cold, blocks * BLOCK);
}

/* UMap, sparse store: a word here and there of much memory, by everybody; the rest costs nothing. */
static void test_sparse(struct cf *cf)
{
	uint64_t len = 64ULL << 30, step = len / 96 & ~(PAGE - 1), n = 96, v;
	struct gm_hnode_info info = { .size = sizeof(info) };
	char *p = cf_alloc(cf, len);

	for (uint64_t i = 0; i < n; i++) {
		if (i % 3 == 2)
			*word(p + i * step) = i + 1;
		else
			assert_int_equal(cf_dev_store(cf, (int)i % 3, p + i * step, i + 1), 0);
	}
	for (uint64_t i = 0; i < n; i++) {
		assert_int_equal(cf_dev_load(cf, (int)i % 2, p + i * step, &v), 0);
		assert_int_equal(v, i + 1);
		assert_int_equal(*word(p + i * step), i + 1);
		assert_int_equal(*word(p + i * step + 8), 0);
	}
	/* A block with a mixture in it may cost 8 bytes a page, and what is around it. */
	assert_true(gm_metadata_bytes() < (1 << 20) + n * 2 * 8192);
	assert_int_equal(gm_hnode_info(cf_node(cf, 0), &info), 0);
	assert_true(info.blocks <= n);
	cf_unmap(cf, p, len);
}

/* UMap, flush: all that devices have written is in host memory, and the devices may go. */
static void test_flush(struct cf *cf)
{
	char *p = cf_alloc(cf, 3 * BLOCK);

	cf_fill(cf, 0, p, BLOCK, 1);
	cf_fill(cf, 1, p + BLOCK, BLOCK + PAGE, 2);
	assert_int_equal(hmadvise(GM_NODE_HOST, p, 3 * BLOCK, GM_PREFETCH), 0);
	assert_int_equal(cf_count_on(p, 3 * BLOCK, cf_node(cf, 0)), 0);
	assert_int_equal(cf_count_on(p, 3 * BLOCK, cf_node(cf, 1)), 0);
	for (int i = 0; i < NR_DEVS; i++) {
		uint64_t home = cf_dev_stats(cf, i).pages_to_host;

		assert_int_equal(gm_sim_detach(cf->ctx[i]), 0);
		cf->ctx[i] = NULL;
		assert_int_equal(cf_dev_stats(cf, i).pages_to_host, home);
	}
	cf_check(cf, CPU, p, BLOCK, 1);
	cf_check(cf, CPU, p + BLOCK, BLOCK + PAGE, 2);
	cf_check_zero(cf, CPU, p + 2 * BLOCK + PAGE, BLOCK - PAGE);
	cf_unmap(cf, p, 3 * BLOCK);
}

/* KFD, attributes and overlapping ranges: what was said last of a page is what holds. */
static void test_overlapping_hints(struct cf *cf)
{
	int node[] = { cf_node(cf, 0), cf_node(cf, 1) };
	bool pinned[12] = { false };
	struct gm_page_info info[12];
	char *p = cf_alloc(cf, 12 * PAGE);
	static const struct {
		unsigned int from, n, dev;
		bool pin;
	} hints[] = {
		{ 0, 8, 0, true },  { 4, 8, 1, true },	{ 6, 2, 0, false },
		{ 5, 4, 0, true },  { 0, 1, 0, false }, { 11, 1, 0, true },
		{ 0, 12, 1, true }, { 3, 1, 0, false }, { 2, 9, 0, false },
	};
	int on[12];

	for (unsigned int i = 0; i < 12; i++)
		on[i] = GM_NODE_NONE;
	for (unsigned int k = 0; k < sizeof(hints) / sizeof(hints[0]); k++) {
		assert_int_equal(hmadvise(node[hints[k].dev], p + hints[k].from * PAGE,
					  hints[k].n * PAGE, hints[k].pin ? GM_PIN : GM_UNPIN),
				 0);
		for (unsigned int i = hints[k].from; i < hints[k].from + hints[k].n; i++) {
			pinned[i] = hints[k].pin;
			on[i] = hints[k].pin ? node[hints[k].dev] : on[i];
		}
		assert_int_equal(gm_query(p, 12 * PAGE, info), 0);
		for (unsigned int i = 0; i < 12; i++) {
			assert_int_equal(info[i].flags & GM_PAGE_PINNED,
					 pinned[i] ? GM_PAGE_PINNED : 0);
			assert_int_equal(info[i].node, on[i]);
		}
	}
	cf_unmap(cf, p, 12 * PAGE);
}

/* ArgoDSM, prefetch at a border: two bytes on either side of one are two pages, of two blocks. */
static void test_prefetch_at_border(struct cf *cf)
{
	char *p = cf_alloc(cf, 2 * BLOCK);
	int node = cf_node(cf, 0);

	cf_fill(cf, CPU, p, 2 * BLOCK, 1);
	assert_int_equal(hmadvise(node, p + BLOCK - 1, 2, GM_PREFETCH), 0);
	cf_on(p + BLOCK - PAGE, 2 * PAGE, node);
	assert_int_equal(cf_count_on(p, 2 * BLOCK, node), 2);
	assert_int_equal(hmadvise(node, p + PAGE, 1, GM_PREFETCH), 0);
	assert_int_equal(hmadvise(node, p + 5 * PAGE - 1, 1, GM_PREFETCH), 0);
	assert_int_equal(hmadvise(node, p + 7 * PAGE, PAGE, GM_PREFETCH), 0);
	cf_on(p + PAGE, PAGE, node);
	cf_on(p + 4 * PAGE, PAGE, node);
	cf_on(p + 7 * PAGE, PAGE, node);
	assert_int_equal(cf_count_on(p, 2 * BLOCK, node), 5);
	/* A byte too much is not mapped. */
	assert_int_equal(hmadvise(node, p + 2 * BLOCK - 1, 2, GM_PREFETCH), -EFAULT);
	assert_int_equal(cf_count_on(p, 2 * BLOCK, node), 5);
	cf_check(cf, 0, p, 2 * BLOCK, 1);
	cf_unmap(cf, p, 2 * BLOCK);
}

/* Xe, mlock: memory that is locked goes to devices and back as any other does. */
static void test_mlock(struct cf *cf)
{
	char *p = cf_alloc(cf, 16 * PAGE);

	cf_fill(cf, CPU, p, 16 * PAGE, 1);
	assert_int_equal(mlock(p, 4 * PAGE), 0);
	for (uint64_t round = 1; round < 4; round++) {
		assert_int_equal(hmadvise(cf_node(cf, 0), p, 16 * PAGE, GM_PREFETCH), 0);
		cf_on(p, 16 * PAGE, cf_node(cf, 0));
		cf_check(cf, 0, p, 16 * PAGE, round);
		cf_fill(cf, 0, p, 16 * PAGE, round + 10);
		cf_check(cf, CPU, p, 16 * PAGE, round + 10);
		cf_fill(cf, CPU, p, 16 * PAGE, round + 1);
	}
	assert_int_equal(munlock(p, 4 * PAGE), 0);
	cf_check(cf, 0, p, 16 * PAGE, 4);
	cf_unmap(cf, p, 16 * PAGE);
}

/* KFD, eviction of memory that is copied on write: before a fork and after it, by either side. */
static void test_fork_evicted(struct cf *cf)
{
	uint64_t len = DEV_MEMORY + BLOCK;
	pid_t pid;
	char *p;

	if (cf_not_here(cf_kernel, "private memory cannot be registered"))
		return;
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(p != MAP_FAILED);
	assert_int_equal(gm_register(cf->as, p, len), 0);
	cf_fill(cf, CPU, p, len, 1);
	cf_check(cf, 0, p, len, 1); /* more than the device has */
	assert_true(cf_dev_stats(cf, 0).evictions > 0);
	for (uint64_t round = 1; round < 3; round++) {
		pid = fork();
		if (!pid) {
			volatile uint64_t *w = word(p);
			int wrong = 0;

			for (uint64_t i = 0; i < len / 8; i += PAGE / 8) {
				wrong |= w[i] != cf_word(round, i);
				w[i] = 0;
			}
			_exit(wrong);
		}
		/* While the child writes zeros: out, and home by eviction. */
		cf_fill(cf, 0, p, len, round + 1);
		cf_check(cf, 1, p, len, round + 1);
		assert_int_equal(proc_wait(pid), 0);
		cf_check(cf, CPU, p, len, round + 1);
	}
	assert_int_equal(gm_unregister(cf->as, p, len), 0);
	cf_check(cf, CPU, p, len, 3);
	assert_int_equal(munmap(p, len), 0);
}

struct prefetcher {
	pthread_t id;
	struct cf *cf;
	char *p;
	int dev, err;
};

#define STORM_ROUNDS 30U

/* Also its eviction: the other memory of this device's is larger than it. */
static void *prefetch_on(void *arg)
{
	struct prefetcher *f = arg;

	for (unsigned int i = 0; i < STORM_ROUNDS && !f->err; i++) {
		char *p = f->p + i % 3 * BLOCK;

		f->err = hmadvise(i % 5 ? cf_node(f->cf, f->dev) : GM_NODE_HOST, p, BLOCK,
				  GM_PREFETCH);
		if (f->err == -EBUSY || f->err == -ENOSPC) /* all of it is in others' hands */
			f->err = 0;
	}
	return NULL;
}

/* Xe, threads and races: who prefetches one range to different places at once breaks nothing. */
static void test_prefetch_storm(struct cf *cf)
{
	char *p = cf_alloc(cf, 3 * BLOCK);
	struct prefetcher f[3];

	cf_fill(cf, CPU, p, 3 * BLOCK, 1);
	for (int i = 0; i < 3; i++) {
		f[i] = (struct prefetcher){ .cf = cf, .p = p, .dev = i % NR_DEVS };
		assert_int_equal(pthread_create(&f[i].id, NULL, prefetch_on, &f[i]), 0);
	}
	for (unsigned int i = 0; i < 4; i++)
		cf_check(cf, i % 2 ? CPU : 1, p, 3 * BLOCK, 1);
	for (int i = 0; i < 3; i++) {
		pthread_join(f[i].id, NULL);
		assert_int_equal(f[i].err, 0);
	}
	cf_check(cf, 0, p, 3 * BLOCK, 1);
	cf_check(cf, CPU, p, 3 * BLOCK, 1);
	cf_unmap(cf, p, 3 * BLOCK);
}

const struct CMUnitTest cf_peers_tests[] = {
	CF_TEST(test_churn),
	CF_TEST(test_sparse),
	CF_TEST(test_flush),
	CF_TEST_PAGES(test_overlapping_hints),
	CF_TEST_PAGES(test_prefetch_at_border),
	CF_TEST(test_mlock),
	CF_TEST(test_fork_evicted),
	CF_TEST(test_prefetch_storm),
};
const size_t cf_nr_peers_tests = sizeof(cf_peers_tests) / sizeof(cf_peers_tests[0]);
