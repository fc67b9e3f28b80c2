// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Every load sees the last store, whoever made it and wherever the bytes are. */
#include <pthread.h>
#include <signal.h>

#include "conformance.h"

static void test_both_ways(struct cf *cf)
{
	uint64_t len = 2 * BLOCK + 5 * PAGE;
	char *p = cf_alloc(cf, len);

	assert_int_equal((uintptr_t)p % BLOCK, 0);
	cf_fill(cf, CPU, p, len, 1);
	cf_check(cf, 0, p, len, 1);
	cf_on(p, len, cf_node(cf, 0));
	cf_check(cf, CPU, p, len, 1);
	cf_on(p, len, GM_NODE_HOST);
	for (uint64_t round = 2; round < 6; round++) {
		cf_fill(cf, 0, p, len, round);
		cf_check(cf, CPU, p, len, round);
		cf_fill(cf, CPU, p, len, round + 10);
		cf_check(cf, 0, p, len, round + 10);
	}
	/* A page at a time, back and forth. */
	for (uint64_t i = 0; i < 64; i++) {
		cf_fill(cf, i % 2 ? CPU : 0, p + i * PAGE, PAGE, 100 + i);
		cf_check(cf, i % 2 ? 0 : CPU, p + i * PAGE, PAGE, 100 + i);
	}
	cf_check(cf, CPU, p, PAGE, 100);
	assert_true(cf_as_stats(cf).cpu_faults_moved > 0);
	assert_true(cf_dev_stats(cf, 0).dev_faults_moved > 0);
	cf_unmap(cf, p, len);
}

static void test_zero_fill(struct cf *cf)
{
	char *p = cf_alloc(cf, 2 * BLOCK);
	struct gm_stats s;

	cf_check_zero(cf, 0, p, BLOCK);
	s = cf_dev_stats(cf, 0);
	assert_int_equal(s.pages_zeroed, BLOCK / PAGE);
	assert_int_equal(s.pages_to_dev, 0);
	cf_check_zero(cf, CPU, p, 2 * BLOCK);
	cf_fill(cf, CPU, p + BLOCK, PAGE, 3);
	cf_check_zero(cf, 0, p + BLOCK + PAGE, BLOCK - PAGE);
	cf_check(cf, CPU, p + BLOCK, PAGE, 3);
	cf_unmap(cf, p, 2 * BLOCK);
}

static void test_oversubscribed(struct cf *cf)
{
	uint64_t len = 4 * DEV_MEMORY;
	char *p = cf_alloc(cf, len);

	cf_fill(cf, CPU, p, len / 2, 7);
	cf_fill(cf, 0, p + len / 2, len / 2, 8);
	cf_check(cf, 0, p, len / 2, 7);
	cf_check(cf, 0, p + len / 2, len / 2, 8);
	assert_true(cf_dev_stats(cf, 0).evictions > 0);
	assert_true(cf_count_on(p, len, cf_node(cf, 0)) <= DEV_MEMORY / PAGE);
	cf_check(cf, CPU, p, len / 2, 7);
	cf_check(cf, CPU, p + len / 2, len / 2, 8);
	cf_unmap(cf, p, len);
}

/* Pages are unmapped in the middle of a block that is on the device. */
static void test_partial_unmap(struct cf *cf)
{
	uint64_t unit = cf_unit(), before = unit > BLOCK / 2 ? unit : BLOCK / 2, gap = 3 * unit;
	uint64_t len = before + gap + 2 * BLOCK, v;
	char *p = cf_alloc(cf, len), *hole = p + before;
	void *again = hole;
	struct gm_object *obj;

	/* Made first, lest what the library maps for it takes the very addresses. */
	assert_int_equal(gm_object_create(gap, 0, &obj), 0);
	cf_fill(cf, 0, p, len, 9);
	cf_unmap(cf, hole, gap);
	assert_int_equal(cf_dev_load(cf, 0, hole, &v), -EFAULT);
	assert_int_equal(cf_dev_load(cf, 0, hole - 8, &v), 0);
	assert_true(cf_cpu_dies(hole + 8, false, SIGSEGV) > 0);
	assert_int_equal(gm_as_unmap(cf->as, hole - PAGE, 2 * PAGE), -EFAULT);
	cf_check(cf, CPU, p, before, 9);
	cf_check_at(cf, 0, hole + gap, BLOCK, 9, before + gap);
	cf_check_at(cf, CPU, hole + gap, BLOCK, 9, before + gap);

	/* Something else there: nothing of the old shows. */
	assert_int_equal(gm_as_map(cf->as, obj, 0, gap, GM_READ | GM_WRITE, GM_MAP_FIXED, &again),
			 0);
	gm_object_put(obj);
	cf_check_zero(cf, 0, hole, gap);
	cf_fill(cf, 0, hole, gap, 10);
	cf_check(cf, CPU, hole, gap, 10);
	/* All three pieces go at once. */
	cf_unmap(cf, p, len);
	assert_int_equal(cf_dev_load(cf, 0, p, &v), -EFAULT);
}

static void *map_obj(struct gm_as *as, struct gm_object *obj, uint64_t offset, uint64_t len)
{
	void *p = NULL;

	assert_int_equal(gm_as_map(as, obj, offset, len, GM_READ | GM_WRITE, 0, &p), 0);
	return p;
}

/* One object at two addresses of one address space and in another: the same bytes. */
static void test_mapped_twice(struct cf *cf)
{
	uint64_t len = 2 * BLOCK, odd = cf_unit() == BLOCK ? BLOCK : 7 * cf_unit();
	struct gm_as *other = cf_as();
	struct gm_sim_ctx *ctx;
	struct gm_object *obj;
	char *a, *b, *c;
	uint64_t v = 0;

	assert_int_equal(gm_object_create(len, 0, &obj), 0);
	a = map_obj(cf->as, obj, 0, len);
	b = map_obj(cf->as, obj, odd, len - odd);
	c = map_obj(other, obj, 0, len);
	assert_int_equal(gm_sim_attach(cf->sim[1], other, &ctx), 0);

	cf_fill(cf, CPU, a, len, 1);
	cf_check(cf, CPU, c, len, 1);
	cf_fill(cf, 0, a, len, 2);
	cf_on(c, len, cf_node(cf, 0));
	cf_check(cf, CPU, c, len, 2);
	cf_fill(cf, 0, a, len, 3);
	assert_int_equal(memcmp(a + odd, b, len - odd), 0);
	/* The device sees it at both addresses, and the other device in the other space. */
	assert_int_equal(cf_dev_store(cf, 0, b, 77), 0);
	assert_int_equal(cf_dev_load(cf, 0, a + odd, &v), 0);
	assert_int_equal(v, 77);
	assert_int_equal(gm_sim_access(ctx, c + odd, &v, 8, GM_READ), 0);
	assert_int_equal(v, 77);
	v = 78;
	assert_int_equal(gm_sim_access(ctx, c + odd, &v, 8, GM_WRITE), 0);
	assert_int_equal(*(volatile uint64_t *)(void *)b, 78);

	/* The bytes outlive a mapping, and the handle. */
	cf_fill(cf, 0, a, len, 4);
	cf_unmap(cf, a, len);
	cf_unmap(cf, b, len - odd);
	gm_object_put(obj);
	cf_check(cf, CPU, c, len, 4);
	assert_int_equal(gm_sim_detach(ctx), 0);
	assert_int_equal(gm_as_destroy(other), 0);
}

static void test_two_devices(struct cf *cf)
{
	uint64_t len = BLOCK + 9 * PAGE;
	char *p = cf_alloc(cf, len);

	cf_fill(cf, 0, p, len, 1);
	cf_check(cf, 1, p, len, 1);
	cf_on(p, len, cf_node(cf, 1));
	cf_fill(cf, 1, p, len, 2);
	cf_fill(cf, 0, p, PAGE, 3);
	cf_check(cf, 1, p, PAGE, 3);
	cf_check(cf, CPU, p, PAGE, 3);
	assert_int_not_equal(cf_node(cf, 0), cf_node(cf, 1));
	cf_unmap(cf, p, len);
}

/* Where two devices have a link what one wants of the other does not see the host. */
static void test_device_to_device(struct cf *cf)
{
	uint64_t len = 2 * BLOCK;
	char *p = cf_alloc(cf, len);
	struct gm_stats before, after;

	cf_fill(cf, CPU, p, len, 1);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, len, GM_PREFETCH), 0);
	before = cf_as_stats(cf);
	if (cf_unit() < BLOCK) /* by faults: what they take in part goes home */
		cf_check(cf, 1, p, BLOCK, 1);
	assert_int_equal(hmadvise(cf_node(cf, 1), p, len, GM_PREFETCH), 0);
	cf_on(p, len, cf_node(cf, 1));
	after = cf_as_stats(cf);
	assert_int_equal(after.pages_peer - before.pages_peer, len / PAGE);
	assert_int_equal(after.pages_to_host, before.pages_to_host);
	assert_int_equal(after.pages_to_dev, before.pages_to_dev);
	assert_int_equal(cf_dev_stats(cf, 1).pages_peer, len / PAGE);
	cf_fill(cf, 1, p, len, 2);
	cf_fill(cf, 0, p + 3 * PAGE, PAGE, 3);
	cf_check(cf, 1, p + 3 * PAGE, PAGE, 3);
	cf_check_at(cf, CPU, p + 4 * PAGE, len - 4 * PAGE, 2, 4 * PAGE);
	cf_check(cf, CPU, p + 3 * PAGE, PAGE, 3);

	/* It fails, and is where it was. */
	cf_fill(cf, 0, p, len, 4);
	gm_sim_inject(cf->sim[1], GM_SIM_COPY_FENCE, 0, UINT32_MAX, -EIO);
	assert_int_equal(hmadvise(cf_node(cf, 1), p, len, GM_PREFETCH), -EIO);
	cf_on(p, len, cf_node(cf, 0));
	cf_check(cf, 0, p, len, 4);
	/* No link after all: by way of the host. */
	gm_sim_inject(cf->sim[1], GM_SIM_COPY_FENCE, 0, 1, -EOPNOTSUPP);
	before = cf_as_stats(cf);
	assert_int_equal(hmadvise(cf_node(cf, 1), p, BLOCK, GM_PREFETCH), 0);
	cf_on(p, BLOCK, cf_node(cf, 1));
	after = cf_as_stats(cf);
	assert_int_equal(after.pages_to_host - before.pages_to_host, BLOCK / PAGE);
	assert_int_equal(after.pages_peer, before.pages_peer);
	cf_check(cf, 1, p, len, 4);
	cf_check(cf, CPU, p, len, 4);
	cf_unmap(cf, p, len);
}

/* The same for hmemcpy(), which leaves everything where it is. */
static void test_copy_between_devices(struct cf *cf)
{
	uint64_t len = BLOCK + 5 * PAGE;
	char *p = cf_alloc(cf, len), *q = cf_alloc(cf, len);
	struct gm_stats before, after;

	cf_fill(cf, 0, p, len, 1);
	cf_fill(cf, 1, q, len, 2);
	before = cf_as_stats(cf);
	assert_int_equal(hmemcpy(GM_NODE_NONE, q, p, len), 0);
	after = cf_as_stats(cf);
	assert_int_equal(after.pages_to_host, before.pages_to_host);
	cf_on(p, len, cf_node(cf, 0));
	cf_on(q, len, cf_node(cf, 1));
	cf_check(cf, 1, q, len, 1);
	assert_int_equal(hmemcpy(GM_NODE_NONE, p + 24, q + 24 + PAGE, 3 * PAGE), 0);
	cf_check_at(cf, 0, p + 24, 3 * PAGE, 1, PAGE + 24);
	cf_check(cf, CPU, q, len, 1);
	cf_unmap(cf, p, len);
	cf_unmap(cf, q, len);
}

/* A device with a coherent link uses host memory where it is; the others go on as ever. */
static void test_in_place(struct cf *cf)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = BLOCK,
				      .lanes = 2,
				      .flags = GM_SIM_CHECK | cf_dev_flags | GM_SIM_IN_PLACE };
	char *p = cf_alloc(cf, 2 * BLOCK);
	struct gm_sim_ctx *ctx;
	struct gm_sim *sim;
	struct gm_stats s;
	uint64_t v, w;

	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	assert_int_equal(gm_sim_attach(sim, cf->as, &ctx), 0);
	cf_fill(cf, CPU, p, 2 * BLOCK, 1);
	for (unsigned int round = 0; round < 3; round++) {
		for (uint64_t off = 0; off < 2 * BLOCK; off += PAGE) {
			assert_int_equal(gm_sim_access(ctx, p + off, &v, 8, GM_READ), 0);
			w = v + 1;
			assert_int_equal(gm_sim_access(ctx, p + off, &w, 8, GM_WRITE), 0);
			assert_int_equal(*(volatile uint64_t *)(void *)(p + off), w);
			*(volatile uint64_t *)(void *)(p + off) = v;
		}
		cf_on(p, 2 * BLOCK, GM_NODE_HOST);
		cf_check(cf, CPU, p, 2 * BLOCK, round + 1);
		s = cf_as_stats(cf);
		cf_fill(cf, 0, p, 2 * BLOCK, round + 2); /* away, and called back */
		cf_on(p, 2 * BLOCK, cf_node(cf, 0));
		assert_int_equal(cf_as_stats(cf).pages_to_host, s.pages_to_host);
	}
	assert_int_equal(gm_sim_access(ctx, p, &v, 8, GM_READ), 0);
	cf_check(cf, CPU, p, 2 * BLOCK, 4);
	s.size = sizeof(s);
	assert_int_equal(gm_dev_stats(gm_sim_dev(sim), &s), 0);
	assert_int_equal(s.pages_to_dev + s.pages_zeroed, 0);
	cf_unmap(cf, p, 2 * BLOCK);
	assert_int_equal(gm_sim_access(ctx, p, &v, 8, GM_READ), -EFAULT);
	assert_int_equal(gm_sim_detach(ctx), 0);
	assert_int_equal(gm_sim_destroy(sim), 0);
}

/* ---------------------------------------------------------------------------- contended */

#define ROUNDS 60
#define WORDS 24 /* on as many pages */

struct puller {
	struct cf *cf;
	char *p;
	int who;
	int err;
};

static void add_kernel(struct gm_sim_lane *lane, void *arg)
{
	const struct puller *pull = arg;

	for (uint64_t i = 0; i < WORDS; i++)
		gm_sim_add64(lane, pull->p + i * PAGE + 8 * (uint64_t)(1 + pull->who), 1);
}

static void *pull(void *arg)
{
	struct puller *pull = arg;

	for (unsigned int round = 0; round < ROUNDS && !pull->err; round++) {
		for (uint64_t i = 0; i < WORDS && pull->who == CPU; i++)
			++*(volatile uint64_t *)(void *)(pull->p + i * PAGE);
		if (pull->who != CPU)
			pull->err = gm_sim_launch(pull->cf->ctx[pull->who], add_kernel, pull);
	}
	return NULL;
}

/* The CPU and two devices count in words of their own on the same pages: no count is lost. */
static void test_contended(struct cf *cf)
{
	char *p = cf_alloc(cf, BLOCK);
	struct puller pullers[3];
	pthread_t t[3];

	for (int i = 0; i < 3; i++) {
		pullers[i] = (struct puller){ .cf = cf, .p = p, .who = i - 1 };
		pthread_create(&t[i], NULL, pull, &pullers[i]);
	}
	for (int i = 0; i < 3; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(pullers[i].err, 0);
	}
	for (uint64_t i = 0; i < WORDS; i++) {
		const uint64_t *w = (const uint64_t *)(const void *)(p + i * PAGE);

		assert_int_equal(w[0], ROUNDS);
		assert_int_equal(w[1], ROUNDS * gm_sim_lanes(cf->sim[0]));
		assert_int_equal(w[2], ROUNDS * gm_sim_lanes(cf->sim[1]));
	}
	cf_unmap(cf, p, BLOCK);
}

/* ------------------------------------------------------------------------------ hugetlb */

static void test_hugetlb(struct cf *cf)
{
	long before;
	void *addr;
	char *p;

	before = cf_kernel ? 0 : proc_huge_pages(16); /* there are no reserved ones there */
	if (gm_alloc(cf->as, 6 * BLOCK, GM_OBJECT_HUGETLB, &addr)) {
		assert_false(cf_kernel);
		proc_huge_pages(before);
		skip(); /* no huge pages to be had */
	}
	p = addr;
	cf_fill(cf, CPU, p, 6 * BLOCK, 1); /* more than a device holds */
	cf_check(cf, 0, p, 6 * BLOCK, 1);
	cf_fill(cf, 0, p + BLOCK + 3 * PAGE, BLOCK, 2);
	cf_check(cf, CPU, p + BLOCK + 3 * PAGE, BLOCK, 2);
	cf_check(cf, 1, p, BLOCK, 1);
	assert_int_equal(hmadvise(0, p, BLOCK, GM_DONTNEED), 0);
	cf_check_zero(cf, 1, p, BLOCK);
	cf_check_zero(cf, CPU, p, BLOCK);
	assert_int_equal(gm_as_unmap(cf->as, p + PAGE, BLOCK), -EINVAL);
	cf_unmap(cf, p + BLOCK, BLOCK);
	cf_fill(cf, 0, p + 3 * BLOCK, 3 * BLOCK, 3);
	cf_check(cf, CPU, p + 3 * BLOCK, 3 * BLOCK, 3);
	cf_unmap(cf, p, BLOCK);
	cf_unmap(cf, p + 2 * BLOCK, 4 * BLOCK);
	if (!cf_kernel)
		proc_huge_pages(before);
}

const struct CMUnitTest cf_data_tests[] = {
	CF_TEST(test_both_ways),	CF_TEST(test_zero_fill),
	CF_TEST(test_oversubscribed),	CF_TEST(test_partial_unmap),
	CF_TEST(test_mapped_twice),	CF_TEST(test_two_devices),
	CF_TEST(test_device_to_device), CF_TEST(test_copy_between_devices),
	CF_TEST(test_in_place),		CF_TEST(test_contended),
	CF_TEST(test_hugetlb),
};
const size_t cf_nr_data_tests = sizeof(cf_data_tests) / sizeof(cf_data_tests[0]);
