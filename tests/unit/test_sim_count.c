// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The simulated accelerator's access counters. */
#include "test_sim.h"

struct counted counted;

/* It may be taken away at once: as if gmem brought it to the device. */
int gm_dev_accessed(struct gm_context *c, uint64_t va, uint64_t len, uint64_t times)
{
	assert_true(len == PAGE && va % PAGE == 0 && counted.n < 16);
	counted.page[counted.n] = (va - (uintptr_t)VA) / PAGE;
	counted.times[counted.n++] = times;
	if (counted.take) {
		assert_int_equal(mmu_of(c->dev)->pmap_release(c->pmap, va, len), 0);
		assert_int_equal(mmu_of(c->dev)->tlb_invl(c->pmap, va, len), 0);
	}
	return 0;
}

/* Host memory in place; what the device has instead when it was taken is of another. */
static uint8_t memory[PAGES * PAGE] __attribute__((aligned(4096)));

static void in_place(struct rig *r, uint64_t page, uint64_t n)
{
	const struct gm_mmu *mmu = mmu_of(r->gm->dev);

	assert_int_equal(mmu->pmap_enter_host(r->gm->pmap, (uintptr_t)VA + page * PAGE,
					      (uintptr_t)memory + page * PAGE, n * PAGE,
					      GM_READ | GM_WRITE),
			 0);
}

static void use(struct rig *r, uint64_t off, size_t len)
{
	static uint8_t buf[8 * PAGE];

	assert_int_equal(gm_sim_access(r->ctx, (uint8_t *)VA + off, buf, len, GM_READ), 0);
}

static void lines(void **state)
{
	struct gm_sim_options opt = small(GM_SIM_SYNC_FAULTS | GM_SIM_COUNTERS);
	struct rig r;

	(void)state;
	memset(&counted, 0, sizeof(counted));
	rig_open(&r, &opt);
	assert_int_equal(mmu_of(r.gm->dev)->flags, GM_MMU_COUNTS);
	in_place(&r, 2, 3);
	use(&r, 0, PAGE); /* on the device: that is no affair of a counter's */
	assert_int_equal(counted.n, 0);
	for (unsigned int i = 0; i < 50; i++) /* the same line */
		use(&r, 2 * PAGE + i, 8);
	use(&r, 2 * PAGE + 60, 8); /* and the next */
	use(&r, 2 * PAGE + 1024, 5 * 64);
	assert_int_equal(counted.n, 0); /* seven */
	use(&r, 2 * PAGE, 1);
	assert_int_equal(counted.n, 1);
	assert_int_equal(counted.page[0], 2);
	assert_int_equal(counted.times[0], 8);
	use(&r, 2 * PAGE + 64, 7 * 64); /* it begins anew */
	assert_int_equal(counted.n, 1);
	use(&r, 2 * PAGE + PAGE - 64, PAGE); /* a piece of it, and most of the next page */
	assert_int_equal(counted.n, 9);
	for (unsigned int i = 1; i < 9; i++) { /* line by line */
		assert_int_equal(counted.page[i], i == 1 ? 2 : 3);
		assert_int_equal(counted.times[i], 8);
	}
	use(&r, 0, 64);
	use(&r, 3 * PAGE + PAGE - 64, 1); /* once more: there was another in between */
	assert_int_equal(counted.n, 10);
	rig_close(&r);
}

/* The line that says so, and the rest, are used where the page is then. */
static void taken(void **state)
{
	struct gm_sim_options opt = small(GM_SIM_SYNC_FAULTS | GM_SIM_COUNTERS);
	uint8_t buf[PAGE];
	struct rig r;

	(void)state;
	memset(&counted, 0, sizeof(counted));
	rig_open(&r, &opt);
	memset(r.gm->host + PAGE, 0x5a, PAGE);
	in_place(&r, 1, 1);
	counted.take = true;
	assert_int_equal(gm_sim_access(r.ctx, (uint8_t *)VA + PAGE, buf, PAGE, GM_READ), 0);
	assert_int_equal(counted.n, 1);
	assert_int_equal(counted.times[0], 8);
	assert_true(r.gm->on_dev[1] && buf[7 * 64] == 0x5a && buf[PAGE - 1] == 0x5a);
	assert_true(!buf[0] && !buf[7 * 64 - 1]);
	use(&r, PAGE, PAGE);
	assert_int_equal(counted.n, 1);
	rig_close(&r);
}

/* The table grows; without memory for that nothing is counted, and nothing else is amiss. */
static void many(void **state)
{
	struct gm_sim_options opt = small(GM_SIM_SYNC_FAULTS | GM_SIM_COUNTERS);
	struct rig r;

	(void)state;
	memset(&counted, 0, sizeof(counted));
	rig_open(&r, &opt);
	in_place(&r, 0, PAGES);
	calls_left = 0;
	use(&r, 2048, 1);
	calls_left = -1;
	assert_int_equal(counted.n, 0);
	for (uint64_t i = 0; i < PAGES; i++)
		use(&r, i * PAGE, 7 * 64);
	assert_int_equal(counted.n, 0);
	for (uint64_t i = 0; i < 16; i++)
		use(&r, (i * 13 % PAGES) * PAGE + 2048, 1);
	assert_int_equal(counted.n, 16);
	for (uint64_t i = 0; i < 16; i++)
		assert_true(counted.page[i] == i * 13 % PAGES && counted.times[i] == 8);
	rig_close(&r);
}

/* A device that does not count says nothing. */
static void none(void **state)
{
	struct gm_sim_options opt = small(GM_SIM_SYNC_FAULTS);
	struct rig r;

	(void)state;
	memset(&counted, 0, sizeof(counted));
	rig_open(&r, &opt);
	assert_int_equal(mmu_of(r.gm->dev)->flags, 0);
	in_place(&r, 0, PAGES);
	use(&r, 0, 4 * PAGE);
	assert_int_equal(counted.n, 0);
	rig_close(&r);
}

const struct CMUnitTest sim_count_tests[] = {
	cmocka_unit_test(lines),
	cmocka_unit_test(taken),
	cmocka_unit_test(many),
	cmocka_unit_test(none),
};
const size_t nr_sim_count_tests = sizeof(sim_count_tests) / sizeof(sim_count_tests[0]);
