// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Exclusive access: both devices map host memory in place by links that know no atomic
 * operations, and have a page to themselves for one.
 */
#include "unit.h"

#include "core/core.h"

struct add {
	uint64_t va, n;
};

static struct gm_sim *sim_with(unsigned int nr)
{
	struct gm_sim_options opt = { .size = sizeof(opt),
				      .memory = 4 * BLOCK,
				      .base = (1ULL + nr) << 32,
				      .lanes = 1,
				      .flags = GM_SIM_SYNC_FAULTS | GM_SIM_CHECK | GM_SIM_IN_PLACE |
					       GM_SIM_NO_ATOMICS };
	struct gm_sim *sim;

	assert_int_equal(gm_sim_create(&opt, &sim), 0);
	return sim;
}

static int setup(void **state)
{
	struct unit *u;

	unit_setup_as(state);
	u = *state;
	for (unsigned int i = 0; i < UNIT_DEVS; i++) {
		u->sim[i] = sim_with(i);
		assert_int_equal(gm_sim_attach(u->sim[i], u->as, &u->ctx[i]), 0);
	}
	return 0;
}

static void add_kernel(struct gm_sim_lane *lane, void *arg)
{
	const struct add *a = arg;

	for (uint64_t i = 0; i < a->n; i++)
		gm_sim_add64(lane, (void *)(uintptr_t)a->va, 1);
}

/* An atomic operation; the fake host must be told of threads, so this one is run by them. */
static int add(struct unit *u, unsigned int dev, uint64_t va, uint64_t n)
{
	struct add a = { va, n };

	return gm_sim_launch(u->ctx[dev], add_kernel, &a);
}

static bool is_exclusive(struct unit *u, uint64_t va)
{
	return unit_info(u->as, va).flags & GM_PAGE_EXCLUSIVE;
}

static uint64_t faults(struct unit *u, unsigned int dev)
{
	return unit_dev_stats(unit_dev(u, dev)).dev_faults;
}

/* Until the CPU touches it, and not a page more than that. */
static void until_touched(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), before;

	unit_fill(u, CPU, va, BLOCK, 1);
	unit_verify(u, 0, va, BLOCK, 1);
	unit_store(u, CPU, va + 8, 0);
	before = faults(u, 0);
	assert_int_equal(add(u, 0, va + 8, 5), 0);
	assert_int_equal(faults(u, 0), before + 1); /* it was mapped, but not for that */
	assert_true(is_exclusive(u, va));
	unit_on(u->as, va, BLOCK, GM_NODE_HOST); /* nothing moved */
	assert_int_equal(add(u, 0, va + 8, 5), 0);
	assert_int_equal(faults(u, 0), before + 1);
	/* Its loads and stores are good there as well. */
	unit_store(u, 0, va + 16, 3);
	assert_int_equal(unit_load(u, 0, va + 16), 3);
	assert_int_equal(faults(u, 0), before + 1);
	assert_int_equal(unit_load(u, CPU, va + 8), 10);
	assert_false(is_exclusive(u, va));
	assert_int_equal(add(u, 0, va + 8, 1), 0);
	assert_int_equal(faults(u, 0), before + 2);
	assert_true(is_exclusive(u, va));
	unit_store(u, CPU, va + 8, 100);
	assert_int_equal(unit_load(u, 0, va + 8), 100);
	unit_check();
}

/* From one device to the other, by atomic operations and by plain ones. */
static void two_devices(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, PAGE);

	for (unsigned int i = 0; i < 20; i++) {
		assert_int_equal(add(u, i % 2, va, 3), 0);
		assert_true(is_exclusive(u, va));
	}
	assert_int_equal(unit_load(u, 1, va), 60); /* it is its own */
	assert_true(is_exclusive(u, va));
	assert_int_equal(unit_load(u, 0, va), 60);
	assert_false(is_exclusive(u, va));
	assert_int_equal(unit_load(u, 1, va), 60);
	assert_int_equal(unit_load(u, CPU, va), 60);
}

/* Whatever else takes host memory takes this: hints, hmemcpy, another mapping, the end. */
static void others(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t va = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE), word = 7;
	uint64_t alias = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE);

	gm_object_put(obj);
	assert_int_equal(add(u, 0, va, 1), 0);
	assert_int_equal(unit_load(u, CPU, alias), 1);
	assert_false(is_exclusive(u, va));
	assert_int_equal(add(u, 0, alias, 1), 0);
	assert_true(is_exclusive(u, va));
	assert_int_equal(gm_copy(GM_NODE_HOST, u->as, va + PAGE, u->as, va, 8), 0);
	assert_int_equal(unit_load(u, CPU, va + PAGE), 2);
	assert_int_equal(add(u, 0, va, 1), 0);
	assert_int_equal(gm_advise(u->as, GM_NODE_HOST, va, BLOCK, GM_PREFETCH), 0);
	assert_false(is_exclusive(u, va));
	assert_int_equal(add(u, 0, va, 1), 0);
	assert_int_equal(gm_advise(u->as, GM_NODE_NONE, va, PAGE, GM_DONTNEED), 0);
	assert_int_equal(unit_load(u, 0, va), 0);
	assert_int_equal(add(u, 0, va, 1), 0);
	/* To a device whose pages migrate. */
	assert_int_equal(gm_sim_set_mode(u->ctx[1], (void *)(uintptr_t)va, BLOCK, GM_EXCLUSIVE), 0);
	unit_store(u, 1, va, 9);
	unit_on(u->as, va, PAGE, unit_node(u, 1));
	assert_int_equal(add(u, 0, va, 1), 0);
	assert_int_equal(unit_load(u, 1, va), 10);
	assert_int_equal(add(u, 1, va, 1), 0); /* on the device's own memory it means no more */
	assert_false(is_exclusive(u, va));
	assert_int_equal(unit_load(u, CPU, va), 11);
	(void)word;
}

/* The one that has it goes, and another comes in its place. */
static void device_goes(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	assert_int_equal(add(u, 0, va, 2), 0);
	assert_int_equal(gm_sim_detach(u->ctx[0]), 0);
	assert_int_equal(gm_sim_destroy(u->sim[0]), 0);
	u->sim[0] = sim_with(0);
	assert_int_equal(gm_sim_attach(u->sim[0], u->as, &u->ctx[0]), 0);
	assert_int_equal(add(u, 0, va, 2), 0);
	assert_int_equal(unit_load(u, 1, va), 4);
	assert_int_equal(unit_load(u, CPU, va), 4);
	unit_unmap(u->as, va, BLOCK);
}

/* Each operation fails in turn: whoever wanted the page is told, and the bytes stay. */
static void failing(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), v;

	unit_fill(u, CPU, va, BLOCK, 1);
	unit_store(u, CPU, va, 0);
	assert_int_equal(add(u, 0, va, 1), 0);
	for (int op = GM_SIM_PMAP_RELEASE; op <= GM_SIM_TLB_INVL; op += 2) {
		gm_sim_inject(u->sim[0], (enum gm_sim_op)op, 0, UINT32_MAX, -EIO);
		assert_int_equal(unit_access(u, CPU, va, &v, 8, GM_READ), -EIO);
		assert_true(is_exclusive(u, va));
		assert_int_equal(add(u, 1, va, 1), -EIO);
		gm_sim_inject(u->sim[0], (enum gm_sim_op)op, 0, 0, 0);
	}
	assert_int_equal(add(u, 0, va, 1), 0);
	assert_int_equal(unit_load(u, CPU, va), 2);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_ENTER, 0, UINT32_MAX, -EIO);
	assert_int_equal(add(u, 0, va, 1), -EIO);
	gm_sim_inject(u->sim[0], GM_SIM_PMAP_ENTER, 0, 0, 0);
	assert_int_equal(unit_load(u, CPU, va), 2);
	unit_verify(u, CPU, va + PAGE, BLOCK - PAGE, 1);
	unit_check();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, unit_teardown)
		T(until_touched), T(two_devices), T(others), T(device_goes), T(failing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
