// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Which policies there are, and choosing them for a device. */
#include "policy_own.h"

static void by_name(void **state)
{
	static const char long_name[] = "a-name-that-is-longer-than-any-may-be-by-far/";
	struct unit *u = *state;
	struct gm_dev *dev = unit_dev(u, 0);
	char now[64];

	own_expect_names(u, "density/lru-2m");
	own_choose(u, "stream/");
	own_expect_names(u, "stream/lru-2m");
	own_choose(u, "/s3fifo");
	own_expect_names(u, "stream/s3fifo");
	own_choose(u, "fixed/clock");
	assert_int_equal(gm_dev_set_policy(dev, "fixed/nobody"), -ENOENT);
	assert_int_equal(gm_dev_set_policy(dev, "nobody/lru-2m"), -ENOENT);
	assert_int_equal(gm_dev_set_policy(dev, "clock/fixed"), -ENOENT); /* the wrong way round */
	assert_int_equal(gm_dev_set_policy(dev, "own/Own"), -ENOENT);
	assert_int_equal(gm_dev_set_policy(dev, "a/b/c"), -ENOENT);
	assert_int_equal(gm_dev_set_policy(dev, long_name), -ENOENT);
	assert_int_equal(gm_dev_set_policy(dev, "stream"), -EINVAL);
	assert_int_equal(gm_dev_set_policy(dev, "/"), -EINVAL);
	assert_int_equal(gm_dev_set_policy(dev, ""), -EINVAL);
	assert_int_equal(gm_dev_set_policy(dev, NULL), -EINVAL);
	assert_int_equal(gm_dev_set_policy(NULL, "stream/"), -EINVAL);
	own_expect_names(u, "fixed/clock");
	assert_int_equal(gm_hnode_set_policy(unit_node(u, 0), "density/"), 0);
	assert_int_equal(gm_hnode_policy(unit_node(u, 0), now, sizeof(now)), 0);
	assert_string_equal(now, "density/clock");
	assert_int_equal(gm_hnode_set_policy(0, "density/"), -ENODEV);
	assert_int_equal(gm_hnode_policy(unit_node(u, 0) + 2, now, sizeof(now)), -ENODEV);
	assert_int_equal(gm_dev_policy(dev, now, 13), -ERANGE);
	assert_int_equal(gm_dev_policy(dev, now, 14), 0);
	assert_int_equal(gm_dev_policy(dev, NULL, 14), -EINVAL);
	assert_int_equal(gm_dev_policy(NULL, now, 14), -EINVAL);
	/* The other device has its own. */
	assert_int_equal(gm_dev_policy(unit_dev(u, 1), now, sizeof(now)), 0);
	assert_string_equal(now, "density/lru-2m");
}

static void all_names(void **state)
{
	static const char *const names[] = { "density", "auto",	 "fixed", "stream", "own",
					     "lru-2m",	"clock", "rrip",  "s3fifo", "own" };
	struct gm_policy_info info = { .size = sizeof(info) };
	unsigned int n = sizeof(names) / sizeof(names[0]);

	(void)state;
	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(gm_policy_name(i, &info), 0);
		assert_string_equal(info.name, names[i]);
		assert_int_equal(info.kind, i < n / 2 ? GM_POLICY_MOVES : GM_POLICY_EVICTS);
		assert_true(info.text[0] && strlen(info.text) < sizeof(info.text));
	}
	assert_int_equal(gm_policy_name(n, &info), -ENOENT);
	assert_int_equal(gm_policy_name(0, NULL), -EINVAL);
	info.size = 1;
	assert_int_equal(gm_policy_name(0, &info), -EINVAL);
}

static void registering(void **state)
{
	struct gm_move_policy move[40];
	struct gm_evict_policy evict = own_evicts;
	char names[40][8];
	struct unit *u = *state;
	unsigned int n = 0;

	assert_int_equal(gm_policy_register(NULL, NULL), -EINVAL);
	assert_int_equal(gm_policy_register(&own_move, NULL), -EEXIST);
	evict.name = "other";
	assert_int_equal(gm_policy_register(&own_move, &evict), -EEXIST);
	assert_int_equal(gm_policy_unregister(NULL, &evict), -ENOENT); /* nothing of it is there */
	assert_int_equal(gm_policy_unregister(NULL, NULL), -EINVAL);
	assert_int_equal(gm_policy_unregister(&gm_move_density, NULL), -ENOENT);
	evict.page_bytes = 5;
	assert_int_equal(gm_policy_register(NULL, &evict), -EINVAL);
	evict.page_bytes = 4;
	evict.flags = 2;
	assert_int_equal(gm_policy_register(NULL, &evict), -EINVAL);
	evict.flags = 0;
	evict.evict = NULL;
	assert_int_equal(gm_policy_register(NULL, &evict), -EINVAL);
	for (unsigned int i = 0; i < 40; i++) {
		move[i] = own_move;
		snprintf(names[i], sizeof(names[i]), "own%u", i);
		move[i].name = names[i];
	}
	move[0].name = "a/b";
	assert_int_equal(gm_policy_register(&move[0], NULL), -EINVAL);
	move[0].name = "";
	assert_int_equal(gm_policy_register(&move[0], NULL), -EINVAL);
	move[0].name = "01234567890123456789012345678901";
	assert_int_equal(gm_policy_register(&move[0], NULL), -EINVAL);
	move[0].name++;
	move[0].size--;
	assert_int_equal(gm_policy_register(&move[0], NULL), -EINVAL);
	move[0].size++;
	while (n < 40 && !gm_policy_register(&move[n], NULL))
		n++;
	assert_int_equal(n, 27); /* of 32, four are built in and one is own */
	assert_int_equal(gm_policy_register(&move[n], NULL), -ENOSPC);
	own_choose(u, "own26/own");
	while (n--)
		assert_int_equal(gm_policy_unregister(&move[n], NULL), 0);
	own_expect_names(u, "density/own");
	assert_int_equal(own.stopped, 1);
}

/* One that goes while a device uses it; a state for each device. */
static void unregistered(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 6 * BLOCK);

	own_choose(u, "own/own");
	assert_int_equal(gm_dev_set_policy(unit_dev(u, 1), "own/"), 0);
	assert_int_equal(own.started, 3);
	unit_fill(u, 0, va, 2 * BLOCK, 1);
	assert_int_equal(gm_policy_unregister(&own_move, &own_evicts), 0);
	assert_int_equal(own.stopped, 3);
	own_expect_names(u, "density/lru-2m");
	unit_fill(u, 0, va, 6 * BLOCK, 2);
	unit_verify(u, 1, va, 6 * BLOCK, 2);
	unit_verify(u, CPU, va, 6 * BLOCK, 2);
	assert_int_equal(gm_policy_register(&own_move, &own_evicts), 0);
}

static void failing_start(void **state)
{
	struct unit *u = *state;

	own_choose(u, "fixed/clock");
	own.start_err = -EIO;
	assert_int_equal(gm_dev_set_policy(unit_dev(u, 0), "own/lru-2m"), -EIO);
	assert_int_equal(gm_dev_set_policy(unit_dev(u, 0), "stream/own"), -EIO);
	own.start_err = 0;
	for (uint32_t skip = 0; skip < 2; skip++) {
		gm_fake_inject(GM_FAKE_ALLOC, skip, 1, -ENOMEM);
		assert_int_equal(gm_dev_set_policy(unit_dev(u, 0), "own/own"), -ENOMEM);
	}
	gm_fake_inject_clear();
	assert_int_equal(own.started, 3);
	assert_int_equal(own.stopped, 1); /* the one of which the other half had no memory */
	own_expect_names(u, "fixed/clock");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, own_setup, own_teardown)
	const struct CMUnitTest tests[] = {
		TEST(by_name),	    TEST(all_names),	 TEST(registering),
		TEST(unregistered), TEST(failing_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
