// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Memory registered in place: what is home, and mapped, before it is given back; what fails. */
#include "unit.h"

#define BASE (0x7000000000ULL + 5 * PAGE) /* in the midst of a block */
#define LEN (2 * BLOCK + 7 * PAGE)

static void to_dev(struct unit *u, uint64_t va, uint64_t len)
{
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, len, GM_PREFETCH), 0);
	unit_on(u->as, va, len, unit_node(u, 0));
}

static void mapped(struct unit *u, uint64_t va, uint64_t len, bool is)
{
	for (uint64_t at = va; at < va + len; at += PAGE)
		assert_int_equal(!!(gm_fake_page(u->as, at) & GM_FAKE_MAPPED), is);
}

static uint64_t regions(void)
{
	struct gm_fake_usage usage;

	gm_fake_usage(&usage);
	return usage.regions;
}

static void to_and_fro(void **state)
{
	struct unit *u = *state;
	uint64_t value, home;

	assert_int_equal(gm_as_register(u->as, BASE, LEN), 0);
	unit_fill(u, CPU, BASE, LEN, 1);
	to_dev(u, BASE, LEN);
	unit_fill(u, 0, BASE, LEN, 2);
	unit_verify(u, CPU, BASE, LEN, 2);
	to_dev(u, BASE, LEN);
	/* A part: what is left stays where it is. */
	home = unit_dev_stats(unit_dev(u, 0)).pages_to_host;
	assert_int_equal(gm_as_unregister(u->as, BASE + PAGE, 3 * PAGE), 0);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).pages_to_host, home + 3);
	assert_int_equal(unit_access(u, 0, BASE + PAGE, &value, 8, GM_READ), -EFAULT);
	unit_on(u->as, BASE + 4 * PAGE, LEN - 4 * PAGE, unit_node(u, 0));
	assert_int_equal(gm_as_unregister(u->as, BASE, LEN), -EFAULT);
	unit_verify(u, 0, BASE + 4 * PAGE, LEN - 4 * PAGE, 2);
	/* All of the rest, by the other name. */
	unit_unmap(u->as, BASE + 4 * PAGE, LEN - 4 * PAGE);
	assert_int_equal(unit_dev_stats(unit_dev(u, 0)).pages_to_host, home + LEN / PAGE - 1);
	assert_int_equal(gm_as_unregister(u->as, BASE, PAGE), 0);
	assert_int_equal(regions(), 0);
}

/* Its host frames come and go, so no device maps them in place. */
static void not_mapped_in_place(void **state)
{
	struct gm_sim_options opt = {
		.size = sizeof(opt),
		.memory = 2 * BLOCK,
		.lanes = 1,
		.flags = GM_SIM_CHECK | GM_SIM_SYNC_FAULTS | GM_SIM_IN_PLACE,
	};
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), value = 1;

	assert_int_equal(gm_sim_detach(u->ctx[1]), 0);
	assert_int_equal(gm_sim_destroy(u->sim[1]), 0);
	assert_int_equal(gm_sim_create(&opt, &u->sim[1]), 0);
	assert_int_equal(gm_sim_attach(u->sim[1], u->as, &u->ctx[1]), 0);
	assert_int_equal(gm_as_register(u->as, BASE, LEN), 0);
	unit_fill(u, CPU, BASE, LEN, 1);
	unit_fill(u, 1, va, BLOCK, 2);
	assert_int_equal(unit_access(u, 1, BASE, &value, 8, GM_READ), -EOPNOTSUPP);
	unit_verify(u, 0, BASE, LEN, 1);
	unit_verify(u, CPU, va, BLOCK, 2);
	assert_int_equal(gm_as_unregister(u->as, BASE, LEN), 0);
}

/* A hole is passed over, and what was never touched is not made. */
static void home_with_holes(void **state)
{
	struct unit *u = *state;

	assert_int_equal(gm_as_register(u->as, BASE, LEN), 0);
	unit_fill(u, CPU, BASE, BLOCK, 3);
	to_dev(u, BASE, 8 * PAGE);
	assert_int_equal(gm_as_unregister(u->as, BASE + 2 * PAGE, PAGE), 0);
	assert_int_equal(gm_as_home(u->as, BASE, LEN + BLOCK), 0);
	mapped(u, BASE, 2 * PAGE, true);
	mapped(u, BASE + 3 * PAGE, BLOCK - 3 * PAGE - (BASE & (BLOCK - 1)), true);
	unit_on(u->as, BASE + BLOCK + BLOCK / 2, BLOCK / 2, GM_NODE_NONE);
	assert_int_equal(gm_as_home(u->as, BASE + 2 * LEN, PAGE), 0);
	unit_verify(u, CPU, BASE + 3 * PAGE, BLOCK - 3 * PAGE, 3);
}

static void arguments(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, PAGE);

	assert_int_equal(gm_as_register(NULL, BASE, PAGE), -EINVAL);
	assert_int_equal(gm_as_register(u->as, 0, PAGE), -EINVAL);
	assert_int_equal(gm_as_register(u->as, BASE, 0), -EINVAL);
	assert_int_equal(gm_as_register(u->as, BASE + 1, PAGE), -EINVAL);
	assert_int_equal(gm_as_register(u->as, BASE, PAGE + 1), -EINVAL);
	assert_int_equal(gm_as_register(u->as, BASE, 0 - PAGE), -EINVAL);
	assert_int_equal(gm_as_register(u->as, BASE, GM_OBJECT_MAX_SIZE), -EINVAL);
	assert_int_equal(gm_as_register(u->as, va, PAGE), -EEXIST);
	assert_int_equal(gm_as_unregister(NULL, BASE, PAGE), -EINVAL);
	assert_int_equal(gm_as_unregister(u->as, BASE + 1, PAGE), -EINVAL);
	assert_int_equal(gm_as_unregister(u->as, BASE, 0), -EINVAL);
	assert_int_equal(gm_as_unregister(u->as, BASE, PAGE), -EFAULT);
	assert_int_equal(gm_as_unregister(u->as, va, PAGE), -EINVAL);
	unit_unmap(u->as, va, PAGE);
	gm_fake_set_usable(-EPERM);
	assert_int_equal(gm_as_register(u->as, BASE, PAGE), -EPERM);
	assert_int_equal(gm_as_unregister(u->as, BASE, PAGE), -EPERM);
	assert_int_equal(gm_as_home(u->as, BASE, PAGE), -EPERM);
	gm_fake_set_usable(0);
}

/* Whatever fails, the memory stays registered, whole; the end of the address space fails with it. */
static void failures(void **state)
{
	static const enum gm_fake_op ops[] = { GM_FAKE_BACKING_GET, GM_FAKE_CPU_MAP,
					       GM_FAKE_REGION_UNMAP };
	struct unit *u = *state;

	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(gm_as_register(u->as, BASE, LEN), 0);
		unit_fill(u, CPU, BASE, LEN, i + 1);
		to_dev(u, BASE, LEN);
		if (i < 3)
			gm_fake_inject(ops[i], i == 1, 100, -ENOMEM);
		else
			gm_sim_inject(u->sim[0], GM_SIM_COPY_FENCE, 1, 100, -EIO);
		gm_retain_limit(0);
		gm_retain_trim(LEN);
		assert_true(gm_as_unregister(u->as, BASE, LEN) < 0);
		assert_true(gm_as_destroy(u->as) < 0);
		assert_int_equal(regions(), 1);
		gm_fake_inject_clear();
		gm_sim_inject(u->sim[0], GM_SIM_COPY_FENCE, 0, 0, 0);
		unit_verify(u, i % 2 ? CPU : 0, BASE, LEN, i + 1);
		unit_check();
		assert_int_equal(gm_as_unregister(u->as, BASE, LEN), 0);
		assert_int_equal(regions(), 0);
	}
	gm_fake_inject(GM_FAKE_OBJECT_CREATE, 0, 1, -ENOMEM);
	assert_int_equal(gm_as_register(u->as, BASE, LEN), -ENOMEM);
	gm_fake_inject(GM_FAKE_REGION_MAP, 0, 1, -EEXIST);
	assert_int_equal(gm_as_register(u->as, BASE, LEN), -EEXIST);
}

/* A copy always has a block, though no device has seen the memory. */
static void copies(void **state)
{
	struct unit *u = *state;
	char buf[100] = "what is written", back[100];

	assert_int_equal(gm_as_register(u->as, BASE, LEN), 0);
	assert_int_equal(gm_copy(GM_NODE_NONE, u->as, BASE + PAGE - 9, NULL,
				 (uint64_t)(uintptr_t)buf, sizeof(buf)),
			 0);
	assert_true(gm_fake_page(u->as, BASE) & GM_FAKE_ARMED);
	assert_int_equal(gm_copy(GM_NODE_NONE, NULL, (uint64_t)(uintptr_t)back, u->as,
				 BASE + PAGE - 9, sizeof(back)),
			 0);
	assert_memory_equal(buf, back, sizeof(buf));
	gm_fake_inject(GM_FAKE_CPU_ARM, 0, 1, -EBUSY); /* as amid a fork() */
	assert_int_equal(gm_copy(GM_NODE_NONE, NULL, (uint64_t)(uintptr_t)back, u->as, BASE + BLOCK,
				 sizeof(back)),
			 -EBUSY);
	assert_int_equal(gm_as_unregister(u->as, BASE, LEN), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(to_and_fro, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(not_mapped_in_place, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(home_with_holes, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(arguments, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(failures, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(copies, unit_setup, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
