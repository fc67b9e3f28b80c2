// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Faults of the CPU and of devices, batches, and how much moves for one. */
#include "unit.h"

#include "toy.h"

static void cpu_brings_home(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK), n;

	unit_fill(u, 0, va, BLOCK, 1);
	unit_on(u->as, va, BLOCK, unit_node(u, 0));
	unit_verify(u, CPU, va, PAGE, 1);
	n = unit_count_on(u->as, va, BLOCK, GM_NODE_HOST);
	assert_int_equal(n, 16); /* the default granule of 64 KiB */
	unit_verify(u, CPU, va, BLOCK, 1);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
}

static void device_moves_one_page(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);

	unit_fill(u, CPU, va, BLOCK, 1);
	unit_verify(u, 0, va + 7 * PAGE, PAGE, 1);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, 0)), 1);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, GM_NODE_HOST), 511);
	unit_verify(u, 1, va + 7 * PAGE, PAGE, 1); /* from device to device */
	assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, 1)), 1);
	assert_int_equal(unit_count_on(u->as, va, BLOCK, unit_node(u, 0)), 0);
	unit_verify(u, CPU, va, BLOCK, 1);
}

/* Pages that nobody has written appear on the device without a copy. */
static void device_zero_fills(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	struct gm_stats s;

	unit_verify(u, 0, va, 10 * PAGE, 0);
	s = unit_dev_stats(unit_dev(u, 0));
	assert_int_equal(s.pages_zeroed, 10);
	assert_int_equal(s.pages_to_dev, 0);
	unit_on(u->as, va + 10 * PAGE, 100 * PAGE, GM_NODE_NONE);
}

/* The page is there, only the mapping is not: nothing moves. */
static void only_mapping_missing(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, BLOCK);
	struct gm_stats before, after;

	unit_fill(u, 0, va, 4 * PAGE, 1);
	before = unit_dev_stats(unit_dev(u, 0));
	assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)va, PAGE, GM_READ), 0);
	assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)va, PAGE, GM_READ | GM_WRITE), 0);
	unit_fill(u, 0, va, 4 * PAGE, 2); /* whether it faults is the driver's affair */
	after = unit_dev_stats(unit_dev(u, 0));
	assert_int_equal(after.dev_faults_moved, before.dev_faults_moved);
	assert_int_equal(after.pages_to_dev + after.pages_zeroed,
			 before.pages_to_dev + before.pages_zeroed);
}

/* I8: servicing a fault twice, or one that is none, does no harm. */
static void faults_twice(void **state)
{
	struct unit *u = *state;
	struct gm_context *ctx;
	uint64_t va = unit_alloc(u, BLOCK), value = 3;
	struct toy toy;

	toy_init(&toy, 2);
	assert_int_equal(toy_plug(&toy), 0);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	unit_fill(u, CPU, va, BLOCK, 1);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(gm_dev_fault(ctx, va + 5, GM_WRITE), 0);
		assert_int_equal(gm_cpu_fault(u->as, va + PAGE * i, GM_READ), 0);
		assert_int_equal(gm_cpu_fault(u->as, va + PAGE * i, GM_WRITE), 0);
	}
	assert_int_equal(toy_access(ctx, va + PAGE - 8, &value, 8, GM_WRITE), 0);
	unit_verify(u, CPU, va + PAGE, BLOCK - PAGE, 1);
	assert_int_equal(unit_load(u, CPU, va + PAGE - 8), 3);
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
}

/* Each fault of a batch gets its own error; those of a block are serviced together. */
static void batch(void **state)
{
	struct unit *u = *state;
	struct gm_context *ctx;
	uint64_t va = unit_alloc(u, BLOCK), ro = unit_alloc(u, PAGE);
	struct gm_fault f[64];
	unsigned int nr = 0;
	struct toy toy;

	toy_init(&toy, 2);
	assert_int_equal(toy_plug(&toy), 0);
	unit_tune(toy.dev, PAGE, true, true);
	assert_int_equal(gm_as_attach(u->as, toy.dev, GM_EXCLUSIVE, &ctx), 0);
	assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)ro, PAGE, GM_READ), 0);
	unit_fill(u, CPU, va, BLOCK, 1);
	for (unsigned int i = 0; i < 60; i++) /* unordered, and some twice */
		f[nr++] = (struct gm_fault){ .va = va + i * 37 % 50 * PAGE + i, .access = GM_READ };
	f[nr++] = (struct gm_fault){ .va = ro, .access = GM_WRITE };
	f[nr++] = (struct gm_fault){ .va = ro + 8, .access = GM_READ };
	f[nr++] = (struct gm_fault){ .va = ro + PAGE, .access = GM_READ };
	f[nr++] = (struct gm_fault){ .va = 0, .access = GM_READ };
	assert_int_equal(gm_dev_fault_batch(ctx, f, nr), 3);
	for (unsigned int i = 0; i < nr; i++) {
		int expect = 0;

		assert_true(!i || f[i - 1].va <= f[i].va);
		if (f[i].va == ro && f[i].access == GM_WRITE)
			expect = -EACCES;
		else if (f[i].va >= ro + PAGE || !f[i].va)
			expect = f[i].va >= va && f[i].va < va + BLOCK ? 0 : -EFAULT;
		assert_int_equal(f[i].err, expect);
		if (!expect)
			assert_non_null(toy_find(ctx, f[i].va));
	}
	assert_int_equal(unit_count_on(u->as, va, BLOCK, gm_dev_hnode(toy.dev)), 50);
	assert_int_equal(gm_dev_fault_batch(ctx, f, 0), 0);
	assert_int_equal(gm_as_detach(ctx), 0);
	assert_int_equal(toy_unplug(&toy), 0);
	unit_verify(u, CPU, va, BLOCK, 1);
}

static void faults_on_nothing(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, PAGE), value;
	struct gm_stats s;

	assert_int_equal(gm_cpu_fault(u->as, va + PAGE, GM_READ), -EFAULT);
	assert_int_equal(gm_cpu_fault(u->as, 0, GM_WRITE), -EFAULT);
	assert_int_equal(gm_cpu_fault(u->as, UINT64_MAX, GM_WRITE), -EFAULT);
	assert_int_equal(gm_as_protect(u->as, (void *)(uintptr_t)va, PAGE, GM_READ), 0);
	assert_int_equal(gm_cpu_fault(u->as, va, GM_WRITE), -EACCES);
	assert_int_equal(unit_access(u, 0, va + PAGE, &value, 8, GM_READ), -EFAULT);
	s = unit_as_stats(u->as);
	assert_int_equal(s.fault_errors, 5);
	assert_int_equal(s.cpu_faults, 4);
	assert_int_equal(s.dev_faults, 1);
}

/* ------------------------------- a host whose faults name an object and an offset */

/*
 * The page at @off, made the CPU's: it is home, and its block locked as long as we like;
 * so are [from, to) around it, in pages.
 */
static void object_fault(struct gm_object *obj, struct gm_as *as, uint64_t off, uint64_t from,
			 uint64_t to)
{
	struct gm_found found = { .write = true };
	uint64_t n;
	bool present;

	assert_int_equal(gm_object_fault(obj, as, off, true, &found), 0);
	assert_non_null(found.block);
	assert_int_equal(found.from, from * PAGE);
	assert_int_equal(found.to, to * PAGE);
	assert_int_equal(found.cpu, 0);
	n = found.to - found.from;
	assert_int_equal(gm_os_backing_run(obj, found.from, n, &present), n);
	assert_true(present);
	gm_block_unlock(found.block);
}

static void by_object(void **state)
{
	struct unit *u = *state;
	struct gm_found found = { .write = true };
	struct gm_object *obj;
	struct gm_stats s;
	uint64_t va;

	assert_int_equal(gm_object_create(2 * BLOCK, 0, &obj), 0);
	assert_int_equal(gm_object_size(obj), 2 * BLOCK);
	assert_int_equal(gm_object_flags(obj), 0);
	va = unit_map(u->as, obj, 0, 2 * BLOCK, GM_READ | GM_WRITE);
	unit_fill(u, CPU, va, 64 * PAGE, 1);
	unit_verify(u, 0, va, 40 * PAGE, 1);
	assert_true(gm_object_touched(obj, BLOCK - 1));
	assert_false(gm_object_touched(obj, BLOCK));
	assert_int_equal(gm_object_fault(obj, u->as, BLOCK, false, &found), 0);
	assert_null(found.block); /* the host's own affair */

	object_fault(obj, u->as, 5 * PAGE + 17, 0, 16); /* its granule comes home */
	unit_on(u->as, va, 16 * PAGE, GM_NODE_HOST);
	unit_on(u->as, va + 16 * PAGE, 24 * PAGE, unit_node(u, 0));
	object_fault(obj, u->as, 5 * PAGE, 0, 16);	/* is there already */
	object_fault(obj, u->as, 100 * PAGE, 100, 101); /* was nowhere, and is alone */
	unit_on(u->as, va + 100 * PAGE, PAGE, GM_NODE_HOST);
	unit_on(u->as, va + 101 * PAGE, PAGE, GM_NODE_NONE);
	s = unit_as_stats(u->as);
	assert_int_equal(s.cpu_faults, 3);
	assert_int_equal(s.cpu_faults_moved, 1);
	assert_int_equal(s.fault_errors, 0);

	object_fault(obj, NULL, 20 * PAGE, 16, 32); /* charged to nobody */
	unit_on(u->as, va + 16 * PAGE, 16 * PAGE, GM_NODE_HOST);
	assert_int_equal(unit_as_stats(u->as).cpu_faults, 3);
	unit_peek(u->as, va, 64 * PAGE, 1);
	gm_object_put(obj);
}

static void by_object_failing(void **state)
{
	struct unit *u = *state;
	struct gm_found found = { .write = true };
	struct gm_object *obj;
	uint64_t va;

	assert_int_equal(gm_object_create(BLOCK, 0, &obj), 0);
	va = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	unit_fill(u, 0, va, 32 * PAGE, 1);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 1, -EIO); /* the page alone will do */
	object_fault(obj, u->as, 3 * PAGE, 3, 4);
	assert_int_equal(unit_count_on(u->as, va, 32 * PAGE, GM_NODE_HOST), 1);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, UINT32_MAX, -EIO);
	assert_int_equal(gm_object_fault(obj, u->as, 4 * PAGE, false, &found), -EIO);
	assert_int_equal(gm_object_fault(obj, NULL, 4 * PAGE, false, &found), -EIO);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 0, 0);
	gm_fake_inject(GM_FAKE_BACKING_GET, 0, 1, -ENOMEM);
	assert_int_equal(gm_object_fault(obj, u->as, 50 * PAGE, false, &found), -ENOMEM);
	assert_int_equal(unit_as_stats(u->as).fault_errors, 2);
	unit_peek(u->as, va, 32 * PAGE, 1);
	object_fault(obj, u->as, 4 * PAGE, 0, 16);
	unit_verify(u, CPU, va, 32 * PAGE, 1);
	gm_object_put(obj);
}

/* Huge pages of the host's come home as a whole, or not at all. */
static void by_huge_object(void **state)
{
	struct unit *u = *state;
	struct gm_found found = { .write = true };
	struct gm_object *obj;
	uint64_t va;

	assert_int_equal(gm_object_create(BLOCK, GM_OBJECT_HUGETLB, &obj), 0);
	va = unit_map(u->as, obj, 0, BLOCK, GM_READ | GM_WRITE);
	unit_fill(u, 0, va, 16 * PAGE, 1);
	gm_sim_inject(u->sim[0], GM_SIM_COPY_START, 0, 1, -EIO);
	assert_int_equal(gm_object_fault(obj, u->as, 100 * PAGE, true, &found), -EIO);
	unit_on(u->as, va, 16 * PAGE, unit_node(u, 0));
	object_fault(obj, u->as, 100 * PAGE, 0, 512); /* of which only others were on a device */
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	assert_int_equal(unit_as_stats(u->as).cpu_faults_moved, 2);
	unit_peek(u->as, va, 16 * PAGE, 1);
	gm_object_put(obj);
}

/*
 * A host that makes few pages at a time, and no memory to note that the block's pages
 * differ now: what it made goes again.
 */
static void zero_pages_without_memory(void **state)
{
	struct gm_as_options opt = { .size = sizeof(opt), .cpu_granule = BLOCK };
	struct unit *u = *state;
	uint64_t va;

	assert_int_equal(gm_as_destroy(u->as), 0);
	assert_int_equal(gm_as_create(&opt, &u->as), 0);
	va = unit_alloc(u, 2 * BLOCK);
	gm_fake_set_max_run(40 * PAGE);
	gm_fake_inject(GM_FAKE_ALLOC, 2, UINT32_MAX, -ENOMEM); /* a node, a block, and no array */
	assert_int_equal(gm_cpu_fault(u->as, va + 3 * PAGE, GM_READ), -ENOMEM);
	gm_fake_inject_clear();
	for (uint64_t i = 0; i < 512; i++)
		assert_int_equal(gm_fake_page(u->as, va + i * PAGE), GM_FAKE_ARMED);
	unit_on(u->as, va, 2 * BLOCK, GM_NODE_NONE);
	assert_int_equal(gm_cpu_fault(u->as, va + 3 * PAGE, GM_READ), 0);
	unit_on(u->as, va, BLOCK, GM_NODE_HOST);
	unit_verify(u, CPU, va, 2 * BLOCK, 0);
}

/* With everything pinned a fault fails at once, and what is pinned works on. */
static void full_of_pins(void **state)
{
	struct unit *u = *state;
	uint64_t va = unit_alloc(u, 5 * BLOCK), value;

	unit_fill(u, CPU, va, 5 * BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, 4 * BLOCK, GM_PIN), 0);
	assert_int_equal(unit_access(u, 0, va + 4 * BLOCK, &value, 8, GM_READ), -ENOSPC);
	unit_peek(u->as, va, 5 * BLOCK, 1);
	unit_verify(u, 0, va, 4 * BLOCK, 1);
	unit_verify(u, CPU, va + 4 * BLOCK, BLOCK, 1);
	assert_int_equal(gm_advise(u->as, unit_node(u, 0), va, PAGE, GM_UNPIN), 0);
	unit_verify(u, 0, va + 4 * BLOCK, PAGE, 1);
	unit_verify(u, CPU, va, 5 * BLOCK, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cpu_brings_home, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(device_moves_one_page, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(device_zero_fills, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(only_mapping_missing, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(faults_twice, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(batch, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(faults_on_nothing, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(by_object, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(by_object_failing, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(by_huge_object, unit_setup, unit_teardown),
		cmocka_unit_test_setup_teardown(zero_pages_without_memory, unit_setup_as,
						unit_teardown),
		cmocka_unit_test_setup_teardown(full_of_pins, unit_setup, unit_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
