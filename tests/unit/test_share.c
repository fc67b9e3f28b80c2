// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Mode GM_SHARE: one pmap for several devices. Both devices ask for it; device 0 is there
 * first, so the table and the pages are its own.
 */
#include "unit.h"

#include "core/core.h"
#include "toy.h"

static struct gm_sim *sim_with(unsigned int nr, uint32_t flags, uint64_t pgsizes)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = 4 * BLOCK,
				      .base = (1ULL + nr) << 32,
				      .pgsize_bitmap = pgsizes,
				      .lanes = 1,
				      .flags = GM_SIM_SYNC_FAULTS | GM_SIM_CHECK | flags };
	struct gm_sim *sim;

	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	unit_tune(gm_sim_dev(sim), PAGE, true, true);
	return sim;
}

static void begin(struct unit *u, uint32_t first, uint32_t second)
{
	u->sim[0] = sim_with(0, first, 0);
	u->sim[1] = sim_with(1, second, 0);
	for (unsigned int i = 0; i < UNIT_DEVS; i++)
		assert_int_equal(gm_sim_attach(u->sim[i], u->as, &u->ctx[i]), 0);
}

static int setup(void **state)
{
	unit_setup_as(state);
	begin(*state, GM_SIM_SHARE, GM_SIM_SHARE);
	return 0;
}

static int teardown(void **state)
{
	struct unit *u = *state;
	struct gm_sim_stats s = { .size = sizeof(s) };

	for (unsigned int i = 0; i < UNIT_DEVS; i++) {
		gm_sim_stats(u->sim[i], &s);
		assert_int_equal(s.stale, 0);
	}
	/* Who shares goes first. */
	assert_int_equal(gm_sim_detach(u->ctx[1]), 0);
	u->ctx[1] = NULL;
	return unit_teardown(state);
}

static struct gm_stats stats(struct unit *u, unsigned int dev)
{
	return unit_dev_stats(unit_dev(u, dev));
}

/* A fault of either maps for both, and the pages are the first one's. */
static void one_fault_for_both(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	unit_fill(u, CPU, va, BLOCK, 1);
	unit_verify(u, 1, va, BLOCK, 1);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	assert_int_equal(stats(u, 1).dev_faults, 512);
	unit_verify(u, 0, va, BLOCK, 1);
	assert_int_equal(stats(u, 0).dev_faults, 0);
	assert_int_equal(stats(u, 0).bytes_to_dev, BLOCK);
	assert_int_equal(stats(u, 1).bytes_to_dev, 0);
	unit_fill(u, 1, va, BLOCK, 2);
	unit_verify(u, 0, va, BLOCK, 2);
	unit_fill(u, 0, va, BLOCK, 3);
	unit_verify(u, 1, va, BLOCK, 3);
	assert_int_equal(stats(u, 0).dev_faults, 0);
	unit_check();
}

/* What leaves is invalidated in both TLBs: neither sees its old place again. */
static void both_are_invalidated(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, PAGE);

	gm_fake_set_no_in_place(true); /* what goes there and back moves */
	for (uint64_t i = 0; i < 10; i++) {
		struct gm_stats a = stats(u, 0), b = stats(u, 1);

		unit_store(u, 0, va, 2 * i);
		assert_int_equal(unit_load(u, 1, va), 2 * i);
		unit_store(u, CPU, va, 2 * i + 1);
		assert_int_equal(stats(u, 0).tlb_invls - a.tlb_invls, 1);
		assert_int_equal(stats(u, 1).tlb_invls - b.tlb_invls, 1);
		assert_int_equal(unit_load(u, 1, va), 2 * i + 1);
		assert_int_equal(unit_load(u, 0, va), 2 * i + 1);
	}
}

/* Evicted from the first one's memory while the second uses it. */
static void oversubscribed(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 8 * BLOCK);

	for (unsigned int round = 0; round < 3; round++) {
		unit_fill(u, 1, va, 8 * BLOCK, round + 1);
		unit_verify(u, 0, va, 8 * BLOCK, round + 1);
	}
	assert_int_equal(unit_hnode(unit_node(u, 1)).free, 4 * BLOCK);
	assert_true(stats(u, 0).pages_evicted > 0);
	unit_check();
}

static void windows_are_shared(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), v;

	unit_fill(u, 0, va, BLOCK, 1);
	assert_int_equal(gm_sim_window_remove(u->ctx[1], (void *)(uintptr_t)va, PAGE), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(unit_access(u, i, va, &v, 8, GM_READ), -EFAULT);
	assert_int_equal(gm_sim_window_add(u->ctx[1], (void *)(uintptr_t)va, PAGE, va), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(unit_access(u, i, va, &v, 8, GM_READ), 0);
	assert_int_equal(gm_advise(u->as, unit_node(u, 1), va, BLOCK, GM_PREFETCH), -EOPNOTSUPP);
	assert_int_equal(gm_advise(u->as, unit_node(u, 1), va, BLOCK, GM_PIN), -EOPNOTSUPP);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
}

/* The owner stays as long as it is shared; who leaves takes its translations with it. */
static void comings_and_goings(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	gm_fake_set_no_in_place(true); /* what goes there and back moves */
	unit_fill(u, 0, va, BLOCK, 1);
	unit_verify(u, 1, va, BLOCK, 1);
	assert_int_equal(gm_sim_detach(u->ctx[0]), -EBUSY);
	assert_int_equal(gm_sim_destroy(u->sim[1]), -EBUSY);
	for (unsigned int i = 0; i < 5; i++) {
		assert_int_equal(gm_sim_detach(u->ctx[1]), 0);
		unit_on(u->as, va, PAGE, unit_node(u, 0)); /* nothing moved */
		unit_store(u, CPU, va, i);
		assert_int_equal(gm_sim_attach(u->sim[1], u->as, &u->ctx[1]), 0);
		assert_int_equal(unit_load(u, 1, va), i);
	}
	/* An address space that ends sees to the order itself. */
	assert_int_equal(gm_as_destroy(u->as), 0);
	u->as = NULL;
	assert_int_equal(gm_as_create(NULL, &u->as), 0);
	for (unsigned int i = 0; i < UNIT_DEVS; i++)
		assert_int_equal(gm_sim_attach(u->sim[i], u->as, &u->ctx[i]), 0);
}

/* The owner is pulled out: who shares its table is without one, and no byte is lost. */
static void owner_removed(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), v;

	unit_fill(u, 0, va, BLOCK, 1);
	unit_verify(u, 1, va, BLOCK, 1);
	assert_int_equal(gm_sim_unplug(u->sim[0]), 0);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	for (int i = 0; i < 2; i++)
		assert_int_equal(unit_access(u, i, va, &v, 8, GM_READ), -ENODEV);
	unit_verify(u, CPU, va, BLOCK, 1);
	/* By itself it has its own, and finds nobody to share with. */
	assert_int_equal(gm_sim_detach(u->ctx[1]), 0);
	assert_int_equal(gm_sim_attach(u->sim[1], u->as, &u->ctx[1]), 0);
	unit_verify(u, 1, va, BLOCK, 1);
	unit_on(u->as, va, BLOCK, unit_node(u, 1));
}

/* The owner's table has another device's memory too: it is out of reach as well, at once. */
static void owner_removed_reading(void **state)
{
	struct unit *u = *state;
	struct gm_sim *third = sim_with(2, GM_SIM_READ_PEER, 0);
	struct gm_sim_ctx *ctx;
	uint64_t va, v = 1;

	begin(u, GM_SIM_SHARE | GM_SIM_READ_PEER, GM_SIM_SHARE | GM_SIM_READ_PEER);
	va = unit_alloc(u, BLOCK);
	assert_int_equal(gm_sim_attach(third, u->as, &ctx), 0);
	assert_int_equal(gm_sim_access(ctx, (void *)(uintptr_t)va, &v, 8, GM_WRITE), 0);
	assert_int_equal(unit_access(u, 1, va, &v, 8, GM_READ), 0);
	unit_on(u->as, va, PAGE, gm_dev_hnode(gm_sim_dev(third)));
	assert_int_equal(gm_sim_unplug(u->sim[0]), 0);
	assert_int_equal(unit_access(u, 1, va, &v, 8, GM_READ), -ENODEV);
	assert_int_equal(gm_sim_detach(ctx), 0);
	assert_int_equal(gm_sim_destroy(third), 0);
}

/* Who shares is pulled out: its faults are errors, and the owner does not notice. */
static void sharer_removed(void **state)
{
	struct unit *u = *state;
	struct gm_sim_ctx *ctx;
	struct gm_as *other;
	uint64_t va = unit_alloc(u, BLOCK), v;

	unit_fill(u, 0, va, BLOCK, 1);
	assert_int_equal(gm_sim_unplug(u->sim[1]), 0);
	assert_int_equal(unit_access(u, 1, va, &v, 8, GM_READ), -ENODEV);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	unit_verify(u, 0, va, BLOCK, 1);
	assert_int_equal(gm_as_create(NULL, &other), 0);
	assert_int_equal(gm_sim_attach(u->sim[1], other, &ctx), -ENODEV);
	assert_int_equal(gm_as_destroy(other), 0);
}

/* Host memory in place, by way of one table. */
static void in_place(void **state)
{
	struct unit *u = *state;
	uint64_t va, faults;

	begin(u, GM_SIM_IN_PLACE, GM_SIM_SHARE);
	va = unit_alloc(u, BLOCK);
	unit_fill(u, CPU, va, BLOCK, 1);
	unit_verify(u, 1, va, BLOCK, 1);
	unit_fill(u, 0, va, BLOCK, 2);
	unit_verify(u, 1, va, BLOCK, 2);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	faults = stats(u, 0).dev_faults + stats(u, 1).dev_faults;
	unit_fill(u, CPU, va, BLOCK, 3);
	unit_verify(u, 1, va, BLOCK, 3);
	assert_int_equal(stats(u, 0).dev_faults + stats(u, 1).dev_faults, faults);
}

/* Whose tables are not alike do not share: each has its own, and pages move between them. */
static void not_alike(void **state)
{
	struct unit *u = *state;
	uint64_t va;

	u->sim[0] = sim_with(0, GM_SIM_SHARE, 0);
	u->sim[1] = sim_with(1, GM_SIM_SHARE, 1 << 12);
	for (unsigned int i = 0; i < UNIT_DEVS; i++)
		assert_int_equal(gm_sim_attach(u->sim[i], u->as, &u->ctx[i]), 0);
	va = unit_alloc(u, PAGE);
	unit_store(u, 0, va, 1);
	unit_on(u->as, va, PAGE, unit_node(u, 0));
	assert_int_equal(unit_load(u, 1, va), 1);
	unit_on(u->as, va, PAGE, unit_node(u, 1));
}

/* A driver that has no cookie, or no way to share. */
static void refused(void **state)
{
	struct unit *u = *state;
	struct gm_context *ctx;
	struct toy toy;

	for (unsigned int i = 0; i < 2; i++) {
		toy_init(&toy, 1);
		toy.mmu.cookie = i ? 7 : 0;
		assert_int_equal(toy_plug(&toy), 0);
		assert_int_equal(gm_as_attach(u->as, toy.dev, GM_SHARE, &ctx), -EOPNOTSUPP);
		assert_int_equal(toy_unplug(&toy), 0);
	}
}

/* Sharing fails, or the sharer's invalidation: the page is where it was, with its bytes. */
static void failing(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, PAGE), v;

	unit_store(u, 0, va, 1);
	assert_int_equal(unit_load(u, 1, va), 1);
	gm_sim_inject(u->sim[1], GM_SIM_TLB_INVL, 0, UINT32_MAX, -EIO);
	assert_int_equal(unit_access(u, CPU, va, &v, 8, GM_READ), -EIO);
	unit_on(u->as, va, PAGE, unit_node(u, 0));
	gm_sim_inject(u->sim[1], GM_SIM_TLB_INVL, 0, 0, 0);
	unit_store(u, 1, va, 2);
	assert_int_equal(unit_load(u, 0, va), 2);

	assert_int_equal(gm_sim_detach(u->ctx[1]), 0);
	gm_sim_inject(u->sim[1], GM_SIM_PMAP_CREATE, 0, 1, -ENOSPC);
	assert_int_equal(gm_sim_attach(u->sim[1], u->as, &u->ctx[1]), -ENOSPC);
	assert_int_equal(gm_sim_attach(u->sim[1], u->as, &u->ctx[1]), 0);
	assert_int_equal(unit_load(u, 1, va), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define T_ALONE(fn) cmocka_unit_test_setup_teardown(fn, unit_setup_as, teardown)
		T(one_fault_for_both),
		T(both_are_invalidated),
		T(oversubscribed),
		T(windows_are_shared),
		T(comings_and_goings),
		T_ALONE(in_place),
		T_ALONE(not_alike),
		cmocka_unit_test_setup_teardown(refused, unit_setup_as, unit_teardown),
		T(failing),
		T(owner_removed),
		T_ALONE(owner_removed_reading),
		T(sharer_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
