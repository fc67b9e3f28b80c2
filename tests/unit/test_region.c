// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Regions: map, unmap of any part, protect; what is carved, and what fails half-way. */
#include "unit.h"

#define BASE 0x7000000000ULL

/* Unmap the middle of a block that is wholly on a device: the rest keeps its bytes. */
static void unmap_middle_of_block(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 2 * BLOCK), value;
	uint64_t before = unit_hnode(unit_node(u, 0)).free;

	unit_fill(u, CPU, va, 2 * BLOCK, 7);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	unit_unmap(u->as, va + 100 * PAGE, 50 * PAGE);
	unit_verify(u, 0, va, 100 * PAGE, 7);
	unit_verify(u, CPU, va + 150 * PAGE, BLOCK - 150 * PAGE, 7);
	assert_int_equal(unit_access(u, 0, va + 120 * PAGE, &value, 8, GM_READ), -EFAULT);
	assert_int_equal(unit_access(u, CPU, va + 120 * PAGE, &value, 8, GM_READ), -EFAULT);
	unit_verify(u, 0, va, 100 * PAGE, 7);
	/* What was unmapped of anonymous memory is freed, on the device too. */
	assert_int_equal(unit_hnode(unit_node(u, 0)).free, before - 100 * PAGE);
	unit_unmap(u->as, va, 100 * PAGE);
	unit_unmap(u->as, va + 150 * PAGE, 2 * BLOCK - 150 * PAGE);
	assert_int_equal(unit_hnode(unit_node(u, 0)).free, before);
}

static void unmap_over_several(void **state)
{
	struct unit *u = *state;
	struct gm_object *a = unit_object(BLOCK), *b = unit_object(BLOCK);
	uint64_t value;

	unit_map_at(u->as, a, 0, 20 * PAGE, BASE);
	unit_map_at(u->as, b, 5 * PAGE, 20 * PAGE, BASE + 20 * PAGE);
	unit_map_at(u->as, a, 100 * PAGE, 20 * PAGE, BASE + 40 * PAGE);
	unit_fill(u, 0, BASE, 60 * PAGE, 3);
	unit_unmap(u->as, BASE + 10 * PAGE, 40 * PAGE);
	unit_verify(u, 1, BASE, 10 * PAGE, 3);
	unit_verify(u, 1, BASE + 50 * PAGE, 10 * PAGE, 3);
	for (uint64_t va = BASE + 10 * PAGE; va < BASE + 50 * PAGE; va += PAGE)
		assert_int_equal(unit_access(u, CPU, va, &value, 8, GM_READ), -EFAULT);
	/* Objects with a name keep their bytes. */
	unit_map_at(u->as, b, 5 * PAGE, 20 * PAGE, BASE + 20 * PAGE);
	unit_verify(u, CPU, BASE + 20 * PAGE, 20 * PAGE, 3);
	gm_object_put(a);
	gm_object_put(b);
	unit_verify(u, CPU, BASE + 20 * PAGE, 20 * PAGE, 3);
}

static void protect_part(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), value = 1;
	void *part = (void *)(uintptr_t)(va + 10 * PAGE);

	unit_fill(u, 0, va, BLOCK, 9);
	assert_int_equal(gm_as_protect(u->as, part, 5 * PAGE, GM_READ), 0);
	assert_int_equal(unit_access(u, 0, va + 12 * PAGE, &value, 8, GM_WRITE), -EACCES);
	assert_int_equal(unit_access(u, CPU, va + 12 * PAGE, &value, 8, GM_WRITE), -EACCES);
	unit_verify(u, 0, va, BLOCK, 9);
	unit_verify(u, CPU, va, BLOCK, 9);
	assert_int_equal(unit_access(u, 1, va + 14 * PAGE, &value, 8, GM_WRITE), -EACCES);
	unit_store(u, 0, va + 9 * PAGE, 1);
	unit_store(u, 0, va + 15 * PAGE, 1);
	assert_int_equal(gm_as_protect(u->as, part, 5 * PAGE, GM_READ | GM_WRITE), 0);
	unit_store(u, 0, va + 12 * PAGE, 17);
	assert_int_equal(unit_load(u, CPU, va + 12 * PAGE), 17);
}

/* Writable and mapped on the device, then read-only: the old translation must not serve. */
static void protect_revokes_writes(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), value = 1;

	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, BLOCK, GM_PREFETCH), 0);
	unit_store(u, 0, va, 5);
	assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)va, BLOCK, GM_READ), 0);
	assert_int_equal(unit_access(u, 0, va, &value, 8, GM_WRITE), -EACCES);
	assert_int_equal(unit_load(u, 0, va), 5);
}

/* A device that can neither change a mapping nor let go of it: nobody's protection changes. */
static void protect_fails(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	void *addr = (void *)(uintptr_t)va;

	unit_fill(u, 0, va, 256 * PAGE, 1);
	unit_fill(u, 1, va + 256 * PAGE, 256 * PAGE, 1);
	for (unsigned int i = 0; i < UNIT_DEVS; i++) {
		gm_sim_inject(u->sim[i], GM_SIM_PMAP_PROTECT, 0, 1, -EIO);
		assert_int_equal(gm_as_protect(u->as, addr, BLOCK, GM_READ), 0);
		assert_int_equal(gm_as_protect(u->as, addr, BLOCK, GM_READ | GM_WRITE), 0);
		gm_sim_inject(u->sim[i], GM_SIM_PMAP_PROTECT, 0, 1, -EIO);
		gm_sim_inject(u->sim[i], GM_SIM_PMAP_RELEASE, 0, 1, -EIO);
		assert_int_equal(gm_as_protect(u->as, addr, BLOCK, GM_READ), -EIO);
		unit_fill(u, 0, va, 256 * PAGE, i + 2);
		unit_fill(u, 1, va + 256 * PAGE, 256 * PAGE, i + 2);
	}
	unit_fill(u, CPU, va, BLOCK, 5);
	unit_verify(u, 1, va, BLOCK, 5);
}

static void many_regions(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(2000 * PAGE);

	for (uint64_t i = 0; i < 1000; i++) /* backwards, so that each goes in front */
		unit_map_at(u->as, obj, 2 * i * PAGE, PAGE, BASE + (1000 - i) * 2 * PAGE);
	for (uint64_t i = 0; i < 1000; i++) {
		assert_true(gm_as_covers(u->as, BASE + (1000 - i) * 2 * PAGE));
		assert_false(gm_as_covers(u->as, BASE + (1000 - i) * 2 * PAGE + PAGE));
	}
	unit_store(u, 0, BASE + 500 * 2 * PAGE, 1);
	assert_int_equal(unit_load(u, CPU, BASE + 500 * 2 * PAGE), 1);
	gm_object_put(obj);
}

/* What a host asks when it is told of a range of addresses. */
static void regions_of_a_range(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(8 * PAGE);
	uint64_t len = 0, end = BASE + 16 * PAGE, value;

	unit_map_at(u->as, obj, 0, 4 * PAGE, BASE);
	unit_map_at(u->as, obj, 0, 2 * PAGE, BASE + 8 * PAGE);
	assert_int_equal(gm_as_next(u->as, BASE - 2 * PAGE, end, &len), BASE);
	assert_int_equal(len, 4 * PAGE);
	assert_int_equal(gm_as_next(u->as, BASE + PAGE, BASE + 3 * PAGE, &len), BASE + PAGE);
	assert_int_equal(len, 2 * PAGE);
	assert_int_equal(gm_as_next(u->as, BASE + 4 * PAGE, end, &len), BASE + 8 * PAGE);
	assert_int_equal(len, 2 * PAGE);
	len = 77;
	assert_int_equal(gm_as_next(u->as, BASE + 4 * PAGE, BASE + 8 * PAGE, &len),
			 BASE + 8 * PAGE);
	assert_int_equal(gm_as_next(u->as, BASE + 10 * PAGE, end, &len), end);
	assert_int_equal(len, 77);

	/* Cut there, and nobody sees it. */
	unit_fill(u, 0, BASE, 4 * PAGE, 1);
	assert_int_equal(gm_as_carve(u->as, BASE + PAGE), 0);
	assert_int_equal(gm_as_carve(u->as, BASE + PAGE), 0);
	assert_int_equal(gm_as_carve(u->as, BASE + 5 * PAGE), 0);
	assert_int_equal(gm_as_next(u->as, BASE, end, &len), BASE);
	assert_int_equal(len, PAGE);
	unit_verify(u, 1, BASE, 4 * PAGE, 1);
	assert_int_equal(unit_access(u, CPU, BASE + 4 * PAGE, &value, 8, GM_READ), -EFAULT);
	gm_object_put(obj);
}

/* Without memory a region is neither made nor cut, and what there is stays. */
static void regions_without_memory(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(2000 * PAGE);
	uint64_t n = 0;
	void *addr;
	int err;

	unit_map_at(u->as, obj, 0, 2 * PAGE, BASE);
	unit_fill(u, 0, BASE, 2 * PAGE, 1);
	gm_fake_inject(GM_FAKE_ALLOC, 0, UINT32_MAX, -ENOMEM);
	do { /* until the memory that is at hand is used up */
		addr = (void *)(uintptr_t)(BASE + (4 + 2 * n) * PAGE);
		err = gm_as_map(u->as, obj, 0, PAGE, GM_READ, GM_MAP_FIXED, &addr);
		n += !err;
	} while (!err);
	assert_int_equal(err, -ENOMEM);
	assert_true(n < 510); /* the object's own pool was empty first */
	assert_int_equal(gm_as_unmap(u->as, (void *)(uintptr_t)BASE, PAGE), -ENOMEM);
	gm_fake_inject_clear();
	for (; n < 511; n++)
		unit_map_at(u->as, obj, 0, PAGE, BASE + (4 + 2 * n) * PAGE);
	gm_fake_inject(GM_FAKE_ALLOC, 0, UINT32_MAX, -ENOMEM);
	assert_int_equal(gm_as_unmap(u->as, (void *)(uintptr_t)BASE, PAGE), -ENOMEM);
	addr = (void *)(uintptr_t)(BASE + (4 + 2 * n) * PAGE);
	assert_int_equal(gm_as_map(u->as, obj, 0, PAGE, GM_READ, GM_MAP_FIXED, &addr), -ENOMEM);
	gm_fake_inject_clear();
	unit_verify(u, CPU, BASE, 2 * PAGE, 1);
	unit_unmap(u->as, BASE, PAGE);
	unit_verify(u, 0, BASE + PAGE, PAGE, 1);
	gm_object_put(obj);
}

/* A mapping made when devices have the object's pages already faults where it must. */
static void late_mapping(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(BLOCK);
	uint64_t va = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE), late;

	unit_fill(u, 0, va, 64 * PAGE, 4);
	late = unit_map(u->as, obj, 0, BLOCK, GM_READ);
	for (uint64_t i = 0; i < 64; i++)
		assert_int_equal(unit_load(u, CPU, late + i * PAGE),
				 unit_load(u, 0, va + i * PAGE));
	gm_object_put(obj);
}

/*
 * Somebody unmaps managed memory by a call of the system's: the addresses are free for
 * the host, which would give them again, but not for us.
 */
static void addresses_behind_our_back(void **state)
{
	struct unit *u = *state;
	struct gm_object *obj = unit_object(4 * BLOCK);
	struct gm_fake_usage before, after;
	uint64_t value;
	void *addr;

	unit_map_at(u->as, obj, 0, BLOCK, BASE);
	unit_fill(u, 0, BASE, BLOCK, 1);
	gm_fake_forget(u->as, BASE + 8 * PAGE, 8 * PAGE);
	assert_int_equal(unit_access(u, CPU, BASE + 9 * PAGE, &value, 8, GM_READ), -EFAULT);
	gm_fake_usage(&before);
	for (uint64_t off = 0; off < 8; off++) {
		addr = (void *)(uintptr_t)(BASE + (8 + off) * PAGE);
		assert_int_equal(gm_as_map(u->as, obj, 0, (8 - off) * PAGE, GM_READ, GM_MAP_FIXED,
					   &addr),
				 -EEXIST);
	}
	gm_fake_usage(&after);
	assert_memory_equal(&before, &after, sizeof(before));
	unit_verify(u, 0, BASE, BLOCK, 1); /* the device knows nothing of it */
	unit_verify(u, CPU, BASE, 8 * PAGE, 1);
	unit_verify(u, CPU, BASE + 16 * PAGE, BLOCK - 16 * PAGE, 1);
	unit_unmap(u->as, BASE, BLOCK); /* goes as it came, and then they are free indeed */
	unit_map_at(u->as, obj, 0, 2 * BLOCK, BASE - 4 * PAGE);
	unit_verify(u, CPU, BASE - 4 * PAGE + BLOCK, BLOCK, 0);
	gm_object_put(obj);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(unmap_middle_of_block, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(unmap_over_several, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(protect_part, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(protect_revokes_writes, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(protect_fails, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(many_regions, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(regions_of_a_range, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(regions_without_memory, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(late_mapping, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(addresses_behind_our_back, unit_setup,
						unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
