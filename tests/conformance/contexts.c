// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Contexts: a device that sees a part of an address space, at addresses of its own; a mode for
 * a range; and devices that share a page table.
 */
#include <signal.h>

#include "conformance.h"

#define AT 0x40000000ULL /* where a sparse device sees things */

static struct gm_sim *sim_with(uint32_t flags, uint32_t va_bits)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = DEV_MEMORY,
				      .lanes = 2,
				      .va_bits = va_bits,
				      .flags = GM_SIM_CHECK | cf_dev_flags | flags };
	struct gm_sim *sim;

	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	return sim;
}

/* Devices with these flags in place of the bench's. */
static void change(struct cf *cf, uint32_t first, uint32_t second)
{
	uint32_t flags[NR_DEVS] = { first, second };

	for (int i = 0; i < NR_DEVS; i++) {
		assert_int_equal(gm_sim_detach(cf->ctx[i]), 0);
		assert_int_equal(gm_sim_destroy(cf->sim[i]), 0);
	}
	for (int i = 0; i < NR_DEVS; i++) {
		cf->sim[i] = sim_with(flags[i], 0);
		assert_int_equal(gm_sim_attach(cf->sim[i], cf->as, &cf->ctx[i]), 0);
	}
}

static void detach(struct cf *cf, int i)
{
	assert_int_equal(gm_sim_detach(cf->ctx[i]), 0);
	cf->ctx[i] = NULL;
}

static void *at(uint64_t dev_va)
{
	return (void *)(uintptr_t)dev_va;
}

static int load(struct cf *cf, int dev, uint64_t dev_va, uint64_t *v)
{
	return gm_sim_access(cf->ctx[dev], at(dev_va), v, sizeof(*v), GM_READ);
}

/* Bytes of [p, p+len) as device 0 sees them from @dev_va on. */
static void same_there(struct cf *cf, uint64_t dev_va, const char *p, uint64_t len)
{
	char *copy = malloc(len);

	assert_non_null(copy);
	assert_int_equal(gm_sim_access(cf->ctx[0], at(dev_va), copy, len, GM_READ), 0);
	assert_memory_equal(copy, p, len);
	free(copy);
}

static void test_context_sparse(struct cf *cf)
{
	uint64_t v = 7, len = 2 * BLOCK;
	char *p;

	change(cf, GM_SIM_SPARSE, 0);
	p = cf_alloc(cf, len);
	cf_fill(cf, CPU, p, len, 1);
	assert_int_equal(load(cf, 0, (uintptr_t)p, &v), -EFAULT);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, len, GM_PREFETCH), -EFAULT);
	/* Two halves, the other way round, offset by a page. */
	assert_int_equal(gm_sim_window_add(cf->ctx[0], p + BLOCK, BLOCK, AT), 0);
	assert_int_equal(gm_sim_window_add(cf->ctx[0], p, BLOCK - PAGE, AT + BLOCK), 0);
	same_there(cf, AT, p + BLOCK, BLOCK);
	same_there(cf, AT + BLOCK, p, BLOCK - PAGE);
	assert_int_equal(load(cf, 0, AT + 2 * BLOCK - PAGE, &v), -EFAULT);
	/* What the device writes is where it shows. */
	v = 12345;
	assert_int_equal(gm_sim_access(cf->ctx[0], at(AT + 8 * PAGE), &v, 8, GM_WRITE), 0);
	assert_int_equal(*(uint64_t *)(void *)(p + BLOCK + 8 * PAGE), 12345);
	/* Neither the CPU nor the other device minds. */
	cf_check_at(cf, 1, p, BLOCK, 1, 0);
	/* Taken away in the middle. */
	assert_int_equal(gm_sim_window_remove(cf->ctx[0], p + PAGE, 2 * PAGE), 0);
	assert_int_equal(load(cf, 0, AT + BLOCK, &v), 0);
	assert_int_equal(load(cf, 0, AT + BLOCK + PAGE, &v), -EFAULT);
	assert_int_equal(load(cf, 0, AT + BLOCK + 3 * PAGE, &v), 0);
	assert_int_equal(gm_sim_window_add(cf->ctx[0], p + BLOCK, PAGE, AT + 8 * BLOCK), -EEXIST);
	assert_int_equal(gm_sim_window_remove(cf->ctx[0], p + PAGE, PAGE), -ENOENT);
	cf_unmap(cf, p, len);
	assert_int_equal(load(cf, 0, AT, &v), -EFAULT);
}

static void test_context_few_bits(struct cf *cf)
{
	char *p = cf_alloc(cf, BLOCK);
	uint64_t v = 0;

	assert_int_equal(gm_sim_detach(cf->ctx[0]), 0);
	assert_int_equal(gm_sim_destroy(cf->sim[0]), 0);
	cf->sim[0] = sim_with(GM_SIM_SPARSE, 24);
	assert_int_equal(gm_sim_attach(cf->sim[0], cf->as, &cf->ctx[0]), 0);
	cf_fill(cf, CPU, p, BLOCK, 1);
	assert_int_equal(gm_sim_window_add(cf->ctx[0], p, BLOCK, 1 << 24), -ERANGE);
	assert_int_equal(gm_sim_window_add(cf->ctx[0], p, BLOCK, (1 << 24) - BLOCK), 0);
	same_there(cf, (1 << 24) - BLOCK, p, BLOCK);
	assert_int_equal(load(cf, 0, (1 << 24) - 8, &v), 0);
	assert_int_equal(load(cf, 0, 1 << 24, &v), -EFAULT);
	cf_unmap(cf, p, BLOCK);
}

/* An ordinary context is denied a part; it is as if nothing was mapped there, for that device. */
static void test_context_denied(struct cf *cf)
{
	char *p = cf_alloc(cf, BLOCK);
	uint64_t v;

	cf_fill(cf, 0, p, BLOCK, 1);
	assert_int_equal(gm_sim_window_remove(cf->ctx[0], p + 4 * PAGE, PAGE), 0);
	assert_int_equal(cf_dev_load(cf, 0, p + 4 * PAGE, &v), -EFAULT);
	assert_int_equal(cf_dev_load(cf, 0, p + 5 * PAGE, &v), 0);
	cf_check(cf, 1, p, BLOCK, 1);
	cf_check(cf, CPU, p, BLOCK, 1);
	assert_int_equal(gm_sim_window_add(cf->ctx[0], p + 4 * PAGE, PAGE, (uintptr_t)p + 4 * PAGE),
			 0);
	cf_check(cf, 0, p, BLOCK, 1);
	cf_unmap(cf, p, BLOCK);
}

/* In one context, some of it migrates and some is mapped where it is. */
static void test_context_mode_of_range(struct cf *cf)
{
	char *p = cf_alloc(cf, BLOCK);
	int err;

	cf_fill(cf, 0, p, BLOCK, 1);
	err = gm_sim_set_mode(cf->ctx[0], p, BLOCK / 2, GM_REPLICATE);
	if (!cf_not_here(err == -EOPNOTSUPP, "no device can map this host's memory in place")) {
		assert_int_equal(err, 0);
		cf_on(p, BLOCK / 2, GM_NODE_HOST);
		cf_on(p + BLOCK / 2, BLOCK / 2, cf_node(cf, 0));
		cf_fill(cf, 0, p, BLOCK, 2);
		cf_on(p, BLOCK / 2, GM_NODE_HOST);
		cf_check(cf, CPU, p, BLOCK, 2);
		assert_int_equal(gm_sim_set_mode(cf->ctx[0], p, BLOCK, GM_EXCLUSIVE), 0);
		cf_check(cf, 0, p, BLOCK, 2);
		cf_on(p, BLOCK, cf_node(cf, 0));
	}
	cf_unmap(cf, p, BLOCK);
}

/* One table, one memory: what either faults for is there for both. */
static void test_context_share(struct cf *cf)
{
	struct gm_stats before;
	char *p;

	change(cf, GM_SIM_SHARE, GM_SIM_SHARE);
	p = cf_alloc(cf, 6 * BLOCK);
	cf_fill(cf, CPU, p, BLOCK, 1);
	cf_check(cf, 1, p, BLOCK, 1);
	cf_on(p, BLOCK, cf_node(cf, 0));
	before = cf_dev_stats(cf, 0);
	cf_check(cf, 0, p, BLOCK, 1);
	assert_int_equal(cf_dev_stats(cf, 0).dev_faults, before.dev_faults);
	cf_fill(cf, CPU, p, BLOCK, 2);
	cf_check(cf, 0, p, BLOCK, 2);
	cf_check(cf, 1, p, BLOCK, 2);
	/* More than the memory of the one. */
	for (uint64_t round = 3; round < 6; round++) {
		cf_fill(cf, round % 2, p, 6 * BLOCK, round);
		cf_check(cf, !(round % 2), p, 6 * BLOCK, round);
	}
	cf_check(cf, CPU, p, 6 * BLOCK, 5);
	assert_int_equal(hmadvise(cf_node(cf, 1), p, BLOCK, GM_PREFETCH), -EOPNOTSUPP);
	assert_int_equal(gm_sim_detach(cf->ctx[0]), -EBUSY);
	detach(cf, 1);
	cf_check(cf, 0, p, 6 * BLOCK, 5);
	cf_unmap(cf, p, 6 * BLOCK);
}

/* What one device has another reads where it is, and has it when it writes. */
static void test_context_read_peer(struct cf *cf)
{
	uint64_t v;
	char *p;

	change(cf, GM_SIM_READ_PEER, GM_SIM_READ_PEER);
	p = cf_alloc(cf, BLOCK);
	cf_fill(cf, CPU, p, BLOCK, 1);
	assert_int_equal(hmadvise(cf_node(cf, 0), p, BLOCK, GM_PREFETCH), 0);
	cf_check(cf, 1, p, BLOCK, 1);
	cf_on(p, BLOCK, cf_node(cf, 0));
	cf_fill(cf, 0, p, BLOCK, 2);
	cf_check(cf, 1, p, BLOCK, 2);
	cf_on(p, BLOCK, cf_node(cf, 0));
	assert_int_equal(cf_dev_stats(cf, 0).bytes_to_host, 0);
	assert_int_equal(cf_dev_store(cf, 1, p, 5), 0);
	assert_int_equal(cf_count_on(p, PAGE, cf_node(cf, 1)), 1);
	assert_int_equal(cf_dev_load(cf, 0, p, &v), 0);
	assert_int_equal(v, 5);
	cf_fill(cf, CPU, p, BLOCK, 3);
	for (int i = 0; i < NR_DEVS; i++)
		cf_check(cf, i, p, BLOCK, 3);
	cf_unmap(cf, p, BLOCK);
}

static void add_kernel(struct gm_sim_lane *lane, void *arg)
{
	for (unsigned int i = 0; i < 100; i++)
		gm_sim_add64(lane, arg, 1);
}

/* Atomic operations on host memory in place, by a link that knows none: the page is had alone. */
static void test_context_exclusive(struct cf *cf)
{
	struct gm_page_info info;
	char *p;

	change(cf, GM_SIM_IN_PLACE | GM_SIM_NO_ATOMICS, GM_SIM_IN_PLACE);
	p = cf_alloc(cf, BLOCK);
	cf_fill(cf, CPU, p, BLOCK, 1);
	cf_check(cf, 0, p, BLOCK, 1);
	*(volatile uint64_t *)(void *)p = 0;
	for (uint64_t round = 1; round < 4; round++) {
		assert_int_equal(gm_sim_launch(cf->ctx[0], add_kernel, p), 0);
		assert_int_equal(gm_query(p, PAGE, &info), 0);
		assert_true(info.flags & GM_PAGE_EXCLUSIVE);
		assert_int_equal(info.node, GM_NODE_HOST);
		if (round == 2)
			cf_check_at(cf, 1, p + PAGE, BLOCK - PAGE, 1, PAGE);
		else
			assert_int_equal(*(volatile uint64_t *)(void *)p, round * 200);
	}
	assert_int_equal(gm_query(p, PAGE, &info), 0);
	assert_false(info.flags & GM_PAGE_EXCLUSIVE);
	assert_int_equal(cf_as_stats(cf).bytes_to_dev, 0);
	cf_unmap(cf, p, BLOCK);
}

/* Protection changes under it, and a child comes: it is memory as any other. */
static void test_context_exclusive_protect(struct cf *cf)
{
	uint64_t v = 0;
	char *p;

	change(cf, GM_SIM_IN_PLACE | GM_SIM_NO_ATOMICS, 0);
	p = cf_alloc(cf, BLOCK);
	cf_fill(cf, CPU, p, BLOCK, 1);
	*(volatile uint64_t *)(void *)p = 0;
	assert_int_equal(gm_sim_launch(cf->ctx[0], add_kernel, p), 0);
	assert_int_equal(gm_as_protect(cf->as, p, PAGE, GM_READ), 0);
	assert_int_equal(gm_sim_launch(cf->ctx[0], add_kernel, p), -EACCES);
	assert_int_equal(cf_dev_load(cf, 0, p, &v), 0);
	assert_int_equal(v, 200);
	assert_int_equal(*(volatile uint64_t *)(void *)p, 200);
	assert_true(cf_cpu_dies(p, true, SIGSEGV) >= 0);
	assert_int_equal(gm_as_protect(cf->as, p, PAGE, GM_READ | GM_WRITE), 0);
	assert_int_equal(gm_sim_launch(cf->ctx[0], add_kernel, p), 0);
	assert_int_equal(cf_dev_load(cf, 1, p, &v), 0); /* to a device that it migrates to */
	assert_int_equal(v, 400);
	assert_int_equal(gm_sim_launch(cf->ctx[0], add_kernel, p), 0);
	assert_int_equal(*(volatile uint64_t *)(void *)p, 600);
	cf_unmap(cf, p, BLOCK);
}

const struct CMUnitTest cf_context_tests[] = {
	CF_TEST(test_context_sparse),	    CF_TEST(test_context_few_bits),
	CF_TEST_PAGES(test_context_denied), CF_TEST_PAGES(test_context_mode_of_range),
	CF_TEST(test_context_share),	    CF_TEST(test_context_read_peer),
	CF_TEST(test_context_exclusive),    CF_TEST(test_context_exclusive_protect),
};
const size_t cf_nr_context_tests = sizeof(cf_context_tests) / sizeof(cf_context_tests[0]);
