// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The check of the lock order, in builds that have it: what is out of order is a bug,
 * what is in order, or a trylock, is not.
 */
#include "unit.h"

#include "core/lock.h"

#ifdef GM_DEBUG
static void take_backwards(void *arg)
{
	struct gm_mutex *m = arg;

	gm_mutex_lock(&m[0], GM_RANK_BLOCK);
	gm_mutex_lock(&m[1], GM_RANK_CORE);
}

static void take_two_of_a_rank(void *arg)
{
	struct gm_mutex *m = arg;

	gm_mutex_lock(&m[0], GM_RANK_BLOCK);
	gm_mutex_lock(&m[1], GM_RANK_BLOCK);
}

static void drop_not_held(void *arg)
{
	struct gm_mutex *m = arg;

	gm_mutex_lock(&m[0], GM_RANK_BLOCK);
	gm_mutex_unlock(&m[0], GM_RANK_CORE);
}

static void sleep_under_spin(void *arg)
{
	struct gm_spin s;

	(void)arg;
	gm_spin_init(&s);
	gm_spin_lock(&s, GM_RANK_HNODE);
	gm_lock_check_may_sleep();
}

static void enter_with_lock(void *arg)
{
	struct gm_mutex *m = arg;

	gm_mutex_lock(&m[0], GM_RANK_CORE);
	gm_lock_check_none();
}

static void wrong_order(void **state)
{
	struct gm_mutex m[2];

	(void)state;
	gm_mutex_init(&m[0]);
	gm_mutex_init(&m[1]);
	unit_expect_bug(take_backwards, m, "held");
	unit_expect_bug(take_two_of_a_rank, m, "held");
	unit_expect_bug(drop_not_held, m, "held");
	unit_expect_bug(sleep_under_spin, m, "held");
	unit_expect_bug(enter_with_lock, m, "held");
	gm_mutex_destroy(&m[0]);
	gm_mutex_destroy(&m[1]);
}
#endif

static void right_order(void **state)
{
	struct gm_mutex core, a, b;
	struct gm_spin s;
	struct gm_rwlock l;

	(void)state;
	gm_mutex_init(&core);
	gm_mutex_init(&a);
	gm_mutex_init(&b);
	gm_rwlock_init(&l);
	gm_spin_init(&s);
	gm_mutex_lock(&core, GM_RANK_CORE);
	gm_rwlock_rdlock(&l, GM_RANK_AS);
	gm_mutex_lock(&a, GM_RANK_BLOCK);
	assert_true(gm_mutex_trylock(&b, GM_RANK_BLOCK));
	assert_false(gm_mutex_trylock(&b, GM_RANK_BLOCK));
	gm_lock_check_may_sleep();
	gm_spin_lock(&s, GM_RANK_HNODE);
	gm_spin_unlock(&s, GM_RANK_HNODE);
	gm_mutex_unlock(&a, GM_RANK_BLOCK);
	gm_mutex_unlock(&b, GM_RANK_BLOCK);
	gm_rwlock_unlock(&l, GM_RANK_AS);
	gm_rwlock_wrlock(&l, GM_RANK_AS);
	gm_rwlock_unlock(&l, GM_RANK_AS);
	gm_mutex_unlock(&core, GM_RANK_CORE);
	gm_lock_check_none();
	gm_spin_destroy(&s);
	gm_rwlock_destroy(&l);
	gm_mutex_destroy(&b);
	gm_mutex_destroy(&a);
	gm_mutex_destroy(&core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef GM_DEBUG
		cmocka_unit_test_setup_teardown(wrong_order, unit_setup_core, unit_teardown),
#endif
		cmocka_unit_test_setup_teardown(right_order, unit_setup_core, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
