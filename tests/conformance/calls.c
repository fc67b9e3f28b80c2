// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* What the calls of the application's interface promise. */
#include <signal.h>

#include <gmem/policy.h>

#include "conformance.h"

static void test_prefetch(struct cf *cf)
{
	char *p = cf_alloc(cf, 2 * BLOCK);
	struct gm_stats s;
	uint64_t faults;

	cf_fill(cf, CPU, p, 2 * BLOCK, 1);
	/* Rounded outward; the device then does not fault on it. */
	assert_int_equal(hmadvise(cf_node(cf, 0), p + PAGE + 5, BLOCK, GM_PREFETCH), 0);
	cf_on(p + PAGE, BLOCK + PAGE, cf_node(cf, 0));
	faults = cf_dev_stats(cf, 0).dev_faults;
	cf_check_at(cf, 0, p + PAGE, BLOCK + PAGE, 1, PAGE);
	assert_int_equal(cf_dev_stats(cf, 0).dev_faults, faults);
	/* Home again; the CPU then does not fault, or not for a page that is on a device. */
	assert_int_equal(hmadvise(GM_NODE_HOST, p, 2 * BLOCK, GM_PREFETCH), 0);
	cf_on(p, 2 * BLOCK, GM_NODE_HOST);
	s = cf_as_stats(cf);
	cf_check(cf, CPU, p, 2 * BLOCK, 1);
	if (!cf_kernel) /* which maps what is touched */
		assert_int_equal(cf_as_stats(cf).cpu_faults, s.cpu_faults);
	assert_int_equal(cf_as_stats(cf).cpu_faults_moved, s.cpu_faults_moved);
	/* A real NUMA node is the host too. */
	assert_int_equal(hmadvise(cf_node(cf, 1), p, PAGE, GM_PREFETCH), 0);
	assert_int_equal(hmadvise(0, p, PAGE, GM_PREFETCH), 0);
	cf_on(p, PAGE, GM_NODE_HOST);
	assert_true(cf_dev_stats(cf, 0).pages_prefetched >= BLOCK / PAGE);
	cf_unmap(cf, p, 2 * BLOCK);
}

static void test_dontneed(struct cf *cf)
{
	char *p = cf_alloc(cf, BLOCK);

	/* Rounded inward: the pages at the ends stay. */
	cf_fill(cf, 0, p, BLOCK, 1);
	assert_int_equal(hmadvise(0, p + 1, 4 * PAGE - 1, GM_DONTNEED), 0);
	cf_on(p + PAGE, 3 * PAGE, GM_NODE_NONE);
	cf_on(p, PAGE, cf_unit() > PAGE ? GM_NODE_HOST : cf_node(cf, 0));
	cf_check(cf, CPU, p, PAGE, 1);
	cf_check_zero(cf, CPU, p + PAGE, 3 * PAGE);
	cf_check_zero(cf, 0, p + PAGE, 3 * PAGE);
	/* In host memory, mapped by the CPU. */
	cf_fill(cf, CPU, p, BLOCK, 2);
	assert_int_equal(hmadvise(0, p, BLOCK, GM_DONTNEED), 0);
	cf_check_zero(cf, CPU, p, BLOCK);
	/* Less than a page: nothing. */
	cf_fill(cf, CPU, p, PAGE, 3);
	assert_int_equal(hmadvise(0, p + 8, PAGE, GM_DONTNEED), 0);
	cf_check(cf, CPU, p, PAGE, 3);
	cf_unmap(cf, p, BLOCK);
}

static void test_pin(struct cf *cf)
{
	char *p = cf_alloc(cf, 4 * DEV_MEMORY);
	struct gm_page_info info;
	uint64_t faults;

	cf_fill(cf, CPU, p, BLOCK, 1);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, BLOCK, GM_PIN), 0);
	cf_fill(cf, 0, p + BLOCK, 4 * DEV_MEMORY - BLOCK, 2); /* all else is evicted in turn */
	cf_on(p, BLOCK, cf_node(cf, 0));
	assert_int_equal(gm_query(p, PAGE, &info), 0);
	assert_int_equal(info.flags & GM_PAGE_PINNED, GM_PAGE_PINNED);
	faults = cf_dev_stats(cf, 0).dev_faults_moved;
	cf_check(cf, 0, p, BLOCK, 1);
	assert_int_equal(cf_dev_stats(cf, 0).dev_faults_moved, faults);
	/* It moves for the CPU all the same, and stays pinned. */
	cf_check(cf, CPU, p, BLOCK, 1);
	assert_int_equal(gm_query(p, PAGE, &info), 0);
	assert_int_equal(info.node, GM_NODE_HOST);
	assert_int_equal(info.flags & GM_PAGE_PINNED, GM_PAGE_PINNED);
	assert_int_equal(hmadvise(0, p, BLOCK, GM_UNPIN), 0);
	assert_int_equal(gm_query(p, PAGE, &info), 0);
	assert_int_equal(info.flags & GM_PAGE_PINNED, 0);

	/* All pinned: a fault fails at once, and works when something is let go. */
	assert_int_equal(hmadvise(cf_node(cf, 0), p, DEV_MEMORY, GM_PIN), 0);
	assert_int_equal(cf_dev_store(cf, 0, p + DEV_MEMORY, 1), -ENOSPC);
	assert_int_equal(hmadvise(0, p, PAGE, GM_UNPIN), 0);
	assert_int_equal(hmadvise(0, p, DEV_MEMORY, GM_UNPIN), 0);
	assert_int_equal(cf_dev_store(cf, 0, p + DEV_MEMORY, 1), 0);
	cf_unmap(cf, p, 4 * DEV_MEMORY);
}

/* Hot blocks stay and cold ones go first. */
static void test_recency(struct cf *cf)
{
	char *p = cf_alloc(cf, 5 * BLOCK);

	/* By the policy that goes by that alone. */
	assert_int_equal(gm_dev_set_policy(cf_dev(cf, 0), "density/lru-2m"), 0);
	cf_fill(cf, 0, p, 3 * BLOCK, 1);
	assert_int_equal(hmadvise(0, p, BLOCK, GM_WILLNEED), 0);
	assert_int_equal(hmadvise(0, p + 2 * BLOCK, BLOCK, GM_COLD), 0);
	cf_fill(cf, 0, p + 3 * BLOCK, 2 * BLOCK, 2);
	cf_on(p, BLOCK, cf_node(cf, 0));
	assert_true(cf_count_on(p + 2 * BLOCK, BLOCK, GM_NODE_HOST) > 0);
	cf_check(cf, CPU, p, 3 * BLOCK, 1);
	cf_unmap(cf, p, 5 * BLOCK);
}

static void test_bad_hints(struct cf *cf)
{
	char *p = cf_alloc(cf, BLOCK), local[8];
	int node = cf_node(cf, 0);

	assert_int_equal(hmadvise(node, p, 0, GM_PREFETCH), -EINVAL);
	assert_int_equal(hmadvise(node, p, BLOCK, (enum gm_advice)99), -EINVAL);
	assert_int_equal(hmadvise(node, p, SIZE_MAX, GM_PREFETCH), -EINVAL);
	assert_int_equal(hmadvise(GM_NODE_HOST, p, BLOCK, GM_PIN), -EINVAL);
	assert_int_equal(hmadvise(GM_NODE_NONE, p, BLOCK, GM_PREFETCH), -EINVAL);
	assert_int_equal(hmadvise(node + 50, p, BLOCK, GM_PREFETCH), -ENODEV);
	assert_int_equal(hmadvise(node, local, 8, GM_PREFETCH), -EFAULT);
	assert_int_equal(hmadvise(node, p, 2 * BLOCK, GM_COLD), -EFAULT);
	assert_int_equal(gm_query(local, PAGE, (struct gm_page_info *)(void *)local), -EFAULT);
	cf_unmap(cf, p, BLOCK);
	p = cf_alloc(cf, 2 * DEV_MEMORY);
	assert_int_equal(hmadvise(node, p, 2 * DEV_MEMORY, GM_PREFETCH), -ENOSPC);
	cf_unmap(cf, p, 2 * DEV_MEMORY);
}

/* The answer is put into the very block that is asked about, and that a device has. */
static void test_query_into_itself(struct cf *cf)
{
	char *p = cf_alloc(cf, BLOCK);
	struct gm_page_info *info = (struct gm_page_info *)(void *)p;

	if (cf_not_here(cf_unit() == BLOCK, "where the answer is put all else goes")) {
		cf_unmap(cf, p, BLOCK);
		return;
	}
	cf_fill(cf, 0, p, BLOCK, 1);
	assert_int_equal(gm_query(p, BLOCK, info), 0);
	/* All was there when it was looked at; what was written to came home. */
	for (unsigned int i = 0; i < BLOCK / PAGE; i++)
		assert_int_equal(info[i].node, cf_node(cf, 0));
	cf_on(p, BLOCK / PAGE * sizeof(*info), GM_NODE_HOST);
	cf_on(p + BLOCK / 2, BLOCK / 2, cf_node(cf, 0));
	cf_check_at(cf, 0, p + PAGE, BLOCK - PAGE, 1, PAGE);

	/* Into its last page: that it was written to is seen when the look gets there. */
	cf_fill(cf, 1, p, BLOCK, 2);
	info = (struct gm_page_info *)(void *)(p + BLOCK - PAGE);
	assert_int_equal(gm_query(p, BLOCK, info), 0);
	for (unsigned int i = 0; i < BLOCK / PAGE / 2; i++)
		assert_int_equal(info[i].node, cf_node(cf, 1));
	if (!cf_kernel) /* which looks at 512 pages before it writes */
		assert_int_equal(info[BLOCK / PAGE - 1].node, GM_NODE_HOST);
	cf_on(p + BLOCK - PAGE, PAGE, GM_NODE_HOST);
	cf_check(cf, CPU, p, BLOCK - PAGE, 2);
	cf_unmap(cf, p, BLOCK);
}

/* From and to anywhere, at any alignment, and nothing moves. */
static void test_hmemcpy(struct cf *cf)
{
	char *dev = cf_alloc(cf, BLOCK), *dev1 = cf_alloc(cf, BLOCK), *host = cf_alloc(cf, BLOCK);
	char *plain = malloc(BLOCK), *back = malloc(BLOCK);
	char *from[] = { dev, dev1, host, plain }, *to[] = { host, dev, dev1, dev };
	uint64_t n = 5 * PAGE + 123;

	for (uint64_t i = 0; i < BLOCK; i++)
		plain[i] = (char)(i * 7 + i / 4096);
	cf_fill(cf, 0, dev, BLOCK, 1);
	cf_fill(cf, 1, dev1, BLOCK, 2);
	cf_fill(cf, CPU, host, BLOCK, 3);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(hmemcpy(GM_NODE_NONE, to[i] + 77, from[i] + 4001, n), 0);
		cf_on(dev, BLOCK, cf_node(cf, 0));
		cf_on(dev1, BLOCK, cf_node(cf, 1));
		cf_on(host, BLOCK, GM_NODE_HOST);
		assert_int_equal(hmemcpy(GM_NODE_NONE, back, from[i] + 4001, n), 0);
		assert_int_equal(hmemcpy(GM_NODE_NONE, back + BLOCK / 2, to[i] + 77, n), 0);
		assert_int_equal(memcmp(back, back + BLOCK / 2, n), 0);
	}
	/* The last one left the first bytes and those behind alone. */
	assert_int_equal(memcmp(back + BLOCK / 2, plain + 4001, n), 0);
	assert_int_equal(hmemcpy(cf_node(cf, 1), host, plain, BLOCK), 0);
	cf_on(host, BLOCK, cf_node(cf, 1));
	assert_int_equal(memcmp(host, plain, BLOCK), 0);
	/* Both plain; and pointers that lead nowhere. */
	assert_int_equal(hmemcpy(GM_NODE_NONE, back, plain, 100), 0);
	assert_int_equal(memcmp(back, plain, 100), 0);
	assert_int_equal(hmemcpy(GM_NODE_NONE, (void *)(uintptr_t)PAGE, dev, 8), -EFAULT);
	assert_int_equal(hmemcpy(GM_NODE_NONE, dev, dev1 + BLOCK - 8, 16), -EFAULT);
	assert_int_equal(hmemcpy(GM_NODE_NONE, dev, dev1, 0), -EINVAL);
	assert_int_equal(hmemcpy(GM_NODE_NONE, dev, dev + 8, 16), -EINVAL);
	free(plain);
	free(back);
	cf_unmap(cf, dev, BLOCK);
	cf_unmap(cf, dev1, BLOCK);
	cf_unmap(cf, host, BLOCK);
}

static void test_protect(struct cf *cf)
{
	uint64_t unit = cf_unit(), len = unit == BLOCK ? 4 * BLOCK : BLOCK, v;
	char *p = cf_alloc(cf, len);

	cf_fill(cf, 0, p, len, 1);
	assert_int_equal(gm_as_protect(cf->as, p + unit, 2 * unit, GM_READ), 0);
	assert_int_equal(cf_dev_store(cf, 0, p + unit, 1), -EACCES);
	assert_int_equal(cf_dev_load(cf, 0, p + unit, &v), 0);
	assert_int_equal(cf_dev_store(cf, 0, p + 3 * unit, 1), 0);
	assert_true(cf_cpu_dies(p + 2 * unit, true, SIGSEGV) > 0);
	cf_check(cf, CPU, p, 3 * unit, 1);
	assert_true(cf_cpu_dies(p + unit, true, SIGSEGV) > 0);
	assert_int_equal(gm_as_protect(cf->as, p, len, GM_READ | GM_WRITE), 0);
	cf_fill(cf, CPU, p, len, 2);
	cf_fill(cf, 0, p, len, 3);
	cf_check(cf, CPU, p, len, 3);
	assert_int_equal(gm_as_protect(cf->as, p, len, 0), -EINVAL);
	assert_int_equal(gm_as_protect(cf->as, p, len + BLOCK, GM_READ), -EFAULT);
	cf_unmap(cf, p, len);
}

/* A part of a base page: its bytes are the CPU's and the other device's, this one cannot have them. */
static void test_base_pages(struct cf *cf)
{
	uint64_t unit = cf_unit(), len = 4 * unit + PAGE, v;
	char *p = cf_alloc(cf, len), *part = p + unit;

	cf_fill(cf, 0, p, len, 1); /* the last page too, alone as it is */
	assert_int_equal((uintptr_t)p % unit, 0);
	assert_int_equal(gm_as_protect(cf->as, part, PAGE, GM_READ), 0);
	for (uint64_t at = 0; at < 3 * unit; at += PAGE) {
		bool cut = unit > PAGE && at >= unit && at < 2 * unit;

		assert_int_equal(cf_dev_load(cf, 0, p + at, &v), cut ? -EADDRNOTAVAIL : 0);
	}
	cf_check(cf, 1, p, 3 * unit, 1); /* of its 4 at most: nothing has to leave again */
	assert_int_equal(hmadvise(cf_node(cf, 0), p, 2 * unit, GM_PREFETCH), 0);
	assert_int_equal(hmadvise(cf_node(cf, 0), p + 2 * unit, 2 * unit + PAGE, GM_PREFETCH), 0);
	cf_on(p, unit, cf_node(cf, 0));
	cf_on(p + 2 * unit, 2 * unit + PAGE, cf_node(cf, 0));
	if (unit > PAGE) {
		cf_on(part, unit, cf_node(cf, 1));
		assert_int_equal(hmadvise(cf_node(cf, 0), part, PAGE, GM_PIN), -EADDRNOTAVAIL);
	}
	assert_int_equal(hmadvise(cf_node(cf, 0), p + 2 * unit, 1, GM_PIN), 0);
	cf_fill(cf, 1, p + 2 * unit, PAGE, 2);
	cf_check(cf, CPU, p, 2 * unit, 1);
	cf_check(cf, 0, p + 2 * unit, PAGE, 2);
	cf_check_at(cf, CPU, p + 2 * unit + PAGE, 2 * unit, 1, 2 * unit + PAGE);
	cf_unmap(cf, p, len);
	assert_int_equal(cf_dev_load(cf, 0, p + len, &v), -EFAULT);
}

static void test_detach(struct cf *cf)
{
	char *p = cf_alloc(cf, 2 * BLOCK);
	struct gm_sim *sim;
	uint64_t v;

	cf_fill(cf, 0, p, BLOCK, 1);
	cf_fill(cf, 1, p + BLOCK, BLOCK, 2);
	assert_int_equal(gm_sim_destroy(cf->sim[0]), -EBUSY);
	assert_int_equal(gm_sim_detach(cf->ctx[0]), 0);
	cf->ctx[0] = NULL;
	cf_on(p, BLOCK, GM_NODE_HOST);
	cf_on(p + BLOCK, BLOCK, cf_node(cf, 1));
	cf_check(cf, CPU, p, BLOCK, 1);
	/* A device that comes while everything runs. */
	sim = cf_sim();
	assert_int_equal(gm_sim_attach(sim, cf->as, &cf->ctx[0]), 0);
	assert_int_equal(cf_dev_load(cf, 0, p, &v), 0);
	assert_int_equal(gm_sim_detach(cf->ctx[0]), 0);
	assert_int_equal(gm_sim_destroy(sim), 0);
	assert_int_equal(gm_sim_attach(cf->sim[0], cf->as, &cf->ctx[0]), 0);
	cf_check(cf, 0, p, BLOCK, 1);
	/* The teardown destroys the rest with pages on both devices. */
}

static void test_destroy_with_pages(struct cf *cf)
{
	struct gm_as *as = cf_as();
	struct gm_sim_ctx *ctx;
	uint64_t v = 5;
	void *p;

	assert_int_equal(gm_alloc(as, 2 * BLOCK, 0, &p), 0);
	assert_int_equal(gm_sim_attach(cf->sim[0], as, &ctx), 0);
	assert_int_equal(gm_sim_access(ctx, p, &v, 8, GM_WRITE), 0);
	assert_int_equal(gm_sim_detach(ctx), 0);
	assert_int_equal(*(volatile uint64_t *)p, 5);
	assert_int_equal(gm_sim_attach(cf->sim[0], as, &ctx), 0);
	assert_int_equal(gm_sim_access(ctx, p, &v, 8, GM_WRITE), 0);
	assert_int_equal(gm_sim_detach(ctx), 0);
	assert_int_equal(gm_as_destroy(as), 0);
	assert_true(cf_cpu_dies(p, false, SIGSEGV) > 0);
}

/* Host frames are kept up to the limit, and given back on request. */
static void test_retention(struct cf *cf)
{
	char *p = cf_alloc(cf, 2 * BLOCK);
	struct gm_page_info info;

	gm_retain_limit(0);
	cf_fill(cf, CPU, p, 2 * BLOCK, 1);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, 2 * BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_retained_bytes(), 0);
	cf_check(cf, CPU, p, 2 * BLOCK, 1);

	gm_retain_limit(64 * BLOCK);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, 2 * BLOCK, GM_PREFETCH), 0);
	assert_int_equal(gm_retained_bytes(), 2 * BLOCK);
	assert_int_equal(gm_query(p, PAGE, &info), 0);
	assert_int_equal(info.flags & GM_PAGE_RETAINED, GM_PAGE_RETAINED);
	/* A frame that was kept is stale: what the device wrote is what is read. */
	cf_fill(cf, 0, p, BLOCK, 2);
	cf_check(cf, CPU, p, BLOCK, 2);
	cf_check_at(cf, CPU, p + BLOCK, BLOCK, 1, BLOCK);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, 2 * BLOCK, GM_PREFETCH), 0);
	assert_true(gm_retain_trim(PAGE) >= PAGE);
	assert_true(gm_retained_bytes() < 2 * BLOCK);
	gm_retain_limit(0);
	assert_int_equal(gm_retained_bytes(), 0);
	cf_check(cf, CPU, p, BLOCK, 2);
	gm_retain_limit(64 * BLOCK);
	cf_unmap(cf, p, 2 * BLOCK);
}

static void test_bad_calls(struct cf *cf)
{
	struct gm_as_options opt = { .size = sizeof(opt), .flags = 1U << 31 };
	struct gm_object *obj;
	struct gm_as *as;
	void *p = NULL, *taken;

	assert_int_equal(gm_as_create(&opt, &as), -EINVAL);
	assert_int_equal(gm_as_create(NULL, NULL), -EINVAL);
	assert_int_equal(gm_alloc(cf->as, 0, 0, &p), -EINVAL);
	assert_int_equal(gm_alloc(cf->as, 100, 0, &p), -EINVAL);
	assert_int_equal(gm_alloc(cf->as, PAGE, 1U << 30, &p), -EINVAL);
	assert_int_equal(gm_object_create(1, 0, &obj), -EINVAL);
	assert_int_equal(gm_object_create(GM_OBJECT_MAX_SIZE * 2, 0, &obj), -EINVAL);
	assert_int_equal(gm_object_create(BLOCK, 0, &obj), 0);
	assert_int_equal(gm_as_map(cf->as, obj, 8, PAGE, GM_READ, 0, &p), -EINVAL);
	assert_int_equal(gm_as_map(cf->as, obj, BLOCK, PAGE, GM_READ, 0, &p), -EINVAL);
	assert_int_equal(gm_as_map(cf->as, obj, 0, PAGE, GM_WRITE, 0, &p), -EINVAL);
	assert_null(p);
	assert_int_equal(gm_as_map(cf->as, obj, 0, PAGE, GM_READ, 0, &p), 0);
	taken = p;
	assert_int_equal(gm_as_map(cf->as, obj, 0, PAGE, GM_READ, GM_MAP_FIXED, &taken), -EEXIST);
	assert_int_equal(gm_as_unmap(cf->as, (char *)p + 8, PAGE), -EINVAL);
	assert_int_equal(gm_as_unmap(cf->as, (char *)p + (1ULL << 40), PAGE), -EFAULT);
	cf_unmap(cf, p, PAGE);
	gm_object_put(obj);
}

/* A CPU fault brings as much as lies at home beside the page, and one page where nothing does. */
static void test_adaptive(struct cf *cf)
{
	static const struct {
		unsigned int page, home; /* touched; and so many are at home then */
	} row[] = { { 100, 1 }, { 300, 2 }, { 0, 3 }, { 1, 4 }, { 2, 6 }, { 4, 10 }, { 8, 18 } };
	struct gm_as_options opt = { .size = sizeof(opt), .flags = cf_flags | GM_AS_ADAPTIVE };
	struct cf own = { .sim = { cf->sim[0] } };
	char *p;

	assert_int_equal(gm_as_create(&opt, &own.as), 0);
	assert_int_equal(gm_sim_attach(own.sim[0], own.as, &own.ctx[0]), 0);
	p = cf_alloc(&own, BLOCK);
	cf_fill(&own, 0, p, BLOCK, 1);
	for (unsigned int i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		char *page = p + row[i].page * PAGE;

		cf_check_at(&own, CPU, page, PAGE, 1, row[i].page * PAGE);
		assert_int_equal(cf_count_on(p, BLOCK, GM_NODE_HOST), row[i].home);
	}
	cf_check(&own, CPU, p, BLOCK, 1);
	assert_int_equal(gm_as_destroy(own.as), 0);
}

const struct CMUnitTest cf_calls_tests[] = {
	CF_TEST(test_prefetch),
	CF_TEST(test_dontneed),
	CF_TEST(test_pin),
	CF_TEST(test_recency),
	CF_TEST(test_bad_hints),
	CF_TEST(test_query_into_itself),
	CF_TEST(test_hmemcpy),
	CF_TEST(test_protect),
	CF_TEST(test_base_pages),
	CF_TEST(test_detach),
	CF_TEST(test_destroy_with_pages),
	CF_TEST(test_retention),
	CF_TEST(test_bad_calls),
	CF_TEST_PAGES(test_adaptive),
};
const size_t cf_nr_calls_tests = sizeof(cf_calls_tests) / sizeof(cf_calls_tests[0]);
