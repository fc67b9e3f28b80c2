// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Pools: objects are constructed once, and their memory goes when no object is in use. */
#include "unit.h"

#include "core/pool.h"

static unsigned int made, unmade;

static void ctor(void *obj)
{
	made++;
	*(uint64_t *)obj = 42;
}

static void dtor(void *obj)
{
	unmade++;
	assert_int_equal(*(uint64_t *)obj, 42);
}

static void pool(void **state)
{
	static uint64_t *obj[5000];
	struct gm_pool p;

	(void)state;
	made = unmade = 0;
	gm_pool_init(&p, 52, ctor, dtor);
	for (unsigned int i = 0; i < 5000; i++) {
		obj[i] = gm_pool_get(&p);
		assert_non_null(obj[i]);
		assert_int_equal(*obj[i], 42); /* constructed, and nobody else's */
		memset(obj[i], (int)i, 52);
		*obj[i] = i;
	}
	assert_true(gm_pool_bytes(&p) >= 5000 * 52);
	for (unsigned int i = 0; i < 5000; i++) {
		assert_int_equal(*obj[i], i);
		*obj[i] = 42;
		gm_pool_put(&p, obj[i]);
	}
	assert_int_equal(gm_pool_bytes(&p), 0);
	obj[0] = gm_pool_get(&p);
	gm_pool_reap(&p); /* one is in use: nothing goes */
	assert_int_equal(unmade, 0);
	gm_pool_put(&p, obj[0]);
	gm_pool_put(&p, NULL);
	gm_pool_reap(&p);
	assert_int_equal(unmade, made);
	gm_pool_destroy(&p);
}

static void pool_without_memory(void **state)
{
	struct gm_pool p;

	(void)state;
	gm_pool_init(&p, 52, NULL, NULL);
	gm_fake_inject(GM_FAKE_ALLOC, 0, 1, -ENOMEM);
	assert_null(gm_pool_get(&p));
	gm_pool_put(&p, gm_pool_get(&p));
	gm_pool_destroy(&p);
}

static void pool_in_use(void *arg)
{
	gm_pool_get(arg);
	gm_pool_destroy(arg);
}

static void pool_misuse(void **state)
{
	struct gm_pool p;

	(void)state;
	gm_pool_init(&p, 52, NULL, NULL);
	unit_expect_bug(pool_in_use, &p, "in_use");
	gm_pool_destroy(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pool, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(pool_without_memory, unit_setup_core,
						unit_teardown),
		cmocka_unit_test_setup_teardown(pool_misuse, unit_setup_core, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
