// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Those cases of the kernel's hmm-tests.c that nothing else in this suite has in it, under
 * their names; docs/checklist.md lists all. What HMM refuses and gmem does not, or the other
 * way round, is said there too.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include "conformance.h"

static volatile uint64_t *word(char *p)
{
	return (volatile uint64_t *)(void *)p;
}

static void prefetch(int node, char *p, uint64_t len)
{
	assert_int_equal(hmadvise(node, p, len, GM_PREFETCH), 0);
}

static void tune(struct cf *cf, int dev, uint32_t granule)
{
	struct gm_dev_tunables t = { .size = sizeof(t), .granule = granule, .no_grow = 1 };

	assert_int_equal(gm_dev_tune(cf_dev(cf, dev), &t), 0);
}

/* Pages that are nowhere, zero, and written; and what a read that fails leaves in the buffer. */
static void test_hmm_anon_read(struct cf *cf)
{
	char *p = cf_alloc(cf, 8 * PAGE), buf[16];

	assert_int_equal(*word(p + PAGE), 0);
	for (uint64_t i = 2; i < 8; i++)
		*word(p + i * PAGE) = i;
	for (uint64_t i = 0; i < 8; i++) {
		uint64_t v = 99;

		assert_int_equal(cf_dev_load(cf, 0, p + i * PAGE, &v), 0);
		assert_int_equal(v, i < 2 ? 0 : i);
	}
	cf_unmap(cf, p + 5 * PAGE, PAGE);
	memset(buf, 77, sizeof(buf));
	assert_int_equal(gm_sim_access(cf->ctx[0], p + 5 * PAGE, buf, sizeof(buf), GM_READ),
			 -EFAULT);
	for (unsigned int i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], 77);
	/* Up to the hole it is read, and no further. */
	*word(p + 5 * PAGE - 8) = 0;
	assert_int_equal(gm_sim_access(cf->ctx[0], p + 5 * PAGE - 8, buf, sizeof(buf), GM_READ),
			 -EFAULT);
	for (unsigned int i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], i < 8 ? 0 : 77);
	cf_unmap(cf, p, 5 * PAGE);
	cf_unmap(cf, p + 6 * PAGE, 2 * PAGE);
}

/* Ten times, each in memory of its own: anon_read_multiple and migrate_multiple. */
static void test_hmm_multiple(struct cf *cf)
{
	uint64_t len = 256 << 10;
	char *p[10];

	for (unsigned int i = 0; i < 10; i++) {
		p[i] = cf_alloc(cf, len);
		cf_fill(cf, CPU, p[i], len, i);
		if (i % 2)
			prefetch(cf_node(cf, 0), p[i], len);
		cf_check(cf, 0, p[i], len, i);
		cf_on(p[i], len, cf_node(cf, 0));
	}
	for (unsigned int i = 0; i < 10; i++) {
		cf_check(cf, CPU, p[i], len, i);
		cf_unmap(cf, p[i], len);
	}
}

/* All to the device, half of it back by touching it, the mix to the device again. */
static void test_hmm_migrate_fault(struct cf *cf)
{
	int node = cf_node(cf, 0);
	char *p = cf_alloc(cf, BLOCK);

	cf_fill(cf, CPU, p, BLOCK, 1);
	prefetch(node, p, BLOCK);
	cf_check(cf, CPU, p, BLOCK / 2, 1);
	cf_on(p, BLOCK / 2, GM_NODE_HOST);
	cf_on(p + BLOCK / 2, BLOCK / 2, node);
	prefetch(node, p, BLOCK);
	cf_on(p, BLOCK, node);
	cf_check(cf, 0, p, BLOCK, 1);
	cf_check(cf, CPU, p, BLOCK, 1);
	cf_unmap(cf, p, BLOCK);
}

/* One range of six kinds of pages: none, zero, read-only, its own, another device's, a hole. */
static void test_hmm_migrate_mixed(struct cf *cf)
{
	int mine = cf_node(cf, 0), other = cf_node(cf, 1);
	char *p = cf_alloc(cf, BLOCK);

	tune(cf, 0, PAGE);
	tune(cf, 1, PAGE);
	assert_int_equal(*word(p + PAGE), 0);
	*word(p + 2 * PAGE) = 2;
	assert_int_equal(gm_as_protect(cf->as, p + 2 * PAGE, PAGE, GM_READ), 0);
	assert_int_equal(cf_dev_store(cf, 0, p + 3 * PAGE, 3), 0);
	assert_int_equal(cf_dev_store(cf, 1, p + 4 * PAGE, 4), 0);
	cf_unmap(cf, p + 5 * PAGE, PAGE);
	*word(p + 6 * PAGE) = 6;

	/* With the hole nothing moves; up to it everything does. */
	assert_int_equal(hmadvise(mine, p, 7 * PAGE, GM_PREFETCH), -EFAULT);
	cf_on(p, PAGE, GM_NODE_NONE);
	cf_on(p + 2 * PAGE, PAGE, GM_NODE_HOST);
	cf_on(p + 4 * PAGE, PAGE, other);
	prefetch(mine, p, 5 * PAGE);
	cf_on(p, 5 * PAGE, mine);
	cf_on(p + 6 * PAGE, PAGE, GM_NODE_HOST);
	for (uint64_t i = 0; i < 7; i++) {
		uint64_t v = 99;

		assert_int_equal(cf_dev_load(cf, 0, p + i * PAGE, &v), i == 5 ? -EFAULT : 0);
		assert_int_equal(v, i == 5 ? 99 : i < 2 ? 0 : i);
		assert_int_equal(cf_dev_store(cf, 0, p + i * PAGE, i), i == 2	? -EACCES
								       : i == 5 ? -EFAULT
										: 0);
		if (i != 5)
			assert_int_equal(*word(p + i * PAGE), i);
	}
	cf_unmap(cf, p, 5 * PAGE);
	cf_unmap(cf, p + 6 * PAGE, BLOCK - 6 * PAGE);
}

struct reader {
	struct cf *cf;
	char *p;
	uint32_t reads;
	uint64_t wrong;
	int err;
};

#define TEARDOWN_PAGES 64ULL

/* Reads what is there, and EFAULT once it is not: never anything else. */
static void *read_on(void *arg)
{
	struct reader *r = arg;

	while (!r->err) {
		for (uint64_t i = 0; i < TEARDOWN_PAGES && !r->err; i++) {
			uint64_t v = 0;

			r->err = cf_dev_load(r->cf, 0, r->p + i * PAGE, &v);
			r->wrong += !r->err && v != i + 1;
			__atomic_fetch_add(&r->reads, 1, __ATOMIC_RELAXED);
		}
	}
	return NULL;
}

/* All or the end of it is unmapped while the device reads, earlier or later. */
static void test_hmm_anon_teardown(struct cf *cf)
{
	uint64_t len = TEARDOWN_PAGES * PAGE;

	for (uint32_t round = 0; round < 12; round++) {
		struct reader r = { .cf = cf, .p = cf_alloc(cf, len) };
		uint64_t keep = round % 4 * PAGE;
		pthread_t thread;

		for (uint64_t i = 0; i < TEARDOWN_PAGES; i++)
			*word(r.p + i * PAGE) = i + 1;
		assert_int_equal(pthread_create(&thread, NULL, read_on, &r), 0);
		while (__atomic_load_n(&r.reads, __ATOMIC_RELAXED) < 1 + round * 9)
			sched_yield();
		cf_unmap(cf, r.p + keep, len - keep);
		pthread_join(thread, NULL);
		assert_int_equal(r.err, -EFAULT);
		assert_int_equal(r.wrong, 0);
		if (keep)
			cf_unmap(cf, r.p, keep);
	}
}

#define KINDS 6

/* A look at pages of every kind: it takes no fault and moves nothing, however often. */
static void test_hmm_snapshot(struct cf *cf)
{
	uint64_t apart = 128 << 10; /* more than comes with a fault of the CPU's */
	int is[KINDS] = { GM_NODE_NONE,	  GM_NODE_HOST,	  cf_node(cf, 0),
			  cf_node(cf, 1), cf_node(cf, 0), GM_NODE_HOST };
	struct gm_page_info info;
	struct gm_stats before, after;
	char *p = cf_alloc(cf, BLOCK);

	tune(cf, 0, PAGE);
	tune(cf, 1, PAGE);
	*word(p + apart) = 1;
	assert_int_equal(cf_dev_store(cf, 0, p + 2 * apart, 2), 0);
	assert_int_equal(cf_dev_store(cf, 1, p + 3 * apart, 3), 0);
	assert_int_equal(hmadvise(cf_node(cf, 0), p + 4 * apart, PAGE, GM_PIN), 0);
	*word(p + 5 * apart) = 5;
	assert_int_equal(gm_as_protect(cf->as, p + 5 * apart, PAGE, GM_READ), 0);
	before = cf_as_stats(cf);
	for (unsigned int i = 0; i < 3 * KINDS; i++) {
		assert_int_equal(gm_query(p + i % KINDS * apart, PAGE, &info), 0);
		assert_int_equal(info.node, is[i % KINDS]);
		assert_int_equal(info.flags & (GM_PAGE_PINNED | GM_PAGE_POISONED),
				 i % KINDS == 4 ? GM_PAGE_PINNED : 0);
	}
	after = cf_as_stats(cf);
	assert_int_equal(after.cpu_faults, before.cpu_faults);
	assert_int_equal(after.dev_faults, before.dev_faults);
	assert_int_equal(after.bytes_to_dev, before.bytes_to_dev);
	assert_int_equal(after.bytes_to_host, before.bytes_to_host);
	assert_int_equal(hmadvise(0, p + 4 * apart, PAGE, GM_UNPIN), 0);
	cf_unmap(cf, p, BLOCK);
}

/* Two devices read the same page in turn; then one keeps it, and the other has what it wrote. */
static void test_hmm_double_map(struct cf *cf)
{
	char *p = cf_alloc(cf, BLOCK);
	uint64_t v;

	*word(p) = 7;
	for (unsigned int i = 0; i < 6; i++) {
		assert_int_equal(cf_dev_load(cf, (int)i % 2, p, &v), 0);
		assert_int_equal(v, 7);
	}
	prefetch(cf_node(cf, 0), p, PAGE);
	cf_on(p, PAGE, cf_node(cf, 0));
	assert_int_equal(cf_dev_load(cf, 0, p, &v), 0);
	assert_int_equal(v, 7);
	assert_int_equal(cf_dev_store(cf, 0, p, 8), 0);
	assert_int_equal(cf_dev_load(cf, 1, p, &v), 0);
	assert_int_equal(v, 8);
	assert_int_equal(*word(p), 8);
	cf_unmap(cf, p, BLOCK);
}

/* ------------------------------------------------------------------ a block as one leaf */

static uint64_t free_on(struct cf *cf, int dev)
{
	struct gm_hnode_info info = { .size = sizeof(info) };

	assert_int_equal(gm_hnode_info(cf_node(cf, dev), &info), 0);
	return info.free;
}

/* 2 MiB that nobody has touched, that the CPU has read, that is unmapped on the device, and touched by the CPU. */
static void test_hmm_huge(struct cf *cf)
{
	uint64_t empty = free_on(cf, 0);
	int node = cf_node(cf, 0);
	struct gm_stats s;
	char *p;

	p = cf_alloc(cf, BLOCK); /* ..._huge_empty */
	prefetch(node, p, BLOCK);
	s = cf_dev_stats(cf, 0);
	assert_int_equal(s.pages_zeroed, BLOCK / PAGE);
	assert_int_equal(s.pages_to_dev, 0);
	assert_int_equal(free_on(cf, 0), empty - BLOCK);
	cf_check_zero(cf, 0, p, BLOCK);
	cf_unmap(cf, p, BLOCK); /* ..._huge_free */
	assert_int_equal(free_on(cf, 0), empty);

	p = cf_alloc(cf, BLOCK); /* ..._huge_zero */
	cf_check_zero(cf, CPU, p, BLOCK);
	prefetch(node, p, BLOCK);
	cf_on(p, BLOCK, node);
	cf_check_zero(cf, 0, p, BLOCK);
	cf_check_zero(cf, CPU, p, BLOCK);

	cf_fill(cf, CPU, p, BLOCK, 1); /* ..._huge_fault */
	prefetch(node, p, BLOCK);
	cf_fill(cf, 0, p, BLOCK, 2);
	for (uint64_t at = 0; at < BLOCK; at += BLOCK / 8)
		cf_check_at(cf, CPU, p + at, PAGE, 2, at);
	cf_check(cf, CPU, p, BLOCK, 2);
	cf_on(p, BLOCK, GM_NODE_HOST);
	cf_unmap(cf, p, BLOCK);
	assert_int_equal(free_on(cf, 0), empty);
}

/* There is no room for it on the device, or either way the copy fails: it stays, with its bytes. */
static void test_hmm_huge_err(struct cf *cf)
{
	int node = cf_node(cf, 0);
	char *p = cf_alloc(cf, BLOCK), *pinned = cf_alloc(cf, DEV_MEMORY);

	for (unsigned int zero = 0; zero < 2; zero++) {
		if (zero)
			assert_int_equal(hmadvise(0, p, BLOCK, GM_DONTNEED), 0);
		else
			cf_fill(cf, CPU, p, BLOCK, 1);
		assert_int_equal(hmadvise(node, pinned, DEV_MEMORY, GM_PIN), 0);
		assert_int_equal(hmadvise(node, p, BLOCK, GM_PREFETCH), -ENOSPC);
		cf_on(p, BLOCK, zero ? GM_NODE_NONE : GM_NODE_HOST);
		assert_int_equal(hmadvise(0, pinned, DEV_MEMORY, GM_UNPIN), 0);
		assert_int_equal(hmadvise(0, pinned, DEV_MEMORY, GM_DONTNEED), 0);

		gm_sim_inject(cf->sim[0], GM_SIM_COPY_FENCE, 0, UINT32_MAX, -EIO);
		assert_int_equal(hmadvise(node, p, BLOCK, GM_PREFETCH), -EIO);
		cf_on(p, BLOCK, zero ? GM_NODE_NONE : GM_NODE_HOST);
		gm_sim_inject(cf->sim[0], GM_SIM_COPY_FENCE, 0, 0, 0);
		prefetch(node, p, BLOCK);
		gm_sim_inject(cf->sim[0], GM_SIM_COPY_FENCE, 0, UINT32_MAX, -EIO);
		assert_int_equal(hmadvise(GM_NODE_HOST, p, BLOCK, GM_PREFETCH), -EIO);
		cf_on(p, BLOCK, node);
		gm_sim_inject(cf->sim[0], GM_SIM_COPY_FENCE, 0, 0, 0);
		if (zero) {
			cf_check_zero(cf, 0, p, BLOCK);
			cf_check_zero(cf, CPU, p, BLOCK);
		} else {
			cf_check(cf, 0, p, BLOCK, 1);
			cf_check(cf, CPU, p, BLOCK, 1);
		}
	}
	cf_unmap(cf, p, BLOCK);
	cf_unmap(cf, pinned, DEV_MEMORY);
}

/* Of hugetlb there are objects; private mappings of it cannot be registered. */
static void test_hmm_hugetlb_private(struct cf *cf)
{
	long before;
	void *p;

	if (cf_not_here(cf_kernel, "the module maps its own files only"))
		return;
	before = proc_huge_pages(4);
	p = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1,
		 0);
	if (!cf_not_here(p == MAP_FAILED, "no huge pages to be had")) {
		*word(p) = 5;
		assert_int_equal(gm_register(cf->as, p, BLOCK), -EINVAL);
		assert_non_null(strstr(gm_strerror(-EINVAL), "hugetlb"));
		assert_int_equal(*word(p), 5);
		assert_int_equal(munmap(p, BLOCK), 0);
	}
	proc_huge_pages(before);
}

const struct CMUnitTest cf_hmm_tests[] = {
	CF_TEST_PAGES(test_hmm_anon_read),
	CF_TEST(test_hmm_multiple),
	CF_TEST_PAGES(test_hmm_migrate_fault),
	CF_TEST_PAGES(test_hmm_migrate_mixed),
	CF_TEST_PAGES(test_hmm_anon_teardown),
	CF_TEST_PAGES(test_hmm_snapshot),
	CF_TEST(test_hmm_double_map),
	CF_TEST(test_hmm_huge),
	CF_TEST(test_hmm_huge_err),
	CF_TEST(test_hmm_hugetlb_private),
};
const size_t cf_nr_hmm_tests = sizeof(cf_hmm_tests) / sizeof(cf_hmm_tests[0]);
