// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Objects: how long they live, what they keep, and how large they may be. */
#include "unit.h"

#include "core/core.h"

/* An object outlives its mappings and its address space, also where a device has its bytes. */
static void object_keeps_bytes(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t va = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE);

	unit_fill(u, 0, va, BLOCK, 5);
	unit_unmap(u->as, va, BLOCK);
	assert_int_equal(unit_map_at(u->as, obj, 0, BLOCK, va), va);
	unit_verify(u, 1, va, BLOCK, 5);
	assert_int_equal(gm_as_destroy(u->as), 0);
	assert_int_equal(gm_as_create(NULL, &u->as), 0);
	unit_map_at(u->as, obj, 0, BLOCK, va);
	unit_verify(u, CPU, va, BLOCK, 5);
	gm_object_put(obj);
}

static uint64_t nr_objects(void)
{
	struct gm_fake_usage usage;

	gm_fake_usage(&usage);
	return usage.objects;
}

/* The handle, each mapping, and each reference taken: the last of them ends it. */
static void lives_by_its_holders(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(2 * BLOCK);
	uint64_t a = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	uint64_t b = unit_map(u->as, obj, BLOCK / 2, BLOCK, GM_READ);

	assert_int_equal(gm_core.nr_objects, 1);
	gm_object_get(obj);
	gm_object_put(obj);
	gm_object_put(obj); /* the handle */
	assert_int_equal(nr_objects(), 1);
	unit_fill(u, 0, a, BLOCK, 1);
	unit_unmap(u->as, a, PAGE); /* a cut is a region more, and that goes */
	unit_unmap(u->as, a + PAGE, BLOCK - PAGE);
	assert_int_equal(unit_load(u, 0, b + BLOCK - 8), 0);
	assert_int_equal(nr_objects(), 1);
	unit_unmap(u->as, b, BLOCK);
	assert_int_equal(nr_objects(), 0);
	assert_int_equal(gm_core.nr_objects, 0);
	gm_object_put(NULL);
}

/* Nobody maps it any more and a device has its bytes still: the frames go with the handle. */
static void frames_go_with_it(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(3 * BLOCK);
	uint64_t va = unit_map(u->as, obj, 0, 3 * BLOCK, GM_READ | GM_WRITE);

	unit_fill(u, CPU, va, 3 * BLOCK, 1);
	unit_verify(u, 0, va, BLOCK + 5 * PAGE, 1);
	unit_verify(u, 1, va + 2 * BLOCK, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 7 * PAGE, GM_PIN), 0);
	unit_unmap(u->as, va, 3 * BLOCK);
	assert_int_equal(unit_hnode(unit_node(u, 0)).free, 3 * BLOCK - 5 * PAGE);
	assert_true(gm_retained_bytes() > 0);
	gm_object_put(obj);
	for (unsigned int i = 0; i < UNIT_DEVS; i++) {
		assert_int_equal(unit_hnode(unit_node(u, i)).free, 4 * BLOCK);
		assert_int_equal(unit_hnode(unit_node(u, i)).pinned, 0);
		assert_int_equal(unit_hnode(unit_node(u, i)).blocks, 0);
	}
	assert_int_equal(gm_retained_bytes(), 0);
	assert_int_equal(gm_metadata_bytes(), 0);
}

/* Up to the largest there is; the host is not asked for what cannot be. */
static void sizes(void **state)
{
	static const struct {
		uint64_t size;
		uint32_t flags;
		int err;
	} rows[] = {
		{ 0, 0, -EINVAL },
		{ 1, 0, -EINVAL },
		{ PAGE, 0, 0 },
		{ PAGE + 1, 0, -EINVAL },
		{ 7 * BLOCK + 3 * PAGE, 0, 0 },
		{ PAGE, GM_OBJECT_HUGETLB, -EINVAL },
		{ BLOCK + PAGE, GM_OBJECT_HUGETLB, -EINVAL },
		{ 2 * BLOCK, GM_OBJECT_HUGETLB, 0 },
		{ PAGE, GM_OBJECT_HUGETLB << 1, -EINVAL },
		{ GM_OBJECT_MAX_SIZE, 0, -ENOMEM }, /* asked for, and refused by the host */
		{ GM_OBJECT_MAX_SIZE + PAGE, 0, -EINVAL },
		{ UINT64_MAX - PAGE + 1, 0, -EINVAL },
	};
	struct gm_object *obj;

	(void)state;
	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].err)
			gm_fake_inject(GM_FAKE_OBJECT_CREATE, 0, 1, -ENOMEM);
		assert_int_equal(gm_object_create(rows[i].size, rows[i].flags, &obj), rows[i].err);
		gm_fake_inject_clear();
		if (rows[i].err)
			continue;
		assert_int_equal(gm_object_size(obj), rows[i].size);
		assert_int_equal(gm_object_flags(obj), rows[i].flags);
		assert_non_null(*gm_object_host(obj));
		assert_int_equal(obj->granule, rows[i].flags ? BLOCK : PAGE);
		gm_object_put(obj);
	}
	assert_int_equal(gm_object_create(PAGE, 0, NULL), -EINVAL);
	assert_int_equal(nr_objects(), 0);
}

static void without_memory(void **state)
{
	struct gm_object *obj;
	uint64_t n = 0;
	int err;

	(void)state;
	do {
		gm_fake_inject_nth(++n);
		err = gm_object_create(PAGE, 0, &obj);
		gm_fake_inject_clear();
		assert_true(!err || err == -ENOMEM);
		assert_int_equal(gm_core.nr_objects, !err);
	} while (err);
	assert_in_range(n, 3, 10); /* the pool's memory and the host's object failed first */
	gm_object_put(obj);
}

/* In a process that inherited nothing a handle is not given back. */
static void not_ours(void **state)
{
	struct gm_object *obj = unit_object(PAGE), *other;

	(void)state;
	gm_fake_set_usable(-EPERM);
	gm_object_put(obj);
	assert_int_equal(gm_object_create(PAGE, 0, &other), -EPERM);
	gm_fake_set_usable(0);
	assert_int_equal(nr_objects(), 1);
	gm_object_put(obj);
	assert_int_equal(nr_objects(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(object_keeps_bytes, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(lives_by_its_holders, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(frames_go_with_it, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(sizes, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(without_memory, unit_setup_core, unit_teardown),
		cmocka_unit_test_setup_teardown(not_ours, unit_setup_core, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
