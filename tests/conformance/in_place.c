// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Mode GM_REPLICATE: device 1 maps host memory in place, beside the CPU, while pages migrate
 * to device 0.
 */
#include <unistd.h>

#include "conformance.h"

#define MAPS 1 /* the device that does */

/* In the place of the device that was made for every test. */
static int plug_instead(struct cf *cf, uint32_t flags)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = BLOCK,
				      .lanes = 2,
				      .flags = GM_SIM_CHECK | cf_dev_flags | flags };
	int err;

	assert_int_equal(gm_sim_detach(cf->ctx[MAPS]), 0);
	assert_int_equal(gm_sim_destroy(cf->sim[MAPS]), 0);
	err = gm_sim_create(&opt, &cf->sim[MAPS]);
	if (err) { /* for the teardown */
		opt.flags &= ~flags;
		assert_int_equal(gm_sim_create(&opt, &cf->sim[MAPS]), 0);
	}
	assert_int_equal(gm_sim_attach(cf->sim[MAPS], cf->as, &cf->ctx[MAPS]), 0);
	return err;
}

static void plug_in_place(struct cf *cf)
{
	assert_int_equal(plug_instead(cf, GM_SIM_IN_PLACE), 0);
}

/* Nothing migrates to it, and it faults once a block. */
static void test_in_place_once_a_block(struct cf *cf)
{
	uint64_t len = 3 * BLOCK;
	struct gm_stats s;
	char *p;

	plug_in_place(cf);
	p = cf_alloc(cf, len);
	cf_fill(cf, CPU, p, len, 1);
	for (uint64_t round = 1; round < 5; round++) {
		cf_check(cf, MAPS, p, len, round);
		cf_fill(cf, round % 2 ? MAPS : CPU, p, len, round + 1);
		cf_check(cf, CPU, p, len, round + 1);
	}
	cf_on(p, len, GM_NODE_HOST);
	s = cf_as_stats(cf);
	assert_int_equal(s.pages_to_dev, 0);
	assert_int_equal(s.pages_to_host, 0);
	s = cf_dev_stats(cf, MAPS);
	assert_in_range(s.dev_faults, 3, 6); /* two lanes may ask for the same block */
	assert_int_equal(s.fault_errors, 0);
	cf_unmap(cf, p, len);
}

/* What another device takes comes back; what the CPU gets mapped it need not ask for. */
static void test_in_place_and_migrating(struct cf *cf)
{
	uint64_t before;
	char *p;

	plug_in_place(cf);
	p = cf_alloc(cf, BLOCK);
	cf_check_zero(cf, MAPS, p, BLOCK);
	cf_fill(cf, 0, p, BLOCK, 1);
	cf_on(p, BLOCK, cf_node(cf, 0));
	cf_check(cf, MAPS, p, BLOCK, 1);
	cf_on(p, BLOCK, GM_NODE_HOST);
	for (uint64_t i = 0; i < 96; i++) {
		cf_fill(cf, (int)(i % 3) - 1, p + i * PAGE, PAGE, 50 + i);
		cf_check(cf, (int)((i / 3 + i) % 3) - 1, p + i * PAGE, PAGE, 50 + i);
		cf_fill(cf, MAPS, p + i * PAGE, PAGE, 150 + i);
		cf_check(cf, i % 2 ? 0 : CPU, p + i * PAGE, PAGE, 150 + i);
	}
	cf_fill(cf, 0, p, BLOCK, 2);
	cf_check(cf, CPU, p, BLOCK, 2);
	before = cf_dev_stats(cf, MAPS).dev_faults;
	cf_check(cf, MAPS, p, BLOCK, 2);
	assert_int_equal(cf_dev_stats(cf, MAPS).dev_faults, before);
	cf_unmap(cf, p, BLOCK);
}

/* Hints; parts that are dropped, protected, unmapped; the same pages at two addresses. */
static void test_in_place_ranges(struct cf *cf)
{
	struct gm_object *obj;
	void *p = NULL, *q = NULL;
	uint64_t v;
	char *c;

	plug_in_place(cf);
	assert_int_equal(gm_object_create(2 * BLOCK, 0, &obj), 0);
	assert_int_equal(gm_as_map(cf->as, obj, 0, 2 * BLOCK, GM_READ | GM_WRITE, 0, &p), 0);
	assert_int_equal(gm_as_map(cf->as, obj, 0, BLOCK, GM_READ | GM_WRITE, 0, &q), 0);
	c = p;
	cf_fill(cf, CPU, p, 2 * BLOCK, 1);
	assert_int_equal(hmadvise(cf_node(cf, MAPS), p, 2 * BLOCK, GM_PREFETCH), 0);
	cf_on(p, 2 * BLOCK, GM_NODE_HOST);
	cf_check(cf, MAPS, p, 2 * BLOCK, 1);
	assert_int_equal(hmadvise(cf_node(cf, MAPS), p, PAGE, GM_PIN), -EOPNOTSUPP);
	cf_check(cf, MAPS, q, BLOCK, 1);
	cf_fill(cf, MAPS, q, 8 * PAGE, 2);
	cf_check(cf, CPU, p, 8 * PAGE, 2);
	assert_int_equal(hmadvise(0, p, 8 * PAGE, GM_DONTNEED), 0);
	cf_check_zero(cf, MAPS, q, 8 * PAGE);
	assert_int_equal(gm_as_protect(cf->as, p, 8 * PAGE, GM_READ), 0);
	assert_int_equal(cf_dev_store(cf, MAPS, p, 1), -EACCES);
	assert_int_equal(cf_dev_store(cf, MAPS, q, 1), 0);
	assert_int_equal(cf_dev_load(cf, MAPS, p, &v), 0);
	assert_int_equal(v, 1);
	cf_unmap(cf, c + 3 * PAGE, 9 * PAGE);
	assert_int_equal(cf_dev_load(cf, MAPS, c + 11 * PAGE, &v), -EFAULT);
	cf_check_at(cf, MAPS, c + 12 * PAGE, PAGE, 1, 12 * PAGE);
	cf_check_at(cf, MAPS, (char *)q + 11 * PAGE, PAGE, 1, 11 * PAGE);
	cf_unmap(cf, q, BLOCK);
	assert_int_equal(cf_dev_load(cf, MAPS, q, &v), -EFAULT);
	cf_check_at(cf, 0, c + 12 * PAGE, BLOCK, 1, 12 * PAGE);
	cf_check_at(cf, MAPS, c + 12 * PAGE, BLOCK, 1, 12 * PAGE);
	gm_object_put(obj);
}

/* It goes, and comes again; and memory goes while it is attached. */
static void test_in_place_detached(struct cf *cf)
{
	char *p;

	plug_in_place(cf);
	p = cf_alloc(cf, BLOCK);
	cf_fill(cf, MAPS, p, BLOCK, 1);
	assert_int_equal(gm_sim_detach(cf->ctx[MAPS]), 0);
	cf_check(cf, 0, p, BLOCK, 1);
	cf_fill(cf, 0, p, BLOCK, 2);
	assert_int_equal(gm_sim_attach(cf->sim[MAPS], cf->as, &cf->ctx[MAPS]), 0);
	cf_check(cf, MAPS, p, BLOCK, 2);
	cf_unmap(cf, p, BLOCK);
	p = cf_alloc(cf, BLOCK);
	cf_check_zero(cf, MAPS, p, BLOCK);
}

/* The device fails: the page stays where it is, for all, and it can be done again. */
static void test_in_place_failures(struct cf *cf)
{
	static const enum gm_sim_op op[] = { GM_SIM_PMAP_RELEASE, GM_SIM_TLB_INVL };
	uint64_t v;
	char *p;

	plug_in_place(cf);
	p = cf_alloc(cf, BLOCK);
	cf_fill(cf, MAPS, p, BLOCK, 1);
	for (unsigned int i = 0; i < 2; i++) {
		gm_sim_inject(cf->sim[MAPS], op[i], 0, UINT32_MAX, -EIO);
		assert_int_equal(cf_dev_load(cf, 0, p, &v), -EIO);
		cf_on(p, BLOCK, GM_NODE_HOST);
		gm_sim_inject(cf->sim[MAPS], op[i], 0, 0, 0);
		cf_check(cf, MAPS, p, BLOCK, 1);
	}
	assert_int_equal(hmadvise(0, p, BLOCK, GM_DONTNEED), 0);
	gm_sim_inject(cf->sim[MAPS], GM_SIM_PMAP_ENTER, 0, UINT32_MAX, -ENODEV);
	assert_int_equal(cf_dev_load(cf, MAPS, p, &v), -ENODEV);
	gm_sim_inject(cf->sim[MAPS], GM_SIM_PMAP_ENTER, 0, 0, 0);
	cf_check_zero(cf, MAPS, p, BLOCK);
	cf_fill(cf, 0, p, PAGE, 2);
	cf_check(cf, MAPS, p, PAGE, 2);
	cf_unmap(cf, p, BLOCK);
}

/* System calls, and hmemcpy(), on memory that the device has mapped in place. */
static void test_in_place_syscalls(struct cf *cf)
{
	char *p, *q;
	int fds[2];

	plug_in_place(cf);
	p = cf_alloc(cf, BLOCK);
	q = cf_alloc(cf, BLOCK);
	cf_fill(cf, MAPS, p, BLOCK, 1);
	cf_check_zero(cf, MAPS, q, BLOCK);
	cf_check(cf, CPU, p, BLOCK, 1);
	cf_check_zero(cf, CPU, q, BLOCK);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], p, 3 * PAGE), 3 * PAGE);
	assert_int_equal(read(fds[0], q, 3 * PAGE), 3 * PAGE);
	cf_check(cf, MAPS, q, 3 * PAGE, 1);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(hmemcpy(GM_NODE_NONE, q, p, BLOCK), 0);
	cf_check(cf, MAPS, q, BLOCK, 1);
	cf_unmap(cf, p, BLOCK);
	cf_unmap(cf, q, BLOCK);
}

/*
 * A device that counts, of a third of what it uses: when it is full pages stay in host memory, some
 * come later, and everybody sees what all have written.
 */
static void test_in_place_counted(struct cf *cf)
{
	uint64_t len = 3 * BLOCK;
	struct gm_stats s;
	char *p;

	if (plug_instead(cf, GM_SIM_COUNTERS)) {
		assert_true(cf_kernel);
		return;
	}
	p = cf_alloc(cf, len);
	cf_fill(cf, CPU, p, len, 1);
	for (uint64_t round = 1; round < 4; round++) {
		cf_check(cf, MAPS, p, len, round);
		cf_fill(cf, round == 2 ? 0 : MAPS, p + round * 10 * PAGE, 40 * PAGE, round + 10);
		cf_check(cf, CPU, p + round * 10 * PAGE, 40 * PAGE, round + 10);
		cf_fill(cf, round == 2 ? CPU : MAPS, p, len, round + 1);
		cf_check(cf, (int)round - 2, p, len, round + 1);
	}
	s = cf_dev_stats(cf, MAPS);
	assert_true(s.remote_maps > 0 && s.remote_bytes > 0);
	assert_int_equal(s.remote_bytes % 64, 0);
	assert_int_equal(s.fault_errors, 0);
	cf_unmap(cf, p, len);
}

const struct CMUnitTest cf_in_place_tests[] = {
	CF_TEST(test_in_place_once_a_block), CF_TEST_PAGES(test_in_place_and_migrating),
	CF_TEST_PAGES(test_in_place_ranges), CF_TEST(test_in_place_detached),
	CF_TEST(test_in_place_failures),     CF_TEST(test_in_place_syscalls),
	CF_TEST(test_in_place_counted),
};
const size_t cf_nr_in_place_tests = sizeof(cf_in_place_tests) / sizeof(*cf_in_place_tests);
